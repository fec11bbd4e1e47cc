"""The fused training step on a GPU: one launch of fused.cu a step, or one for many.

All buffers are allocated when `KernelSteps` is made or when a new kind of batch comes; a step
then starts one kernel and returns. Nothing waits for the device: losses and accuracies stay
there until somebody reads them.

A batch that comes in blocks, or that other processes have rows of, is a launch for each leaf
(`leaf.py`), whose sums are added up without rounding: see kernels/fused_cuda/exact.cuh.
"""

from __future__ import annotations

from functools import partial
from operator import is_
from typing import Any

import numpy as np

from ...backend.cuda.errors import reported
from ...network.engine import weighed
from ...network.network import Network
from ...targets import weights_of
from ..plan import Plan
from ..shared import SharedBatch
from . import build as cuda_kernel
from .build import Device
from .data import Data, Measured, checked
from .launches import Launches
from .leaf import leaf_of

Array = Any

GRAPH_STEPS = 32  # launches of a CUDA graph: a replay costs the CPU as much as one of them


@reported
class KernelSteps(Launches):
    """Whole training steps of `model` as `plan` describes it.

    step(X, y)               a step: forward, loss, accuracy, backward, update
    run(X, y, steps)         many steps, where one block does a step many in a launch
    begin(total)             a batch that others have samples of, too; otherwise not needed
    accumulate(X, y, total)  a block of a batch of `total` samples ...
    message()                ... what they add up to, for others to add to ...
    finish()                 ... and the update when all blocks have been given

    A whole step in one launch is cut as the device is large, a step in blocks in leaves, which
    follow from sizes alone: the two agree to rounding, and each to the bit with itself. Leaves on
    several devices have the same bits where the devices are of one kind.

    X (n, I) of the backend's dtype; y what the model's targets are, or labels of uint8. Targets may
    have weights: then losses and gradients are weighted means, and 0 where all weights are. Raises
    CannotFuse where the plan does not fit the device (widths above 128 but for a single hidden
    layer, more than five dense layers), ValueError for arrays of another dtype or shape.

    After every step the layers hold new `weights` and `biases`, `dweights` and `dbiases`
    (penalties included) and the optimizer's state under the book's names: views of one array
    each. What never left the multiprocessor (`inputs`, `output`, `dinputs`) says so when read.
    """

    name = "fused"
    weights = True

    def __init__(self, model: Network, plan: Plan, device: Device | None = None):
        super().__init__(model, plan, device)
        self._last: tuple[Any, Any, Any, Data | None] = (None, None, None, None)
        self._batch, self._leaves = SharedBatch(), dict[int, int]()
        self._weighed = 0  # rows of the batch under way that have weights

    def describe(self) -> str:
        """How steps over many samples run, for people."""
        build = self._describe
        kind = "a sample a thread, hidden units twice" if build.narrow else "tiles"
        return (
            f"one launch a step, {kind}: {build.tile} samples, {build.threads} threads, up to "
            f"{build.blocks} blocks; small batches in one block, many steps a launch"
        )

    # ---- steps ----
    def step(self, X: Array, y: Any) -> Measured:
        """One step over all of X (N, I) and targets y: mean loss, penalty, accuracy.

        Scalars on the device, in the plan's dtype.
        """
        data = self._data(X, y, "step")
        self._schedule.prepare(1, self._counters)
        weighted = data.weights is not None
        fresh = self._ledger.fresh(weighted)
        launch = partial(self._launch, data, data.rows, 0, 1, fresh)
        row = self._ledger.update(launch, self._count, 1, data.rows, fresh, weighted)
        return Measured(self._records, row)  # those of now: the launch may have begun new ones

    def run(
        self, X: Array, y: Any, steps: int, batch_size: int | None = None
    ) -> tuple[Array, Array, Array, Array]:
        """`steps` steps over X: losses, penalties, accuracies and rates, each (steps,).

        All of X at each step, or batch by batch from row 0, beginning anew after the last row.
        A small batch runs up to `Schedule.ROWS` steps a launch, a large one that is all of X
        goes GRAPH_STEPS steps at a time as a CUDA graph. `loss` and `accuracy` hold the
        sums since row 0 came last, as after `new_pass`.
        """
        data = self._data(X, y, "run")
        batch = min(data.rows, batch_size or data.rows)
        starts = range(0, data.rows, batch)
        weighted = data.weights is not None
        one = self._build(data.kind, batch, weighted=weighted).grid(batch) == 1
        # Where more than one block works on a step, the kernel sees one batch alone.
        cut = len(starts) > 1 and not one
        batches = [data.part(k, min(k + batch, data.rows)) for k in starts] if cut else [data]
        done = 0
        taken_rows: list[list[Any]] = []  # records, rates, first and last row of each schedule
        while done < steps:
            here = self._schedule.prepare(1 if cut else steps - done, self._counters)
            turn = done % len(starts)
            if one:
                launch = partial(self._launch, data, batch, starts[turn], here, turn == 0)
            elif cut:
                launch = partial(self._launch, batches[turn], batch, 0, 1, turn == 0)
            else:
                # The first goes alone: what a kernel loads at first use cannot be recorded.
                here = GRAPH_STEPS if done and here >= GRAPH_STEPS else 1
                launch = partial(self._launch, data, batch, 0, 1, True, launches=here)
            done += here
            samples = min(starts[(done - 1) % len(starts)] + batch, data.rows)
            row = self._ledger.update(launch, self._count, here, samples, True, weighted)
            if not row or not taken_rows:  # a schedule begins
                taken_rows.append([self._records, self._schedule.rates, row, row])
            taken_rows[-1][-1] = row + here
        records = self.xp.concatenate([r[begin:end] for r, _, begin, end in taken_rows])
        rates = self.xp.concatenate([r[begin:end] for _, r, begin, end in taken_rows])
        return records[:, 0], records[:, 1], records[:, 2], rates[:, 0]

    # ---- a batch in blocks ----
    def leaf(self, total: int) -> int:
        """Rows of a batch of `total` that are summed alone: of the plan and `total` alone."""
        if total not in self._leaves:
            self._leaves[total] = leaf_of(self.plan, total)
        return self._leaves[total]

    def begin(self, total: int) -> None:
        """A batch of `total` rows of which others may have some; its sums are 0.

        Raises RuntimeError while another is under way, ValueError for less than a row.
        """
        self._batch.begin(total)
        self._anew()

    def accumulate(self, X: Array, y: Any, total: int, first: int | None = None) -> None:
        """Add the gradient of the samples X, y: rows of a batch of `total`, leaf by leaf.

        first   number in a batch that `begin` has begun of the first of them, a multiple of
                leaf(total); None: they follow those given before

        Memory does not grow with `total`. Raises ValueError for rows that are not in the batch,
        or, where others may have the rest, no whole leaves.
        """
        data, leaf = self._data(X, y), self.leaf(total)
        at = self._batch.place(data.rows, total, first, leaf)
        if not self._batch.total:
            self._anew()
        try:
            for start in range(0, data.rows, leaf):
                rows = min(leaf, data.rows - start)
                self._launch(data, rows, start, 1, False, (leaf, at + start, total))
            self._batch.given(at, data.rows, total)
            self._weighed += 0 if data.weights is None else data.rows
        except BaseException:  # it may be added or not
            self._batch.forget()
            raise

    def fingerprint(self) -> int:
        """0: a number made of the parameters would wait for the device."""
        return 0

    def message(self) -> Array:
        """What has been accumulated, a `Message` where the engine keeps it: what others have may be
        added to it in place, on the current stream. Waits for nothing.

        Raises RuntimeError where no batch is under way.
        """
        self._batch.under_way("message")
        return self._words

    def finish(self) -> Measured:
        """The update from the message as it stands: mean loss, penalty, accuracy before it.

        Raises RuntimeError where rows are missing that nobody else can have, ValueError where some
        have weights and others have not. What others have is known to the device alone: where it is
        not of all rows then, or not of rows alike, the kernel updates nothing, and loss, penalty
        and accuracy are NaN.
        """
        mine = self._batch.rows
        samples = self._batch.end()
        weighted = weighed(self._weighed, mine) or not mine  # those of others may have weights
        self._schedule.prepare(1, self._counters)
        fresh = self._ledger.fresh(weighted)
        p, schedule = self._parameters, self._schedule
        build = cuda_kernel.end_of(self.plan, self._settings.penalties, self._device)
        arguments = (
            *(p.parameters, p.gradients, p.momentums, p.caches),
            *(self._counters, self._settings.dropouts, schedule.rates, self._settings.numbers),
            *(schedule.records, self._totals, self._words, samples, int(fresh)),
        )
        launch = partial(
            self._launcher.launch,
            *("fused_end", "fused_end", (1,), build.threads, arguments, self._dtype),
            **dict(build.definitions),
        )
        row = self._ledger.update(launch, self._count, 1, samples, fresh, weighted)
        return Measured(schedule.records, row)

    # ---- inside a step ----
    def _data(self, X: Array, y: Any, step: str = "") -> Data:
        """The data, checked; for a whole step, called so, what `_refresh` brings, too."""
        if step:
            self._batch.none(step)
        values, weights = getattr(y, "values", y), weights_of(y)
        *last, data = self._last
        if data is None or not all(map(is_, (X, values, weights), last)):
            data = checked(self.plan, self.xp, self._dtype, X, values, weights)
            self._last = X, values, weights, data
        if step:
            self._refresh()
        return data

    def _anew(self) -> None:
        """A batch in blocks begins: with the model as it is now, and sums of 0."""
        self._refresh()
        self._weighed = 0
        if self._words.size == 1:
            self._words = self.xp.zeros(self._message.size, np.int64)
            self.ready.clear()
        else:
            self._words[...] = 0
