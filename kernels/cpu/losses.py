"""Losses and their gradients: one loss a sample, gradients of the mean over N samples.

Probabilities are clipped to [low, high] = [1e-7, 1 - 1e-7] before a logarithm, as in the book;
the clip keeps NaN, so that a broken network shows. Constants come in as arguments of the
arrays' dtype: a literal would turn a float32 kernel into a float64 one.
"""

import math

import numpy as np

from .common import TILE, jit, log_in_place, row
from .elementary import emit_log, fma, log
from .label_rows import label_rows
from .lane_sums import lane_sums
from .row_order import row_sum


@jit
def clip(p, low, high):
    """p within [low, high]; NaN stays NaN, because it compares false."""
    return min(max(p, low), high)


# ---- categorical cross-entropy ----


@row
def true_probability_row(i, C, p, t, low, high, bad, losses):
    """The clipped probability of the true class; `bad` (NaN) for an index out of range."""
    label = t[i]
    if label < 0 or label >= C:
        losses[i] = bad
    else:
        losses[i] = clip(p[i, label], low, high)


@jit
def cross_entropy_forward(start, stop, p, t, low, high, bad, losses):
    """-log(p[t]): gather the probabilities, then one vectorized pass of log."""
    for i in range(start, stop):
        true_probability_row(i, p.shape[1], p, t, low, high, bad, losses)
    log_in_place(losses[start:stop])
    for i in range(start, stop):
        losses[i] = -losses[i]


@row
def plus_cross_entropy(total, i, c, arguments):
    """total + t log(p)."""
    p, t, low, high = arguments
    return fma(t[i, c], log(clip(p[i, c], low, high)), total)


@row
def cross_entropy_forward_soft_row(i, p, t, low, high, losses):
    """-sum_c t log(p)."""
    arguments = (p, t, low, high)
    losses[i] = -row_sum(plus_cross_entropy, p.shape[1], i, arguments, p.dtype.type(-0.0))


def _emit_cross_entropy(emit, p, t, low, high):
    return t, emit_log(emit, emit.within(p, low, high))


_cross_entropy_of_row = lane_sums(_emit_cross_entropy, precise=False)


@jit
def cross_entropy_forward_soft(start, stop, p, t, low, high, losses):
    """Rows of probabilities as targets."""
    C = np.int64(p.shape[1])
    for i in range(np.int64(start), np.int64(stop)):
        total = _cross_entropy_of_row((p, t), (low, high), i * C, (i + 1) * C)[0]
        losses[i] = -total


@row
def true_class_gradient_row(i, p, t, low, n, bad, dp):
    """dp = -1 / p / N at the true class; a row of `bad` for an index out of range."""
    label = t[i]
    if label < 0 or label >= p.shape[1]:
        for c in range(p.shape[1]):
            dp[i, c] = bad
    else:
        dp[i, label] = -p.dtype.type(1) / max(p[i, label], low) / n


@row
def cross_entropy_backward_row(i, p, t, low, n, bad, dp):
    """dp = -1 / p / N at the true class, else 0; a row of `bad` for an index out of range."""
    for c in range(p.shape[1]):
        dp[i, c] = p.dtype.type(0)
    true_class_gradient_row(i, p, t, low, n, bad, dp)


def _emit_true(emit, p, low, n):
    builder = emit.builder
    p = builder.select(builder.fcmp_ordered("<", p, low), low, p)
    return builder.fdiv(builder.fdiv(emit.constant(-1.0), p), n)


def _emit_other(emit, p, low, n):
    return emit.zero


_gradients = label_rows(_emit_true, _emit_other, long=False)


@jit
def cross_entropy_backward(start, stop, p, t, low, n, bad, dp):
    """Rows of class indices. Long ones are cleared, some thousand numbers at a time, before their
    true classes are written.
    """
    C, flat = np.uint64(p.shape[1]), dp.reshape(-1)
    rows = max(np.uint64(1), TILE // max(C, np.uint64(1)))
    for first in range(_gradients(p, t, (low, n), bad, dp, start, stop), stop, rows):
        last = min(first + rows, stop)
        for k in range(first * C, last * C):
            flat[k] = p.dtype.type(0)
        for i in range(first, last):
            true_class_gradient_row(i, p, t, low, n, bad, dp)


@jit
def cross_entropy_backward_soft(start, stop, p, t, low, n, dp):
    """Flat: t is a matrix of probabilities like p."""
    for k in range(start, stop):
        dp[k] = -t[k] / max(p[k], low) / n


# ---- binary cross-entropy, (N, O) ----


@row
def plus_binary_cross_entropy(total, i, o, arguments):
    """total + t log p + (1 - t) log(1 - p), p within its limits."""
    p, t, low, high = arguments
    one = p.dtype.type(1)
    q = clip(p[i, o], low, high)
    return total + fma(t[i, o], log(q), (one - t[i, o]) * log(one - q))


@row
def binary_cross_entropy_forward_row(i, p, t, low, high, losses):
    """mean over O of -(t log p + (1 - t) log(1 - p))."""
    outputs, arguments = p.shape[1], (p, t, low, high)
    total = row_sum(plus_binary_cross_entropy, outputs, i, arguments, p.dtype.type(-0.0))
    losses[i] = -total / p.dtype.type(outputs)


def _emit_binary_cross_entropy(emit, p, t, low, high):
    builder, one = emit.builder, emit.constant(1.0)
    q = emit.within(p, low, high)
    other = builder.fmul(builder.fsub(one, t), emit_log(emit, builder.fsub(one, q)))
    return emit.fma(t, emit_log(emit, q), other)


_binary_cross_entropy_of_row = lane_sums(_emit_binary_cross_entropy, precise=False)


@jit
def binary_cross_entropy_forward(start, stop, p, t, low, high, losses):
    """Rows of independent outputs; of one output, vectorized across rows."""
    outputs = np.int64(p.shape[1])
    if outputs == 1:
        nothing, arguments = p.dtype.type(-0.0), (p, t, low, high)
        for i in range(start, stop):
            losses[i] = -plus_binary_cross_entropy(nothing, i, 0, arguments)
    else:
        for i in range(np.int64(start), np.int64(stop)):
            total = _binary_cross_entropy_of_row(
                (p, t), (low, high), i * outputs, (i + 1) * outputs
            )[0]
            losses[i] = -total / p.dtype.type(outputs)


@jit
def binary_cross_entropy_backward(start, stop, p, t, low, high, outputs, n, dp):
    """Flat: dp = -(t / p - (1 - t) / (1 - p)) / O / N."""
    one = p.dtype.type(1)
    for k in range(start, stop):
        q = clip(p[k], low, high)
        dp[k] = -(t[k] / q - (one - t[k]) / (one - q)) / outputs / n


# ---- squared and absolute error, (N, O) ----


@row
def plus_squared_error(total, i, o, arrays):
    """total + (t - y)^2."""
    y, t = arrays
    difference = t[i, o] - y[i, o]
    return fma(difference, difference, total)


@row
def squared_error_forward_row(i, y, t, losses):
    """mean over O of (t - y)^2."""
    total = row_sum(plus_squared_error, y.shape[1], i, (y, t), y.dtype.type(-0.0))
    losses[i] = total / y.dtype.type(y.shape[1])


def _emit_squared_error(emit, y, t):
    difference = emit.builder.fsub(t, y)
    return difference, difference


_squared_error_of_row = lane_sums(_emit_squared_error, precise=False)


@jit
def squared_error_forward(start, stop, y, t, losses):
    """Rows; of one output, vectorized across rows."""
    outputs, nothing = np.int64(y.shape[1]), y.dtype.type(-0.0)
    if outputs == 1:
        for i in range(start, stop):
            losses[i] = plus_squared_error(nothing, i, 0, (y, t))
    else:
        for i in range(np.int64(start), np.int64(stop)):
            total = _squared_error_of_row((y, t), (), i * outputs, (i + 1) * outputs)[0]
            losses[i] = total / y.dtype.type(outputs)


@jit
def squared_error_backward(start, stop, y, t, outputs, n, dy):
    """Flat: dy = -2 (t - y) / O / N."""
    minus_two = y.dtype.type(-2)
    for k in range(start, stop):
        dy[k] = minus_two * (t[k] - y[k]) / outputs / n


@row
def plus_absolute_error(total, i, o, arrays):
    """total + |t - y|."""
    y, t = arrays
    return total + abs(t[i, o] - y[i, o])


@row
def absolute_error_forward_row(i, y, t, losses):
    """mean over O of |t - y|."""
    total = row_sum(plus_absolute_error, y.shape[1], i, (y, t), y.dtype.type(-0.0))
    losses[i] = total / y.dtype.type(y.shape[1])


def _emit_absolute_error(emit, y, t):
    return emit.absolute(emit.builder.fsub(t, y))


_absolute_error_of_row = lane_sums(_emit_absolute_error, precise=False)


@jit
def absolute_error_forward(start, stop, y, t, losses):
    """Rows; of one output, vectorized across rows."""
    outputs, nothing = np.int64(y.shape[1]), y.dtype.type(-0.0)
    if outputs == 1:
        for i in range(start, stop):
            losses[i] = plus_absolute_error(nothing, i, 0, (y, t))
    else:
        for i in range(np.int64(start), np.int64(stop)):
            total = _absolute_error_of_row((y, t), (), i * outputs, (i + 1) * outputs)[0]
            losses[i] = total / y.dtype.type(outputs)


@jit
def absolute_error_backward(start, stop, y, t, outputs, n, dy):
    """Flat: dy = sign(y - t) / O / N; 0 where they are equal, NaN where one is NaN."""
    one = y.dtype.type(1)
    for k in range(start, stop):
        difference = y[k] - t[k]
        sign = difference if difference == 0 or difference != difference else one
        dy[k] = math.copysign(sign, difference) / outputs / n
