"""Sums over flat arrays and rows in lanes that are written down: fast, and the same everywhere.

    op(arrays, scalars, start, stop) = sum over k in start..stop-1 of
                                       term(arrays[0][k], ..., scalars[0], ...)

LLVM would vectorize such a loop only if it might reorder the sum, into as many lanes as the
processor has; then the bits are the processor's. Here they are the 32 lanes of `row_order.py`, in
logical registers side by side. What is left over is loaded behind a mask: a row of three numbers
costs one round, and nothing outside the range is read.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .row_order import CHUNKS, Order
from .vectors import Emitter


def lane_sums(*terms, precise=True):
    """The intrinsic op(arrays, scalars, start, stop) for a tuple of contiguous arrays and one of
    numbers, all of one type: a tuple of sums, one for each of `terms`.

    term     (emit, values of the arrays, scalars) -> what is added, or the pair whose product is,
             by an fma. Where a mask is off the values are 0 and the result is not used.
    precise  in float64, all in one chunk, and never -0; else in the type of the arrays, as is
             enough for a row, and in the order of one
    """

    @intrinsic
    def operation(typing, arrays, scalars, start, stop):
        number = types.float64 if precise else arrays[0].dtype
        result = types.UniTuple(number, len(terms))

        def generate(context, builder, signature, arguments):
            kinds = signature.args[0]
            emit = Emitter.of_registers(context, builder, kinds[0].dtype)
            wide = Emitter(context, builder, number, emit.lanes)
            given, numbers = (cgutils.unpack_tuple(builder, a) for a in arguments[:2])
            places = [emit.array(*pair)[0] for pair in zip(kinds, given, strict=True)]
            sums = _Sums(emit, wide, terms, places, [emit.splat(value) for value in numbers])
            sums.signed = getattr(kinds[0].dtype, "signed", True)
            chunk = None if precise else CHUNKS[wide.bytes]
            return context.make_tuple(builder, result, sums.over(*arguments[2:], chunk))

        return result(arrays, scalars, types.int64, types.int64), generate

    return operation


class _Sums:
    """Emits the loops of one operation, of registers `emit` added up in registers `wide`."""

    signed = True  # whether whole numbers are

    def __init__(self, emit, wide, terms, arrays, scalars):
        self.emit, self.builder, self.wide = emit, emit.builder, wide
        self.terms, self.arrays, self.scalars = terms, arrays, scalars

    def over(self, start, stop, chunk):
        """The sums, each a number, in chunks of so many terms or in one."""
        builder, emit = self.builder, self.emit
        nothing = [self.wide.constant(-0.0 if chunk else 0.0) for _ in self.terms]
        order = Order(self.wide, self._added, builder.fadd, nothing)
        results = [cgutils.alloca_once(builder, self.wide.element) for _ in self.terms]
        count = builder.sub(stop, start)
        with builder.if_else(builder.icmp_signed("<=", count, emit.index(emit.lanes))) as (
            then,
            otherwise,
        ):
            with then:  # all terms in one register
                mask = builder.not_(emit.lanes_from(count))
                found = map(order.number, self._added(nothing, 0, start, mask))
                self._keep(found, results)
            with otherwise:
                if chunk:
                    found = order.row(start, stop, chunk)
                else:
                    found = map(order.number, order.chunk(start, stop))
                self._keep(found, results)
        return [builder.load(result) for result in results]

    def _keep(self, values, places):
        for value, place in zip(values, places, strict=True):
            self.builder.store(value, place)

    def _added(self, sums, _k, at, mask):
        """`sums` and the terms of a register's worth of numbers, as far as the mask goes."""
        emit = self.emit
        if mask is None:
            values = [emit.load(a, at) for a in self.arrays]
        else:
            values = [emit.load_some(a, at, mask) for a in self.arrays]
        terms = [term(emit, *values, *self.scalars) for term in self.terms]
        added = [self._plus(*pair) for pair in zip(sums, terms, strict=True)]
        if mask is None:
            return added
        return [emit.select(mask, *pair) for pair in zip(added, sums, strict=True)]

    def _plus(self, total, term):
        if isinstance(term, tuple):
            return self.wide.fma(*map(self._widened, term), total)
        return self.builder.fadd(total, self._widened(term))

    def _widened(self, value):
        if value.type == self.wide.type:
            return value
        if isinstance(value.type.element, ir.IntType):
            convert = self.builder.sitofp if self.signed else self.builder.uitofp
            return convert(value, self.wide.type)
        return self.builder.fpext(value, self.wide.type)


total = lane_sums(lambda emit, a: a)
