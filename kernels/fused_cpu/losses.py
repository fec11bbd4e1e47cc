"""The end of a tile: from the last scores to losses, right answers and the first gradient.

Each function takes z (C, ...), the scores of `width` columns of which the first n are samples,
and leaves in it the gradient of the sum of losses over the samples (columns past n: 0). It
returns (sum of the losses, number of right answers), added up in float64. `rows` (8, ...) is room,
in which row LOSSES is left with the samples' losses, times O where they are means over O outputs.
The factor 1 / N, or 1 / (N O) where a loss is a mean over O outputs, comes in once, when the
gradients of all tiles have been summed. Columns are independent, so every loop vectorizes.
"""

import numpy as np

from ..cpu.activations import sigmoid
from ..cpu.common import jit
from ..cpu.elementary import exp, log
from ..cpu.lane_sums import lane_sums
from .addresses import stay_apart
from .tiles import apply, clear_columns

LOW, HIGH = 1e-7, 1 - 1e-7  # the book keeps probabilities within these before a logarithm
LOSSES, WEIGHTS = 4, 6  # rows of the room


@jit
def _first_largest(z, C, width, top, best):
    """top = the largest of each column of z, best = the first row that has it."""
    for t in range(width):
        top[t] = z[0, t]
        best[t] = z.dtype.type(0)
    for c in range(1, C):
        row = z.dtype.type(c)
        for t in range(width):
            # Loaded before the comparison: as loads behind it, LLVM makes a branch of them.
            value, most, place = z[c, t], top[t], best[t]
            larger = value > most
            top[t] = value if larger else most
            best[t] = row if larger else place


@jit
def _softmax(z, C, width, rows):
    """z = softmax of each column; rows[2] = class of the first largest score."""
    top, whole, best = rows[0], rows[1], rows[2]
    _first_largest(z, C, width, top, best)
    for t in range(width):
        whole[t] = z.dtype.type(0)
    for c in range(C):
        for t in range(width):
            e = exp(z[c, t] - top[t])
            z[c, t] = e
            whole[t] += e
    for t in range(width):
        whole[t] = z.dtype.type(1) / whole[t]
    for c in range(C):
        for t in range(width):
            z[c, t] *= whole[t]


_sums = lane_sums(lambda emit, losses, right: losses, lambda emit, losses, right: right)


@jit
def _totals(losses, right, n):
    """Sums of the first n losses and right answers."""
    return _sums((losses, right), (), 0, n)


@jit
def softmax_cross_entropy(z, labels, C, n, width, rows):
    """labels int32 (n,). A label outside 0..C-1 makes the loss NaN and is not read with.

    A pass over the tile for each little thing: a loop that does all of it for a column holds
    too many places at once for LLVM to prove them apart, and stays scalar (9 times slower).
    """
    stay_apart()
    _softmax(z, C, width, rows)
    label, losses, right, best = rows[3], rows[4], rows[5], rows[2]
    kind = z.dtype.type
    zero, one, low, high, bad = kind(0), kind(1), kind(LOW), kind(HIGH), kind(np.nan)
    for t in range(n):
        label[t] = labels[t]
    for t in range(n, width):
        label[t] = zero
    for t in range(width):
        losses[t] = bad
        right[t] = one if best[t] == label[t] else zero
    for c in range(C):
        number = kind(c)
        for t in range(width):
            p = z[c, t]
            true = label[t] == number
            losses[t] = p if true else losses[t]
            z[c, t] = p - (one if true else zero)
    for t in range(width):
        losses[t] = -log(min(max(losses[t], low), high))
    clear_columns(z, C, n, width)
    return _totals(losses, right, n)


@jit
def softmax_cross_entropy_soft(z, targets, C, n, width, rows):
    """targets (C, ...): a probability for each class."""
    stay_apart()
    _softmax(z, C, width, rows)
    top, best, label, losses, right = rows[0], rows[2], rows[3], rows[4], rows[5]
    kind = z.dtype.type
    zero, one, low, high = kind(0), kind(1), kind(LOW), kind(HIGH)
    _first_largest(targets, C, width, top, label)
    for t in range(width):
        losses[t] = zero
        right[t] = one if best[t] == label[t] else zero
    for c in range(C):
        for t in range(width):
            losses[t] -= targets[c, t] * log(min(max(z[c, t], low), high))
        for t in range(width):
            z[c, t] -= targets[c, t]
    clear_columns(z, C, n, width)
    return _totals(losses, right, n)


@jit
def binary_cross_entropy(z, targets, outputs, n, width, rows):
    """z become probabilities p; loss: mean over O of -(t log q + (1 - t) log(1 - q)).

    q is p within the clip. The gradient at z is (q - t) / (q (1 - q)) times the sigmoid's
    p (1 - p): q - t within the clip, and less outside, where the clipped loss is flat but the
    book's gradient is not.
    """
    stay_apart()
    apply(sigmoid, z, outputs, width, ())
    losses, right = rows[4], rows[5]
    kind = z.dtype.type
    zero, one, half, low, high = kind(0), kind(1), kind(0.5), kind(LOW), kind(HIGH)
    for t in range(width):
        losses[t] = zero
        right[t] = zero
    for o in range(outputs):
        for t in range(width):
            p, target = z[o, t], targets[o, t]
            q = min(max(p, low), high)
            losses[t] -= target * log(q) + (one - target) * log(one - q)
            right[t] += one if (one if p > half else zero) == target else zero
            share = p * (one - p) / (q * (one - q))
            z[o, t] = (q - target) * (one if p == q else share)
    clear_columns(z, outputs, n, width)
    loss, count = _totals(losses, right, n)
    return loss / outputs, count


@jit
def squared_error(z, targets, outputs, n, width, precision, rows):
    """Mean over O of (t - y)^2; right where |y - t| < precision."""
    stay_apart()
    losses, right = rows[4], rows[5]
    kind = z.dtype.type
    zero, one, two, near = kind(0), kind(1), kind(2), kind(precision)
    for t in range(width):
        losses[t] = zero
        right[t] = zero
    for o in range(outputs):
        for t in range(width):
            difference = z[o, t] - targets[o, t]
            losses[t] += difference * difference
            right[t] += one if abs(difference) < near else zero
            z[o, t] = two * difference
    clear_columns(z, outputs, n, width)
    loss, count = _totals(losses, right, n)
    return loss / outputs, count


@jit
def absolute_error(z, targets, outputs, n, width, precision, rows):
    """Mean over O of |t - y|; the derivative is the sign of y - t, 0 where they are equal."""
    stay_apart()
    losses, right = rows[4], rows[5]
    kind = z.dtype.type
    zero, one, near = kind(0), kind(1), kind(precision)
    for t in range(width):
        losses[t] = zero
        right[t] = zero
    for o in range(outputs):
        for t in range(width):
            difference = z[o, t] - targets[o, t]
            losses[t] += abs(difference)
            right[t] += one if abs(difference) < near else zero
            sign = one if difference > zero else -one
            flat = difference == zero or difference != difference  # 0 and NaN stay
            z[o, t] = difference if flat else sign
    clear_columns(z, outputs, n, width)
    loss, count = _totals(losses, right, n)
    return loss / outputs, count


@jit
def weigh(z, weights, C, n, width, rows):
    """What one of these has left in z and in row LOSSES, times the samples' weights (n,).

    Returns the sums of the weighted losses and of the weights, in float64.
    """
    stay_apart()
    w, losses = rows[WEIGHTS], rows[LOSSES]
    for t in range(n):
        w[t] = weights[t]
    for t in range(n, width):
        w[t] = z.dtype.type(0)
    for c in range(C):
        for t in range(width):
            z[c, t] *= w[t]
    for t in range(width):
        losses[t] *= w[t]
    return _totals(losses, w, n)
