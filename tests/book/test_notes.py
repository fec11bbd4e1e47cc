"""The systems of the notes, with the notes' numbers, on every backend and dtype.

N1 to N16 of the project's reference: what a reader of "Neural Networks from Scratch", chapter
9, has on the page beside the screen. A neuron is a `Layer_Dense` with one output and assigned
weights. (N15 is a timing experiment: a benchmark, not a test.)
"""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from helpers import assert_close

import nnfs_gpu
from nnfs_gpu import (
    Activation_ReLU,
    Activation_Softmax,
    Activation_Softmax_Loss_CategoricalCrossentropy,
    Layer_Dense,
    Loss,
    Loss_CategoricalCrossentropy,
    Optimizer_SGD,
    get_backend,
    use_backend,
)

X = [1.0, -2.0, 3.0]
W = [-3.0, -1.0, 2.0]
B = 1.0


@pytest.fixture(autouse=True)
def _default_backend(backend):
    """Every test of this file runs with each backend as the default."""
    with use_backend(backend):
        yield


@pytest.fixture
def same(backend):
    """Equal to the notes' number, as printed, to the rounding of a few float operations."""

    def check(actual, expected, ulps=4, magnitude=None):
        expected = np.array(expected, np.float64)
        size = np.maximum(np.abs(expected), 1) if magnitude is None else magnitude
        assert_close(backend.to_numpy(actual), expected, backend.dtype, ulps=ulps, magnitude=size)

    return check


def neuron(weights, bias):
    """One neuron with the given weights."""
    layer = Layer_Dense(len(weights), 1)
    layer.weights = [[w] for w in weights]
    layer.biases = [[bias]]
    return layer


# ---- one neuron (notes 000, 001, 003) ----
def test_n1_forward(same):
    dense, relu = neuron(W, B), Activation_ReLU()
    products = [neuron([w], 0.0).forward([[x]]) for x, w in zip(X, W, strict=True)]
    for product, expected in zip(products, [-3, 2, 6], strict=True):
        same(product, [[expected]], ulps=0)
    same(dense.forward([X]), [[6]], ulps=0)
    same(relu.forward(dense.output), [[6]], ulps=0)


def test_n2_backward(same):
    dense, relu = neuron(W, B), Activation_ReLU()
    relu.forward(dense.forward([X]))
    same(relu.backward([[1.0]]), [[1]], ulps=0)  # d/dz; the sum hands it on to every product
    dense.backward(relu.dinputs)
    same(dense.dinputs, [[-3, -1, 2]], ulps=0)
    same(dense.dweights, [[1], [-2], [3]], ulps=0)
    same(dense.dbiases, [[1]], ulps=0)


def test_n2_gradient_of_every_product(same):
    """d relu / d xw = 1, 1, 1: the sum is a neuron whose weights are 1."""
    total, relu = neuron([1, 1, 1], B), Activation_ReLU()
    relu.forward(total.forward([[-3.0, 2.0, 6.0]]))
    same(total.backward(relu.backward([[1.0]])), [[1, 1, 1]], ulps=0)
    same(total.dbiases, [[1]], ulps=0)


@pytest.mark.parametrize("how", ["by hand", "optimizer"])
def test_n3_step(same, how):
    dense, relu = neuron(W, B), Activation_ReLU()
    relu.forward(dense.forward([X]))
    dense.backward(relu.backward([[1.0]]))
    if how == "by hand":
        dense.weights += -0.001 * dense.dweights
        dense.biases += -0.001 * dense.dbiases
    else:
        Optimizer_SGD(learning_rate=0.001).update_params(dense)
    same(dense.weights, [[-3.001], [-0.998], [1.997]])
    same(dense.biases, [[0.999]])
    same(relu.forward(dense.forward([X])), [[5.985]], magnitude=12)


def test_n3b_the_variant_with_13(backend, same):
    """Note 000 gives the second product the local derivative 13: three products of their own."""
    products = [neuron([w], 0.0) for w in W]
    total = neuron([1, 13, 1], B)  # what the sum sends back, as the note has it
    relu = Activation_ReLU()
    for product, x in zip(products, X, strict=True):
        product.forward([[x]])
    relu.forward([[6.0]])
    total.forward([[-3.0, 2.0, 6.0]])
    dxw = backend.to_numpy(total.backward(relu.backward([[1.0]])))
    assert dxw.tolist() == [[1, 13, 1]]
    for k, product in enumerate(products):
        product.backward(dxw[:, k : k + 1])
    for product, dx, dw in zip(products, [-3, -13, 2], [1, -26, 3], strict=True):
        same(product.dinputs, [[dx]], ulps=0)
        same(product.dweights, [[dw]], ulps=0)
    for product in products:
        Optimizer_SGD(learning_rate=0.001).update_params(product)
    updated = [float(p.weights[0, 0]) for p in products]
    dense = neuron(updated, B)
    dense.dweights, dense.dbiases = backend.zeros((3, 1)), total.dbiases
    Optimizer_SGD(learning_rate=0.001).update_params(dense)
    same(dense.weights, [[-3.001], [-0.974], [1.997]])
    same(dense.biases, [[0.999]])
    same(Activation_ReLU().forward(dense.forward([X])), [[5.937]], magnitude=12)


def test_n3c_the_neuron_of_note_003(same):
    dense, relu = neuron([1, -2, 3], 1), Activation_ReLU()
    same(relu.forward(dense.forward([[-3, -1, 2]])), [[6]], ulps=0)
    dense.backward(relu.backward([[1]]))
    same(dense.dinputs, [[1, -2, 3]], ulps=0)
    same(dense.dweights, [[-3], [-1], [2]], ulps=0)
    same(dense.dbiases, [[1]], ulps=0)


# ---- a layer (note 004) ----
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
    names = list(inspect.signature(Layer_Dense).parameters)
    assert names == [
        "n_inputs",
        "n_neurons",
        "weight_regularizer_l1",
        "weight_regularizer_l2",
        "bias_regularizer_l1",
        "bias_regularizer_l2",
    ]


# ---- softmax (note 004) ----
def test_n11_jacobian_of_one_sample(backend, same):
    jacobian = backend.softmax_jacobian(backend.asarray([[0.7, 0.1, 0.2]]))
    same(jacobian, [[[0.21, -0.07, -0.14], [-0.07, 0.09, -0.02], [-0.14, -0.02, 0.16]]])


def notes_backward(output, dvalues):
    """Activation_Softmax.backward as note 002 has it: a Python loop over samples."""
    dinputs = np.empty_like(dvalues)
    for index, (single_output, single_dvalues) in enumerate(zip(output, dvalues, strict=True)):
        single_output = single_output.reshape(-1, 1)
        jacobian_matrix = np.diagflat(single_output) - np.dot(single_output, single_output.T)
        dinputs[index] = np.dot(jacobian_matrix, single_dvalues)
    return dinputs


@pytest.mark.parametrize("shape", [(1, 3), (300, 3), (64, 10), (5, 2)], ids=str)
def test_n12_softmax_backward_equals_the_notes_loop(backend, same, shape):
    rng = np.random.RandomState(12)
    softmax = Activation_Softmax()
    softmax.forward(2 * rng.randn(*shape))
    dvalues = rng.randn(*shape).astype(backend.dtype)
    output = np.array(backend.to_numpy(softmax.output), np.float64)
    expected = notes_backward(output, dvalues.astype(np.float64))
    size = output * (np.abs(dvalues) + (output * np.abs(dvalues)).sum(axis=1, keepdims=True))
    same(softmax.backward(dvalues), expected, ulps=8, magnitude=size)


# ---- loss (notes 002, 004) ----
SOFTMAX_OUTPUTS = np.array([[0.7, 0.1, 0.2], [0.1, 0.5, 0.4], [0.02, 0.9, 0.08]])
CLASS_TARGETS = np.array([0, 1, 1])


@pytest.mark.parametrize("kind", ["sparse", "one-hot"])
def test_n13_cross_entropy(backend, same, kind):
    targets = CLASS_TARGETS if kind == "sparse" else np.eye(3)[CLASS_TARGETS]
    loss = Loss_CategoricalCrossentropy()
    assert isinstance(loss, Loss)
    losses = -np.log([0.7, 0.5, 0.9])
    same(loss.forward(SOFTMAX_OUTPUTS, targets), losses)
    same(np.asarray(loss.calculate(SOFTMAX_OUTPUTS, targets)), losses.mean())
    dinputs = loss.backward(SOFTMAX_OUTPUTS, targets)
    assert dinputs is loss.dinputs
    same(dinputs, [[-1 / 0.7 / 3, 0, 0], [0, -2 / 3, 0], [0, -1 / 0.9 / 3, 0]])


COMBINED = [[-0.3, 0.1, 0.2], [0.1, -0.5, 0.4], [0.02, -0.1, 0.08]]  # times 1/3


@pytest.mark.parametrize("kind", ["sparse", "one-hot"])
def test_n14_combined_equals_separate(same, kind):
    targets = CLASS_TARGETS if kind == "sparse" else np.eye(3)[CLASS_TARGETS]
    expected = np.array(COMBINED) / 3
    np.testing.assert_allclose(expected[0], [-0.1, 0.0333, 0.0667], atol=5e-5)
    softmax_loss = Activation_Softmax_Loss_CategoricalCrossentropy()
    softmax_loss.backward(SOFTMAX_OUTPUTS, targets)
    same(softmax_loss.dinputs, expected, ulps=1)
    activation = Activation_Softmax()
    activation.output = SOFTMAX_OUTPUTS  # as the note does, in whatever dtype
    loss = Loss_CategoricalCrossentropy()
    loss.backward(SOFTMAX_OUTPUTS, targets)
    activation.backward(loss.dinputs)
    same(activation.dinputs, expected, ulps=2)
    assert SOFTMAX_OUTPUTS[0].tolist() == [0.7, 0.1, 0.2]


# ---- the full model of chapter 9 (note 004) ----
def test_n16_full_model(backend_name):
    """The numbers that the book prints, with `init()` and float32."""
    use_backend(get_backend(backend_name, dtype="float32"))
    nnfs_gpu.init()
    X, y = nnfs_gpu.spiral_data(samples=100, classes=3)
    dense1, activation1, dense2 = Layer_Dense(2, 3), Activation_ReLU(), Layer_Dense(3, 3)
    loss_activation = Activation_Softmax_Loss_CategoricalCrossentropy()
    assert dense1.backend.name == backend_name
    dense1.forward(X)
    activation1.forward(dense1.output)
    dense2.forward(activation1.output)
    loss = loss_activation.forward(dense2.output, y)
    numpy = dense1.backend.to_numpy
    output = numpy(loss_activation.output)
    np.testing.assert_allclose(output[1], [0.3333332, 0.3333332, 0.33333364], rtol=0, atol=6e-8)
    assert abs(float(loss) - 1.0986104) < 2e-7
    assert np.mean(np.argmax(output, axis=1) == numpy(y)) == 0.34
    loss_activation.backward(loss_activation.output, y)
    dense2.backward(loss_activation.dinputs)
    activation1.backward(dense2.dinputs)
    dense1.backward(activation1.dinputs)
    expected = [
        [1.5766357e-04, 7.8368583e-05, 4.7324400e-05],
        [1.8161038e-04, 1.1045573e-05, -3.3096312e-05],
    ]
    np.testing.assert_allclose(numpy(dense1.dweights), expected, rtol=2e-6)
    expected = [[-3.60553473e-04, 9.66117223e-05, -1.03671395e-04]]
    # 300 terms of up to 2e-5 are added: their order moves the sum by some 1e-9.
    np.testing.assert_allclose(numpy(dense1.dbiases), expected, rtol=2e-6, atol=2e-9)
    for part in (dense1.dweights, dense1.dbiases, dense2.dweights, dense2.dbiases, output):
        assert part.dtype == np.float32
