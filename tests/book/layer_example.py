"""A small dense layer with known parameters, for the tests of layers: W (2, 3), B, X, DY."""

import numpy as np
from helpers import assert_close

X = np.array([[1.0, -2.0], [0.5, 3.0], [-1.0, 0.25]])
W = np.array([[0.2, -0.5, 1.0], [-0.3, 0.4, 0.7]])
B = np.array([[0.1, 0.2, -0.3]])
DY = np.array([[1.0, 2, 3], [-1, 0, 1], [0.5, 0.5, -2]])


def close(backend, got, expected):
    """Equal to a few roundings, and of the backend's dtype."""
    expected = np.asarray(expected)
    magnitude = np.maximum(1, np.abs(expected))
    assert_close(backend.to_numpy(got), expected, backend.dtype, ulps=8, magnitude=magnitude)
