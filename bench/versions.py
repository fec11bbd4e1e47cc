"""What a version of an operation is, and how the kernels are called that are versions of one.

The versions themselves stand in ladders.py, a few lines each.
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
from nnfs_gpu.backend import Backend
from nnfs_gpu.backend.protocol import DTypeLike
from nnfs_gpu.fused import plan
from nnfs_gpu.kernels.cpu import softmax
from nnfs_gpu.kernels.cpu.common import jit

from .trainers import Ours, Trainer

LOOP, MATRICES = 5 * 10**7, 1 << 25  # elements of Jacobians that a call builds at most
LOOP_ROWS = 50_000  # iterations of Python's: a fifth of a second


Scalars = Callable[[Any], tuple[Any, ...]]  # of the first array: what the kernel gets beside arrays


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
    role      of `Contender`: "book" is what a reader of the notes has without us
    """

    name: str
    changes: str
    read: str
    run: Callable[..., Any]
    backend: str = "numpy"
    jacobian: int = 0
    most: int | None = None
    widest: int | None = None
    role: str = "ours"

    def rows(self, rows: int, columns: int) -> int:
        """How many of `rows` a call gets; 0 where one is too much."""
        fit = min(rows, self.most or rows)
        return min(fit, self.jacobian // columns**2) if self.jacobian else fit


# ---- how kernels are called ----
def no_scalars(_: Any) -> tuple[Any, ...]:
    """For kernels that get arrays alone."""
    return ()


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


def on_one_thread(kernel: Any, scalars: Scalars = no_scalars) -> Callable[..., Any]:
    """A CPU kernel over all rows, on the thread that calls."""

    def run(_: Any, *arrays: Any) -> Any:
        out = np.empty(arrays[0].shape, arrays[0].dtype)
        rows = np.uint64(len(out))
        kernel(np.uint64(0), rows, *arrays, *scalars(arrays[0]), out)
        return out

    return run


def of_gradient(p: Any) -> tuple[Any, ...]:
    """N, and what a label out of range gives."""
    return p.dtype.type(len(p)), p.dtype.type(np.nan)


def grid(kernel: str, scalars: Scalars = no_scalars) -> Callable[..., Any]:
    """A kernel of kernels/numba_cuda/grids.py: a thread a row."""

    def run(backend: Any, *arrays: Any) -> Any:
        from nnfs_gpu.kernels.numba_cuda import grids

        out = backend.xp.empty(arrays[0].shape, arrays[0].dtype)
        numbers = scalars(arrays[0])
        backend.calls.launch(getattr(grids, kernel), len(out), arrays, (out,), numbers)
        return out

    return run


def blocks(kernel: str) -> Callable[..., Any]:
    """A kernel of kernels/numba_cuda/rows.py: a block a row."""

    def run(backend: Any, *arrays: Any) -> Any:
        from nnfs_gpu.kernels.numba_cuda import rows as kernels

        out = backend.xp.empty(arrays[0].shape, arrays[0].dtype)
        backend.calls.launch_blocks(getattr(kernels, kernel), len(out), arrays, (out,))
        return out

    return run


def _cuda(kind: str, operation: str) -> Callable[..., Any]:
    """The kernels of kernels/cuda/softmax_<kind>.cu, whatever the shape is."""

    def run(backend: Any, *arrays: Any) -> Any:
        out = backend.xp.empty(arrays[0].shape, arrays[0].dtype)
        backend.calls.softmax(operation, arrays, (out,), kind=kind)
        return out

    return run


def by_name(operation: str) -> Callable[..., Any]:
    """The backend's own."""
    return lambda backend, *arrays: getattr(backend, operation)(*arrays)


def cuda_versions(operation: str) -> tuple[Version, ...]:
    """The three families of CUDA C++ kernels."""
    lines = (
        ("narrow", "a thread a row, the block's rows staged through shared memory", 32),
        ("rows", "32 to 512 threads a row, which stays in registers", 16_384),
        ("wide", "several blocks share a row, in several launches: for long rows", None),
    )
    return tuple(
        Version(
            *(f"CUDA C++, {kind}", changes, f"kernels/cuda/softmax_{kind}.cu"),
            *(_cuda(kind, operation), "cupy"),
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
        """See `Trainer`."""
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


def ours(engine: str, context: Callable[[], Any] = contextlib.nullcontext) -> Callable[..., Any]:
    """What makes `Ours` with an engine, its steps inside `context()`."""

    def make(backend: Backend, *given: Any) -> Trainer:
        return Within(Ours(*given, backend=backend, engine=engine), context)

    return make


def numpy_for(dtype: DTypeLike) -> Backend:
    """The specification in `dtype`, as versions get it."""
    return get_backend("numpy", dtype=dtype, precise_dot=False, book_random=False)
