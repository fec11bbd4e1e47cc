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
from ..vocabulary import refuse_unknown
from .groups import Groups
from .layout import Layout

Array = Any

# Threads that are there meet three times a step, in less than a microsecond. To have them follow
# costs some 10 microseconds, and as much again until they have come.
SHARED_STEP = 1_500_000  # operations in a step, for which others are asked to help,
WORTH_FOLLOWING = 20_000_000  # and which have been done alone
WATCH = 1_000_000  # ns that those who help look for more to do
NO_CALL = (0,) * 12
ENGINE = "the CPU's fused step"
ORDER, WHAT = -1, 8  # where a call has the order of its samples, and what is to be done
BLOCKS = k.COLLECT | k.FINISH  # of what: a call that collects and does not finish is a block


class StepCalls:
    """The tables of a plan, workspaces by thread, and who helps: what the CPU engine builds on.

    layout, groups  what the plan needs in memory, and how a batch is cut

    Raises CannotFuse for a name of the vocabulary without a kernel.
    """

    def __init__(self, plan: Plan):
        for stage in plan.stages:
            refuse_unknown(ENGINE, "activation", stage.activation, pointers.ACTIVATIONS)
        refuse_unknown(ENGINE, "loss", plan.loss, pointers.LOSSES)
        refuse_unknown(ENGINE, "optimizer", plan.optimizer, pointers.UPDATES)
        self.plan, self.layout = plan, Layout(plan)
        self.groups = Groups(self.layout)
        self._like = self.layout.dtype.type(0)
        self._tables = self.layout.head.ctypes.data
        self._workspaces = {0: self.layout.make_workspace()}  # by number of the thread
        # Whether the pointers in head are for soft targets, and for weights.
        self._kind: tuple[bool, bool] | None = None
        self._missed = 0  # operations that others could have helped with
        self._pool: Any = None  # whose workers those are that follow

    def _load_pointers(self) -> None:
        """The functions that this plan needs: compiled, or loaded from the disk."""
        head, plan = self.layout.head, self.plan
        kind = soft, weighted = bool(head[k.SOFT]), bool(head[k.WEIGHTS])
        if self._kind == kind:
            return
        real = numba.typeof(self._like)
        whole, precise = numba.int64, numba.float64
        loss = plan.loss
        if soft and plan.classes:
            loss += "_soft"
        judge = pointers.LOSSES[loss].address(*[whole] * 7, real)
        if weighted:
            head[k.WEIGHED_LOSS_POINTER] = judge
            judge = pointers.weighted.address(*[whole] * 7, real)
        head[k.LOSS_POINTER] = judge
        update = pointers.UPDATES[plan.optimizer]
        head[k.UPDATE_POINTER] = update.address(whole, whole, whole, precise, whole, real)
        if any(stage.dropout for stage in plan.stages):
            head[k.DROPOUT_POINTER] = pointers.dropout.address(*[whole] * 7, real)
        # The last stage's activation is done by the loss.
        for row, stage in zip(self.layout.table[:-1], plan.stages, strict=False):
            known = pointers.ACTIVATIONS[stage.activation]
            for at, function in (
                (k.ACTIVATION_POINTER, known.function),
                (k.GRADIENT_POINTER, known.gradient),
            ):
                row[at] = 0 if function is None else function.address(*[whole] * 4, real)
        step = *[whole] * 11, real
        if plan.narrow:
            inputs, outputs = plan.narrow
            # Rows of soft labels sum to 1 within a tolerance: the gradients to 0 only so nearly.
            outputs = plan.n_outputs if soft else outputs
            shape = numba.types.literal(inputs), numba.types.literal(outputs)
            head[k.GROUP_POINTER] = narrow_group.address(*step, *shape)
        else:
            head[k.GROUP_POINTER] = group.address(*step, whole, whole)
        self._kind = kind

    def _load_gather(self) -> None:
        """The function that reads samples in an order."""
        real = numba.typeof(self._like)
        self.layout.head[k.GATHER_POINTER] = gather.address(*[numba.int64] * 8, real)

    def _load_collect(self) -> None:
        """The function that adds up a batch which comes in several calls."""
        real, whole = numba.typeof(self._like), numba.int64
        address = pointers.collect_piece.address(whole, whole, whole, whole, real)
        self.layout.head[k.COLLECT_POINTER] = address

    def _train(
        self, thread: int, role: int, call: tuple[Any, ...], watch: tuple[int, int, int] = (0, 0, 0)
    ) -> None:
        """Thread number `thread` in its role: see `train`."""
        if role != k.FOLLOW:
            self._load_pointers()
            if call[ORDER] and not self.layout.head[k.GATHER_POINTER]:
                self._load_gather()
            if call[WHAT] & BLOCKS == k.COLLECT and not self.layout.head[k.COLLECT_POINTER]:
                self._load_collect()
        train(self._tables, self._workspace(thread), role, *call, *watch, self._like)

    def _shared(self, n: int, per: int, steps: int) -> bool:
        """Whether others help with so many steps over n samples; has them follow where they do
        not, once they have been missed for as long as that is worth.
        """
        work = self.groups.work(n)
        if work < SHARED_STEP:
            return False
        allowed = launch.threads_allowed()
        threads = min(allowed, max(-(-n // per), len(self.layout.pieces)))
        if threads == 1:
            return False
        pool = launch.workers()
        if pool is not self._pool:  # none yet, or of the process that this one was forked from
            self._pool = pool
            self.layout.cells[k.PRESENT * APART] = 0
        present = int(self.layout.cells[k.PRESENT * APART])
        if present >= allowed:  # fewer are allowed than once were
            pool.sleep()
            return False
        if present < threads - 1:
            self._missed += work * steps
            if self._missed >= WORTH_FOLLOWING:
                self._missed = 0
                for number in range(1, threads):  # not when one of them comes, in a later step
                    self._workspace(number)
                pool.follow(self._follow, threads)
                return True
        if present:
            pool.leave_callers_core()
        return present > 0

    def _follow(self, number: int, signal: Array, seen: int) -> None:
        """What a worker does that follows."""
        self._train(number, k.FOLLOW, NO_CALL, (signal.ctypes.data, seen, WATCH))

    def _workspace(self, number: int) -> int:
        """The address of a thread's workspace."""
        if number not in self._workspaces:
            self._workspaces[number] = self.layout.make_workspace()
        return self._workspaces[number][1]
