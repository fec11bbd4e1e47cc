"""The groups' sums become the gradient: read once, added in registers, without rounding.

    collect         words[:, k] += the words of sums[g, k] for all groups: see exact.py
    collect_scaled  dw[k] = scale * the value of the words; without groups those in memory

A batch in one block needs the second alone. One in several goes through `words`, and one that
other processes have samples of through theirs, too: the same bits, as nothing is rounded before
all is added. Of a single group the value is known without words.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..cpu.vectors import Emitter
from .exact import WORDS, Words, value_of_one

_DOUBLE = ir.DoubleType()
LANES = 8  # three words and what they are made of stay in the registers of every machine


def _for_all(context, builder, kind, count, body):
    """body(emit, k) for k = 0..count-1: some lanes at a time, then one by one."""
    emit = Emitter(context, builder, kind, LANES)
    lanes = emit.index(LANES)
    whole = builder.mul(builder.sdiv(count, lanes), lanes)
    with cgutils.for_range_slice(builder, emit.index(0), whole, lanes) as (k, _):
        body(emit, k)
    one = Emitter.of_numbers(context, builder, kind)
    with cgutils.for_range_slice(builder, whole, count, one.index(1)) as (k, _):
        body(one, k)


def _double(emit):
    """The same lanes in float64."""
    return Emitter(emit.context, emit.builder, types.float64, emit.lanes)


def _load(emit, sums, at):
    """The lanes from `sums[at]` on, in float64."""
    value = emit.load(sums, at)
    return value if emit.bytes == 8 else emit.builder.fpext(value, emit.shaped(_DOUBLE))


def _words_of(emit, groups, sums, size, at):
    """The words of sums[g, at] of all groups."""
    builder, words = emit.builder, Words(_double(emit))
    with cgutils.for_range(builder, groups) as loop:
        words.add(_load(emit, sums, emit.sum(builder.mul(loop.index, size), at)))
    words.settle(groups)
    return words


def _places(emit, size, at):
    """Where the three words of number `at` lie."""
    return [emit.sum(emit.times(size, word), at) for word in range(WORDS)]


def _data(context, builder, signature, arguments, *numbers):
    """Where the arrays among the arguments begin."""
    return (
        cgutils.create_struct_proxy(signature.args[at])(context, builder, arguments[at]).data
        for at in numbers
    )


@intrinsic
def collect(typing, groups, sums, size, words, begin, end, fresh):
    """See above, for k = begin..end-1. sums flat, `size` numbers a group; words flat, of `size`
    numbers; fresh: start from 0.
    """
    number = types.int64

    def generate(context, builder, signature, arguments):
        groups, _, size, _, begin, end, fresh = arguments
        sums, kept = _data(context, builder, signature, arguments, 1, 3)
        goes_on = builder.icmp_signed("==", fresh, ir.Constant(fresh.type, 0))

        def body(emit, k):
            at = emit.sum(begin, k)
            words, places = _words_of(emit, groups, sums, size, at), _places(emit, size, at)
            with builder.if_then(goes_on):
                words.add_words(kept, places)
            words.carry()
            words.store(kept, places)

        _for_all(context, builder, signature.args[1].dtype, builder.sub(end, begin), body)
        return context.get_dummy_value()

    return types.void(number, sums, number, words, number, number, number), generate


@intrinsic
def collect_scaled(typing, groups, sums, size, words, begin, scale, dw, to, count):
    """See above: dw[to + k] from the numbers at begin + k, for k = 0..count-1."""
    number = types.int64

    def generate(context, builder, signature, arguments):
        groups, _, size, _, begin, scale, _, to, count = arguments
        sums, kept, dw = _data(context, builder, signature, arguments, 1, 3, 6)
        one = builder.icmp_signed("==", groups, ir.Constant(groups.type, 1))
        none = builder.icmp_signed("==", groups, ir.Constant(groups.type, 0))

        def body(emit, k):
            at, double = emit.sum(begin, k), _double(emit)
            place = double.variable(double.zero)
            with builder.if_else(one) as (single, several):
                with single:
                    builder.store(value_of_one(double, _load(emit, sums, at)), place)
                with several:
                    words = _words_of(emit, groups, sums, size, at)
                    with builder.if_then(none):
                        words.add_words(kept, _places(emit, size, at))
                    words.carry()
                    builder.store(words.value(), place)
            factor = double.splat(scale) if emit.lanes else scale
            value = builder.fmul(builder.load(place), factor)
            if emit.bytes < 8:
                value = builder.fptrunc(value, emit.type)
            emit.store(value, dw, emit.sum(to, k))

        _for_all(context, builder, signature.args[1].dtype, count, body)
        return context.get_dummy_value()

    factors = types.float64, dw, number, number
    return types.void(number, sums, number, words, number, *factors), generate
