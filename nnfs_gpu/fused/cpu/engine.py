"""Fused training steps on the CPU: the engine of the `numba` backend.

The arithmetic is kernels/fused_cpu/step.py. Here the model's objects become the tables that it
reads, before every step, so that a rate, a factor, a seed or an array that somebody changed
between two steps counts. `calls.py` makes the calls.

After a step the layers hold the new weights and biases, `dweights` and `dbiases` with the
penalty's gradient, and the optimizer's state under the book's names. They do not hold
`inputs`, `output` and `dinputs`: those never existed as a whole, and say so when read.
`dweights` and `dbiases` are the engine's arrays and are written again by the next step.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from ...backend.cpu import launch
from ...backend.interrupts import insist
from ...kernels.cpu.waiting import APART
from ...kernels.fused_cpu import tables as k
from ...kernels.fused_cpu.marks import fingerprint
from ...network.engine import Batch, Message, weighed
from ...network.network import Network
from ...targets import per_weight
from ..plan import Plan
from ..stages import stage_parts
from .binding import Binding
from .calls import StepCalls
from .ledger import Ledger

Array = Any

MOST_SWEPT = 4_096  # steps in a sweep: each leaves a row of measures
HEARD = 0.03  # seconds that a call of many steps takes, if no step is longer: hears Ctrl-C
WHOLE = k.GROUPS | k.COLLECT | k.FRESH | k.FINISH


class FusedSteps(StepCalls):
    """Whole training steps for one model, in place.

    step(X, y)                   a step: forward, loss, accuracy, backward, update
    run(X, y, steps)             many steps over the same batch in one call
    sweep(X, y, ...)             a step for each of many batches in one call
    accumulate(X, y, total)      a block of a batch of `total` samples ...
    finish()                     ... and the update when all blocks have been given
    compile()                    what the first of these would do first

    X (n, I) of the backend's dtype; y what the model's targets are: `targets.Labels` or
    `targets.Values` of n samples. The numbers are those of the step layer by layer, up to
    rounding; the same calls give the same bits, however many threads there are.
    One engine serves one caller at a time.
    """

    name = "fused"
    weights = True

    def __init__(self, model: Network, plan: Plan):
        self.model = model
        self.parts = stage_parts(model)
        self.optimizer = model.optimizer
        super().__init__(plan)
        self.compared = plan.answers
        self._binding = Binding(model, self.layout, self.parts)
        self._ledger = Ledger(model, self.parts, self._binding.gradients, self.compared)
        self._message = Message(self.layout.gradients)
        self._words = np.zeros(self._message.size, np.int64)
        self._measured = np.zeros((1, k.MEASURED_FIELDS))
        self.layout.head[k.EXACT] = self._words.ctypes.data
        self._measure_into(self._measured)
        self._batch = Batch()
        self._swept = MOST_SWEPT  # steps of the next sweep, by the clock
        self._turn = 1  # the next step, of all that the tables have seen

    def describe(self) -> str:
        """What `explain` says about this engine."""
        tile = int(self.layout.head[k.TILE])
        kilobytes = self.layout.workspace * self.layout.dtype.itemsize / 1024
        return (
            f"tiles of {tile} samples, {kilobytes:.0f} KiB a thread, up to "
            f"{launch.threads_allowed()} threads; compiled at first use, then cached on disk"
        )

    def compile(self) -> None:
        """Compile the step for this dtype, or fetch it from the disk: the first step does not wait.

        Some seconds the first time on a machine, a quarter of a second later.
        """
        self._measure_into(self._measured)
        self._train(0, k.ALONE, (0, 0, 1, 0, 1, 0, 0, 1, WHOLE, 0, 0, 0))

    # ---- steps ----
    def step(self, X: Array, y: Any) -> tuple[float, float, float]:
        """One step on the batch X, y: (mean loss, penalty, accuracy) before the update."""
        return self._step(X, y)

    def _step(self, X: Array, y: Any, fresh: bool = False) -> tuple[float, float, float]:
        """`step`; `fresh`: the sums begin with it."""
        n = X.shape[0]
        self._batch.none("step")
        if n <= self.groups.in_a_call(n):
            return self._whole(X, y, 1, self._measured, fresh)
        try:
            self.accumulate(X, y, n)
            return self._finish(fresh)
        finally:
            self._batch.forget()

    def run(self, X: Array, y: Any, steps: int) -> tuple[Array, Array, Array, Array]:
        """`steps` steps on the same batch in few calls: losses, penalties, accuracies, rates,
        each (steps,).

        `loss` and `accuracy` hold the sums of the last step, as after `new_pass` and `step`.
        """
        n = X.shape[0]
        measured = np.zeros((steps, k.MEASURED_FIELDS))
        cut, most = n > self.groups.in_a_call(n), self.groups.steps_in_a_call(n)
        done, once = 0, most
        while done < steps:
            part, begun = measured[done : done + once], time.perf_counter()
            if cut:
                self._step(X, y, fresh=True)
                part[0] = self._measured[0]
            else:
                self._whole(X, y, len(part), part, fresh=True)
            done += len(part)
            once = self._heard(most, begun, len(part))
        losses = per_weight(measured[:, k.LOSSES], measured[:, k.WEIGHT])
        right = measured[:, k.RIGHT] / (n * self.compared)
        return losses, measured[:, k.PENALTY].copy(), right, measured[:, k.RATE].copy()

    def sweeps(self, batch: int) -> int:
        """How many batches of so many samples go into one `sweep`; 0: not one of them."""
        if batch > self.groups.in_a_call(batch):
            return 0
        return min(MOST_SWEPT, self.groups.steps_in_a_call(batch), self._swept)

    def sweep(
        self, X: Array, y: Any, start: int, batch: int, steps: int, order: Array | None = None
    ) -> Array:
        """`steps` steps in one call, over batches of `batch` samples that follow each other from
        number `start` on: what each has measured, (steps, 5): losses, right answers, penalty, rate,
        and its samples or the sum of their weights.

        order  int64 (samples,): sample number k is row order[k]. Rows are read where they lie.

        The numbers and the sums of `loss` and `accuracy` are those of a `step` for each batch.
        Raises RuntimeError while a batch is under way.
        """
        self._batch.none("sweep")
        n, x, at = self._binding.addresses(X, y)
        rows = 0
        if order is None:
            x, at = self._binding.at(x, at, start)
        else:
            rows = self._binding.order(order, n) + start * order.itemsize
        self._binding.prepare()
        measured = np.zeros((steps, k.MEASURED_FIELDS))
        size, begun = self.groups.samples(batch), time.perf_counter()
        try:
            self._update(x, at, batch, size, steps, WHOLE, measured, False, batch, rows)
        finally:
            self._measure_into(self._measured)  # `measured` does not live on
        self._swept = self._heard(MOST_SWEPT, begun, steps)
        return measured

    @staticmethod
    def _heard(most: int, begun: float, steps: int) -> int:
        """Steps that go into the next call, by the time that the last ones took."""
        took = (time.perf_counter() - begun) / steps
        return max(1, min(most, int(HEARD / max(took, 1e-9))))

    def accumulate(self, X: Array, y: Any, total: int, first: int | None = None) -> None:
        """Add the gradient of the samples X, y: the next rows of a batch of `total` rows, or those
        from number `first` on of one that is shared.

        Memory does not grow with `total`. Raises ValueError for more rows than `total`. Where
        Ctrl-C cuts it off, the batch is forgotten.
        """
        n, x_address, y_address = self._binding.addresses(X, y)
        per, most = self.groups.samples(total), self.groups.in_a_call(total)
        at = self._batch.first(n, total, first, per)
        if at % per or (n % per and at + n < total):  # as a source cuts: not where groups end
            per, most = self.groups.samples(n), self.groups.in_a_call(n)
        if not self._batch.total:
            self._words[:] = 0
            self._binding.prepare()
        try:
            for start in range(0, n, most):
                rows = min(most, n - start)
                where = self._binding.at(x_address, y_address, start)
                what = k.GROUPS | k.COLLECT
                self._call(*where, rows, at + start, per, 1, what, self._measured)
            self._batch.add(n, total)
            self._words[self._message.rows] = self._batch.rows
            if self._binding.weighted:
                self._words[self._message.weighed] += n
        except BaseException:
            self._batch.forget()
            raise

    def leaf(self, total: int) -> int:
        """See `SharedEngine`: a group of samples."""
        return self.groups.samples(total)

    def begin(self, total: int) -> None:
        """See `SharedEngine`."""
        self._batch.begin(total)
        try:
            self._words[:] = 0
            self._binding.prepare()
        except BaseException:
            self._batch.forget()
            raise

    def fingerprint(self) -> int:
        """See `SharedEngine`."""
        return int(fingerprint(self._tables, self._like))

    def message(self) -> Array:
        """See `SharedEngine`."""
        self._batch.under_way("message")
        return self._words

    def finish(self) -> tuple[float, float, float]:
        """The update from all blocks: (mean loss, penalty, accuracy) of the batch before it."""
        return self._finish(fresh=False)

    def _finish(self, fresh: bool) -> tuple[float, float, float]:
        n = self._batch.end(int(self._words[self._message.rows]))
        weighed(int(self._words[self._message.weighed]), n)  # or it raises
        return self._update(0, 0, n, n, 1, k.FINISH, self._measured, fresh)

    # ---- inside a step ----
    def _whole(
        self, X: Array, y: Any, steps: int, into: Array, fresh: bool
    ) -> tuple[float, float, float]:
        """Whole steps in one call."""
        n, x_address, y_address = self._binding.addresses(X, y)
        self._binding.prepare()
        return self._update(
            x_address, y_address, n, self.groups.samples(n), steps, WHOLE, into, fresh
        )

    def _update(
        self,
        x: int,
        y: int,
        n: int,
        per: int,
        steps: int,
        what: int,
        into: Array,
        fresh: bool,
        along: int = 0,
        order: int = 0,
    ) -> tuple[float, float, float]:
        """A call that changes the parameters, and what it leaves on the model: both or neither.

        Nothing interrupts the call itself. Whether it was made can be seen from the cell in
        which it opens its last step; then the rest is written, once more if need be.
        """
        before, last = self._ledger.before(fresh), self._turn + steps - 1
        weighted = self._binding.weighted
        if not what & k.GROUPS:
            weighted = bool(self._words[self._message.weighed])
        try:
            self._call(x, y, n, 0, per, steps, what, into, along, order)
            return self._ledger.done(before, n, steps, into, weighted)
        except BaseException:
            if self.layout.cells[k.OPENED * APART] == last:
                insist(lambda: self._ledger.done(before, n, steps, into, weighted))
            raise

    def _call(
        self,
        x: int,
        y: int,
        n: int,
        row: int,
        per: int,
        steps: int,
        what: int,
        into: Array,
        along: int = 0,
        order: int = 0,
    ) -> None:
        """`train` on this thread, and on others where they are worth it."""
        samples = n if what & k.GROUPS else 0
        self.groups.make_room(-(-samples // per))
        if into is not self._into:
            self._measure_into(into)
        turn, self._turn = self._turn, self._turn + steps
        step, count = self.optimizer.iterations, n * self.compared
        role = k.LEAD if self._shared(samples, per, steps) else k.ALONE
        self._train(0, role, (x, y, n, row, per, steps, step, count, what, turn, along, order))

    def _measure_into(self, into: Array) -> None:
        """Have each step write what it measures into a row of `into`, which lives on here."""
        self._into = None  # until the head has it: Ctrl-C may come in between
        self.layout.head[k.MEASURED] = into.ctypes.data
        self._into = into
