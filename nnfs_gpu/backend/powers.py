"""Powers for Adam's corrections on the host, without a compiler: bits that every machine agrees on.

The same steps as `power` in kernels/cpu/optimizers.py, which compiled code calls. Called by the
backends of a GPU, and by its fused step for many steps at a time.
"""

from __future__ import annotations

from typing import Any

import numpy as np

SPLIT = 2.0**27 + 1  # cuts a float64 into halves of 26 bits (Veltkamp)


def power(x: float, n: int) -> float:
    """x^n for 0 <= x <= 1 and whole n >= 0, by squaring.

    What a product loses to rounding is kept beside it, so that the result rounds once.
    """
    high, low = 1.0, 0.0
    factor, rest = x, 0.0
    while n > 0:
        if n & 1:
            product = high * factor
            low = _lost(high, factor, product) + (high * rest + low * factor)
            high = product
        square = factor * factor
        rest = _lost(factor, factor, square) + 2.0 * factor * rest
        factor = square
        n >>= 1
    return high + low


def powers(x: float, n: np.ndarray) -> np.ndarray:
    """`power` of x to each of n (K,), to the bit: (K,) float64."""
    high, low = np.ones(len(n)), np.zeros(len(n))
    factor, rest = x, 0.0
    while n.any():
        odd, product = n & 1 == 1, high * factor
        low = np.where(odd, _lost(high, factor, product) + (high * rest + low * factor), low)
        high = np.where(odd, product, high)
        square = factor * factor
        rest = _lost(factor, factor, square) + 2.0 * factor * rest
        factor = square
        n = n >> 1
    return high + low


def _lost(a: Any, b: float, product: Any) -> Any:
    """a b - product, exactly (Dekker, 1971)."""
    a_high, b_high = SPLIT * a - (SPLIT * a - a), SPLIT * b - (SPLIT * b - b)
    a_low, b_low = a - a_high, b - b_high
    return a_low * b_low - (((product - a_high * b_high) - a_low * b_high) - a_high * b_low)
