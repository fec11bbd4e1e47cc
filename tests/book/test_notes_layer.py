"""The layer of the notes, with the notes' numbers, on every backend and dtype: N4 to N10."""

from __future__ import annotations

import numpy as np
import pytest

from nnfs_gpu import (
    Activation_ReLU,
    Activation_Softmax,
    Layer_Dense,
    Optimizer_SGD,
)

pytestmark = pytest.mark.default_backend

WEIGHTS = np.array([[0.2, 0.8, -0.5, 1], [0.5, -0.91, 0.26, -0.5], [-0.26, -0.27, 0.17, 0.87]]).T
INPUTS = np.array([[1, 2, 3, 2.5], [2.0, 5.0, -1.0, 2], [-1.5, 2.7, 3.3, -0.8]])
BIASES = np.array([[2, 3, 0.5]])
ROWS = np.array([[1.0, 1.0, 1.0], [2.0, 2.0, 2.0], [3.0, 3.0, 3.0]])


def layer(weights=WEIGHTS, biases=BIASES):
    dense = Layer_Dense(4, 3)
    dense.weights, dense.biases = weights.copy(), biases.copy()
    return dense


def test_n4_dinputs_of_one_sample(same):
    dense = layer()
    dense.forward(INPUTS[:1])
    same(dense.backward(np.array([[1.0, 1.0, 1.0]])), [[0.44, -0.38, -0.07, 1.37]])


def test_n5_n6_n7_gradients_of_a_batch(same):
    dense = layer()
    dense.forward(INPUTS)
    dense.backward(ROWS)
    one = np.array([0.44, -0.38, -0.07, 1.37])
    same(dense.dinputs, [one, 2 * one, 3 * one], magnitude=6)
    same(
        dense.dweights,
        [[0.5, 0.5, 0.5], [20.1, 20.1, 20.1], [10.9, 10.9, 10.9], [4.1, 4.1, 4.1]],
        magnitude=21,
    )
    same(dense.dbiases, [[6, 6, 6]], ulps=0)


def test_n7b_the_layer_of_note_003(same):
    weights = np.array([[0.1, 0.5, 0.8, -0.3], [-0.7, 1.2, -0.9, 1.1], [0.5, -0.8, -0.7, 0.3]]).T
    dvalues = np.array([[1, 1, -1], [2, -2, 2], [-3, 3, -3]])
    dense = layer(weights, np.zeros((1, 3)))
    dense.forward(np.array([[1, 2, 3, 2.5], [2, 5, -1, 2], [-1.5, 2.7, 3.3, -0.8]]))
    dense.backward(dvalues)
    same(
        dense.dinputs,
        [[-1.1, 2.5, 0.6, 0.5], [2.6, -3, 2, -2.2], [-3.9, 4.5, -3, 3.3]],
        magnitude=8,
    )
    same(
        dense.dweights,
        [[9.5, -7.5, 7.5], [3.9, 0.1, -0.1], [-8.9, 14.9, -14.9], [8.9, -3.9, 3.9]],
        magnitude=21,
    )
    same(dense.dbiases, [[0, 2, -2]], ulps=0)
    drelu = Activation_ReLU()
    drelu.forward(dvalues)
    same(drelu.backward(dvalues), [[1, 1, 0], [2, 0, 2], [0, 3, 0]], ulps=0)


def test_n8_derivative_of_relu(same):
    z = np.array([[1, 2, -3, -4], [2, -7, -1, 3], [-1, 2, 5, -1]])
    relu = Activation_ReLU()
    same(relu.forward(z), [[1, 2, 0, 0], [2, 0, 0, 3], [0, 2, 5, 0]], ulps=0)
    dvalues = np.arange(1, 13).reshape(3, 4)
    same(relu.backward(dvalues), [[1, 2, 0, 0], [5, 0, 0, 8], [0, 10, 11, 0]], ulps=0)
    assert dvalues.tolist() == np.arange(1, 13).reshape(3, 4).tolist()


@pytest.mark.parametrize("how", ["by hand", "optimizer"])
def test_n9_layer_relu_and_update(same, how):
    dense, relu = layer(), Activation_ReLU()
    relu.forward(dense.forward(INPUTS))
    dense.backward(relu.backward(relu.output))  # the note minimizes the output itself
    if how == "by hand":
        dense.weights += -0.001 * dense.dweights
        dense.biases += -0.001 * dense.dbiases
    else:
        Optimizer_SGD(learning_rate=0.001).update_params(dense)
    same(
        dense.weights,
        [
            [0.179515, 0.5003665, -0.262746],
            [0.742093, -0.9152577, -0.2758402],
            [-0.510153, 0.2529017, 0.1629592],
            [0.971328, -0.5021842, 0.8636583],
        ],
    )
    same(dense.biases, [[1.98489, 2.997739, 0.497389]])


def test_n10_layer_and_relu_have_the_books_interface(backend, same):
    """forward stores inputs and output, backward the gradients; both return them too."""
    for part in (layer(), Activation_ReLU(), Activation_Softmax()):
        data = INPUTS.copy()
        output = part.forward(data)
        assert output is part.output
        same(part.inputs, INPUTS, ulps=1)
        dvalues = np.ones((3, output.shape[1]))
        dinputs = part.backward(dvalues)
        assert dinputs is part.dinputs
        assert dinputs.shape == data.shape
        assert data.tolist() == INPUTS.tolist()
        assert (dvalues == 1).all()
    same(layer().forward(INPUTS), [[4.8, 1.21, 2.385], [8.9, -1.81, 0.2], [1.41, 1.051, 0.026]])
    assert layer().forward(INPUTS, training=False) is not None
    np.random.seed(7)
    draws = np.random.randn(2, 5)
    np.random.seed(7)
    dense = Layer_Dense(2, 5)
    same(dense.weights, 0.01 * draws, magnitude=np.abs(0.01 * draws), ulps=1)
    same(dense.biases, np.zeros((1, 5)), ulps=0)
    factors = ("weight_regularizer_l1", "weight_regularizer_l2")
    factors += ("bias_regularizer_l1", "bias_regularizer_l2")
    values = (0.1, 0.2, 0.3, 0.4)
    named = dict(zip(factors, values, strict=True))
    for dense in (Layer_Dense(2, 5, *values), Layer_Dense(n_inputs=2, n_neurons=5, **named)):
        assert dense.weights.shape == (2, 5)
        assert tuple(getattr(dense, name) for name in factors) == values
