"""Networks and sources that the tests of data in blocks share."""

import networks
import numpy as np

import nnfs_gpu as ng
from nnfs_gpu.data.sources import Blocks

RNG = np.random.RandomState(3)
N = 700
POINTS = RNG.randn(N, 4)
LABELS = RNG.randint(0, 3, N)
VALUES = RNG.randn(N, 2)
YES = RNG.randint(0, 2, (N, 1))


def classifier(*, inputs=4, hidden=6, dropout=None, **settings):
    """inputs-hidden-3 with softmax; the same weights at every call."""
    inside = [ng.Activation_ReLU]
    if dropout is not None:
        inside.append(networks.dropout(dropout, seed=4))
    return _made(inputs, hidden, 3, hidden=inside, **settings)


def regression(loss=None, **settings):
    """4-6-2 with linear outputs."""
    return _made(4, 6, 2, last=ng.Activation_Linear, loss=loss, **settings)


def yes_or_no(**settings):
    """4-6-1 with a sigmoid at the end."""
    return _made(4, 6, 1, last=ng.Activation_Sigmoid, **settings)


def _made(*widths, optimizer=None, **settings):
    optimizer = optimizer or ng.Optimizer_Adam(0.01, decay=1e-3)
    return networks.dense_model(*widths, optimizer=optimizer, **settings)


def cut(X, y, sizes):
    """[(X, y), ...] of these sizes, over and over, until the rows are used up."""
    blocks, start, number = [], 0, 0
    while start < len(X):
        rows = slice(start, start + sizes[number % len(sizes)])
        blocks.append((X[rows], y[rows]))
        start, number = rows.stop, number + 1
    return blocks


def source(X=POINTS, y=LABELS, sizes=(150, 1, 300)):
    """A source of unequal blocks."""
    return Blocks(cut(X, y, sizes), len(X))


def state(model):
    """Everything that training changes, on the host: parameters, gradients, optimizer."""
    found = {}
    for number, layer in enumerate(model.trainable_layers):
        for name in ("weights", "biases", "dweights", "dbiases"):
            found[f"{number}.{name}"] = getattr(layer, name)
        for name in ("weight_momentums", "weight_cache", "bias_momentums", "bias_cache"):
            if getattr(layer, name, None) is not None:
                found[f"{number}.{name}"] = getattr(layer, name)
    return {name: np.array(model.backend.to_numpy(a)) for name, a in found.items()}


def assert_same(actual, expected, bound):
    """States or histories within `bound` of the largest number of each array; 0: equal bits."""
    assert actual.keys() == expected.keys()
    for name, wanted in expected.items():
        got, wanted = np.asarray(actual[name]), np.asarray(wanted)
        assert got.dtype == wanted.dtype, name
        assert np.isfinite(got).all(), name
        error, scale = np.abs(got - wanted).max(), np.abs(wanted).max()
        assert error <= bound * scale, f"{name}: {error} of {scale}"
