"""A group of samples of a training step, tile by tile: forward, loss, backward.

A tile of samples goes through all layers and back while it lies in a core's cache, and adds its
gradient to the group's sums: X and the targets are read once, nothing else leaves the cache. In
a tile samples are columns, (features, width), and every loop runs along them.

What the functions know about a network lies in the tables of fused_tables.py; `work` is the
address of a thread's workspace, `like` a zero of the dtype.
"""

import numpy as np
from numba import njit

from . import fused_tables as k
from .common import FASTMATH
from .fused_addresses import itemsize, lanes, matrix, vector
from .fused_losses import (
    absolute_error,
    binary_cross_entropy,
    softmax_cross_entropy,
    softmax_cross_entropy_soft,
    squared_error,
)
from .fused_products import add_dots, multiply
from .fused_tiles import (
    dropout_rows,
    multiply_tile,
    sigmoid_gradient_tile,
    sigmoid_tile,
    to_columns,
    to_rows,
)
from .fused_vectors import ADD, BIAS, GATE, PLAIN, RELU, ZEROS, sum_lanes

STREAM_DROPOUT = np.uint64(1)  # of the counter: see nnfs_gpu/backend/philox.py


def part(function):
    """A part of `fused_step.train`, for the reader: it is compiled there and nowhere else.

    A function of its own would be compiled twice, by itself and with its caller.
    """
    return njit(inline="always", nogil=True, fastmath=FASTMATH, error_model="numpy")(function)


@part
def _tile(head, work, at, rows, like):
    """The tile of `rows` features at place `at` of the workspace."""
    return matrix(work + at * itemsize(like), rows, head[k.PITCH], like)


# ---- a tile ----
@part
def _forward(head, table, factors, work, n, width, row, step, like):
    """From the samples in the first stage's x to the scores in the last stage's d."""
    last = head[k.STAGES] - 1
    for s in range(last + 1):
        inputs, outputs, activation = (
            table[s, k.INPUTS],
            table[s, k.OUTPUTS],
            table[s, k.ACTIVATION],
        )
        x = _tile(head, work, table[s, k.X_AT], inputs, like)
        y = _tile(head, work, table[s, k.D_AT if s == last else k.Y_AT], outputs, like)
        w, b = vector(table[s, k.W], inputs * outputs, like), vector(table[s, k.B], outputs, like)
        end = RELU if activation == k.RELU_ACTIVATION else PLAIN
        multiply(w, 1, outputs, x, y, outputs, inputs, width, BIAS, b, end, y)
        if s == last:
            break
        if activation == k.SIGMOID_ACTIVATION:
            sigmoid_tile(y, outputs, width)
        if table[s, k.DROPOUT]:
            mask = _tile(head, work, table[s, k.MASK_AT], outputs, like)
            _draw(head, table, factors, work, s, n, width, row, step, mask, like)
            dropped = _tile(head, work, table[s + 1, k.X_AT], outputs, like)
            multiply_tile(y, mask, dropped, outputs, width)


@part
def _draw(head, table, factors, work, s, n, width, row, step, mask, like):
    """The dropout mask of samples row..row+n-1 of the batch, as columns."""
    outputs = table[s, k.OUTPUTS]
    words = vector(work + head[k.MASKS_AT] * itemsize(like), n * outputs + 8, like)
    at = dropout_rows(
        row * outputs,
        n * outputs,
        np.uint64(table[s, k.BELOW]),
        type(like)(factors[s, k.SCALE]),
        np.uint64(table[s, k.SEED]),
        STREAM_DROPOUT,
        np.uint64(table[s, k.CALL] + step),
        words,
    )
    to_columns(words[at : at + n * outputs].reshape((n, outputs)), n, width, mask)


@part
def _loss(head, table, rules, work, y, first, n, width, like):
    """(sum of losses, right answers) of samples first..first+n-1; the last d becomes a gradient."""
    last = head[k.STAGES] - 1
    outputs, loss = table[last, k.OUTPUTS], head[k.LOSS]
    d = _tile(head, work, table[last, k.D_AT], outputs, like)
    room = _tile(head, work, head[k.ROOM_AT], 8, like)
    if loss == k.SOFTMAX_CROSS_ENTROPY and not head[k.SOFT]:
        labels = vector(y + first * 4, n, np.int32(0))
        return softmax_cross_entropy(d, labels, outputs, n, width, room)
    targets = _tile(head, work, head[k.TARGETS_AT], outputs, like)
    given = matrix(y + first * outputs * itemsize(like), n, outputs, like)
    to_columns(given, n, width, targets)
    if loss == k.SOFTMAX_CROSS_ENTROPY:
        return softmax_cross_entropy_soft(d, targets, outputs, n, width, room)
    if loss == k.BINARY_CROSS_ENTROPY:
        return binary_cross_entropy(d, targets, outputs, n, width, room)
    if loss == k.SQUARED_ERROR:
        return squared_error(d, targets, outputs, n, width, rules[k.PRECISION], room)
    return absolute_error(d, targets, outputs, n, width, rules[k.PRECISION], room)


@part
def _backward(head, table, work, gradient, n, width, like):
    """Adds the tile's gradients to the sums at the address `gradient` and to the registers."""
    pitch, size = head[k.PITCH], itemsize(like)
    for back in range(head[k.STAGES]):
        s = head[k.STAGES] - 1 - back
        inputs, outputs = table[s, k.INPUTS], table[s, k.OUTPUTS]
        x = _tile(head, work, table[s, k.X_AT], inputs + 1, like)
        d = _tile(head, work, table[s, k.D_AT], outputs, like)
        if table[s, k.BY_LANES]:
            count = (inputs + 1) * outputs * lanes(like)
            registers = vector(work + table[s, k.LANES_AT] * size, count, like)
            add_dots(x, d, registers, inputs + 1, outputs, width)
        else:
            padded = table[s, k.PADDED]
            turned = matrix(work + head[k.TURNED_AT] * size, n, padded, like)
            to_rows(d, n, outputs, turned)
            sums = matrix(gradient + table[s, k.GRADIENT_AT] * size, inputs + 1, padded, like)
            flat = vector(work + table[s, k.X_AT] * size, (inputs + 1) * pitch, like)
            multiply(flat, pitch, 1, turned, sums, inputs + 1, n, padded, ZEROS, flat, ADD, sums)
        if s == 0:
            break
        p = s - 1
        before = _tile(head, work, table[p, k.D_AT], inputs, like)
        y = _tile(head, work, table[p, k.Y_AT], inputs, like)
        w = vector(table[s, k.W], inputs * outputs, like)
        end = GATE if table[p, k.ACTIVATION] == k.RELU_ACTIVATION else PLAIN
        multiply(w, outputs, 1, d, before, inputs, outputs, width, ZEROS, w, end, y)
        if table[p, k.DROPOUT]:
            mask = _tile(head, work, table[p, k.MASK_AT], inputs, like)
            multiply_tile(before, mask, before, inputs, width)
        if table[p, k.ACTIVATION] == k.SIGMOID_ACTIVATION:
            sigmoid_gradient_tile(before, y, inputs, width)


# ---- a group of samples ----
@part
def group(head, table, factors, rules, work, X, y, first, stop, row, step, gradient, totals, like):
    """Samples first..stop-1 of the block at X and y; sample 0 of it is row `row` of the batch.

    gradient, totals  the address of the group's sums, and its sum of losses and right answers
    """
    size, lane = itemsize(like), lanes(like)
    vector(gradient, head[k.GRADIENTS], like)[:] = like
    for s in range(head[k.STAGES]):
        if table[s, k.BY_LANES]:
            count = (table[s, k.INPUTS] + 1) * table[s, k.OUTPUTS] * lane
            vector(work + table[s, k.LANES_AT] * size, count, like)[:] = like
    features = table[0, k.INPUTS]
    samples = _tile(head, work, table[0, k.X_AT], features, like)
    losses, right = 0.0, 0.0
    for at in range(first, stop, head[k.TILE]):
        n = min(head[k.TILE], stop - at)
        width = (n + lane - 1) // lane * lane
        to_columns(matrix(X + at * features * size, n, features, like), n, width, samples)
        _forward(head, table, factors, work, n, width, row + at, step, like)
        tile_losses, tile_right = _loss(head, table, rules, work, y, at, n, width, like)
        losses += tile_losses
        right += tile_right
        _backward(head, table, work, gradient, n, width, like)
    for s in range(head[k.STAGES]):
        if table[s, k.BY_LANES]:
            _add_lanes(table, work, gradient, s, like)
    totals[0] = losses
    totals[1] = right


@part
def _add_lanes(table, work, gradient, s, like):
    """The registers of a stage become numbers: the lanes of each are added."""
    size, lane = itemsize(like), lanes(like)
    rows, outputs = table[s, k.INPUTS] + 1, table[s, k.OUTPUTS]
    registers = vector(work + table[s, k.LANES_AT] * size, rows * outputs * lane, like)
    sums = matrix(gradient + table[s, k.GRADIENT_AT] * size, rows, table[s, k.PADDED], like)
    for i in range(rows):
        for o in range(outputs):
            sums[i, o] = sum_lanes(registers, (i * outputs + o) * lane)
