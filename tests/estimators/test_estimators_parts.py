"""Data that come in parts, and several labels a sample: `partial_fit` and multilabel targets."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from estimator_data import BOTH, QUICK, data, forward
from scipy.sparse import csr_array
from sklearn.datasets import make_multilabel_classification
from sklearn.metrics import log_loss
from sklearn.multiclass import OneVsRestClassifier
from sklearn.preprocessing import scale

from nnfs_gpu.estimators.classes import NNFSClassifier, NNFSRegressor


def classes(kind, y):
    return {"classes": np.unique(y)} if kind is NNFSClassifier else {}


# ---- partial_fit ----
@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("pickled", [False, True])
def test_epochs_one_by_one_are_those_of_fit(kind, pickled, iris, line):
    X, y = data(kind, iris, line)
    settings = QUICK | {"batch_size": 40, "shuffle": False, "dropout": 0.2}
    whole = kind(**settings).fit(X, y)
    parts = kind(**settings)
    for _ in range(3):
        assert parts.partial_fit(X, y, **classes(kind, y)) is parts
        assert parts.n_iter_ == 1
        parts = pickle.loads(pickle.dumps(parts)) if pickled else parts
    for a, b in zip(parts.coefs_, whole.coefs_, strict=True):
        np.testing.assert_array_equal(a, b)
    assert parts.loss_curve_ == whole.loss_curve_
    assert parts.t_ == whole.t_ == 3 * len(X)


@pytest.mark.parametrize("kind", BOTH)
def test_parts_of_other_sizes_are_learned(kind, iris, line):
    X, y = data(kind, iris, line)
    estimator = kind(**QUICK | {"learning_rate_init": 0.02}, batch_size=16)
    order = np.random.RandomState(0)
    for _ in range(60):
        rows = order.permutation(len(X))[: order.randint(10, 60)]
        estimator.partial_fit(X[rows], y[rows], **classes(kind, y))
    assert estimator.score(X, y) > 0.9
    assert len(estimator.loss_curve_) == 60


def test_every_part_is_mixed_otherwise(iris):
    X, y = iris
    once, twice = (NNFSClassifier(**QUICK, batch_size=30) for _ in range(2))
    for _ in range(2):
        twice.partial_fit(X, y, classes=np.unique(y))
    once.set_params(max_iter=1).fit(X, y)
    start = once.coefs_
    once.set_params(warm_start=True, shuffle=False).fit(X, y)
    assert not np.array_equal(once.coefs_[0], twice.coefs_[0])
    assert not np.array_equal(start[0], twice.coefs_[0])


def test_classes_have_to_be_said_once(iris):
    X, y = iris
    classifier = NNFSClassifier(**QUICK)
    with pytest.raises(ValueError, match="the first call needs classes, all that will ever come"):
        classifier.partial_fit(X, y)
    few = y != "virginica"
    classifier.partial_fit(X[few], y[few], classes=["virginica", "setosa", "versicolor"])
    assert classifier.classes_.tolist() == ["setosa", "versicolor", "virginica"]
    assert classifier.predict_proba(X).shape == (150, 3)
    classifier.partial_fit(X, y)
    with pytest.raises(ValueError, match=r"partial_fit: got classes \['a'\], expected \['setosa"):
        classifier.partial_fit(X, y, classes=["a"])
    with pytest.raises(ValueError, match=r"partial_fit: got the new class\(es\) \['rose'\]"):
        classifier.partial_fit(X, np.where(few, y, "rose"))
    with pytest.raises(ValueError, match=r"partial_fit: got the new class\(es\) \['setosa'\]"):
        NNFSClassifier(**QUICK).partial_fit(X, y, classes=["versicolor", "virginica"])


@pytest.mark.parametrize("kind", BOTH)
def test_what_partial_fit_cannot_do(kind, iris, line):
    X, y = data(kind, iris, line)
    with pytest.raises(ValueError, match="partial_fit: got early_stopping=True, which looks at"):
        kind(**QUICK, early_stopping=True).partial_fit(X, y, **classes(kind, y))
    estimator = kind(**QUICK).partial_fit(X, y, **classes(kind, y))
    with pytest.raises(ValueError, match="partial_fit: activation changed since the last fit"):
        estimator.set_params(activation="tanh").partial_fit(X, y)
    estimator.set_params(activation="relu", learning_rate_init=0.5).partial_fit(X, y)
    assert estimator.history_["learning_rate"].tolist() == [0.001, 0.5]


def test_a_regressor_keeps_the_scale_of_its_first_part(line):
    X, y = line
    regressor = NNFSRegressor(**QUICK).partial_fit(X[:50], y[:50])
    regressor.partial_fit(X[50:], y[50:])
    np.testing.assert_allclose(regressor.y_mean_, y[:50].mean(axis=0))
    with pytest.raises(ValueError, match=r"partial_fit: got 1 target\(s\) a sample, expected 2"):
        regressor.partial_fit(X, y[:, 0])


# ---- labels ----
@pytest.fixture(scope="module")
def labels():
    """Features and a table of 0 and 1, of which a row may have any number of 1."""
    X, y = make_multilabel_classification(300, 12, n_classes=4, random_state=2)
    return scale(X), y


def test_labels_are_learned(labels):
    X, y = labels
    classifier = NNFSClassifier((32,), **QUICK | {"max_iter": 60, "learning_rate_init": 0.01})
    classifier.set_params(batch_size=32).fit(X, y)
    probabilities, predicted = classifier.predict_proba(X), classifier.predict(X)
    assert probabilities.shape == predicted.shape == y.shape
    assert (predicted == y).mean() > 0.9
    np.testing.assert_array_equal(predicted, (probabilities > 0.5) * 1)
    scores = forward(classifier, X)
    np.testing.assert_allclose(probabilities, 1 / (1 + np.exp(-scores)), rtol=1e-3, atol=1e-6)
    assert classifier.score(X, y) == (predicted == y).all(axis=1).mean()  # as scikit-learn has it
    assert classifier.classes_.tolist() == [0, 1, 2, 3]
    assert classifier.out_activation_ == "logistic"
    assert (classifier.n_outputs_, predicted.dtype.kind) == (4, "i")


def test_the_loss_of_labels_is_the_mean_over_them(labels):
    X, y = labels
    settings = QUICK | {"max_iter": 1, "learning_rate_init": 0.0}
    fitted = NNFSClassifier(**settings, alpha=0.0, dtype="float64").fit(X, y)
    p = fitted.predict_proba(X)
    expected = np.mean([log_loss(y[:, k], p[:, k]) for k in range(4)])
    assert fitted.loss_ == pytest.approx(expected, rel=1e-6)


def test_labels_in_every_form(labels):
    X, y = labels
    fits = [
        NNFSClassifier(**QUICK).fit(X, form).coefs_[0]
        for form in (y, y.astype(bool), y.astype(float), csr_array(y), y.tolist())
    ]
    for found in fits[1:]:
        np.testing.assert_array_equal(found, fits[0])


def test_labels_in_parts_and_early_stopping(labels):
    X, y = labels
    parts, whole = NNFSClassifier(**QUICK, shuffle=False), NNFSClassifier(**QUICK, shuffle=False)
    for _ in range(3):
        parts.partial_fit(X, y)
    np.testing.assert_array_equal(parts.coefs_[0], whole.fit(X, y).coefs_[0])
    early = NNFSClassifier(**QUICK, early_stopping=True).fit(X, y)
    assert len(early.validation_scores_) == 3
    with pytest.raises(ValueError, match="partial_fit: got classes, expected labels"):
        parts.partial_fit(X, y[:, 0])
    with pytest.raises(ValueError, match=r"partial_fit: got 2 target\(s\) a sample, expected 4"):
        parts.partial_fit(X, y[:, :2])
    single = NNFSClassifier(**QUICK).partial_fit(X, y[:, 0], classes=[0, 1])
    with pytest.raises(ValueError, match="partial_fit: got labels, expected classes"):
        single.partial_fit(X, y)


def test_other_tables_are_refused(labels):
    X, y = labels
    for wrong in (2 * y + 1, y - 1, np.arange(1200).reshape(300, 4) % 3):
        with pytest.raises(ValueError, match=r"^y: got shape \(300, 4\) and values .*0 and 1 for"):
            NNFSClassifier(**QUICK).fit(X, wrong)


def test_scikit_learns_own_way_to_labels_agrees(labels):
    """A network for each label."""
    X, y = labels
    each = OneVsRestClassifier(NNFSClassifier(**QUICK)).fit(X, y)
    assert each.predict(X).shape == y.shape
