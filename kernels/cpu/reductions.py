"""Sums, column sums and the largest of a row, in an order that threads cannot change.

An array is cut into chunks of a fixed size, each chunk is summed in a fixed order, and the chunks'
sums are summed by the same rule until one is left. However many threads share the chunks, the bits
are the same, and those of the CUDA kernels (docs/decisions/one-answer.md, "The order of sums").
"""

import numpy as np

from .common import CHUNK, jit, row
from .lane_sums import total

NARROW = 32  # columns up to which the argmax of a row is ours
ROWS = np.uint64(256)  # of a chunk of a matrix
LANES = np.uint64(8)  # sums of a column that a chunk has side by side
SHORT = np.uint64(128)  # columns up to which neighbouring rows are different lanes'


# ---- whole arrays ----


@jit
def _chunk_sums(start, stop, a, partial):
    """partial[j] = sum of chunk j of the flat array a, for chunks start..stop-1."""
    for chunk in range(start, stop):
        first = chunk * CHUNK
        last = min(first + CHUNK, type(first)(a.shape[0]))
        partial[chunk] = total((a,), (), np.int64(first), np.int64(last))[0]


@jit
def join(partial):
    """partial[0] = the sum of the chunks' sums, by the same rule; the others are used up."""
    count, one = np.uint64(partial.shape[0]), np.uint64(1)
    while count > one:
        chunks = (count + CHUNK - one) // CHUNK
        _chunk_sums(np.uint64(0), chunks, partial[:count], partial)  # none that is yet to be read
        count = chunks


@jit
def sum_chunks(start, stop, a, partial):
    """The sums of chunks start..stop-1. Who has all chunks joins them; else the caller does."""
    _chunk_sums(start, stop, a, partial)
    if stop - start == np.uint64(partial.shape[0]):
        join(partial)


# ---- over rows ----


@jit
def parts_of_rows(columns):
    """In how many parts the lanes of a chunk are taken.

    Short rows: all at once. Lane l has rows l, l + 8, ..., so that eight rows are one stretch of
    memory and one of sums, however few columns there are. Long rows: one by one, because eight
    rows of sums do not stay in the first-level cache. Lane l has rows 32 l to 32 l + 31.
    """
    return np.uint64(1) if columns <= SHORT else LANES


@jit
def add_rows(a, first, last, width, sums):
    """sums[k] += a[first + k], a[first + width + k], ... before `last`, in this order; `a` flat.

    Four rows at a time where they are short. (Where not, memory would be read in four places.)
    """
    at = first
    if width <= SHORT:
        while at + np.uint64(4) * width <= last:
            for k in range(width):
                two = (sums[k] + a[at + k]) + a[at + width + k]
                sums[k] = (two + a[at + width + width + k]) + a[at + width + width + width + k]
            at += np.uint64(4) * width
    while at + width <= last:
        for k in range(width):
            sums[k] += a[at + k]
        at += width
    for k in range(last - at):
        sums[k] += a[at + k]


@jit
def join_lanes(sums, total):
    """total = the sum of the eight rows that `sums`, flat, consists of; they are used up."""
    columns = np.uint64(total.shape[0])
    half = LANES // np.uint64(2)
    while half > np.uint64(0):
        for k in range(half * columns):
            sums[k] += sums[half * columns + k]
        half //= np.uint64(2)
    for k in range(columns):
        total[k] = sums[k]


@jit
def column_sum_chunks(start, stop, dy, partial):
    """partial[j] = column sums of rows in chunk j of dy (N, O): vectorized across columns."""
    columns = np.uint64(dy.shape[1])
    flat, parts = dy.reshape(-1), parts_of_rows(columns)
    width, part = LANES // parts * columns, ROWS // parts * columns
    sums = np.empty(LANES * columns, dy.dtype)
    for chunk in range(start, stop):
        sums[:] = dy.dtype.type(0)
        for k in range(parts):
            first = (chunk * parts + k) * part
            last = min(first + part, np.uint64(flat.shape[0]))
            if first < last:
                add_rows(flat, first, last, width, sums[k * width :])
        join_lanes(sums, partial[chunk])


@jit
def join_rows(partial, total):
    """total = column sums of the chunks' sums, by the same rule; `partial` is used up."""
    rows, one = np.uint64(partial.shape[0]), np.uint64(1)
    while rows > one:
        chunks = (rows + ROWS - one) // ROWS
        column_sum_chunks(np.uint64(0), chunks, partial[:rows], partial)  # as in `join`
        rows = chunks
    total[0] = partial[0]


# ---- along rows ----


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
