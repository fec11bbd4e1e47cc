"""What a plan chooses in a fused step: one kernel for its loss, one for its optimizer, and those
that few plans need. Each is compiled when a plan first needs it, and called at an address that
stands in `head`: `fused_step.train` is the same for all plans, and compiles none of them.
"""

import numpy as np

from . import fused_losses as losses
from . import fused_tables as k
from . import fused_update as updates
from .common import jit, row
from .fused_addresses import itemsize, matrix, vector
from .fused_tiles import (
    dropout_rows,
    multiply_tile,
    sigmoid_gradient_tile,
    sigmoid_tile,
    to_columns,
)

STREAM_DROPOUT = np.uint64(1)  # of the counter: see nnfs_gpu/backend/philox.py


@row
def _tile(head, work, at, rows, like):
    return matrix(work + at * itemsize(like), rows, head[k.PITCH], like)


@row
def _last(tables, work, like):
    head = vector(tables, k.HEAD_FIELDS, np.int64(0))
    table = matrix(head[k.TABLE], head[k.STAGES], k.TABLE_FIELDS, np.int64(0))
    last = head[k.STAGES] - 1
    outputs = table[last, k.OUTPUTS]
    d = _tile(head, work, table[last, k.D_AT], outputs, like)
    return head, outputs, d, _tile(head, work, head[k.ROOM_AT], 8, like)


@row
def _targets(head, work, y, first, n, width, outputs, like):
    targets = _tile(head, work, head[k.TARGETS_AT], outputs, like)
    given = matrix(y + first * outputs * itemsize(like), n, outputs, like)
    to_columns(given, n, width, targets)
    return targets


@row
def _add(out, found):
    totals = vector(out, 2, 0.0)
    totals[0] += found[0]
    totals[1] += found[1]
    return 0


@jit(pointer=True)
def softmax_end(tables, work, y, first, n, width, out, like):
    _, outputs, d, room = _last(tables, work, like)
    labels = vector(y + first * 4, n, np.int32(0))
    return _add(out, losses.softmax_cross_entropy(d, labels, outputs, n, width, room))


@jit(pointer=True)
def soft_end(tables, work, y, first, n, width, out, like):
    head, outputs, d, room = _last(tables, work, like)
    targets = _targets(head, work, y, first, n, width, outputs, like)
    return _add(out, losses.softmax_cross_entropy_soft(d, targets, outputs, n, width, room))


@jit(pointer=True)
def binary_end(tables, work, y, first, n, width, out, like):
    head, outputs, d, room = _last(tables, work, like)
    targets = _targets(head, work, y, first, n, width, outputs, like)
    return _add(out, losses.binary_cross_entropy(d, targets, outputs, n, width, room))


@jit(pointer=True)
def squared_end(tables, work, y, first, n, width, out, like):
    head, outputs, d, room = _last(tables, work, like)
    near = vector(head[k.RULES], k.RULE_FIELDS, 0.0)[k.PRECISION]
    targets = _targets(head, work, y, first, n, width, outputs, like)
    return _add(out, losses.squared_error(d, targets, outputs, n, width, near, room))


@jit(pointer=True)
def absolute_end(tables, work, y, first, n, width, out, like):
    head, outputs, d, room = _last(tables, work, like)
    near = vector(head[k.RULES], k.RULE_FIELDS, 0.0)[k.PRECISION]
    targets = _targets(head, work, y, first, n, width, outputs, like)
    return _add(out, losses.absolute_error(d, targets, outputs, n, width, near, room))


@row
def _finish(update, tables, p, scale, iteration, like):
    head = vector(tables, k.HEAD_FIELDS, np.int64(0))
    table = matrix(head[k.TABLE], head[k.STAGES], k.TABLE_FIELDS, np.int64(0))
    factors = matrix(head[k.FACTORS], head[k.STAGES], k.FACTOR_FIELDS, 0.0)
    rules = vector(head[k.RULES], k.RULE_FIELDS, 0.0)
    gradient = vector(head[k.GRADIENT], head[k.GRADIENTS], 0.0)
    piece = matrix(head[k.PIECES], head[k.PIECE_COUNT], k.PIECE_FIELDS, np.int64(0))
    return updates.finish(update, table, factors, rules, gradient, piece[p], scale, iteration, like)


@jit(pointer=True)
def sgd_finish(tables, p, scale, iteration, like):
    return _finish(updates.sgd, tables, p, scale, iteration, like)


@jit(pointer=True)
def momentum_finish(tables, p, scale, iteration, like):
    return _finish(updates.momentum, tables, p, scale, iteration, like)


@jit(pointer=True)
def adagrad_finish(tables, p, scale, iteration, like):
    return _finish(updates.adagrad, tables, p, scale, iteration, like)


@jit(pointer=True)
def rmsprop_finish(tables, p, scale, iteration, like):
    return _finish(updates.rmsprop, tables, p, scale, iteration, like)


@jit(pointer=True)
def adam_finish(tables, p, scale, iteration, like):
    return _finish(updates.adam, tables, p, scale, iteration, like)


@jit(pointer=True)
def draw(tables, work, s, n, width, row, step, like):
    """Dropout of stage s: its mask for samples row..row+n-1 of the batch, and x of the next."""
    head = vector(tables, k.HEAD_FIELDS, np.int64(0))
    table = matrix(head[k.TABLE], head[k.STAGES], k.TABLE_FIELDS, np.int64(0))
    factors = matrix(head[k.FACTORS], head[k.STAGES], k.FACTOR_FIELDS, 0.0)
    outputs = table[s, k.OUTPUTS]
    y = _tile(head, work, table[s, k.Y_AT], outputs, like)
    mask = _tile(head, work, table[s, k.MASK_AT], outputs, like)
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
    drawn = matrix(work + (head[k.MASKS_AT] + at) * itemsize(like), n, outputs, like)
    to_columns(drawn, n, width, mask)
    dropped = _tile(head, work, table[s + 1, k.X_AT], outputs, like)
    multiply_tile(y, mask, dropped, outputs, width)
    return 0


@jit(pointer=True)
def sigmoid_forward(tables, work, s, width, like):
    head = vector(tables, k.HEAD_FIELDS, np.int64(0))
    table = matrix(head[k.TABLE], head[k.STAGES], k.TABLE_FIELDS, np.int64(0))
    outputs = table[s, k.OUTPUTS]
    sigmoid_tile(_tile(head, work, table[s, k.Y_AT], outputs, like), outputs, width)
    return 0


@jit(pointer=True)
def sigmoid_backward(tables, work, s, width, like):
    head = vector(tables, k.HEAD_FIELDS, np.int64(0))
    table = matrix(head[k.TABLE], head[k.STAGES], k.TABLE_FIELDS, np.int64(0))
    outputs = table[s, k.OUTPUTS]
    before = _tile(head, work, table[s, k.D_AT], outputs, like)
    y = _tile(head, work, table[s, k.Y_AT], outputs, like)
    sigmoid_gradient_tile(before, y, outputs, width)
    return 0
