"""Sums over flat arrays and rows in lanes that are written down: fast, and the same everywhere.

    op(arrays, scalars, start, stop) = sum over k in start..stop-1 of
                                       term(arrays[0][k], ..., scalars[0], ...), in float64

LLVM would vectorize such a loop only if it might reorder the sum, into as many lanes as the
processor has; then the bits are the processor's. Here the lanes are those of a logical register,
`UNROLLED` of them are summed side by side, and in the end they are added pairwise: the order
depends on the number of terms alone. What is left over goes into one more register, behind a mask:
a row of three numbers costs one turn, and nothing outside the range is read.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .vectors import Emitter

UNROLLED = 4  # registers: an addition takes as many cycles as there are of them in half a turn


def lane_sums(*terms):
    """The intrinsic op(arrays, scalars, start, stop) for a tuple of contiguous arrays and one of
    numbers, all of one type: a tuple of sums, one for each of `terms`.

    term  (emit, values of the arrays, scalars) -> what is added. Where the mask is off the values
          are 0 and the result is not used.
    """

    @intrinsic
    def operation(typing, arrays, scalars, start, stop):
        result = types.UniTuple(types.float64, len(terms))

        def generate(context, builder, signature, arguments):
            kinds = signature.args[0]
            emit = Emitter.of_registers(context, builder, kinds[0].dtype)
            given, numbers = (cgutils.unpack_tuple(builder, a) for a in arguments[:2])
            places = [emit.array(*pair)[0] for pair in zip(kinds, given, strict=True)]
            sums = _Sums(emit, terms, places, [emit.splat(number) for number in numbers])
            sums.signed = getattr(kinds[0].dtype, "signed", True)
            return context.make_tuple(builder, result, sums.over(*arguments[2:]))

        return result(arrays, scalars, types.int64, types.int64), generate

    return operation


class _Sums:
    """Emits the loops of one operation."""

    signed = True  # whether whole numbers are

    def __init__(self, emit, terms, arrays, scalars):
        self.emit, self.builder = emit, emit.builder
        self.terms, self.arrays, self.scalars = terms, arrays, scalars
        self.wide = ir.VectorType(ir.DoubleType(), emit.lanes)
        self.nothing = ir.Constant(self.wide, [0.0] * emit.lanes)

    def over(self, start, stop):
        """The sums, each a number."""
        builder, emit = self.builder, self.emit
        places = [[self._place() for _ in range(UNROLLED)] for _ in self.terms]
        lanes, turn = emit.index(emit.lanes), emit.index(UNROLLED * emit.lanes)
        count = builder.sub(stop, start)
        with cgutils.for_range(builder, builder.sdiv(count, turn)) as loop:
            at = builder.add(start, builder.mul(loop.index, turn))
            for k in range(UNROLLED):
                here = builder.add(at, emit.index(k * emit.lanes))
                self._add([emit.load(a, here) for a in self.arrays], [p[k] for p in places])
        rest = builder.srem(count, turn)
        at = builder.sub(stop, rest)
        first = [p[0] for p in places]
        with cgutils.for_range(builder, builder.sdiv(rest, lanes)) as loop:
            here = builder.add(at, builder.mul(loop.index, lanes))
            self._add([emit.load(a, here) for a in self.arrays], first)
        last = builder.srem(count, lanes)
        with builder.if_then(builder.icmp_signed(">", last, emit.index(0))):
            mask = builder.not_(emit.lanes_from(last))
            here = builder.sub(stop, last)
            self._add([emit.load_some(a, here, mask) for a in self.arrays], first, mask)
        return [self._total(p) for p in places]

    def _place(self):
        return cgutils.alloca_once_value(self.builder, self.nothing)

    def _add(self, values, places, mask=None):
        """One term for each of the places."""
        for term, place in zip(self.terms, places, strict=True):
            value = self._widened(term(self.emit, *values, *self.scalars))
            if mask is not None:
                value = self.builder.select(mask, value, self.nothing)
            self.builder.store(self.builder.fadd(self.builder.load(place), value), place)

    def _widened(self, value):
        if isinstance(value.type.element, ir.IntType):
            convert = self.builder.sitofp if self.signed else self.builder.uitofp
            return convert(value, self.wide)
        return value if value.type == self.wide else self.builder.fpext(value, self.wide)

    def _total(self, places):
        values = [self.builder.load(place) for place in places]
        while len(values) > 1:
            values = [self.builder.fadd(*values[k : k + 2]) for k in range(0, len(values), 2)]
        return self.emit.sum_of_lanes(values[0])


total = lane_sums(lambda emit, a: a)
