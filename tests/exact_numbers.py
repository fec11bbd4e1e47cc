"""Sums without rounding in Python's integers, which know no limits: what words must be.

units_of(x)       x in units of 2^-70, the nearest whole number; None for poison
words_of(total)   the carried words (w0, w1, w2) of so many units
value_of(words)   their value in float64, NaN for poison
windows_of(losses)   the twelve words of a sum of losses
"""

from __future__ import annotations

import math
from fractions import Fraction

POISON = 1 << 52


def units_of(x: float) -> int | None:
    """Python rounds a tie to the even number, too."""
    if not abs(x) < 2.0**62:
        return None
    return round(Fraction(x) * 2**70)


def total_of(words) -> int:
    w0, w1, w2 = (int(word) for word in words)
    return w0 + (w1 << 51) + (w2 << 102)


def words_of(total: int, poison: bool = False) -> tuple[int, int, int]:
    """The one form: w0 and w1 in [-2^50, 2^50)."""
    found = []
    for _ in range(2):
        low = (total + 2**50) % 2**51 - 2**50
        found.append(low)
        total = (total - low) >> 51
    return (*found, POISON if poison else total)


def is_poison(w2) -> bool:
    return abs(int(w2)) >= 2**51


def added(words, x: float) -> tuple[int, int, int]:
    """The words after x has been added to them."""
    units = units_of(x)
    return words_of(total_of(words) + (units or 0), units is None or is_poison(words[2]))


def value_of(words) -> float:
    """((w2 2^51 + w1) 2^51 + w0) 2^-70, rounded twice: float() of a whole number rounds once."""
    w0, w1, w2 = words_of(total_of(words))
    if is_poison(w2):
        return math.nan
    upper = float((w2 << 51) + w1)
    return float(int(upper) * 2**51 + w0) * 2.0**-70


def windows_of(losses) -> list[int]:
    """Each loss in the first of four windows in which it fits."""
    words = [(0, 0, 0)] * 4
    for loss in losses:
        fits = (k for k in range(4) if abs(loss) < 2.0 ** (62 + 92 * k))
        window = next(fits, 3)
        words[window] = added(words[window], loss / 2.0 ** (92 * window))
    return [word for three in words for word in three]


def loss_of(words) -> float:
    """The sum of losses from twelve words."""
    total = 0.0
    for k in (3, 2, 1, 0):
        total += value_of(words[3 * k : 3 * k + 3]) * 2.0 ** (92 * k)
    return total
