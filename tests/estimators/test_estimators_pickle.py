"""Pickles of estimators hold the fit; and the package loads scikit-learn only when asked for."""

from __future__ import annotations

import logging
import pickle
import subprocess
import sys

import numpy as np
import pytest

import nnfs_gpu.backend
from nnfs_gpu import Layer_Dense, get_backend, use_backend

pytest.importorskip("sklearn", reason="scikit-learn is not installed")


from estimator_data import BOTH, QUICK, data

from nnfs_gpu.estimators.classes import NNFSClassifier


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
    fitted = (
        NNFSClassifier((8,), **QUICK).fit(X, y).set_params(hidden_layer_sizes=(3,), dropout=0.5)
    )
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
