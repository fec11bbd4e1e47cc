"""The ladders: versions of an operation, from the notes' loop to the fastest kernel there is.

A version is a line of a table here: its name, what it changes against the one before it, the
file to read, and a function that calls it on a backend's arrays. `ladder` checks and times them
and writes kernels/README.md's tables; the suite `jacobian` takes the first three from here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from unittest import mock

import numba
import numpy as np

from nnfs_gpu import get_backend
from nnfs_gpu.fused import plan
from nnfs_gpu.kernels import softmax
from nnfs_gpu.kernels.common import jit

from . import book
from .trainers import Book, Ours, Trainer

LOOP, MATRICES = 5 * 10**7, 1 << 25  # elements of Jacobians that a call builds at most
LOOP_ROWS = 50_000  # iterations of Python's: a fifth of a second


@dataclass(frozen=True)
class Version:
    """One line of a ladder.

    name      in tables and files
    changes   against the version before it
    read      the file to read, from the root of the repository
    run       (backend, *arrays) -> the result; of a training step, (backend, parameters, X, y,
              optimizer, rate) -> a `Trainer`
    backend   whose arrays it takes; one of a GPU is left out where there is none
    jacobian  elements of Jacobians that a call may build: it gets as many rows, and its time is
              scaled to all; 0 where it builds none
    most      rows that it gets at most, likewise
    widest    columns that it can take; None: any number
    """

    name: str
    changes: str
    read: str
    run: Callable[..., Any]
    backend: str = "numpy"
    jacobian: int = 0
    most: int | None = None
    widest: int | None = None

    @property
    def role(self) -> str:
        """As `Contender` has it: the notes' own code is the book's."""
        return "book" if self.read == "bench/book.py" else "ours"

    def rows(self, rows: int, columns: int) -> int:
        """How many of `rows` a call gets; 0 where one is too much."""
        fit = min(rows, self.most or rows)
        return min(fit, self.jacobian // columns**2) if self.jacobian else fit


# ---- how kernels are called ----
@jit
def backward_row_by_row(start: Any, stop: Any, dy: Any, y: Any, dx: Any) -> None:
    """The row function in a loop: the formula as it stands."""
    for i in range(start, stop):
        softmax.softmax_backward_row(i, y.shape[1], dy, y, dx)


@jit
def forward_row_by_row(start: Any, stop: Any, x: Any, y: Any) -> None:
    """The row functions in a loop, an exponential after the other between them."""
    for i in range(start, stop):
        softmax.softmax_shift_row(i, x.shape[1], x, y)
        for c in range(x.shape[1]):
            y[i, c] = np.exp(y[i, c])
        softmax.softmax_scale_row(i, x.shape[1], y)


@jit
def gradient_row_by_row(start: Any, stop: Any, p: Any, t: Any, n: Any, bad: Any, dx: Any) -> None:
    """The row function in a loop."""
    for i in range(start, stop):
        softmax.softmax_cross_entropy_backward_row(i, p.shape[1], p, t, n, bad, dx)


def _one_thread(kernel: Any, scalars: Callable[[Any], tuple] = lambda a: ()) -> Callable[..., Any]:
    """A CPU kernel over all rows, on the thread that calls."""

    def run(_: Any, *arrays: Any) -> Any:
        out = np.empty(arrays[0].shape, arrays[0].dtype)
        rows = np.uint64(len(out))
        kernel(np.uint64(0), rows, *arrays, *scalars(arrays[0]), out)
        return out

    return run


def _of_gradient(p: Any) -> tuple:
    """N, and what a label out of range gives."""
    return p.dtype.type(len(p)), p.dtype.type(np.nan)


def _grid(kernel: str, scalars: Callable[[Any], tuple] = lambda a: ()) -> Callable[..., Any]:
    """A kernel of kernels/cuda_grids.py: a thread a row."""

    def run(backend: Any, *arrays: Any) -> Any:
        from nnfs_gpu.kernels import cuda_grids

        found = getattr(cuda_grids, kernel)
        return backend._calls.rows(found, arrays[0].shape, arrays, *scalars(arrays[0]))

    return run


def _blocks(kernel: str) -> Callable[..., Any]:
    """A kernel of kernels/cuda_blocks.py: a block a row."""

    def run(backend: Any, *arrays: Any) -> Any:
        from nnfs_gpu.kernels import cuda_blocks

        return backend._calls.wide_rows(getattr(cuda_blocks, kernel), arrays)

    return run


def _cuda(kind: str, operation: str, partial: tuple[str, int]) -> Callable[..., Any]:
    """The kernels of kernels/softmax_<kind>.cu, whatever the shape is."""

    def run(backend: Any, *arrays: Any) -> Any:
        out = backend.xp.empty(arrays[0].shape, arrays[0].dtype)
        backend._calls.softmax(operation, arrays, (out,), partial, kind=kind)
        return out

    return run


def _cuda_versions(operation: str, partial: tuple[str, int], narrow: str) -> tuple[Version, ...]:
    """The three families of CUDA C++ kernels."""
    lines = (
        ("narrow", narrow, 32),
        ("rows", "32, 128 or 512 threads a row, which stays in registers", 16_384),
        ("wide", "several blocks share a row, in two launches: for long or few rows", None),
    )
    return tuple(
        Version(
            *(f"CUDA C++, {kind}", changes, f"kernels/softmax_{kind}.cu"),
            run=_cuda(kind, operation, partial),
            backend="cupy",
            widest=widest,
        )
        for kind, changes, widest in lines
    )


# ---- training steps: one engine inside another's conditions ----
class Within:
    """A trainer whose steps run inside `context()`."""

    def __init__(self, trainer: Trainer, context: Callable[[], Any]):
        self._trainer, self._context = trainer, context
        self.loss, self.parameters = trainer.loss, trainer.parameters

    def run(self, steps: int) -> None:
        with self._context():
            self._trainer.run(steps)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """As if Numba had one thread."""
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        yield
    finally:
        numba.set_num_threads(before)


@contextlib.contextmanager
def tiles_on_one_thread() -> Iterator[None]:
    """As if no network were narrow."""
    with one_thread(), mock.patch.object(plan, "MOST_PRODUCTS", 0):
        yield


def _ours(engine: str, context: Callable[[], Any] = contextlib.nullcontext) -> Callable[..., Any]:
    def make(backend: Any, *given: Any) -> Trainer:
        return Within(Ours(*given, backend=backend, engine=engine), context)

    return make


# ---- the table ----
SOFTMAX_BACKWARD = (
    Version(
        "loop",
        "one Jacobian a sample, in Python",
        "bench/book.py",
        lambda _, dy, y: book.softmax_backward(dy, y),
        jacobian=LOOP,
        most=LOOP_ROWS,
    ),
    Version(
        "matrices",
        "all Jacobians at once, a batched product: no loop, still C times the bytes",
        "nnfs_gpu/backend/numpy_backend.py",
        lambda numpy, dy, y: (numpy.softmax_jacobian(y) @ dy[:, :, None])[:, :, 0],
        jacobian=MATRICES,
    ),
    Version(
        "closed form",
        "dx = y (dy - sum(y dy)), no Jacobian; every operator is a pass with a temporary",
        "nnfs_gpu/backend/numpy_backend.py",
        lambda numpy, dy, y: numpy.softmax_backward(dy, y),
    ),
    Version(
        "row by row",
        "compiled, one pass: a value is loaded, used and stored once",
        "kernels/softmax.py",
        _one_thread(backward_row_by_row),
    ),
    Version(
        "vector registers",
        "several short rows in a register, a long row in several",
        "kernels/row_vectors.py",
        _one_thread(softmax.softmax_backward),
    ),
    Version(
        "all threads",
        "ranges of rows, which threads take one by one",
        "nnfs_gpu/backend/launch.py",
        lambda numba, dy, y: numba.softmax_backward(dy, y),
        backend="numba",
    ),
    Version(
        "GPU, a thread a row",
        "the row function as it stands; neighbours' loads lie C apart",
        "kernels/cuda_grids.py",
        _grid("softmax_backward"),
        backend="numba-cuda",
    ),
    Version(
        "GPU, a block a row",
        "neighbours read neighbours, a tree of sums in shared memory; the row is read twice",
        "kernels/cuda_blocks.py",
        _blocks("softmax_backward_wide"),
        backend="numba-cuda",
    ),
    *_cuda_versions(
        "softmax_backward",
        ("softmax_dot_partial", 1),
        "a thread a row again, the block's rows staged through shared memory",
    ),
)
SOFTMAX_FORWARD = (
    Version(
        "array code",
        "exp(x - max) / sum: a pass an operator",
        "nnfs_gpu/backend/numpy_backend.py",
        lambda numpy, x: numpy.softmax_forward(x),
    ),
    Version(
        "row by row",
        "compiled, a row at a time; exponentials one after the other",
        "kernels/softmax.py",
        _one_thread(forward_row_by_row),
    ),
    Version(
        "vector registers",
        "three passes over a tile of rows in the cache, so that exp runs over one flat array",
        "kernels/row_vectors.py",
        _one_thread(softmax.softmax_forward),
    ),
    Version(
        "all threads",
        "ranges of rows, which threads take one by one",
        "nnfs_gpu/backend/launch.py",
        lambda numba, x: numba.softmax_forward(x),
        backend="numba",
    ),
    Version(
        "GPU, a thread a row",
        "the row functions as they stand",
        "kernels/cuda_grids.py",
        _grid("softmax_forward"),
        backend="numba-cuda",
    ),
    Version(
        "GPU, a block a row",
        "neighbours read neighbours; trees of maxima and sums",
        "kernels/cuda_blocks.py",
        _blocks("softmax_forward_wide"),
        backend="numba-cuda",
    ),
    *_cuda_versions(
        "softmax_forward",
        ("softmax_partial", 2),
        "a thread a row again, the block's rows staged through shared memory",
    ),
)
SOFTMAX_CROSS_ENTROPY_BACKWARD = (
    Version(
        "separate",
        "the loss's derivative, then one Jacobian a sample, in Python",
        "bench/book.py",
        lambda _, p, t: book.separate(p, t),
        jacobian=LOOP,
        most=LOOP_ROWS,
    ),
    Version(
        "combined",
        "(p - t) / N: the Jacobian cancels; `range(samples)` as an index",
        "bench/book.py",
        lambda _, p, t: book.combined(p, t),
    ),
    Version(
        "array code",
        "an array as the index, the division in place",
        "nnfs_gpu/backend/numpy_backend.py",
        lambda numpy, p, t: numpy.softmax_cross_entropy_backward(p, t),
    ),
    Version(
        "row by row",
        "compiled, one pass",
        "kernels/softmax.py",
        _one_thread(gradient_row_by_row, _of_gradient),
    ),
    Version(
        "vector registers",
        "labels of several rows spread over a register: no branch on the data",
        "kernels/label_rows.py",
        _one_thread(softmax.softmax_cross_entropy_backward, _of_gradient),
    ),
    Version(
        "all threads",
        "ranges of rows, which threads take one by one",
        "nnfs_gpu/backend/launch.py",
        lambda numba, p, t: numba.softmax_cross_entropy_backward(p, t),
        backend="numba",
    ),
    Version(
        "GPU, a thread a row",
        "the row function as it stands",
        "kernels/cuda_grids.py",
        _grid("softmax_cross_entropy_backward", lambda p: (float(len(p)), float("nan"))),
        backend="numba-cuda",
    ),
    Version(
        "CUDA C++",
        "a thread an element: neighbours read neighbours",
        "kernels/losses.cu",
        lambda cupy, p, t: cupy.softmax_cross_entropy_backward(p, t),
        backend="cupy",
    ),
)
TRAINING_STEP = (
    Version(
        "the notes, separate",
        "the loss's derivative, then one Jacobian a sample, in Python",
        "bench/book.py",
        lambda _, *given: Book(*given, derivative=book.separate),
    ),
    Version(
        "the notes, combined",
        "(p - t) / N: the Jacobian cancels",
        "bench/book.py",
        lambda _, *given: Book(*given),
    ),
    Version(
        "layers, NumPy",
        "checked arguments, optimizers in place: an operation a call, passes over the whole batch",
        "nnfs_gpu/layers.py",
        _ours("layers"),
    ),
    Version(
        "layers, Numba",
        "every operation one compiled pass on all threads, products by BLAS",
        "nnfs_gpu/backend/numba_backend.py",
        _ours("layers"),
        backend="numba",
    ),
    Version(
        "fused, tiles, one thread",
        "a tile goes forward and back while it lies in the cache; products in registers",
        "kernels/fused_group.py",
        _ours("fused", tiles_on_one_thread),
        backend="numba",
    ),
    Version(
        "fused, narrow, one thread",
        "gradients from masked sums: backward costs additions alone",
        "kernels/fused_narrow.py",
        _ours("fused", one_thread),
        backend="numba",
    ),
    Version(
        "fused, narrow, all threads",
        "threads share the groups of a step",
        "kernels/fused_step.py",
        _ours("fused"),
        backend="numba",
    ),
    Version(
        "layers, CUDA C++",
        "every operation a launch on the GPU, products by cuBLAS",
        "nnfs_gpu/backend/cupy_backend.py",
        _ours("layers"),
        backend="cupy",
    ),
    Version(
        "fused, CUDA C++",
        "a whole step in a launch; a small batch's parameters stay in shared memory for many",
        "kernels/fused.cu",
        _ours("fused"),
        backend="cupy",
    ),
)
LADDERS = {
    "softmax_backward": SOFTMAX_BACKWARD,
    "softmax_forward": SOFTMAX_FORWARD,
    "softmax_cross_entropy_backward": SOFTMAX_CROSS_ENTROPY_BACKWARD,
    "training_step": TRAINING_STEP,
}


def numpy_for(dtype: Any) -> Any:
    """The specification in `dtype`, as versions get it."""
    return get_backend("numpy", dtype=dtype, precise_dot=False, book_random=False)
