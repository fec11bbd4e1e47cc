"""Philox4x32-10, and what is drawn from it: plain words, dropout, the spiral.

A block is a function of (counter, key) alone (Salmon, Moraes, Dror, Shaw: "Parallel random
numbers: as easy as 1, 2, 3", SC 2011), so every thread makes its own words. The counter is
(position low, position high, call, stream), the key the seed: see `random_words` in the
backend protocol.
"""

import math

import numpy as np

from .common import jit, row
from .elementary import log, log_near_one
from .turns import HALF_TURN, NOISE, sine_cosine, spiral_angle

M0, M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
W0, W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
MASK = np.uint64(0xFFFFFFFF)
SHIFT = np.uint64(32)
FOUR = np.uint64(4)
TWO = np.uint64(2)
HALF_ROOT = np.uint64(0xB504F334)  # sqrt(1/2) 2^32


@jit
def philox_block(position, seed, stream, call):
    """The four words of block `position`, as uint64 below 2^32. All arguments uint64."""
    c0, c1, c2, c3 = position & MASK, position >> SHIFT, call, stream
    k0, k1 = seed & MASK, seed >> SHIFT
    for _ in range(10):
        low, high = c0 * M0, c2 * M1
        c0, c1, c2, c3 = (
            (high >> SHIFT) ^ c1 ^ k0,
            high & MASK,
            (low >> SHIFT) ^ c3 ^ k1,
            low & MASK,
        )
        k0, k1 = (k0 + W0) & MASK, (k1 + W1) & MASK
    return c0, c1, c2, c3


@jit
def random_words(start, stop, seed, stream, call, words):
    """Blocks start..stop-1 into the flat uint32 array `words`; its end may cut a block."""
    count = np.uint64(words.shape[0])
    for block in range(start, stop):
        four = philox_block(block, seed, stream, call)
        first = block * FOUR
        for k in range(min(FOUR, count - first)):
            words[first + k] = four[k]


@jit
def dropout_forward(start, stop, x, keep_below, scale, seed, stream, call, y, mask):
    """Blocks of four elements: mask = scale where the word is below keep_below, else 0."""
    count = np.uint64(x.shape[0])
    for block in range(start, stop):
        four = philox_block(block, seed, stream, call)
        first = block * FOUR
        for k in range(min(FOUR, count - first)):
            kept = scale if four[k] < keep_below else x.dtype.type(0)
            mask[first + k] = kept
            y[first + k] = x[first + k] * kept


# ---- the spiral ----


@row
def normal(word, other, unit):
    """A standard normal number from two words (Box and Muller, 1958), of the type of `unit`.

    u = (word + 1/2) / 2^32 is never 0, so its logarithm is finite; near 1 that is taken from 1 - u,
    which float32 holds where it does not hold u.
    """
    real = type(unit)
    below = real(MASK - word) + real(0.5)
    above = real(word) + real(0.5)
    scale = real(2.0**-32)
    log_u = log_near_one(-below * scale) if word >= HALF_ROOT else log(above * scale)
    _, cosine = sine_cosine(other << np.uint64(30), unit)
    return math.sqrt(real(-2) * log_u) * cosine


@row
def spiral_row(i, row, samples, g, unit, points, labels):
    """Row `row` of the whole spiral into place i: r = position on the arm, angle + noise g."""
    real, last = type(unit), max(samples - np.uint64(1), np.uint64(1))
    c = row // samples
    j = row - c * samples
    angle = spiral_angle(c, j, last, np.int64(g * real(NOISE)))
    sine, cosine = sine_cosine(angle, unit)
    r = real(j) / real(last)
    points[i, 0] = r * sine
    points[i, 1] = r * cosine
    labels[i] = c


@jit
def spiral(start, stop, samples, first, step, seed, stream, points, labels):
    """Places start..stop-1 of the result: place i is row `first` + i step of the whole.

    A block of words serves two rows. Angles are whole numbers (`turns.py`); the rest is in the
    dtype of the points, in float32 within 1e-6 of the specification's float64.
    """
    unit = points.dtype.type(HALF_TURN)
    for i in range(start, stop):
        row = first + i * step
        four = philox_block(row // TWO, seed, stream, np.uint64(0))
        odd = row % TWO == np.uint64(1)
        word, other = (four[2], four[3]) if odd else (four[0], four[1])
        spiral_row(i, row, samples, normal(word, other, unit), unit, points, labels)
