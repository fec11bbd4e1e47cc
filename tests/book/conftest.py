"""Fixtures of the tests of what the book has."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import assert_close
from layer_example import B, W

from nnfs_gpu import Layer_Dense


@pytest.fixture
def same(backend):
    """Equal to the notes' number, as printed, to the rounding of a few float operations."""

    def check(actual, expected, ulps=4, magnitude=None):
        expected = np.array(expected, np.float64)
        size = np.maximum(np.abs(expected), 1) if magnitude is None else magnitude
        assert_close(backend.to_numpy(actual), expected, backend.dtype, ulps=ulps, magnitude=size)

    return check


@pytest.fixture
def dense(backend):
    """A 2-3 layer with known parameters."""
    layer = Layer_Dense(2, 3)
    layer.set_parameters(W, B)
    return layer
