"""Data sets: the golden numbers of the `nnfs` package to the last float32 digit.

And the order of its random draws, on which all printed numbers of the book depend.
"""

import numpy as np
import pytest

from nnfs_gpu import (
    Layer_Dense,
    get_backend,
    init,
    sine_data,
    spiral_bayes_limit,
    spiral_data,
    use_backend,
    vertical_data,
)

pytestmark = pytest.mark.default_backend


def host(*arrays):
    return tuple(get_backend().to_numpy(a) for a in arrays)


# ---- the package's numbers ----


@pytest.mark.parametrize("after_init", [True, False])
def test_spiral_golden_numbers(backend_name, after_init):
    use_backend(backend_name, dtype="float32")
    if after_init:
        init()
    np.random.seed(0)
    X, y = host(*spiral_data(samples=100, classes=3))
    assert (X.shape, X.dtype) == ((300, 2), np.float32)
    golden = {
        0: (0.0, 0.0),
        1: (0.0029955569, 0.0096466076),
        2: (0.0128809698, 0.0155628482),
        150: (0.3220980763, -0.3890100718),
    }
    for row, point in golden.items():
        assert X[row].tolist() == [np.float32(value) for value in point]
    assert X.sum() == pytest.approx(-15.347635, abs=1e-5)
    assert y.dtype == np.int32
    assert y.tolist() == [0] * 100 + [1] * 100 + [2] * 100


def test_vertical_golden_numbers(backend_name):
    use_backend(backend_name, dtype="float32")
    np.random.seed(0)
    X, y = host(*vertical_data(100, 3))
    assert (X.shape, X.dtype, y.dtype) == ((300, 2), np.float32, np.int32)
    assert X[0].tolist() == [np.float32(0.176405236), np.float32(0.688315094)]
    assert X.sum() == pytest.approx(246.702972, abs=1e-4)
    assert y.tolist() == [0] * 100 + [1] * 100 + [2] * 100


def test_sine(backend):
    X, y = host(*sine_data())
    assert X.shape == y.shape == (1000, 1)
    assert X.dtype == y.dtype == backend.dtype
    expected = np.arange(1000).reshape(-1, 1) / 1000
    np.testing.assert_array_equal(X, expected.astype(backend.dtype))
    np.testing.assert_array_equal(y, np.sin(2 * np.pi * expected).astype(backend.dtype))
    assert host(*sine_data(4))[0].tolist() == [[0.0], [0.25], [0.5], [0.75]]


@pytest.mark.parametrize(("samples", "classes"), [(100, 3), (1, 1), (7, 1), (1, 5), (10, 300)])
def test_spiral_formula_and_order_of_draws(backend, samples, classes):
    """Class by class, randn(samples) each, rounded to the dtype as the package rounds it."""
    np.random.seed(12)
    X, y = host(*spiral_data(samples, classes))
    after = np.random.rand()
    np.random.seed(12)
    expected = []
    for c in range(classes):
        r = np.linspace(0, 1, samples)
        noise = np.random.randn(samples).astype(backend.dtype) * 0.2
        t = np.linspace(c * 4, (c + 1) * 4, samples) + noise
        expected.append(np.c_[r * np.sin(t * 2.5), r * np.cos(t * 2.5)])
    assert np.random.rand() == after  # nothing else was drawn
    np.testing.assert_array_equal(X, np.concatenate(expected).astype(backend.dtype))
    assert y.tolist() == np.repeat(np.arange(classes), samples).tolist()
    assert y.dtype == np.int32


@pytest.mark.parametrize("classes", [1, 3, 300])
def test_vertical_formula_and_order_of_draws(backend, classes):
    np.random.seed(12)
    X, y = host(*vertical_data(6, classes))
    after = np.random.rand()
    np.random.seed(12)
    expected = []
    for c in range(classes):
        first = np.random.randn(6).astype(backend.dtype) * 0.1 + c / 3
        expected.append(np.c_[first, np.random.randn(6).astype(backend.dtype) * 0.1 + 0.5])
    assert np.random.rand() == after
    np.testing.assert_array_equal(X, np.concatenate(expected).astype(backend.dtype))
    assert y.tolist() == np.repeat(np.arange(classes), 6).tolist()


def test_a_program_draws_data_then_weights_layer_by_layer(backend_name):
    use_backend(backend_name)
    init()
    spiral_data(100, 3)
    dense1, dense2 = Layer_Dense(2, 64), Layer_Dense(64, 3)
    np.random.seed(0)
    for _ in range(3):
        np.random.randn(100)
    for layer, shape in ((dense1, (2, 64)), (dense2, (64, 3))):
        draws = np.float32(0.01) * np.random.randn(*shape).astype(np.float32)
        np.testing.assert_array_equal(*host(layer.weights, draws))


def test_float64_data_is_the_float32_data_before_rounding(backend_name):
    results = []
    for dtype in ("float32", "float64"):
        use_backend(backend_name)
        init(default_dtype=dtype)
        X, y = host(*spiral_data(100, 3))
        assert (X.dtype, y.dtype) == (dtype, np.int32)
        results.append(X)
    np.testing.assert_allclose(results[0], results[1], atol=3e-7)
    assert np.abs(results[0] - results[1]).max() > 1e-9


# ---- errors ----


@pytest.mark.parametrize(
    ("bad", "error"),
    [(0, ValueError), (-1, ValueError), (1.5, TypeError), ("3", TypeError), (None, TypeError)],
)
def test_counts_that_are_none(backend_name, bad, error):
    use_backend(backend_name)
    np.random.seed(1)
    for call, name in (
        (lambda: spiral_data(bad, 3), "samples"),
        (lambda: spiral_data(3, bad), "classes"),
        (lambda: spiral_data(bad, 3, seed=1), "samples"),
        (lambda: spiral_data(3, bad, seed=1), "classes"),
        (lambda: vertical_data(bad, 3), "samples"),
        (lambda: vertical_data(3, bad), "classes"),
        (lambda: sine_data(bad), "samples"),
        (lambda: spiral_bayes_limit(bad), "classes"),
    ):
        with pytest.raises(error, match=rf"^{name}: got .*, expected .*at least 1"):
            call()
    assert np.random.rand() == np.random.RandomState(1).rand()


@pytest.mark.parametrize("bad", [True, np.True_])
def test_counts_that_are_true(bad):
    use_backend("numpy")
    with pytest.raises(TypeError, match=r"samples: got .*True"):
        spiral_data(bad, 3)
