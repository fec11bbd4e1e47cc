"""Gradients of few classes at class indices: along memory, as many rows at a time as lanes.

    out[i, c] = true(p[i, c]) where c is the class t[i], else other(p[i, c]); a row of `bad` where
                t[i] is no class

    shapes   p and out (N, C), contiguous; t (N,) whole numbers
    traffic  every array once: in float32 8 bytes an element and 4 a row

A loop over rows has to load and store numbers that lie C apart. Here the C registers that hold
`lanes` whole rows are loaded as they lie. Number k of register j belongs to row (lanes j + k) // C
of these and to column (lanes j + k) % C, which are known to the compiler: the row's class index
comes to its lanes by a shuffle and is compared with a constant. Measured at C = 2 to 10: a fifth
to a half of the time of loops over rows.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .vectors import Emitter

FEW = 10  # classes: more are faster as a flat array first, and their true classes then


def label_rows(most, true, other):
    """The intrinsic op(p, t, scalars, bad, out, start, stop) for rows of 1 to `most` classes.

    It does as many of the rows start..stop-1 as make whole registers, and returns the first that
    is left; of other rows, none.

    true, other  (emit, p, scalars) -> the result at the true class, and at the others
    """

    @intrinsic
    def operation(typing, p, t, scalars, bad, out, start, stop):
        number = types.uint64
        signature = number(p, t, scalars, bad, out, number, number)

        def generate(context, builder, signature, arguments):
            rows = _Rows(context, builder, signature, arguments)
            rows.true, rows.other = true, other
            return rows.by_classes(most)

        return signature, generate

    return operation


class _Rows:
    """Emits one operation for every number of classes."""

    def __init__(self, context, builder, signature, arguments):
        kinds = signature.args
        self.builder = builder
        self.emit = emit = Emitter.of_registers(context, builder, kinds[0].dtype)
        self.p, self.C = emit.array(kinds[0], arguments[0])
        self.t, self.out = (emit.array(kinds[k], arguments[k])[0] for k in (1, 4))
        self.scalars = [emit.splat(a) for a in cgutils.unpack_tuple(builder, arguments[2])]
        self.bad = emit.splat(arguments[3])
        self.start, self.stop = arguments[5:]
        self.whole = emit.shaped(context.get_data_type(kinds[1].dtype))
        self.label_bytes = kinds[1].dtype.bitwidth // 8

    def by_classes(self, most):
        """Jumps to the code for C; the first row that is left."""
        builder, emit = self.builder, self.emit
        left = cgutils.alloca_once_value(builder, self.start)
        blocks = builder.udiv(builder.sub(self.stop, self.start), self._lanes)
        done = builder.append_basic_block("done")
        jump = builder.switch(self.C, done)
        for C in range(1, most + 1):
            block = builder.append_basic_block("rows")
            jump.add_case(emit.index(C), block)
            builder.position_at_end(block)
            with cgutils.for_range(builder, blocks) as loop:
                self._registers(C, builder.add(self.start, builder.mul(loop.index, self._lanes)))
            builder.store(builder.add(self.start, builder.mul(blocks, self._lanes)), left)
            builder.branch(done)
        builder.position_at_end(done)
        return builder.load(left)

    @property
    def _lanes(self):
        return self.emit.index(self.emit.lanes)

    def _registers(self, C, row):
        """The C registers of as many rows as lanes, from `row` on."""
        builder, emit = self.builder, self.emit
        place = builder.bitcast(builder.gep(self.t, [row]), self.whole.as_pointer())
        labels = builder.load(place)
        labels.align = self.label_bytes
        classes = ir.Constant(self.whole, [C] * emit.lanes)
        first = builder.mul(row, emit.index(C))
        for j in range(C):
            numbers = range(j * emit.lanes, (j + 1) * emit.lanes)
            label = emit.shuffle(labels, [k // C for k in numbers])
            column = ir.Constant(self.whole, [k % C for k in numbers])
            at = builder.add(first, emit.index(j * emit.lanes))
            value = emit.load(self.p, at)
            value = builder.select(
                builder.icmp_unsigned("==", label, column),
                self.true(emit, value, *self.scalars),
                self.other(emit, value, *self.scalars),
            )
            outside = builder.icmp_unsigned(">=", label, classes)  # negative ones, too
            emit.store(builder.select(outside, self.bad, value), self.out, at)
