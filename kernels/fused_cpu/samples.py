"""Where the samples of a tile come from: rows that follow each other, or rows in an order.

Shuffled batches are read where the data lie: nothing is gathered beforehand, and the tile that the
network sees is the same.
"""

import numpy as np

from ..cpu.common import jit, pointer, row
from . import tables as k
from .addresses import call, head_of, itemsize, matrix, side, stay_apart, table_of, tile_of, vector
from .tiles import BLOCK, clear_columns, to_columns
from .turn import turn_gathered


@jit
def gather_columns(x, order, n, width, tile):
    """tile[i, t] = x[order[t], i] for n samples, 0 for the columns n..width-1."""
    stay_apart()
    features, square = x.shape[1], side(tile[0, 0])
    whole, turned = n // square * square, features // square * square
    for first in range(0, whole, BLOCK):
        for i in range(0, turned, square):
            for t in range(first, min(first + BLOCK, whole), square):
                turn_gathered(x, order, t, i, tile)
    for i in range(features):
        for t in range(whole if i < turned else 0, n):
            tile[i, t] = x[np.uint64(order[t]), i]
    clear_columns(tile, features, n, width)


@jit
def gather_targets(y, order, n, targets):
    """targets[t] = y[order[t]], rows of numbers or of one class."""
    stay_apart()
    for t in range(n):
        for c in range(y.shape[1]):
            targets[t, c] = y[np.uint64(order[t]), c]


@pointer
def gather(tables, work, X, y, order, at, n, width, like):
    """`samples_of` in an order: a kernel of its own, which only shuffled batches need."""
    head = head_of(tables)
    table = table_of(head)
    features, outputs = table[0, k.INPUTS], table[head[k.STAGES] - 1, k.OUTPUTS]
    rows = vector(order + at * 8, n, np.int64(0))
    if head[k.WEIGHTS]:
        weights = matrix(work + head[k.WEIGHTS_AT] * itemsize(like), n, 1, like)
        gather_targets(matrix(head[k.WEIGHTS], n, 1, like), rows, n, weights)
    tile = tile_of(head, work, table[0, k.X_AT], features, like)
    gather_columns(matrix(X, n, features, like), rows, n, width, tile)
    room = work + head[k.GATHERED_AT] * itemsize(like)
    if head[k.SOFT]:
        gather_targets(matrix(y, n, outputs, like), rows, n, matrix(room, n, outputs, like))
        return room - at * outputs * itemsize(like)
    none = np.int32(0)
    gather_targets(matrix(y, n, 1, none), rows, n, matrix(room, n, 1, none))
    return room - at * 4


@row
def weights_of(head, work, y, first, outputs, like):
    """The address of the weights of the samples whose targets `samples_of` has found at y, from
    number `first` on: they lie as their targets do, among those given or gathered.
    """
    size, wide = itemsize(like), 4
    if head[k.SOFT]:
        wide = outputs * itemsize(like)
    at = y + first * wide
    if at == work + head[k.GATHERED_AT] * size:
        return work + head[k.WEIGHTS_AT] * size
    return head[k.WEIGHTS] + (at - head[k.WEIGHED]) // wide * size


@row
def samples_of(tables, head, work, X, y, order, at, n, width, tile, like):
    """Samples at..at+n-1 to the columns of `tile`, the first stage's x; where the targets are of
    which that of sample `at` is number `at`: an address.

    order  the address of row numbers, or 0: sample k is row k. Rows have no end here.
    """
    if order:
        given = (tables, work, X, y, order, at, n, width, like)
        return call(head[k.GATHER_POINTER], 0, given)
    features = tile.shape[0]
    to_columns(matrix(X + at * features * itemsize(like), n, features, like), n, width, tile)
    return y
