"""Gradients at class indices, in vector registers.

    out[i, c] = true(p[i, c]) where c is the class t[i], else other(p[i, c]); a row of `bad` where
                t[i] is no class

    shapes   p and out (N, C), contiguous, apart from each other; t (N,) whole numbers
    traffic  every array once: in float32 8 bytes an element and 4 a row

Two ways, by the length of a row:

    C < lanes   As many rows at a time as lanes, along memory: the C registers that hold them are
                loaded as they lie. Number k of register j belongs to row (lanes j + k) // C of
                these and to column (lanes j + k) % C, which are known to the compiler: the row's
                class index comes to its lanes by a shuffle and is compared with a constant.
    longer      Row by row, a register at a time; the last one ends where the row ends.

Measured against loops over rows, and against p / n with a second visit to the true classes: a
fifth of the time at C = 2 to 4, half at 10.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .vectors import NUMBER, Emitter


def label_rows(true, other, *, long=True):
    """The intrinsic op(p, t, scalars, bad, out, start, stop) for rows start..stop-1.

    It does the rows that make whole registers, and returns the first that is left: `stop` where
    rows are at least a register long.

    true, other  (emit, p, scalars) -> the result at the true class, and at the others
    long         whether it does long rows, too: not where other results are known without p
    """

    @intrinsic
    def operation(typing, p, t, scalars, bad, out, start, stop):
        number = types.uint64
        signature = number(p, t, scalars, bad, out, number, number)

        def generate(context, builder, signature, arguments):
            rows = _Rows(context, builder, signature, arguments)
            rows.true, rows.other = true, other
            return rows.by_classes(long)

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
        self.label = context.get_data_type(kinds[1].dtype)
        self.labels = emit.shaped(self.label)
        self.lanes = emit.index(emit.lanes)

    def by_classes(self, long_too):
        """Jumps to the code for C; the first row that is left."""
        builder, emit = self.builder, self.emit
        left = cgutils.alloca_once_value(builder, self.stop if long_too else self.start)
        blocks = builder.udiv(builder.sub(self.stop, self.start), self.lanes)
        long, done = (builder.append_basic_block(name) for name in ("long", "done"))
        jump = builder.switch(self.C, long)
        jump.add_case(emit.index(0), done)
        for C in range(1, emit.lanes):
            block = builder.append_basic_block("rows")
            jump.add_case(emit.index(C), block)
            builder.position_at_end(block)
            with cgutils.for_range(builder, blocks) as loop:
                self._short(C, builder.add(self.start, builder.mul(loop.index, self.lanes)))
            builder.store(builder.add(self.start, builder.mul(blocks, self.lanes)), left)
            builder.branch(done)
        builder.position_at_end(long)
        if long_too:
            one = NUMBER(1)
            with cgutils.for_range_slice(builder, self.start, self.stop, one, NUMBER) as (row, _):
                self._long(row)
        builder.branch(done)
        builder.position_at_end(done)
        return builder.load(left)

    def _short(self, C, row):
        """The C registers of as many rows as lanes, from `row` on."""
        builder, emit = self.builder, self.emit
        place = builder.bitcast(builder.gep(self.t, [row]), self.labels.as_pointer())
        labels = builder.load(place)
        labels.align = self.label.width // 8
        classes = ir.Constant(self.labels, [C] * emit.lanes)
        first = builder.mul(row, emit.index(C))
        for j in range(C):
            numbers = range(j * emit.lanes, (j + 1) * emit.lanes)
            label = emit.shuffle(labels, [k // C for k in numbers])
            column = ir.Constant(self.labels, [k % C for k in numbers])
            outside = builder.icmp_unsigned(">=", label, classes)  # negative ones, too
            self._register(builder.add(first, emit.index(j * emit.lanes)), label, column, outside)

    def _long(self, row):
        """A row of at least as many numbers as lanes."""
        builder, emit = self.builder, self.emit
        one = builder.load(builder.gep(self.t, [row]))
        outside = emit.splat(builder.icmp_unsigned(">=", one, self._as_label(self.C)))
        label, first = emit.splat(one), builder.mul(row, self.C)
        lane = ir.Constant(self.labels, list(range(emit.lanes)))

        def register(column):
            columns = builder.add(emit.splat(self._as_label(column)), lane)
            self._register(builder.add(first, column), label, columns, outside)

        with cgutils.for_range(builder, builder.udiv(self.C, self.lanes)) as loop:
            register(builder.mul(loop.index, self.lanes))
        rest = builder.urem(self.C, self.lanes)
        with builder.if_then(builder.icmp_unsigned(">", rest, emit.index(0))):
            register(builder.sub(self.C, self.lanes))

    def _as_label(self, number):
        """A column or a number of columns in the type of the labels, which holds it."""
        return number if self.label == NUMBER else self.builder.trunc(number, self.label)

    def _register(self, at, label, column, outside):
        """The results of the numbers from `at` on."""
        builder, emit = self.builder, self.emit
        value = emit.load(self.p, at)
        value = builder.select(
            builder.icmp_unsigned("==", label, column),
            self.true(emit, value, *self.scalars),
            self.other(emit, value, *self.scalars),
        )
        emit.store(builder.select(outside, self.bad, value), self.out, at)
