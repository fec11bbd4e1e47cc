"""Sums, column sums and the largest of a row, in an order that threads cannot change.

An array is cut into chunks of a fixed size; each chunk is summed in a fixed order, in float64,
and the partial sums are added up in order. However many threads share the chunks, the bits
are the same.
"""

import numpy as np

from .common import CHUNK, jit, row
from .lane_sums import total

NARROW = 32  # columns up to which the argmax of a row is ours


@jit
def sum_chunks(start, stop, a, partial):
    """partial[j] = sum of chunk j of the flat array a, for chunks start..stop-1."""
    for chunk in range(start, stop):
        first = chunk * CHUNK
        last = min(first + CHUNK, type(first)(a.shape[0]))
        partial[chunk] = total((a,), (), np.int64(first), np.int64(last))[0]


@jit
def column_sum_chunks(start, stop, dy, partial):
    """partial[j] = column sums of rows in chunk j of dy (N, O): vectorized across columns."""
    for chunk in range(start, stop):
        first = chunk * CHUNK
        last = min(first + CHUNK, type(first)(dy.shape[0]))
        for o in range(dy.shape[1]):
            partial[chunk, o] = dy[first, o]
        for i in range(first + type(first)(1), last):
            for o in range(dy.shape[1]):
                partial[chunk, o] += dy[i, o]


@row
def argmax_row(i, C, x, column):
    """Column of the first largest element; NaN counts as largest, as in NumPy. No branches."""
    best = x[i, 0]
    at = np.int32(0)
    for c in range(1, C):
        value = x[i, c]
        better = (value > best) | ((value != value) & (best == best))
        best = value if better else best
        at = np.int32(c) if better else at
    column[i] = at


@row
def argmax_long_row(i, C, x, column):
    """The same in three reductions, each of which vectorizes along the row: largest, its first
    column, and whether all are numbers. At C = 32 it takes a ninth of argmax_row's time.
    """
    best = x[i, 0]
    for c in range(1, C):
        best = max(best, x[i, c])
    at, numbers = np.int32(C), np.int32(0)
    for c in range(C):
        at = min(at, np.int32(c) if x[i, c] == best else np.int32(C))
    for c in range(C):
        numbers += np.int32(x[i, c] == x[i, c])
    if numbers < np.int32(C):
        at = np.int32(0)
        while x[i, at] == x[i, at]:
            at += np.int32(1)
    column[i] = at


@jit
def argmax(start, stop, x, column):
    """Up to 4 columns the loop vectorizes across rows, as C is known; then along the row."""
    C = x.shape[1]
    if C == 2:
        for i in range(start, stop):
            argmax_row(i, 2, x, column)
    elif C == 3:
        for i in range(start, stop):
            argmax_row(i, 3, x, column)
    elif C == 4:
        for i in range(start, stop):
            argmax_row(i, 4, x, column)
    else:
        for i in range(start, stop):
            argmax_long_row(i, C, x, column)
