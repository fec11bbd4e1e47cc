"""Sums in lanes and gradients at class indices: any length, any place, nothing read outside."""

from __future__ import annotations

import math

import numpy as np
import pytest
from fenced import Fenced, in_a_child, posix
from helpers import assert_close, summing
from numba import njit

from nnfs_gpu.kernels.cpu import losses, softmax
from nnfs_gpu.kernels.cpu.lane_sums import lane_sums, total

LENGTHS = (*range(140), 255, 256, 257, 1000, 4096, 4097)

_two_sums = lane_sums(
    lambda emit, a, b, scale: emit.fma(a, b, scale),
    lambda emit, a, b, scale: emit.absolute(a),
    precise=False,
)


@njit(nogil=True)
def sum_of(a, start, stop):
    return total((a,), (), start, stop)[0]


@njit(nogil=True)
def sums_of(a, b, scale, start, stop):
    return _two_sums((a, b), (scale,), start, stop)


# ---- sums ----
@pytest.mark.parametrize("kind", ["float32", "float64", "int32", "uint32", "int64", "uint8"])
def test_whole_numbers_are_summed_exactly(kind):
    """Whatever the order: what lies around the range would show."""
    rng = np.random.RandomState(0)
    for n in LENGTHS:
        a = rng.randint(0, 200, n + 10).astype(kind)
        if kind[0] != "u":
            a -= a.dtype.type(100)
        a[:5], a[n + 5 :] = 77, 77
        found = sum_of(a, 5, n + 5)
        assert (type(found), found) == (float, float(a[5 : n + 5].astype(np.int64).sum())), n


def test_sums_are_precise_or_of_the_arrays_type(dtype):
    rng = np.random.RandomState(1)
    for n in LENGTHS:
        a, b = rng.randn(2, n).astype(dtype)
        wide = a.astype(np.float64)
        magnitude = math.fsum(np.abs(wide))
        exact = np.float64(math.fsum(wide))
        assert_close(
            np.float64(sum_of(a, 0, n)), exact, "float64", ulps=summing(n), magnitude=magnitude
        )
        first, second = sums_of(a, b, dtype.type(0.5), 0, n)
        products = wide * b + 0.5
        scale = math.fsum(np.abs(products))
        for found, value, size in (
            (first, math.fsum(products), scale),
            (second, magnitude, magnitude),
        ):
            found = dtype.type(found)
            assert_close(found, np.float64(value), dtype, ulps=summing(n), magnitude=size)


def test_nan_and_infinity_pass(dtype):
    for n in (1, 7, 8, 9, 16, 17, 100):
        for value in (math.nan, math.inf, -math.inf):
            for at in {0, n // 2, n - 1}:
                a = np.ones(n, dtype)
                a[at] = value
                np.testing.assert_equal(sum_of(a, 0, n), value)


@posix
def test_sums_read_nothing_outside_their_range(dtype):
    sum_of(np.ones(3, dtype), 0, 3)

    def work():
        room = Fenced(4097 * 8)
        for n in LENGTHS:
            for at_end in (False, True):
                a = room.array(np.ones(n, dtype), at_end=at_end)
                assert sum_of(a, 0, n) == n

    in_a_child(work)


# ---- gradients at class indices ----
def softmax_gradient(p, t, n):
    return (p - (np.arange(p.shape[1]) == t[:, None]).astype(p.dtype)) / n


def log_gradient(p, t, n):
    true = np.arange(p.shape[1]) == t[:, None]
    return np.where(true, p.dtype.type(-1) / np.maximum(p, p.dtype.type(1e-7)) / n, p.dtype.type(0))


GRADIENTS = {
    "softmax": (softmax.softmax_cross_entropy_backward, softmax_gradient),
    "log": (losses.cross_entropy_backward, log_gradient),
}


def gradient(name, p, t, start, stop, out):
    number = p.dtype.type
    low = () if name == "softmax" else (number(1e-7),)
    arguments = (p, t, *low, number(7), number(math.nan), out)
    GRADIENTS[name][0](np.uint64(start), np.uint64(stop), *arguments)


@pytest.mark.parametrize("name", GRADIENTS)
@pytest.mark.parametrize("labels", ["int32", "int64"])
def test_gradients_at_class_indices_are_those_of_numpy_to_the_bit(name, labels, dtype):
    """Any range of any rows; rows that have none become NaN."""
    rng = np.random.RandomState(2)
    for C in (*range(1, 20), 31, 32, 33, 100):
        for rows in (1, 7, 8, 15, 16, 17, 70):
            p = rng.rand(rows, C).astype(dtype)
            p[rng.rand(rows, C) < 0.2] = 0
            t = rng.randint(0, C, rows).astype(labels)
            bad = rng.rand(rows) < 0.2
            t[bad] = rng.choice([-1, C, C + 100, np.iinfo(np.int32).min], bad.sum())
            start, stop = rows // 5, rows - rows // 7
            out = np.full((rows, C), -5, dtype)
            gradient(name, p, t, start, stop, out)
            expected = GRADIENTS[name][1](p, t, dtype.type(7))
            expected[bad] = np.nan
            expected[:start], expected[stop:] = -5, -5
            np.testing.assert_array_equal(out, expected, f"{rows} x {C}")


@posix
@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients_touch_nothing_outside_their_arrays(name, dtype):
    def work():
        room = [Fenced(4000 * 8) for _ in range(3)]
        for C in (*range(1, 18), 31, 32, 33, 100):
            for rows in (1, 8, 15, 16, 17, 33):
                for at_end in (False, True):
                    arrays = np.ones((rows, C), dtype), np.zeros(rows, np.int32)
                    made = [
                        fenced.array(a, at_end=at_end)
                        for fenced, a in zip(room, (*arrays, arrays[0]), strict=True)
                    ]
                    gradient(name, *made[:2], 0, rows, made[2])

    gradient(name, np.ones((1, 1), dtype), np.zeros(1, np.int32), 0, 1, np.ones((1, 1), dtype))
    in_a_child(work)
