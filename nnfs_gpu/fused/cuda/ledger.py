"""What steps of the GPU's kernel leave behind on the model's objects, beside the arrays.

As `ledger.py` for the CPU. The sums of losses, right answers and weights stay on the device: what
the model holds are views of where the kernel adds them up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from ...backend.interrupts import insist
from ...network.network import Network
from .buffers import Schedule, Settings

Array = Any


class Totals:
    """Where the kernel adds up what a pass measures.

    array   (6,) on the device: sum of losses, of right answers and of weights, each with a rest
    views   () of each sum, which the model holds
    """

    def __init__(self, backend: Any):
        self.backend, self.array = backend, backend.zeros(6, backend.dtype)
        self.views = tuple(self.array[k : k + 1].reshape(()) for k in (0, 2, 4))


_TOTALS: WeakKeyDictionary[Network, Totals] = WeakKeyDictionary()


def totals_of(model: Network) -> Totals:
    """Those of `model`, for all its engines: one that follows another goes on with the rests."""
    found = _TOTALS.get(model)
    if found is None or found.backend is not model.backend:
        found = _TOTALS[model] = Totals(model.backend)
    return found


class Ledger:
    """The counts and sums of `model`.

    compared  answers of a sample
    """

    def __init__(
        self, model: Network, schedule: Schedule, settings: Settings, totals: Totals, compared: int
    ):
        self.model, self._schedule, self._settings = model, schedule, settings
        self._totals, self._compared = totals.array, compared
        self._loss_sum, self._right_sum, self._weight_sum = totals.views

    def fresh(self, weighted: bool) -> bool:
        """True where a pass begins; else the kernel's sums go on from the model's, that of the
        weights where the samples to come are `weighted`.
        """
        loss, accuracy = self.model.loss, self.model.accuracy
        counted = loss if accuracy is None else accuracy  # what was compared has no weights
        if not counted.accumulated_count:
            return True
        if weighted and loss.accumulated_count is not self._weight_sum:
            self._totals[4] = loss.accumulated_count
            self._totals[5] = 0
        if loss.accumulated_sum is not self._loss_sum:  # layers have trained in between
            self._totals[0] = loss.accumulated_sum
            self._totals[1] = 0
        if accuracy is not None and accuracy.accumulated_sum is not self._right_sum:
            self._totals[2] = accuracy.accumulated_sum
            self._totals[3] = 0
        return False

    def update(
        self,
        launch: Callable[[], Any],
        count: Callable[[], int],
        steps: int,
        samples: int,
        fresh: bool,
        weighted: bool,
    ) -> int:
        """A launch that changes the parameters, and what it leaves on the model: both or neither.

        count    the rows of the schedule that the kernel has used; waits for the device
        samples  of the pass that these steps have had; fresh: it begins with them, else they follow
                 what the model has counted
        weighted whether the kernel adds up what the samples count, as they have weights
        Gives its first row in the schedule. Where Ctrl-C comes in between, the count says whether
        there was a launch; it is asked for only then.
        """
        row, calls = self._schedule.next, self._settings.calls()
        iterations = self.model.optimizer.iterations
        counts = self._counts(samples, fresh, weighted)
        try:
            launch()
            self._done(row, iterations, calls, steps, counts)
        except BaseException:
            if count() == row + steps:
                insist(lambda: self._done(row, iterations, calls, steps, counts))
            raise
        return row

    def _counts(self, samples: int, fresh: bool, weighted: bool) -> tuple[Any, int]:
        """What the losses since the pass began are divided by; answers compared since then."""
        loss, accuracy = self.model.loss, self.model.accuracy
        count: Any = samples
        answers = samples * self._compared
        if not fresh:
            count = loss.accumulated_count + samples
            answers += 0 if accuracy is None else accuracy.accumulated_count
        return self._weight_sum if weighted else count, answers

    def _done(
        self, row: int, iterations: int, calls: list[int], steps: int, counts: tuple[Any, int]
    ) -> None:
        """`steps` steps after `iterations` are done: the same when it is called again."""
        model, optimizer = self.model, self.model.optimizer
        self._schedule.done(row + steps, iterations + steps)
        model.loss.accumulated_sum, model.loss.accumulated_count = self._loss_sum, counts[0]
        if model.accuracy is not None:
            model.accuracy.accumulated_sum = self._right_sum
            model.accuracy.accumulated_count = counts[1]
        optimizer.iterations = iterations + steps - 1
        optimizer.pre_update_params()  # the rate of the last step, as the kernel had it
        optimizer.post_update_params()
        self._settings.advance(calls, steps)
        model.forget_pass()
