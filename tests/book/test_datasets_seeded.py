"""Seeded spirals have the stated distribution, and the Bayes limit is what is reached on them.

Proves that they are the same on every backend, and that a perfect classifier reaches the limit,
by integration and by counting.
"""

import math

import numpy as np
import pytest

from nnfs_gpu import (
    get_backend,
    spiral_bayes_limit,
    spiral_data,
    use_backend,
)

pytestmark = pytest.mark.default_backend


def host(*arrays):
    return tuple(get_backend().to_numpy(a) for a in arrays)


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
    if backend.name != "numpy" and backend.dtype == np.float32:
        tolerance = 1e-6  # all is float32, the noise too: the bits that a GPU has
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


# ---- errors ----


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_seeds_out_of_range(backend, seed):
    with pytest.raises(ValueError, match=rf"seed: got {seed}, expected 0 to 2\^64 - 1"):
        spiral_data(3, 3, seed=seed)


@pytest.mark.parametrize("seed", [1.5, "1", [1], np.float64(2)], ids=repr)
def test_seeds_that_are_no_whole_numbers(seed):
    use_backend("numpy")
    with pytest.raises(TypeError, match=r"seed: got .*, expected"):
        spiral_data(3, 3, seed=seed)
