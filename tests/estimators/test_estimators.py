"""NNFSClassifier and NNFSRegressor: scikit-learn's contract, and what it does not ask for.

Proves that scikit-learn's own checks pass on every backend; that pipelines, searches, pickles
and threads work; that `random_state` alone decides every random number; that early stopping,
warm starts, penalties and losses do what they say; and that bad settings are refused at fit.
"""

from __future__ import annotations

import functools
import importlib.util
import logging
import os
import pickle
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import nnfs_gpu.backend
from nnfs_gpu import Layer_Dense, Model, Optimizer_SGD, get_backend, init, use_backend
from nnfs_gpu.estimators import build as estimator_network

if importlib.util.find_spec("sklearn") is None:
    assert not os.environ.get("CI"), "CI must have scikit-learn: it is in the extra `test`"
    pytest.skip("scikit-learn is not installed: pip install -e '.[test]'", allow_module_level=True)

from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris, make_regression
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, scale
from sklearn.utils.estimator_checks import check_estimator

from nnfs_gpu.estimators.classes import FLOAT32_CHECKS, NNFSClassifier, NNFSRegressor

BOTH = (NNFSClassifier, NNFSRegressor)
QUICK = {"epochs": 3, "random_state": 0, "backend": "numpy"}


@pytest.fixture(scope="module")
def iris():
    """Scaled features (150, 4) and the names of the flowers."""
    X, y = load_iris(return_X_y=True)
    return scale(X), np.array(["setosa", "versicolor", "virginica"])[y]


@pytest.fixture(scope="module")
def line():
    """Two targets that are linear in five features, far from 0 and of unlike spread."""
    X, y = make_regression(120, 5, n_targets=2, random_state=0)
    return X, y * [1e4, 1e-3] + [3e6, 7]


def data(kind, iris, line):
    """Data for an estimator of this class, one target."""
    return iris if kind is NNFSClassifier else (line[0], line[1][:, 0])


def forward(estimator, X):
    """What the network computes, in float64 from its parameters, layers of ReLU."""
    values = np.asarray(X, np.float64)
    for number, (w, b) in enumerate(zip(estimator.coefs_, estimator.intercepts_, strict=True)):
        values = (np.maximum(values, 0) if number else values) @ w.astype(float) + b
    return values


# ---- scikit-learn's own checks ----
@pytest.mark.parametrize("kind", BOTH)
def test_scikit_learns_checks_pass(kind, backend_name, dtype):
    estimator = kind(
        (16,), epochs=20, learning_rate=0.02, batch_size=16, backend=backend_name, dtype=dtype.name
    )
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
        StandardScaler(), NNFSClassifier(epochs=40, learning_rate=0.01, random_state=0)
    )
    assert cross_val_score(pipeline, X, names, cv=3).mean() > 0.9
    assert set(pipeline.fit(X, names).predict(X)) == {"a", "b", "c"}


def test_regressor_in_a_pipeline():
    X, y = load_diabetes(return_X_y=True)
    pipeline = make_pipeline(StandardScaler(), NNFSRegressor((16,), epochs=30, random_state=0))
    assert cross_val_score(pipeline, X, y, cv=3).min() > 0.35


def test_grid_search(iris):
    X, y = iris
    grid = {"hidden": [(), (16,)], "optimizer": ["sgd", "adam"], "learning_rate": [1e-6, 0.05]}
    search = GridSearchCV(NNFSClassifier(**QUICK), grid, cv=2).fit(X, y)
    assert search.best_params_["learning_rate"] == 0.05
    assert search.best_score_ > 0.8


def test_probabilities_are_the_networks(iris):
    X, y = iris
    classifier = NNFSClassifier((8, 7), dtype="float64", **QUICK).fit(X, y)
    scores = forward(classifier, X)
    expected = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
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
    regressor = NNFSRegressor((16,), epochs=60, learning_rate=0.01, random_state=0).fit(X, y)
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
    regressor = NNFSRegressor(**QUICK | {"epochs": 300}).fit(X, np.full(120, 0.1))
    np.testing.assert_allclose(regressor.predict(X), 0.1, atol=0.1)
    assert regressor.y_scale_ == 1  # and not the 1e-17 that rounding leaves


def test_targets_whose_spread_overflows_are_refused(line):
    X, y = line
    with pytest.raises(ValueError, match="y: got targets whose spread overflows float64"):
        NNFSRegressor(epochs=1).fit(X, y * 1e300)


def test_squared_error_finds_the_mean_and_absolute_error_the_median():
    X, y = np.zeros((50, 1)), np.append(np.zeros(45), np.full(5, 100.0))
    settings = {"hidden": (), "epochs": 800, "batch_size": None, "learning_rate": 0.01}
    settings |= {"decay": 0.002, "random_state": 0}
    mean = NNFSRegressor(**settings).fit(X, y).predict(X[:1])
    median = NNFSRegressor(loss="absolute_error", **settings).fit(X, y).predict(X[:1])
    assert mean == pytest.approx(10, abs=0.5)
    assert median == pytest.approx(0, abs=0.5)


def test_penalties_shrink_weights_and_dropout_is_off_in_predictions(iris):
    X, y = iris
    settings = QUICK | {"epochs": 30, "learning_rate": 0.01}
    norms = {
        name: sum(np.abs(w).sum() for w in NNFSClassifier(**settings, **more).fit(X, y).coefs_)
        for name, more in {"none": {}, "l1": {"l1": 0.01}, "l2": {"l2": 0.01}}.items()
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
    for values in (*classifier.history_.values(), classifier.loss_curve_, *classifier.coefs_):
        assert type(values) is np.ndarray
    assert not hasattr(NNFSClassifier(), "coefs_")


# ---- random numbers ----
@pytest.mark.parametrize("kind", BOTH)
def test_random_state_alone_decides(kind, iris, line, backend_name):
    """After other draws, in the book's mode and with another default: the same bits."""
    X, y = data(kind, iris, line)
    settings = QUICK | {"dropout": 0.3, "early_stopping": True, "backend": backend_name}
    np.random.seed(1)
    before = np.random.get_state()[1].copy()
    first = kind(**settings).fit(X, y)
    np.testing.assert_array_equal(np.random.get_state()[1], before)
    np.random.rand(3)
    init()
    use_backend("numpy", dtype="float64")
    second = clone(first).fit(X, y)
    for a, b in zip(first.coefs_, second.coefs_, strict=True):
        np.testing.assert_array_equal(a, b)
    other = kind(**settings | {"random_state": 1}).fit(X, y)
    assert not np.array_equal(first.coefs_[0], other.coefs_[0])


def test_without_random_state_numpys_stream_decides(iris):
    fits = []
    for seed in (5, 5, 6):
        np.random.seed(seed)
        fits.append(NNFSClassifier(**QUICK | {"random_state": None}).fit(*iris).coefs_[0])
    np.testing.assert_array_equal(fits[0], fits[1])
    assert not np.array_equal(fits[0], fits[2])


def test_shuffling_is_on_request_and_from_random_state(iris, monkeypatch):
    train, seeds = Model.train, []

    def recorded(model, *args, **settings):
        seeds.append(settings["seed"])
        return train(model, *args, **settings)

    monkeypatch.setattr(Model, "train", recorded)
    fits = {
        (shuffle, state): NNFSClassifier(**QUICK | {"random_state": state}, shuffle=shuffle)
        .fit(*iris)
        .coefs_[0]
        for shuffle in (True, False)
        for state in (0, 1)
    }
    assert seeds[0] != seeds[1]
    assert seeds[:2] == seeds[2:]
    assert not np.array_equal(fits[True, 0], fits[False, 0])


def test_first_weights_have_the_variance_of_he(line):
    """A step of length 0 leaves them as they were drawn."""
    X = np.random.RandomState(0).randn(4, 400)
    fitted = NNFSRegressor(
        (300, 200), optimizer="sgd", learning_rate=0.0, **QUICK | {"epochs": 1}
    ).fit(X, np.arange(4))
    spread = [w.var() * len(w) for w in fitted.coefs_]
    assert spread[:2] == pytest.approx([2, 2], rel=0.03)
    assert spread[2] == pytest.approx(1, rel=0.3)
    assert not any(b.any() for b in fitted.intercepts_)


def test_threads_do_not_disturb_one_another(iris):
    X, y = iris

    def fitted(number):
        settings = {"dtype": ["float32", "float64"][number % 2], "random_state": number}
        return NNFSClassifier((8,), **QUICK | settings).fit(X, y).predict_proba(X)

    one_by_one = [fitted(number) for number in range(8)]
    state, default = np.random.get_state()[1].copy(), get_backend()
    with ThreadPoolExecutor(4) as pool:
        for alone, together in zip(one_by_one, pool.map(fitted, range(8)), strict=True):
            np.testing.assert_array_equal(alone, together)
    np.testing.assert_array_equal(np.random.get_state()[1], state)
    assert get_backend() is default


@pytest.mark.parametrize(
    ("place", "name"),
    [(Model, "finalize"), (Model, "predict"), (estimator_network, "get_backend")],
)
def test_what_threads_share_is_used_by_one_at_a_time(place, name, iris, monkeypatch):
    """The global stream, the default backend and the outputs that layers keep."""
    function, inside, most = getattr(place, name), [], []

    def slow(*args, **settings):
        inside.append(name)
        time.sleep(0.002)
        most.append(len(inside))
        inside.pop()
        return function(*args, **settings)

    monkeypatch.setattr(place, name, slow)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: NNFSClassifier(**QUICK).fit(*iris).predict(iris[0]), range(8)))
    assert len(most) >= 8
    assert max(most) == 1


# ---- early stopping and warm starts ----
@pytest.mark.parametrize("kind", BOTH)
def test_early_stopping_keeps_the_best_epoch(kind, iris, line, monkeypatch):
    X, y = data(kind, iris, line)
    split, parts = kind._split, []
    monkeypatch.setattr(kind, "_split", lambda *args: parts.append(split(*args)) or parts[0])
    stopped = kind(
        **QUICK | {"epochs": 400, "learning_rate": 0.05},
        early_stopping=True,
        validation_fraction=0.2,
        n_iter_no_change=4,
        tol=0.0,
    ).fit(X, y)
    assert 4 < stopped.n_iter_ < 400
    name = "val_accuracy" if kind is NNFSClassifier else "val_loss"
    curve = stopped.history_[name]
    best = curve.argmax() if kind is NNFSClassifier else curve.argmin()
    assert best == stopped.n_iter_ - 5
    trained, _, held_out = parts[0]
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
    whole = kind(**settings | {"epochs": 6}).fit(X, y)
    half = kind(**settings, warm_start=True).fit(X, y)
    if pickled:
        half = pickle.loads(pickle.dumps(half))
    half.fit(X, y)
    np.testing.assert_array_equal(half.predict(X), whole.predict(X))
    for a, b in zip(half.coefs_, whole.coefs_, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(half.loss_curve_, whole.loss_curve_[3:])


def test_warm_start_refuses_another_network(iris, line):
    classifier = NNFSClassifier(**QUICK, warm_start=True).fit(*iris)
    with pytest.raises(ValueError, match=r"new class.*'rose'"):
        classifier.fit(iris[0], np.where(iris[1] == "setosa", "rose", iris[1]))
    with pytest.raises(ValueError, match="hidden changed since the last fit"):
        clone(classifier).fit(*iris).set_params(hidden=(3,)).fit(*iris)
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
        ({"hidden": (0,)}, ValueError, "hidden: got 0"),
        ({"hidden": (2.5,)}, TypeError, "hidden: got 2.5"),
        ({"hidden": "64"}, TypeError, "hidden: got '64', expected a tuple"),
        ({"activation": "tanh"}, ValueError, "activation: got 'tanh', expected one of relu, sig"),
        ({"dropout": 1.0}, ValueError, "dropout: got 1.0"),
        ({"l1": -1}, ValueError, "l1: got -1"),
        ({"l2": "much"}, ValueError, "l2: got 'much'"),
        ({"optimizer": "lbfgs"}, ValueError, "optimizer: got 'lbfgs', expected one of adam"),
        ({"optimizer": Optimizer_SGD()}, ValueError, "optimizer: got"),
        ({"optimizer": lambda: 3}, TypeError, "made 3, expected an optimizer"),
        ({"learning_rate": -1}, ValueError, "learning_rate: got -1"),
        ({"decay": np.nan}, ValueError, "decay: got nan"),
        ({"epochs": 0}, ValueError, "epochs: got 0"),
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
    wild = NNFSRegressor(optimizer="sgd", learning_rate=1e9, epochs=30, backend=backend)
    with pytest.raises(ValueError, match="training diverged: the loss of epoch"):
        wild.fit(*line)


def test_optimizers(iris):
    X, y = iris
    made = functools.partial(Optimizer_SGD, momentum=0.9)
    classifier = NNFSClassifier(optimizer=made, learning_rate=0.1, decay=0.01, **QUICK).fit(X, y)
    optimizer = classifier.model_.optimizer
    assert (optimizer.momentum, optimizer.learning_rate, optimizer.decay) == (0.9, 0.1, 0.01)
    for name, rate in {"adam": 0.001, "sgd": 1.0, "rmsprop": 0.001, "adagrad": 1.0}.items():
        optimizer = NNFSClassifier(optimizer=name, **QUICK).fit(X, y).model_.optimizer
        assert type(optimizer).__name__.lower() == f"optimizer_{name}"
        assert optimizer.learning_rate == rate


def test_prints_only_when_asked(iris, capsys):
    NNFSClassifier(**QUICK).fit(*iris)
    assert capsys.readouterr().out == ""
    NNFSClassifier(**QUICK, verbose=True).fit(*iris)
    assert "epoch: 3\nstep: 0, acc: " in capsys.readouterr().out


# ---- pickling ----
@pytest.mark.parametrize("kind", BOTH)
def test_pickle_keeps_the_bits(kind, iris, line, backend_name, dtype):
    X, y = data(kind, iris, line)
    fitted = kind(**QUICK | {"backend": backend_name, "dtype": dtype.name}).fit(X, y)
    loaded = pickle.loads(pickle.dumps(fitted))
    assert loaded.model_.backend is get_backend(
        backend_name, dtype=dtype, precise_dot=False, book_random=False
    )
    np.testing.assert_array_equal(loaded.predict(X), fitted.predict(X))
    assert loaded.get_params() == fitted.get_params()
    assert not hasattr(pickle.loads(pickle.dumps(kind())), "model_")


def test_pickle_is_of_the_fit_and_not_of_later_settings(iris):
    X, y = iris
    fitted = NNFSClassifier((8,), **QUICK).fit(X, y).set_params(hidden=(3,), dropout=0.5)
    loaded = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(loaded.predict_proba(X), fitted.predict_proba(X))
    assert [type(layer) for layer in loaded.model_.layers].count(Layer_Dense) == 2


def test_pickle_of_a_missing_backend_loads_on_the_default(iris, monkeypatch, caplog):
    X, y = iris
    fitted = NNFSClassifier(**QUICK).fit(X, y)
    monkeypatch.setitem(nnfs_gpu.backend._MODULES, "cupy", ("nnfs_gpu.no_such_module", "None"))
    for key in [key for key in nnfs_gpu.backend._made if key[0] == "cupy"]:
        monkeypatch.delitem(nnfs_gpu.backend._made, key)
    data = pickle.dumps(fitted.set_params(backend="cupy"))
    use_backend("numpy")
    with caplog.at_level(logging.WARNING, "nnfs_gpu"):
        loaded = pickle.loads(data)
    assert "default backend" in caplog.text
    np.testing.assert_array_equal(loaded.predict_proba(X), fitted.predict_proba(X))


# ---- without scikit-learn ----
def test_scikit_learn_is_loaded_only_when_asked_for():
    code = "import sys, nnfs_gpu; print('sklearn' in sys.modules, 'scipy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"


def test_missing_scikit_learn_is_an_error_with_a_remedy():
    code = (
        "import sys; sys.modules['sklearn'] = None\n"
        "try:\n    import nnfs_gpu.estimators.classes\n"
        "except ImportError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 'pip install "nnfs-gpu[sklearn]"' in done.stdout
