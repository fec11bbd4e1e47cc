"""What a plan chooses in a fused step, called through pointers that stand in `head`.

A loss, an optimizer, an activation that no product ends in, dropout. Each is a kernel of its own,
compiled when a plan first needs it. So `step.train` is the same for all plans, and the first step
of a plan does not wait for the code of the others.

    LOSSES       the end of a tile: scores become gradients, losses and right answers are added up
    weighted     in their place where samples have weights: calls one of them
    UPDATES      a piece of the network: its gradient and its update; returns its penalty
    ACTIVATIONS  what happens to a tile after stage s, and to its gradient on the way back
    dropout      after that, in the stages that have it

The names are those of nnfs_gpu/fused/vocabulary.py. What is not in these tables is refused.

tables: the address of `head`; work: that of a thread's workspace; like: a zero of the dtype.
"""

from collections import namedtuple

import numpy as np

from ..cpu import activations
from ..cpu.common import pointer, row
from . import losses, tables as k, update as updates
from .addresses import call, head_of, itemsize, matrix, table_of, tile_of, vector
from .collect import collect
from .exact import WORDS
from .samples import weights_of
from .tiles import (
    apply,
    apply_gradient,
    divide_tile,
    dropout_rows,
    multiply_tile,
    to_columns,
)
from .vectors import GATE, PLAIN, RELU

STREAM_DROPOUT = np.uint64(1)  # of the counter: see nnfs_gpu/backend/philox.py


# ---- losses ----
@row
def _scores(head, work, like):
    """(the last stage's tile, room for the loss, outputs)."""
    table = table_of(head)
    last = head[k.STAGES] - 1
    outputs = table[last, k.OUTPUTS]
    scores = tile_of(head, work, table[last, k.D_AT], outputs, like)
    return scores, tile_of(head, work, head[k.ROOM_AT], head[k.ROOM_ROWS], like), outputs


@row
def _targets(head, work, y, first, n, width, outputs, like):
    """The rows of targets of samples first..first+n-1, as columns."""
    targets = tile_of(head, work, head[k.TARGETS_AT], outputs, like)
    given = matrix(y + first * outputs * itemsize(like), n, outputs, like)
    to_columns(given, n, width, targets)
    return targets


@row
def _precision(head):
    """How near a regression has to come."""
    return vector(head[k.RULES], k.RULE_FIELDS, 0.0)[k.PRECISION]


@row
def _add(out, found):
    """Adds (sum of losses, right answers) to those at `out`."""
    totals = vector(out, k.TOTAL_FIELDS, 0.0)
    totals[k.LOSS_TOTAL] += found[0]
    totals[k.RIGHT_TOTAL] += found[1]
    return 0


@pointer
def softmax_cross_entropy(tables, work, y, first, n, width, out, like):
    z, room, outputs = _scores(head_of(tables), work, like)
    labels = vector(y + first * 4, n, np.int32(0))
    return _add(out, losses.softmax_cross_entropy(z, labels, outputs, n, width, room))


@pointer
def softmax_cross_entropy_soft(tables, work, y, first, n, width, out, like):
    head = head_of(tables)
    z, room, outputs = _scores(head, work, like)
    targets = _targets(head, work, y, first, n, width, outputs, like)
    return _add(out, losses.softmax_cross_entropy_soft(z, targets, outputs, n, width, room))


@pointer
def binary_cross_entropy(tables, work, y, first, n, width, out, like):
    head = head_of(tables)
    z, room, outputs = _scores(head, work, like)
    targets = _targets(head, work, y, first, n, width, outputs, like)
    return _add(out, losses.binary_cross_entropy(z, targets, outputs, n, width, room))


@pointer
def squared_error(tables, work, y, first, n, width, out, like):
    head = head_of(tables)
    z, room, outputs = _scores(head, work, like)
    targets = _targets(head, work, y, first, n, width, outputs, like)
    near = _precision(head)
    return _add(out, losses.squared_error(z, targets, outputs, n, width, near, room))


@pointer
def absolute_error(tables, work, y, first, n, width, out, like):
    head = head_of(tables)
    z, room, outputs = _scores(head, work, like)
    targets = _targets(head, work, y, first, n, width, outputs, like)
    near = _precision(head)
    return _add(out, losses.absolute_error(z, targets, outputs, n, width, near, room))


@pointer
def weighted(tables, work, y, first, n, width, out, like):
    """The loss of the plan, of samples with weights: their losses and gradients count as much.

    Adds the sum of the weights to the third number at `out`.
    """
    head = head_of(tables)
    totals = vector(out, k.TOTAL_FIELDS, 0.0)
    before = totals[k.LOSS_TOTAL]
    given = (tables, work, y, first, n, width, out, like)
    call(head[k.WEIGHED_LOSS_POINTER], 0, given)
    z, room, outputs = _scores(head, work, like)
    weights = vector(weights_of(head, work, y, first, outputs, like), n, like)
    loss, weight = losses.weigh(z, weights, outputs, n, width, room)
    totals[k.LOSS_TOTAL] = before + loss
    totals[k.WEIGHT_TOTAL] += weight
    return 0


LOSSES = {
    "softmax_cross_entropy": softmax_cross_entropy,
    "softmax_cross_entropy_soft": softmax_cross_entropy_soft,
    "binary_cross_entropy": binary_cross_entropy,
    "squared_error": squared_error,
    "absolute_error": absolute_error,
}


# ---- optimizers ----
@row
def _finish(rule, tables, p, groups, scale, iteration, like):
    """Piece p: its gradient and its update by `rule`; its penalty. groups: see `finish`."""
    head = head_of(tables)
    factors = matrix(head[k.FACTORS], head[k.STAGES], k.FACTOR_FIELDS, 0.0)
    rules = vector(head[k.RULES], k.RULE_FIELDS, 0.0)
    size = head[k.GRADIENTS]
    words = vector(head[k.EXACT], WORDS * size, np.int64(0))
    sums = vector(head[k.SUMS], groups * size, like)
    piece = matrix(head[k.PIECES], head[k.PIECE_COUNT], k.PIECE_FIELDS, np.int64(0))[p]
    table = table_of(head)
    return updates.finish(
        rule, table, factors, rules, groups, sums, size, words, piece, scale, iteration, like
    )


@pointer
def collect_piece(tables, p, groups, fresh, like):
    """Piece p of a batch that comes in several calls: see `collect`. A kernel of its own, which
    only such batches need.
    """
    head = head_of(tables)
    size, table = head[k.GRADIENTS], table_of(head)
    words = vector(head[k.EXACT], WORDS * size, np.int64(0))
    sums = vector(head[k.SUMS], groups * size, like)
    piece = matrix(head[k.PIECES], head[k.PIECE_COUNT], k.PIECE_FIELDS, np.int64(0))[p]
    at, wide = table[piece[k.STAGE], k.GRADIENT_AT], table[piece[k.STAGE], k.PADDED]
    begin, end = at + piece[k.FIRST_ROW] * wide, at + piece[k.STOP_ROW] * wide
    collect(groups, sums, size, words, begin, end, fresh)
    return 0


@pointer
def sgd(tables, p, groups, scale, iteration, like):
    return _finish(updates.sgd, tables, p, groups, scale, iteration, like)


@pointer
def momentum(tables, p, groups, scale, iteration, like):
    return _finish(updates.momentum, tables, p, groups, scale, iteration, like)


@pointer
def adagrad(tables, p, groups, scale, iteration, like):
    return _finish(updates.adagrad, tables, p, groups, scale, iteration, like)


@pointer
def rmsprop(tables, p, groups, scale, iteration, like):
    return _finish(updates.rmsprop, tables, p, groups, scale, iteration, like)


@pointer
def adam(tables, p, groups, scale, iteration, like):
    return _finish(updates.adam, tables, p, groups, scale, iteration, like)


@pointer
def adamw(tables, p, groups, scale, iteration, like):
    return _finish(updates.adamw, tables, p, groups, scale, iteration, like)


UPDATES = {
    "sgd": sgd,
    "momentum": momentum,
    "adagrad": adagrad,
    "rmsprop": rmsprop,
    "adam": adam,
    "adamw": adamw,
}


# ---- between two stages ----
@pointer
def dropout(tables, work, s, n, width, row, step, like):
    """The mask of stage s for samples row..row+n-1 of the batch, and x of the next stage."""
    head = head_of(tables)
    table = table_of(head)
    factors = matrix(head[k.FACTORS], head[k.STAGES], k.FACTOR_FIELDS, 0.0)
    outputs = table[s, k.OUTPUTS]
    drawn = vector(work + head[k.MASKS_AT] * itemsize(like), n * outputs + 8, like)
    at = dropout_rows(
        row * outputs,
        n * outputs,
        np.uint64(table[s, k.BELOW]),
        type(like)(factors[s, k.SCALE]),
        np.uint64(table[s, k.SEED]),
        STREAM_DROPOUT,
        np.uint64(table[s, k.CALL] + step),
        drawn,
    )
    rows = matrix(work + (head[k.MASKS_AT] + at) * itemsize(like), n, outputs, like)
    mask = tile_of(head, work, table[s, k.MASK_AT], outputs, like)
    to_columns(rows, n, width, mask)
    x = tile_of(head, work, table[s + 1, k.X_AT], outputs, like)
    multiply_tile(x, mask, x, outputs, width)
    return 0


@row
def _constants(tables, s, like):
    """The constant of stage s's activation."""
    head = head_of(tables)
    factors = matrix(head[k.FACTORS], head[k.STAGES], k.FACTOR_FIELDS, 0.0)
    return (type(like)(factors[s, k.CONSTANT]),)


@row
def _activate(function, tables, work, s, width, like, constants):
    """y = function(y) of stage s, where the next one's x will be."""
    head = head_of(tables)
    table = table_of(head)
    outputs = table[s, k.OUTPUTS]
    y = tile_of(head, work, table[s + 1, k.X_AT], outputs, like)
    apply(function, y, outputs, width, constants)
    return 0


@row
def _derive(gradient, tables, work, s, width, like, constants):
    """d = gradient(d, y) of stage s.

    y is the next stage's x, which is not used again. What dropout has kept of it is divided by the
    scale; where y is dropped, so is d, whatever the gradient.
    """
    head = head_of(tables)
    table = table_of(head)
    outputs = table[s, k.OUTPUTS]
    d = tile_of(head, work, table[s, k.D_AT], outputs, like)
    y = tile_of(head, work, table[s + 1, k.X_AT], outputs, like)
    if table[s, k.DROPOUT]:
        factors = matrix(head[k.FACTORS], head[k.STAGES], k.FACTOR_FIELDS, 0.0)
        divide_tile(y, type(like)(factors[s, k.SCALE]), outputs, width)
    apply_gradient(gradient, d, y, outputs, width, constants)
    return 0


@pointer
def leaky_relu(tables, work, s, width, like):
    slope = _constants(tables, s, like)
    return _activate(activations.leaky_relu, tables, work, s, width, like, slope)


@pointer
def leaky_relu_gradient(tables, work, s, width, like):
    slope = _constants(tables, s, like)
    return _derive(activations.leaky_relu_gradient, tables, work, s, width, like, slope)


@pointer
def sigmoid(tables, work, s, width, like):
    return _activate(activations.sigmoid, tables, work, s, width, like, ())


@pointer
def sigmoid_gradient(tables, work, s, width, like):
    return _derive(activations.sigmoid_gradient, tables, work, s, width, like, ())


@pointer
def tanh(tables, work, s, width, like):
    return _activate(activations.tanh, tables, work, s, width, like, ())


@pointer
def tanh_gradient(tables, work, s, width, like):
    return _derive(activations.tanh_gradient, tables, work, s, width, like, ())


# end, gradient_end    what the products of the stage and of its gradient end in: vectors.py
# function, gradient   what is called after them: y = f(y), d = d f'(y); None: nothing
Activation = namedtuple("Activation", "end gradient_end function gradient", defaults=(None, None))

ACTIVATIONS = {
    "linear": Activation(PLAIN, PLAIN),
    "relu": Activation(RELU, GATE),
    "leaky_relu": Activation(PLAIN, PLAIN, leaky_relu, leaky_relu_gradient),
    "sigmoid": Activation(PLAIN, PLAIN, sigmoid, sigmoid_gradient),
    "tanh": Activation(PLAIN, PLAIN, tanh, tanh_gradient),
}
