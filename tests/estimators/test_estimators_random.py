"""`random_state` alone decides every random number of an estimator, in every thread."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from nnfs_gpu import Model, get_backend, init, use_backend
from nnfs_gpu.estimators import build as estimator_network

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from estimator_data import BOTH, QUICK, data
from sklearn.base import clone

from nnfs_gpu.estimators.classes import NNFSClassifier, NNFSRegressor


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
        (300, 200), solver="sgd", learning_rate_init=0.0, **QUICK | {"max_iter": 1}
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
