"""Softmax, its backward, its Jacobian, and its gradient together with cross-entropy.

Rows are samples (N, C). A row function is the formula; the passes over whole arrays that softmax
needs run in the vector registers of row_vectors.py, and exp over a tile that lies in the cache.
Gradients of rows that come with labels run in those of label_rows.py.
"""

import math

import numpy as np

from .common import TILE, exp_below_0_in_place, jit, log_in_place, row
from .elementary import fma
from .label_rows import label_rows
from .losses import cross_entropy_forward_soft, true_probability_row
from .row_order import row_sum
from .row_vectors import row_operation

# ---- forward: y = exp(x - max) / sum ----


@row
def softmax_shift_row(i, C, x, y):
    """y = x - max(x): the largest score becomes 0, so exp cannot overflow."""
    largest = x[i, 0]
    for c in range(1, C):
        largest = max(largest, x[i, c])
    for c in range(C):
        y[i, c] = x[i, c] - largest


@row
def plus_number(total, i, c, arrays):
    """total + y."""
    return total + arrays[0][i, c]


@row
def softmax_scale_row(i, C, y):
    """y = y / sum(y), by one division."""
    one = y.dtype.type(1)
    scale = one / row_sum(plus_number, C, i, (y,), y.dtype.type(-0.0))
    for c in range(C):
        y[i, c] *= scale


_shift_rows = row_operation(
    term=lambda emit, x: x,
    add=lambda emit, largest, x: emit.larger(largest, x),
    join=lambda emit, a, b: emit.larger(a, b),
    neutral=-math.inf,
    absent=(-math.inf,),
    last=lambda emit, largest: largest,
    result=lambda emit, largest, x: emit.builder.fsub(x, largest),
    cached=True,
)
_scale_rows = row_operation(
    term=lambda emit, y: y,
    add=lambda emit, total, y: emit.builder.fadd(total, y),
    join=lambda emit, a, b: emit.builder.fadd(a, b),
    neutral=-0.0,
    absent=(-0.0,),
    last=lambda emit, total: emit.builder.fdiv(emit.constant(1.0), total),
    result=lambda emit, scale, y: emit.builder.fmul(y, scale),
    cached=True,
)


@jit
def softmax_forward(start, stop, x, y):
    """Three short passes over a tile of rows: exp then runs over one flat array."""
    rows = max(np.uint64(1), TILE // np.uint64(x.shape[1]))
    for first in range(start, stop, rows):
        last = min(first + rows, stop)
        _shift_rows((x,), y, np.int64(first), np.int64(last))
        exp_below_0_in_place(y[first:last].reshape(-1))
        _scale_rows((y,), y, np.int64(first), np.int64(last))


# ---- backward: dx = J dy, with J = diag(y) - y y^T never built ----


@row
def plus_product(total, i, c, arrays):
    """total + y dy."""
    return fma(arrays[0][i, c], arrays[1][i, c], total)


@row
def softmax_backward_row(i, C, dy, y, dx):
    """dx = y (dy - sum(y dy))."""
    dot = row_sum(plus_product, C, i, (y, dy), y.dtype.type(-0.0))
    for c in range(C):
        dx[i, c] = y[i, c] * (dy[i, c] - dot)


_product_rows = row_operation(
    term=lambda emit, dy, y: emit.builder.fmul(y, dy),
    add=lambda emit, dot, dy, y: emit.fma(y, dy, dot),
    join=lambda emit, a, b: emit.builder.fadd(a, b),
    neutral=-0.0,
    absent=(0.0, -0.0),
    last=lambda emit, dot: dot,
    result=lambda emit, dot, dy, y: emit.builder.fmul(y, emit.builder.fsub(dy, dot)),
)


@jit
def softmax_backward(start, stop, dy, y, dx):
    """12 bytes an element in float32: each array passes once, the row stays in cache."""
    _product_rows((dy, y), dx, np.int64(start), np.int64(stop))


@row
def softmax_jacobian_row(i, C, y, jacobian):
    """J[a, b] = y[a] ([a = b] - y[b])."""
    zero, one = y.dtype.type(0), y.dtype.type(1)
    for a in range(C):
        for b in range(C):
            jacobian[i, a, b] = y[i, a] * (zero - y[i, b])
        jacobian[i, a, a] = y[i, a] * (one - y[i, a])


@jit
def softmax_jacobian(start, stop, y, jacobian):
    """The matrices themselves: C times as many bytes as the product needs."""
    for i in range(start, stop):
        softmax_jacobian_row(i, y.shape[1], y, jacobian)


# ---- softmax and cross-entropy together: dx = (p - t) / N ----


@row
def softmax_cross_entropy_backward_row(i, C, p, t, n, bad, dx):
    """Class index t: 1 is taken off the true class. `bad` (NaN) for an index out of range."""
    one, zero = p.dtype.type(1), p.dtype.type(0)
    label = t[i]
    outside = label < 0 or label >= C
    for c in range(C):
        gradient = (p[i, c] - (one if c == label else zero)) / n
        dx[i, c] = bad if outside else gradient


def _emit_true(emit, p, n):
    return emit.builder.fdiv(emit.builder.fsub(p, emit.constant(1.0)), n)


def _emit_other(emit, p, n):
    return emit.builder.fdiv(p, n)


_gradients = label_rows(_emit_true, _emit_other)


@jit
def softmax_cross_entropy_backward(start, stop, p, t, n, bad, dx):
    """Rows of class indices."""
    for i in range(_gradients(p, t, (n,), bad, dx, start, stop), stop):
        softmax_cross_entropy_backward_row(i, p.shape[1], p, t, n, bad, dx)


@jit
def softmax_cross_entropy_backward_soft(start, stop, p, t, n, dx):
    """Flat: t is a matrix of probabilities like p."""
    for k in range(start, stop):
        dx[k] = (p[k] - t[k]) / n


# ---- from the scores at once: the losses, and the gradient where the probabilities were ----


@row
def subtract_one_row(i, C, t, bad, dx):
    """1 off the true class; a row of `bad` for an index out of range."""
    label = t[i]
    if label < 0 or label >= C:
        for c in range(C):
            dx[i, c] = bad
    else:
        dx[i, label] -= dx.dtype.type(1)


@jit
def _scale(a, factor):
    for k in range(a.shape[0]):
        a[k] *= factor


@jit
def _scale_difference(a, b, factor):
    for k in range(a.shape[0]):
        a[k] = (a[k] - b[k]) * factor


@jit
def softmax_cross_entropy(start, stop, x, t, low, high, factor, bad, losses, dx):
    """A tile of rows becomes probabilities, gives its losses, and becomes the gradient.

    factor is 1 / N. The tile stays in the first-level cache: 8 bytes an element in float32 and 8 a
    row, where the three operations one by one move 16 and 12.
    """
    C = x.shape[1]
    rows = max(np.uint64(1), TILE // np.uint64(C))
    for first in range(start, stop, rows):
        last = min(first + rows, stop)
        softmax_forward(first, last, x, dx)
        for i in range(first, last):
            true_probability_row(i, C, dx, t, low, high, bad, losses)
        log_in_place(losses[first:last])
        for i in range(first, last):
            losses[i] = -losses[i]
            subtract_one_row(i, C, t, bad, dx)
        _scale(dx[first:last].reshape(-1), factor)


@jit
def softmax_cross_entropy_soft(start, stop, x, t, low, high, factor, bad, losses, dx):
    """The same for rows of probabilities as targets; `bad` is not used."""
    rows = max(np.uint64(1), TILE // np.uint64(x.shape[1]))
    for first in range(start, stop, rows):
        last = min(first + rows, stop)
        softmax_forward(first, last, x, dx)
        cross_entropy_forward_soft(first, last, dx, t, low, high, losses)
        _scale_difference(dx[first:last].reshape(-1), t[first:last].reshape(-1), factor)
