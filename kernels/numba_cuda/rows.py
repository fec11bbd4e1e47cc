"""CUDA grids of one block a row, for rows of more than 64 columns: softmax, losses that are sums.

The threads of a block share a small array in fast memory (`cuda.shared.array`), and meet at
barriers (`cuda.syncthreads`), which every thread of the block must reach. A row is added up in the
order of kernels/cpu/row_order.py: a thread has a lane of a chunk, so that 256 threads have eight
chunks at once, and fewer than 32 go around. Neighbouring threads read neighbouring columns.

The shared array has as many elements as `shared_elements` says; its size is given at the launch (0
here), in the dtype of the results. Block sizes B are powers of two.
"""

import math

from ..cpu import losses, softmax
from ..cpu.row_order import CHUNKS, LANES
from .device import cuda, device, exp_below_0, fold as _fold, larger, log

_FLOAT32_CHUNK, _FLOAT64_CHUNK = CHUNKS[4], CHUNKS[8]
MINUS_INFINITY = -math.inf

_larger = device(larger)


def shared_elements(threads):
    """Of the shared array of so many threads: a lane each, and the lanes that chunks go to."""
    return max(threads, LANES) + LANES


@cuda.jit(device=True)
def _row_sum(add, C, i, arguments, shared):
    """The sum of row i, for every thread: add(sum, i, c, arguments) is the sum with term c."""
    k, B = cuda.threadIdx.x, cuda.blockDim.x
    nothing = shared.dtype.type(-0.0)
    size = _FLOAT32_CHUNK if shared.itemsize == 4 else _FLOAT64_CHUNK
    at_once = (B + LANES - 1) // LANES
    lanes = at_once * LANES  # places of the chunks at hand; behind them those that chunks go to
    for lane in range(k, LANES, B):
        shared[lanes + lane] = nothing
    for first in range(0, (C + size - 1) // size, at_once):
        for place in range(k, lanes, B):
            chunk = first + place // LANES
            total = nothing
            for c in range(chunk * size + place % LANES, min((chunk + 1) * size, C), LANES):
                total = add(total, i, c, arguments)
            shared[place] = total
        cuda.syncthreads()
        _fold(shared, 0, lanes)
        for number in range(k, at_once, B):
            shared[lanes + (first + number) % LANES] += shared[number * LANES]
        cuda.syncthreads()
    _fold(shared, lanes, lanes + LANES)
    total = shared[lanes]
    cuda.syncthreads()  # all have read it: the array may be used again
    return total


@cuda.jit(device=True)
def _largest(C, i, x, shared):
    """The largest number of row i, for every thread."""
    k, B = cuda.threadIdx.x, cuda.blockDim.x
    largest = x.dtype.type(MINUS_INFINITY)
    for c in range(k, C, B):
        largest = _larger(largest, x[i, c])
    shared[k] = largest
    cuda.syncthreads()
    half = B // 2
    while half > 0:
        if k < half:
            shared[k] = _larger(shared[k], shared[k + half])
        cuda.syncthreads()
        half //= 2
    largest = shared[0]
    cuda.syncthreads()
    return largest


# ---- softmax: block i has row i, its thread k writes the columns k, k + B, k + 2B... ----

_plus_number = device(softmax.plus_number)
_plus_product = device(softmax.plus_product)


@cuda.jit(device=True)
def _softmax(C, i, x, y, shared):
    """y = exp(x - max) / sum(exp(x - max)) in row i: what a thread has written, it has for itself.

    Three passes over the row: its maximum, the exponentials and their sum, the product. The row
    stays in cache between them where it fits.
    """
    k, B = cuda.threadIdx.x, cuda.blockDim.x
    largest = _largest(C, i, x, shared)
    for c in range(k, C, B):
        y[i, c] = exp_below_0(x[i, c] - largest)
    cuda.syncthreads()  # others add up what this thread has written
    scale = y.dtype.type(1) / _row_sum(_plus_number, C, i, (y,), shared)
    for c in range(k, C, B):
        y[i, c] *= scale


@cuda.jit
def softmax_forward_wide(x, y):
    """As softmax_forward."""
    shared = cuda.shared.array(0, y.dtype)
    _softmax(x.shape[1], cuda.blockIdx.x, x, y, shared)


@cuda.jit
def softmax_backward_wide(dy, y, dx):
    """dx = y (dy - sum(y dy)) in each row, as softmax_backward: the sum, then the product."""
    shared = cuda.shared.array(0, dx.dtype)
    i, k, B, C = cuda.blockIdx.x, cuda.threadIdx.x, cuda.blockDim.x, y.shape[1]
    dot = _row_sum(_plus_product, C, i, (y, dy), shared)
    for c in range(k, C, B):
        dx[i, c] = y[i, c] * (dy[i, c] - dot)


_true_probability_row = device(losses.true_probability_row)
_plus_cross_entropy = device(losses.plus_cross_entropy)


@cuda.jit
def softmax_cross_entropy_wide(x, t, low, high, factor, bad, loss, dx):
    """loss = -log clip(p[t]), dx = (p - 1 at the true class) factor with p = softmax(x).

    One thread has the true class and writes the loss.
    """
    shared = cuda.shared.array(0, dx.dtype)
    i, k, B, C = cuda.blockIdx.x, cuda.threadIdx.x, cuda.blockDim.x, x.shape[1]
    _softmax(C, i, x, dx, shared)
    label = t[i]
    outside = label < 0 or label >= C
    if outside and k == 0:
        loss[i] = bad
    for c in range(k, C, B):
        if c == label:
            _true_probability_row(i, C, dx, t, low, high, bad, loss)
            loss[i] = -log(loss[i])
            dx[i, c] -= dx.dtype.type(1)
        dx[i, c] = bad if outside else dx[i, c] * factor


@cuda.jit
def softmax_cross_entropy_soft_wide(x, t, low, high, factor, bad, loss, dx):
    """loss = -sum_c t log(p), dx = (p - t) factor: targets are rows of probabilities."""
    shared = cuda.shared.array(0, dx.dtype)
    i, k, B, C = cuda.blockIdx.x, cuda.threadIdx.x, cuda.blockDim.x, x.shape[1]
    _softmax(C, i, x, dx, shared)
    cuda.syncthreads()
    total = _row_sum(_plus_cross_entropy, C, i, (dx, t, low, high), shared)
    if k == 0:
        loss[i] = -total
    for c in range(k, C, B):
        dx[i, c] = (dx[i, c] - t[i, c]) * factor


# ---- losses, one a row ----

_plus_binary_cross_entropy = device(losses.plus_binary_cross_entropy)
_plus_squared_error = device(losses.plus_squared_error)
_plus_absolute_error = device(losses.plus_absolute_error)


@cuda.jit
def cross_entropy_forward_soft_wide(p, t, low, high, loss):
    """-sum_c t log(p): targets are rows of probabilities."""
    shared = cuda.shared.array(0, loss.dtype)
    i, C = cuda.blockIdx.x, p.shape[1]
    total = _row_sum(_plus_cross_entropy, C, i, (p, t, low, high), shared)
    if cuda.threadIdx.x == 0:
        loss[i] = -total


@cuda.jit
def binary_cross_entropy_forward_wide(p, t, low, high, loss):
    """mean over O of -(t log p + (1 - t) log(1 - p))."""
    shared = cuda.shared.array(0, loss.dtype)
    i, outputs = cuda.blockIdx.x, p.shape[1]
    total = _row_sum(_plus_binary_cross_entropy, outputs, i, (p, t, low, high), shared)
    if cuda.threadIdx.x == 0:
        loss[i] = -total / loss.dtype.type(outputs)


@cuda.jit
def squared_error_forward_wide(y, t, loss):
    """mean over O of (t - y)^2."""
    shared = cuda.shared.array(0, loss.dtype)
    i, outputs = cuda.blockIdx.x, y.shape[1]
    total = _row_sum(_plus_squared_error, outputs, i, (y, t), shared)
    if cuda.threadIdx.x == 0:
        loss[i] = total / loss.dtype.type(outputs)


@cuda.jit
def absolute_error_forward_wide(y, t, loss):
    """mean over O of |t - y|."""
    shared = cuda.shared.array(0, loss.dtype)
    i, outputs = cuda.blockIdx.x, y.shape[1]
    total = _row_sum(_plus_absolute_error, outputs, i, (y, t), shared)
    if cuda.threadIdx.x == 0:
        loss[i] = total / loss.dtype.type(outputs)
