"""Too little data to set some aside, and masks: estimators say what would do."""

import re

import numpy as np
import pytest

from nnfs_gpu import use_backend

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from nnfs_gpu import NNFSClassifier, NNFSRegressor

X = np.random.default_rng(0).normal(size=(400, 2))
SETTINGS = {"hidden_layer_sizes": (4,), "max_iter": 1, "random_state": 0}
SETTINGS |= {"early_stopping": True, "n_iter_no_change": np.inf}


@pytest.fixture(autouse=True)
def _numpy():
    use_backend("numpy")


@pytest.mark.parametrize(
    ("samples", "classes", "share"),
    [(10, 3, 0.1), (6, 3, 0.1), (6, 3, 0.9), (7, 3, 0.1), (13, 6, 0.2), (19, 2, 0.01)],
)
def test_the_fraction_that_would_do(samples, classes, share):
    y = np.arange(samples) % classes
    classifier = NNFSClassifier(validation_fraction=share, **SETTINGS)
    message = rf"^validation_fraction: got {share} of {samples} sample\(s\), \d+ to validate on"
    with pytest.raises(ValueError, match=message + ".*expected at least one of each") as refused:
        classifier.fit(X[:samples], y)
    found = float(re.search(r"use validation_fraction=([\d.]+)", str(refused.value))[1])
    classifier.set_params(validation_fraction=found).fit(X[:samples], y)
    classifier.set_params(validation_fraction=share, early_stopping=False).fit(X[:samples], y)


@pytest.mark.parametrize(("samples", "share"), [(6, 0.9), (2, 0.8), (3, 0.99), (400, 0.999)])
def test_of_a_regression(samples, share):
    regressor = NNFSRegressor(validation_fraction=share, **SETTINGS)
    with pytest.raises(
        ValueError, match=r"^validation_fraction: .*at least one for both"
    ) as refused:
        regressor.fit(X[:samples], X[:samples, 0])
    found = float(re.search(r"use validation_fraction=([\d.]+)", str(refused.value))[1])
    regressor.set_params(validation_fraction=found).fit(X[:samples], X[:samples, 0])


def refusal(samples, share, y):
    """What is said of a split, "" where it can be made."""
    from nnfs_gpu.estimators.base import check_split

    try:
        check_split(samples, share, y)
    except ValueError as error:
        return str(error)
    return ""


def test_every_small_size_and_share():
    """What is refused names a fraction that works, or that none does."""
    for samples in range(1, 40):
        for classes in (None, 1, 2, 3, 7):
            y = None if classes is None else np.arange(samples) % classes
            for share in (0.001, 0.1, 0.25, 0.5, 0.9, 0.999):
                message = refusal(samples, share, y)
                found = re.search(r"use validation_fraction=([\d.]+)", message)
                if found:
                    assert refusal(samples, float(found[1]), y) == ""
                elif message:
                    assert samples < 2 * (classes or 1)


def test_no_fraction_would_do():
    for samples, y, message in (
        (1, [0], "a class of 1 sample, expected at least 2"),
        (4, [0, 0, 1, 2], "a class of 1 sample"),
    ):
        classifier = NNFSClassifier(**SETTINGS)
        with pytest.raises(ValueError, match=message + ".*early_stopping=False"):
            classifier.fit(X[:samples], y)
        classifier.set_params(early_stopping=False).fit(X[:samples], y)
    with pytest.raises(ValueError, match="give more samples, or do without: early_stopping=False"):
        NNFSRegressor(**SETTINGS).fit(X[:1], [1.0])


@pytest.mark.parametrize("estimator", [NNFSClassifier, NNFSRegressor])
def test_masks_are_not_dropped_without_a_word(estimator):
    y, masked = np.arange(400) % 3, np.ma.array(X, mask=X > 2)
    fitted = estimator(**SETTINGS)
    for name, given in (("X", (masked, y)), ("y", (X, np.ma.array(y, mask=y == 1)))):
        with pytest.raises(TypeError, match=rf"^{name}: got a masked .*use {name}.filled\(0\)"):
            fitted.fit(*given)
    fitted.fit(masked.filled(0), y)
    with pytest.raises(TypeError, match=r"^X: got a masked"):
        fitted.predict(masked)
