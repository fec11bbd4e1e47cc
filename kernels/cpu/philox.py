"""Philox4x32-10, and what is drawn from it: plain words, dropout, the spiral.

A block is a function of (counter, key) alone (Salmon, Moraes, Dror, Shaw: "Parallel random
numbers: as easy as 1, 2, 3", SC 2011), so every thread makes its own words. The counter is
(position low, position high, call, stream), the key the seed: see `random_words` in the
backend protocol.
"""

import math

import numpy as np

from .common import jit, row

M0, M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
W0, W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
MASK = np.uint64(0xFFFFFFFF)
SHIFT = np.uint64(32)
FOUR = np.uint64(4)
TWO = np.uint64(2)


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


@jit
def normal(word, other):
    """A standard normal number from two words (Box and Muller, 1958), in float64."""
    u = word * 2.0**-32 + 2.0**-33  # never 0, so the logarithm is finite
    return math.sqrt(-2.0 * math.log(u)) * math.cos(2.0 * math.pi * (other * 2.0**-32))


@row
def spiral_row(i, row, samples, g, points, labels):
    """Row `row` of the whole spiral into place i: r = position on the arm, angle + noise g."""
    c = row // samples
    r = (row - c * samples) / max(samples - np.uint64(1), np.uint64(1))
    angle = 10.0 * c + 10.0 * r + 0.5 * g
    points[i, 0] = r * math.sin(angle)
    points[i, 1] = r * math.cos(angle)
    labels[i] = c


@jit
def spiral(start, stop, samples, first, step, seed, stream, points, labels):
    """Places start..stop-1 of the result: place i is row `first` + i step of the whole.

    A block of words serves two rows. The arithmetic is float64: angles grow to 10 C.
    """
    for i in range(start, stop):
        row = first + i * step
        four = philox_block(row // TWO, seed, stream, np.uint64(0))
        odd = row % TWO == np.uint64(1)
        g = normal(four[2], four[3]) if odd else normal(four[0], four[1])
        spiral_row(i, row, samples, g, points, labels)
