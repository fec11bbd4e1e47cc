"""The fused training step on a GPU: one launch of fused.cu a step, or one for many.

All buffers are allocated when `KernelSteps` is made or when a new kind of batch comes; a step
then starts one kernel and returns. Nothing waits for the device: losses and accuracies stay
there until somebody reads them.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from ...backend.cuda.errors import reported
from ...backend.numpy_backend import CLIP
from ...network.engine import Batch, Sums
from ...network.network import Network
from ..plan import Plan
from ..stages import stage_parts
from . import build as cuda_kernel, device as cuda_device
from .buffers import Parameters, Schedule, Settings
from .build import BYTES, LABELS, NUMBERS, Build, Device
from .data import Data, Measured, Ready, checked
from .ledger import Ledger

Array = Any

GRAPH_STEPS = 32  # launches of a CUDA graph: a replay costs the CPU as much as one of them
DATA, SIZES = 0, 16  # places of the kernel's arguments that change from launch to launch


@reported
class KernelSteps:
    """Whole training steps of `model` as `plan` describes it.

    step(X, y)               a step: forward, loss, accuracy, backward, update
    run(X, y, steps)         many steps, where one block does a step many in a launch
    accumulate(X, y, total)  a block of a batch of `total` samples ...
    finish()                 ... and the update when all blocks have been given

    X (n, I) of the backend's dtype; y what the model's targets are, or labels of uint8. Raises
    CannotFuse where the plan does not fit the device (widths above 128 but for a single hidden
    layer, more than five dense layers), ValueError for arrays of another dtype or shape.

    After every step the layers hold new `weights` and `biases`, `dweights` and `dbiases`
    (penalties included) and the optimizer's state under the book's names: views of one array
    each. What never left the multiprocessor (`inputs`, `output`, `dinputs`) says so when read.
    """

    name = "fused"

    def __init__(self, model: Network, plan: Plan, device: Device | None = None):
        self.model, self.plan, self.backend = model, plan, model.backend
        self.xp, self._dtype = model.backend.xp, model.backend.dtype
        self._launcher = cuda_device.launcher_of(model.backend)
        self._device = device or cuda_device.device_of(self.xp)
        # Raises where one does not fit.
        for targets in (NUMBERS, LABELS) if plan.classes else (NUMBERS,):
            self._describe = cuda_kernel.choose(plan, targets, False, 1 << 20, self._device)
        parts = stage_parts(model)
        self._parameters = Parameters(model, plan, parts)
        self._settings = Settings(model, plan, parts, CLIP)
        self._schedule = Schedule(self.xp, self._dtype, model.optimizer)
        self._totals = self.xp.zeros(4, self._dtype)
        self._ledger = Ledger(model, self._schedule, self._settings, self._totals, plan.answers)
        self._unused = {
            LABELS: self.xp.zeros(1, np.int32),
            BYTES: self.xp.zeros(1, np.uint8),
            NUMBERS: self.xp.zeros(1, self._dtype),
        }
        self._counters = self.xp.zeros(3, np.uint32)
        self._partials = self.xp.zeros((0, plan.parameters + 2), self._dtype)
        self._sums = self.xp.zeros((2, 1), self._dtype)  # grows with the first `accumulate`
        self._builds: dict[tuple[Any, ...], Build] = {}
        self.ready: dict[tuple[Any, ...], Ready] = {}
        self._records = self._schedule.records  # that the launches in `ready` have
        self._last: tuple[Any, Any, Data | None] = (None, None, None)
        self._batch = Batch()
        self._reserve(1)

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
        data = self._begin(X, y, "step")
        self._schedule.prepare(1, self._counters)
        fresh = self._ledger.fresh()
        samples = data.rows if fresh else self.model.loss.accumulated_count + data.rows
        launch = partial(self._launch, data, data.rows, 0, 1, fresh)
        row = self._ledger.update(launch, self._count, 1, samples)
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
        data = self._begin(X, y, "run")
        batch = min(data.rows, batch_size or data.rows)
        starts = range(0, data.rows, batch)
        one = self._build(data.kind, batch).grid(batch) == 1
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
            row = self._ledger.update(launch, self._count, here, samples)
            if not row or not taken_rows:  # a schedule begins
                taken_rows.append([self._records, self._schedule.rates, row, row])
            taken_rows[-1][-1] = row + here
        records = self.xp.concatenate([r[begin:end] for r, _, begin, end in taken_rows])
        rates = self.xp.concatenate([r[begin:end] for _, r, begin, end in taken_rows])
        return records[:, 0], records[:, 1], records[:, 2], rates[:, 0]

    def accumulate(self, X: Array, y: Any, total: int) -> None:
        """Add the gradient of the samples X, y: the next rows of a batch of `total` rows.

        Memory does not grow with `total`. Raises ValueError for more rows than `total`.
        """
        data = self._begin(X, y, None)
        self._batch.first(data.rows, total)
        if self._sums.shape[1] == 1:
            self._sums = self.xp.zeros((2, self.plan.parameters + 2), self._dtype)
            self.ready.clear()
        try:
            self._launch(data, data.rows, 0, 1, False, total)
            self._batch.add(data.rows, total)
        except BaseException:  # it may be added or not
            self._batch.forget()
            raise

    def summed(self) -> Sums:
        """See `Engine`."""
        self._batch.under_way("summed")
        total, lost = self._sums.astype(np.float64)
        total += lost
        pairs = self._parameters.cut(total)
        rows = self._batch.rows
        return Sums(pairs, total[-2], total[-1], rows, rows * self.plan.answers)

    def replace(self, sums: Sums) -> None:
        """See `Engine`."""
        self._batch.replace(sums.rows)
        flat = [values.reshape(-1) for pair in sums.gradients for values in pair]
        ends = [self.xp.asarray(one).reshape(1) for one in (sums.losses, sums.right)]
        total = self.xp.concatenate([*flat, *ends])
        self._sums[0] = total
        self._sums[1] = total - self._sums[0]

    def finish(self) -> Measured:
        """The update from all blocks: mean loss, penalty, accuracy of the batch before it."""
        samples = self._batch.end()
        self._schedule.prepare(1, self._counters)
        fresh = self._ledger.fresh()
        p, schedule = self._parameters, self._schedule
        build = cuda_kernel.end_of(self.plan, self._settings.penalties, self._device)
        arguments = (
            *(p.parameters, p.gradients, p.momentums, p.caches),
            *(self._counters, self._settings.dropouts, schedule.rates, self._settings.numbers),
            *(schedule.records, self._totals, self._sums, samples, int(fresh)),
        )
        launch = partial(
            self._launcher.launch,
            *("fused_end", "fused_end", (1,), build.threads, arguments, self._dtype),
            **dict(build.definitions),
        )
        so_far = 0 if fresh else self.model.loss.accumulated_count
        row = self._ledger.update(launch, self._count, 1, so_far + samples)
        return Measured(schedule.records, row)

    # ---- inside a step ----
    def _begin(self, X: Array, y: Any, what: str | None) -> Data:
        """The data, checked; and everything on the device as the model's objects have it now.

        A step in blocks (`what` None) takes them as they are at its first block.
        """
        if what:
            self._batch.none(what)
        values = getattr(y, "values", y)
        last_X, last_values, data = self._last
        if data is None or X is not last_X or values is not last_values:
            data = checked(self.plan, self.xp, self._dtype, X, values)
            self._last = X, values, data
        if not self._batch.total:
            self._parameters.refresh()
            self._settings.refresh()
        return data

    def _launch(
        self,
        data: Data,
        batch: int,
        first: int,
        steps: int,
        fresh: bool,
        total: int = 0,
        launches: int = 1,
    ) -> None:
        """One launch, or several alike.

        total     of a batch in blocks: the launch does a part of a step
        launches  more than one go as a CUDA graph
        """
        if self._records is not self._schedule.records:
            self.ready.clear()
            self._records = self._schedule.records
        key = (data.kind, batch, total > 0, self._settings.penalties)
        ready = self.ready.get(key) or self._prepare(key, data)
        if data is not ready.data:
            given = self._unused | {data.kind: data.values}
            ready.data = ready.graph = None  # until it is there
            ready.launch.put(DATA, data.X, given[LABELS], given[BYTES], given[NUMBERS])
            ready.data = data
        sizes = (data.rows, batch, first, steps, int(fresh), self._batch.rows, total)
        if sizes != ready.sizes:
            ready.sizes, ready.graph = (), None
            ready.launch.put(SIZES, *sizes)
            ready.sizes = sizes
        if launches == 1:
            ready.launch()
        else:
            if ready.graph is None:
                ready.graph = cuda_device.captured(self.xp, ready.launch, launches)
            ready.graph()

    def _prepare(self, key: tuple[Any, ...], data: Data) -> Ready:
        """A launch for batches of a kind and a size, with this data in it."""
        kind, batch, part, _ = key
        build = self._build(kind, batch, part)
        self._reserve(build.grid(batch))
        given = self._unused | {kind: data.values}
        p, settings, schedule = self._parameters, self._settings, self._schedule
        arguments = (
            *(data.X, given[LABELS], given[BYTES], given[NUMBERS]),
            *(p.parameters, p.gradients, p.momentums, p.caches),
            *(self._partials, self._counters, settings.dropouts, schedule.rates, settings.numbers),
            *(schedule.records, self._totals, self._sums),
            *(0,) * 7,
        )
        launch = self._launcher.prepare(
            *("fused", "fused_step", (build.grid(batch),), build.threads, arguments, self._dtype),
            **dict(build.definitions),
        )
        ready = self.ready[key] = Ready(launch, data)
        return ready

    def _build(self, kind: int, rows: int, part: bool = False) -> Build:
        """The build for steps over `rows` samples; chosen once for each size."""
        key = (kind, rows, part, self._settings.penalties)
        if key not in self._builds:
            self._builds[key] = cuda_kernel.choose(
                self.plan, kind, self._settings.penalties, rows, self._device, part
            )
        return self._builds[key]

    def _reserve(self, blocks: int) -> None:
        """Scratch memory for `blocks` blocks."""
        rows = cuda_kernel.partial_rows(blocks)
        if rows > len(self._partials):
            self._partials = self.xp.zeros((rows, self.plan.parameters + 2), self._dtype)
            counters = self.xp.zeros(3 + rows, np.uint32)
            counters[:2] = self._counters[:2]
            self.ready.clear()  # first: one that was made for the others must not be launched
            self._counters = counters

    def _count(self) -> int:
        """The rows of the schedule that the kernel has used. Waits for the device."""
        return int(self._counters[0])
