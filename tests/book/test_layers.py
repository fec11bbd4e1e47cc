"""Layers and activations: what they keep and return.

Proves that forward and backward store what the book's programs read, in one dtype whatever
comes in, that parameters start as the book draws them, and that arguments stay untouched.
"""

import numpy as np
import pytest
from layer_example import DY, B, W, X, close
from operation_formulas import softmax_forward

from nnfs_gpu import (
    Activation_ReLU,
    Activation_Softmax,
    Layer_Dense,
    use_backend,
)

pytestmark = pytest.mark.default_backend


# ---- what a dense layer keeps and returns ----


def test_forward_returns_and_stores(backend, dense):
    output = dense.forward(X)
    assert output is dense.output
    close(backend, output, X @ W + B)
    close(backend, dense.inputs, X)


def test_backward_returns_and_stores(backend, dense):
    dense.forward(X)
    dinputs = dense.backward(DY)
    assert dinputs is dense.dinputs
    close(backend, dinputs, DY @ W.T)
    close(backend, dense.dweights, X.T @ DY)
    close(backend, dense.dbiases, DY.sum(axis=0, keepdims=True))


@pytest.mark.parametrize("make", [lambda: Layer_Dense(2, 3), Activation_ReLU, Activation_Softmax])
def test_training_argument_is_accepted(backend, make):
    layer = make()
    plain = backend.to_numpy(layer.forward(X)).copy()
    for output in (layer.forward(X, True), layer.forward(X, training=False)):
        np.testing.assert_array_equal(backend.to_numpy(output), plain)


def test_parameters_start_as_the_book_draws_them(backend):
    np.random.seed(5)
    first, second = Layer_Dense(3, 4), Layer_Dense(4, 2)
    np.random.seed(5)
    for layer, shape in ((first, (3, 4)), (second, (4, 2))):
        draws = backend.dtype.type(0.01) * np.random.randn(*shape).astype(backend.dtype)
        np.testing.assert_array_equal(backend.to_numpy(layer.weights), draws)
        np.testing.assert_array_equal(backend.to_numpy(layer.biases), np.zeros((1, shape[1])))


def test_every_backend_and_dtype_draws_the_same_weights(backend_name):
    drawn = []
    for dtype in ("float32", "float64"):
        with use_backend(backend_name, dtype=dtype):
            np.random.seed(1)
            layer = Layer_Dense(3, 5)
        assert layer.weights.dtype == layer.biases.dtype == dtype
        drawn.append(layer.backend.to_numpy(layer.weights))
    np.testing.assert_allclose(drawn[0], drawn[1], rtol=1e-6)


@pytest.mark.parametrize("given", ["float16", "float32", "float64", "int64", "uint8", "bool"])
def test_dtype_of_the_layer_is_kept_whatever_comes_in(backend, given):
    layer, relu, softmax = Layer_Dense(2, 3), Activation_ReLU(), Activation_Softmax()
    x = np.array([[1, 0], [1, 1], [0, 1]], given)
    scores = layer.forward(x)
    outputs = [scores, relu.forward(scores), softmax.forward(scores)]
    dy = np.ones((3, 3), "float64" if backend.dtype == "float32" else "float32")
    outputs += [softmax.backward(dy), relu.backward(dy), layer.backward(dy)]
    outputs += [layer.inputs, layer.dweights, layer.dbiases, layer.weights, layer.biases]
    assert {a.dtype for a in outputs} == {backend.dtype}


def test_lists_and_views_are_inputs(backend, dense):
    plain = backend.to_numpy(dense.forward(X)).copy()
    wide = np.zeros((3, 5))
    wide[:, 1:5:3] = X
    for x in (X.tolist(), np.asfortranarray(X), wide[:, 1:5:3], X[::-1][::-1], X.astype(">f8")):
        np.testing.assert_array_equal(backend.to_numpy(dense.forward(x)), plain)


def test_one_sample_and_one_neuron(backend):
    layer = Layer_Dense(1, 1)
    layer.set_parameters([[3.0]], [[-1.0]])
    close(backend, layer.forward([[2.0]]), [[5.0]])
    close(backend, layer.backward([[10.0]]), [[30.0]])
    close(backend, layer.dweights, [[20.0]])
    close(backend, layer.dbiases, [[10.0]])


def test_inputs_and_gradients_are_left_untouched(backend, dense):
    x, dy = X.astype(backend.dtype), DY.astype(backend.dtype)
    relu, softmax = Activation_ReLU(), Activation_Softmax()
    for layer in (dense, relu, softmax):
        given = x if layer is dense else dy
        before = given.copy(), dy.copy()
        layer.forward(given)
        layer.backward(dy)
        np.testing.assert_array_equal(given, before[0])
        np.testing.assert_array_equal(dy, before[1])


# ---- activations ----


def test_relu_keeps_its_attributes_and_gives_0_at_the_kink(backend):
    relu = Activation_ReLU()
    x = np.array([[-1.0, 0.0, 2.0], [-0.0, 1e-30, -1e-30]])
    output = relu.forward(x)
    assert output is relu.output
    close(backend, output, np.maximum(x, 0))
    close(backend, relu.inputs, x)
    dinputs = relu.backward([[5.0, 6, 7], [8, 9, 10]])
    assert dinputs is relu.dinputs
    close(backend, dinputs, [[0, 0, 7], [0, 9, 0]])
    assert relu.predictions(output) is output


def test_relu_takes_any_shape(backend):
    for shape in ((4,), (2, 3, 4), (0, 3)):
        relu = Activation_ReLU()
        assert relu.forward(np.ones(shape)).shape == shape
        assert relu.backward(np.ones(shape)).shape == shape


def test_softmax_keeps_its_attributes_and_predicts(backend):
    softmax = Activation_Softmax()
    output = softmax.forward(X @ W)
    assert output is softmax.output
    close(backend, output, softmax_forward(None, X @ W)[0].value)
    close(backend, softmax.inputs, X @ W)
    dinputs = softmax.backward(DY)
    assert dinputs is softmax.dinputs
    jacobians = backend.to_numpy(backend.softmax_jacobian(output))
    close(backend, dinputs, np.einsum("nij,nj->ni", jacobians, DY))
    predicted = backend.to_numpy(softmax.predictions(output))
    assert predicted.dtype == np.int32
    assert predicted.tolist() == np.argmax(X @ W, axis=1).tolist()


def test_backward_uses_the_last_forward(backend):
    softmax = Activation_Softmax()
    softmax.forward(X)
    second = backend.to_numpy(softmax.forward(-X))
    dinputs = backend.to_numpy(softmax.backward(np.ones_like(X) * [1, 2]))
    np.testing.assert_allclose(dinputs[:, 1], second[:, 0] * second[:, 1], rtol=1e-5)


def test_a_hidden_layer_does_not_see_what_is_done_to_its_output(backend, dense):
    relu = Activation_ReLU()
    relu.forward(dense.forward(X))
    before = backend.to_numpy(dense.output).copy()
    relu.backward(DY)
    np.testing.assert_array_equal(backend.to_numpy(dense.output), before)
