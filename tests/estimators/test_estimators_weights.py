"""`sample_weight` and `class_weight`: a whole number counts as so many copies of the sample."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from estimator_data import BOTH, QUICK, data
from sklearn.datasets import make_multilabel_classification
from sklearn.utils import compute_class_weight
from sklearn.utils.class_weight import compute_sample_weight

from nnfs_gpu.estimators.classes import NNFSClassifier, NNFSRegressor

SETTINGS = QUICK | {"hidden_layer_sizes": (8,), "max_iter": 10, "learning_rate_init": 0.02}
SETTINGS |= {"batch_size": None, "dtype": "float64", "alpha": 0.5}
COUNTS = np.random.RandomState(0).randint(0, 4, 150)


def assert_same(one, other, X, rtol=1e-9):
    for a, b in zip(one.coefs_, other.coefs_, strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-12)
    np.testing.assert_allclose(one.loss_curve_, other.loss_curve_, rtol=rtol)
    np.testing.assert_array_equal(one.predict(X).shape, other.predict(X).shape)


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_weights_are_copies(kind, backend, iris, line):
    X, y = data(kind, iris, line)
    counts = COUNTS[: len(X)]
    assert {0, 1, 2, 3} == set(counts)
    settings = SETTINGS | {"backend": backend}
    weighted = kind(**settings).fit(X, y, sample_weight=counts)
    copied = kind(**settings).fit(np.repeat(X, counts, axis=0), np.repeat(y, counts))
    assert_same(weighted, copied, X)
    if kind is NNFSRegressor:
        np.testing.assert_allclose(weighted.y_scale_, copied.y_scale_, rtol=1e-12)
    assert not np.allclose(weighted.coefs_[0], kind(**settings).fit(X, y).coefs_[0])


@pytest.mark.parametrize("kind", BOTH)
def test_equal_weights_count_as_none_do(kind, iris, line):
    X, y = data(kind, iris, line)
    plain = kind(**SETTINGS).fit(X, y)
    assert_same(plain, kind(**SETTINGS).fit(X, y, sample_weight=np.ones(len(X))), X)
    assert_same(plain, kind(**SETTINGS).fit(X, y, sample_weight=1.0), X)


def test_weights_of_parts(iris):
    X, y = iris
    parts, whole = NNFSClassifier(**SETTINGS), NNFSClassifier(**SETTINGS)
    for _ in range(10):
        parts.partial_fit(X, y, classes=np.unique(y), sample_weight=COUNTS)
    assert_same(parts, whole.fit(X, y, sample_weight=COUNTS), X)


def test_a_class_weight_is_that_of_its_samples(iris):
    X, y = iris
    weight = {"setosa": 3.0, "virginica": 0.5}
    each = np.select([y == "setosa", y == "virginica"], [3.0, 0.5], 1.0)
    by_class = NNFSClassifier(**SETTINGS, class_weight=weight).fit(X, y)
    assert_same(by_class, NNFSClassifier(**SETTINGS).fit(X, y, sample_weight=each), X)
    both = NNFSClassifier(**SETTINGS, class_weight=weight).fit(X, y, sample_weight=COUNTS)
    assert_same(both, NNFSClassifier(**SETTINGS).fit(X, y, sample_weight=each * COUNTS), X)


def test_balanced_classes(iris):
    X, y = iris[0][30:], iris[1][30:]
    numbers = compute_class_weight("balanced", classes=np.unique(y), y=y)
    assert numbers[0] > 1.5 * numbers[1]
    weight = dict(zip(np.unique(y), numbers, strict=True))
    balanced = NNFSClassifier(**SETTINGS, class_weight="balanced").fit(X, y)
    assert_same(balanced, NNFSClassifier(**SETTINGS, class_weight=weight).fit(X, y), X)
    with pytest.raises(ValueError, match="partial_fit: got class_weight='balanced', which needs"):
        NNFSClassifier(**SETTINGS, class_weight="balanced").partial_fit(X, y, np.unique(y))
    NNFSClassifier(**SETTINGS, class_weight=weight).partial_fit(X, y, np.unique(y))


def test_weights_of_labels():
    X, y = make_multilabel_classification(80, 5, n_classes=3, random_state=1)
    weights = [{0: 1, 1: 2}, {0: 1, 1: 1}, {0: 4, 1: 1}]
    fitted = NNFSClassifier(**SETTINGS, class_weight=weights).fit(X, y)
    each = compute_sample_weight(weights, y)
    assert len(set(each)) > 2
    assert_same(fitted, NNFSClassifier(**SETTINGS).fit(X, y, sample_weight=each), X)


@pytest.mark.parametrize("kind", BOTH)
def test_weights_stay_with_their_samples_in_early_stopping(kind, iris, line, monkeypatch):
    X, y = data(kind, iris, line)
    weights = X[:, 0] - X[:, 0].min() + 0.1
    split, parts = kind._set_aside, []
    monkeypatch.setattr(kind, "_set_aside", lambda *args: parts.append(split(*args)) or parts[0])
    fitted = kind(**SETTINGS, early_stopping=True).fit(X, y, sample_weight=weights)
    for X_part, targets, given in parts[0]:
        assert len(X_part) == len(targets) == len(given)
        np.testing.assert_allclose(given, X_part[:, 0] - X[:, 0].min() + 0.1, rtol=1e-6)
    *held_out, given = parts[0][1]
    measured = fitted.model_.evaluate(*held_out, sample_weight=given, verbose=False)
    best = np.argmax(fitted.validation_scores_)
    assert measured["loss"] == pytest.approx(fitted.history_["val_loss"][best], rel=1e-9)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.full(150, -1.0), "^sample_weight: got -1, expected numbers of at least 0"),
        (np.zeros(150), "sample_weight|zero"),
        (np.ones(149), r"sample_weight"),
        (np.full(150, np.nan), "NaN"),
        (np.ones((150, 2)), "[Ss]ample"),
    ],
)
def test_bad_weights_are_refused(weights, message, iris):
    classifier = NNFSClassifier(**SETTINGS)
    with pytest.raises(ValueError, match=message):
        classifier.fit(*iris, sample_weight=weights)
    assert not hasattr(classifier, "model_")


def test_masks_and_unknown_classes_are_refused(iris):
    X, y = iris
    masked = np.ma.array(np.ones(150), mask=np.arange(150) == 3)
    with pytest.raises(TypeError, match=r"^sample_weight: got a masked"):
        NNFSClassifier(**SETTINGS).fit(X, y, sample_weight=masked)
    with pytest.raises(ValueError, match="class_weight"):
        NNFSClassifier(**SETTINGS, class_weight="even").fit(X, y)
    with pytest.raises(
        TypeError, match=r"^class_weight: got \[1, 2, 3\], expected \{class: number\}"
    ):
        NNFSClassifier(**SETTINGS, class_weight=[1, 2, 3]).fit(X, y)
    with pytest.raises(ValueError, match=r"^sample_weight: could not convert string"):
        NNFSClassifier(**SETTINGS).fit(X, y, sample_weight=["much"] * 150)
