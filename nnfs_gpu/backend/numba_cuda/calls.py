"""From an operation of the numba-cuda backend to a launch: results, grids, partial sums.

`NumbaCudaBackend` says which kernel computes what; `GridCalls` cuts the work into blocks, a thread
an element, a thread a row, or a block a row, and adds up what several blocks have summed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...kernels.numba_cuda import blocks as cuda_blocks, rows as cuda_rows
from ..protocol import Array
from . import launch as cuda_numba_launch


class GridCalls:
    """The kernels of one backend, on arrays of the module `xp`, `threads` a block."""

    def __init__(self, xp: Any, threads: int):
        if not 0 < threads <= 1024 or threads & (threads - 1):
            raise ValueError(f"threads: got {threads}, expected a power of two up to 1024")
        self.xp, self.threads = xp, threads

    def launch(
        self,
        kernel: Any,
        n: int,
        inputs: Sequence[Array],
        outputs: Sequence[Array],
        scalars: Sequence[Any] = (),
    ) -> None:
        """`n` threads, in as many blocks as hold them."""
        blocks = -(-n // self.threads)
        cuda_numba_launch.launch_cuda(kernel, blocks, self.threads, inputs, outputs, scalars)

    def launch_blocks(
        self,
        kernel: Any,
        blocks: int,
        inputs: Sequence[Array],
        outputs: Sequence[Array],
        scalars: Sequence[Any] = (),
    ) -> None:
        """Blocks whose threads share an array of `shared_elements`, of the last output's dtype."""
        shared = cuda_rows.shared_elements(self.threads) * outputs[-1].itemsize
        cuda_numba_launch.launch_cuda(
            kernel, blocks, self.threads, inputs, outputs, scalars, shared=shared
        )

    # ---- sums: of chunks, then of the chunks' sums until one is left ----
    def chunk_sums(self, kernel: Any, a: Array, count: int) -> list[Array]:
        """`count` sums over each chunk of the flat array, in float64."""
        chunks = max(1, -(-a.size // cuda_blocks.CHUNK))
        sums = [self.xp.empty(chunks) for _ in range(count)]
        blocks = -(-chunks // max(1, self.threads // cuda_blocks.WARP))
        self.launch_blocks(kernel, blocks, (self.xp.ascontiguousarray(a).reshape(-1),), sums)
        return sums

    def totals(self, kernel: Any, a: Array, count: int) -> list[Array]:
        """`count` sums over the whole array, (1,) each."""
        sums = self.chunk_sums(kernel, a, count)
        while sums[0].size > 1:
            sums = [self.chunk_sums(cuda_blocks.sums, one, 1)[0] for one in sums]
        return sums

    def column_sums(self, dy: Array) -> Array:
        """(1, O): chunks of rows added up, then the chunks' sums, until one is left."""
        if dy.shape[0] == 0:
            return self.xp.zeros((1, dy.shape[1]), dy.dtype)
        while True:
            sums = self.row_chunks(dy)
            self.launch(cuda_blocks.column_sums, sums.size, (dy,), (sums,))
            if sums.shape[0] == 1:
                return sums
            dy = sums

    def row_chunks(self, dy: Array) -> Array:
        """A new array with a row for the column sums of each chunk of rows."""
        return self.xp.empty((-(-dy.shape[0] // cuda_blocks.ROWS), dy.shape[1]), dy.dtype)
