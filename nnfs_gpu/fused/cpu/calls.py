"""Calls of the compiled step: with the functions that a plan needs, on one thread or several.

The calling thread leads. Workers that have joined follow its calls, and help in each of them
until there has been none for a while: see kernels/fused_cpu/step.py.
"""

from __future__ import annotations

from typing import Any

import numba

from ...backend.cpu import launch
from ...kernels.cpu.waiting import APART
from ...kernels.fused_cpu import pointers, tables as k
from ...kernels.fused_cpu.group import group
from ...kernels.fused_cpu.narrow import narrow_group
from ...kernels.fused_cpu.samples import gather
from ...kernels.fused_cpu.step import train
from ..plan import Plan
from .groups import Groups
from .layout import Layout

Array = Any

# Threads that are there meet three times a step, in less than a microsecond. To invite them costs
# some 10 microseconds, and as much again until they have come.
SHARED_STEP = 1_500_000  # operations in a step, for which others are asked to help,
INVITATION = 20_000_000  # and which have been done alone
WATCH = 1_000_000  # ns that those who help look for more to do
NO_CALL = (0,) * 12
ORDER = -1  # where a call has the order of its samples


class StepCalls:
    """The tables of a plan, workspaces by thread, and who helps: what the CPU engine builds on.

    layout, groups  what the plan needs in memory, and how a batch is cut
    """

    def __init__(self, plan: Plan):
        self.plan, self.layout = plan, Layout(plan)
        self.groups = Groups(self.layout)
        self._like = self.layout.dtype.type(0)
        self._tables = self.layout.head.ctypes.data
        self._workspaces = {0: self.layout.make_workspace()}  # by number of the thread
        self._soft: bool | None = None  # whether the pointers in head are for soft targets
        self._missed = 0  # operations that others could have helped with
        self._crew: Any = None  # whose workers those are that follow

    def _load_pointers(self) -> None:
        """The functions that this plan needs: compiled, or loaded from the disk."""
        head, plan, real = self.layout.head, self.plan, numba.typeof(self._like)
        soft = bool(head[k.SOFT])
        if self._soft == soft:
            return
        whole, precise = numba.int64, numba.float64
        loss = plan.loss
        if soft and loss == "softmax_cross_entropy":
            loss += "_soft"
        head[k.LOSS_POINTER] = pointers.LOSSES[loss].address(*[whole] * 7, real)
        update = pointers.UPDATES[plan.optimizer]
        head[k.UPDATE_POINTER] = update.address(whole, whole, whole, precise, whole, real)
        if any(stage.dropout for stage in plan.stages):
            head[k.DROPOUT_POINTER] = pointers.dropout.address(*[whole] * 7, real)
        if any(stage.activation == "sigmoid" for stage in plan.stages[:-1]):
            between = *[whole] * 4, real
            head[k.SIGMOID_POINTER] = pointers.sigmoid.address(*between)
            head[k.SIGMOID_GRADIENT_POINTER] = pointers.sigmoid_gradient.address(*between)
        step = *[whole] * 11, real
        if plan.narrow:
            inputs, outputs = plan.narrow
            # Rows of soft labels sum to 1 within a tolerance: the gradients to 0 only so nearly.
            outputs = plan.n_outputs if soft else outputs
            shape = numba.types.literal(inputs), numba.types.literal(outputs)
            head[k.GROUP_POINTER] = narrow_group.address(*step, *shape)
        else:
            head[k.GROUP_POINTER] = group.address(*step, whole, whole)
        self._soft = soft

    def _load_gather(self) -> None:
        """The function that reads samples in an order."""
        real = numba.typeof(self._like)
        self.layout.head[k.GATHER_POINTER] = gather.address(*[numba.int64] * 8, real)

    def _train(
        self, thread: int, role: int, call: tuple[Any, ...], watch: tuple[int, int, int] = (0, 0, 0)
    ) -> None:
        """Thread number `thread` in its role: see `train`."""
        if role != k.FOLLOW:
            self._load_pointers()
            if call[ORDER] and not self.layout.head[k.GATHER_POINTER]:
                self._load_gather()
        train(self._tables, self._workspace(thread), role, *call, *watch, self._like)

    def _shared(self, n: int, per: int, steps: int) -> bool:
        """Whether others help with so many steps over n samples; invites them where they are not
        there, once they have been missed for as long as an invitation is worth.
        """
        work = self.groups.work(n)
        if work < SHARED_STEP:
            return False
        allowed = launch.threads_allowed()
        threads = min(allowed, max(-(-n // per), len(self.layout.pieces)))
        if threads == 1:
            return False
        crew = launch.workers()
        if crew is not self._crew:  # none yet, or of the process that this one was forked from
            self._crew = crew
            self.layout.cells[k.PRESENT * APART] = 0
        present = int(self.layout.cells[k.PRESENT * APART])
        if present >= allowed:  # fewer are allowed than once were
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
