"""Vector registers for the fused step: two blocks of a matrix product, written in LLVM's terms.

LLVM vectorizes plain loops well, but it does not keep a block of a product in registers.
The two blocks here do: they emit a loop over k whose body is unrolled over registers,
`rows` x `vectors` of them. Measured on one core, 512 x 512 x 128 in float32: 231 GFLOP/s,
the library under NumPy 113.

    product_block   C[m, n] (+)= sum_k A[m, k] B[k, n]     lanes along n, A broadcast
    dot_block       G[i, o, :] += A[i, t] B[o, t]          lanes along t, summed at the end

Both take arrays and signed indices, check nothing, and never touch what lies outside the
block. Registers are logical ones: see vectors.py.
"""

import numpy as np
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..cpu.vectors import HARDWARE_BYTES, Emitter

# Registers in use at a time: 24 sums and room for what they are made of where the processor has
# 32 registers of the logical length, fewer where several of its own make one. No sum depends on it.
VECTORS = 4 if HARDWARE_BYTES == 64 else 1  # of a product block, along n
COLUMNS = 4 if HARDWARE_BYTES == 64 else 2  # of a dot block, along o
ROWS = 6  # of a product block

ZEROS, BIAS, KEPT = 0, 1, 2  # what a product block starts from
PLAIN, RELU, GATE, ADD = 0, 1, 2, 3  # what becomes of its sums


def _product_block(rows, vectors):
    """C[m + r, n + v] = end(start + sum_k A[m + r, k] B[k, n + v]).

    a         flat; A[m + r, k] lies at `at + r * along_m + k * along_k`
    b         (K, ...), columns n...; c (..., ...), rows m..., columns n...
    start     ZEROS; BIAS: bias[m + r]; or KEPT: what c holds, a sum that goes on
    end       PLAIN; RELU: max(sum, 0); GATE: 0 where gate[m + r, n + v] <= 0; or ADD: what c
              holds is added. NaN passes. Added at the end, because a long sum in pieces loses
              fewer digits than one that starts from the total.
    """

    @intrinsic
    def block(typing, a, at, along_m, along_k, b, c, m, n, k, start, bias, end, gate):
        number = types.int64
        arguments = (a, number, number, number, b, c, number, number, number)
        signature = types.void(*arguments, number, bias, number, gate)

        def generate(context, builder, signature, arguments):
            emit = Emitter.of_registers(context, builder, signature.args[0].dtype)
            (a, _), (b, b_row), (c, c_row), (bias, _), (gate, gate_row) = (
                emit.array(signature.args[k], arguments[k]) for k in (0, 4, 5, 10, 12)
            )
            at, along_m, along_k = arguments[1:4]
            m, n, count, start = arguments[6:10]
            end = arguments[11]
            span = [emit.index(v * emit.lanes) for v in range(vectors)]
            row = [builder.add(m, emit.index(r)) for r in range(rows)]
            sums = [[cgutils.alloca_once_value(builder, emit.zero) for _ in span] for _ in row]

            def corners():
                return ((r, v, sums[r][k]) for r in range(rows) for k, v in enumerate(span))

            def at_c(r, v):
                return emit.sum(builder.mul(row[r], c_row), n, v)

            with builder.if_then(builder.icmp_signed("==", start, emit.index(BIAS))):
                for r in range(rows):
                    value = emit.splat(emit.load_one(bias, row[r]))
                    for place in sums[r]:
                        builder.store(value, place)

            with builder.if_then(builder.icmp_signed("==", start, emit.index(KEPT))):
                for r, v, place in corners():
                    builder.store(emit.load(c, at_c(r, v)), place)
            with builder.if_then(builder.icmp_signed("==", end, emit.index(ADD))):
                for r, v, _ in corners():  # they come while the sums are made
                    emit.prefetch(c, at_c(r, v), write=True)

            a_rows = [emit.sum(at, builder.mul(along_m, emit.index(r))) for r in range(rows)]
            with cgutils.for_range(builder, count) as loop:
                first = builder.add(builder.mul(loop.index, b_row), n)
                values = [emit.load(b, builder.add(first, v)) for v in span]
                step = builder.mul(loop.index, along_k)
                for r in range(rows):
                    weight = emit.splat(emit.load_one(a, builder.add(a_rows[r], step)))
                    for place, value in zip(sums[r], values, strict=True):
                        emit.add_product(place, weight, value)

            with builder.if_then(builder.icmp_signed("==", end, emit.index(RELU))):
                for place in (place for line in sums for place in line):
                    value = builder.load(place)
                    below = builder.fcmp_ordered("<=", value, emit.zero)
                    builder.store(builder.select(below, emit.zero, value), place)
            with builder.if_then(builder.icmp_signed("==", end, emit.index(GATE))):
                for r in range(rows):
                    first = builder.add(builder.mul(row[r], gate_row), n)
                    for place, v in zip(sums[r], span, strict=True):
                        value = emit.load(gate, builder.add(first, v))
                        below = builder.fcmp_ordered("<=", value, emit.zero)
                        kept = builder.select(below, emit.zero, builder.load(place))
                        builder.store(kept, place)
            with builder.if_then(builder.icmp_signed("==", end, emit.index(ADD))):
                for r, v, place in corners():
                    before = emit.load(c, at_c(r, v))
                    builder.store(builder.fadd(before, builder.load(place)), place)
            for r, v, place in corners():
                emit.store(builder.load(place), c, at_c(r, v))
            return context.get_dummy_value()

        return signature, generate

    return block


def _dot_block(rows, columns):
    """G[i + r, o + q, :] += sum over t of A[i + r, t...] B[o + q, t...], a register at a time.

    a (..., ...), b (..., ...): rows i... and o..., columns 0 to width - 1, a multiple of the lanes
    g flat; the register of (i, o) lies at (i * outputs + o) * lanes
    """

    @intrinsic
    def block(typing, a, i, b, o, width, g, outputs):
        number = types.int64
        signature = types.void(a, number, b, number, number, g, number)

        def generate(context, builder, signature, arguments):
            emit = Emitter.of_registers(context, builder, signature.args[0].dtype)
            (a, a_row), (b, b_row), (g, _) = (
                emit.array(signature.args[k], arguments[k]) for k in (0, 2, 5)
            )
            i, o, width, outputs = arguments[1], arguments[3], arguments[4], arguments[6]
            a_at = [builder.mul(builder.add(i, emit.index(r)), a_row) for r in range(rows)]
            b_at = [builder.mul(builder.add(o, emit.index(q)), b_row) for q in range(columns)]
            g_at, sums = [], []
            for r in range(rows):
                first = builder.add(builder.mul(builder.add(i, emit.index(r)), outputs), o)
                for q in range(columns):
                    at = builder.mul(builder.add(first, emit.index(q)), emit.index(emit.lanes))
                    g_at.append(at)
                    sums.append(cgutils.alloca_once_value(builder, emit.zero))
            registers = builder.udiv(width, emit.index(emit.lanes))
            with cgutils.for_range(builder, registers) as loop:
                t = builder.mul(loop.index, emit.index(emit.lanes))
                left = [emit.load(a, builder.add(at, t)) for at in a_at]
                right = [emit.load(b, builder.add(at, t)) for at in b_at]
                for place, (r, q) in zip(sums, np.ndindex(rows, columns), strict=True):
                    emit.add_product(place, left[r], right[q])
            for place, at in zip(sums, g_at, strict=True):
                emit.store(builder.fadd(emit.load(g, at), builder.load(place)), g, at)
            return context.get_dummy_value()

        return signature, generate

    return block


def _copy(count):
    """b[to:to + count] = a[at:at + count], flat."""

    @intrinsic
    def copy(typing, a, at, b, to):
        def generate(context, builder, signature, arguments):
            emit = Emitter(context, builder, signature.args[0].dtype, count)
            data, _ = emit.array(signature.args[0], arguments[0])
            room, _ = emit.array(signature.args[2], arguments[2])
            emit.store(emit.load(data, arguments[1]), room, arguments[3])
            return context.get_dummy_value()

        return types.void(a, types.int64, b, types.int64), generate

    return copy


@intrinsic
def sum_lanes(typing, a, at):
    """The sum of the register at a[at]."""

    def generate(context, builder, signature, arguments):
        emit = Emitter.of_registers(context, builder, signature.args[0].dtype)
        data = emit.array(signature.args[0], arguments[0])[0]
        return emit.sum_of_lanes(emit.load(data, arguments[1]))

    return a.dtype(a, types.int64), generate


# Numba binds functions by name, so every size that occurs has one.
product_1 = _product_block(1, VECTORS)
product_2 = _product_block(2, VECTORS)
product_3 = _product_block(3, VECTORS)
product_4 = _product_block(4, VECTORS)
product_5 = _product_block(5, VECTORS)
product_6 = _product_block(6, VECTORS)
narrow_1 = _product_block(1, 1)
narrow_6 = _product_block(6, 1)

copy_1 = _copy(1)
copy_4 = _copy(4)
copy_6 = _copy(6)

dots_11 = _dot_block(1, 1)
dots_12 = _dot_block(1, 2)
dots_13 = _dot_block(1, 3)
dots_1_all = _dot_block(1, COLUMNS)
dots_31 = _dot_block(3, 1)
dots_32 = _dot_block(3, 2)
dots_33 = _dot_block(3, 3)
dots_3_all = _dot_block(3, COLUMNS)
