"""Data sets for the tests of the estimators."""

from __future__ import annotations

import importlib.util
import os

import numpy as np
import pytest

if importlib.util.find_spec("sklearn") is None:
    assert not os.environ.get("CI"), "CI must have scikit-learn: it is in the extra `test`"


@pytest.fixture(scope="module")
def iris():
    """Scaled features (150, 4) and the names of the flowers."""
    from sklearn.datasets import load_iris
    from sklearn.preprocessing import scale

    X, y = load_iris(return_X_y=True)
    return scale(X), np.array(["setosa", "versicolor", "virginica"])[y]


@pytest.fixture(scope="module")
def line():
    """Two targets that are linear in five features, far from 0 and of unlike spread."""
    from sklearn.datasets import make_regression

    X, y = make_regression(120, 5, n_targets=2, random_state=0)
    return X, y * [1e4, 1e-3] + [3e6, 7]
