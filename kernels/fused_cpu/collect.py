"""The groups' sums become the gradient: read once, added in registers, in order, in float64.

    collect         gradient[k] = start + sum_g sums[g, k]      start: 0, or what is there
    collect_scaled  dw[k] = (start + sum_g sums[g, k]) scale    start: 0; gradient[k] without groups

A batch in one block needs the second alone. One in several goes through `gradient`, in float64.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..cpu.vectors import Emitter

_DOUBLE = ir.DoubleType()


def _for_all(context, builder, kind, count, body):
    """body(emit, k) for k = 0..count-1: a register at a time, then one by one."""
    emit = Emitter.of_registers(context, builder, kind)
    lanes = emit.index(emit.lanes)
    whole = builder.mul(builder.sdiv(count, lanes), lanes)
    with cgutils.for_range_slice(builder, emit.index(0), whole, lanes) as (k, _):
        body(emit, k)
    one = Emitter.of_numbers(context, builder, kind)
    with cgutils.for_range_slice(builder, whole, count, one.index(1)) as (k, _):
        body(one, k)


def _double(emit):
    """The same lanes in float64."""
    return Emitter(emit.context, emit.builder, types.float64, emit.lanes)


def _add_groups(emit, place, groups, sums, size, at):
    """place += sums[g, at], group after group."""
    builder = emit.builder
    with cgutils.for_range(builder, groups) as loop:
        value = emit.load(sums, emit.sum(builder.mul(loop.index, size), at))
        if emit.bytes < 8:
            value = builder.fpext(value, emit.shaped(_DOUBLE))
        builder.store(builder.fadd(builder.load(place), value), place)


@intrinsic
def collect(typing, groups, sums, size, gradient, begin, end, fresh):
    """See above, for k = begin..end-1. sums flat, `size` numbers a group; fresh: start from 0."""
    number = types.int64

    def generate(context, builder, signature, arguments):
        groups, _, size, _, begin, end, fresh = arguments
        sums, gradient = (
            cgutils.create_struct_proxy(signature.args[at])(context, builder, arguments[at]).data
            for at in (1, 3)
        )
        fresh = builder.icmp_signed("!=", fresh, ir.Constant(fresh.type, 0))

        def body(emit, k):
            at, double = emit.sum(begin, k), _double(emit)
            before = builder.select(fresh, double.zero, double.load(gradient, at))
            place = double.variable(before)
            _add_groups(emit, place, groups, sums, size, at)
            double.store(builder.load(place), gradient, at)

        _for_all(context, builder, signature.args[1].dtype, builder.sub(end, begin), body)
        return context.get_dummy_value()

    return types.void(number, sums, number, gradient, number, number, number), generate


@intrinsic
def collect_scaled(typing, groups, sums, size, gradient, begin, scale, dw, to, count):
    """See above: dw[to + k] from the numbers at begin + k, for k = 0..count-1."""
    number = types.int64

    def generate(context, builder, signature, arguments):
        groups, _, size, _, begin, scale, _, to, count = arguments
        sums, gradient, dw = (
            cgutils.create_struct_proxy(signature.args[at])(context, builder, arguments[at]).data
            for at in (1, 3, 6)
        )
        none = builder.icmp_signed("==", groups, ir.Constant(groups.type, 0))

        def body(emit, k):
            at, double = emit.sum(begin, k), _double(emit)
            place = double.variable(double.zero)
            with builder.if_then(none):
                builder.store(double.load(gradient, at), place)
            _add_groups(emit, place, groups, sums, size, at)
            factor = double.splat(scale) if emit.lanes else scale
            value = builder.fmul(builder.load(place), factor)
            if emit.bytes < 8:
                value = builder.fptrunc(value, emit.type)
            emit.store(value, dw, emit.sum(to, k))

        _for_all(context, builder, signature.args[1].dtype, count, body)
        return context.get_dummy_value()

    factors = types.float64, dw, number, number
    return types.void(number, sums, number, gradient, number, *factors), generate
