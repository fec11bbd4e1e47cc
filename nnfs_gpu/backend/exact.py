"""Sums without rounding, as array code: what words are, how numbers become words and words a value.

A number x becomes three whole ones, x = (w2 2^102 + w1 2^51 + w0) 2^-70, rounded once, to the
nearest multiple of 2^-70; a tie goes to the even one. Whole numbers are added, which has no order:
the sum is a function of the numbers alone, whoever added which. What is not below 2^62 in size, or
no number, is poison: w2 becomes 2^52, and the sum NaN.

The specification of `exact_add` and `exact_value`, over NumPy's arrays or CuPy's; used besides by
`fused/tiles.py` for sums of losses. In CUDA C++ the same stands in kernels/fused_cuda/exact.cuh.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .protocol import Array

BITS, LOW = 51, 70
UP, DOWN, UNIT = 2.0**BITS, 2.0 ** (LOW - 2 * BITS), 2.0**-LOW
LIMIT = 2.0**62  # of a number
HALF = 1 << (BITS - 1)
POISON, POISONED = 1 << 52, 1 << 51
# Of losses, which may be larger: a loss goes to the first window in which it fits.
WINDOWS = tuple(2.0 ** (92 * window) for window in range(4))


def check_words(*words: Array) -> None:
    """TypeError for words that are not int64."""
    for word in words:
        if word.dtype != np.int64:
            raise TypeError(f"words: got {word.dtype}, expected int64; use zeros(shape, np.int64)")


def add(xp: Any, w0: Array, w1: Array, w2: Array, x: Array) -> None:
    """w0, w1, w2 += the words of x, carried: w0 and w1 end in [-2^50, 2^50). All of one shape.

    Raises TypeError for words that are not int64.
    """
    check_words(w0, w1, w2)
    found, fits = _words_of(xp, x)
    _add_words(xp, (w0, w1, w2), found, fits)


def add_all(xp: Any, w0: Array, w1: Array, w2: Array, x: Array) -> None:
    """The same for every row of x (N, K), at most 1,024 of them: words are (K,)."""
    found, fits = _words_of(xp, x)
    _add_words(xp, (w0, w1, w2), [word.sum(axis=0) for word in found], fits.all(axis=0))


def _words_of(xp: Any, x: Array) -> tuple[list[Array], Array]:
    """w0, w1 and w2 of each number, and whether it fits; those of poison are 0."""
    x = x.astype(np.float64)
    fits = xp.abs(x) < LIMIT  # NaN does not
    rest, found = xp.where(fits, x, 0.0) * DOWN, []
    for _ in range(3):
        whole = xp.rint(rest)
        found.append(whole.astype(np.int64))
        rest = (rest - whole) * UP  # both exact
    return found[::-1], fits


def _add_words(xp: Any, words: tuple[Array, Array, Array], more: list[Array], fit: Array) -> None:
    """words += more, carried; poison where they do not fit, and where it was."""
    w0, w1, w2 = words
    good = fit & ~_poisoned(w2)
    for word, one in zip(words, more, strict=True):
        word += one
    for word, after in ((w0, w1), (w1, w2)):
        up = (word + HALF) >> BITS
        word -= up << BITS
        after += up
    w2[...] = xp.where(good, w2, POISON)


def value(xp: Any, w0: Array, w1: Array, w2: Array) -> Array:
    """((w2 2^51 + w1) 2^51 + w0) 2^-70 in float64, of carried words; NaN for poison."""
    up = (w0 + HALF) >> BITS
    low, middle = w0 - (up << BITS), w1 + up
    up = (middle + HALF) >> BITS
    middle, high = middle - (up << BITS), w2 + up
    # Products are by powers of two: each line rounds once.
    upper = high * UP + middle
    total = (upper * UP + low) * UNIT
    return xp.where(_poisoned(high), np.nan, total)


def _poisoned(w2: Array) -> Array:
    return (w2 >= POISONED) | (w2 <= -POISONED)


def in_windows(xp: Any, losses: Array) -> Array:
    """What each window gets of losses (N,): x 2^(-92 k) in one of (N, 4), 0 in the others. What
    fits nowhere is in the last, and poison there.
    """
    x = losses.astype(np.float64)
    found, taken = [], xp.zeros(x.shape, np.bool_)
    for unit in WINDOWS[:-1]:
        here = (xp.abs(x) < LIMIT * unit) & ~taken
        found.append(xp.where(here, x / unit, 0.0))
        taken = taken | here
    found.append(xp.where(taken, 0.0, x / WINDOWS[-1]))
    return xp.stack(found, axis=1)


def of_windows(values: Array) -> Array:
    """The sum of losses from the values of the windows (4,)."""
    total = values[3] * WINDOWS[3]
    for window in (2, 1, 0):
        total = total + values[window] * WINDOWS[window]
    return total
