"""A training step, depth first: tiles of samples forward and back, then the update.

    formula   the gradient of the mean loss over N samples, exactly: the sum over tiles of each
              tile's gradient, times 1 / N (1 / (N O) where the loss is a mean over O outputs).
              Where samples have weights, a gradient counts as much, and N is the sum of these;
              where that is 0, so is the gradient
    bits      those of kernels/fused_cuda/, but for the order of sums over samples:
              docs/decisions/one-answer.md
    shapes    X (N, I) rows in memory; in a tile samples are columns, (features, width)
    threads   a step is cut into groups of samples by their number alone. Each group sums its
              gradient in a row of its own; then the network is cut into pieces, by its widths
              alone, and the rows are added without rounding, piece by piece. Threads take groups,
              wait for each other, and take pieces.
    traffic   X and the targets are read once; everything else stays in a core's cache
    launch    `train` on one thread, for one step or many; other threads may run it as
              followers, and stay for the calls to come

What the functions know about a network lies in the tables of tables.py, and what only some
networks need is called through pointers there. So one compiled function for each dtype serves all
networks, none waits for the code of others, and a call passes little. `like` is a zero of the
dtype, `work` the address of a thread's workspace.
"""

import numpy as np

from ..cpu.common import jit, row
from ..cpu.waiting import APART, FOREVER, SHIFT, add, claim, clock, look, put, reached, wait
from . import tables as k
from .addresses import call, head_of, itemsize, matrix, table_of, vector
from .exact import LOSS_WORDS, WORDS, add_losses, losses_of
from .products import pack
from .update import rate_at

WHOLE_GRADIENT = k.COLLECT | k.FRESH | k.FINISH  # goes from the groups' sums into the update
LOST = 30_000_000  # ns for a step that nobody opens


@row
def _open(cells, turn):
    """All groups and pieces of this turn can be taken."""
    for cell in (k.GROUPS_CLAIMED, k.GROUPS_DONE, k.PIECES_CLAIMED, k.PIECES_DONE):
        put(cells, cell * APART, turn << SHIFT)
    put(cells, k.OPENED * APART, turn)


@row
def _pack_weights(head, table, like):
    """For the first step of a call; a step packs them for the next."""
    for s in range(head[k.STAGES]):
        if table[s, k.PACKED]:
            inputs, outputs = table[s, k.INPUTS], table[s, k.OUTPUTS]
            w = vector(table[s, k.W], inputs * outputs, like)
            packed = vector(table[s, k.PACKED], inputs * outputs, like)
            pack(w, 0, inputs, inputs, outputs, packed)


@row
def _weight(head, work, totals, weights, known, like):
    """The sum of the samples' weights, of all groups or, where it is `known`, from its words.

    In words of this thread's own: to read them is to carry them.
    """
    words = vector(work + head[k.ROOM_AT] * itemsize(like), LOSS_WORDS, np.int64(0))
    for i in range(LOSS_WORDS):
        words[i] = weights[i] if known else 0
    if not known:
        add_losses(totals, words, k.WEIGHT_TOTAL)
    return losses_of(words)


@row
def _add_weights(totals, weights, fresh):
    """The weights of the groups' samples to their words, `fresh` ones or those of earlier calls."""
    if fresh:
        for i in range(LOSS_WORDS):
            weights[i] = 0
    add_losses(totals, weights, k.WEIGHT_TOTAL)


@row
def _sum_up(totals, counts, pieces, penalties, rules, measured, iteration, what, weight):
    """What a step has measured, from the groups' totals and the pieces' penalties.

    counts  the end of the words: those of the losses, and right answers
    weight  samples, or the sum of their weights
    """
    right = LOSS_WORDS + k.RIGHT_ANSWERS
    if what & k.COLLECT:
        if what & k.FRESH:
            for i in range(right + 1):
                counts[i] = 0
        add_losses(totals, counts)
        for g in range(totals.shape[0]):
            counts[right] += np.int64(totals[g, 1])
    if what & k.FINISH:
        measured[k.LOSSES] = losses_of(counts)
        measured[k.RIGHT] = counts[right]
        penalty = 0.0
        for p in range(pieces):
            penalty += penalties[p]
        measured[k.PENALTY] = penalty
        measured[k.RATE] = rate_at(rules, iteration)
        measured[k.WEIGHT] = weight


@row
def _publish(cells, calls, X, y, n, row, per, steps, iteration, count, what, turn, along, order):
    """Those that follow learn of this call. The turn is 0 while the table changes."""
    put(cells, k.CALLED * APART, 0)
    put(calls, k.X, X)
    put(calls, k.Y, y)
    put(calls, k.N, n)
    put(calls, k.ROW, row)
    put(calls, k.PER, per)
    put(calls, k.STEPS_OF_CALL, steps)
    put(calls, k.ITERATION, iteration)
    put(calls, k.COUNT, count)
    put(calls, k.WHAT, what)
    put(calls, k.ALONG, along)
    put(calls, k.ORDER, order)
    put(cells, k.CALLED * APART, turn)


@jit
def next_call(cells, last, signal, seen, most):
    """The turn of a call after `last`; 0 where none comes for `most` ns, or the signal moves."""
    looks, waited, began = 0, 0, clock()
    while waited < most:
        if look(signal, 0) != seen:
            return 0
        turn = look(cells, k.CALLED * APART)
        if turn > last:
            return turn
        waited = wait(looks, began, waited)
        looks += 1
    return 0


@jit
def train(
    tables,
    work,
    role,
    X,
    y,
    n,
    row,
    per,
    steps,
    iteration,
    count,
    what,
    turn,
    along,
    order,
    signal,
    seen,
    most,
    like,
):
    """The parts of a step that `what` names, `steps` times, on this thread.

    GROUPS    take groups of `per` of the n samples at X, y until none is left, sum their
              gradients, and wait until all groups are done; sample 0 is row `row` of the batch
    COLLECT   take pieces of the network and add the groups' sums to the words; with FRESH these
              start from 0
    FINISH    gradients and penalties of the pieces to the layers, and the update, step `iteration`

    role ALONE   this thread does all
         LEAD    it opens each step and ends it; threads that follow help
         FOLLOW  help in every call that is led, whose arguments it gets from there, until for
                 `most` nanoseconds nothing has come, or signal[0] is no longer `seen`
         JOIN    help in this one call, whose arguments are known

    Whoever comes late, even after the leader has gone, finds nothing to take and touches nothing.

    tables  address of head
    X, y    addresses; y: int32 classes, or rows of targets where head[SOFT] says so
    count   what the gradient is a mean over: samples of the batch, times outputs where the loss
            is a mean over them. Where samples have weights, their sum takes the samples' place
    turn    number of the first step among all that these tables have seen: see waiting.py
    along   samples from the batch of one step to that of the next; 0: all have the same
    order   the address of the row numbers of the samples, or 0: see samples.py
    signal  an address
    head[MEASURED] (steps, 5): sum of losses, right answers, penalty, learning rate, samples or the
    sum of their weights
    """
    head = head_of(tables)
    table = table_of(head)
    rules = vector(head[k.RULES], k.RULE_FIELDS, 0.0)
    cells = vector(head[k.CELLS], k.CELLS_FIELDS * APART, np.int64(0))
    calls = vector(head[k.CALL_TABLE], k.CALL_FIELDS, np.int64(0))
    pieces, size = head[k.PIECE_COUNT], head[k.GRADIENTS]
    exact = head[k.EXACT] + WORDS * size * 8
    counts = vector(exact, LOSS_WORDS + k.AFTER, np.int64(0))
    weights = vector(exact + counts.shape[0] * 8, LOSS_WORDS, np.int64(0))
    penalties = vector(head[k.PENALTIES], pieces, 0.0)
    shape = table[0, k.INPUTS], table[head[k.STAGES] - 1, k.OUTPUTS]
    wide = shape[0] * itemsize(like)
    leads, last = role == k.ALONE or role == k.LEAD, 0
    if role == k.LEAD:
        _publish(cells, calls, X, y, n, row, per, steps, iteration, count, what, turn, along, order)
    if role == k.FOLLOW:
        add(cells, k.PRESENT * APART, 1)
    while True:
        if role == k.FOLLOW:
            last = next_call(cells, last, vector(signal, 1, np.int64(0)), seen, most)
            if last == 0:
                add(cells, k.PRESENT * APART, -1)
                break
            X, y, n, row = look(calls, k.X), look(calls, k.Y), look(calls, k.N), look(calls, k.ROW)
            per, steps = look(calls, k.PER), look(calls, k.STEPS_OF_CALL)
            iteration, count = look(calls, k.ITERATION), look(calls, k.COUNT)
            what, turn = look(calls, k.WHAT), last
            along, order = look(calls, k.ALONG), look(calls, k.ORDER)
            if look(cells, k.CALLED * APART) != turn:  # it has changed meanwhile
                continue
        target_bytes = 4
        if head[k.SOFT]:
            target_bytes = shape[1] * itemsize(like)
        groups, scale = (n + per - 1) // per, np.float64(type(like)(1) / type(like)(count))
        at_once = what & WHOLE_GRADIENT == WHOLE_GRADIENT
        if leads and steps and what & k.GROUPS:  # none when it is called to be compiled
            _pack_weights(head, table, like)
        totals = matrix(head[k.TOTALS], groups, k.TOTAL_FIELDS, 0.0)
        weighted, weight = head[k.WEIGHTS] != 0, float(n)
        if not what & k.GROUPS:
            weighted = counts[LOSS_WORDS + k.ROWS_WEIGHED] > 0
        measured = matrix(head[k.MEASURED], steps, k.MEASURED_FIELDS, 0.0)
        for step in range(steps):
            now, t = turn + step, iteration + step
            if leads:
                _open(cells, now)
            elif not reached(cells, k.OPENED * APART, now, LOST):
                break
            if what & k.GROUPS:
                while True:
                    g = claim(cells, k.GROUPS_CLAIMED * APART, now, groups)
                    if g < 0:
                        break
                    first, stop = g * per, min(n, (g + 1) * per)
                    at = head[k.SUMS] + g * size * itemsize(like)
                    out = head[k.TOTALS] + g * k.TOTAL_FIELDS * 8
                    begin = step * along
                    if order:
                        places = X, y, order + begin * 8
                    else:
                        places = X + begin * wide, y + begin * target_bytes, order
                    given = (tables, work, *places, first, stop, row, step, at, out, like, *shape)
                    call(head[k.GROUP_POINTER], 0, given)
                    add(cells, k.GROUPS_DONE * APART, 1)
                reached(cells, k.GROUPS_DONE * APART, (now << SHIFT) + groups, FOREVER)
            weighs = weighted and what & k.FINISH != 0  # and has not yet: whoever has a piece does
            while what & (k.COLLECT | k.FINISH):
                p = claim(cells, k.PIECES_CLAIMED * APART, now, pieces)
                if p < 0:
                    break
                if weighs:
                    weight = _weight(head, work, totals, weights, not at_once, like)
                    mean = type(like)(weight * (count // n))
                    scale = np.float64(type(like)(1) / mean) if weight != 0.0 else 0.0
                    weighs = False
                if what & k.COLLECT and not at_once:
                    call(head[k.COLLECT_POINTER], 0, (tables, p, groups, what & k.FRESH, like))
                if what & k.FINISH:
                    summed = groups if at_once else 0
                    penalties[p] = call(
                        head[k.UPDATE_POINTER], 0.0, (tables, p, summed, scale, t, like)
                    )
                add(cells, k.PIECES_DONE * APART, 1)
            if leads:
                if what & (k.COLLECT | k.FINISH):
                    reached(cells, k.PIECES_DONE * APART, (now << SHIFT) + pieces, FOREVER)
                if weighs:  # others have had all pieces
                    weight = _weight(head, work, totals, weights, not at_once, like)
                if weighted and what & k.COLLECT:
                    _add_weights(totals, weights, what & k.FRESH)
                _sum_up(totals, counts, pieces, penalties, rules, measured[step], t, what, weight)
        if role != k.FOLLOW:
            break
