"""The limit of arithmetic: fused multiply-adds in a loop that touches no memory, on all threads.

Twelve sums a thread, in registers as long as the processor has, so that no multiply-add waits for
the one before. What a step's operations would take at this rate is its share of the peak.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from nnfs_gpu.backend.cpu import launch
from nnfs_gpu.kernels.cpu.common import jit
from nnfs_gpu.kernels.cpu.vectors import HARDWARE_BYTES, Emitter
from nnfs_gpu.selftest.timing import Contender, threads

NAME = "limit: multiply-adds"
SUMS = 12  # four or five cycles for two multiply-adds in each: ten are in flight
LOOPS = 1_000_000  # some milliseconds: until the workers have come is none of it
LANES = HARDWARE_BYTES // 4


@intrinsic
def _multiply_adds(_typing: Any, numbers: Any, count: Any) -> Any:  # noqa: ARG001 - types
    """`count` times SUMS multiply-adds, s = s x + y; their sum to `numbers`, two registers."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        emit = Emitter.of_registers(context, builder, signature.args[0].dtype, HARDWARE_BYTES)
        data, _ = emit.array(signature.args[0], arguments[0])
        x, y = emit.load(data, emit.index(0)), emit.load(data, emit.index(emit.lanes))
        places = [emit.variable(x) for _ in range(SUMS)]
        with cgutils.for_range(builder, arguments[1]):
            for place in places:
                builder.store(emit.fma(builder.load(place), x, y), place)
        total = emit.zero
        for place in places:
            total = builder.fadd(total, builder.load(place))
        emit.store(total, data, emit.index(0))
        return context.get_dummy_value()

    return types.void(numbers, types.int64), generate


@jit
def multiply_adds(start: Any, stop: Any, numbers: Any, count: Any, done: Any) -> None:
    """Rows start..stop-1 of `numbers`, each LOOPS * SUMS multiply-adds in every lane."""
    for k in range(start, stop):
        own = numbers[k].copy()
        _multiply_adds(own, np.int64(count))  # type: ignore[call-arg] # Numba gives the first
        done[k] = own[0]


class Peak:
    """`run()` does `flops` operations: a multiply-add is two."""

    def __init__(self) -> None:
        count = threads()
        self._numbers = np.full((8 * count, 2 * LANES), 0.5, np.float32)
        self._done = np.zeros(8 * count, np.float32)
        self.flops = 2 * LANES * SUMS * LOOPS * len(self._done)

    def run(self) -> None:
        """All rows, on all threads."""
        launch.launch(
            multiply_adds,
            len(self._done),
            [self._numbers],
            [self._done],
            [LOOPS],
            work=self.flops,
        )

    def contender(self, flops: float) -> Contender:
        """What `flops` operations take at the peak, for a row of a `Sheet`."""
        return Contender(self.run, "limit", flops / self.flops)
