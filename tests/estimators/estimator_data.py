"""What the tests of the estimators share: quick settings, data, the network computed by hand."""

from __future__ import annotations

import numpy as np

from nnfs_gpu.estimators.classes import NNFSClassifier, NNFSRegressor

BOTH = (NNFSClassifier, NNFSRegressor)
# All epochs, so that none is missing where a test counts them or compares what they lead to.
ENDLESS = {"n_iter_no_change": np.inf}
QUICK = {"max_iter": 3, "random_state": 0, "backend": "numpy", **ENDLESS}


def data(kind, iris, line):
    """Data for an estimator of this class, one target."""
    return iris if kind is NNFSClassifier else (line[0], line[1][:, 0])


def forward(estimator, X):
    """What the network computes, in float64 from its parameters, layers of ReLU."""
    values = np.asarray(X, np.float64)
    for number, (w, b) in enumerate(zip(estimator.coefs_, estimator.intercepts_, strict=True)):
        values = (np.maximum(values, 0) if number else values) @ w.astype(float) + b
    return values
