"""CUDA grids that add up: whole arrays, and over rows, as a dense layer's bias gradient does.

The threads of a block share a small array in fast memory (`cuda.shared.array`), and meet at
barriers (`cuda.syncthreads`), which every thread of the block must reach. The order of every sum is
that of kernels/cpu/reductions.py, whatever the grid, so the bits are the same in every run and on
every backend; there are no atomics.

Block sizes B are powers of two. The size of the shared array is given at the launch (0 here):
`shared_elements` of rows.py, in the dtype of the results.
"""

import numpy as np

from ..cpu import activations, common, elementary, reductions, row_order
from .device import cuda, device, fold as _fold

WARP = row_order.LANES  # of a chunk
CHUNK = int(common.CHUNK)
ROWS, LANES, SHORT = int(reductions.ROWS), int(reductions.LANES), int(reductions.SHORT)
_CHUNK = np.int64(CHUNK)

# ---- whole arrays: the caller goes on with the chunks' sums until one is left ----

_fma = device(elementary.fma)


@cuda.jit(device=True)
def _plus(total, value):
    return total + value


@cuda.jit(device=True)
def _plus_size(total, value):
    return total + abs(value)


@cuda.jit(device=True)
def _plus_square(total, value):
    return _fma(value, value, total)


@cuda.jit(device=True)
def _chunk_sums(plus, a, shared, partial):
    """partial[j] = sum of chunk j of the flat array a, in the order of kernels/cpu/reductions.py.

    A block has a chunk for every 32 of its threads, one at least; a thread a lane of one, or
    several. plus(total, value) adds a value in the dtype of `partial`.
    """
    thread, B = cuda.threadIdx.x, cuda.blockDim.x
    slots = max(B, WARP)
    first = np.int64(cuda.blockIdx.x) * (slots // WARP)  # chunk
    for slot in range(thread, slots, B):
        begin = (first + slot // WARP) * _CHUNK
        total = partial.dtype.type(0)
        for at in range(begin + slot % WARP, min(begin + _CHUNK, a.shape[0]), WARP):
            total = plus(total, partial.dtype.type(a[at]))
        shared[slot] = total
    cuda.syncthreads()
    _fold(shared, 0, slots)
    for slot in range(thread, slots, B):
        j = first + slot // WARP
        if slot % WARP == 0 and j < partial.shape[0]:
            partial[j] = shared[slot]
    cuda.syncthreads()  # all have read it: the array may be used again


@cuda.jit
def sums(a, partial):
    """partial[j] = sum of chunk j of the flat array a, in float64."""
    _chunk_sums(_plus, a, cuda.shared.array(0, partial.dtype), partial)


@cuda.jit
def penalties(w, absolute, squared):
    """Sums of |w| and w^2 over each chunk of the flat array w, in float64."""
    shared = cuda.shared.array(0, squared.dtype)
    _chunk_sums(_plus_size, w, shared, absolute)
    _chunk_sums(_plus_square, w, shared, squared)


@cuda.jit
def mean(total, size, a):
    """a[0] = total[0] / size, rounded to the dtype of `a`."""
    if cuda.grid(1) == 0:
        a[0] = total[0] / total.dtype.type(size)


@cuda.jit
def penalty(absolute, squared, l1, l2, loss):
    """loss[0] = l1 sum|w| + l2 sum w^2, rounded to the dtype of `loss`."""
    if cuda.grid(1) == 0:
        loss[0] = _fma(l1, absolute[0], l2 * squared[0])


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
