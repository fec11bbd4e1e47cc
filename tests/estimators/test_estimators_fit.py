"""Fits of estimators: early stopping, warm starts, and settings, of which bad ones are refused."""

from __future__ import annotations

import functools
import pickle

import numpy as np
import pytest

from nnfs_gpu import Optimizer_SGD

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from estimator_data import BOTH, QUICK, data
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from nnfs_gpu.estimators.classes import NNFSClassifier, NNFSRegressor


# ---- early stopping and warm starts ----
@pytest.mark.parametrize("kind", BOTH)
def test_early_stopping_keeps_the_best_epoch(kind, iris, line, monkeypatch):
    X, y = data(kind, iris, line)
    split, parts = kind._set_aside, []
    monkeypatch.setattr(kind, "_set_aside", lambda *args: parts.append(split(*args)) or parts[0])
    stopped = kind(
        **QUICK | {"max_iter": 400, "learning_rate_init": 0.05, "n_iter_no_change": 4},
        batch_size=32,
        early_stopping=True,
        validation_fraction=0.2,
        tol=0.0,
    ).fit(X, y)
    assert 4 < stopped.n_iter_ < 400
    name = "val_accuracy" if kind is NNFSClassifier else "val_loss"
    curve = stopped.history_[name]
    best = curve.argmax() if kind is NNFSClassifier else curve.argmin()
    assert best == stopped.n_iter_ - 5
    (trained, _), held_out = parts[0]
    assert (len(trained), len(held_out[0])) == (len(X) * 4 // 5, len(X) // 5)
    measured = stopped.model_.evaluate(*held_out, verbose=False)
    assert measured[name.removeprefix("val_")] == pytest.approx(curve[best], rel=1e-6)
    if kind is NNFSClassifier:
        assert np.bincount(held_out[1]).tolist() == [10, 10, 10]


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("pickled", [False, True])
def test_warm_start_goes_on_where_it_stopped(kind, pickled, iris, line):
    """Also after pickling: the optimizer's state and the dropout masks go along."""
    X, y = data(kind, iris, line)
    settings = QUICK | {"batch_size": 50, "shuffle": False, "dropout": 0.2, "decay": 0.01}
    whole = kind(**settings | {"max_iter": 6}).fit(X, y)
    half = kind(**settings, warm_start=True).fit(X, y)
    if pickled:
        half = pickle.loads(pickle.dumps(half))
    half.fit(X, y)
    np.testing.assert_array_equal(half.predict(X), whole.predict(X))
    for a, b in zip(half.coefs_, whole.coefs_, strict=True):
        np.testing.assert_array_equal(a, b)
    assert half.loss_curve_ == whole.loss_curve_
    assert (half.n_iter_, half.t_) == (3, whole.t_)


def test_warm_start_refuses_another_network(iris, line):
    classifier = NNFSClassifier(**QUICK, warm_start=True).fit(*iris)
    with pytest.raises(ValueError, match=r"new class.*'rose'"):
        classifier.fit(iris[0], np.where(iris[1] == "setosa", "rose", iris[1]))
    with pytest.raises(ValueError, match="hidden_layer_sizes changed since the last fit"):
        clone(classifier).fit(*iris).set_params(hidden_layer_sizes=(3,)).fit(*iris)
    regressor = NNFSRegressor(**QUICK, warm_start=True).fit(*line)
    with pytest.raises(ValueError, match=r"got 1 target\(s\) a sample, expected 2"):
        regressor.fit(line[0], line[1][:, 0])


def test_warm_start_knows_the_classes_that_are_missing(iris):
    X, y = iris
    classifier = NNFSClassifier(**QUICK, warm_start=True).fit(X, y)
    classifier.fit(X[50:], y[50:])
    assert classifier.predict_proba(X).shape == (150, 3)
    assert classifier.classes_.tolist() == ["setosa", "versicolor", "virginica"]


# ---- settings ----
@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"hidden_layer_sizes": (0,)}, ValueError, "hidden_layer_sizes: got 0"),
        ({"hidden_layer_sizes": (2.5,)}, TypeError, "hidden_layer_sizes: got 2.5"),
        ({"hidden_layer_sizes": "64"}, TypeError, "hidden_layer_sizes: got '64', expected a tuple"),
        ({"activation": "elu"}, ValueError, "activation: got 'elu', expected one of relu, leaky"),
        ({"dropout": 1.0}, ValueError, "dropout: got 1.0"),
        ({"l1": -1}, ValueError, "l1: got -1"),
        ({"alpha": "much"}, ValueError, "alpha: got 'much'"),
        (
            {"solver": "lbfgs"},
            ValueError,
            "solver: got 'lbfgs', but there is none here; use 'adam'",
        ),
        ({"solver": Optimizer_SGD()}, ValueError, "solver: got"),
        ({"solver": lambda: 3}, TypeError, "made 3, expected an optimizer"),
        ({"learning_rate_init": -1}, ValueError, "learning_rate_init: got -1"),
        ({"decay": np.nan}, ValueError, "decay: got nan"),
        ({"max_iter": 0}, ValueError, "max_iter: got 0"),
        ({"batch_size": 0}, ValueError, "batch_size: got 0"),
        ({"n_iter_no_change": 0}, ValueError, "n_iter_no_change"),
        ({"tol": -1}, ValueError, "tol: got -1"),
        ({"early_stopping": True, "validation_fraction": 1.5}, ValueError, "validation_fraction"),
        ({"early_stopping": True, "validation_fraction": 0}, ValueError, "above 0"),
        ({"backend": "abacus"}, ValueError, "unknown backend 'abacus'"),
        ({"backend": 3}, TypeError, "backend: got 3"),
        ({"dtype": "int8"}, ValueError, "int8"),
        ({"random_state": "x"}, ValueError, "seed"),
    ],
)
@pytest.mark.parametrize("kind", BOTH)
def test_bad_settings_are_refused_at_fit(kind, settings, error, message, iris, line):
    estimator = kind(**QUICK | settings)
    with pytest.raises(error, match=message):
        estimator.fit(*data(kind, iris, line))
    assert not hasattr(estimator, "model_")
    with pytest.raises(NotFittedError):
        estimator.predict(iris[0])


def test_unknown_loss_is_refused(line):
    with pytest.raises(ValueError, match="loss: got 'huber', expected one of squared_error"):
        NNFSRegressor(loss="huber", **QUICK).fit(*line)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_divergence_is_an_error(line, backend):
    wild = NNFSRegressor(solver="sgd", learning_rate_init=1e9, max_iter=30, backend=backend)
    with pytest.raises(ValueError, match="training diverged: the loss of epoch"):
        wild.fit(*line)


def test_optimizers(iris):
    X, y = iris
    made = functools.partial(Optimizer_SGD, momentum=0.9)
    classifier = NNFSClassifier(solver=made, learning_rate_init=0.1, decay=0.01, **QUICK).fit(X, y)
    optimizer = classifier.model_.optimizer
    assert (optimizer.momentum, optimizer.learning_rate, optimizer.decay) == (0.9, 0.1, 0.01)
    for name in ("adam", "adamw", "sgd", "rmsprop", "adagrad"):
        optimizer = NNFSClassifier(solver=name, **QUICK).fit(X, y).model_.optimizer
        assert type(optimizer).__name__.lower() == f"optimizer_{name}"
        assert optimizer.learning_rate == 0.001


def test_prints_only_when_asked(iris, capsys):
    NNFSClassifier(**QUICK).fit(*iris)
    assert capsys.readouterr().out == ""
    NNFSClassifier(**QUICK, verbose=True).fit(*iris)
    assert "epoch: 3\nstep: 0, acc: " in capsys.readouterr().out
