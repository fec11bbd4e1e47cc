"""Sums without rounding at the edges, on every backend, against Python's whole numbers.

Zeros, denormals, ties of the grid, the largest numbers that fit and the first that do not, NaN and
infinity; the value of one number's words; any order and grouping; sums of a thousand processes;
losses of every size in their windows.
"""

from __future__ import annotations

import math

import exact_numbers
import numpy as np
import pytest
from helpers import host

from nnfs_gpu.backend import exact

GRID = 2.0**-70


def edges(dtype):
    """Numbers of the dtype, with both signs."""
    kind = np.finfo(dtype)
    ties = [GRID * (whole + 0.5) for whole in (0, 1, 2, 3, 2**20, 2**20 + 1)]
    near = [GRID * (0.5 + sign * 2.0**-20) for sign in (1, -1)]
    found = [0.0, kind.smallest_subnormal, kind.tiny, GRID, *ties, *near, 2.0**-18, 1 / 3, 1.0]
    found += [2.0**30 + 2.0**7, 2.0**31 - 2.0**8, 2.0**32, 2.0**61, 2.0**62, 2.0**100, np.inf]
    found += [np.nextafter(np.array(one, dtype), 0) for one in (2.0**-18, 2.0**62)]
    found = np.array([*found, kind.max], dtype)
    return np.concatenate([found, -found, [dtype.type(np.nan)]])


def words_of(backend, *numbers):
    """The words after these arrays have been added, one after the other, as NumPy arrays."""
    words = [backend.zeros(numbers[0].shape, np.int64) for _ in range(3)]
    for x in numbers:
        backend.exact_add(*words, backend.asarray(x, x.dtype))
    return words


@pytest.mark.parametrize("times", [1, 2, 5])
def test_words_at_the_edges(backend, times):
    x = edges(np.dtype(backend.dtype))
    found = np.array([host(backend, word) for word in words_of(backend, *[x] * times)])
    for words, one in zip(found.T, x.tolist(), strict=True):
        expected = (0, 0, 0)
        for _ in range(times):
            expected = exact_numbers.added(expected, one)
        assert tuple(words) == expected, one


def test_the_value_of_one_number(backend):
    """|x| >= 2^-18: x itself; below, x rounded to the grid; beyond 2^62 and NaN: NaN."""
    x = edges(np.dtype(backend.dtype))
    value = host(backend, backend.exact_value(*words_of(backend, x)))
    wide, step = x.astype(np.float64), np.copysign(2.0**-18, x.astype(np.float64))
    expected = np.where(np.abs(wide) < 2.0**-18, (wide + step) - step, wide)
    expected[~(np.abs(wide) < 2.0**62)] = np.nan
    assert value.dtype == np.float64
    np.testing.assert_array_equal(value, expected)
    zeros = value[expected == 0]
    assert not np.signbit(zeros).any(), "+0 for both zeros"


def test_any_order_and_any_grouping(backend):
    rng = np.random.default_rng(3)
    x = (rng.standard_normal((60, 40)) * 2.0 ** rng.integers(-80, 60, (60, 40))).astype(
        backend.dtype
    )
    expected = [host(backend, word).tolist() for word in words_of(backend, *x)]
    for order in (range(59, -1, -1), rng.permutation(60)):
        found = words_of(backend, *x[list(order)])
        assert [host(backend, word).tolist() for word in found] == expected
    parts = [words_of(backend, *x[part::3]) for part in range(3)]
    total = [sum(host(backend, part[word]) for part in parts) for word in range(3)]
    for column in range(40):
        carried = exact_numbers.words_of(exact_numbers.total_of([word[column] for word in total]))
        assert carried == tuple(word[column] for word in expected)
    value = host(backend, backend.exact_value(*(backend.asarray(w, np.int64) for w in total)))
    exactly = [math.fsum(column) for column in x.T.astype(float).tolist()]
    np.testing.assert_allclose(value, exactly, rtol=4e-16, atol=60 * GRID)


def test_a_thousand_processes(backend):
    """Canonical words of the largest size, 1,024 times: nothing overflows."""
    words = [[2**50 - 1, -(2**50)], [2**50 - 1, -(2**50)], [2**40, -(2**40)]]
    arrays = [backend.asarray(1024 * np.array(word, np.int64), np.int64) for word in words]
    value = host(backend, backend.exact_value(*arrays))
    for k in range(2):
        total = 1024 * exact_numbers.total_of([word[k] for word in words])
        assert value[k] == exact_numbers.value_of(exact_numbers.words_of(total))


def test_words_of_another_dtype_are_refused(backend):
    words = [backend.zeros((2, 3), np.int32) for _ in range(3)]
    with pytest.raises(TypeError):
        backend.exact_add(*words, backend.zeros((2, 3)))


def test_losses_have_windows():
    rng = np.random.default_rng(4)
    losses = rng.standard_normal(300) * 2.0 ** rng.integers(-90, 330, 300)
    losses[:8] = [0.0, 2.0**62, 2.0**154, -(2.0**246), 2.0**61, -(2.0**153), 2.0**245, 2.0**337]
    for some in (losses, losses[:1], np.array([2.0**338, 1.0]), np.array([np.nan, 1.0])):
        words = np.zeros((4, 3), np.int64)
        exact.add_all(np, *words.T, exact.in_windows(np, some))
        assert words.ravel().tolist() == exact_numbers.windows_of(some.tolist())
        value = float(exact.of_windows(exact.value(np, *words.T)))
        expected = exact_numbers.loss_of(words.ravel())
        assert value == expected or (math.isnan(value) and math.isnan(expected))
        assert math.isnan(value) == (not (abs(some) < 2.0**338).all())
