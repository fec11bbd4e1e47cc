"""Which softmax kernel a shape gets, and how it is launched (kernels/softmax_*.cu).

    narrow  a thread a row: up to 32 columns in float32, 8 in float64
    rows    a warp a row, or a block of 128 or 512 threads; the row stays in registers
    wide    several blocks a row, in two launches: long rows, or few rows to fill the device
A function of the shape, the dtype and the alignment alone, so that the same arrays always get
the same kernel and the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

# Of a row, what one thread keeps in registers: more, and float64's exponential spills.
VALUES = {np.dtype(np.float32): 32, np.dtype(np.float64): 8}
CHUNK = 1024  # elements of a row, at least, for a block of the wide kernels
FILL = 1056  # blocks that fill the largest device: 132 multiprocessors, 8 each
ROW_THREADS = (32, 128, 512)
FEW_ROWS, LONG_ROW = 64, 4096  # fewer, longer rows than these leave most of a device idle


@dataclass(frozen=True)
class SoftmaxPlan:
    """A kernel file ("narrow", "rows" or "wide") and its launch."""

    kind: str
    dtype: np.dtype
    grid: tuple[int, ...]
    block: int
    sizes: tuple[int, ...] = ()  # what the kernels of narrow and rows take after the arrays
    parts: int = 0  # blocks that share a row; 0 unless wide
    definitions: dict[str, int] = field(default_factory=dict)


def kind_for(n: int, columns: int, dtype: np.dtype) -> str:
    """The kind that rows (n, columns) get: the fastest of those that can."""
    values = VALUES[dtype]
    if columns <= values:
        return "narrow"
    few = n < FEW_ROWS and columns > LONG_ROW
    return "wide" if few or columns > ROW_THREADS[-1] * values else "rows"


def softmax_plan(
    n: int, columns: int, dtype: np.dtype, arrays: tuple[Any, ...], kind: str | None = None
) -> SoftmaxPlan:
    """The plan for rows (n, columns) in contiguous `arrays`, by the kernels of `kind_for` or, to
    compare them, of another kind whose rows may be as long: "rows" and "wide" take short ones, too.
    """
    kind = kind or kind_for(n, columns, dtype)
    if kind == "narrow":
        rows = 256 if columns <= 8 else 128  # as softmax_narrow.cu has it
        return SoftmaxPlan(
            "narrow", dtype, (-(-n // rows),), rows, (n,), definitions={"C": columns}
        )
    if kind == "wide":
        parts = max(1, min(-(-columns // CHUNK), -(-FILL // max(n, 1)), 65535))
        return SoftmaxPlan("wide", dtype, (n, parts), 256, parts=parts)
    size = dtype.itemsize
    threads = next(t for t in ROW_THREADS if columns <= t * VALUES[dtype])
    width = 16 // size
    packed = columns % width == 0 and all(_address(a) % 16 == 0 for a in arrays)
    items = -(-columns // (threads * (width if packed else 1)))
    items = 1 << (items - 1).bit_length()  # powers of two: few variants to compile
    grid, block = ((-(-n // 4),), 128) if threads == 32 else ((n,), threads)
    definitions = {"THREADS": threads, "ITEMS": items, "PACKED": int(packed)}
    return SoftmaxPlan("rows", dtype, grid, block, (n, columns), definitions=definitions)


def _address(a: Any) -> int:
    return int(a.data.ptr if hasattr(a.data, "ptr") else a.ctypes.data)
