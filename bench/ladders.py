"""The ladders: versions of an operation, from the notes' loop to the fastest kernel there is.

A version is a few lines here: its name, what it changes against the one before it, the file to
read, and a function that calls it on a backend's arrays. The suite `ladder` checks and times them
and kernels/README.md has the tables; the suite `jacobian` has the first three from here.
"""

from __future__ import annotations

from typing import Any

from nnfs_gpu.kernels.cpu import softmax

from . import book
from .trainers import Book
from .versions import (
    LOOP,
    LOOP_ROWS,
    MATRICES,
    Scalars,
    Version,
    backward_row_by_row,
    blocks,
    by_name,
    cuda_versions,
    forward_row_by_row,
    gradient_row_by_row,
    grid,
    no_scalars,
    of_gradient,
    on_one_thread,
    one_thread,
    ours,
    tiles_on_one_thread,
)

BOOK, NUMPY = "bench/book.py", "nnfs_gpu/backend/numpy_backend.py"
GRIDS, BLOCKS = "kernels/numba_cuda/grids.py", "kernels/numba_cuda/rows.py"
ONE_JACOBIAN: dict[str, Any] = {"jacobian": LOOP, "most": LOOP_ROWS, "role": "book"}


def compiled(
    operation: str,
    row_by_row: Any,
    in_registers: tuple[str, str],
    scalars: Scalars = no_scalars,
    on_gpu: Scalars = no_scalars,
) -> tuple[Version, ...]:
    """Those that every operation on rows has: compiled loops for the CPU, and on the GPU its row
    function. `in_registers` is what vector registers change, and the file that says how.
    """
    text, read = in_registers
    loop, vectors = (
        on_one_thread(kernel, scalars) for kernel in (row_by_row, getattr(softmax, operation))
    )
    one_pass = "compiled, one pass: a value is loaded, used and stored once"
    ranges = "ranges of rows, which threads take one by one"
    launch = "nnfs_gpu/backend/cpu/launch.py"
    by_threads = "the row function as it stands; neighbours' loads lie C apart"
    return (
        Version("row by row", one_pass, "kernels/cpu/softmax.py", loop),
        Version("vector registers", text, f"kernels/cpu/{read}", vectors),
        Version("all threads", ranges, launch, by_name(operation), "numba"),
        Version("GPU, a thread a row", by_threads, GRIDS, grid(operation, on_gpu), "numba-cuda"),
    )


def block_a_row(operation: str) -> Version:
    """Of softmax, forward and backward."""
    text = "neighbours read neighbours, a tree of sums in shared memory; the row is read twice"
    return Version("GPU, a block a row", text, BLOCKS, blocks(f"{operation}_wide"), "numba-cuda")


SOFTMAX_BACKWARD = (
    Version(
        *("loop", "one Jacobian a sample, in Python", BOOK),
        run=lambda _, dy, y: book.softmax_backward(dy, y),
        **ONE_JACOBIAN,
    ),
    Version(
        *(
            "matrices",
            "all Jacobians at once, a batched product: no loop, C times the bytes",
            NUMPY,
        ),
        run=lambda numpy, dy, y: (numpy.softmax_jacobian(y) @ dy[:, :, None])[:, :, 0],
        jacobian=MATRICES,
        role="book",
    ),
    Version(
        *("closed form", "dx = y (dy - sum(y dy)): a pass and a temporary an operator", NUMPY),
        run=by_name("softmax_backward"),
        role="book",
    ),
    *compiled(
        *("softmax_backward", backward_row_by_row),
        ("several short rows in a register, a long row in several", "row_vectors.py"),
    ),
    block_a_row("softmax_backward"),
    *cuda_versions("softmax_backward"),
)
SOFTMAX_FORWARD = (
    Version(
        *("array code", "exp(x - max) / sum: a pass and a temporary an operator", NUMPY),
        run=by_name("softmax_forward"),
        role="book",
    ),
    *compiled(
        *("softmax_forward", forward_row_by_row),
        ("a tile of rows in the cache: exp runs over one flat array", "row_vectors.py"),
    ),
    block_a_row("softmax_forward"),
    *cuda_versions("softmax_forward"),
)
SOFTMAX_CROSS_ENTROPY_BACKWARD = (
    Version(
        *("separate", "the loss's derivative, then one Jacobian a sample, in Python", BOOK),
        run=lambda _, p, t: book.separate(p, t),
        **ONE_JACOBIAN,
    ),
    Version(
        *("combined", "(p - t) / N: the Jacobian cancels; `range(samples)` as an index", BOOK),
        run=lambda _, p, t: book.combined(p, t),
        role="book",
    ),
    Version(
        *("array code", "an array as the index, the division in place", NUMPY),
        run=by_name("softmax_cross_entropy_backward"),
        role="book",
    ),
    *compiled(
        *("softmax_cross_entropy_backward", gradient_row_by_row),
        ("labels of several rows spread over a register: no branch on the data", "label_rows.py"),
        scalars=of_gradient,
        on_gpu=lambda p: (float(len(p)), float("nan")),
    ),
    Version(
        *("CUDA C++", "a thread an element: neighbours read neighbours", "kernels/cuda/losses.cu"),
        run=by_name("softmax_cross_entropy_backward"),
        backend="cupy",
    ),
)
TRAINING_STEP = (
    Version(
        *("the notes, separate", "the loss's derivative, then one Jacobian a sample", BOOK),
        run=lambda _, *given: Book(*given, derivative=book.separate),
        role="book",
    ),
    Version(
        *("the notes, combined", "(p - t) / N: the Jacobian cancels", BOOK),
        run=lambda _, *given: Book(*given),
        role="book",
    ),
    Version(
        *("layers, NumPy", "optimizers in place; still passes over the whole batch"),
        read="nnfs_gpu/layers.py",
        run=ours("layers"),
    ),
    Version(
        *("layers, Numba", "an operation is one compiled pass on all threads; products by BLAS"),
        read="nnfs_gpu/backend/numba_backend.py",
        run=ours("layers"),
        backend="numba",
    ),
    Version(
        *("fused, tiles, one thread", "a tile goes forward and back while it lies in the cache"),
        read="kernels/fused_cpu/group.py",
        run=ours("fused", tiles_on_one_thread),
        backend="numba",
    ),
    Version(
        *(
            "fused, narrow, one thread",
            "gradients from masked sums: backward costs additions alone",
        ),
        read="kernels/fused_cpu/narrow.py",
        run=ours("fused", one_thread),
        backend="numba",
    ),
    Version(
        *("fused, narrow, all threads", "threads share the groups of a step"),
        read="kernels/fused_cpu/step.py",
        run=ours("fused"),
        backend="numba",
    ),
    Version(
        *("layers, CUDA C++", "every operation a launch on the GPU, products by cuBLAS"),
        read="nnfs_gpu/backend/cupy_backend.py",
        run=ours("layers"),
        backend="cupy",
    ),
    Version(
        *("fused, CUDA C++", "whole steps in a launch, parameters in shared memory"),
        read="kernels/fused_cuda/fused.cu",
        run=ours("fused"),
        backend="cupy",
    ),
)
LADDERS = {
    "softmax_backward": SOFTMAX_BACKWARD,
    "softmax_forward": SOFTMAX_FORWARD,
    "softmax_cross_entropy_backward": SOFTMAX_CROSS_ENTROPY_BACKWARD,
    "training_step": TRAINING_STEP,
}
