"""Cases: a kernel, or those that belong together, executed at one shape; what to compare.

Each case returns `Result`s. test_cuda_kernels.py runs all of `CASES` at their shapes, in their
setups: other grids, other alignments, blocks and lanes in the opposite order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from helpers import probabilities

from emulation.emulator import Emulator
from nnfs_gpu import get_backend
from nnfs_gpu.backend.numpy_backend import CLIP

LOW, HIGH = CLIP, 1 - CLIP
EMULATOR = Emulator()
INT_MAX, INT_MIN = 2**31 - 1, -(2**31)


@dataclass(frozen=True)
class Setup:
    """A launch other than the one in a kernel's header, that must give the same numbers."""

    name: str
    blocks: int | None = None  # None: as in the header
    shifts: tuple[int, ...] = (0,)  # elements after a multiple of 16 bytes, array by array
    backwards: bool = False  # blocks, warps and lanes in the opposite order


SETUPS = (
    Setup("as launched"),
    Setup("one block", blocks=1),
    Setup("seven blocks", blocks=7),
    Setup("all arrays shifted", shifts=(1,)),
    Setup("arrays shifted differently", shifts=(0, 1, 3, 2)),
)


@dataclass
class Gpu:
    """What a case needs of a device: arrays of a dtype and launches."""

    dtype: np.dtype
    setup: Setup
    arrays: int = 0

    def array(self, values: Any, dtype: Any = None) -> np.ndarray:
        """A copy in memory that begins where the setup wants it."""
        values = np.asarray(values, self.dtype if dtype is None else dtype)
        shift = self.setup.shifts[self.arrays % len(self.setup.shifts)]
        self.arrays += 1
        memory = np.zeros(values.size + 16, values.dtype)
        first = -memory.ctypes.data % 16 // values.itemsize + shift
        a = memory[first : first + values.size].reshape(values.shape)
        a[...] = values
        return a

    def empty(self, shape: Any, dtype: Any = None) -> np.ndarray:
        """An array of what nobody wrote."""
        return self.array(np.full(shape, 77), dtype)

    def blocks(self, default: int) -> int:
        return max(1, default) if self.setup.blocks is None else self.setup.blocks

    def launch(self, file: str, kernel: str, grid: Any, *arguments: Any, block: int = 256, **defs):
        EMULATOR.backwards = self.setup.backwards
        EMULATOR.launch(file, kernel, grid, block, list(arguments), self.dtype, **defs)

    def flat(self, file: str, kernel: str, size: int, *arguments: Any) -> None:
        """A kernel over elements: 1,024 to a block."""
        self.launch(file, kernel, self.blocks(-(-size // 1024)), *arguments)


@dataclass
class Result:
    """What a kernel gave, and what `assert_close` compares it with."""

    actual: np.ndarray
    expected: Any
    ulps: float = 0.0
    magnitude: Any = None


@dataclass(frozen=True)
class Case:
    run: Callable[[Gpu, np.random.RandomState, int, int], list[Result]]
    shapes: tuple[tuple[int, int], ...]
    setups: tuple[Setup, ...]
    kernels: tuple[str, ...]


SHAPES = ((1, 1), (1, 3), (9, 1), (257, 3), (100, 10), (5, 31), (3, 32), (7, 33), (2, 1025))
CASES: dict[str, Case] = {}


def case(*kernels: str, shapes=SHAPES, setups=SETUPS, name=None):
    """Register a case and the kernels that it runs, "file.kernel" each."""

    def register(run):
        CASES[name or run.__name__] = Case(run, shapes, setups, kernels)
        return run

    return register


ORACLE = get_backend("numpy", dtype="float64", precise_dot=False, book_random=False)


def wide(a: np.ndarray) -> np.ndarray:
    return a.astype(np.float64)


def normal(rng, n, c):
    """Normal numbers, and among them what is not: zeros, NaN, infinities."""
    x = 3 * rng.randn(n, c)
    for value in (0.0, -0.0, np.nan, np.inf, -np.inf):
        x[rng.rand(n, c) < 0.02] = value
    return x


def row_blocks(gpu, n, c):
    """Blocks for a kernel that gives a row 1, 8 or 32 threads."""
    return gpu.blocks(-(-n * (1 if c < 8 else 8 if c < 64 else 32) // 256))


def class_probabilities(gpu, rng, n, c):
    p = probabilities(rng, n, c)
    p[rng.rand(n) < 0.1] = np.eye(c)[0]
    p[rng.rand(n, c) < 0.02] = np.nan
    return gpu.array(p)


def class_labels(gpu, rng, n, c):
    """Labels, some of them out of range: just, and so far that an address would be nowhere."""
    t = rng.randint(0, c, n)
    for bad in (-1, c, INT_MAX, INT_MIN):
        t[rng.rand(n) < 0.03] = bad
    if n > 1:
        t[-1] = c
    return gpu.array(t, np.int32)


def clipped(p):
    """In float64, with the limits as the dtype has them: 1 - 1e-7 is another number in float32."""
    return wide(np.clip(p, p.dtype.type(LOW), p.dtype.type(HIGH)))


WIDE_SHAPES = (*SHAPES, (70, 127), (5, 128), (6, 129), (3, 300))


LONG_ROWS = (*WIDE_SHAPES, (300, 129), (40, 130), (600, 5))  # chunks of 256 rows, lanes of 32


def column_sums(gpu, n, c, file, kernel, *arrays):
    """The sums of each chunk by `kernel`, and those of the chunks' sums."""
    while True:
        chunks = -(-n // 256)
        sums = gpu.empty((chunks, c))
        grid = gpu.blocks(-(-c // 32)), gpu.blocks(chunks)
        gpu.launch(file, kernel, grid, *arrays, sums, n, c)
        if chunks == 1:
            return sums[0]
        file, kernel, arrays, n = "reductions", "column_sum", (sums,), chunks
