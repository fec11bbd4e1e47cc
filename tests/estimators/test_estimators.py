"""NNFSClassifier and NNFSRegressor: scikit-learn's contract, and what they learn.

Proves that scikit-learn's own checks pass on every backend, that pipelines and searches work, and
that probabilities, targets, losses, penalties and fitted attributes are what they say.
"""

from __future__ import annotations

import numpy as np
import pytest
from operation_formulas import softmax_forward

from nnfs_gpu import Model

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from estimator_data import BOTH, ENDLESS, QUICK, data, forward
from sklearn.datasets import load_diabetes, load_iris
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from nnfs_gpu.estimators.classes import FLOAT32_CHECKS, NNFSClassifier, NNFSRegressor


# ---- scikit-learn's own checks ----
@pytest.mark.parametrize("kind", BOTH)
def test_scikit_learns_checks_pass(kind, backend_name, dtype):
    settings = {"max_iter": 20, "learning_rate_init": 0.02, **ENDLESS}
    estimator = kind((16,), backend=backend_name, dtype=dtype.name, **settings)
    expected = FLOAT32_CHECKS if dtype == np.float32 else {}
    results = check_estimator(estimator, expected_failed_checks=expected, on_skip=None)
    assert sum(result["status"] == "passed" for result in results) >= 45
    failed = {result["check_name"] for result in results if result["status"] == "xfail"}
    assert failed <= set(expected)


@pytest.mark.parametrize("kind", BOTH)
def test_rows_do_not_depend_on_other_rows(kind, iris, line, backend_name):
    """In place of what FLOAT32_CHECKS excludes: the same to float32's rounding."""
    X, y = data(kind, iris, line)
    estimator = kind(**QUICK | {"backend": backend_name}).fit(X, y)
    if kind is NNFSClassifier:
        predict, unit = estimator.predict_proba, 1.0
    else:
        predict, unit = estimator.predict, float(estimator.y_scale_[0])
    order = np.random.RandomState(1).permutation(len(X))
    one_by_one = np.concatenate([predict(X[row : row + 1]) for row in order])
    np.testing.assert_allclose(one_by_one, predict(X)[order], rtol=0, atol=4e-6 * unit)


# ---- what is learned ----
def test_classifier_in_a_pipeline_with_names_of_classes():
    X, y = load_iris(return_X_y=True)
    names = np.array(["a", "b", "c"])[y]
    pipeline = make_pipeline(
        StandardScaler(),
        NNFSClassifier(max_iter=40, learning_rate_init=0.01, random_state=0, **ENDLESS),
    )
    assert cross_val_score(pipeline, X, names, cv=3).mean() > 0.9
    assert set(pipeline.fit(X, names).predict(X)) == {"a", "b", "c"}


def test_regressor_in_a_pipeline():
    X, y = load_diabetes(return_X_y=True)
    pipeline = make_pipeline(
        StandardScaler(),
        NNFSRegressor((16,), max_iter=30, batch_size=32, random_state=0, **ENDLESS),
    )
    assert cross_val_score(pipeline, X, y, cv=3).min() > 0.35


def test_grid_search(iris):
    X, y = iris
    grid = {
        "hidden_layer_sizes": [(), (16,)],
        "solver": ["sgd", "adam"],
        "learning_rate_init": [1e-6, 0.05],
    }
    search = GridSearchCV(NNFSClassifier(**QUICK, batch_size=32), grid, cv=2).fit(X, y)
    assert search.best_params_["learning_rate_init"] == 0.05
    assert search.best_score_ > 0.8


def test_probabilities_are_the_networks(iris):
    X, y = iris
    classifier = NNFSClassifier((8, 7), dtype="float64", **QUICK).fit(X, y)
    scores = forward(classifier, X)
    expected = softmax_forward(None, scores)[0].value
    np.testing.assert_allclose(classifier.predict_proba(X), expected, rtol=1e-12)
    np.testing.assert_allclose(classifier.predict_log_proba(X), np.log(expected), rtol=1e-9)
    np.testing.assert_array_equal(
        classifier.predict(X), classifier.classes_[expected.argmax(axis=1)]
    )
    assert classifier.predict_proba(X).dtype == np.float64
    assert NNFSClassifier(**QUICK).fit(X, y).predict_proba(X).dtype == np.float32


def test_log_probability_of_zero_is_minus_infinity(iris):
    X, y = iris
    classifier = NNFSClassifier(**QUICK).fit(X, y)
    logs = classifier.predict_log_proba(X * 1e4)
    assert np.isneginf(logs).any()
    assert not np.isnan(logs).any()


def test_two_classes_and_one(iris):
    X, y = iris
    two = NNFSClassifier(**QUICK).fit(X, y == "setosa")
    assert two.predict_proba(X).shape == (150, 2)
    assert two.predict(X).dtype == bool
    one = NNFSClassifier(**QUICK).fit(X, np.full(150, "x"))
    assert set(one.predict(X)) == {"x"}
    np.testing.assert_array_equal(one.predict_proba(X), np.ones((150, 1), np.float32))


def test_targets_are_standardized_inside(line):
    X, y = line
    regressor = NNFSRegressor(
        (16,), max_iter=60, learning_rate_init=0.02, random_state=0, **ENDLESS
    )
    regressor.fit(X, y)
    assert regressor.score(X, y) > 0.97  # the mean of both targets' scores
    np.testing.assert_allclose(regressor.y_mean_, y.mean(axis=0))
    np.testing.assert_allclose(regressor.y_scale_, y.std(axis=0))
    expected = forward(regressor, X) * y.std(axis=0) + y.mean(axis=0)
    np.testing.assert_allclose(regressor.predict(X), expected, rtol=1e-5)
    assert regressor.predict(X).dtype == np.float64


def test_regressor_keeps_the_shape_of_the_targets(line):
    X, y = line
    flat, column = (
        NNFSRegressor(**QUICK).fit(X, targets).predict(X) for targets in (y[:, 0], y[:, :1])
    )
    assert (flat.shape, column.shape) == ((120,), (120, 1))
    np.testing.assert_array_equal(flat, column[:, 0])
    assert NNFSRegressor(**QUICK).fit(X, y).predict(X).shape == (120, 2)


def test_equal_targets_are_predicted(line):
    X = line[0]
    regressor = NNFSRegressor(**QUICK | {"max_iter": 300}, batch_size=32)
    regressor.fit(X, np.full(120, 0.1))
    np.testing.assert_allclose(regressor.predict(X), 0.1, atol=0.1)
    assert regressor.y_scale_ == 1  # and not the 1e-17 that rounding leaves


def test_targets_whose_spread_overflows_are_refused(line):
    X, y = line
    with pytest.raises(ValueError, match="y: got targets whose spread overflows float64"):
        NNFSRegressor(max_iter=1).fit(X, y * 1e300)


def test_squared_error_finds_the_mean_and_absolute_error_the_median():
    X, y = np.zeros((50, 1)), np.append(np.zeros(45), np.full(5, 100.0))
    settings = {
        "hidden_layer_sizes": (),
        "max_iter": 800,
        **ENDLESS,
        "batch_size": None,
        "learning_rate_init": 0.01,
    }
    settings |= {"decay": 0.002, "random_state": 0}
    mean = NNFSRegressor(**settings).fit(X, y).predict(X[:1])
    median = NNFSRegressor(loss="absolute_error", **settings).fit(X, y).predict(X[:1])
    assert mean == pytest.approx(10, abs=0.5)
    assert median == pytest.approx(0, abs=0.5)


def test_penalties_shrink_weights_and_dropout_is_off_in_predictions(iris):
    X, y = iris
    settings = QUICK | {"max_iter": 30, "learning_rate_init": 0.01, "batch_size": 32}
    norms = {
        name: sum(np.abs(w).sum() for w in NNFSClassifier(**settings, **more).fit(X, y).coefs_)
        for name, more in {"none": {}, "l1": {"l1": 0.01}, "l2": {"alpha": 0.64}}.items()
    }
    assert norms["l1"] < 0.5 * norms["none"]
    assert norms["l2"] < 0.8 * norms["none"]
    dropping = NNFSClassifier(**settings, dropout=0.5).fit(X, y)
    plain = NNFSClassifier(**settings).fit(X, y)
    assert dropping.loss_curve_[-1] > plain.loss_curve_[-1]
    np.testing.assert_array_equal(dropping.predict_proba(X), dropping.predict_proba(X))


def test_fitted_attributes(iris):
    X, y = iris
    classifier = NNFSClassifier((8,), early_stopping=True, **QUICK).fit(X, y)
    assert isinstance(classifier.model_, Model)
    assert (classifier.n_features_in_, classifier.n_iter_) == (4, 3)
    assert classifier.classes_.tolist() == ["setosa", "versicolor", "virginica"]
    assert {"loss", "accuracy", "val_loss", "val_accuracy"} <= set(classifier.history_)
    assert [w.shape for w in classifier.coefs_] == [(4, 8), (8, 3)]
    assert [b.shape for b in classifier.intercepts_] == [(8,), (3,)]
    for values in (*classifier.history_.values(), *classifier.coefs_):
        assert type(values) is np.ndarray
    assert not hasattr(NNFSClassifier(), "coefs_")
