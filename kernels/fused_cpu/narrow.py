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
    threads   one; a group is what a thread takes (step.py)

The data are centred: x - m for x, b + m W1 for b. So digits are not lost where x is far from 0,
b and W1 x large and h small. m is the mean of the group's first tile on a grid as coarse as the
spread: 0 where x lies around 0, and a number of few bits, so that x - m rounds nothing away.

The processor decides how many registers are used, but not what is added to what: a lane adds
its own samples, in their order.
"""

import math

from ..cpu.common import pointer, row
from ..cpu.lane_sums import total
from . import tables as k
from .addresses import call, head_of, itemsize, lanes, matrix, table_of, vector
from .group import clear
from .narrow_blocks import fold, narrow_backward, narrow_forward
from .samples import samples_of
from .vectors import dots_11, sum_lanes

FAR = 1e30  # means beyond are no numbers to centre by


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
def narrow_group(
    tables,
    work,
    X,
    y,
    order,
    first,
    stop,
    row,
    step,
    gradient,
    out,
    like,
    inputs,
    outputs,
):
    """`fused_group.group` for a network whose head has NARROW: units, and some that do nothing.

    row, step        of dropout, which there is none of
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

    clear(sums)
    clear(biases)
    clear(endless)
    clear(vector(out, k.TOTAL_FIELDS, 0.0))
    for at in range(first, stop, tile):
        n = min(tile, stop - at)
        width = (n + lane - 1) // lane * lane
        targets = samples_of(tables, head, work, X, y, order, at, n, width, x, like)
        if at == first:
            for i in range(inputs):
                means[i] = _centre(x[i], n, p[0])
            _units(w1, b1, w2, b2, means, units, start)
        for i in range(inputs):
            mean = type(like)(means[i])
            for t in range(width):
                x[i, t] -= mean
        narrow_forward(inputs, outputs, units, start, x, z, masks, width)
        if outputs < C:
            clear(z[C - 1])
        call(head[k.LOSS_POINTER], 0, (tables, work, targets, at, n, width, out, like))
        for d in range(outputs):
            for t in range(width):
                p[d, t] = z[d, t]
            for i in range(inputs):
                for t in range(width):
                    p[(i + 1) * outputs + d, t] = x[i, t] * z[d, t]
        for d in range(outputs):
            dots_11(ones, 0, z, d, width, biases, outputs)
        for i in range(inputs):
            dots_11(x, i, zeros, 0, width, endless, 1)  # infinity times 0 is no number
        narrow_backward(inputs, outputs, units, x, p, masks, width, sums, ones)
    for register in range(0, rows * padded, lane):
        fold(sums, register, flat, register)
    g1 = gradient + table[0, k.GRADIENT_AT] * size
    dw1, db1 = matrix(g1, inputs, hidden, like), vector(g1 + inputs * hidden * size, hidden, like)
    dw2 = matrix(gradient + table[1, k.GRADIENT_AT] * size, hidden + 1, C, like)
    _gradients(units, s, biases, endless, means, hidden, db1, dw1, dw2)
    return 0
