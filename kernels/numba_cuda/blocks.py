"""CUDA grids in which threads of a block work together: sums.

The threads of a block share a small array in fast memory (`cuda.shared.array`), and meet at
barriers (`cuda.syncthreads`), which every thread of the block must reach. A block adds up in
a tree: each thread first takes every B-th element in order, then half of the threads add the
values of the other half to theirs, then a quarter, until one value is left. The order depends
on the sizes alone, so the bits are the same in every run; there are no atomics.

Block sizes B are powers of two. The shared array has one element a thread; its size is given
at the launch (0 here), in the dtype of the results.
"""

import numpy as np

from ..cpu import activations, reductions
from .device import cuda, device

CHUNK = 4096  # elements that one block adds up
ROWS, LANES, SHORT = int(reductions.ROWS), int(reductions.LANES), int(reductions.SHORT)
_CHUNK = np.int64(CHUNK)


@cuda.jit(device=True)
def _block_sum(value, shared):
    """The sum of `value` over the threads of a block, for every thread."""
    k = cuda.threadIdx.x
    shared[k] = value
    cuda.syncthreads()
    half = cuda.blockDim.x // 2
    while half > 0:
        if k < half:
            shared[k] += shared[k + half]
        cuda.syncthreads()
        half //= 2
    total = shared[0]
    cuda.syncthreads()  # all have read it: the array may be used again
    return total


# ---- sums: block j adds up chunk j; the caller goes on with the partial sums until one is left


@cuda.jit
def sums(a, partial):
    """partial[j] = sum of chunk j of the flat array a, in the dtype of `partial`."""
    shared = cuda.shared.array(0, partial.dtype)
    j, k, B = cuda.blockIdx.x, cuda.threadIdx.x, cuda.blockDim.x
    first = np.int64(j) * _CHUNK
    total = partial.dtype.type(0)
    for at in range(first + k, min(first + _CHUNK, a.shape[0]), B):
        total += partial.dtype.type(a[at])
    total = _block_sum(total, shared)
    if k == 0:
        partial[j] = total


@cuda.jit
def penalties(w, l1, l2, partial):
    """partial[j] = l1 sum|w| + l2 sum w^2 over chunk j of the flat array w."""
    shared = cuda.shared.array(0, partial.dtype)
    j, k, B = cuda.blockIdx.x, cuda.threadIdx.x, cuda.blockDim.x
    first = np.int64(j) * _CHUNK
    total = partial.dtype.type(0)
    for at in range(first + k, min(first + _CHUNK, w.shape[0]), B):
        total += l1 * abs(w[at]) + l2 * (w[at] * w[at])
    total = _block_sum(total, shared)
    if k == 0:
        partial[j] = total


# ---- the dense layer's bias and ReLU: no shared memory ----

_relu = device(activations.relu)
_relu_gradient = device(activations.relu_gradient)


@cuda.jit(device=True)
def _column_sum(dy, j, o):
    """The sum of column o over chunk j of the rows, in the order of kernels/cpu/reductions.py."""
    rows, outputs = dy.shape
    sums = cuda.local.array(LANES, dy.dtype)
    step = LANES if outputs <= SHORT else 1
    for lane in range(LANES):
        first = j * ROWS + (lane if outputs <= SHORT else lane * (ROWS // LANES))
        total = dy.dtype.type(0)
        for i in range(first, min(first + ROWS // LANES * step, rows), step):
            total += dy[i, o]
        sums[lane] = total
    distance = LANES // 2
    while distance > 0:
        for lane in range(distance):
            sums[lane] += sums[lane + distance]
        distance //= 2
    return sums[0]


@cuda.jit
def column_sums(dy, partial):
    """partial[j, o] = sum of column o over chunk j, ROWS rows; dy (N, O).

    A thread a column and a chunk: neighbouring threads have neighbouring columns.
    """
    at = cuda.grid(1)
    outputs = dy.shape[1]
    if at < partial.size:
        j, o = at // outputs, at % outputs
        partial[j, o] = _column_sum(dy, j, o)


@cuda.jit
def add_bias(b, y):
    """y += b in each row: b (O,), y (N, O). 8 bytes an element in float32."""
    at = cuda.grid(1)
    outputs = y.shape[1]
    if at < y.size:
        y[at // outputs, at % outputs] += b[at % outputs]


@cuda.jit
def add_bias_relu(b, y):
    """y = max(y + b, 0) in each row: b (O,), y (N, O). 8 bytes an element in float32."""
    at = cuda.grid(1)
    outputs = y.shape[1]
    if at < y.size:
        i, o = at // outputs, at % outputs
        y[i, o] = _relu(y[i, o] + b[o])


@cuda.jit
def relu_backward_column_sums(dy, y, dz, partial):
    """dz = dy where y > 0, else 0; partial as column_sums of dz. 12 bytes an element."""
    at = cuda.grid(1)
    outputs = dy.shape[1]
    if at < partial.size:
        j, o = at // outputs, at % outputs
        for i in range(j * ROWS, min((j + 1) * ROWS, dy.shape[0])):
            dz[i, o] = _relu_gradient(dy[i, o], y[i, o])
        partial[j, o] = _column_sum(dz, j, o)
