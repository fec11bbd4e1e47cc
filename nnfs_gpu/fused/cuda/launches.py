"""Buffers of the GPU's fused step and its launches: what `KernelSteps` starts, made ready once.

`Launches` is the lower half of `engine.KernelSteps`: it knows builds, grids and addresses, and not
when a step begins. Everything is allocated when it is made or when a new kind of batch comes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...backend.numpy_backend import CLIP
from ...network.engine import Message
from ...network.network import Network
from ..plan import Plan
from ..stages import stage_parts
from . import build as cuda_kernel, device as cuda_device
from .buffers import Parameters, Schedule, Settings
from .build import BYTES, LABELS, NUMBERS, Build, Device
from .data import Data, Ready
from .ledger import Ledger, totals_of

Array = Any

DATA, SIZES = 0, 17  # places of the kernel's arguments that change from launch to launch


class Launches:
    """Launches of fused.cu for `model`, as `plan` describes it.

    Raises CannotFuse where the plan does not fit the device.
    """

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
        totals = totals_of(model)
        self._totals = totals.array
        self._ledger = Ledger(model, self._schedule, self._settings, totals, plan.answers)
        self._unused = {
            LABELS: self.xp.zeros(1, np.int32),
            BYTES: self.xp.zeros(1, np.uint8),
            NUMBERS: self.xp.zeros(1, self._dtype),
        }
        self._counters = self.xp.zeros(3, np.uint32)
        self._partials = self.xp.zeros((0, plan.parameters + 3), self._dtype)
        self._message = Message(plan.parameters)
        self._words = self.xp.zeros(1, np.int64)  # grows with the first batch that is not a step
        self._builds: dict[tuple[Any, ...], Build] = {}
        self.ready: dict[tuple[Any, ...], Ready] = {}
        self._records = self._schedule.records  # that the launches in `ready` have
        self._reserve(1)

    def _refresh(self) -> None:
        """Everything on the device as the model's objects have it now."""
        self._parameters.refresh()
        self._settings.refresh()

    def _launch(
        self,
        data: Data,
        batch: int,
        first: int,
        steps: int,
        fresh: bool,
        part: tuple[int, int, int] = (0, 0, 0),
        launches: int = 1,
    ) -> None:
        """One launch, or several alike.

        part      rows of a leaf, the number of its first row in the batch, rows of the batch:
                  the launch does a leaf; zeros: whole steps
        launches  more than one go as a CUDA graph
        """
        if self._records is not self._schedule.records:
            self.ready.clear()
            self._records = self._schedule.records
        leaf, before, total = part
        weighted = data.weights is not None
        key = (data.kind, batch, leaf, self._settings.penalties and not leaf, weighted)
        ready = self.ready.get(key) or self._prepare(key, data)
        if data is not ready.data:
            ready.data = ready.graph = None  # until it is there
            ready.launch.put(DATA, *self._given(data))
            ready.data = data
        sizes = (data.rows, batch, first, steps, int(fresh), before, total)
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

    def _given(self, data: Data) -> tuple[Array, ...]:
        """The arguments from DATA on: X, targets of every kind, weights."""
        given = self._unused | {data.kind: data.values}
        weights = self._unused[NUMBERS] if data.weights is None else data.weights
        return data.X, given[LABELS], given[BYTES], given[NUMBERS], weights

    def _prepare(self, key: tuple[Any, ...], data: Data) -> Ready:
        """A launch for batches of a kind and a size, with this data in it."""
        kind, batch, leaf, _, weighted = key
        build = self._build(kind, leaf or batch, leaf > 0, weighted)
        self._reserve(build.grid(batch))
        p, settings, schedule = self._parameters, self._settings, self._schedule
        arguments = (
            *self._given(data),
            *(p.parameters, p.gradients, p.momentums, p.caches),
            *(self._partials, self._counters, settings.dropouts, schedule.rates, settings.numbers),
            *(schedule.records, self._totals, self._words),
            *(0,) * 7,
        )
        launch = self._launcher.prepare(
            *("fused", "fused_step", (build.grid(batch),), build.threads, arguments, self._dtype),
            **dict(build.definitions),
        )
        ready = self.ready[key] = Ready(launch, data)
        return ready

    def _build(self, kind: int, rows: int, part: bool = False, weighted: bool = False) -> Build:
        """The build for steps over `rows` samples, or leaves of them; chosen once for each size."""
        key = (kind, rows, part, weighted, self._settings.penalties)
        if key not in self._builds:
            self._builds[key] = cuda_kernel.choose(
                self.plan, kind, self._settings.penalties, rows, self._device, part, weighted
            )
        return self._builds[key]

    def _reserve(self, blocks: int) -> None:
        """Scratch memory for `blocks` blocks."""
        rows = cuda_kernel.partial_rows(blocks)
        if rows > len(self._partials):
            self._partials = self.xp.zeros((rows, self.plan.parameters + 3), self._dtype)
            counters = self.xp.zeros(3 + rows, np.uint32)
            counters[:2] = self._counters[:2]
            self.ready.clear()  # first: one that was made for the others must not be launched
            self._counters = counters

    def _count(self) -> int:
        """The rows of the schedule that the kernel has used. Waits for the device."""
        return int(self._counters[0])
