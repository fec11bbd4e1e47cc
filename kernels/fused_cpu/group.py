"""A group of samples of a training step, tile by tile: forward, loss, backward.

A tile of samples goes through all layers and back while it lies in a core's cache, and adds its
gradient to the group's sums: X and the targets are read once, nothing else leaves the cache. In
a tile samples are columns, (features, width), and every loop runs along them.

What the functions know about a network lies in the tables (tables.py); `work` is the
address of a thread's workspace, `like` a zero of the dtype.
"""

from ..cpu.common import jit, pointer, row
from . import tables as k
from .addresses import call, head_of, itemsize, lanes, matrix, table_of, tile_of, vector
from .products import add_dots, multiply
from .samples import samples_of
from .tiles import multiply_tile, to_rows
from .vectors import ADD, BIAS, PLAIN, ZEROS, sum_lanes


# ---- a tile ----
@row
def _forward(tables, head, table, work, n, width, row, step, like):
    """From the samples in the first stage's x to the scores in the last stage's d."""
    last = head[k.STAGES] - 1
    for s in range(last + 1):
        inputs, outputs = table[s, k.INPUTS], table[s, k.OUTPUTS]
        x = tile_of(head, work, table[s, k.X_AT], inputs, like)
        at = table[s, k.D_AT] if s == last else table[s + 1, k.X_AT]
        y = tile_of(head, work, at, outputs, like)
        w, b = (
            vector(table[s, k.PACKED], inputs * outputs, like),
            vector(table[s, k.B], outputs, like),
        )
        multiply(w, True, 1, outputs, x, y, outputs, inputs, width, BIAS, b, table[s, k.END], y)
        if s == last:
            break
        if table[s, k.ACTIVATION_POINTER]:
            call(table[s, k.ACTIVATION_POINTER], 0, (tables, work, s, width, like))
        if table[s, k.DROPOUT]:
            call(head[k.DROPOUT_POINTER], 0, (tables, work, s, n, width, row, step, like))


@row
def _backward(tables, head, table, work, gradient, n, width, into, like):
    """Adds the tile's gradients to the registers and, `into` ADD, to the sums at the address
    `gradient`; PLAIN: they become the sums.
    """
    pitch, size = head[k.PITCH], itemsize(like)
    for back in range(head[k.STAGES]):
        s = head[k.STAGES] - 1 - back
        inputs, outputs = table[s, k.INPUTS], table[s, k.OUTPUTS]
        x = tile_of(head, work, table[s, k.X_AT], inputs + 1, like)
        d = tile_of(head, work, table[s, k.D_AT], outputs, like)
        if table[s, k.BY_LANES]:
            count = (inputs + 1) * outputs * lanes(like)
            registers = vector(work + table[s, k.LANES_AT] * size, count, like)
            add_dots(x, d, registers, inputs + 1, outputs, width)
        else:
            padded = table[s, k.PADDED]
            turned = matrix(work + head[k.TURNED_AT] * size, n, padded + lanes(like), like)
            to_rows(d, n, outputs, padded, turned)
            sums = matrix(gradient + table[s, k.GRADIENT_AT] * size, inputs + 1, padded, like)
            flat = vector(work + table[s, k.X_AT] * size, (inputs + 1) * pitch, like)
            rows = inputs + 1
            multiply(flat, False, pitch, 1, turned, sums, rows, n, padded, ZEROS, flat, into, sums)
        if s == 0:
            break
        p = s - 1
        before = tile_of(head, work, table[p, k.D_AT], inputs, like)
        w = vector(table[s, k.W], inputs * outputs, like)
        end = table[p, k.GRADIENT_END]
        multiply(w, False, outputs, 1, d, before, inputs, outputs, width, ZEROS, w, end, x)
        if table[p, k.GRADIENT_POINTER]:
            call(table[p, k.GRADIENT_POINTER], 0, (tables, work, p, width, like))
        if table[p, k.DROPOUT]:
            mask = tile_of(head, work, table[p, k.MASK_AT], inputs, like)
            multiply_tile(before, mask, before, inputs, width)


# ---- a group of samples ----
@jit
def clear(a):
    """a = 0."""
    for j in range(a.shape[0]):
        a[j] = a.dtype.type(0)


@pointer
def group(
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
    """Samples first..stop-1 of the block at X and y; sample 0 of it is row `row` of the batch.

    order            see samples.py
    gradient, out    the addresses of the group's sums, and of its totals: losses, right answers and
                     weights
    inputs, outputs  of the network: `narrow_group`, which is called in the same way, has a function
                     for each pair
    """
    head = head_of(tables)
    table = table_of(head)
    size, lane = itemsize(like), lanes(like)
    for s in range(head[k.STAGES]):
        if table[s, k.BY_LANES]:
            count = (table[s, k.INPUTS] + 1) * table[s, k.OUTPUTS] * lane
            clear(vector(work + table[s, k.LANES_AT] * size, count, like))
    samples = tile_of(head, work, table[0, k.X_AT], inputs, like)
    clear(vector(out, k.TOTAL_FIELDS, 0.0))
    for at in range(first, stop, head[k.TILE]):
        n = min(head[k.TILE], stop - at)
        width = (n + lane - 1) // lane * lane
        targets = samples_of(tables, head, work, X, y, order, at, n, width, samples, like)
        _forward(tables, head, table, work, n, width, row + at, step, like)
        call(head[k.LOSS_POINTER], 0, (tables, work, targets, at, n, width, out, like))
        into = PLAIN if at == first else ADD
        _backward(tables, head, table, work, gradient, n, width, into, like)
    for s in range(head[k.STAGES]):
        if table[s, k.BY_LANES]:
            _add_lanes(table, work, gradient, s, like)
    return 0


@row
def _add_lanes(table, work, gradient, s, like):
    """The registers of a stage become numbers: the lanes of each are added."""
    size, lane = itemsize(like), lanes(like)
    rows, outputs = table[s, k.INPUTS] + 1, table[s, k.OUTPUTS]
    registers = vector(work + table[s, k.LANES_AT] * size, rows * outputs * lane, like)
    sums = matrix(gradient + table[s, k.GRADIENT_AT] * size, rows, table[s, k.PADDED], like)
    for i in range(rows):
        for o in range(outputs):
            sums[i, o] = sum_lanes(registers, (i * outputs + o) * lane)
