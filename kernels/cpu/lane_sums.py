"""Sums over flat arrays and rows in lanes that are written down: fast, and the same everywhere.

    op(arrays, scalars, start, stop) = sum over k in start..stop-1 of
                                       term(arrays[0][k], ..., scalars[0], ...)

LLVM would vectorize such a loop only if it might reorder the sum, into as many lanes as the
processor has; then the bits are the processor's. Here the lanes are those of a logical register,
`UNROLLED` of them are summed side by side, and in the end they are added pairwise: the order
depends on the number of terms alone. What is left over goes into one more register, behind a mask:
a row of three numbers costs one round, and nothing outside the range is read.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .vectors import Emitter

UNROLLED = 4  # registers that are summed side by side


def lane_sums(*terms, precise=True):
    """The intrinsic op(arrays, scalars, start, stop) for a tuple of contiguous arrays and one of
    numbers, all of one type: a tuple of sums, one for each of `terms`.

    term     (emit, values of the arrays, scalars) -> what is added. Where the mask is off the
             values are 0 and the result is not used.
    precise  in float64; else in the type of the arrays, as is enough for a row
    """

    @intrinsic
    def operation(typing, arrays, scalars, start, stop):
        number = types.float64 if precise else arrays[0].dtype
        result = types.UniTuple(number, len(terms))

        def generate(context, builder, signature, arguments):
            kinds = signature.args[0]
            emit = Emitter.of_registers(context, builder, kinds[0].dtype)
            given, numbers = (cgutils.unpack_tuple(builder, a) for a in arguments[:2])
            places = [emit.array(*pair)[0] for pair in zip(kinds, given, strict=True)]
            sums = _Sums(emit, terms, places, [emit.splat(value) for value in numbers])
            sums.wide = emit.shaped(context.get_data_type(number))
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

    def over(self, start, stop):
        """The sums, each a number."""
        builder, emit = self.builder, self.emit
        self.nothing = ir.Constant(self.wide, None)
        results = [cgutils.alloca_once(builder, self.wide.element) for _ in self.terms]
        short = builder.icmp_signed("<=", builder.sub(stop, start), emit.index(emit.lanes))
        with builder.if_else(short) as (then, otherwise):
            with then:
                self._keep(results, self._short(start, stop))
            with otherwise:
                self._keep(results, self._long(start, stop))
        return [builder.load(result) for result in results]

    def _keep(self, results, values):
        """The sum of the lanes of each."""
        for result, value in zip(results, values, strict=True):
            self.builder.store(self.emit.sum_of_lanes(value), result)

    def _short(self, start, stop):
        """All terms in one register."""
        mask = self.builder.not_(self.emit.lanes_from(self.builder.sub(stop, start)))
        return self._some(start, mask)

    def _some(self, at, mask):
        """The terms of a register's worth of numbers, as far as the mask goes."""
        values = [self.emit.load_some(a, at, mask) for a in self.arrays]
        return [self.builder.select(mask, term, self.nothing) for term in self._of(values)]

    def _long(self, start, stop):
        """The terms of whole registers, then of what is left over."""
        builder, emit = self.builder, self.emit
        places = [[self._place() for _ in range(UNROLLED)] for _ in self.terms]
        lanes, turn = emit.index(emit.lanes), emit.index(UNROLLED * emit.lanes)
        count = builder.sub(stop, start)
        with cgutils.for_range(builder, builder.sdiv(count, turn)) as loop:
            at = builder.add(start, builder.mul(loop.index, turn))
            for k in range(UNROLLED):
                here = builder.add(at, emit.index(k * emit.lanes))
                self._add(self._whole(here), [p[k] for p in places])
        rest = builder.srem(count, turn)
        at = builder.sub(stop, rest)
        first = [p[0] for p in places]
        with cgutils.for_range(builder, builder.sdiv(rest, lanes)) as loop:
            here = builder.add(at, builder.mul(loop.index, lanes))
            self._add(self._whole(here), first)
        last = builder.srem(count, lanes)
        with builder.if_then(builder.icmp_signed(">", last, emit.index(0))):
            mask = builder.not_(emit.lanes_from(last))
            self._add(self._some(builder.sub(stop, last), mask), first)
        return [self._pairwise(p) for p in places]

    def _place(self):
        return cgutils.alloca_once_value(self.builder, self.nothing)

    def _whole(self, at):
        """The terms of a register's worth of numbers."""
        return self._of([self.emit.load(a, at) for a in self.arrays])

    def _of(self, values):
        return [self._widened(term(self.emit, *values, *self.scalars)) for term in self.terms]

    def _widened(self, value):
        if value.type == self.wide:
            return value
        if isinstance(value.type.element, ir.IntType):
            convert = self.builder.sitofp if self.signed else self.builder.uitofp
            return convert(value, self.wide)
        return self.builder.fpext(value, self.wide)

    def _add(self, terms, places):
        for term, place in zip(terms, places, strict=True):
            self.builder.store(self.builder.fadd(self.builder.load(place), term), place)

    def _pairwise(self, places):
        values = [self.builder.load(place) for place in places]
        while len(values) > 1:
            values = [self.builder.fadd(*values[k : k + 2]) for k in range(0, len(values), 2)]
        return values[0]


total = lane_sums(lambda emit, a: a)
