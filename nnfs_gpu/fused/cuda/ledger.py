"""What steps of the GPU's kernel leave behind on the model's objects, beside the arrays.

As `ledger.py` for the CPU. The sums of losses and right answers stay on the device: what the model
holds are views of where the kernel adds them up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...backend.interrupts import insist
from ...network.network import Network
from .buffers import Schedule, Settings

Array = Any


class Ledger:
    """The counts and sums of `model`.

    totals    (4,) on the device: sum of losses and of right answers, each with a rest
    compared  answers of a sample
    """

    def __init__(
        self, model: Network, schedule: Schedule, settings: Settings, totals: Array, compared: int
    ):
        self.model, self._schedule, self._settings = model, schedule, settings
        self._totals, self._compared = totals, compared
        self._loss_sum = totals[:1].reshape(())  # views, in NumPy as well
        self._right_sum = totals[2:3].reshape(())

    def fresh(self) -> bool:
        """True where a pass begins; else the kernel's sums go on from the model's."""
        loss, accuracy = self.model.loss, self.model.accuracy
        if not loss.accumulated_count:
            return True
        if loss.accumulated_sum is not self._loss_sum:  # layers have trained in between
            self._totals[0] = loss.accumulated_sum
            self._totals[1] = 0
        if accuracy is not None and accuracy.accumulated_sum is not self._right_sum:
            self._totals[2] = accuracy.accumulated_sum
            self._totals[3] = 0
        return False

    def update(
        self, launch: Callable[[], Any], count: Callable[[], int], steps: int, samples: int
    ) -> int:
        """A launch that changes the parameters, and what it leaves on the model: both or neither.

        count    the rows of the schedule that the kernel has used; waits for the device
        samples  since the pass began, with those of these steps
        Gives its first row in the schedule. Where Ctrl-C comes in between, the count says whether
        there was a launch; it is asked for only then.
        """
        row, calls = self._schedule.next, self._settings.calls()
        iterations = self.model.optimizer.iterations
        try:
            launch()
            self._done(row, iterations, calls, steps, samples)
        except BaseException:
            if count() == row + steps:
                insist(lambda: self._done(row, iterations, calls, steps, samples))
            raise
        return row

    def _done(self, row: int, iterations: int, calls: list[int], steps: int, samples: int) -> None:
        """`steps` steps after `iterations` are done: the same when it is called again."""
        model, optimizer = self.model, self.model.optimizer
        self._schedule.done(row + steps, iterations + steps)
        model.loss.accumulated_sum, model.loss.accumulated_count = self._loss_sum, samples
        if model.accuracy is not None:
            model.accuracy.accumulated_sum = self._right_sum
            model.accuracy.accumulated_count = samples * self._compared
        optimizer.iterations = iterations + steps - 1
        optimizer.pre_update_params()  # the rate of the last step, as the kernel had it
        optimizer.post_update_params()
        self._settings.advance(calls, steps)
        model.forget_pass()
