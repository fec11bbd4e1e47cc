"""Predictions, sums and the spiral: ties, NaN, extremes, blocks of a whole."""

from __future__ import annotations

import math

import numpy as np
import pytest
from helpers import DTYPES, WIDTHS, array, assert_close, call, philox_words, usable_backends
from operation_oracles import EPS64, spiral_point

from nnfs_gpu import get_backend


# ---- predictions ----
def test_argmax_takes_the_first_of_equals(backend):
    x = array(backend, [1, 1, 1], [0, 2, 2], [2, 0, 2], [-1, -1, -2], [0.0, -0.0, 0.0])
    assert_close(call(backend, "argmax", x), [0, 1, 0, 0, 0], np.int32)
    inf = math.inf
    x = array(backend, [-inf, -inf, -inf], [-inf, 0, -inf], [0, inf, inf])
    assert_close(call(backend, "argmax", x), [0, 1, 1], np.int32)


@pytest.mark.parametrize("c", WIDTHS)
def test_argmax_finds_every_column(backend, c):
    x = np.random.RandomState(c).rand(c, c).astype(backend.dtype)
    x[np.arange(c), np.arange(c)] = 1.5
    assert_close(call(backend, "argmax", x), np.arange(c), np.int32)


def test_comparisons_with_nan_are_false_and_argmax_is_the_specifications(backend, oracle):
    nan = math.nan
    a, b = array(backend, [1, nan, nan]), array(backend, [nan, 1, nan])
    assert not call(backend, "equal", a, b).any()
    assert not call(backend, "close", a, b, 10.0).any()
    assert not call(backend, "threshold", a[:, 1:], 0.5).any()
    x = array(backend, [1, nan, 2], [nan, 1, nan], [3, 2, nan], [nan, nan, nan])
    expected = call(oracle, "argmax", x.astype(np.float64))
    assert_close(call(backend, "argmax", x), expected, np.int32)


@pytest.mark.parametrize("size", [1, 300, 9_001])
def test_a_mean_of_a_known_sum_has_the_same_bits(backend, size):
    a = backend.asarray(np.random.RandomState(size).randn(size))
    mean, again = backend.mean(a), backend.mean(a, backend.sum(a))
    assert again.dtype == a.dtype
    assert backend.to_numpy(mean).tobytes() == backend.to_numpy(again).tobytes()


@pytest.mark.parametrize("name", ["mean", "sum"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_sums_pass_nan_and_infinity_on(backend, name, value):
    a = np.ones(10_000, backend.dtype)
    a[7777] = value
    result = float(getattr(backend, name)(backend.asarray(a)))
    assert math.isnan(result) if math.isnan(value) else result == value


def test_sums_of_extreme_numbers(backend):
    assert float(backend.sum(backend.asarray(np.full(5000, True), bool))) == 5000
    large = np.full(1000, 2**31 - 1, np.int32)
    assert float(backend.sum(backend.asarray(large, np.int32))) == 1000 * (2**31 - 1)
    a = np.full(100, 1e38 if backend.dtype == np.float32 else 1e300, backend.dtype)
    assert float(backend.sum(backend.asarray(a))) == pytest.approx(100 * float(a[0]), rel=1e-6)


@pytest.mark.parametrize("given", [np.bool_, np.uint8, np.int32, np.int64])
def test_mean_of_whole_numbers_is_not_whole(backend, given):
    """float64 on every backend: in their own dtype 2 of 3 would be 0, or True."""
    for values in ([1, 1, 0], [1, 0, 0, 0], [0], [1] * 5000 + [0] * 5001):
        mean = backend.mean(backend.asarray(values, given))
        assert_close(backend.to_numpy(mean), sum(values) / len(values), np.float64, ulps=1)


# ---- the spiral ----
def spiral_points(backend, *arguments):
    points, labels = backend.spiral(*arguments)
    return np.array(backend.to_numpy(points)), np.array(backend.to_numpy(labels))


@pytest.mark.parametrize(("samples", "classes"), [(1, 1), (1, 5), (2, 3), (257, 3), (7, 300)])
def test_spiral_blocks_equal_the_whole(backend, samples, classes):
    """Any range of rows can be made on its own, odd and even starts included."""
    points, labels = spiral_points(backend, samples, classes, 11)
    rows = samples * classes
    assert points.shape == (rows, 2)
    assert labels.tolist() == [c for c in range(classes) for _ in range(samples)]
    cuts = sorted({0, 1, rows // 3, rows // 2, rows - 1, rows} & set(range(rows + 1)))
    for start in cuts:
        for stop in cuts:
            if start <= stop:
                part, part_labels = spiral_points(backend, samples, classes, 11, start, stop)
                assert part.tobytes() == points[start:stop].tobytes(), (start, stop)
                assert part_labels.tobytes() == labels[start:stop].tobytes(), (start, stop)


@pytest.mark.parametrize(("samples", "classes"), [(1, 5), (257, 3), (7, 300)])
def test_spiral_rows_some_of_which_are_left_out(backend, samples, classes):
    """The bits of the whole, from odd and even rows, by odd and even steps, and larger ones."""
    points, labels = spiral_points(backend, samples, classes, 11)
    rows = samples * classes
    for start in {0, 1, rows // 2, rows}:
        for step in (1, 2, 3, 100, rows, 2 * rows):
            for stop in (rows, max(rows - 1, start)):
                part, of = spiral_points(backend, samples, classes, 11, start, stop, step)
                assert part.tobytes() == points[start:stop:step].tobytes(), (start, stop, step)
                assert of.tobytes() == labels[start:stop:step].tobytes(), (start, stop, step)
    for step in (0, -1):
        with pytest.raises(ValueError, match=f"spiral: got a step of {step}, expected 1 or more"):
            backend.spiral(samples, classes, 11, 0, None, step)


def test_spiral_blocks_far_out(backend):
    """Rows beyond 2^32 of a spiral that nobody could hold whole."""
    samples, start = 2**31, 2**32 + 1
    points, labels = spiral_points(backend, samples, 3, 5, start, start + 3)
    words = philox_words(2 * start, 6, 5, 2).tolist()
    for k in range(3):
        row = start + k - 2 * samples  # of the last class
        expected, _ = spiral_point(*words[2 * k : 2 * k + 2], 2, row, samples)
        magnitude = row / (samples - 1) * 40
        assert_close(points[k], expected, backend.dtype, magnitude=magnitude)
    assert labels.tolist() == [2, 2, 2]


def test_spiral_across_the_specifications_blocks(backend_name, oracle):
    """The numpy backend makes 2^20 rows at a time: the seam is not seen."""
    backend = get_backend(backend_name, dtype="float32", precise_dot=False, book_random=False)
    seam = 2**20
    points, labels = spiral_points(backend, 200_000, 6, 3, 0, seam + 100)
    part, part_labels = spiral_points(oracle, 200_000, 6, 3, seam - 100, seam + 100)
    assert_close(points[-200:], part, np.float32, magnitude=1, ulps=1)
    assert labels[-200:].tolist() == part_labels.tolist() == [5] * 200


def test_spiral_is_laid_out_as_stated(backend):
    samples, classes = 4001, 3
    points, labels = spiral_points(backend, samples, classes, 1)
    r = np.tile(np.linspace(0, 1, samples), classes)
    radius = np.hypot(*points.T.astype(np.float64))
    assert_close(radius.astype(backend.dtype), r, backend.dtype, magnitude=1)
    # The angle's distance from 10 c + 10 r, wrapped around the circle, is 0.5 g.
    angle = np.arctan2(points[:, 0], points[:, 1]) - 10 * labels - 10 * r
    g = ((angle + np.pi) % (2 * np.pi) - np.pi)[r > 0.01] / 0.5
    assert abs(g.mean()) < 5 / math.sqrt(g.size)
    assert abs(g.var() - 1) < 5 * math.sqrt(2 / g.size)
    # Kolmogorov and Smirnov: 1.95 / sqrt(n) is passed once in a thousand times.
    g.sort()
    normal = np.array([0.5 * math.erfc(-v / math.sqrt(2)) for v in g])
    assert np.abs(normal - np.arange(g.size) / g.size).max() < 1.95 / math.sqrt(g.size)


def test_spirals_of_other_seeds_differ(backend):
    one, two = (spiral_points(backend, 100, 3, seed)[0] for seed in (1, 2))
    assert (one != two).mean() > 0.9


def test_spiral_is_the_same_on_every_backend():
    """To the rounding of one float32, and of the angle in float64."""
    for dtype in DTYPES:
        made = [
            spiral_points(get_backend(name, dtype=dtype, precise_dot=False), 5001, 4, 2**63 + 9)
            for name in usable_backends()
        ]
        for points, labels in made[1:]:
            magnitude = 1 + 60 * EPS64 / np.finfo(dtype).eps
            assert_close(points, made[0][0], dtype, magnitude=magnitude, ulps=2)
            assert labels.tobytes() == made[0][1].tobytes()
