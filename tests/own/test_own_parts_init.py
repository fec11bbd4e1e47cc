"""Subclasses of ours whose `__init__` stores what the book's does, and does not call ours."""

from __future__ import annotations

import copy
import pickle
import types

import numpy as np
import own_networks as networks
import pytest
from networks import dense_model

from nnfs_gpu import (
    Accuracy_Categorical,
    Accuracy_Regression,
    Activation_Linear,
    Activation_ReLU,
    Activation_Softmax,
    EarlyStopping,
    Layer_Dense,
    Layer_Dropout,
    Optimizer_Adam,
    Optimizer_SGD,
    use_backend,
)

X, LABELS = networks.X, networks.LABELS
WIDTH = X.shape[1]


@pytest.fixture(params=["numpy", "numba"])
def cpu(request):
    return use_backend(request.param, dtype="float32")


class Dense(Layer_Dense):
    def __init__(self, n_inputs, n_neurons):
        self.weights = 0.1 * np.random.randn(n_inputs, n_neurons)
        self.biases = np.zeros((1, n_neurons))


class DenseBiasFirst(Layer_Dense):
    def __init__(self, n_inputs, n_neurons):
        self.biases = np.zeros((1, n_neurons))
        self.weights = 0.1 * np.random.randn(n_inputs, n_neurons)


class DenseForward(Dense):
    def forward(self, inputs, training):
        self.inputs = inputs
        self.output = np.dot(inputs, self.weights) + self.biases


class Dropout(Layer_Dropout):
    def __init__(self, rate=0.2):
        self.rate = 1 - rate


class SGD(Optimizer_SGD):
    def __init__(self, learning_rate=0.1):
        self.learning_rate = self.current_learning_rate = learning_rate


class Adam(Optimizer_Adam):
    def __init__(self, learning_rate=0.01):
        self.learning_rate = self.current_learning_rate = learning_rate

    def update_params(self, layer):
        super().update_params(layer)


class Categorical(Accuracy_Categorical):
    def __init__(self):
        self.calls = 0


class Regression(Accuracy_Regression):
    def __init__(self):
        self.calls = 0


def network(dense=Layer_Dense, middle=Activation_ReLU, optimizer=Adam, accuracy=Categorical):
    return dense_model(
        *(WIDTH, 5, 3),
        dense=dense,
        hidden=[middle],
        last=Activation_Linear if accuracy is Regression else Activation_Softmax,
        optimizer=optimizer(),
        accuracy=accuracy(),
        seed=0,
    )


CASES = {
    **{kind.__name__: {"dense": kind} for kind in (Dense, DenseBiasFirst, DenseForward)},
    "Dropout": {"middle": Dropout},
    **{kind.__name__: {"optimizer": kind} for kind in (SGD, Adam)},
    **{kind.__name__: {"accuracy": kind} for kind in (Categorical, Regression)},
}


@pytest.mark.parametrize("name", CASES)
def test_they_train_and_copy_like_ours(cpu, name):
    model = network(**CASES[name])
    y = np.eye(3)[LABELS] if name == "Regression" else LABELS
    before = [np.array(w) for w, _ in model.get_parameters()]
    best = EarlyStopping("loss", restore_best=True)
    model.train(X, y, epochs=2, batch_size=16, print_every=None, callbacks=[best])
    assert all((w != old).any() for (w, _), old in zip(model.get_parameters(), before, strict=True))
    copies = copy.deepcopy(model), pickle.loads(pickle.dumps(model))
    np.random.seed(1)
    model.train(X, y, print_every=None)
    for one in copies:
        np.random.seed(1)
        one.train(X, y, print_every=None)
        np.testing.assert_array_equal(one.predict(X), model.predict(X))


def test_a_dense_layer_has_the_sizes_of_its_weights(cpu):
    layer = Dense(3, 4)
    assert (layer.n_inputs, layer.n_neurons) == (3, 4)
    with pytest.raises(ValueError, match=r"got shape \(3, 5\), expected \(3, 4\)"):
        layer.weights = np.zeros((3, 5))


class Forgets(Layer_Dense):
    def __init__(self, n_inputs, n_neurons):
        self.scale = 2.0


class Remembers(Layer_Dense):
    def __init__(self, n_inputs, n_neurons):
        super().__init__(n_inputs, n_neurons)
        self.scale = 2.0


def test_without_weights_it_is_told_the_line_that_makes_them(cpu):
    line = r"layer 0 \(Forgets\) has no weights.*super\(\).__init__\(n_inputs, n_neurons\)"
    with pytest.raises(ValueError, match=line):
        network(dense=Forgets)
    network(dense=Remembers).train(X, LABELS, print_every=None)


def test_weights_of_one_axis_have_no_sizes(cpu):
    class Flat(Layer_Dense):
        def __init__(self):
            self.weights = np.zeros(3)

    with pytest.raises(ValueError, match=r"Flat.*got shape \(3,\).*super\(\).__init__"):
        Flat()


def test_what_fails_puts_back_attributes_that_cannot_be_replaced(cpu, tmp_path):
    """An object whose `__dict__` is read-only: it is emptied and filled."""
    identity = types.SimpleNamespace(forward=lambda inputs, training: inputs, backward=lambda d: d)
    model = network(middle=lambda: identity, optimizer=Optimizer_SGD, accuracy=Accuracy_Categorical)
    with pytest.raises(TypeError, match="cannot hold a SimpleNamespace"):
        model.train(X, LABELS, checkpoint=tmp_path / "run", print_every=None)
    model.train(X, LABELS, print_every=None)
