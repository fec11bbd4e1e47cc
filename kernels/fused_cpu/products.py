"""Matrix products of a tile from the blocks in vectors.py.

A tile holds some samples as columns, one feature a row: x (I, width), a structure of arrays.
Widths of tiles are multiples of a panel. Sums run over k, or over the samples in order, so
that the bits depend on nothing but the numbers.
"""

from ..cpu.common import jit
from .addresses import lanes, stay_apart
from .vectors import (
    COLUMNS,
    ROWS,
    VECTORS,
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


@jit
def multiply(a, along_m, along_k, b, c, M, K, width, start, bias, end, gate):
    """c = end(start + A b): A (M, K) lies in `a` with the steps given, b (K, width), c (M, width).

    `width` is a multiple of the lanes. start, end: see fused_vectors.
    """
    stay_apart()
    lane = lanes(c[0, 0])
    panel = lane * VECTORS
    whole = width // panel * panel
    blocks = M // ROWS * ROWS
    rest = M - blocks
    at = blocks * along_m
    for n in range(0, whole, panel):
        for m in range(0, blocks, ROWS):
            product_6(a, m * along_m, along_m, along_k, b, c, m, n, K, start, bias, end, gate)
        if rest == 1:
            product_1(a, at, along_m, along_k, b, c, blocks, n, K, start, bias, end, gate)
        elif rest == 2:
            product_2(a, at, along_m, along_k, b, c, blocks, n, K, start, bias, end, gate)
        elif rest == 3:
            product_3(a, at, along_m, along_k, b, c, blocks, n, K, start, bias, end, gate)
        elif rest == 4:
            product_4(a, at, along_m, along_k, b, c, blocks, n, K, start, bias, end, gate)
        elif rest == 5:
            product_5(a, at, along_m, along_k, b, c, blocks, n, K, start, bias, end, gate)
    for n in range(whole, width, lane):
        for m in range(0, blocks, ROWS):
            narrow_6(a, m * along_m, along_m, along_k, b, c, m, n, K, start, bias, end, gate)
        for m in range(blocks, M):
            narrow_1(a, m * along_m, along_m, along_k, b, c, m, n, K, start, bias, end, gate)


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
