"""The estimators have the names of MLPClassifier and MLPRegressor, and their old ones work.

Proves that parameters, defaults and fitted attributes are scikit-learn's but for what
docs/estimators.md says, that old names lead to the same fit with a warning, and that schedules and
penalties follow scikit-learn's formulas.
"""

from __future__ import annotations

import functools
import inspect
import pickle
import warnings

import numpy as np
import pytest

from nnfs_gpu import Optimizer_SGD

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from estimator_data import BOTH, ENDLESS, QUICK, data
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier, MLPRegressor

from nnfs_gpu.estimators.classes import NNFSClassifier, NNFSRegressor

THEIRS = {NNFSClassifier: MLPClassifier, NNFSRegressor: MLPRegressor}
NOT_HERE = {"max_fun"}
OTHER_DEFAULTS = {"nesterovs_momentum": False}
OURS = {"dropout", "l1", "decay", "backend", "dtype"}
OLD = {"hidden", "epochs", "optimizer", "l2"}


def same_fit(kind, one, other, X, y):
    """Whether both settings lead to the same network."""
    fits = []
    for settings in (one, other):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            fits.append(kind(**{**QUICK, **settings}).fit(X, y))
    return all(np.array_equal(a, b) for a, b in zip(fits[0].coefs_, fits[1].coefs_, strict=True))


# ---- names ----
@pytest.mark.parametrize("kind", BOTH)
def test_parameters_and_defaults_are_scikit_learns(kind):
    ours, theirs = (
        {name: one.default for name, one in inspect.signature(cls).parameters.items()}
        for cls in (kind, THEIRS[kind])
    )
    assert theirs.keys() - ours.keys() <= NOT_HERE
    assert ours.keys() - theirs.keys() <= OURS | OLD | {"class_weight", "loss"}
    both = ours.keys() & theirs.keys()
    assert {name: ours[name] for name in both} == {
        name: theirs[name] for name in both
    } | OTHER_DEFAULTS


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("early", [False, True])
def test_fitted_attributes_are_scikit_learns(kind, early, iris, line):
    X, y = data(kind, iris, line)
    y = np.unique(y, return_inverse=True)[1]  # scikit-learn 1.6 does not stop early on names
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        theirs = THEIRS[kind](hidden_layer_sizes=(8, 5), max_iter=3, early_stopping=early).fit(X, y)
    ours = kind((8, 5), early_stopping=early, **QUICK).fit(X, y)
    for name in ("n_layers_", "n_outputs_", "n_iter_", "out_activation_", "n_features_in_"):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert ours.t_ == 3 * (len(X) - early * len(X) // 10)
    for name in [name for name in vars(theirs) if name.endswith("_")]:
        assert (getattr(ours, name) is None) == (getattr(theirs, name) is None), name
    assert ours.loss_ == ours.loss_curve_[-1]
    assert len(ours.loss_curve_) == 3
    if early:
        assert ours.best_validation_score_ == max(ours.validation_scores_)
        assert len(ours.validation_scores_) == 3
    else:
        assert ours.best_loss_ == min(ours.loss_curve_)


@pytest.mark.parametrize("name", ["identity", "logistic", "tanh", "relu"])
def test_every_activation_of_scikit_learn(name, iris):
    X, y = iris
    ours = NNFSClassifier((6,), name, dtype="float64", **QUICK).fit(X, y)
    theirs = MLPClassifier((6,), name, max_iter=1, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        theirs.fit(X, y)
    theirs.coefs_, theirs.intercepts_ = ours.coefs_, ours.intercepts_
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-12)


def test_what_is_not_here_is_refused_clearly(iris):
    for settings, message in (
        ({"solver": "lbfgs"}, r"^solver: got 'lbfgs', but there is none here; use 'adam'"),
        ({"nesterovs_momentum": True}, r"^nesterovs_momentum: got True, .*=False"),
        ({"learning_rate": "cosine"}, r"^learning_rate: got 'cosine', expected one of constant"),
        ({"learning_rate": "invscaling", "learning_rate_init": None}, "^learning_rate_init: got"),
        ({"n_iter_no_change": -np.inf}, "n_iter_no_change"),
        ({"batch_size": "all"}, "batch_size: got 'all'"),
    ):
        with pytest.raises((ValueError, TypeError), match=message):
            NNFSClassifier(**QUICK | settings).fit(*iris)


# ---- old names ----
@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"hidden": (5, 4)}, {"hidden_layer_sizes": (5, 4)}),
        ({"hidden": 5}, {"hidden_layer_sizes": (5,)}),
        ({"epochs": 2, "max_iter": 200}, {"max_iter": 2}),
        ({"optimizer": "rmsprop"}, {"solver": "rmsprop"}),
        (
            {"optimizer": functools.partial(Optimizer_SGD, momentum=0.3)},
            {"solver": functools.partial(Optimizer_SGD, momentum=0.3)},
        ),
        ({"learning_rate": 0.05}, {"learning_rate_init": 0.05}),
        ({"l2": 0.5, "batch_size": 16}, {"alpha": 16.0, "batch_size": 16}),
    ],
)
def test_old_names_work_and_say_the_new_one(kind, old, new, iris, line):
    X, y = data(kind, iris, line)
    (word,) = {"hidden", "epochs", "optimizer", "learning_rate", "l2"} & old.keys()
    target = "alpha" if word == "l2" else next(iter(new))
    estimator = kind(**{**QUICK, **old})
    with pytest.warns(FutureWarning, match=rf"^{kind.__name__}: .*{word}.* use {target}=") as told:
        estimator.fit(X, y)
    assert len(told) == 1
    assert told[0].filename == __file__
    assert same_fit(kind, old, new, X, y)


def test_parameters_by_old_names_are_got_set_and_cloned(iris):
    old = NNFSClassifier(hidden=(5,), optimizer="sgd")
    assert old.get_params()["hidden"] == (5,)
    assert old.get_params()["hidden_layer_sizes"] == (100,)
    assert clone(old).get_params() == old.get_params()
    assert pickle.loads(pickle.dumps(old)).get_params() == old.get_params()
    old = NNFSClassifier().set_params(hidden=(4,), **QUICK)
    with pytest.warns(FutureWarning, match="hidden is called hidden_layer_sizes"):
        assert old.fit(*iris).coefs_[0].shape == (4, 4)
    grid = {"hidden": [(3,), (6,)]}
    with pytest.warns(FutureWarning, match="hidden is called"):
        GridSearchCV(NNFSClassifier(**QUICK), grid, cv=2).fit(*iris)


def test_new_names_do_not_warn_and_show_themselves():
    made = NNFSClassifier((5,), max_iter=7)
    assert repr(made) == "NNFSClassifier(hidden_layer_sizes=(5,), max_iter=7)"


@pytest.mark.parametrize(
    ("both", "message"),
    [
        ({"hidden": (5,), "hidden_layer_sizes": (6,)}, "hidden is the old name of hidden_layer"),
        ({"epochs": 5, "max_iter": 6}, "epochs is the old name of max_iter: got both"),
        ({"l2": 0.1, "alpha": 0.2}, "l2 is the old name of alpha: got both"),
        (
            {"learning_rate": 0.1, "learning_rate_init": 0.2},
            "a number for learning_rate is the old",
        ),
    ],
)
def test_both_names_at_once_are_refused(both, message, iris):
    with pytest.raises(ValueError, match=message):
        NNFSClassifier(**both).fit(*iris)


# ---- formulas ----
def test_alpha_is_scikit_learns(iris):
    """One step of gradient descent over all samples, from the same weights."""
    X, y = iris
    settings = {"solver": "sgd", "momentum": 0.0, "alpha": 3.0, "learning_rate_init": 0.5}
    settings |= {"batch_size": 150, "shuffle": False, "max_iter": 1, "random_state": 0}
    ours = NNFSClassifier((6,), dtype="float64", **settings, **ENDLESS).fit(X, y)
    still = clone(ours).set_params(learning_rate_init=0.0).fit(X, y)
    theirs = MLPClassifier((6,), nesterovs_momentum=False, warm_start=True, **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        theirs.fit(X, y)
        theirs.coefs_, theirs.intercepts_ = still.coefs_, still.intercepts_
        theirs.fit(X, y)
    for a, b in zip(ours.coefs_, theirs.coefs_, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10)
    assert ours.loss_ == pytest.approx(theirs.loss_, rel=1e-3)  # the penalty after the step


def rates(fitted):
    return fitted.history_["learning_rate"]


def test_invscaling_divides_by_a_power_of_the_samples_seen(iris):
    X, y = iris
    settings = QUICK | {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.1}
    fitted = NNFSClassifier(**settings, power_t=0.25, warm_start=True).fit(X, y)
    expected = [0.1 / (150 * epoch + 1) ** 0.25 for epoch in range(3)]
    np.testing.assert_allclose(rates(fitted), expected, rtol=1e-12)
    fitted.fit(X, y)
    expected += [0.1 / (150 * epoch + 1) ** 0.25 for epoch in range(3, 6)]
    np.testing.assert_allclose(rates(fitted), expected, rtol=1e-12)
    with_adam = clone(fitted).set_params(solver="adam").fit(X, y)
    assert set(rates(with_adam)) == {0.1}


def test_adaptive_divides_by_five_until_it_is_small(iris):
    X, y = iris
    fitted = NNFSClassifier(
        **QUICK
        | {"max_iter": 500, "solver": "sgd", "learning_rate": "adaptive", "n_iter_no_change": 2},
        learning_rate_init=0.1,
        tol=0.5,
    ).fit(X, y)
    found = rates(fitted)
    steps = [0.1 / 5**k for k in range(9)]
    assert steps[-1] < 1e-6 < steps[-2]
    np.testing.assert_allclose(np.unique(found)[::-1], steps, rtol=1e-12)
    assert 2 * 9 < fitted.n_iter_ < 3 * 9  # patience for each, and what was an improvement


def test_training_ends_where_the_loss_stands_still(iris):
    X, y = iris
    settings = QUICK | {"max_iter": 400, "n_iter_no_change": 3}
    stopped = NNFSClassifier(**settings, tol=0.01).fit(X, y)
    assert stopped.n_iter_ < 400
    curve = stopped.loss_curve_
    assert min(curve[:-3]) - 0.01 <= min(curve[-3:])
    message = "max_iter: 4 epochs were not enough to converge; give more, a larger tol"
    with pytest.warns(ConvergenceWarning, match=message) as told:
        NNFSClassifier(**settings | {"max_iter": 4}).fit(X, y)
    assert told[0].filename == __file__
    assert NNFSClassifier(**settings | {"max_iter": 40} | ENDLESS).fit(X, y).n_iter_ == 40


def test_batches_are_scikit_learns(monkeypatch):
    from nnfs_gpu import Model

    train, sizes = Model.train, []

    def recorded(model, *arguments, **settings):
        sizes.append(settings["batch_size"])
        return train(model, *arguments, **settings)

    monkeypatch.setattr(Model, "train", recorded)
    X, y = np.random.RandomState(0).randn(230, 2), np.arange(230) % 2
    for batch, expected in (("auto", 200), (None, 230), (64, 64), (1000, 230)):
        NNFSClassifier(**QUICK | {"max_iter": 1}, batch_size=batch).fit(X, y)
        assert sizes.pop() == expected
    NNFSClassifier(**QUICK | {"max_iter": 1}).fit(X[:30], y[:30])
    assert sizes == [30]
