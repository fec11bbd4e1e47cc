"""Layers and activations refuse bad sizes, shapes and kinds with one error and the remedy."""

import numpy as np
import pytest
from layer_example import DY, X

from nnfs_gpu import (
    Activation_ReLU,
    Activation_Softmax,
    Layer_Dense,
    Layer_Input,
)

NOT_NUMBERS = {
    "strings": [["a", "b"]],
    "complex": [[1j, 2]],
    "objects": np.array([[1.0, None]], object),
    "None": None,
    "dates": np.array([["2020-01-01", "2020-01-02"]], "datetime64[D]"),
}


pytestmark = pytest.mark.default_backend


# ---- bad sizes, shapes and kinds ----


@pytest.mark.parametrize(
    ("sizes", "error", "message"),
    [
        ((0, 3), ValueError, "n_inputs: got 0, expected at least 1"),
        ((2, 0), ValueError, "n_neurons: got 0, expected at least 1"),
        ((2, -3), ValueError, "n_neurons: got -3, expected at least 1"),
        ((True, 3), TypeError, "n_inputs: got True, expected a whole number of at least 1"),
        ((2, np.True_), TypeError, "n_neurons: got .*True.*, expected a whole number"),
        ((2.0, 3), TypeError, "n_inputs: got 2.0, expected a whole number"),
        ((2, "3"), TypeError, "n_neurons: got '3', expected a whole number"),
        ((None, 3), TypeError, "n_inputs: got None, expected a whole number"),
        (((2, 3), 3), TypeError, r"n_inputs: got \(2, 3\), expected a whole number"),
    ],
)
def test_bad_sizes_draw_nothing(backend, sizes, error, message):
    np.random.seed(0)
    with pytest.raises(error, match="Layer_Dense " + message):
        Layer_Dense(*sizes)
    assert np.random.rand() == np.random.RandomState(0).rand()


def test_numpy_sizes_are_sizes(backend):
    layer = Layer_Dense(np.int64(2), np.uint8(3))
    assert (layer.n_inputs, layer.n_neurons) == (2, 3)
    assert type(layer.n_inputs) is type(layer.n_neurons) is int
    assert layer.weights.shape == (2, 3)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((4, 3)), r"got shape \(4, 3\), expected \(samples, 2\): 3 features do not fit 2"),
        (np.zeros((4, 1)), r"got shape \(4, 1\), expected \(samples, 2\): 1 features"),
        (np.zeros((4, 0)), r"got shape \(4, 0\), expected \(samples, 2\)"),
        (np.zeros(2), r"got shape \(2,\), expected \(samples, features\); .*reshape\(1, -1\)"),
        (np.zeros((1, 1, 2)), r"got shape \(1, 1, 2\), expected \(samples, features\)$"),
        (np.zeros((0, 2)), r"got an empty batch of shape \(0, 2\), expected samples"),
    ],
)
def test_inputs_of_a_wrong_shape(backend, dense, x, message):
    dense.forward(X)
    kept = dense.output
    with pytest.raises(ValueError, match=r"^Layer_Dense\(2, 3\): " + message):
        dense.forward(x)
    assert dense.output is kept


@pytest.mark.parametrize("x", [np.zeros(3), np.zeros((0, 3)), np.zeros((1, 2, 3))])
def test_softmax_and_input_want_rows(backend, x):
    with pytest.raises(ValueError, match=r"^Activation_Softmax: got .*expected"):
        Activation_Softmax().forward(x)
    with pytest.raises(ValueError, match=r"^input: got .*expected"):
        Layer_Input().forward(x)


def test_softmax_of_no_classes(backend):
    with pytest.raises(ValueError, match=r"got .*\(3, 0\).*expected"):
        Activation_Softmax().forward(np.zeros((3, 0)))


@pytest.mark.parametrize("x", NOT_NUMBERS.values(), ids=NOT_NUMBERS)
def test_inputs_that_are_no_numbers(backend, dense, x):
    for layer in (dense, Activation_ReLU(), Activation_Softmax(), Layer_Input()):
        with pytest.raises(TypeError, match=r"array of real numbers expected, got dtype .*convert"):
            layer.forward(x)
    dense.forward(X)
    with pytest.raises(TypeError, match="real numbers expected"):
        dense.backward(x)


@pytest.mark.parametrize("make", [lambda: Layer_Dense(2, 3), Activation_ReLU, Activation_Softmax])
def test_backward_before_forward(backend, make):
    with pytest.raises(
        RuntimeError, match=r"\.backward: backward was called before forward; call forward first"
    ):
        make().backward(DY)


@pytest.mark.parametrize("shape", [(3, 2), (2, 3), (3,), (1, 3), (3, 1), (3, 3, 1), (), (0, 3)])
@pytest.mark.parametrize("make", [lambda: Layer_Dense(2, 3), Activation_ReLU, Activation_Softmax])
def test_gradient_of_another_shape(backend, make, shape):
    layer = make()
    layer.forward(X if isinstance(layer, Layer_Dense) else DY)
    with pytest.raises(
        ValueError, match=r"\.backward: got dvalues of shape .*, expected \(3, 3\), the shape of"
    ):
        layer.backward(np.zeros(shape))
    assert not hasattr(layer, "dinputs")
