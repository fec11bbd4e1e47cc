"""From an operation of the cupy backend to a launch: arguments made ready, results, grids.

`CupyBackend` says which kernel computes what; `Calls` checks the arrays, allocates the result
and chooses the grid. What every kernel wants of its grid stands at its head in kernels/*.cu.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..arrays import check_reals, check_shapes, common_dtype
from ..exact import check_words
from ..kernel_backend import BY_CLASS
from ..protocol import Array, DTypeLike
from .softmax_plan import PASSES, softmax_plan

BLOCK = 256
MOST_BLOCKS = 1 << 16  # of a grid whose threads go on to a next element
CHUNK = 1024  # elements that a warp of sum_partial adds up to one
MOST_PARTS = 8 * CHUNK  # sums of chunks that one block adds up: one a warp
MOST_COUNTS = 1024  # blocks that count bools
COLUMN_TILE = 32  # columns that a block of column_sum has at once, 8 threads each
CHUNK_ROWS = 256  # rows that it adds up to one
MOST_ALONG_Y = 65535  # blocks of a grid, a limit of CUDA


class Calls:
    """The kernels of one backend.

    xp        makes arrays: CuPy, or NumPy under the emulator of the tests
    launcher  starts kernels: `cuda_launch.CudaLauncher`, or the emulator
    dtype     of kernels that have no real array to take it from
    """

    def __init__(self, xp: Any, launcher: Any, dtype: np.dtype):
        self.xp, self.launcher, self.dtype = xp, launcher, dtype

    def run(
        self, file: str, kernel: str, grid: Any, arguments: tuple[Any, ...], **options: Any
    ) -> None:
        """Launch with blocks of BLOCK threads, unless `options` has `block`.

        An empty grid is no launch: CUDA refuses it, and there is nothing to do.
        """
        grid = grid if isinstance(grid, tuple) else (grid,)
        block = options.pop("block", BLOCK)
        dtype = options.pop("dtype", self.dtype)
        if 0 not in grid:
            self.launcher.launch(file, kernel, grid, block, arguments, dtype, **options)

    def inputs(self, *arrays: Array) -> list[Array]:
        """Contiguous, real ones of one dtype as the protocol asks, labels int32.

        Raises ValueError for shapes, TypeError for dtypes that do not fit.
        """
        check_shapes(*arrays, indices=True)
        common_dtype(*arrays)
        return [
            self.xp.ascontiguousarray(a, dtype=np.int32 if a.dtype.kind in "iu" else None)
            for a in arrays
        ]

    def reals(self, *arrays: Array) -> list[Array]:
        """As `inputs`, for kernels that read `real` alone: whole numbers would be taken for it."""
        check_shapes(*arrays)
        check_reals(*arrays)
        return self.inputs(*arrays)

    def flat(
        self,
        kernel: str,
        *arrays: Array,
        numbers: Sequence[float] = (),
        result: DTypeLike | None = None,
    ) -> Array:
        """A kernel of elementwise.cu; the result is like the first array, or of dtype `result`."""
        inputs = self.reals(*arrays)
        dtype = inputs[0].dtype
        out = self.xp.empty(inputs[0].shape, dtype if result is None else result)
        arguments = (*inputs, out, out.size, *numbers)
        self.run("elementwise", kernel, blocks_for(out.size), arguments, dtype=dtype)
        return out

    def loss(self, kernel: str, y: Array, t: Array, *scalars: float) -> Array:
        """A kernel of losses.cu: a loss a row for `*_forward`, else a gradient like y."""
        y, t = self.inputs(y, t) if kernel in BY_CLASS else self.reals(y, t)
        out = self.xp.empty(y.shape[:1] if "_forward" in kernel else y.shape, y.dtype)
        threads = 1 if kernel == "cross_entropy_forward" else lanes(y.shape[1])
        blocks = blocks_of_rows(y.shape[0], threads) if out.ndim == 1 else blocks_for(out.size)
        self.run("losses", kernel, blocks, (y, t, out, *y.shape, *scalars), dtype=y.dtype)
        return out

    def step(self, kernel: str, arrays: tuple[Array, ...], *scalars: float) -> None:
        """A kernel of optimizers.cu that writes in place; contiguous arrays of one dtype."""
        first = arrays[0]
        arguments = (*arrays, first.size, *scalars)
        self.run("optimizers", kernel, blocks_for(first.size), arguments, dtype=first.dtype)

    def exact(self, kernel: str, words: tuple[Array, ...], x: Array) -> bool:
        """A kernel of exact.cu, with what words become numbers or the other way; False where the
        words' layout forbids.
        """
        check_shapes(x, *words)
        check_reals(x)
        check_words(*words)
        if not all(word.flags.c_contiguous for word in words):
            return False
        arguments = (*words, self.xp.ascontiguousarray(x), x.size)
        self.run("exact", kernel, blocks_for(x.size), arguments, dtype=x.dtype)
        return True

    def softmax(
        self,
        operation: str,
        reads: tuple[Array, ...],
        others: tuple[Array, ...],
        scalars: tuple[float, ...] = (),
        kind: str | None = None,
    ) -> None:
        """The kernels of softmax_*.cu for `operation`, as `softmax_plan` says, or those of `kind`.

        reads   arrays that a long row's first kernels take; others follow them in the last
        """
        n, columns = reads[0].shape
        plan = softmax_plan(n, columns, reads[0].dtype, kind)
        file, kernel = f"softmax_{plan.kind}", f"{operation}_{plan.kind}"
        options = {"block": plan.block, "dtype": plan.dtype, **plan.definitions}
        if plan.kind != "wide":
            arguments = (*reads, *others, *plan.sizes, *scalars)
            self.run(file, kernel, plan.grid, arguments, **options)
            return
        found: tuple[Array, ...] = ()
        for first in PASSES[operation]:
            sums = self.xp.empty((n, plan.chunks), plan.dtype)
            self.run(file, first, plan.grid, (*reads, *found, sums, columns), **options)
            found += (sums,)
        if operation != "softmax_cross_entropy_soft":
            self.run(
                file, kernel, plan.grid, (*reads, *found, *others, columns, *scalars), **options
            )
            return
        t, loss, dx = others  # a loss is a sum over the row, too
        losses = self.xp.empty((n, plan.chunks), plan.dtype)
        arguments = (*reads, *found, t, losses, dx, columns, *scalars)
        self.run(file, kernel, plan.grid, arguments, **options)
        grid = blocks_of_rows(n, 32)
        self.run(file, "softmax_losses_wide", grid, (losses, loss, n, plan.chunks), **options)

    def column_sum(
        self, file: str, kernel: str, arrays: tuple[Array, ...], n: int, columns: int
    ) -> Array:
        """Column sums (1, columns): `kernel` adds up chunks of rows, column_sum the chunks' sums
        until one is left.
        """
        dtype = arrays[0].dtype
        if n == 0 or columns == 0:
            return self.xp.zeros((1, columns), dtype)
        tiles = -(-columns // COLUMN_TILE)
        at_once = COLUMN_TILE // -(-columns // tiles)  # chunks
        while True:
            chunks = -(-n // CHUNK_ROWS)
            sums = self.xp.empty((chunks, columns), dtype)
            grid = (tiles, min(MOST_ALONG_Y, -(-chunks // at_once)))
            self.run(file, kernel, grid, (*arrays, sums, n, columns), dtype=dtype)
            if chunks == 1:
                return sums
            file, kernel, arrays, n = "reductions", "column_sum", (sums,), chunks

    def partial_sums(self, a: Array) -> Array:
        """Sums of parts of `a` (real numbers or bools) in float64, at most MOST_PARTS."""
        if a.dtype.kind == "b":
            values = self.xp.ascontiguousarray(a).view(np.uint8)
            counts = self.xp.empty(max(1, min(MOST_COUNTS, -(-a.size // (16 * BLOCK)))))
            self.run("totals", "sum_partial_bool", counts.size, (values, counts, a.size))
            return counts
        (partial,) = self._chunk_sums("sum_partial", self.xp.ascontiguousarray(a), 1)
        return self._fewer(partial)

    def penalty_sums(self, w: Array) -> tuple[Array, Array]:
        """Sums of |w| and w^2 over parts of `w`, in float64, at most MOST_PARTS of each."""
        absolute, squared = self._chunk_sums("regularization_partial", w, 2)
        return self._fewer(absolute), self._fewer(squared)

    def _chunk_sums(self, kernel: str, a: Array, count: int) -> list[Array]:
        """`count` sums over each chunk of `a`."""
        sums = [self.xp.empty(max(1, -(-a.size // CHUNK))) for _ in range(count)]
        blocks = min(MOST_BLOCKS, -(-sums[0].size // (BLOCK // 32)))
        self.run("totals", kernel, blocks, (a, *sums, a.size), dtype=a.dtype)
        return sums

    def _fewer(self, partial: Array) -> Array:
        """The same as what one block adds up in a short time."""
        while partial.size > MOST_PARTS:
            (partial,) = self._chunk_sums("sum_partial", partial, 1)
        return partial


def blocks_for(size: int) -> int:
    """Blocks of 256 threads with 4 elements each."""
    return max(1, min(MOST_BLOCKS, -(-size // (4 * BLOCK))))


def lanes(columns: int) -> int:
    """Threads that share a row in losses.cu."""
    return 1 if columns < 8 else 8 if columns < 64 else 32


def blocks_of_rows(n: int, lanes: int) -> int:
    """Blocks of 256 threads, `lanes` of them a row."""
    return max(1, min(MOST_BLOCKS, -(-n * lanes // BLOCK)))
