"""Philox4x32-10 in array code: random words as a function of seed and position.

A block cipher run ten rounds over a counter (Salmon, Moraes, Dror, Shaw: "Parallel random
numbers: as easy as 1, 2, 3", SC 2011). There is no state to carry, so a thread makes the
words it needs without knowing the others: the property that lets every backend draw the
same dropout masks and the same data. Called by `NumpyBackend`; `kernels/cpu/philox.py` holds
the same rounds for one block.
"""

from __future__ import annotations

import operator
from typing import Any

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)  # of the two halves of a round
KEY_STEPS = (0x9E3779B9, 0xBB67AE85)  # golden ratio and sqrt(3) - 1, added to the key
ROUNDS = 10
MASK = 0xFFFFFFFF

# What the words are for: a number in the counter keeps the uses apart.
STREAM_PLAIN, STREAM_DROPOUT, STREAM_SPIRAL, STREAM_ORDER = 0, 1, 2, 3


def counter(seed: int, stream: int, call: int) -> tuple[int, int, int]:
    """The three as Python ints, each small enough for its place in the key or the counter.

    Raises TypeError for what is no whole number, ValueError for one that does not fit.
    """
    numbers = []
    for name, value, bits in (("seed", seed, 64), ("stream", stream, 32), ("call", call, 32)):
        try:
            number = operator.index(value)
        except TypeError:
            raise TypeError(f"{name}: got {value!r}, expected a whole number") from None
        if not 0 <= number < 1 << bits:
            raise ValueError(f"{name}: got {number}, expected 0 to 2^{bits} - 1")
        numbers.append(number)
    return numbers[0], numbers[1], numbers[2]


def words(xp: Any, first: int, count: int, seed: int, stream: int, call: int) -> Any:
    """Words first..first+count-1 as uint32 (count,); `xp` is NumPy or works like it.

    Raises as `counter`.
    """
    first, count = operator.index(first), operator.index(count)
    first_block, last_block = first // 4, (first + count + 3) // 4
    block = xp.arange(first_block, last_block, dtype=xp.uint64)
    flat = blocks(xp, block, seed, stream, call).reshape(-1)
    skip = first - 4 * first_block
    return flat[skip : skip + count]


def blocks(xp: Any, block: Any, seed: int, stream: int, call: int) -> Any:
    """The four words of each block, uint32 (count, 4), whose numbers are in `block`, uint64
    (count,). Raises as `counter`.
    """
    seed, stream, call = counter(seed, stream, call)
    mask = xp.uint64(MASK)
    shift = xp.uint64(32)
    c0, c1 = block & mask, block >> shift
    c2, c3 = xp.full_like(block, call), xp.full_like(block, stream)
    k0, k1 = seed & MASK, seed >> 32
    for _ in range(ROUNDS):
        low, high = c0 * xp.uint64(MULTIPLIERS[0]), c2 * xp.uint64(MULTIPLIERS[1])
        c0, c1, c2, c3 = (
            (high >> shift) ^ c1 ^ xp.uint64(k0),
            high & mask,
            (low >> shift) ^ c3 ^ xp.uint64(k1),
            low & mask,
        )
        k0, k1 = (k0 + KEY_STEPS[0]) & MASK, (k1 + KEY_STEPS[1]) & MASK
    return xp.stack([c0, c1, c2, c3], axis=1).astype(xp.uint32)


def keep_below(keep: float) -> int:
    """The bound of dropout: an element is kept where its word is below round(keep 2^32)."""
    below = round(keep * 2**32) if 0 < keep <= 1 else 0
    if not below:
        raise ValueError(
            f"dropout: got keep = {keep!r}, expected the fraction that is kept, above 0 and at "
            "most 1; a layer with dropout rate r keeps 1 - r"
        )
    return below


def spiral_rows(
    samples: int, classes: int, start: int, stop: int | None, step: int
) -> tuple[int, range]:
    """(samples, rows) of Python ints; ValueError for rows that the spiral has not."""
    samples, whole = int(samples), int(samples) * int(classes)
    start, stop, step = int(start), whole if stop is None else int(stop), int(step)
    if step < 1:
        raise ValueError(f"spiral: got a step of {step}, expected 1 or more: every step-th row")
    if not 0 <= start <= stop <= whole:
        raise ValueError(
            f"spiral: got rows {start} to {stop}, expected a range within 0 to {whole}, "
            f"the {samples} samples of each of {classes} classes"
        )
    return samples, range(start, stop, step)
