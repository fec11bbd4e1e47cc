"""The fused training step on a GPU: one launch of kernels/fused.cu a step, or one for many.

`FusedSteps(model, plan)` is what `Model.train` and `engine(model)` use for the backends with
CuPy arrays. All buffers are allocated when it is made or when a new kind of batch comes; a
step then starts one kernel and returns. Nothing waits for the device: losses and accuracies
come back as arrays of it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend.cupy_backend import CupyBackend
from ..backend.numpy_backend import CLIP
from . import cuda_kernel
from .cuda_buffers import Parameters, Schedule, dropout_of, settings_of
from .cuda_kernel import BYTES, LABELS, NUMBERS, Build, Device
from .cuda_wide import TiledSteps
from .plan import CannotFuse, Plan, stage_parts

Array = Any


class KernelSteps:
    """Whole training steps of `model` as `plan` describes it.

    Raises CannotFuse where the plan does not fit the device (widths above 128 but for a single
    hidden layer, more than five dense layers).

    After every step the layers hold new `weights` and `biases`, `dweights` and `dbiases`
    (penalties included) and the optimizer's state under the book's names: views of one array
    each. What never left the multiprocessor (`inputs`, `output`, `dinputs`) is None.
    """

    name = "fused"

    def __init__(self, model: Any, plan: Plan, device: Device | None = None):
        self.model, self.plan, self.backend = model, plan, model.backend
        self.xp = model.backend.xp
        self._launcher = launcher_of(model.backend)
        self._device = device or device_of(self.xp)
        self._parts = stage_parts(model)
        self._builds: dict[tuple[Any, ...], Build] = {}
        softmax = plan.loss == "softmax_cross_entropy"
        for targets in (
            (NUMBERS, LABELS) if softmax else (NUMBERS,)
        ):  # raises where one does not fit
            self._describe = self._build(targets, 1 << 20)
        dtype = self.backend.dtype
        self._parameters = Parameters(model, plan, self._parts)
        self._schedule = Schedule(self.xp, dtype)
        self._settings = self.xp.zeros(10 + 5 * len(plan.stages), dtype)
        self._settings_host: tuple[float, ...] = ()
        self._dropouts = self.xp.zeros((len(plan.stages), 5), np.uint32)
        self._dropouts_host: list[tuple[int, int, int]] = []
        self._totals = self.xp.zeros(4, dtype)
        self._loss_sum = self._totals[:1].reshape(())  # views, in NumPy as well
        self._right_sum = self._totals[2:3].reshape(())
        self._unused = {
            LABELS: self.xp.zeros(1, np.int32),
            BYTES: self.xp.zeros(1, np.uint8),
            NUMBERS: self.xp.zeros(1, dtype),
        }
        self._counters = self.xp.zeros(2, np.uint32)
        self._partials = self.xp.zeros((0, plan.parameters + 2), dtype)
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
    def step(self, X: Array, y: Any) -> tuple[Array, Array, Array]:
        """One step over all of X (N, I) and targets y: mean loss, penalty, accuracy.

        Scalars on the device, in the plan's dtype. Raises TypeError or ValueError for arrays
        of another dtype or shape.
        """
        records, _ = self._run(X, y, 1, None)
        return records[0, 0], records[0, 1], records[0, 2]

    def run(
        self, X: Array, y: Any, steps: int, batch_size: int | None = None
    ) -> tuple[Array, Array, Array, Array]:
        """`steps` steps over X, batch by batch from row 0, beginning anew after the last row.

        Losses, penalties, accuracies and rates, each (steps,) on the device. A small batch runs
        up to `Schedule.ROWS` steps a launch. `loss` and `accuracy` hold the sums since row 0
        came last, as after `new_pass`.
        """
        self.model.loss.new_pass()
        if self.model.accuracy is not None:
            self.model.accuracy.new_pass()
        records, rates = self._run(X, y, steps, batch_size)
        return records[:, 0], records[:, 1], records[:, 2], rates

    def _run(self, X: Array, y: Any, steps: int, batch_size: int | None) -> tuple[Array, Array]:
        """Records (steps, 3) and rates (steps,)."""
        X, values, targets = self._data(X, y)
        batch = min(len(X), batch_size or len(X))
        build = self._build(targets, batch)
        self._refresh()
        first, done = 0, 0
        parts: list[tuple[Array, Array]] = []
        while done < steps:
            one = build.grid(batch) == 1
            here = self._schedule.prepare(self.model.optimizer, steps - done, self._counters)
            here = here if one else min(here, 1)
            fresh = first == 0 if done else self._fresh()
            parts.append(self._launch(build, (X, values, targets), batch, first, here, fresh))
            passes = -(-len(X) // batch)
            first = (first // batch + here) % passes * batch
            done += here
        if len(parts) == 1:
            return parts[0]
        records, rates = zip(*parts, strict=True)
        return self.xp.concatenate(records), self.xp.concatenate(rates)

    def _launch(
        self,
        build: Build,
        data: tuple[Array, Array, int],
        batch: int,
        first: int,
        steps: int,
        fresh: bool,
    ) -> tuple[Array, Array]:
        """One launch and what it means for the model's objects; the records of its steps."""
        schedule, (X, values, targets) = self._schedule, data
        whole = steps == 1 and len(X) > batch
        last = min(first + batch, len(X))
        if whole:  # a batch of many: the kernel sees only it
            X, values, first, last = X[first:last], values[first:last], 0, last - first
        grid = build.grid(batch)
        self._reserve(grid)
        given = self._unused | {targets: values}
        p = self._parameters
        arguments = (
            *(X, given[LABELS], given[BYTES], given[NUMBERS]),
            *(p.parameters, p.gradients, p.momentums, p.caches),
            *(self._partials, self._counters, self._dropouts, schedule.rates, self._settings),
            *(schedule.records, self._totals),
            *(len(X), min(batch, len(X)), first, steps, int(fresh)),
        )
        self._launcher.launch(
            *("fused", "fused_step", (grid,), build.threads, arguments, self.backend.dtype),
            **dict(build.definitions),
        )
        taken = schedule.taken(steps)
        self._advance(len(X), min(batch, len(X)), first, steps, fresh)
        return taken

    # ---- what the model's objects see ----
    def _fresh(self) -> bool:
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

    def _advance(self, rows: int, batch: int, first: int, steps: int, fresh: bool) -> None:
        """Counts `steps` steps that began at row `first` of `rows` in the model's objects."""
        model = self.model
        passes = -(-rows // batch)
        begun = first // batch + steps  # batches since row 0 of the first of these passes
        samples = (begun - 1) % passes * batch  # before the last step, in its pass
        samples += min(batch, rows - samples)
        if begun <= passes:  # no new pass since the first step
            samples -= first
            samples += 0 if fresh else model.loss.accumulated_count
        model.loss.accumulated_sum, model.loss.accumulated_count = self._loss_sum, samples
        if model.accuracy is not None:
            each = self.plan.n_outputs if self.plan.accuracy in ("threshold", "close") else 1
            model.accuracy.accumulated_sum = self._right_sum
            model.accuracy.accumulated_count = samples * each
        model.optimizer.iterations += steps - 1
        model.optimizer.pre_update_params()
        model.optimizer.post_update_params()
        for number, part in enumerate(self._parts):
            if part.dropout is not None:
                part.dropout.calls += steps
                seed, keep, calls = self._dropouts_host[number]
                self._dropouts_host[number] = (seed, keep, calls + steps)
                part.dropout.binary_mask = None
        for layer in model.layers:
            layer.inputs = layer.output = layer.dinputs = None

    # ---- what is on the device ----
    def _data(self, X: Array, y: Any) -> tuple[Array, Array, int]:
        """X, the targets' values and what they are: LABELS, BYTES or NUMBERS."""
        values = getattr(y, "values", y)
        dtype, plan = self.backend.dtype, self.plan
        if X.ndim != 2 or X.shape[1] != plan.n_inputs or X.dtype != dtype or len(X) == 0:
            raise ValueError(
                f"fused step: got data of shape {X.shape}, {X.dtype}, expected "
                f"(samples, {plan.n_inputs}), {dtype}; use backend.asarray(X)"
            )
        classes = plan.loss == "softmax_cross_entropy" and values.ndim == 1
        kinds = (
            {np.dtype(np.int32): LABELS, np.dtype(np.uint8): BYTES} if classes else {dtype: NUMBERS}
        )
        shape = (len(X),) if classes else (len(X), plan.n_outputs)
        if values.dtype not in kinds or values.size != np.prod(shape) or len(values) != len(X):
            expected = "int32 or uint8" if classes else dtype
            raise ValueError(
                f"fused step: got targets of shape {values.shape}, {values.dtype}, expected "
                f"{shape}, {expected}; use the loss's targets(...)"
            )
        contiguous = self.xp.ascontiguousarray
        return contiguous(X), contiguous(values), kinds[values.dtype]

    def _build(self, targets: int, rows: int) -> Build:
        """The build for steps over `rows` samples; chosen once for each size."""
        penalties = any(
            getattr(part.dense, f"{what}_regularizer_{kind}") > 0
            for part in self._parts
            for what in ("weight", "bias")
            for kind in ("l1", "l2")
        )
        key = (targets, rows, penalties)
        if key not in self._builds:
            self._builds[key] = cuda_kernel.choose(
                self.plan, *key[:1], penalties, rows, self._device
            )
        return self._builds[key]

    def _reserve(self, blocks: int) -> None:
        """Scratch memory for `blocks` blocks."""
        rows = cuda_kernel.partial_rows(blocks)
        if rows > len(self._partials):
            self._partials = self.xp.zeros((rows, self.plan.parameters + 2), self.backend.dtype)
            counters = self.xp.zeros(2 + rows, np.uint32)
            counters[:1] = self._counters[:1]
            self._counters = counters

    def _refresh(self) -> None:
        """Brings what somebody changed since the last step to the device: usually nothing."""
        self._parameters.refresh()
        settings = settings_of(self.model, self._parts, CLIP)
        if settings != self._settings_host:
            host = np.array(settings, self.backend.dtype)
            self._settings[...] = self.xp.asarray(host)
            self._settings_host = settings
        dropouts = [dropout_of(part.dropout) for part in self._parts]
        if dropouts != self._dropouts_host:
            words = [(s & MASK, s >> 32, k & MASK, k >> 32, call) for s, k, call in dropouts]
            self._dropouts[...] = self.xp.asarray(np.array(words, np.uint32))
            self._dropouts_host = dropouts


MASK = 0xFFFFFFFF


def FusedSteps(model: Any, plan: Plan) -> KernelSteps | TiledSteps:  # noqa: N802 - made like one
    """The engine for `plan`: one kernel a step where it fits, else tiles of rows.

    Raises CannotFuse with the reasons of both where neither takes the plan.
    """
    launcher_of(model.backend)  # raises where no kernel runs at all
    try:
        return KernelSteps(model, plan)
    except CannotFuse as narrow:
        try:
            return TiledSteps(model, plan)
        except CannotFuse as wide:
            raise CannotFuse(f"{narrow}; {wide}") from None


def launcher_of(backend: Any) -> Any:
    """What starts kernels: the backend's own, or one for the Numba backend's CuPy arrays.

    Raises CannotFuse under Numba's simulator, which runs no CUDA C++.
    """
    if isinstance(backend, CupyBackend):
        return backend._calls.launcher
    if backend.xp is np:
        raise CannotFuse("Numba's CUDA simulator does not run CUDA C++")
    from ..backend.cuda_launch import CudaLauncher

    return CudaLauncher()


def device_of(xp: Any) -> Device:
    """The current device; for NumPy arrays the emulator, taken as a small one."""
    if xp is np:
        return Device(processors=3, shared=99 * 1024, dynamic=False)
    attributes = xp.cuda.Device().attributes
    return Device(attributes["MultiProcessorCount"], attributes["MaxSharedMemoryPerBlockOptin"])
