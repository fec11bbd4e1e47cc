"""Softmax at their edges: equal, huge, shifted, infinite scores, NaN, long rows."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import WIDTHS, assert_close, call, summing
from operation_formulas import softmax_forward


# ---- softmax ----
@pytest.mark.parametrize("c", WIDTHS)
def test_softmax_of_equal_scores(backend, c):
    for score in (0.0, 1e4, -1e4, 1e30):
        y = call(backend, "softmax_forward", np.full((3, c), score, backend.dtype))
        assert_close(y, np.full((3, c), 1 / c), backend.dtype, ulps=1)


@pytest.mark.parametrize("c", WIDTHS[1:])
def test_softmax_of_huge_scores(backend, c):
    """Scores of +-1e4 give exact zeros and ones, wherever the largest stands."""
    for at in {0, c // 2, c - 1}:
        x = np.full((2, c), -1e4, backend.dtype)
        x[:, at] = 1e4
        y = call(backend, "softmax_forward", x)
        assert_close(y, np.eye(c)[[at, at]], backend.dtype, ulps=0)
        dy = np.random.RandomState(c).randn(2, c).astype(backend.dtype)
        dx = call(backend, "softmax_backward", dy, y)
        assert_close(dx, np.zeros((2, c)), backend.dtype, ulps=0)


@pytest.mark.parametrize("c", WIDTHS)
def test_softmax_of_shifted_rows(backend, c):
    """A constant added to a row changes nothing, and one row nothing in another."""
    x = np.random.RandomState(c).randint(-8, 9, (4, c)) / 4.0  # exact beside the shifts
    shifts = np.array([[0.0], [8192.0], [-8192.0], [64.0]])
    y = call(backend, "softmax_forward", x.astype(backend.dtype))
    shifted = call(backend, "softmax_forward", (x + shifts).astype(backend.dtype))
    assert shifted.tobytes() == y.tobytes()


@pytest.mark.parametrize("c", [2047, 2048, 2049, 5000])
def test_softmax_of_rows_longer_than_a_tile(backend, c):
    """Kernels work on tiles of 2048 elements: a row may be longer than one."""
    x = (5 * np.random.RandomState(c).randn(3, c)).astype(backend.dtype)
    (expected,) = softmax_forward(backend.dtype, x.astype(np.float64))
    y = call(backend, "softmax_forward", x)
    assert_close(y, expected.value, backend.dtype, ulps=summing(c), magnitude=expected.magnitude)


@pytest.mark.parametrize("c", WIDTHS)
def test_softmax_rows_sum_to_one_and_its_gradients_to_zero(backend, c):
    rng = np.random.RandomState(c)
    x = (10 * rng.randn(50, c)).astype(backend.dtype)
    y = call(backend, "softmax_forward", x)
    assert (y >= 0).all()
    ones = np.ones(50)
    # A sum of c roundings of at most half an eps each of its part.
    sums = y.astype(np.float64).sum(axis=1)
    assert_close(sums.astype(backend.dtype), ones, backend.dtype, ulps=summing(c))
    dy = rng.randn(50, c).astype(backend.dtype)
    dx = call(backend, "softmax_backward", dy, y).astype(np.float64).sum(axis=1)
    size = np.abs(dy).max(axis=1)
    assert_close(dx.astype(backend.dtype), 0 * ones, backend.dtype, magnitude=size, ulps=summing(c))


def test_softmax_over_the_whole_range_of_exp(backend):
    """Two scores, 0 and -d: y = exp(-d) / (1 + exp(-d)) for d from 0 into the denormals."""
    far = 103.0 if backend.dtype == np.float32 else 744.0
    d = np.linspace(0, far, 5001).astype(backend.dtype).astype(np.float64)
    x = np.stack([np.zeros_like(d), -d], axis=1)
    (expected,) = softmax_forward(backend.dtype, x)
    y = call(backend, "softmax_forward", x.astype(backend.dtype))
    # The difference of the scores is exact here, so the result is as good as exp itself.
    assert_close(y, expected.value, backend.dtype, ulps=4)


@pytest.mark.parametrize("c", WIDTHS)
def test_softmax_passes_nan_on_to_its_whole_row_only(backend, c):
    rng = np.random.RandomState(c)
    x, dy = rng.randn(2, 7, c).astype(backend.dtype)
    y = call(backend, "softmax_forward", x)
    dx = call(backend, "softmax_backward", dy, y)
    for at in {0, c // 2, c - 1}:
        for name, clean, first, second in (
            ("softmax_forward", y, x, None),
            ("softmax_backward", dx, dy, y),
            ("softmax_backward", dx, y, dy),
        ):
            bad = first.copy()
            bad[3, at] = np.nan
            arguments = [bad] if second is None else [bad, second]
            if first is y:
                arguments.reverse()
            result = call(backend, name, *arguments)
            assert np.isnan(result[3]).all(), name
            others = np.arange(7) != 3
            assert result[others].tobytes() == clean[others].tobytes(), name


@pytest.mark.parametrize("c", WIDTHS)
def test_softmax_of_infinite_scores(backend, c):
    """-inf is probability 0; a row with inf, or of -inf alone, has no answer: NaN."""
    x = np.zeros((3, c), backend.dtype)
    x[0, c - 1] = np.inf
    x[1] = -np.inf
    x[2, 1:] = -np.inf
    with np.errstate(invalid="ignore"):  # inf - inf
        y = call(backend, "softmax_forward", x)
    assert np.isnan(y[:2]).all()
    assert_close(y[2], np.eye(c)[0], backend.dtype, ulps=0)


def test_jacobian_shows_nan(backend):
    y = np.full((3, 4), 0.25, backend.dtype)
    y[1, 2] = np.nan
    jacobian = call(backend, "softmax_jacobian", y)
    expected = np.zeros((4, 4), bool)
    expected[2, :] = expected[:, 2] = True
    assert (np.isnan(jacobian[1]) >= expected).all()
    assert not np.isnan(jacobian[[0, 2]]).any()
