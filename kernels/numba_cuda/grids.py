"""CUDA grids of one thread a row: softmax, losses, argmax; and of one thread a random block.

Thread i computes sample i with the row function that the CPU's loop calls (softmax.py,
losses.py, reductions.py, philox.py). Rows of few classes are what this suits: a thread reads
its C numbers one after the other, so the loads of a warp lie C apart and come from the cache.
Wide rows that are added up have kernels of their own in rows.py.

A label is compared with C before it is used as an index; where it is out of range, the row
becomes `bad`, which the caller sets to NaN.
"""

import numpy as np

from ..cpu import losses, philox, reductions, softmax
from .device import cuda, device, exp_below_0, log

# ---- softmax of rows of up to 64 classes ----

_shift_row = device(softmax.softmax_shift_row)
_scale_row = device(softmax.softmax_scale_row)
_softmax_backward_row = device(softmax.softmax_backward_row)
_jacobian_row = device(softmax.softmax_jacobian_row)
_softmax_cross_entropy_row = device(softmax.softmax_cross_entropy_backward_row)
_subtract_one_row = device(softmax.subtract_one_row)


@cuda.jit(device=True)
def _softmax_row(i, C, x, y):
    """y = exp(x - max) / sum(exp(x - max))."""
    _shift_row(i, C, x, y)
    for c in range(C):
        y[i, c] = exp_below_0(y[i, c])
    _scale_row(i, C, y)


@cuda.jit
def softmax_forward(x, y):
    """y = exp(x - max) / sum(exp(x - max)) in each row."""
    i = cuda.grid(1)
    if i < x.shape[0]:
        _softmax_row(i, x.shape[1], x, y)


@cuda.jit
def softmax_backward(dy, y, dx):
    """dx = y (dy - sum(y dy)) in each row: the Jacobian is applied and never built."""
    i = cuda.grid(1)
    if i < y.shape[0]:
        _softmax_backward_row(i, y.shape[1], dy, y, dx)


@cuda.jit
def softmax_jacobian(y, jacobian):
    """J[n] = diag(y[n]) - y[n] y[n]^T: C times as many bytes as the product needs."""
    i = cuda.grid(1)
    if i < y.shape[0]:
        _jacobian_row(i, y.shape[1], y, jacobian)


@cuda.jit
def softmax_cross_entropy_backward(p, t, n, bad, dx):
    """dx = (p - 1 at the true class) / N."""
    i = cuda.grid(1)
    if i < p.shape[0]:
        _softmax_cross_entropy_row(i, p.shape[1], p, t, n, bad, dx)


_true_probability_row = device(losses.true_probability_row)
_cross_entropy_soft_row = device(losses.cross_entropy_forward_soft_row)


@cuda.jit
def softmax_cross_entropy(x, t, low, high, factor, bad, loss, dx):
    """Loss and gradient from the scores: the row of dx is p until it is the gradient."""
    i = cuda.grid(1)
    if i < x.shape[0]:
        C = x.shape[1]
        _softmax_row(i, C, x, dx)
        _true_probability_row(i, C, dx, t, low, high, bad, loss)
        loss[i] = -log(loss[i])
        _subtract_one_row(i, C, t, bad, dx)
        for c in range(C):
            dx[i, c] *= factor


@cuda.jit
def softmax_cross_entropy_soft(x, t, low, high, factor, bad, loss, dx):
    """The same for rows of probabilities as targets; `bad` is not used."""
    i = cuda.grid(1)
    if i < x.shape[0]:
        C = x.shape[1]
        _softmax_row(i, C, x, dx)
        _cross_entropy_soft_row(i, dx, t, low, high, loss)
        for c in range(C):
            dx[i, c] = (dx[i, c] - t[i, c]) * factor


# ---- losses, one a row ----

_cross_entropy_backward_row = device(losses.cross_entropy_backward_row)
_binary_cross_entropy_row = device(losses.binary_cross_entropy_forward_row)
_squared_error_row = device(losses.squared_error_forward_row)
_absolute_error_row = device(losses.absolute_error_forward_row)


@cuda.jit
def cross_entropy_forward(p, t, low, high, bad, loss):
    """-log of the clipped probability of the true class."""
    i = cuda.grid(1)
    if i < p.shape[0]:
        _true_probability_row(i, p.shape[1], p, t, low, high, bad, loss)
        loss[i] = -log(loss[i])


@cuda.jit
def cross_entropy_forward_soft(p, t, low, high, loss):
    """-sum_c t log(p): targets are rows of probabilities."""
    i = cuda.grid(1)
    if i < p.shape[0]:
        _cross_entropy_soft_row(i, p, t, low, high, loss)


@cuda.jit
def cross_entropy_backward(p, t, low, n, bad, dp):
    """dp = -1 / p / N at the true class, else 0."""
    i = cuda.grid(1)
    if i < p.shape[0]:
        _cross_entropy_backward_row(i, p, t, low, n, bad, dp)


@cuda.jit
def binary_cross_entropy_forward(p, t, low, high, loss):
    """mean over O of -(t log p + (1 - t) log(1 - p))."""
    i = cuda.grid(1)
    if i < p.shape[0]:
        _binary_cross_entropy_row(i, p, t, low, high, loss)


@cuda.jit
def squared_error_forward(y, t, loss):
    """mean over O of (t - y)^2."""
    i = cuda.grid(1)
    if i < y.shape[0]:
        _squared_error_row(i, y, t, loss)


@cuda.jit
def absolute_error_forward(y, t, loss):
    """mean over O of |t - y|."""
    i = cuda.grid(1)
    if i < y.shape[0]:
        _absolute_error_row(i, y, t, loss)


# ---- predictions ----

_argmax_row = device(reductions.argmax_row)


@cuda.jit
def argmax(x, column):
    """Column of the first largest element of each row; NaN counts as largest."""
    i = cuda.grid(1)
    if i < x.shape[0]:
        _argmax_row(i, x.shape[1], x, column)


# ---- random numbers: a Philox block is four words. Counters are uint64 throughout, because
# Numba makes float64 of uint64 and int64 together. ----

_random_words = device(philox.random_words)
_dropout_forward = device(philox.dropout_forward)
_spiral = device(philox.spiral)
_ONE, _FOUR = np.uint64(1), np.uint64(4)


@cuda.jit
def random_words(seed, stream, call, words):
    """Thread b makes words 4b..4b+3."""
    block = np.uint64(cuda.grid(1))
    if block * _FOUR < np.uint64(words.shape[0]):
        _random_words(block, block + _ONE, seed, stream, call, words)


@cuda.jit
def dropout_forward(x, keep_below, scale, seed, stream, call, y, mask):
    """Thread b masks elements 4b..4b+3: scale where the word is below keep_below, else 0."""
    block = np.uint64(cuda.grid(1))
    if block * _FOUR < np.uint64(x.shape[0]):
        _dropout_forward(block, block + _ONE, x, keep_below, scale, seed, stream, call, y, mask)


@cuda.jit
def spiral(samples, first, step, seed, stream, points, labels):
    """Thread i makes point i, row `first` + i step of the whole spiral.

    In float64 even for float32 points, as on the CPU: the angle grows to 10 C and the points
    are to be the same on every backend.
    """
    i = np.uint64(cuda.grid(1))
    if i < np.uint64(labels.shape[0]):
        _spiral(i, i + _ONE, samples, first, step, seed, stream, points, labels)
