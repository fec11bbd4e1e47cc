"""The ladders: versions of an operation, from the notes' loop to the fastest kernel there is.

A version is a few lines here: its name, what it changes against the one before it, the file to
read, and a function that calls it on a backend's arrays. The suite `ladder` checks and times them
and kernels/README.md has the tables; the suite `jacobian` has the first three from here.
"""

from __future__ import annotations

from nnfs_gpu.kernels.cpu import softmax

from . import book
from .trainers import Book
from .versions import (
    LOOP,
    LOOP_ROWS,
    MATRICES,
    Version,
    backward_row_by_row,
    blocks,
    cuda_versions,
    forward_row_by_row,
    gradient_row_by_row,
    grid,
    of_gradient,
    on_one_thread,
    one_thread,
    ours,
    tiles_on_one_thread,
)

SOFTMAX_BACKWARD = (
    Version(
        "loop",
        "one Jacobian a sample, in Python",
        "bench/book.py",
        lambda _, dy, y: book.softmax_backward(dy, y),
        jacobian=LOOP,
        most=LOOP_ROWS,
        role="book",
    ),
    Version(
        "matrices",
        "all Jacobians at once, a batched product: no loop, still C times the bytes",
        "nnfs_gpu/backend/numpy_backend.py",
        lambda numpy, dy, y: (numpy.softmax_jacobian(y) @ dy[:, :, None])[:, :, 0],
        jacobian=MATRICES,
        role="book",
    ),
    Version(
        "closed form",
        "dx = y (dy - sum(y dy)), no Jacobian; every operator is a pass with a temporary",
        "nnfs_gpu/backend/numpy_backend.py",
        lambda numpy, dy, y: numpy.softmax_backward(dy, y),
        role="book",
    ),
    Version(
        "row by row",
        "compiled, one pass: a value is loaded, used and stored once",
        "kernels/cpu/softmax.py",
        on_one_thread(backward_row_by_row),
    ),
    Version(
        "vector registers",
        "several short rows in a register, a long row in several",
        "kernels/cpu/row_vectors.py",
        on_one_thread(softmax.softmax_backward),
    ),
    Version(
        "all threads",
        "ranges of rows, which threads take one by one",
        "nnfs_gpu/backend/cpu/launch.py",
        lambda numba, dy, y: numba.softmax_backward(dy, y),
        backend="numba",
    ),
    Version(
        "GPU, a thread a row",
        "the row function as it stands; neighbours' loads lie C apart",
        "kernels/numba_cuda/grids.py",
        grid("softmax_backward"),
        backend="numba-cuda",
    ),
    Version(
        "GPU, a block a row",
        "neighbours read neighbours, a tree of sums in shared memory; the row is read twice",
        "kernels/numba_cuda/blocks.py",
        blocks("softmax_backward_wide"),
        backend="numba-cuda",
    ),
    *cuda_versions(
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
        role="book",
    ),
    Version(
        "row by row",
        "compiled, a row at a time; exponentials one after the other",
        "kernels/cpu/softmax.py",
        on_one_thread(forward_row_by_row),
    ),
    Version(
        "vector registers",
        "three passes over a tile of rows in the cache, so that exp runs over one flat array",
        "kernels/cpu/row_vectors.py",
        on_one_thread(softmax.softmax_forward),
    ),
    Version(
        "all threads",
        "ranges of rows, which threads take one by one",
        "nnfs_gpu/backend/cpu/launch.py",
        lambda numba, x: numba.softmax_forward(x),
        backend="numba",
    ),
    Version(
        "GPU, a thread a row",
        "the row functions as they stand",
        "kernels/numba_cuda/grids.py",
        grid("softmax_forward"),
        backend="numba-cuda",
    ),
    Version(
        "GPU, a block a row",
        "neighbours read neighbours; trees of maxima and sums",
        "kernels/numba_cuda/blocks.py",
        blocks("softmax_forward_wide"),
        backend="numba-cuda",
    ),
    *cuda_versions(
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
        role="book",
    ),
    Version(
        "combined",
        "(p - t) / N: the Jacobian cancels; `range(samples)` as an index",
        "bench/book.py",
        lambda _, p, t: book.combined(p, t),
        role="book",
    ),
    Version(
        "array code",
        "an array as the index, the division in place",
        "nnfs_gpu/backend/numpy_backend.py",
        lambda numpy, p, t: numpy.softmax_cross_entropy_backward(p, t),
        role="book",
    ),
    Version(
        "row by row",
        "compiled, one pass",
        "kernels/cpu/softmax.py",
        on_one_thread(gradient_row_by_row, of_gradient),
    ),
    Version(
        "vector registers",
        "labels of several rows spread over a register: no branch on the data",
        "kernels/cpu/label_rows.py",
        on_one_thread(softmax.softmax_cross_entropy_backward, of_gradient),
    ),
    Version(
        "all threads",
        "ranges of rows, which threads take one by one",
        "nnfs_gpu/backend/cpu/launch.py",
        lambda numba, p, t: numba.softmax_cross_entropy_backward(p, t),
        backend="numba",
    ),
    Version(
        "GPU, a thread a row",
        "the row function as it stands",
        "kernels/numba_cuda/grids.py",
        grid("softmax_cross_entropy_backward", lambda p: (float(len(p)), float("nan"))),
        backend="numba-cuda",
    ),
    Version(
        "CUDA C++",
        "a thread an element: neighbours read neighbours",
        "kernels/cuda/losses.cu",
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
        role="book",
    ),
    Version(
        "the notes, combined",
        "(p - t) / N: the Jacobian cancels",
        "bench/book.py",
        lambda _, *given: Book(*given),
        role="book",
    ),
    Version(
        "layers, NumPy",
        "checked arguments, optimizers in place: an operation a call, passes over the whole batch",
        "nnfs_gpu/layers.py",
        ours("layers"),
    ),
    Version(
        "layers, Numba",
        "every operation one compiled pass on all threads, products by BLAS",
        "nnfs_gpu/backend/numba_backend.py",
        ours("layers"),
        backend="numba",
    ),
    Version(
        "fused, tiles, one thread",
        "a tile goes forward and back while it lies in the cache; products in registers",
        "kernels/fused_cpu/group.py",
        ours("fused", tiles_on_one_thread),
        backend="numba",
    ),
    Version(
        "fused, narrow, one thread",
        "gradients from masked sums: backward costs additions alone",
        "kernels/fused_cpu/narrow.py",
        ours("fused", one_thread),
        backend="numba",
    ),
    Version(
        "fused, narrow, all threads",
        "threads share the groups of a step",
        "kernels/fused_cpu/step.py",
        ours("fused"),
        backend="numba",
    ),
    Version(
        "layers, CUDA C++",
        "every operation a launch on the GPU, products by cuBLAS",
        "nnfs_gpu/backend/cupy_backend.py",
        ours("layers"),
        backend="cupy",
    ),
    Version(
        "fused, CUDA C++",
        "a whole step in a launch; a small batch's parameters stay in shared memory for many",
        "kernels/fused_cuda/fused.cu",
        ours("fused"),
        backend="cupy",
    ),
)
LADDERS = {
    "softmax_backward": SOFTMAX_BACKWARD,
    "softmax_forward": SOFTMAX_FORWARD,
    "softmax_cross_entropy_backward": SOFTMAX_CROSS_ENTROPY_BACKWARD,
    "training_step": TRAINING_STEP,
}
