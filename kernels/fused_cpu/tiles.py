"""What happens to a tile between its products: in and out of columns, activations, dropout.

A tile is (features, width) with samples as columns; data in memory is (samples, features).
"""

import numpy as np

from ..cpu.common import jit
from ..cpu.philox import philox_block
from .addresses import side, stay_apart
from .turn import turn

BLOCK = 16  # samples that are turned at a time: a line of a tile, which is written at once
FOUR = np.uint64(4)


@jit
def to_columns(x, n, width, tile):
    """tile[i, t] = x[t, i] for n samples, 0 for the columns n..width-1."""
    stay_apart()
    features, square = x.shape[1], side(tile[0, 0])
    if features == 1:
        for t in range(n):
            tile[0, t] = x[t, 0]
    elif features == 2:
        for t in range(n):
            tile[0, t] = x[t, 0]
            tile[1, t] = x[t, 1]
    else:
        whole, turned = n // square * square, features // square * square
        for first in range(0, whole, BLOCK):
            for i in range(0, turned, square):
                for t in range(first, min(first + BLOCK, whole), square):
                    turn(x, t, i, tile)
        for i in range(features):
            for t in range(whole if i < turned else 0, n):
                tile[i, t] = x[t, i]
    clear_columns(tile, features, n, width)


@jit
def to_rows(tile, n, features, padded, x):
    """x[t, i] = tile[i, t] for n samples; the columns features..padded-1 of x become 0."""
    stay_apart()
    square = side(tile[0, 0])
    whole, turned = n // square * square, features // square * square
    for i in range(0, turned, square):
        for t in range(0, whole, square):
            turn(tile, i, t, x)
    for i in range(features):
        for t in range(whole if i < turned else 0, n):
            x[t, i] = tile[i, t]
    for t in range(n):
        for i in range(features, padded):
            x[t, i] = x.dtype.type(0)


@jit
def clear_columns(tile, rows, n, width):
    """Columns n..width-1 become 0: samples that are not there take no part."""
    for i in range(rows):
        for t in range(n, width):
            tile[i, t] = tile.dtype.type(0)


@jit
def apply(function, tile, rows, width, constants):
    """tile = function(tile, *constants), number by number."""
    stay_apart()
    for i in range(rows):
        for t in range(width):
            tile[i, t] = function(tile[i, t], *constants)


@jit
def apply_gradient(gradient, d, y, rows, width, constants):
    """d = gradient(d, y, *constants), number by number."""
    for i in range(rows):
        for t in range(width):
            d[i, t] = gradient(d[i, t], y[i, t], *constants)


@jit
def multiply_tile(a, b, c, rows, width):
    """c = a b; c may be a or b."""
    for i in range(rows):
        for t in range(width):
            c[i, t] = a[i, t] * b[i, t]


@jit
def divide_tile(a, divisor, rows, width):
    """a = a / divisor."""
    for i in range(rows):
        for t in range(width):
            a[i, t] /= divisor


@jit
def dropout_rows(first, count, below, scale, seed, stream, call, words):
    """words[k] = scale where the word of element first + k is below `below`, else 0; k < count.

    Whole blocks are drawn, so `words` has room for count + 6. Returns where element `first` is.
    """
    stay_apart()
    block = np.uint64(first) // FOUR
    blocks = (first + count + 3) // 4 - first // 4
    nothing = words.dtype.type(0)
    for k in range(blocks):
        a, b, c, d = philox_block(block + np.uint64(k), seed, stream, call)
        words[4 * k] = scale if a < below else nothing
        words[4 * k + 1] = scale if b < below else nothing
        words[4 * k + 2] = scale if c < below else nothing
        words[4 * k + 3] = scale if d < below else nothing
    return first - first // 4 * 4
