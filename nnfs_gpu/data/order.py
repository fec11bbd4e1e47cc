"""The order of the samples in an epoch: a function of (seed, epoch), with no state between.

`order_of` is called by the training loop once an epoch. Up to ARRAY samples it is NumPy's
permutation, an array. Beyond, that array would take gigabytes and seconds on every rank: there it
is a cipher of the row's number, which makes any part of the order without the rest. The two are
different orders.

The cipher is a Feistel network on pairs: numbers 0..a b - 1, with a b just above n, are pairs
(left, right), and round after round one half is moved by a random function of the other:
    left = left + f(right) mod a,   right = right + f'(left) mod b,   left = ...
A round can be undone, whatever f is, so the whole is a bijection; and a number that leaves 0..n-1
is put in again until it comes out inside (Black and Rogaway, "Ciphers with arbitrary finite
domains", CT-RSA 2002). The random functions are tables of Philox words, of about sqrt(n) entries
a round. Four rounds are enough against whoever sees few outputs (Luby and Rackoff, SIAM J. Comput.
17(2), 1988); an epoch sees all, and there four can be told from chance, by rows whose places are
sqrt(n) apart. Eight cannot by anything that was tried (`tests/data/test_order.py`).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..backend import philox

ARRAY = 100_000_000  # samples up to which the order is an array
MOST = 1 << 44  # samples of the largest cipher: its tables are then 128 MiB
ROUNDS = 8
PART = 1 << 14  # numbers that go through all rounds together, in cache

Array = Any
Order = Any  # what has [start:stop] -> int64 (stop - start,): rows of the data


def order_of(samples: int, seed: int, epoch: int) -> Order:
    """The order of 0..samples-1 in `epoch`: `order[start:stop]` are rows, int64.

    An int64 array (NumPy's PCG64, O'Neill, 2014, seeded by both numbers, shuffles), or beyond
    ARRAY samples a `Cipher`. Raises ValueError for more than MOST samples.
    """
    if samples > ARRAY:
        return Cipher(samples, seed, epoch)
    return np.random.Generator(np.random.PCG64([seed, epoch])).permutation(samples)


class Cipher:
    """A bijection of 0..n-1, made where it is asked for; it looks like an int64 array (n,).

    n     1 to MOST
    key   seed (below 2^64) and epoch (below 2^32)

    Memory: tables of 32 sqrt(n) bytes.
    """

    dtype = np.dtype(np.int64)

    def __init__(self, n: int, seed: int, epoch: int):
        """Raises TypeError or ValueError for numbers out of range."""
        if not 1 <= n <= MOST:
            raise ValueError(f"order: got {n} samples, expected 1 to {MOST:,}; leave shuffle out")
        self.n, self.shape = n, (n,)
        self.left = math.isqrt(n - 1) + 1
        self.right = -(-n // self.left)
        self._tables = [self._table(number, seed, epoch) for number in range(ROUNDS)]

    def _table(self, number: int, seed: int, epoch: int) -> Array:
        """The random function of a round: of each value of one half what the other is moved by.

        A value is 64 random bits modulo the half's size, so that none is likelier than another by
        more than 2^-42.
        """
        of, moved = (self.right, self.left) if number % 2 == 0 else (self.left, self.right)
        first = number << 40  # the rounds' places in the stream of words
        words = philox.words(np, first, 2 * of, seed, philox.STREAM_ORDER, epoch)
        bits = words[0::2].astype(np.uint64) | words[1::2].astype(np.uint64) << np.uint64(32)
        return (bits % np.uint64(moved)).astype(np.uint32)

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, rows: slice) -> np.ndarray:
        """The rows at these places of the order: int64 (stop - start,)."""
        start, stop, step = rows.indices(self.n)
        places = np.arange(start, stop, step, dtype=np.int64)
        for begin in range(0, len(places), PART):
            part = places[begin : begin + PART]
            part[:] = self._walk(part)
        return places

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        """The whole of it, for those who hold all samples in memory anyway."""
        return self[:].astype(self.dtype if dtype is None else dtype, copy=False)

    def _walk(self, numbers: np.ndarray) -> Array:
        """Through the rounds until all are below n: one in sqrt(n) goes again."""
        found = self._rounds(numbers)
        outside = np.flatnonzero(found >= self.n)
        while len(outside):
            found[outside] = self._rounds(found[outside])
            outside = outside[found[outside] >= self.n]
        return found

    def _rounds(self, numbers: np.ndarray) -> Array:
        """All rounds over numbers below left x right."""
        left = numbers // self.right
        right = numbers - left * self.right
        for number, table in enumerate(self._tables):
            if number % 2 == 0:
                left = _moved(left, table[right], self.left)
            else:
                right = _moved(right, table[left], self.right)
        return left * self.right + right


def _moved(half: np.ndarray, by: np.ndarray, size: int) -> Array:
    """(half + by) mod size, of numbers below size."""
    moved = half + by
    moved -= size * (moved >= size)
    return moved
