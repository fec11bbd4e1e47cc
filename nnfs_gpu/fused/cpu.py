"""Fused training steps on the CPU: the engine of the `numba` backend.

The arithmetic is kernels/fused_step.py. Here the model's objects become the tables that it
reads, before every step, so that a rate, a factor, a seed or an array that somebody changed
between two steps counts; and here work is shared out to threads.

After a step the layers hold the new weights and biases, `dweights` and `dbiases` with the
penalty's gradient, and the optimizer's state under the book's names. They do not hold
`inputs`, `output` and `dinputs`: those never existed as a whole, and say so when read.
`dweights` and `dbiases` are the engine's arrays and are written again by the next step.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from ..backend import launch
from ..kernels import fused_ends as ends
from ..kernels import fused_tables as k
from ..kernels.fused_step import train
from ..kernels.waiting import APART
from ..passing import forget
from .binding import Binding
from .layout import Layout
from .plan import Plan, stage_parts

Array = Any

# Threads that are there meet three times a step, in less than a microsecond. To invite them costs
# some 10 microseconds, and as much again until they have come.
SHARED_STEP = 1_500_000  # operations in a step, for which others are asked to help,
INVITATION = 20_000_000  # and which have been done alone
WATCH = 3_000  # looks at whether there is more to do, about a millisecond
CALL = 5_000_000_000  # operations in one call at most: Ctrl-C is heard between two
UPDATE = 16  # operations that collecting and updating a parameter is worth
GROUP_FLOPS = 1_000_000  # a group of samples has at least so many,
GROUP_SAMPLES = 128  # and so many samples: its gradient must be added to the others';
HALF_GROUP = 64  # or half of a small batch, and so many
MOST_GROUP = 8_192  # samples: longer sums in float32 would lose digits
MOST_GROUPS = 32  # at a time: more threads than that find no work
GROUP_BYTES = 256 << 20  # of all groups' gradients at a time
NO_CALL = (0,) * 10
WHOLE = k.GROUPS | k.COLLECT | k.FRESH | k.FINISH


ENDS = {
    "softmax_cross_entropy": ends.softmax_end,
    "soft": ends.soft_end,
    "binary_cross_entropy": ends.binary_end,
    "squared_error": ends.squared_end,
    "absolute_error": ends.absolute_end,
}


class FusedSteps:
    """Whole training steps for one model, in place.

    step(X, y)                   a step: forward, loss, accuracy, backward, update
    run(X, y, steps)             many steps over the same batch in one call
    accumulate(X, y, total)      a block of a batch of `total` samples ...
    finish()                     ... and the update when all blocks have been given
    compile()                    what the first of these would do first

    X (n, I) of the backend's dtype; y what the model's targets are: `checks.Labels` or
    `checks.Values` of n samples. The numbers are those of the step layer by layer, up to
    rounding; the same calls give the same bits, however many threads there are.
    One engine serves one caller at a time.
    """

    name = "fused"

    def __init__(self, model: Any, plan: Plan):
        self.model, self.plan = model, plan
        self.parts = stage_parts(model)
        self.loss, self.accuracy, self.optimizer = model.loss, model.accuracy, model.optimizer
        self.layout = Layout(plan)
        self._like = self.layout.dtype.type(0)
        self._end: str | None = None  # whose codes stand in the head
        self._outputs = 1 if plan.loss == "softmax_cross_entropy" else plan.n_outputs
        self._binding = Binding(model, self.layout, self.parts)
        self._workspaces = {0: self.layout.make_workspace()}  # by number of the thread
        self._missed = 0  # operations that others could have helped with
        self._crew: Any = None  # whose workers those are that follow
        self._tables = self.layout.head.ctypes.data
        self._gradient = np.zeros(self.layout.gradients)
        self._measured = np.zeros((1, k.MEASURED_FIELDS))
        self.layout.head[k.GRADIENT] = self._gradient.ctypes.data
        self.layout.head[k.MEASURED] = self._measured.ctypes.data
        self._rows = self._total = 0  # of the batch under way
        self._turn = 1  # the next step, of all that the tables have seen
        self._keep_per_group()

    def describe(self) -> str:
        """What `explain` says about this engine."""
        tile = int(self.layout.head[k.TILE])
        kilobytes = self.layout.workspace * self.layout.dtype.itemsize / 1024
        return (
            f"tiles of {tile} samples, {kilobytes:.0f} KiB a thread, up to "
            f"{numba.get_num_threads()} threads; compiled at first use, then cached on disk"
        )

    def compile(self) -> None:
        """Compile the step for this dtype, or fetch it from the disk: the first step does not wait.

        About a quarter of a minute the first time on a machine, a quarter of a second later.
        """
        self._train(0, k.ALONE, (0, 0, 1, 0, 1, 0, 0, 1, WHOLE, 0))

    # ---- steps ----
    def step(self, X: Array, y: Any) -> tuple[float, float, float]:
        """One step on the batch X, y: (mean loss, penalty, accuracy) before the update."""
        n = X.shape[0]
        if n > self._wave(n):
            self.accumulate(X, y, n)
            return self.finish()
        self._whole(X, y, 1)
        return self._result(n)

    def run(self, X: Array, y: Any, steps: int) -> tuple[Array, Array, Array, Array]:
        """`steps` steps on the same batch in few calls: losses, penalties, accuracies, rates,
        each (steps,).

        `loss` and `accuracy` hold the sums of the last step, as after `new_pass` and `step`.
        """
        n = X.shape[0]
        measured = np.zeros((steps, k.MEASURED_FIELDS))
        once = 1 if n > self._wave(n) else max(1, CALL // self._work(n))
        for first in range(0, steps, once):
            part = measured[first : first + once]
            self._new_pass()
            if n > self._wave(n):
                self.step(X, y)
                part[0] = self._measured[0]
                continue
            self.layout.head[k.MEASURED] = part.ctypes.data
            try:
                self._whole(X, y, len(part))
            finally:
                self.layout.head[k.MEASURED] = self._measured.ctypes.data
            self._measured[0] = part[-1]
            self._result(n)
        losses, right = measured[:, 0] / n, measured[:, 1] / (n * self._outputs)
        return losses, measured[:, 2].copy(), right, measured[:, 3].copy()

    def accumulate(self, X: Array, y: Any, total: int) -> None:
        """Add the gradient of the samples X, y: the next rows of a batch of `total` rows.

        Memory does not grow with `total`. Raises ValueError for more rows than `total`.
        """
        n, x_address, y_address = self._binding.addresses(X, y)
        if self._total == 0:
            self._binding.prepare()
        if (self._total and total != self._total) or self._rows + n > total:
            raise ValueError(
                f"accumulate: got rows {self._rows} to {self._rows + n} of a batch of {total}, "
                f"expected at most {self._total or total}; call finish() between batches"
            )
        self._total = total
        wide = self.plan.n_inputs * self.layout.dtype.itemsize
        wave = self._wave(n)
        for start in range(0, n, wave):
            rows, row = min(wave, n - start), self._rows + start
            at = x_address + start * wide, y_address + start * self._binding.target_bytes
            self._call(
                *at, rows, row, self._per(n), 1, k.GROUPS | k.COLLECT | (0 if row else k.FRESH)
            )
        self._rows += n

    def finish(self) -> tuple[float, float, float]:
        """The update from all blocks: (mean loss, penalty, accuracy) of the batch before it."""
        if self._rows != self._total or not self._total:
            raise RuntimeError(
                f"finish: got {self._rows} of {self._total} samples; accumulate the rest first"
            )
        n, self._rows, self._total = self._total, 0, 0
        self._call(0, 0, n, 0, n, 1, k.FINISH)
        self._done(1)
        return self._result(n)

    # ---- inside a step ----
    def _whole(self, X: Array, y: Any, steps: int) -> None:
        """Whole steps in one call."""
        if self._total:
            raise RuntimeError("step: a batch is under way; call finish() first")
        n, x_address, y_address = self._binding.addresses(X, y)
        self._binding.prepare()
        self._call(x_address, y_address, n, 0, self._per(n), steps, WHOLE)
        self._done(steps)

    def _call(self, x: int, y: int, n: int, row: int, per: int, steps: int, what: int) -> None:
        """`train` on this thread, and on others where they are worth it."""
        samples = n if what & k.GROUPS else 0
        self._room(samples, per)
        turn, self._turn = self._turn, self._turn + steps
        step, count = self.optimizer.iterations, n * self._outputs
        role = k.LEAD if self._shared(samples, per, steps) else k.ALONE
        self._train(0, role, (x, y, n, row, per, steps, step, count, what, turn))

    def _codes(self) -> None:
        """The addresses of what this plan chooses; compiled, or fetched from the disk."""
        head, plan, real = self.layout.head, self.plan, numba.typeof(self._like)
        i8, f8 = numba.int64, numba.float64
        end = "soft" if head[k.SOFT] and plan.loss == "softmax_cross_entropy" else plan.loss
        if self._end == end:
            return
        head[k.END_CODE] = ENDS[end].address(*[i8] * 7, real)
        finish = getattr(ends, plan.optimizer + "_finish")
        head[k.FINISH_CODE] = finish.address(i8, i8, f8, i8, real)
        if any(stage.dropout for stage in plan.stages):
            head[k.DRAW_CODE] = ends.draw.address(*[i8] * 7, real)
        if any(stage.activation == "sigmoid" for stage in plan.stages[:-1]):
            head[k.SIGMOID_CODE] = ends.sigmoid_forward.address(*[i8] * 4, real)
            head[k.SIGMOID_BACK_CODE] = ends.sigmoid_backward.address(*[i8] * 4, real)
        self._end = end

    def _train(self, thread: int, role: int, call: tuple, watch: tuple = (0, 0, 0)) -> None:
        """Thread number `thread` in its role: see `train`."""
        if role != k.FOLLOW:
            self._codes()
        train(self._tables, self._workspace(thread), role, *call, *watch, self._like)

    def _shared(self, n: int, per: int, steps: int) -> bool:
        """Whether others help with so many steps over n samples; invites them where they are not
        there, once they have been missed for as long as an invitation is worth.
        """
        work = self._work(n)
        threads = min(numba.get_num_threads(), max(-(-n // per), len(self.layout.pieces)))
        if threads == 1 or work < SHARED_STEP:
            return False
        crew = launch.workers()
        if crew is not self._crew:  # none yet, or of the process that this one was forked from
            self._crew = crew
            self.layout.cells[k.PRESENT * APART] = 0
        present = int(self.layout.cells[k.PRESENT * APART])
        if present >= numba.get_num_threads():  # fewer are allowed than once were
            crew.rest()
            return False
        if present < threads - 1:
            self._missed += work * steps
            if self._missed >= INVITATION:
                self._missed = 0
                crew.invite(self._follow, threads)
                return True
        if present:
            crew.make_way()
        return present > 0

    def _follow(self, number: int, signal: Array, seen: int) -> None:
        """What a worker does that is invited."""
        self._train(number, k.FOLLOW, NO_CALL, (signal.ctypes.data, seen, WATCH))

    def _workspace(self, number: int) -> int:
        """The address of a thread's workspace."""
        if number not in self._workspaces:
            self._workspaces[number] = self.layout.make_workspace()
        return self._workspaces[number][1]

    # ---- the model's objects, after a step ----
    def _done(self, steps: int) -> None:
        """What a step leaves behind on the layers and the optimizer."""
        optimizer = self.optimizer
        optimizer.iterations += steps - 1
        optimizer.pre_update_params()  # the rate of the last step, as the kernel had it
        optimizer.post_update_params()
        for part, (dweights, dbiases) in zip(self.parts, self._binding.gradients, strict=True):
            part.dense.dweights, part.dense.dbiases = dweights, dbiases
            if part.dropout is not None:
                part.dropout.calls += steps
        forget(self.model)

    def _result(self, n: int) -> tuple[float, float, float]:
        """Adds the step to the epoch's sums; (mean loss, penalty, accuracy)."""
        loss, right, penalty, _ = self._measured[0].tolist()
        count = n * self._outputs
        self.loss.accumulated_sum += loss
        self.loss.accumulated_count += n
        if self.accuracy is not None:
            self.accuracy.accumulated_sum += right
            self.accuracy.accumulated_count += count
        return loss / n, penalty, right / count

    def _new_pass(self) -> None:
        self.loss.new_pass()
        if self.accuracy is not None:
            self.accuracy.new_pass()

    # ---- sizes ----
    def _keep_per_group(self) -> None:
        row = self.layout.gradients * self.layout.dtype.itemsize
        self._most_groups = max(4, min(MOST_GROUPS, GROUP_BYTES // row))
        self._sums = np.zeros((0, self.layout.gradients), self.layout.dtype)

    def _per(self, n: int) -> int:
        """Samples in a group: of n and the plan alone, never of the threads."""
        worth = GROUP_FLOPS // max(1, self.plan.flops())
        least = min(max(GROUP_SAMPLES, worth), max(HALF_GROUP, worth, -(-n // 2)))
        even = -(-n // self._most_groups)
        per = min(max(even, least), max(MOST_GROUP, least))
        return -(-per // self.layout.panel) * self.layout.panel

    def _wave(self, n: int) -> int:
        """Samples whose groups' gradients there is room for at a time."""
        return self._per(n) * self._most_groups

    def _work(self, n: int) -> int:
        """Operations of a step over n samples, roughly."""
        return n * self.plan.flops() + UPDATE * self.layout.gradients

    def _room(self, n: int, per: int) -> None:
        """Make room for the sums of all groups, where there is less."""
        groups = -(-n // per)
        if groups > self._sums.shape[0]:
            self._sums = np.empty((groups, self.layout.gradients), self.layout.dtype)
            self._totals = np.empty((groups, 2))
            self.layout.head[k.SUMS] = self._sums.ctypes.data
            self.layout.head[k.TOTALS] = self._totals.ctypes.data
