"""Data sets: the package's numbers, the seeded generator's statistics, the Bayes limit, `init`.

Proves the golden numbers of the `nnfs` package to the last float32 digit and the order of its
random draws, on which all printed numbers of the book depend; that seeded spirals have the
distribution that their documentation states; that the Bayes limit is what a perfect
classifier reaches, by integration and by counting; and that `init` patches nothing.
"""

import math

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


@pytest.fixture
def backend(backend):
    """Every backend and dtype in turn, made the default that data is made for."""
    use_backend(backend)
    return backend


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


# ---- the seeded spiral ----


def residuals(X, samples, classes):
    """Angle of every point but the first of a class, less its centre 10c + 10r; in (-pi, pi]."""
    X = X.astype(np.float64).reshape(classes, samples, 2)[:, 1:]
    r = np.linspace(0, 1, samples)[1:]
    centre = 10.0 * np.arange(classes)[:, None] + 10.0 * r
    return np.angle(np.exp(1j * (np.arctan2(X[..., 0], X[..., 1]) - centre)))


@pytest.mark.parametrize("seed", [0, 12345])
def test_seeded_spiral_has_the_stated_distribution(backend, seed):
    samples, classes = 20_000, 3
    X, y = host(*spiral_data(samples, classes, seed=seed))
    assert (X.shape, X.dtype, y.dtype) == ((samples * classes, 2), backend.dtype, np.int32)
    np.testing.assert_array_equal(y, np.repeat(np.arange(classes), samples))
    angle = residuals(X, samples, classes) / 0.5
    n = samples - 1
    assert np.abs(angle.mean(axis=1)).max() < 4 / math.sqrt(n)
    assert np.abs(angle.std(axis=1) - 1).max() < 4 / math.sqrt(2 * n)
    assert np.abs((angle**3).mean(axis=1)).max() < 4 * math.sqrt(15 / n)
    assert np.abs((angle**4).mean(axis=1) - 3).max() < 4 * math.sqrt(96 / n)
    for bound in (0.25, 0.5, 1.0, 1.5, 2.0, 3.0):  # the normal distribution function
        p = math.erf(bound / math.sqrt(2))
        share = (np.abs(angle) < bound).mean(axis=1)
        assert np.abs(share - p).max() < 4 * math.sqrt(p * (1 - p) / n)
    for lag in (1, 2, 3, 4):  # neighbours, of which two share a block of random words
        together = (angle[:, lag:] * angle[:, :-lag]).mean(axis=1)
        assert np.abs(together).max() < 4 / math.sqrt(n - lag)
    between = np.corrcoef(angle)[np.triu_indices(classes, 1)]
    assert np.abs(between).max() < 4 / math.sqrt(n)


@pytest.mark.parametrize("samples", [1, 2, 3, 100, 1001])
def test_radii_are_exactly_linspace(backend, samples):
    X, _ = host(*spiral_data(samples, 3, seed=4))
    radii = np.hypot(*X.astype(np.float64).T).reshape(3, samples)
    # rounding each coordinate moves the radius by less than one unit of the dtype at 1
    np.testing.assert_allclose(
        radii,
        np.broadcast_to(np.linspace(0, 1, samples), radii.shape),
        rtol=0,
        atol=float(np.finfo(backend.dtype).eps),
    )
    assert (radii[:, 0] == 0).all()


@pytest.mark.parametrize(
    ("samples", "classes"), [(1, 1), (5, 1), (7, 3), (1000, 4), (3, 300), (100_001, 3)]
)
def test_seeded_spiral_is_the_same_on_every_backend(backend, samples, classes):
    X, y = host(*spiral_data(samples, classes, seed=77))
    with use_backend("numpy"):
        expected, labels = host(*spiral_data(samples, classes, seed=77))
    # the last digit of a coordinate, and of an angle of up to 10 (classes + 1)
    tolerance = float(np.finfo(backend.dtype).eps) / 2 + 10 * (classes + 1) * 2.0**-51
    np.testing.assert_allclose(X, expected, rtol=0, atol=tolerance)
    np.testing.assert_array_equal(y, labels)


def test_seed_decides_and_leaves_numpys_stream_alone(backend):
    np.random.seed(2)
    first, again, other = (host(spiral_data(50, 3, seed=s)[0])[0] for s in (1, 1, 2))
    assert np.random.rand() == np.random.RandomState(2).rand()
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.9
    assert (first != host(spiral_data(50, 3)[0])[0]).mean() > 0.9


def test_seeds_that_differ_in_high_bits_only(backend):
    points = [host(spiral_data(50, 1, seed=s)[0])[0] for s in (1, 1 + 2**32, 1 + 2**63, 2**64 - 1)]
    for i, one in enumerate(points):
        for other in points[i + 1 :]:
            assert (one != other).mean() > 0.9


@pytest.mark.parametrize("classes", [1, 300])
def test_seeded_spiral_of_few_and_many_classes(backend, classes):
    X, y = host(*spiral_data(11, classes, seed=3))
    assert y.tolist() == np.repeat(np.arange(classes), 11).tolist()
    assert y.max() == classes - 1
    assert abs(residuals(X, 11, classes).std() - 0.5) < 4 * 0.5 / math.sqrt(20 * classes)


@pytest.mark.parametrize("kind", [np.int64, np.uint64])
def test_numpy_seeds_of_64_bits(backend, kind):
    X, expected = (host(spiral_data(9, 3, seed=s)[0])[0] for s in (kind(5), 5))
    np.testing.assert_array_equal(X, expected)


def test_numpy_seeds_of_fewer_bits(backend):
    expected = host(spiral_data(9, 3, seed=5)[0])[0]
    for kind in (np.int32, np.uint32, np.uint8):
        np.testing.assert_array_equal(host(spiral_data(9, 3, seed=kind(5))[0])[0], expected)


# ---- the Bayes limit ----


def wrapped_normal_limit(classes, points=1 << 19):
    """Mean over the circle of the largest class density, times 2 pi / classes.

    The trapezoid rule on a circle is exact to 1e-15 for the densities; the kinks where one
    class takes over from another leave about 1e-10.
    """
    angle = np.arange(points) * (2 * np.pi / points)
    largest = np.zeros(points)
    for c in range(classes):
        distance = np.angle(np.exp(1j * (angle - 10.0 * c)))
        density = sum(np.exp(-((distance + 2 * np.pi * k) ** 2) / 0.5) for k in (-1, 0, 1))
        np.maximum(largest, density, out=largest)
    return largest.mean() * 2 * np.pi / (0.5 * math.sqrt(2 * np.pi)) / classes


@pytest.mark.parametrize("classes", [1, 2, 3, 4, 5, 10, 22])
def test_bayes_limit_by_integration(classes):
    assert spiral_bayes_limit(classes) == pytest.approx(wrapped_normal_limit(classes), abs=1e-9)


def test_bayes_limit_of_very_many_classes():
    expected = wrapped_normal_limit(100, points=1 << 16)
    assert spiral_bayes_limit(100) == pytest.approx(expected, abs=1e-7)
    limits = [spiral_bayes_limit(classes) for classes in (1, 2, 3, 5, 10, 50, 300, 5000)]
    assert limits == sorted(limits, reverse=True)
    # packed densely on the circle, the classes' territories at the height of their peaks
    # fill it; no gap is above 0.085, which takes less than (0.085 / 2 / 0.5)^2 / 6
    filled = 2 * np.pi / (0.5 * math.sqrt(2 * np.pi)) / 5000
    assert filled * (1 - 0.00121) < spiral_bayes_limit(5000) < filled


def test_bayes_limit_in_numbers():
    assert spiral_bayes_limit(1) == 1
    assert spiral_bayes_limit(3) == pytest.approx(0.90983, abs=5e-6)


@pytest.mark.parametrize("classes", [1, 2, 3, 5, 10])
def test_a_perfect_classifier_reaches_the_bayes_limit(classes):
    """400,000 points; the class whose centre is nearest on the circle, radius by radius."""
    use_backend("numpy", dtype="float64")
    samples = 400_000 // classes
    X, y = host(*spiral_data(samples, classes, seed=99))
    r = np.tile(np.linspace(0, 1, samples), classes)
    angle = np.arctan2(X[:, 0], X[:, 1]) - 10.0 * r
    best = np.full(len(y), -2.0)
    predicted = np.empty(len(y), int)
    for c in range(classes):
        nearness = np.cos(angle - 10.0 * c)
        predicted[nearness > best] = c
        np.maximum(best, nearness, out=best)
    limit = spiral_bayes_limit(classes)
    error = math.sqrt(limit * (1 - limit) / len(y))
    assert abs((predicted == y).mean() - limit) <= 4 * error + 1e-12


# ---- init ----


def test_init_sets_this_librarys_own_state(backend_name):
    use_backend(backend_name, dtype="float64", precise_dot=False, book_random=False)
    init()
    backend = get_backend()
    assert backend.name == backend_name
    assert (backend.dtype, backend.precise_dot, backend.book_random) == ("float32", True, True)
    assert np.random.rand() == np.random.RandomState(0).rand()
    init(False, "float64", 7)
    backend = get_backend()
    assert (backend.dtype, backend.precise_dot, backend.book_random) == ("float64", False, True)
    assert np.random.rand() == np.random.RandomState(7).rand()
    init(dot_precision_workaround=True, default_dtype="float32", random_seed=3)
    assert (get_backend().precise_dot, get_backend().dtype) == (True, "float32")
    assert np.random.rand() == np.random.RandomState(3).rand()


def test_init_without_a_seed_leaves_the_stream(backend_name):
    use_backend(backend_name)
    np.random.seed(5)
    np.random.rand()
    init(random_seed=None)
    expected = np.random.RandomState(5)
    expected.rand()
    assert np.random.rand() == expected.rand()


def test_init_does_not_touch_what_exists(backend_name):
    use_backend(backend_name, dtype="float64", precise_dot=False, book_random=False)
    layer, before = Layer_Dense(2, 3), get_backend()
    init()
    assert layer.backend is before
    assert layer.weights.dtype == np.float64
    assert before.precise_dot is False


def test_numpy_is_not_patched(backend_name):
    use_backend(backend_name)
    names = ("dot", "zeros", "eye", "ones", "array", "asarray", "sum", "exp")
    draws = ("randn", "rand", "seed", "binomial", "normal")
    functions = [getattr(np, name) for name in names]
    functions += [getattr(np.random, name) for name in draws]
    init()
    spiral_data(10, 3)
    Layer_Dense(2, 3).forward([[1, 2]])
    now = [getattr(np, name) for name in names] + [getattr(np.random, name) for name in draws]
    assert all(a is b for a, b in zip(functions, now, strict=True))
    assert np.zeros(2).dtype == np.eye(2).dtype == np.random.randn(2).dtype == np.float64
    assert isinstance(np.random.randn(), float)  # the package's patch crashes here
    halves = np.full((1, 3), 0.1, np.float32)
    assert np.dot(halves, halves.T).dtype == np.float32


def test_precise_products_round_once(backend_name):
    """Sums that float32 loses: 1e8 + 1 - 1e8 is 1 in float64 and 0 in float32."""
    use_backend(backend_name)
    init()
    layer = Layer_Dense(3, 1)
    layer.weights = [[1.0], [1.0], [1.0]]
    output = layer.forward([[1e8, 1.0, -1e8]])
    assert host(output)[0].tolist() == [[1.0]]
    assert output.dtype == np.float32


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


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_seeds_out_of_range(backend, seed):
    with pytest.raises(ValueError, match=rf"seed: got {seed}, expected 0 to 2\^64 - 1"):
        spiral_data(3, 3, seed=seed)


@pytest.mark.parametrize("seed", [1.5, "1", [1], np.float64(2)], ids=repr)
def test_seeds_that_are_no_whole_numbers(seed):
    use_backend("numpy")
    with pytest.raises(TypeError, match=r"seed: got .*, expected"):
        spiral_data(3, 3, seed=seed)


@pytest.mark.parametrize("dtype", ["float16", "int32", "complex64"])
def test_init_with_another_dtype_changes_nothing(backend_name, dtype):
    before = use_backend(backend_name, dtype="float64")._new
    np.random.seed(1)
    with pytest.raises(ValueError, match=f"dtype: got {dtype}, expected float32 or float64"):
        init(default_dtype=dtype)
    assert get_backend() is before
    assert np.random.rand() == np.random.RandomState(1).rand()


@pytest.mark.parametrize("dtype", ["float", "double", ">f8" if np.little_endian else "<f8"])
def test_names_that_numpy_has_for_the_dtypes(dtype):
    use_backend("numpy")
    if dtype[0] in "<>":  # the other byte order is no dtype of ours
        with pytest.raises(ValueError, match=r"dtype: got .*, expected float32 or float64"):
            init(default_dtype=dtype)
    else:
        init(default_dtype=dtype)
        assert get_backend().dtype == np.float64


@pytest.mark.parametrize("dtype", ["single precision", "f9"])
def test_init_with_a_name_that_is_no_dtype(dtype):
    use_backend("numpy")
    with pytest.raises(ValueError, match=r"dtype: got .*, expected float32 or float64"):
        init(default_dtype=dtype)


@pytest.mark.parametrize("seed", [-1, 2**32, "zero"])
def test_init_with_a_bad_seed_changes_nothing(seed):
    before = use_backend("numpy", dtype="float64")._new
    with pytest.raises((TypeError, ValueError)):
        init(random_seed=seed)
    assert get_backend() is before
