"""A training step, depth first: tiles of samples forward and back, then the update.

    formula   the gradient of the mean loss over N samples, exactly: the sum over tiles of each
              tile's gradient, times 1 / N (1 / (N O) where the loss is a mean over O outputs)
    shapes    X (N, I) rows in memory; in a tile samples are columns, (features, width)
    threads   a step is cut into groups of samples by their number alone. Each group sums its
              gradient in a row of its own; then the network is cut into pieces, by its widths
              alone, and the rows are added in order, piece by piece. Threads take groups, wait
              for each other, and take pieces.
    traffic   X and the targets are read once; everything else stays in a core's cache
    launch    `train` on every thread that takes part, for one step or many

What the functions know about a network lies in the tables of fused_tables.py. So one compiled
function for each dtype serves all networks, and a call passes little. `like` is a zero of the
dtype, `work` the address of a thread's workspace.
"""

import numpy as np
from numba import njit

from . import fused_tables as k
from .common import FASTMATH, jit
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
from .fused_update import collect, finish, rate_at
from .fused_vectors import ADD, BIAS, GATE, PLAIN, RELU, ZEROS, sum_lanes
from .waiting import APART, FOREVER, SHIFT, add, put, reached, take

LOST = 100_000  # looks at a step that nobody opens, some tens of milliseconds
STREAM_DROPOUT = np.uint64(1)  # of the counter: see nnfs_gpu/backend/philox.py


def part(function):
    """A part of `train`, for the reader: it is compiled there and nowhere else.

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
def _group(head, table, factors, rules, work, X, y, first, stop, row, step, gradient, totals, like):
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


# ---- steps ----
@part
def _open(cells, turn):
    """All groups and pieces of this turn can be taken."""
    for cell in (k.GROUPS_TAKEN, k.GROUPS_DONE, k.PIECES_TAKEN, k.PIECES_DONE):
        put(cells, cell * APART, turn << SHIFT)
    put(cells, k.OPENED * APART, turn)


@part
def _sum_up(groups, totals, pieces, penalties, rules, measured, iteration, what):
    """What a step has measured, from the groups' totals and the pieces' penalties, in order."""
    if what & k.COLLECT:
        for at in range(2):
            total = 0.0 if what & k.FRESH else measured[at]
            for g in range(groups):
                total += totals[g, at]
            measured[at] = total
    if what & k.FINISH:
        penalty = 0.0
        for p in range(pieces):
            penalty += penalties[p]
        measured[k.PENALTY] = penalty
        measured[k.RATE] = rate_at(rules, iteration)


@jit
def train(tables, work, X, y, n, row, per, steps, iteration, scale, what, turn, leads, like):
    """The parts of a step that `what` names, `steps` times, on this thread.

    GROUPS    take groups of `per` of the n samples at X, y until none is left, sum their
              gradients, and wait until all groups are done; sample 0 is row `row` of the batch
    COLLECT   take pieces of the network and add the groups' sums to their gradient; with FRESH
              the gradient starts from 0
    FINISH    gradients and penalties of the pieces to the layers, and the update, step `iteration`

    One thread `leads`: it opens each step and ends it. Others may call `train` with the same
    arguments at the same time; they leave when they find nobody to follow.

    tables  address of head
    X, y    addresses; y: int32 classes, or rows of targets where head[SOFT] says so
    turn    number of the first step among all that these tables have seen: see waiting.py
    head[MEASURED] (steps, 4): sum of losses, right answers, penalty, learning rate
    """
    head = vector(tables, k.HEAD_FIELDS, np.int64(0))
    table = matrix(head[k.TABLE], head[k.STAGES], k.TABLE_FIELDS, np.int64(0))
    factors = matrix(head[k.FACTORS], head[k.STAGES], k.FACTOR_FIELDS, 0.0)
    rules = vector(head[k.RULES], k.RULE_FIELDS, 0.0)
    cells = vector(head[k.CELLS], k.CELLS_FIELDS * APART, np.int64(0))
    groups, pieces, size = (n + per - 1) // per, head[k.PIECE_COUNT], head[k.GRADIENTS]
    sums = matrix(head[k.SUMS], groups, size, like)
    totals = matrix(head[k.TOTALS], groups, 2, 0.0)
    gradient = vector(head[k.GRADIENT], size, 0.0)
    piece = matrix(head[k.PIECES], pieces, k.PIECE_FIELDS, np.int64(0))
    penalties = vector(head[k.PENALTIES], pieces, 0.0)
    measured = matrix(head[k.MEASURED], steps, k.MEASURED_FIELDS, 0.0)
    for step in range(steps):
        now = turn + step
        if leads:
            _open(cells, now)
        elif not reached(cells, k.OPENED * APART, now, LOST):
            break
        while what & k.GROUPS:
            g = take(cells, k.GROUPS_TAKEN * APART, now, groups)
            if g < 0:
                reached(cells, k.GROUPS_DONE * APART, (now << SHIFT) + groups, FOREVER)
                break
            first, stop = g * per, min(n, (g + 1) * per)
            address = head[k.SUMS] + g * size * itemsize(like)
            _group(
                head,
                table,
                factors,
                rules,
                work,
                X,
                y,
                first,
                stop,
                row,
                step,
                address,
                totals[g],
                like,
            )
            add(cells, k.GROUPS_DONE * APART)
        while what & (k.COLLECT | k.FINISH):
            p = take(cells, k.PIECES_TAKEN * APART, now, pieces)
            if p < 0:
                break
            if what & k.COLLECT:
                s = piece[p, k.STAGE]
                at, wide = table[s, k.GRADIENT_AT], table[s, k.PADDED]
                begin, end = at + piece[p, k.FIRST_ROW] * wide, at + piece[p, k.STOP_ROW] * wide
                collect(groups, sums, gradient, begin, end, what & k.FRESH)
            if what & k.FINISH:
                penalties[p] = finish(
                    head, table, factors, rules, gradient, piece[p], scale, iteration + step, like
                )
            add(cells, k.PIECES_DONE * APART)
        if leads:
            if what & (k.COLLECT | k.FINISH):
                reached(cells, k.PIECES_DONE * APART, (now << SHIFT) + pieces, FOREVER)
            _sum_up(
                groups, totals, pieces, penalties, rules, measured[step], iteration + step, what
            )
