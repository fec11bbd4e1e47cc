"""From an operation of the numba-cuda backend to a launch: results, grids, partial sums.

`NumbaCudaBackend` says which kernel computes what; `GridCalls` checks the arrays, allocates the
result and cuts the work into blocks: a thread an element, a thread a row, or a block a row.
"""

from __future__ import annotations

from typing import Any

from ...kernels.numba_cuda import blocks as cuda_blocks
from ..arrays import check_shapes
from ..protocol import Array
from . import launch as cuda_numba_launch


class GridCalls:
    """The kernels of one backend, on arrays of the module `xp`, `threads` a block."""

    def __init__(self, xp: Any, threads: int):
        if not 0 < threads <= 1024 or threads & (threads - 1):
            raise ValueError(f"threads: got {threads}, expected a power of two up to 1024")
        self.xp, self.threads = xp, threads

    def launch(self, kernel: Any, n: int, inputs: tuple, outputs: tuple, *scalars: Any) -> None:
        """`n` threads, in as many blocks as hold them."""
        blocks = -(-n // self.threads)
        cuda_numba_launch.launch_cuda(kernel, blocks, self.threads, inputs, outputs, scalars)

    def launch_blocks(
        self, kernel: Any, blocks: int, inputs: tuple, outputs: tuple, *scalars: Any
    ) -> None:
        """Blocks whose threads share an array with one element each, of the last output's dtype."""
        shared = self.threads * outputs[-1].itemsize
        cuda_numba_launch.launch_cuda(
            kernel, blocks, self.threads, inputs, outputs, scalars, shared=shared
        )

    def flat(self, kernel: Any, inputs: tuple, *scalars: float) -> Array:
        """A thread an element; the result is like the first input."""
        check_shapes(*inputs)
        out = self.xp.empty(inputs[0].shape, inputs[0].dtype)
        flat = tuple(self.xp.ascontiguousarray(a).reshape(-1) for a in inputs)
        self.launch(kernel, out.size, flat, (out.reshape(-1),), *scalars)
        return out

    def rows(self, kernel: Any, shape: tuple, inputs: tuple, *scalars: float) -> Array:
        """A thread a row; the result has `shape` and the first input's dtype."""
        check_shapes(*inputs, indices=True)
        out = self.xp.empty(shape, inputs[0].dtype)
        self.launch(kernel, shape[0], inputs, (out,), *scalars)
        return out

    def wide_rows(self, kernel: Any, inputs: tuple) -> Array:
        """A block a row; the result is like the first input."""
        check_shapes(*inputs)
        out = self.xp.empty(inputs[0].shape, inputs[0].dtype)
        self.launch_blocks(kernel, out.shape[0], inputs, (out,))
        return out

    def step(self, kernel: Any, written: tuple, inputs: tuple, *scalars: float) -> bool:
        """A thread a parameter, in place; False, and nothing done, where the layout forbids."""
        arrays, first, n = (*written, *inputs), written[0], len(written)
        check_shapes(*arrays)
        if not all(a.flags.c_contiguous and a.dtype == first.dtype for a in arrays):
            return False
        flat = tuple(a.reshape(-1) for a in arrays)
        self.launch(kernel, first.size, flat[n:], flat[:n], *map(float, scalars))
        return True

    # ---- sums: partial ones, added up in order until one is left ----
    def chunk_sums(self, kernel: Any, a: Array, dtype: Any, *scalars: float) -> Array:
        """A block a chunk of the flat array: its partial sums, in order."""
        partial = self.xp.empty(-(-a.size // cuda_blocks.CHUNK), dtype)
        flat = self.xp.ascontiguousarray(a).reshape(-1)
        self.launch_blocks(kernel, partial.size, (flat,), (partial,), *scalars)
        return partial

    def total(self, partial: Array) -> Array:
        """Partial sums added up by chunks, again and again: an array without axes."""
        if partial.size == 0:
            return self.xp.zeros((), partial.dtype)
        while partial.size > 1:
            partial = self.chunk_sums(cuda_blocks.sums, partial, partial.dtype)
        return partial.reshape(())

    def column_sums(self, dy: Array) -> Array:
        """(1, O): groups of rows added up, then the groups' sums."""
        if dy.shape[0] == 0:
            return self.xp.zeros((1, dy.shape[1]), dy.dtype)
        while True:
            sums = self.groups_of(dy)
            self.launch(cuda_blocks.column_sums, sums.size, (dy,), (sums,))
            if sums.shape[0] == 1:
                return sums
            dy = sums

    def groups_of(self, dy: Array) -> Array:
        """A new array with a row for each group of rows that a thread of column sums adds up."""
        return self.xp.empty((-(-dy.shape[0] // cuda_blocks.ROWS), dy.shape[1]), dy.dtype)
