"""The groups' sums become the gradient: read once, added in registers, without rounding.

    collect         words[:, k] += the words of sums[g, k] for all groups: see exact.py
    collect_scaled  dw[k] = scale * the value of the words, rounded to the dtype as the scale is;
                    without groups those in memory

A batch in one block needs the second alone. One in several goes through `words`, and one that
other processes have samples of through theirs, too: the same bits, as nothing is rounded before
all is added.

Few float32 numbers of about the same size have an exact sum in float64, and what their words
would give is this sum: so the words are only made where numbers lie far apart (the bits of the
largest and of the smallest tell), or are very large or small. Measured for a batch of two groups
of 784-128-128-10: words for all numbers cost 17 % of a step.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..cpu.common import jit
from ..cpu.vectors import Emitter
from .addresses import itemsize, lanes, stay_apart
from .exact import WORDS, Words, value_of_one

_DOUBLE = ir.DoubleType()
NO = ir.Constant(ir.IntType(1), 0)
MAGNITUDE = 0x7FFFFFFF  # of the bits of a float32: all but the sign
ENDLESS = -1  # above the bits of all numbers
# Bits of 2^-47, from which on numbers are multiples of 2^-70; and of 2^62, beyond which is poison.
SMALL, LARGE = (127 - 47) << 23, (127 + 62) << 23
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
def _scaled(typing, groups, sums, size, words, begin, scale, dw, to, count):
    """dw[to + k] from the numbers at begin + k, for k = 0..count-1: by their words."""
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
            emit.store(_times(emit, builder.load(place), scale), dw, emit.sum(to, k))

        _for_all(context, builder, signature.args[1].dtype, count, body)
        return context.get_dummy_value()

    factors = types.float64, dw, number, number
    return types.void(number, sums, number, words, number, *factors), generate


def _times(emit, value, scale):
    """value scale, each rounded to the numbers of `emit` first."""
    builder = emit.builder
    if emit.bytes == 4:
        value, scale = builder.fptrunc(value, emit.type), builder.fptrunc(scale, emit.element)
    return builder.fmul(value, emit.splat(scale) if emit.lanes else scale)


class _Span:
    """How far float32 numbers lie apart, lane by lane: whether float64 adds them exactly.

    The bits of |x| are as large as |x|. Those of 0, less 1, are the largest of all: 0 counts for
    the largest number, and not for the smallest.
    """

    def __init__(self, emit):
        self.emit, self.builder = emit, emit.builder
        self._most = emit.variable(emit.integer(0))
        self._least = emit.variable(emit.integer(ENDLESS))

    def see(self, x):
        builder = self.builder
        bits = builder.and_(builder.bitcast(x, self.emit.integers()), self.emit.integer(MAGNITUDE))
        self._keep(self._most, ">", bits)
        self._keep(self._least, "<", builder.sub(bits, self.emit.integer(1)))

    def _keep(self, place, relation, bits):
        held = self.builder.load(place)
        kept = self.builder.icmp_unsigned(relation, bits, held)
        self.builder.store(self.builder.select(kept, bits, held), place)

    def exact(self, groups):
        """Whether all lanes are added exactly, and are what their words would give."""
        emit, builder = self.emit, self.builder
        most, least = builder.load(self._most), builder.load(self._least)
        bits = ir.IntType(32)
        # 29 less the logarithm of the groups: 24 bits of a number, and carries, make 53.
        zeros = builder.ctlz(builder.trunc(builder.sub(groups, emit.index(1)), bits), NO)
        apart = builder.shl(builder.sub(zeros, bits(3)), bits(23))
        apart = emit.splat(apart)
        near = builder.icmp_unsigned("<=", most, builder.add(least, apart))
        whole = builder.icmp_unsigned(">=", least, emit.integer(SMALL - 1))
        fits = builder.icmp_unsigned("<", most, emit.integer(LARGE))
        every = builder.and_(near, builder.and_(whole, fits))
        all_lanes = ir.IntType(emit.lanes)
        return builder.icmp_signed("==", builder.bitcast(every, all_lanes), all_lanes(-1))


@intrinsic
def _added(typing, groups, sums, size, begin, scale, dw, to, first, count):
    """As `_scaled` from k = first on, a register at a time, by sums in float64: as long as these
    are exact. Returns the first k of a register that was left out, or `count`.

    float64 has no type that adds it exactly: nothing is done.
    """
    number = types.int64

    def generate(context, builder, signature, arguments):
        groups, _, size, begin, scale, _, to, first, count = arguments
        kind = signature.args[1].dtype
        if kind.bitwidth == 64:
            return first
        sums, dw = _data(context, builder, signature, arguments, 1, 5)
        emit = Emitter.of_registers(context, builder, kind)
        done = cgutils.alloca_once_value(builder, first)
        step = emit.index(emit.lanes)
        with cgutils.for_range_slice(builder, first, count, step) as (k, _):
            here = builder.not_(emit.lanes_from(builder.sub(count, k)))
            go_on = builder.icmp_signed("==", k, builder.load(done))
            with builder.if_then(go_on):
                span, total = _Span(emit), emit.variable(_double(emit).zero)
                with cgutils.for_range(builder, groups) as loop:
                    at = emit.sum(builder.mul(loop.index, size), begin, k)
                    x = emit.load_some(sums, at, here)
                    span.see(x)
                    value = builder.fpext(x, emit.shaped(_DOUBLE))
                    builder.store(builder.fadd(builder.load(total), value), total)
                with builder.if_then(span.exact(groups)):
                    value = _times(emit, builder.load(total), scale)
                    emit.store_some(value, dw, emit.sum(to, k), here)
                    more = builder.add(k, step)
                    whole = builder.icmp_signed("<", more, count)
                    builder.store(builder.select(whole, more, count), done)
        return builder.load(done)

    factors = types.float64, dw, number, number, number
    return number(number, sums, number, number, *factors), generate


@jit
def collect_scaled(groups, sums, size, words, begin, scale, dw, to, count):
    """See above: dw[to + k] from the numbers at begin + k, for k = 0..count-1."""
    stay_apart()
    done, step = 0, lanes(dw[0])
    while done < count:
        if groups > 0:
            done = _added(groups, sums, size, begin, scale, dw, to, done, count)
        some = min(step, count - done)
        if itemsize(dw[0]) == 8 or groups == 0:
            some = count - done
        if some > 0:
            _scaled(groups, sums, size, words, begin + done, scale, dw, to + done, some)
        done += some
