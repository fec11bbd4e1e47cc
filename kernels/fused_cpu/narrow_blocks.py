"""The loops of a narrow network in vector registers: forward, masked sums, sums of lanes.

`narrow.py` says what they compute. I inputs and D outputs are literals: a function is
emitted for each pair, its sums all in registers. Registers here are the processor's own: nothing
meets across lanes until `fold`, so their length changes no bit.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..cpu.vectors import HARDWARE_BYTES, REGISTER_BYTES, Emitter

UNITS = 4  # of them a pass over the samples takes so many at a time: units are padded to it
REGISTERS = 32 if HARDWARE_BYTES == 64 else 16
SPARE = 6  # registers that a block needs beside its sums
MASKS = HARDWARE_BYTES == 64  # AVX-512 has registers of masks


def _emitter(context, builder, kind):
    """For registers of the processor's own length: where lanes do not meet, it changes no bit."""
    return Emitter.of_registers(context, builder, kind, HARDWARE_BYTES)


def _unit(emit, units, count, unit, rows):
    """The numbers of a unit in `rows` rows, each in every lane."""
    return [
        emit.splat(emit.load_one(units, emit.sum(emit.times(count, j), unit))) for j in range(rows)
    ]


def _hidden(emit, xs, weights, bias):
    """b + x W1 of one unit and one register of samples."""
    h = bias
    for x, w in zip(xs, weights, strict=True):
        h = emit.fma(x, w, h)
    return h


class _Gates:
    """The gates of all units and samples, from the way forward to the way back.

    Where the processor has registers of masks, a gate is a bit in memory at `address`: those of
    register r and unit u are number r * count + u. Elsewhere to spread bits over lanes costs more
    than the hidden unit, which is then computed again, by the same operations.
    """

    def __init__(self, emit, address, count):
        self.emit, self.count = emit, count
        self.type = ir.IntType(emit.lanes)
        self.data = emit.builder.inttoptr(address, self.type.as_pointer())

    def _place(self, t, unit):
        register = self.emit.builder.udiv(t, self.emit.index(self.emit.lanes))
        at = self.emit.sum(self.emit.builder.mul(register, self.count), unit)
        return self.emit.builder.gep(self.data, [at])

    def keep(self, gate, t, unit):
        if MASKS:
            bits = self.emit.builder.bitcast(gate, self.type)
            self.emit.builder.store(bits, self._place(t, unit))

    def add(self, gate, value, place, one):
        """The sum at `place` += value where the gate is open; by the multiplier where one is given.

        Both ways give the same bits: a sum that starts from 0 is never -0.
        """
        builder, old = self.emit.builder, self.emit.builder.load(place)
        if not MASKS:
            value = builder.select(gate, value, self.emit.zero)
        new = self.emit.fma(value, one, old) if one is not None else builder.fadd(old, value)
        builder.store(builder.select(gate, new, old) if MASKS else new, place)

    def again(self, t, unit, hidden):
        """The gate at column t; hidden() emits the unit anew."""
        if not MASKS:
            return self.emit.builder.fcmp_unordered(">", hidden(), self.emit.zero)
        bits = self.emit.builder.load(self._place(t, unit))
        return self.emit.builder.bitcast(bits, ir.VectorType(ir.IntType(1), self.emit.lanes))


@intrinsic(prefer_literal=True)
def narrow_forward(typing, inputs, outputs, units, first, x, z, masks, width):
    """z = first + g h V for `width` columns, and the gates of all units to `masks`.

    inputs, outputs  I and D, literals
    units            (I + 1 + D, units): W1, b, and V transposed
    first            (D,): what z starts from
    x, z             (I, ...), (D, ...); width, a multiple of the lanes
    masks            an address; the gates of register r and unit u are number r * units + u
    """
    I, D = inputs.literal_value, outputs.literal_value  # noqa: E741 - the field's name
    number = types.int64
    signature = types.void(inputs, outputs, units, first, x, z, number, number)

    def generate(context, builder, signature, arguments):
        emit = _emitter(context, builder, signature.args[2].dtype)
        (units, count), (first, _), (x, x_row), (z, z_row) = (
            emit.array(signature.args[j], arguments[j]) for j in (2, 3, 4, 5)
        )
        gates, width = _Gates(emit, arguments[6], count), arguments[7]
        lane = emit.index(emit.lanes)
        together = max(1, min(4, (REGISTERS - SPARE) // (I + D)))

        def columns(start, span):
            """Registers start, start + 1, ... of the samples."""
            at = [builder.mul(builder.add(start, emit.index(r)), lane) for r in range(span)]
            xs = [[emit.load(x, emit.sum(emit.times(x_row, i), a)) for i in range(I)] for a in at]
            places = [
                [emit.variable(emit.splat(emit.load_one(first, emit.index(d)))) for d in range(D)]
                for _ in at
            ]
            with cgutils.for_range(builder, count) as loop:
                numbers = _unit(emit, units, count, loop.index, I + 1 + D)
                weights, bias, onward = numbers[:I], numbers[I], numbers[I + 1 :]
                for r in range(span):
                    h = _hidden(emit, xs[r], weights, bias)
                    gate = builder.fcmp_unordered(">", h, emit.zero)  # NaN passes
                    gates.keep(gate, at[r], loop.index)
                    y = builder.select(gate, h, emit.zero)
                    for place, v in zip(places[r], onward, strict=True):
                        emit.add_product(place, y, v)
            for r in range(span):
                for d in range(D):
                    where = emit.sum(emit.times(z_row, d), at[r])
                    emit.store(builder.load(places[r][d]), z, where)

        registers = builder.udiv(width, lane)
        whole = builder.udiv(registers, emit.index(together))
        with cgutils.for_range(builder, whole) as loop:
            columns(emit.times(loop.index, together), together)
        if together > 1:
            done = emit.times(whole, together)
            with cgutils.for_range(builder, builder.sub(registers, done)) as loop:
                columns(builder.add(done, loop.index), 1)
        return context.get_dummy_value()

    return signature, generate


@intrinsic(prefer_literal=True)
def narrow_backward(typing, inputs, outputs, units, x, p, masks, width, sums, ones):
    """sums[j, u, :] += p[j, t...] where unit u's gate is open, for all units and columns.

    inputs, outputs, units, x, masks, width  as for `narrow_forward`; units, a multiple of UNITS
    p                (I + 1) D rows of products
    sums             flat registers; that of row j and unit u is number j * count + u
    ones             a register of ones: every second sum is old + value * 1 by the multiplier,
                     whose ports would stand idle; LLVM must not see that it is 1
    """
    I = inputs.literal_value  # noqa: E741 - the field's name
    rows, number = (I + 1) * outputs.literal_value, types.int64
    signature = types.void(inputs, outputs, units, x, p, number, number, sums, ones)

    def generate(context, builder, signature, arguments):
        emit = _emitter(context, builder, signature.args[2].dtype)
        (numbers, count), (x, x_row), (p, p_row), (sums, _), (ones, _) = (
            emit.array(signature.args[j], arguments[j]) for j in (2, 3, 4, 7, 8)
        )
        gates, width = _Gates(emit, arguments[5], count), arguments[6]
        one, wide = emit.load(ones, emit.index(0)), REGISTER_BYTES // emit.bytes
        room = REGISTERS - SPARE
        most = -(-rows // -(-rows // room))  # rows of p at a time
        together = max(n for n in (1, 2, UNITS) if n == 1 or n * most <= room)

        def hidden(t, unit):
            xs = [emit.load(x, emit.sum(emit.times(x_row, i), t)) for i in range(I)]
            *weights, bias = _unit(emit, numbers, count, unit, I + 1)
            return _hidden(emit, xs, weights, bias)

        def add(begin, first, span):
            """Rows `span` of p to units first, first + 1, ...; lanes begin, begin + 1, ..."""
            each = [builder.add(first, emit.index(q)) for q in range(together)]
            at, places = [], []
            for u in each:
                for j in span:
                    register = emit.times(builder.add(emit.times(count, j), u), wide)
                    at.append(builder.add(register, begin))
                    places.append(emit.variable(emit.load(sums, at[-1])))
            with cgutils.for_range(builder, builder.udiv(width, emit.index(wide))) as loop:
                t = builder.add(emit.times(loop.index, wide), begin)
                values = [emit.load(p, emit.sum(emit.times(p_row, j), t)) for j in span]
                left = iter(places)
                for u in each:
                    gate = gates.again(t, u, lambda u=u: hidden(t, u))
                    for j, value in enumerate(values):
                        gates.add(gate, value, next(left), one if j % 2 else None)
            for place, where in zip(places, at, strict=True):
                emit.store(builder.load(place), sums, where)

        with cgutils.for_range(builder, builder.udiv(count, emit.index(together))) as loop:
            for lane in range(0, wide, emit.lanes):
                for j in range(0, rows, most):
                    first = emit.times(loop.index, together)
                    add(emit.index(lane), first, range(j, min(j + most, rows)))
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def fold(typing, registers, at, out, to):
    """out[to + j] = the sum of the lanes of registers[at + j], for as many as a register has.

    Two registers at a time are halved and joined, so that no lane is idle: each is summed as
    `sum_lanes` does it.
    """

    def generate(context, builder, signature, arguments):
        emit = Emitter.of_registers(context, builder, signature.args[0].dtype)
        data, _ = emit.array(signature.args[0], arguments[0])
        out, _ = emit.array(signature.args[2], arguments[2])
        n = emit.lanes
        first = emit.times(arguments[1], n)
        rows = [emit.load(data, emit.sum(first, emit.index(j * n))) for j in range(n)]
        width = n
        while width > 1:
            width //= 2
            low = [lane for lane in range(2 * n) if lane % (2 * width) < width]
            high = [lane + width for lane in low]
            rows = [
                builder.fadd(emit.shuffle_two(a, b, low), emit.shuffle_two(a, b, high))
                for a, b in zip(rows[::2], rows[1::2], strict=True)
            ]
        emit.store(rows[0], out, arguments[3])
        return context.get_dummy_value()

    return types.void(registers, types.int64, out, types.int64), generate
