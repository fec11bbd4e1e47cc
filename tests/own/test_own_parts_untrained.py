"""Parameters that no optimizer sees, under other names or in a layer inside, are warned of."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from own_networks import with_layer, works

from nnfs_gpu import Activation_ReLU, Layer_Dense, use_backend


@pytest.fixture(autouse=True)
def _float32():
    use_backend("numpy", dtype="float32")


class Layer_Gamma:  # noqa: N801
    def __init__(self):
        self.gamma, self.beta = np.ones((1, 8)), np.zeros((1, 8))

    def forward(self, inputs, training):
        self.inputs, self.output = inputs, inputs * self.gamma + self.beta

    def backward(self, dvalues):
        self.dgamma = np.sum(dvalues * self.inputs, axis=0, keepdims=True)
        self.dbeta = np.sum(dvalues, axis=0, keepdims=True)
        self.dinputs = dvalues * self.gamma


def test_parameters_under_other_names_are_warned_of():
    with pytest.warns(
        UserWarning, match=r"layer 1 \(Layer_Gamma\) computes gradients of beta, gam"
    ):
        with_layer(Layer_Gamma()).finalize()

    class Layer_Named(Layer_Gamma):  # noqa: N801 - the remedy
        weights = property(
            lambda self: self.gamma, lambda self, value: vars(self).update(gamma=value)
        )
        biases = property(lambda self: self.beta, lambda self, value: vars(self).update(beta=value))
        dweights = property(lambda self: self.dgamma)
        dbiases = property(lambda self: self.dbeta)

    layer = Layer_Named()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        works(with_layer(layer))
    assert (layer.gamma != 1).any()
    assert caught == []


def test_a_property_that_cannot_take_the_models_dtype():
    class Layer_Fixed(Layer_Gamma):  # noqa: N801
        weights = property(lambda self: self.gamma)
        biases = property(lambda self: self.beta)

    with pytest.raises(ValueError, match=r"Layer_Fixed weights: the model needs .*float32.*setter"):
        with_layer(Layer_Fixed()).finalize()


def test_a_layer_that_trains_itself_is_not_warned_of():
    class Layer_Itself(Layer_Gamma):  # noqa: N801
        def backward(self, dvalues):
            self.dgamma = np.sum(dvalues * self.inputs, axis=0, keepdims=True)
            self.dinputs = dvalues * self.gamma
            self.gamma = self.gamma - 0.1 * self.dgamma

    layer = Layer_Itself()
    works(with_layer(layer))
    assert (layer.gamma != 1).any()


class Layer_Residual:  # noqa: N801
    def __init__(self, *inside):
        self.inside = list(inside)

    def forward(self, inputs, training):
        x = inputs
        for layer in self.inside:
            x = layer.forward(x, training)
        self.output = inputs + x

    def backward(self, dvalues):
        d = dvalues
        for layer in reversed(self.inside):
            d = layer.backward(d)
        self.dinputs = dvalues + d


def test_layers_inside_a_layer_are_warned_of():
    inner = Layer_Dense(8, 8)
    with pytest.warns(UserWarning, match=r"\(Layer_Residual\) holds a Layer_Dense in self\.inside"):
        with_layer(Layer_Residual(inner, Activation_ReLU())).finalize()

    class Layer_Given(Layer_Residual):  # noqa: N801 - the remedy
        weights = property(lambda self: self.inside[0].weights)
        biases = property(lambda self: self.inside[0].biases)
        dweights = property(lambda self: self.inside[0].dweights)
        dbiases = property(lambda self: self.inside[0].dbiases)

    before = inner.weights.copy()
    works(with_layer(Layer_Given(inner, Activation_ReLU())))
    assert (inner.weights != before).any()
