"""Dense layer, ReLU, sigmoid and tanh at their edges: kinks, ends of the range, NaN, rounding."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from helpers import array, assert_close, call
from operation_formulas import sigmoid_forward

from nnfs_gpu import get_backend


# ---- dense layer ----
def test_precise_dot_sums_in_float64(backend_name):
    """What nnfs.init() asks for: one rounding, half a unit, where a float32 sum has dozens."""
    backend = get_backend(backend_name, dtype="float32", precise_dot=True, book_random=False)
    rng = np.random.RandomState(0)
    x, w, dy = (rng.randn(*shape).astype(np.float32) for shape in ((70, 900), (900, 40), (70, 40)))
    b = np.zeros((1, 40), np.float32)
    y = call(backend, "linear_forward", x, w, b)
    moved = [backend.asarray(a) for a in (dy, x, w)]
    dx, dw, _ = (backend.to_numpy(a) for a in backend.linear_backward(*moved))
    x, w, dy = (a.astype(np.float64) for a in (x, w, dy))
    for result, expected in ((y, x @ w), (dx, dy @ w.T), (dw, x.T @ dy)):
        assert_close(result, expected, np.float32, ulps=0.5001)


def test_a_nan_sample_spoils_its_own_row_only(backend):
    x, w, b = np.ones((5, 4)), np.ones((4, 3)), np.zeros((1, 3))
    x[2, 1] = np.nan
    y = call(backend, "linear_forward", *(a.astype(backend.dtype) for a in (x, w, b)))
    assert np.isnan(y).all(axis=1).tolist() == [False, False, True, False, False]
    assert (y[[0, 1, 3, 4]] == 4).all()


# ---- dense layer and ReLU at once ----
@pytest.mark.parametrize("shape", [(1, 1, 1), (70, 9, 5), (300, 3, 129), (5000, 2, 64)], ids=str)
def test_linear_relu_is_linear_then_relu(backend, shape):
    """With NaN, zeros of both signs and infinities among the sums; more rows than a chunk."""
    n, i, o = shape
    rng = np.random.RandomState(n)
    x, w, b = (rng.randn(*s).astype(backend.dtype) for s in ((n, i), (i, o), (1, o)))
    x[rng.rand(n) < 0.1] = 0.0
    b[0, 0] = -0.0
    if n > 1:
        x[1], x[2] = np.nan, np.inf
    with np.errstate(invalid="ignore"):  # inf - inf
        z = call(backend, "linear_forward", x, w, b)
        y = call(backend, "linear_relu_forward", x, w, b)
    assert_close(y, call(backend, "relu_forward", z), backend.dtype, ulps=0)
    dy = rng.randn(n, o).astype(backend.dtype)
    x = np.nan_to_num(x, posinf=0.0)
    moved = {k: backend.asarray(a) for k, a in {"dy": dy, "x": x, "w": w, "y": y}.items()}
    at_once = [backend.to_numpy(a) for a in backend.linear_relu_backward(**moved)]
    moved["dy"] = backend.relu_backward(moved["dy"], backend.asarray(z))
    del moved["y"]
    for result, want in zip(at_once, backend.linear_backward(**moved), strict=True):
        magnitude = np.abs(dy).sum(axis=0).max()  # sums may be cut into other chunks
        assert_close(result, backend.to_numpy(want), backend.dtype, magnitude=magnitude)


def test_bias_of_another_width_is_refused(backend):
    x, w = backend.asarray(np.ones((4, 3))), backend.asarray(np.ones((3, 5)))
    for name in ("linear_forward", "linear_relu_forward"):
        for width in (4, 6):
            with pytest.raises(ValueError, match=f"{width}"):
                getattr(backend, name)(x, w, backend.asarray(np.ones((1, width))))


# ---- ReLU and sigmoid ----
def test_relu_at_its_kink_and_at_the_ends(backend):
    tiny = float(np.finfo(backend.dtype).smallest_subnormal)
    large = float(np.finfo(backend.dtype).max)
    x = array(backend, 0.0, -0.0, tiny, -tiny, large, -large, math.inf, -math.inf, math.nan)
    expected = [0, 0, tiny, 0, large, 0, math.inf, 0, math.nan]
    assert_close(call(backend, "relu_forward", x), expected, backend.dtype, ulps=0)
    dy = array(backend, *range(1, 9))
    dx = call(backend, "relu_backward", dy, x[:8])
    assert_close(dx, [0, 0, 3, 0, 5, 0, 7, 0], backend.dtype, ulps=0)


def test_relu_backward_keeps_nan_gradients_where_they_pass(backend):
    dy = array(backend, math.nan, math.nan, 1, math.inf)
    dx = call(backend, "relu_backward", dy, array(backend, 1, -1, 1, -1))
    assert_close(dx, [math.nan, 0, 1, 0], backend.dtype, ulps=0)


def test_sigmoid_at_the_ends(backend):
    """Warnings are errors here, so an overflow would show."""
    x = array(backend, 1e4, -1e4, math.inf, -math.inf, 0.0, -0.0, math.nan, -80.0, 80.0)
    expected = [1, 0, 1, 0, 0.5, 0.5, math.nan, math.exp(-80), 1]
    assert_close(call(backend, "sigmoid_forward", x), expected, backend.dtype)


def test_sigmoid_of_denormals_and_in_the_denormal_range(backend):
    tiny = float(np.finfo(backend.dtype).smallest_subnormal)
    low = -95.0 if backend.dtype == np.float32 else -720.0
    x = array(backend, tiny, -tiny, low)
    assert_close(call(backend, "sigmoid_forward", x), [0.5, 0.5, math.exp(low)], backend.dtype)


def test_sigmoid_over_its_whole_range(backend):
    """Every power of two of x and steps between: a bad polynomial piece would show."""
    x = np.concatenate([np.linspace(-104, 20, 20_001), 2.0 ** np.arange(-30, 7)])
    x = np.concatenate([x, -x[-37:]]).astype(backend.dtype)[None]
    (expected,) = sigmoid_forward(backend.dtype, x.astype(np.float64))
    assert_close(call(backend, "sigmoid_forward", x), expected.value, backend.dtype)


def errors_in_units(actual, expected):
    """|actual - expected| in units of the last place of the number nearest to expected."""
    near = np.abs(expected).astype(actual.dtype)
    return np.abs(actual.astype(expected.dtype) - expected) / np.spacing(near).astype(
        expected.dtype
    )


def wider(dtype):
    """A type of more digits, to judge results by."""
    if dtype == np.float64 and np.finfo(np.longdouble).eps == np.finfo(np.float64).eps:
        pytest.skip("no type of more digits here")
    return np.longdouble if dtype == np.float64 else np.float64


def test_exp_of_the_kernels_is_as_good_as_stated(dtype):
    """Below one unit in the last place; half a unit more where the result is denormal."""
    from nnfs_gpu.kernels.cpu.common import exp_below_0_in_place

    low = -103.9 if dtype == np.float32 else -745.1
    x = np.random.RandomState(0).uniform(low, 0, 200_000).astype(dtype)
    x = np.concatenate([x, (x / 300).astype(dtype), np.zeros(1, dtype)])
    y = x.copy()
    exp_below_0_in_place(y)
    expected = np.exp(x.astype(wider(dtype)))
    denormal = expected < np.finfo(dtype).tiny
    error = errors_in_units(y, expected)
    assert 1000 < denormal.sum() < x.size / 2
    assert error[~denormal].max() < 1
    assert error[denormal].max() < 1.5
    assert y[-1] == 1


def test_exp_of_the_kernels_beyond_its_range(dtype):
    from nnfs_gpu.kernels.cpu.common import exp_below_0_in_place

    x = np.array([math.nan, -math.inf, -1000, -0.0], dtype)
    exp_below_0_in_place(x)
    np.testing.assert_array_equal(x, np.array([math.nan, 0, 0, 1], dtype))


def test_log_of_the_kernels_is_as_good_as_stated(dtype):
    """Below one unit in the last place, from the smallest normal number to 1 and above."""
    from nnfs_gpu.kernels.cpu.common import log_in_place

    rng = np.random.RandomState(0)
    size = 87 if dtype == np.float32 else 708
    x = np.concatenate([np.exp(rng.uniform(-size, size, 200_000)), rng.uniform(0.4, 2.2, 200_000)])
    x = np.append(x, (1.0, math.nan, np.finfo(dtype).tiny)).astype(dtype)
    y = x.copy()
    log_in_place(y)
    numbers = ~np.isnan(x) & (x != 1)
    assert errors_in_units(y[numbers], np.log(x[numbers].astype(wider(dtype)))).max() < 1
    assert y[-3] == 0
    assert math.isnan(y[-2])


def test_powers_of_the_kernels_round_once():
    """Adam's beta^t, against whole numbers: the nearest float64, but for one time in hundreds."""
    from nnfs_gpu.kernels.cpu.optimizers import power

    rng = np.random.RandomState(0)
    cases = [(b, int(n)) for b in (0.9, 0.999, rng.rand()) for n in rng.randint(0, 3000, 100)]
    exact = [float(Fraction(x) ** n) for x, n in cases]
    found = [power(x, n) for x, n in cases]
    assert sum(a != b for a, b in zip(found, exact, strict=True)) <= 2
    np.testing.assert_allclose(found, exact, rtol=3e-16, atol=5e-324)
    assert [power(0.0, 3), power(0.5, 0), power(1.0, 10**6), power(0.9, 1)] == [0, 1, 1, 0.9]


def test_leaky_relu_at_the_ends(backend):
    x = array(backend, math.inf, -math.inf, 0.0, -0.0, math.nan, 2, -2)
    y = call(backend, "leaky_relu_forward", x, 0.25)
    expected = [math.inf, -math.inf, 0, 0, math.nan, 2, -0.5]
    assert_close(y, expected, backend.dtype, ulps=0)
    dy = array(backend, 1, 1, 1, 1, 1, math.nan, math.nan)  # at the kink the slope
    dx = call(backend, "leaky_relu_backward", dy, x, 0.25)
    assert_close(dx, [1, 0.25, 0.25, 0.25, 1, math.nan, math.nan], backend.dtype, ulps=0)


def test_tanh_at_the_ends(backend):
    """Warnings are errors here, so an overflow would show."""
    top = float(np.finfo(backend.dtype).max)
    x = array(backend, 1e4, -1e4, math.inf, -math.inf, 0.0, -0.0, math.nan, top, -top)
    y = call(backend, "tanh_forward", x)
    assert_close(y, [1, -1, 1, -1, 0, 0, math.nan, 1, -1], backend.dtype, ulps=0)
    signs = np.signbit(backend.to_numpy(y))
    assert signs[[1, 3, 5, 8]].all()
    assert not signs[[0, 2, 4, 7]].any()


def test_tanh_over_its_whole_range(backend):
    """Every power of two of x and steps between, and where the two formulas meet."""
    meet = 0.625 + np.arange(-64, 64) * np.finfo(backend.dtype).eps
    x = np.concatenate([np.linspace(-20, 20, 20_001), 2.0 ** np.arange(-120, 7), meet])
    x = np.concatenate([x, -x[20_001:]]).astype(backend.dtype)
    expected = [math.tanh(v) for v in x.astype(np.float64)]
    assert_close(call(backend, "tanh_forward", x[None])[0], expected, backend.dtype, ulps=4)


def test_tanh_backward_passes_nan_on(backend):
    dy, y = array(backend, math.nan, 1, 2), array(backend, 0.5, math.nan, 0.5)
    dx = call(backend, "tanh_backward", dy, y)
    assert_close(dx, [math.nan, math.nan, 1.5], backend.dtype)


def test_sigmoid_backward_passes_nan_on(backend):
    dy, y = array(backend, math.nan, 1, 2), array(backend, 0.5, math.nan, 0.5)
    dx = call(backend, "sigmoid_backward", dy, y)
    assert_close(dx, [math.nan, math.nan, 0.5], backend.dtype)
