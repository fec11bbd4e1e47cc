"""Networks and sources that the tests of data in blocks share."""

import numpy as np

import nnfs_gpu as ng
from nnfs_gpu.data.sources import Blocks

RNG = np.random.RandomState(3)
N = 700
POINTS = RNG.randn(N, 4)
LABELS = RNG.randint(0, 3, N)
VALUES = RNG.randn(N, 2)
YES = RNG.randint(0, 2, (N, 1))


def classifier(*, seed=1, optimizer=None, hidden=6, inputs=4, dropout=None, **factors):
    """inputs-hidden-3 with softmax; the same weights at every call."""
    last = (ng.Layer_Dense, 3, ng.Activation_Softmax)
    loss, accuracy = ng.Loss_CategoricalCrossentropy(), ng.Accuracy_Categorical()
    return _made(inputs, hidden, last, loss, accuracy, seed, optimizer, dropout, factors)


def regression(loss=None, *, seed=1, optimizer=None, **factors):
    """4-6-2 with linear outputs."""
    last = (ng.Layer_Dense, 2, ng.Activation_Linear)
    loss, accuracy = loss or ng.Loss_MeanSquaredError(), ng.Accuracy_Regression()
    return _made(4, 6, last, loss, accuracy, seed, optimizer, None, factors)


def yes_or_no(*, seed=1, optimizer=None, **factors):
    """4-6-1 with a sigmoid at the end."""
    last = (ng.Layer_Dense, 1, ng.Activation_Sigmoid)
    loss, accuracy = ng.Loss_BinaryCrossentropy(), ng.Accuracy_Categorical(binary=True)
    return _made(4, 6, last, loss, accuracy, seed, optimizer, None, factors)


def _made(inputs, hidden, last, loss, accuracy, seed, optimizer, dropout, factors):
    np.random.seed(seed)
    model = ng.Model()
    model.add(ng.Layer_Dense(inputs, hidden, **factors))
    model.add(ng.Activation_ReLU())
    if dropout is not None:
        model.add(ng.Layer_Dropout(dropout, seed=4))
    dense, outputs, activation = last
    model.add(dense(hidden, outputs))
    model.add(activation())
    rule = optimizer or ng.Optimizer_Adam(0.01, decay=1e-3)
    model.set(loss=loss, optimizer=rule, accuracy=accuracy)
    model.finalize()
    return model


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
