"""Sums without rounding: kernels/fused_cpu/exact.py and collect.py against whole numbers in Python.

Proves: words, carry and value are those of the formula at every edge (zeros, denormals, ties, the
largest numbers, what is no number), in every lane and beside them; the value of one number without
words is that with them; neither order nor grouping changes a word; and poison stays.
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest

from nnfs_gpu.kernels.cpu.compiler import OPTIONS, Kernel
from nnfs_gpu.kernels.fused_cpu.collect import collect, collect_scaled
from nnfs_gpu.kernels.fused_cpu.exact import LOSS_WORDS, add_losses, losses_of

UNIT = Fraction(1, 1 << 70)
LIMIT = 2.0**62
POISON = 1 << 52
DTYPES = ["float32", "float64"]


def compiled(function):
    """As the package's kernels are, each with its own copy of what it calls, and not kept on disk.

    Numba's own would take a `collect_scaled` that lies in another kernel of this process, where
    LLVM has changed its arguments.
    """
    return Kernel(function, targetoptions=OPTIONS)


@compiled
def collected(groups, sums, size, words, fresh):
    collect(groups, sums, size, words, 0, size, fresh)


@compiled
def scaled(groups, sums, size, words, scale, dw):
    collect_scaled(groups, sums, size, words, 0, scale, dw, 0, size)


def units(x):
    """x in units of 2^-70, rounded to nearest, ties to even."""
    return round(Fraction(float(x)) / UNIT)


def canonical(total):
    """The three words of a whole number."""
    words = []
    for _ in range(2):
        up = (total + (1 << 50)) >> 51
        words.append(total - (up << 51))
        total = up
    return [*words, total]


def value(total):
    """The float64 of a whole number of units, as the formula rounds it: twice at most."""
    w0, w1, w2 = canonical(total)
    high = float(Fraction(w2 * 2**51 + w1))
    return float(Fraction(high) * 2**51 + w0) * 2.0**-70


def edges(dtype):
    kind = np.dtype(dtype).type
    found = [0.0, -0.0, 1.0, -1.0, 1 / 3, -1e-30, 5e-324, -1e-45, 1e-22, -3e-22, 0.1, 1e9, -7e17]
    for power in (-71, -70, -69, -52, -46, -19, -18, -17, 0, 31, 32, 50, 61):
        for factor in (1.0, 1.5, 1 + 2.0**-23, 1 + 2.0**-52, 2 - 2.0**-52):
            found += [factor * 2.0**power, -factor * 2.0**power]
    with np.errstate(all="ignore"):
        return np.array([x for x in map(kind, found) if abs(x) < LIMIT], dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_words_of_one_number_are_those_of_the_formula(dtype):
    x = edges(dtype)
    words = np.full(3 * len(x), -9, np.int64)
    collected(1, x, len(x), words, 1)
    assert words.reshape(3, -1).T.tolist() == [canonical(units(one)) for one in x]


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_value_of_one_number_is_that_of_its_words(dtype):
    x = edges(dtype)
    words, short, long = np.zeros(3 * len(x), np.int64), np.empty_like(x), np.empty_like(x)
    collected(1, x, len(x), words, 1)
    scaled(1, x, len(x), words, 1.0, short)
    scaled(0, x, len(x), words, 1.0, long)
    assert short.tobytes() == long.tobytes()
    with np.errstate(under="ignore"):
        assert short.tolist() == [x.dtype.type(value(units(one))) for one in x]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("groups", [2, 3, 17, 128])
def test_a_sum_is_rounded_once_it_is_whole(dtype, groups):
    rng = np.random.default_rng(groups)
    size = 37  # whole registers, and numbers beside them
    sums = rng.normal(size=(groups, size)) * 10.0 ** rng.integers(-24, 17, (groups, size))
    sums = sums.astype(dtype)
    sums[1] = -sums[0]  # what cancels leaves nothing behind
    sums[0, ::2], sums[1, ::2] = 1e17, -1e17
    words, dw = np.zeros(3 * size, np.int64), np.empty(size, dtype)
    scaled(groups, sums.reshape(-1), size, words, 0.25, dw)
    totals = [sum(map(units, column)) for column in sums.T]
    assert dw.tolist() == [dw.dtype.type(value(total) * 0.25) for total in totals]
    assert not words.any()  # they were not needed
    collected(groups, sums.reshape(-1), size, words, 1)
    assert words.reshape(3, -1).T.tolist() == [canonical(total) for total in totals]
    again = np.empty_like(dw)
    scaled(0, sums.reshape(-1), size, words, 0.25, again)
    assert again.tobytes() == dw.tobytes()


def test_numbers_that_float64_adds_exactly_need_no_words_and_have_the_same_value():
    """Registers whose numbers lie near and far apart, in turns, and just where words are needed."""
    rng = np.random.default_rng(11)
    size = 16 * 9 + 5
    for groups in (1, 2, 3, 4, 5, 31, 128):
        for far in (1, 20, 21, 22, 23, 24, 25, 27, 28, 29, 30, 60):
            powers = rng.integers(-far, 1, (groups, size))
            sums = ((1 + rng.random((groups, size))) * 2.0**powers).astype(np.float32)
            sums[:, 16:32] = 0  # a register of zeros
            sums[0, 40] = np.float32(2.0**-60)
            sums *= rng.choice([-1, 1], sums.shape).astype(np.float32)
            dw, words = np.empty(size, np.float32), np.zeros(3 * size, np.int64)
            scaled(groups, sums.reshape(-1), size, words, 1.0, dw)
            totals = [sum(map(units, column)) for column in sums.T]
            assert dw.tolist() == [np.float32(value(total)) for total in totals], (groups, far)


def test_what_float64_loses_on_the_way_decides_a_tie():
    column = np.array([1.0, 2.0**-24, *[2.0**-54] * 126], np.float32)
    assert np.float32(np.cumsum(column, dtype=np.float64)[-1]) == 1
    for order in (column, column[::-1], np.roll(column, 50)):
        sums, dw = np.repeat(order[:, None], 20, axis=1), np.empty(20, np.float32)
        scaled(128, sums.reshape(-1), 20, np.zeros(60, np.int64), 1.0, dw)
        assert dw.tolist() == [1 + 2.0**-23] * 20


def test_numbers_that_lie_just_too_far_apart_for_float64_decide_a_tie():
    """2^30 + 2^6 lies in the middle of two float32; beside it 2^-23 is lost, and again."""
    small = 1 + 2.0**-23, -1
    column = np.array([*[8659208] * 123, 8659304, *small, *small], np.float32)
    assert np.cumsum(column, dtype=np.float64)[-1] == 2.0**30 + 2.0**6
    sums, dw = np.repeat(column[:, None], 20, axis=1), np.empty(20, np.float32)
    scaled(128, sums.reshape(-1), 20, np.zeros(60, np.int64), 1.0, dw)
    assert dw.tolist() == [2.0**30 + 2.0**7] * 20


@pytest.mark.parametrize("dtype", DTYPES)
def test_neither_order_nor_grouping_changes_a_word(dtype):
    rng = np.random.default_rng(3)
    groups, size = 40, 19
    sums = (rng.normal(size=(groups, size)) * 10.0 ** rng.integers(-9, 9, (groups, 1))).astype(
        dtype
    )
    whole = np.zeros(3 * size, np.int64)
    collected(groups, sums.reshape(-1), size, whole, 1)
    for cuts in ([0, 1, 40], [0, 13, 14, 40], [0, 40]):
        order, ranks = rng.permutation(groups), np.zeros(3 * size, np.int64)
        for first, stop in itertools.pairwise(cuts):
            part = np.full(3 * size, 5, np.int64)
            rows = sums[order[first:stop]]
            half = len(rows) // 2
            collected(half, rows[:half].reshape(-1).copy(), size, part, 1)
            collected(len(rows) - half, rows[half:].reshape(-1).copy(), size, part, 0)
            ranks += part
        dw, wanted = np.empty(size, dtype), np.empty(size, dtype)
        scaled(0, sums.reshape(-1), size, ranks, 1.0, dw)
        scaled(0, sums.reshape(-1), size, whole, 1.0, wanted)
        assert dw.tobytes() == wanted.tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, LIMIT, -(2.0**63), 1e30])
def test_what_has_no_words_is_nan_and_stays_so(dtype, bad):
    size = 21
    sums = np.ones((3, size), dtype)
    sums[1, 4] = sums[2, 18] = bad
    words, dw = np.zeros(3 * size, np.int64), np.empty(size, dtype)
    scaled(3, sums.reshape(-1), size, words, 1.0, dw)
    wanted = np.full(size, 3.0)
    wanted[[4, 18]] = math.nan
    np.testing.assert_array_equal(dw, wanted)
    scaled(1, sums[1], size, words, 1.0, dw)
    assert np.flatnonzero(np.isnan(dw)).tolist() == [4]
    collected(3, sums.reshape(-1), size, words, 1)
    assert words[2 * size + 4] == words[2 * size + 18] == POISON
    for _ in range(5):  # later blocks, good and bad
        collected(3, sums.reshape(-1), size, words, 0)
        collected(1, np.ones(size, dtype), size, words, 0)
    assert words[2 * size + 4] == POISON
    words *= 1024  # as many ranks, all of them with poison
    scaled(0, sums.reshape(-1), size, words, 1.0, dw)
    assert np.flatnonzero(np.isnan(dw)).tolist() == [4, 18]


def test_losses_of_every_size_are_added_without_rounding():
    rng = np.random.default_rng(5)
    for powers in ((-20, 3), (10, 30), (18, 45), (40, 70), (-5, 99)):
        totals = np.zeros((29, 2))
        totals[:, 0] = rng.random(29) * 10.0 ** rng.integers(*powers, 29)
        words = np.zeros(LOSS_WORDS, np.int64)
        for first in (0, 7, 20):
            add_losses(totals[first : {0: 7, 7: 20, 20: 29}[first]], words)
        turned = np.zeros(LOSS_WORDS, np.int64)
        add_losses(totals[::-1].copy(), turned)
        assert words.tolist() == turned.tolist()
        exact = math.fsum(totals[:, 0])
        assert abs(losses_of(words) - exact) <= 2 * math.ulp(exact)


def test_losses_of_many_ranks_have_the_value_of_all_of_them():
    """Their words are added first, and carried once: words of one rank fill 50 bits already, and
    near 2^31 the middle one decides on the last digits.
    """
    rng = np.random.default_rng(6)
    for scale in (1.0, 2.0**31, 1e17, 2.0 ** (31 + 92)):
        for _ in range(50):
            totals = np.zeros((1000, 2))
            totals[:, 0] = rng.random(1000) * scale
            whole, ranks = np.zeros((2, LOSS_WORDS), np.int64)
            add_losses(totals, whole)
            for total in totals:
                words = np.zeros(LOSS_WORDS, np.int64)
                add_losses(total[None], words)
                ranks += words
            assert losses_of(ranks) == losses_of(whole)


@pytest.mark.parametrize("bad", [math.nan, math.inf, 1e120])
def test_a_loss_without_words_is_nan(bad):
    words = np.zeros(LOSS_WORDS, np.int64)
    add_losses(np.array([[1.0, 0.0], [bad, 0.0], [2.0, 0.0]]), words)
    add_losses(np.array([[1.0, 0.0]]), words)
    assert math.isnan(losses_of(words))
    assert math.isnan(losses_of(words * 1024))
