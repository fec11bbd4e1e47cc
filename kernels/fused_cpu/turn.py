"""Tiles are turned in registers: samples lie in rows in memory, and in columns in a tile.

A number at a time, each load and each store touches another line of the cache, and a quarter of a
step of 2-64-64-3 went into turning gradients. A square of numbers takes three rounds of shuffles:

    turn           b[j + q, i + r] = a[i + r, j + q]          for r, q = 0..side-1
    turn_gathered  b[j + q, i + r] = a[order[i + r], j + q]

`side` numbers are half a logical register, which most processors shuffle in one of their own.
"""

from numba import types
from numba.extending import intrinsic

from ..cpu.vectors import REGISTER_BYTES, Emitter

SIDE_BYTES = REGISTER_BYTES // 2


def _turned(emit, rows):
    """Columns of these rows, as many as there are lanes: halves, quarters... change places."""
    apart = emit.lanes // 2
    while apart:
        for r in (r for r in range(emit.lanes) if not r & apart):
            a, b = rows[r], rows[r + apart]
            lanes = range(emit.lanes)
            upper = [k + emit.lanes - apart if k & apart else k for k in lanes]
            lower = [k + emit.lanes if k & apart else k + apart for k in lanes]
            rows[r] = emit.shuffle_two(a, b, upper)
            rows[r + apart] = emit.shuffle_two(a, b, lower)
        apart //= 2
    return rows


def _turn(emit, a, starts, b, i, j):
    """The square whose rows begin at these places of a, to the rows j... of b from column i on."""
    data, pitch = b
    rows = _turned(emit, [emit.load(a, start) for start in starts])
    for q, value in enumerate(rows):
        row = emit.builder.mul(emit.sum(j, emit.index(q)), pitch)
        emit.store(value, data, emit.sum(row, i))


@intrinsic
def turn(typing, a, i, j, b):
    """See above. a (..., ...), b (..., ...)."""
    number = types.int64

    def generate(context, builder, signature, arguments):
        kind_a, _, _, kind_b = signature.args
        emit = Emitter.of_registers(context, builder, kind_a.dtype, SIDE_BYTES)
        (data, pitch), b = emit.array(kind_a, arguments[0]), emit.array(kind_b, arguments[3])
        i, j = arguments[1:3]
        rows = (builder.mul(emit.sum(i, emit.index(r)), pitch) for r in range(emit.lanes))
        _turn(emit, data, [emit.sum(row, j) for row in rows], b, i, j)
        return context.get_dummy_value()

    return types.void(a, number, number, b), generate


@intrinsic
def turn_gathered(typing, a, order, i, j, b):
    """See above. a (..., ...), order (...,) of int64, b (..., ...)."""
    number = types.int64

    def generate(context, builder, signature, arguments):
        kind_a, kind_order, _, _, kind_b = signature.args
        emit = Emitter.of_registers(context, builder, kind_a.dtype, SIDE_BYTES)
        (data, pitch), b = emit.array(kind_a, arguments[0]), emit.array(kind_b, arguments[4])
        numbers, _ = emit.array(kind_order, arguments[1])
        i, j = arguments[2:4]
        found = (emit.load_one(numbers, emit.sum(i, emit.index(r))) for r in range(emit.lanes))
        starts = [emit.sum(builder.mul(row, pitch), j) for row in found]
        _turn(emit, data, starts, b, i, j)
        return context.get_dummy_value()

    return types.void(a, order, number, number, b), generate
