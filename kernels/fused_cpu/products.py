"""Matrix products of a tile from the blocks in vectors.py.

A tile holds some samples as columns, one feature a row: x (I, width), a structure of arrays.
Widths of tiles are multiples of a panel. Sums run over k, or over the samples in order, so
that the bits depend on nothing but the numbers.
"""

from ..cpu.common import jit, row
from .addresses import lanes, stay_apart
from .vectors import (
    ADD,
    COLUMNS,
    KEPT,
    PLAIN,
    ROWS,
    VECTORS,
    copy_1,
    copy_4,
    copy_6,
    dots_1_all,
    dots_3_all,
    dots_11,
    dots_12,
    dots_13,
    dots_31,
    dots_32,
    dots_33,
    narrow_1,
    narrow_6,
    product_1,
    product_2,
    product_3,
    product_4,
    product_5,
    product_6,
)

DEEP = 128  # rows of b at a time: a panel takes a third of a first-level cache
HIGH = 96  # rows of A at a time, so many columns of which stay in the second-level cache


@jit
def multiply(a, packed, along_m, along_k, b, c, M, K, width, start, bias, end, gate):
    """c = end(start + A b): A (M, K), b (K, width), c (M, width); start, end: see vectors.py.

    A lies in `a`: packed, or with the steps given. `width` is a multiple of the lanes.

    What is used again shall lie in the first-level cache: DEEP rows of b at a time, whose sums
    wait in c for the next. (Not for ADD, when c holds something else; then K is a tile's width.)
    Where rows of A lie apart, each is a stream of its own, which a longer way pays for.
    """
    stay_apart()
    lane = lanes(c[0, 0])
    panel = lane * VECTORS
    whole = width // panel * panel
    last = last_rows(M)
    blocks = M - last
    deep = K if end == ADD else DEEP if packed else 2 * DEEP
    for k in range(0, K, deep):
        count = min(deep, K - k)
        rows, begin = b[k:], start if k == 0 else KEPT
        close = end if k + count == K else PLAIN
        for top in range(0, blocks, HIGH):
            bottom = min(top + HIGH, blocks)
            for n in range(0, whole, panel):
                for m in range(top, bottom, ROWS):
                    at, along = m * along_m + k * along_k, along_k
                    if packed:
                        at, along = k * M + m * count, ROWS
                    product_6(a, at, along_m, along, rows, c, m, n, count, begin, bias, close, gate)
        m = blocks
        while m < M:
            high = next_rows(M - m)
            at, along = m * along_m + k * along_k, along_k
            if packed:
                at, along = k * M + m * count, high
            for n in range(0, whole, panel):
                given = a, at, along_m, along, rows, c, m, n, count, begin, bias, close, gate
                if high == 1:
                    product_1(*given)
                elif high == 2:
                    product_2(*given)
                elif high == 3:
                    product_3(*given)
                elif high == 4:
                    product_4(*given)
                elif high == 5:
                    product_5(*given)
            m += high
        m = 0
        while VECTORS > 1 and m < M and whole < width:  # never, where a panel is one register
            high = next_rows(M - m)
            at, along = m * along_m + k * along_k, along_k
            if packed:
                at, along = k * M + m * count, high
            for n in range(whole, width, lane):
                if high == ROWS:
                    narrow_6(a, at, along_m, along, rows, c, m, n, count, begin, bias, close, gate)
                    continue
                for r in range(high):
                    given = along_m, along, rows, c, m + r, n, count, begin, bias, close, gate
                    narrow_1(a, at + r * along_m, *given)
            m += high


@row
def last_rows(M):
    """How many of M rows do not go into blocks of ROWS: two blocks of about half so many keep a
    processor busier than one of a few rows.
    """
    rest = M % ROWS
    return rest + ROWS if 0 < rest < 4 and M > ROWS else rest


@row
def next_rows(left):
    """Rows of the next block, where so many are left."""
    if left <= ROWS:
        return left
    return left - 4 if left < 10 else ROWS


@jit
def pack(w, first, stop, K, M, packed):
    """Rows first..stop-1 of W (K, M), which lie in w, to `packed`: A = W^T as `multiply` takes it.

    The columns of A lie M numbers apart in W: a line of the cache each, of which a block uses six
    numbers. Packed, everything lies in the order in which it is used: DEEP columns of A after
    DEEP columns, of these block after block of rows, of these column after column.
    """
    stay_apart()
    blocks = M - last_rows(M)
    for k in range(first, stop):
        deep, row = k // DEEP * DEEP, (k - first) * M
        count, to = min(DEEP, K - deep), deep * M
        for m in range(0, blocks, ROWS):
            copy_6(w, row + m, packed, to + m * count + (k - deep) * ROWS)
        m = blocks
        while m < M:
            high = next_rows(M - m)
            at, place, r = row + m, to + m * count + (k - deep) * high, 0
            if high >= 4:
                copy_4(w, at, packed, place)
                r = 4
            while r < high:
                copy_1(w, at + r, packed, place + r)
                r += 1
            m += high


@jit
def add_dots(a, b, g, inputs, outputs, width):
    """g[i, o, lane] += a[i, t] b[o, t] over the columns t of a lane; a (I, ...), b (O, ...)."""
    stay_apart()
    threes = inputs // 3 * 3
    whole = outputs // COLUMNS * COLUMNS
    rest = outputs - whole
    for i in range(0, threes, 3):
        for o in range(0, whole, COLUMNS):
            dots_3_all(a, i, b, o, width, g, outputs)
        if rest == 1:
            dots_31(a, i, b, whole, width, g, outputs)
        elif rest == 2:
            dots_32(a, i, b, whole, width, g, outputs)
        elif rest == 3:
            dots_33(a, i, b, whole, width, g, outputs)
    for i in range(threes, inputs):
        for o in range(0, whole, COLUMNS):
            dots_1_all(a, i, b, o, width, g, outputs)
        if rest == 1:
            dots_11(a, i, b, whole, width, g, outputs)
        elif rest == 2:
            dots_12(a, i, b, whole, width, g, outputs)
        elif rest == 3:
            dots_13(a, i, b, whole, width, g, outputs)
