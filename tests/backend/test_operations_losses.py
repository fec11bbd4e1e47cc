"""Losses and their gradients at their edges: labels out of range, 0 and 1, soft labels, NaN."""

from __future__ import annotations

import math

import numpy as np
import pytest
from helpers import array, assert_close, call, probabilities, summing
from operation_formulas import limits

# ---- losses ----
CROSS_ENTROPIES = (
    "cross_entropy_forward",
    "cross_entropy_backward",
    "softmax_cross_entropy_backward",
)


@pytest.mark.parametrize("name", CROSS_ENTROPIES)
@pytest.mark.parametrize("c", [2, 3, 4, 10, 33])
def test_a_label_out_of_range_is_nan_in_its_row_only(backend, name, c):
    p = probabilities(np.random.RandomState(c), 11, c).astype(backend.dtype)
    t = np.arange(11, dtype=np.int32) % c
    clean = call(backend, name, p, t)
    assert not np.isnan(clean).any()
    for label in (-1, -c, c, c + 1, 10**6, -(2**31), 2**31 - 1):
        for row in (0, 5, 10):
            wrong = t.copy()
            wrong[row] = label
            result = call(backend, name, p, wrong)
            assert np.isnan(result[row]).all(), (label, row)
            others = np.arange(11) != row
            assert result[others].tobytes() == clean[others].tobytes(), (label, row)


@pytest.mark.parametrize("name", CROSS_ENTROPIES)
def test_sparse_and_one_hot_labels_agree(backend, name):
    for c in (1, 2, 3, 4, 33):
        p = probabilities(np.random.RandomState(c), 50, c).astype(backend.dtype)
        t = np.random.RandomState(1).randint(0, c, 50).astype(np.int32)
        sparse = call(backend, name, p, t)
        one_hot = call(backend, name, p, np.eye(c)[t].astype(backend.dtype))
        assert_close(sparse, one_hot, backend.dtype, ulps=2, magnitude=1 + np.abs(one_hot))


def test_cross_entropy_of_zero_and_one(backend):
    """Clipped on both sides: no infinity, and the largest loss is -log(1e-7) = 16.118."""
    p, t = array(backend, [0, 1, 0], [0, 1, 0]), np.array([0, 1], np.int32)
    low, high = limits(backend.dtype)
    expected = [-math.log(low), -math.log(high)]
    assert abs(expected[0] - 16.118) < 1e-3
    for targets in (t, np.eye(3)[t].astype(backend.dtype)):
        losses = call(backend, "cross_entropy_forward", p, targets)
        assert_close(losses, expected, backend.dtype, ulps=2, magnitude=1 + np.array(expected))
        dp = call(backend, "cross_entropy_backward", p, targets)
        assert_close(dp, [[-0.5 / low, 0, 0], [0, -0.5, 0]], backend.dtype)
        dx = call(backend, "softmax_cross_entropy_backward", p, targets)
        assert_close(dx, [[-0.5, 0.5, 0], [0, 0, 0]], backend.dtype, ulps=0)


def test_soft_labels_keep_their_values(backend):
    """The book takes their argmax (defect B3): smoothed labels would give [-.2, .1, .1]."""
    p, t = array(backend, [0.4, 0.3, 0.3]), array(backend, [0.8, 0.1, 0.1])
    dx = call(backend, "softmax_cross_entropy_backward", p, t)
    assert_close(dx, [[-0.4, 0.2, 0.2]], backend.dtype, magnitude=1)


def test_cross_entropy_passes_nan_on(backend):
    p = probabilities(np.random.RandomState(0), 6, 4).astype(backend.dtype)
    t = np.array([0, 1, 2, 3, 0, 1], np.int32)
    one_hot = np.eye(4)[t].astype(backend.dtype)
    for column in range(4):
        bad = p.copy()
        bad[2, column] = np.nan
        # With class indices only the true class is looked at; with rows, all of them are.
        for targets, seen in ((t, column == 2), (one_hot, True)):
            losses = call(backend, "cross_entropy_forward", bad, targets)
            assert np.isnan(losses).tolist() == [False, False, seen, False, False, False]
            dp = call(backend, "cross_entropy_backward", bad, targets)
            expected = np.zeros((6, 4), bool)
            expected[2, column] = seen
            np.testing.assert_array_equal(np.isnan(dp), expected)
            dx = call(backend, "softmax_cross_entropy_backward", bad, targets)
            expected[2, column] = True
            np.testing.assert_array_equal(np.isnan(dx), expected)
    bad = one_hot.copy()
    bad[2, 1] = np.nan
    assert np.isnan(call(backend, "cross_entropy_forward", p, bad)).sum() == 1
    assert np.isnan(call(backend, "cross_entropy_backward", p, bad)).sum() == 1
    assert np.isnan(call(backend, "softmax_cross_entropy_backward", p, bad)).sum() == 1


@pytest.mark.parametrize("name", ["binary_cross_entropy", "squared_error", "absolute_error"])
@pytest.mark.parametrize("o", [1, 2, 5, 33])
def test_elementwise_losses_pass_nan_on(backend, name, o):
    p, t = np.full((5, o), 0.3, backend.dtype), np.ones((5, o), backend.dtype)
    for at in {0, o - 1}:
        for which in (0, 1):
            arguments = [p.copy(), t.copy()]
            arguments[which][3, at] = np.nan
            losses = call(backend, f"{name}_forward", *arguments)
            assert np.isnan(losses).tolist() == [False, False, False, True, False]
            gradient = call(backend, f"{name}_backward", *arguments)
            expected = np.zeros((5, o), bool)
            expected[3, at] = True
            np.testing.assert_array_equal(np.isnan(gradient), expected)


def test_binary_cross_entropy_of_zero_and_one(backend):
    p, t = array(backend, [0], [0], [1], [1]), array(backend, [0], [1], [0], [1])
    low, high = limits(backend.dtype)
    expected = np.array([-math.log(1 - low), -math.log(low), -math.log(1 - high), -math.log(high)])
    losses = call(backend, "binary_cross_entropy_forward", p, t)
    assert_close(losses, expected, backend.dtype, magnitude=1 + expected)
    gradient = call(backend, "binary_cross_entropy_backward", p, t)
    slopes = [[1 / (1 - low)], [-1 / low], [1 / (1 - high)], [-1 / high]]
    assert_close(gradient, np.array(slopes) / 4, backend.dtype)


def test_errors_that_are_infinite_stay_infinite(backend):
    y, t = array(backend, [math.inf, 0], [0, 0]), array(backend, [0, 0], [0, -math.inf])
    for name in ("squared_error_forward", "absolute_error_forward"):
        assert_close(call(backend, name, y, t), [math.inf, math.inf], backend.dtype)
    dy = call(backend, "absolute_error_backward", y, t)
    assert_close(dy, [[0.25, 0], [0, 0.25]], backend.dtype, ulps=0)


# ---- softmax and cross-entropy at once ----
def at_once(backend, x, t, samples=None):
    """(losses, dx) of softmax_cross_entropy, from and to NumPy."""
    arguments = [backend.asarray(a, a.dtype) for a in (x, t)]
    return [backend.to_numpy(a) for a in backend.softmax_cross_entropy(*arguments, samples)]


@pytest.mark.parametrize("c", [1, 3, 33, 1500, 20_000])
@pytest.mark.parametrize("kind", ["sparse", "soft"])
def test_at_once_is_one_by_one(backend, c, kind):
    """Every kernel by its number of classes; one by one, p is rounded once more."""
    rng, n = np.random.RandomState(c), 5
    x = (3 * rng.randn(n, c)).astype(backend.dtype)
    soft = probabilities(rng, n, c, 0.5).astype(backend.dtype)
    t = rng.randint(0, c, n).astype(np.int32) if kind == "sparse" else soft
    p = call(backend, "softmax_forward", x)
    losses, dx = at_once(backend, x, t)
    expected = call(backend, "cross_entropy_forward", p, t)
    assert_close(losses, expected, backend.dtype, ulps=summing(c), magnitude=1 + expected)
    gradient = call(backend, "softmax_cross_entropy_backward", p, t)
    size = np.abs(gradient) + p * (1 + np.abs(np.log(np.maximum(p, 1e-30)))) / n
    assert_close(dx, gradient, backend.dtype, ulps=summing(c), magnitude=size)


def test_tiles_of_a_batch_add_up_to_the_batch(backend):
    """`samples` is the N of the mean: rows of a tile get the gradient of the whole batch."""
    rng = np.random.RandomState(0)
    x, t = rng.randn(64, 7).astype(backend.dtype), rng.randint(0, 7, 64).astype(np.int32)
    losses, dx = at_once(backend, x, t)
    for first, last in ((0, 17), (17, 64)):
        part, part_dx = at_once(backend, x[first:last], t[first:last], 64)
        assert part.tobytes() == losses[first:last].tobytes()
        assert_close(part_dx, dx[first:last], backend.dtype, ulps=2)
    for samples in (0, -3):
        with pytest.raises(ValueError, match="samples: got"):
            at_once(backend, x, t, samples)


@pytest.mark.parametrize("c", [3, 33, 1500, 20_000])
def test_at_once_nan_and_labels_out_of_range_stay_in_their_row(backend, c):
    x = np.random.RandomState(c).randn(5, c).astype(backend.dtype)
    t = np.arange(5, dtype=np.int32) % c
    clean = at_once(backend, x, t)
    assert not any(np.isnan(a).any() for a in clean)
    for label in (-1, c, -(2**31), 2**31 - 1, None):
        bad_x, bad_t = x.copy(), t.copy()
        if label is None:
            bad_x[2, c - 1] = np.nan
        else:
            bad_t[2] = label
        for result, want in zip(at_once(backend, bad_x, bad_t), clean, strict=True):
            assert np.isnan(result[2]).all(), label
            assert np.delete(result, 2, 0).tobytes() == np.delete(want, 2, 0).tobytes(), label


@pytest.mark.parametrize("c", [2, 10, 33, 1500, 20_000])
def test_at_once_of_scores_that_leave_no_doubt(backend, c):
    """Exact zeros and ones: the loss is the clip's, the gradient exact."""
    x = np.full((2, c), -1e4, backend.dtype)
    x[:, c - 1] = 1e4
    losses, dx = at_once(backend, x, np.array([c - 1, 0], np.int32))
    low, high = limits(backend.dtype)
    expected = [-math.log(high), -math.log(low)]
    assert_close(losses, expected, backend.dtype, ulps=2, magnitude=1 + np.array(expected))
    wrong = np.zeros(c)
    wrong[[0, c - 1]] = -0.5, 0.5
    assert_close(dx, [np.zeros(c), wrong], backend.dtype, ulps=0)
