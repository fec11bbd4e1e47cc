"""A group of samples through one hidden layer between few inputs and few outputs.

    formula   h = b + x W1, gate g = [h > 0], z = g h V + c, dz = dloss/dz, and for each unit u
                  S[u, 0, d] = sum over samples of g[u] dz[d]
                  S[u, i, d] = sum over samples of g[u] x[i] dz[d]
              all gradients of the unit follow from them, as g h is linear in x where g is 1:
                  db1[u]    = sum_d V[u, d] S[u, 0, d]
                  dW1[i, u] = sum_d V[u, d] S[u, i, d]
                  dV[u, d]  = b[u] S[u, 0, d] + sum_i W1[i, u] S[u, i, d]
    shapes    x (I, width) and z (C, width) with samples as columns; D = C outputs, C - 1 where
              only differences of scores count: there V and c are differences to the last column,
              whose score is 0 and whose gradient is minus the sum of the others
    traffic   backward, a unit and a register of samples cost (I + 1) D masked additions, and no
              load but of the mask: the products x[i] dz[d] know nothing of the units. Layer by
              layer it is (I + 1) + 2 C multiply-adds and as many loads.
    threads   one; a group is what a thread takes (fused_step.py)

The data are centred: x - m for x, b + m W1 for b. So digits are not lost where x is far from 0,
b and W1 x large and h small. m is the mean of the group's first tile on a grid as coarse as the
spread: 0 where x lies around 0, and a number of few bits, so that x - m rounds nothing away.

Numbers of registers are chosen by the processor, what is added to what is not: a lane adds the
samples that fall to it in their order.
"""

import math

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from . import fused_tables as k
from .common import pointer, row
from .fused_addresses import call, head_of, itemsize, lanes, matrix, table_of, vector
from .fused_products import add_dots
from .fused_samples import samples_of
from .fused_vectors import sum_lanes
from .lane_sums import total
from .vectors import HARDWARE_BYTES, REGISTER_BYTES, Emitter

UNITS = 4  # of them a pass over the samples takes so many at a time: units are padded to it
REGISTERS = 32 if HARDWARE_BYTES == 64 else 16
SPARE = 6  # registers that a block needs beside its sums
MASKS = HARDWARE_BYTES == 64  # AVX-512 has registers of masks
FAR = 1e30  # means beyond are no numbers to centre by


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


# ---- a group ----
@row
def _centre(x, n, room):
    """The mean of x[:n], to the next multiple of a power of 2 above the standard deviation."""
    mean = total((x,), (), 0, n)[0] / n
    if not abs(mean) < FAR:
        return 0.0
    kind = type(x[0])
    near = kind(mean)
    for t in range(n):
        room[t] = (x[t] - near) * (x[t] - near)
    spread = math.sqrt(total((room,), (), 0, n)[0] / n)
    if not 0.0 < spread < FAR:
        return float(near)
    grid = math.ldexp(1.0, math.frexp(spread)[1])
    return math.floor(mean / grid + 0.5) * grid


@row
def _units(w1, b1, w2, b2, means, units, first):
    """W1, b + m W1 and V of all units to `units`, and what z starts from.

    V are the weights of the outputs, less those of the last one where D is C - 1.
    """
    inputs, outputs, C = w1.shape[0], first.shape[0], w2.shape[1]
    for u in range(w1.shape[1]):
        bias = float(b1[u])
        for i in range(inputs):
            units[i, u] = w1[i, u]
            bias += means[i] * w1[i, u]
        units[inputs, u] = type(b1[u])(bias)
    for d in range(outputs):
        for u in range(w2.shape[0]):
            units[inputs + 1 + d, u] = w2[u, d] - w2[u, C - 1] if outputs < C else w2[u, d]
        first[d] = b2[d] - b2[C - 1] if outputs < C else b2[d]


@row
def _gradients(units, s, biases, endless, means, hidden, db1, dw1, dw2):
    """The group's gradients from the masked sums s ((I + 1) D, units)."""
    inputs, outputs, lane = dw1.shape[0], s.shape[0] // (dw1.shape[0] + 1), lanes(s[0, 0])
    C = dw2.shape[1]
    for u in range(hidden):
        db1[u] = units[inputs + 1, u] * s[0, u]
    for d in range(1, outputs):
        for u in range(hidden):
            db1[u] += units[inputs + 1 + d, u] * s[d, u]
    for i in range(inputs):
        more = sum_lanes(endless, i * lane)
        mean = type(more)(means[i])
        for u in range(hidden):
            dw1[i, u] = db1[u] * mean + more
        for d in range(outputs):
            for u in range(hidden):
                dw1[i, u] += units[inputs + 1 + d, u] * s[(i + 1) * outputs + d, u]
    for d in range(outputs):
        dw2[hidden, d] = sum_lanes(biases, d * lane)
        none = dw2[hidden, d] * type(s[0, 0])(0)  # a gradient that is no number, times 0
        for u in range(hidden):
            dw2[u, d] = units[inputs, u] * s[d, u] + none
        for i in range(inputs):
            for u in range(hidden):
                dw2[u, d] += units[i, u] * s[(i + 1) * outputs + d, u]
    if outputs < C:
        for u in range(hidden + 1):
            dw2[u, C - 1] = -dw2[u, 0]
            for d in range(1, outputs):
                dw2[u, C - 1] -= dw2[u, d]


@pointer
def narrow_group(tables, work, X, y, order, first, stop, gradient, out, like, inputs, outputs):
    """`fused_group.group` for a network whose head has NARROW: units, and some that do nothing.

    inputs, outputs  I and D, literals
    """
    head = head_of(tables)
    table = table_of(head)
    size, lane, pitch, tile = itemsize(like), lanes(like), head[k.PITCH], head[k.TILE]
    hidden, C, padded = table[0, k.OUTPUTS], table[1, k.OUTPUTS], head[k.NARROW]
    rows = (inputs + 1) * outputs
    x = matrix(work + table[0, k.X_AT] * size, inputs, pitch, like)
    ones = matrix(work + (table[0, k.X_AT] + inputs * pitch) * size, 1, pitch, like)
    z = matrix(work + table[1, k.D_AT] * size, C, pitch, like)
    zeros = matrix(work + head[k.ZEROS_AT] * size, 1, pitch, like)
    p = matrix(work + head[k.PRODUCTS_AT] * size, rows, pitch, like)
    masks = work + head[k.GATES_AT] * size
    sums = vector(work + head[k.MASKED_AT] * size, rows * padded * lane, like)
    s = matrix(work + head[k.FOLDED_AT] * size, rows, padded, like)
    flat = vector(work + head[k.FOLDED_AT] * size, rows * padded, like)
    biases = vector(work + table[1, k.LANES_AT] * size, outputs * lane, like)
    endless = vector(work + table[0, k.LANES_AT] * size, inputs * lane, like)
    units = matrix(work + head[k.UNITS_AT] * size, inputs + 1 + outputs, padded, like)
    start = vector(work + head[k.START_AT] * size, outputs, like)
    means = vector(work + head[k.MEANS_AT] * size, inputs, 0.0)
    w1, b1 = matrix(table[0, k.W], inputs, hidden, like), vector(table[0, k.B], hidden, like)
    w2, b2 = matrix(table[1, k.W], hidden, C, like), vector(table[1, k.B], C, like)

    n = min(tile, stop - first)
    samples_of(head, table, work, X, y, order, first, n, n, x, like)
    for i in range(inputs):
        means[i] = _centre(x[i], n, p[0])
    _units(w1, b1, w2, b2, means, units, start)
    sums[:] = like
    biases[:] = like
    endless[:] = like
    totals = vector(out, 2, 0.0)
    totals[0] = totals[1] = 0.0
    for at in range(first, stop, tile):
        n = min(tile, stop - at)
        width = (n + lane - 1) // lane * lane
        targets = samples_of(head, table, work, X, y, order, at, n, width, x, like)
        for i in range(inputs):
            mean = type(like)(means[i])
            for t in range(width):
                x[i, t] -= mean
        narrow_forward(inputs, outputs, units, start, x, z, masks, width)
        if outputs < C:
            z[C - 1, :width] = like
        call(head[k.LOSS_POINTER], 0, (tables, work, targets, at, n, width, out, like))
        for d in range(outputs):
            for t in range(width):
                p[d, t] = z[d, t]
            for i in range(inputs):
                for t in range(width):
                    p[(i + 1) * outputs + d, t] = x[i, t] * z[d, t]
        add_dots(ones, z, biases, 1, outputs, width)
        add_dots(x, zeros, endless, inputs, 1, width)  # infinity times 0 is no number
        narrow_backward(inputs, outputs, units, x, p, masks, width, sums, ones)
    for register in range(0, rows * padded, lane):
        fold(sums, register, flat, register)
    g1 = gradient + table[0, k.GRADIENT_AT] * size
    dw1, db1 = matrix(g1, inputs, hidden, like), vector(g1 + inputs * hidden * size, hidden, like)
    dw2 = matrix(gradient + table[1, k.GRADIENT_AT] * size, hidden + 1, C, like)
    _gradients(units, s, biases, endless, means, hidden, db1, dw1, dw2)
    return 0
