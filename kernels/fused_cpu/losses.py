"""The end of a tile: from the last scores to losses, right answers and the first gradient.

Each function takes z (C, ...), the scores of `width` columns of which the first n are samples,
and leaves in it the gradient of the sum of losses over the samples (columns past n: 0). It
returns (sum of the losses, number of right answers), added up in float64. `rows` is room, as many
as `rows_of_room` says: the samples' losses are left in row LOSSES. The targets, where they are rows
of numbers, are room in the end, too.
The factor 1 / N, or 1 / (N O) where a loss is a mean over O outputs, comes in once, when the
gradients of all tiles have been summed. Columns are independent, so every loop vectorizes.

Of a sample, losses and gradients have the bits of kernels/fused_cuda/: the loss is rounded to the
dtype, and sums over classes or outputs have the order of docs/decisions/one-answer.md.
"""

import numpy as np

from ..cpu.activations import sigmoid
from ..cpu.common import jit
from ..cpu.elementary import exp, fma, log
from ..cpu.lane_sums import lane_sums
from .addresses import stay_apart
from .tiles import apply, clear_columns

LOW, HIGH = 1e-7, 1 - 1e-7  # the book keeps probabilities within these before a logarithm
LANES = 32  # of a sum over classes or outputs
LOSSES = 4  # the row of the room with the samples' losses
FREE = 6  # the first row of the room that a sum over classes or outputs may use


def rows_of_room(outputs):
    """Rows of room for a loss over so many outputs."""
    half = 1 << max(0, (min(outputs, LANES) - 1).bit_length() - 1)  # as `_half` has it
    return max(8, FREE + half)


@jit
def _half(C):
    """Half of the lanes that a row of C terms has: a power of two."""
    half = 1
    while 2 * half < C and 2 * half < LANES:
        half *= 2
    return half


@jit
def _add_rows(a, i, b, j, rows, to, width):
    for t in range(width):
        rows[to, t] = a[i, t] + b[j, t]


@jit
def sum_rows(z, C, width, rows, out):
    """rows[out] = the sum of each column of z (C, ...): row c goes to lane c mod 32 in turn, then
    halves of the lanes are joined until one is left. A lane is a row: `out` and those from FREE on.
    """
    half = _half(C)
    for lane in range(half):
        to, other = out if lane == 0 else FREE + lane - 1, lane + half
        if other >= C:
            for t in range(width):
                rows[to, t] = z[lane, t]
        elif C <= LANES:
            _add_rows(z, lane, z, other, rows, to, width)
        else:
            last = FREE + half - 1
            _add_lane(z, C, lane, width, rows, to)
            _add_lane(z, C, other, width, rows, last)
            _add_rows(rows, to, rows, last, rows, to, width)
    while half > 1:
        half //= 2
        for lane in range(half):
            to = out if lane == 0 else FREE + lane - 1
            _add_rows(rows, to, rows, FREE + lane + half - 1, rows, to, width)


@jit
def _add_lane(z, C, lane, width, rows, to):
    """rows[to] = the rows of a lane, in turn."""
    for t in range(width):
        rows[to, t] = z[lane, t]
    for c in range(lane + LANES, C, LANES):
        _add_rows(rows, to, z, c, rows, to, width)


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
    for k in range(C):
        c = 3 - k if C == 3 and k else k  # of three the sum is (0 + 2) + 1
        for t in range(width):
            e = exp(z[c, t] - top[t])
            z[c, t] = e
            whole[t] += e
    if C > 3:
        sum_rows(z, C, width, rows, 1)
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
        right[t] = one if best[t] == label[t] else zero
    for c in range(C):
        for t in range(width):
            p, target = z[c, t], targets[c, t]
            z[c, t] = p - target
            targets[c, t] = target * log(min(max(p, low), high))
    sum_rows(targets, C, width, rows, 4)
    for t in range(width):
        losses[t] = -losses[t]
    clear_columns(z, C, n, width)
    return _totals(losses, right, n)


@jit
def _mean_over_outputs(terms, outputs, n, width, rows):
    """(sum of the losses, right answers) of n samples: their losses are means of `terms`."""
    losses, many = rows[LOSSES], terms.dtype.type(outputs)
    sum_rows(terms, outputs, width, rows, LOSSES)
    if outputs > 1:
        for t in range(width):
            losses[t] /= many
    return _totals(losses, rows[5], n)


@jit
def binary_cross_entropy(z, targets, outputs, n, width, rows):
    """z become probabilities p; loss: mean over O of -(t log q + (1 - t) log(1 - q)).

    q is p within the clip. The gradient at z is (q - t) / (q (1 - q)) times the sigmoid's
    p (1 - p): q - t within the clip, and less outside, where the clipped loss is flat but the
    book's gradient is not.
    """
    stay_apart()
    apply(sigmoid, z, outputs, width, ())
    right, kind = rows[5], z.dtype.type
    zero, one, half, low, high = kind(0), kind(1), kind(0.5), kind(LOW), kind(HIGH)
    for t in range(width):
        right[t] = zero
    for o in range(outputs):
        for t in range(width):
            p, target = z[o, t], targets[o, t]
            q = min(max(p, low), high)
            rest = one - q
            right[t] += one if (one if p > half else zero) == target else zero
            share = p * (one - p) / (q * rest)
            z[o, t] = (q - target) * (one if p == q else share)
            targets[o, t] = -fma(target, log(q), (one - target) * log(rest))
    clear_columns(z, outputs, n, width)
    return _mean_over_outputs(targets, outputs, n, width, rows)


@jit
def squared_error(z, targets, outputs, n, width, precision, rows):
    """Mean over O of (t - y)^2; right where |y - t| < precision."""
    stay_apart()
    right, kind = rows[5], z.dtype.type
    zero, one, two, near = kind(0), kind(1), kind(2), kind(precision)
    for t in range(width):
        right[t] = zero
    for o in range(outputs):
        for t in range(width):
            difference = z[o, t] - targets[o, t]
            targets[o, t] = difference * difference
            right[t] += one if abs(difference) < near else zero
            z[o, t] = two * difference
    clear_columns(z, outputs, n, width)
    return _mean_over_outputs(targets, outputs, n, width, rows)


@jit
def absolute_error(z, targets, outputs, n, width, precision, rows):
    """Mean over O of |t - y|; the derivative is the sign of y - t, 0 where they are equal."""
    stay_apart()
    right, kind = rows[5], z.dtype.type
    zero, one, near = kind(0), kind(1), kind(precision)
    for t in range(width):
        right[t] = zero
    for o in range(outputs):
        for t in range(width):
            difference = z[o, t] - targets[o, t]
            targets[o, t] = abs(difference)
            right[t] += one if abs(difference) < near else zero
            sign = one if difference > zero else -one
            flat = difference == zero or difference != difference  # 0 and NaN stay
            z[o, t] = difference if flat else sign
    clear_columns(z, outputs, n, width)
    return _mean_over_outputs(targets, outputs, n, width, rows)


@jit
def weigh(z, weights, C, n, width, rows):
    """What one of these has left in z and in row LOSSES, times the samples' weights (n,).

    Returns the sums of the weighted losses and of the weights, in float64.
    """
    stay_apart()
    w, losses = rows[FREE], rows[LOSSES]
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
