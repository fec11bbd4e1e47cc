"""Which softmax kernel a shape gets, and how it is launched (kernels/cuda/softmax_*.cu).

    narrow  a thread a row: up to 32 columns in float32, 8 in float64
    rows    a warp a row, or a block of up to 16 warps; the row stays in registers
    wide    several blocks a row, in several launches: rows that are longer than that
A function of the shape and the dtype alone. The bits are the same whichever it is.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

# Of a row, what one thread keeps in registers: more, and float64's exponential spills. A warp's are
# a chunk, whose numbers are added up first (kernels/cuda/row_order.cuh).
VALUES = {np.dtype(np.float32): 32, np.dtype(np.float64): 8}
WARP = 32
ROW_THREADS = (32, 64, 128, 256, 512)
WIDE_WARPS = 8  # of a block of the wide kernels; each takes a chunk
FILL = 1056  # blocks that fill the largest device: 132 multiprocessors, 8 each

# The operations, of which softmax_narrow.cu, _rows.cu and _wide.cu each have a kernel, and the
# kernels of _wide.cu that come first, each with a result for every chunk.
PASSES = {
    "softmax_forward": ("softmax_largest_wide", "softmax_sums_wide"),
    "softmax_backward": ("softmax_dots_wide",),
    "softmax_cross_entropy": ("softmax_largest_wide", "softmax_sums_wide"),
    "softmax_cross_entropy_soft": ("softmax_largest_wide", "softmax_sums_wide"),
}


@dataclass(frozen=True)
class SoftmaxPlan:
    """A kernel file ("narrow", "rows" or "wide") and its launch."""

    kind: str
    dtype: np.dtype
    grid: tuple[int, ...]
    block: int
    sizes: tuple[int, ...] = ()  # what the kernels of narrow and rows take after the arrays
    chunks: int = 0  # of a row; 0 unless wide
    definitions: dict[str, int] = field(default_factory=dict)


def kind_for(columns: int, dtype: np.dtype) -> str:
    """The kind that rows of so many columns get: the fastest of those that can."""
    values = VALUES[dtype]
    if columns <= values:
        return "narrow"
    return "wide" if columns > ROW_THREADS[-1] * values else "rows"


def softmax_plan(n: int, columns: int, dtype: np.dtype, kind: str | None = None) -> SoftmaxPlan:
    """The plan for rows (n, columns), by the kernels of `kind_for` or, to compare them, of another
    kind whose rows may be as long: "rows" and "wide" take short ones, too.
    """
    kind = kind or kind_for(columns, dtype)
    if kind == "narrow":
        rows = 256 if columns <= 8 else 128  # as softmax_narrow.cu has it
        return SoftmaxPlan(
            "narrow", dtype, (-(-n // rows),), rows, (n,), definitions={"C": columns}
        )
    values = VALUES[dtype]
    if kind == "wide":
        chunks = -(-columns // (WARP * values))
        parts = max(1, min(-(-chunks // WIDE_WARPS), -(-FILL // max(n, 1)), 65535))
        return SoftmaxPlan("wide", dtype, (n, parts), WARP * WIDE_WARPS, chunks=chunks)
    threads = next(t for t in ROW_THREADS if columns <= t * values)
    items = values
    if threads == WARP:
        items = 1 << (-(-columns // WARP) - 1).bit_length()  # powers of two: few to compile
    grid, block = ((-(-n // 4),), 128) if threads == WARP else ((n,), threads)
    definitions = {"THREADS": threads, "ITEMS": items}
    return SoftmaxPlan("rows", dtype, grid, block, (n, columns), definitions=definitions)
