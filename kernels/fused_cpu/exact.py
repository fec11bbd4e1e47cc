"""Sums without rounding: every number of a group becomes three whole numbers, which are added up.

    formula   x = (w2 2^102 + w1 2^51 + w0) 2^-70, rounded once, to a multiple of 2^-70:
                  a = rint(x 2^-32), b = rint((x 2^-32 - a) 2^51), c = rint(rest of it 2^51)
              are added to w2, w1 and w0. What is no number, or 2^62 and beyond, is poison: w2
              becomes 2^52, and the sum is NaN.
    carry     the one form of a sum: |w0|, |w1| <= 2^50; what is more goes to the next word
    value     ((w2 2^51 + w1) 2^51 + w0) 2^-70 in float64, of the words after `carry`

Whole numbers have no order: the sum is a function of the numbers alone, however they were
grouped, whoever added them. |a| < 2^30 and |b|, |c| <= 2^50: 2^20 groups in a batch and 2^10
processes overflow nothing, and |w2| >= 2^51 means poison wherever it was put in.

A float64 below 2^51 that is added to 1.5 2^52 has its nearest whole number in its lowest bits: so
rounding and conversion are one addition, the bits are added as integers, and 1.5 2^52 is
subtracted once, for all. Products here are by powers of two and exact: a machine without
multiply-add has the same bits.

Sums of losses, two numbers a group, may be larger: they have four such triples, "windows", whose
units are 2^92 apart; a loss goes to the first one in which it fits.
"""

import math

import numpy as np

from ..cpu.common import jit, row

WORDS = 3
WINDOWS = 4  # of a sum of losses
LOSS_WORDS = WORDS * WINDOWS

BITS, LOW = 51, 70
LIMIT = 2.0**62  # of a number
UP, DOWN, UNIT = 2.0**BITS, 2.0 ** (LOW - 2 * BITS), 2.0**-LOW
GRID = 2.0 ** (52 - LOW)  # numbers from here on are multiples of the unit
WINDOW, WINDOW_DOWN = 2.0**92, 2.0**-92
ROUND = 1.5 * 2.0**52
ROUND_BITS = 0x4338 << 48  # of it
HALF = 1 << (BITS - 1)
POISON, POISONED = 1 << 52, 1 << 51


class Words:
    """The three words of as many numbers as `emit`, an Emitter for float64, has lanes."""

    def __init__(self, emit):
        self.emit, self.builder = emit, emit.builder
        self._words = [emit.variable(emit.integer(0)) for _ in range(WORDS)]
        self._bad = emit.variable(emit.no)

    def add(self, x):
        """A number more; `settle` afterwards."""
        emit, builder = self.emit, self.builder
        rest, scale = x, DOWN
        for word in self._words[::-1]:
            shifted = emit.fma(rest, emit.constant(scale), emit.constant(ROUND))
            bits = builder.bitcast(shifted, emit.integers())
            builder.store(builder.add(builder.load(word), bits), word)
            whole = builder.fsub(shifted, emit.constant(ROUND))
            rest = emit.fma(rest, emit.constant(scale), builder.fneg(whole))
            scale = UP
        far = builder.fcmp_unordered(">=", emit.absolute(x), emit.constant(LIMIT))
        builder.store(builder.or_(builder.load(self._bad), far), self._bad)

    def settle(self, count):
        """After `count` numbers, a 64-bit integer: the words, and poison where one did not fit."""
        emit, builder = self.emit, self.builder
        much = builder.mul(count, emit.index(ROUND_BITS))
        much = emit.splat(much) if emit.lanes else much
        for word in self._words:
            builder.store(builder.sub(builder.load(word), much), word)
        self._poison(builder.load(self._bad))

    def add_words(self, data, places):
        """Those in memory more; poison stays what it is, however often it is added."""
        emit, builder = self.emit, self.builder
        before = self._poisoned()
        found = [emit.load_integers(data, place) for place in places]
        for word, more in zip(self._words, found, strict=True):
            builder.store(builder.add(builder.load(word), more), word)
        self._poison(builder.or_(before, self._is_poison(found[-1])))

    def carry(self):
        """The one form of these sums."""
        emit, builder = self.emit, self.builder
        bits = emit.integer(BITS)
        for word, next_word in zip(self._words, self._words[1:], strict=False):
            low = builder.load(word)
            up = builder.ashr(builder.add(low, emit.integer(HALF)), bits)
            builder.store(builder.sub(low, builder.shl(up, bits)), word)
            builder.store(builder.add(builder.load(next_word), up), next_word)

    def store(self, data, places):
        """To memory."""
        for word, place in zip(self._words, places, strict=True):
            self.emit.store_integers(self.builder.load(word), data, place)

    def value(self):
        """In float64; NaN for poison."""
        emit, builder = self.emit, self.builder
        total = emit.zero
        for word in self._words[::-1]:
            shifted = builder.add(builder.load(word), emit.integer(ROUND_BITS))
            whole = builder.fsub(builder.bitcast(shifted, emit.type), emit.constant(ROUND))
            total = emit.fma(total, emit.constant(UP), whole)
        total = builder.fmul(total, emit.constant(UNIT))
        return builder.select(self._poisoned(), emit.constant(math.nan), total)

    def _poisoned(self):
        return self._is_poison(self.builder.load(self._words[-1]))

    def _is_poison(self, word):
        emit = self.emit
        shifted = self.builder.add(word, emit.integer(POISONED - 1))
        return self.builder.icmp_unsigned(">", shifted, emit.integer(2 * POISONED - 2))

    def _poison(self, where):
        for word, number in zip(self._words, (0, 0, POISON), strict=True):
            kept = self.builder.load(word)
            self.builder.store(self.builder.select(where, self.emit.integer(number), kept), word)


def value_of_one(emit, x):
    """The value of the words of one number: x on the grid."""
    builder = emit.builder
    size = emit.absolute(x)
    step = emit.copy_sign(emit.constant(GRID), x)
    near = builder.fsub(builder.fadd(x, step), step)
    near = builder.select(builder.fcmp_ordered("<", size, emit.constant(GRID)), near, x)
    far = builder.fcmp_unordered(">=", size, emit.constant(LIMIT))
    return builder.select(far, emit.constant(math.nan), near)


# ---- sums of losses: one number at a time ----
@row
def _carry(words, at):
    for i in range(at, at + WORDS - 1):
        up = (words[i] + HALF) >> BITS
        words[i] -= up << BITS
        words[i + 1] += up


@jit
def add_losses(totals, words, column=0):
    """The losses totals[:, 0] of groups more, in words (LOSS_WORDS,) int64; or other sums, those
    in another column.
    """
    for g in range(totals.shape[0]):
        x, window = totals[g, column], 0
        while window < WINDOWS - 1 and not abs(x) < LIMIT:
            x *= WINDOW_DOWN
            window += 1
        at = window * WORDS
        if not abs(x) < LIMIT:
            words[at + 2] = POISON
            continue
        rest = x * DOWN
        for i in range(at + WORDS - 1, at - 1, -1):
            whole = np.rint(rest)
            words[i] += np.int64(whole)
            rest = (rest - whole) * UP
    for window in range(WINDOWS):
        at, before = window * WORDS, words[window * WORDS + 2]
        _carry(words, at)
        if before >= POISONED or before <= -POISONED:
            words[at + 2] = POISON


@jit
def losses_of(words):
    """Their sum in float64; NaN for poison."""
    total = 0.0
    for window in range(WINDOWS - 1, -1, -1):
        at = window * WORDS
        _carry(words, at)
        if words[at + 2] >= POISONED or words[at + 2] <= -POISONED:
            return math.nan
        value = (float(words[at + 2]) * UP + float(words[at + 1])) * UP + float(words[at])
        value *= UNIT
        for _ in range(window):
            value *= WINDOW
        total += value
    return total
