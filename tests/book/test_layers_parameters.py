"""Parameters of layers: assigning, copying, moving, and the penalty on large ones.

Proves that parameters stay of one dtype and layout whatever is assigned to them, that a bad
assignment changes nothing, and that the penalty's numbers are those worked out by hand.
"""

import numpy as np
import pytest
from layer_example import DY, B, W, X, close

from nnfs_gpu import (
    Layer_Dense,
    Loss_CategoricalCrossentropy,
    Optimizer_Adam,
    Optimizer_SGD,
    use_backend,
)

pytestmark = pytest.mark.default_backend


# ---- assigning parameters ----


@pytest.mark.parametrize(
    "given",
    [
        lambda w: w.tolist(),
        lambda w: w.copy(),
        lambda w: np.asfortranarray(w),
        lambda w: np.ascontiguousarray(w.T).T,
        lambda w: np.repeat(w, 2, axis=1)[:, ::2],
        lambda w: w[::-1].copy()[::-1],
        lambda w: w.astype(">f8"),
    ],
    ids=["list", "plain", "fortran", "transposed", "strided", "reversed", "big-endian"],
)
@pytest.mark.parametrize("bits", ["float32", "float64"])
def test_assigned_weights_train_in_place_whatever_their_layout(backend, given, bits):
    layer = Layer_Dense(2, 3)
    start, gradient = W.astype(bits), X.T @ DY
    for optimizer in (Optimizer_SGD(0.5), Optimizer_Adam(0.5)):
        layer.weights, layer.biases = given(start.copy()), B
        assert layer.weights.dtype == backend.dtype
        assert layer.weights.flags.c_contiguous
        close(backend, layer.weights, start)
        weights = layer.weights
        layer.forward(X)
        layer.backward(DY)
        optimizer.update_params(layer)
        assert layer.weights is weights
        divisor = 1 if isinstance(optimizer, Optimizer_SGD) else np.abs(gradient) + 1e-7
        step = 0.5 * gradient / divisor
        close(backend, layer.weights, start - step)
        biases = backend.to_numpy(layer.biases)
        close(backend, layer.forward(X), X @ (start - step) + biases)


def test_integer_weights_become_floats(backend):
    layer = Layer_Dense(2, 3)
    layer.weights = np.arange(6).reshape(2, 3)
    close(backend, layer.weights, np.arange(6).reshape(2, 3))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("weights", W.T, r"weights: got shape \(3, 2\), expected \(2, 3\)"),
        ("weights", W.reshape(-1), r"weights: got shape \(6,\), expected \(2, 3\)"),
        ("weights", 1.0, r"weights: got shape .*, expected \(2, 3\)"),
        ("biases", B[0], r"biases: got shape \(3,\), expected \(1, 3\)"),
        ("biases", B.T, r"biases: got shape \(3, 1\), expected \(1, 3\)"),
    ],
)
def test_parameters_of_another_shape_change_nothing(backend, dense, name, value, message):
    both = {"weights": W, "biases": B} | {name: value}
    for change in (lambda: setattr(dense, name, value), lambda: dense.set_parameters(**both)):
        with pytest.raises(ValueError, match=message):
            change()
    close(backend, dense.weights, W)
    close(backend, dense.biases, B)


def test_set_parameters_checks_both_before_it_changes_either(backend, dense):
    with pytest.raises(ValueError, match="biases"):
        dense.set_parameters(W + 1, B[0])
    close(backend, dense.weights, W)


@pytest.mark.parametrize("bad", [[["a"] * 3] * 2, W * 1j, W.astype(object)])
def test_parameters_that_are_no_numbers(backend, dense, bad):
    with pytest.raises(TypeError, match="real numbers expected, got dtype"):
        dense.weights = bad
    close(backend, dense.weights, W)


def test_set_parameters_copies(backend):
    w, b = W.astype(backend.dtype), B.astype(backend.dtype)
    layer = Layer_Dense(2, 3)
    layer.set_parameters(w, b)
    w += 1
    b += 1
    close(backend, layer.weights, W)
    close(backend, layer.biases, B)


def test_get_parameters_gives_the_arrays_and_moves_to_another_layer(backend, dense):
    weights, biases = dense.get_parameters()
    assert weights is dense.weights
    assert biases is dense.biases
    other = Layer_Dense(2, 3)
    other.set_parameters(weights, biases)
    other.forward(X)
    other.backward(DY)
    Optimizer_SGD(1.0).update_params(other)
    close(backend, dense.weights, W)  # training one does not move the other


def test_weights_moved_between_dtypes(backend_name):
    with use_backend(backend_name, dtype="float64"):
        exact = Layer_Dense(2, 3)
    with use_backend(backend_name, dtype="float32"):
        single = Layer_Dense(2, 3)
    single.set_parameters(*exact.get_parameters())
    assert single.weights.dtype == np.float32
    moved, drawn = single.backend.to_numpy(single.weights), exact.backend.to_numpy(exact.weights)
    np.testing.assert_array_equal(moved, drawn.astype(np.float32))


# ---- regularization (book, chapter 14) ----


def test_penalty_gradient_by_hand(backend):
    layer = Layer_Dense(2, 3, 0.1, 0.01, 0.2, 0.02)
    assert (layer.weight_regularizer_l1, layer.weight_regularizer_l2) == (0.1, 0.01)
    assert (layer.bias_regularizer_l1, layer.bias_regularizer_l2) == (0.2, 0.02)
    layer.set_parameters([[1.0, -2, 0], [0.5, -0.5, 3]], [[-1.0, 0, 2]])
    layer.forward(np.zeros((1, 2)))
    layer.backward(np.zeros((1, 3)))  # no data gradient: only the penalty's is left
    # 0.1 * (+1 where w >= 0, else -1) + 2 * 0.01 * w; at exactly 0 the book takes +1
    close(backend, layer.dweights, [[0.12, -0.14, 0.1], [0.11, -0.11, 0.16]])
    close(backend, layer.dbiases, [[-0.24, 0.2, 0.28]])
    close(backend, layer.dinputs, np.zeros((1, 2)))


def test_penalty_adds_to_the_data_gradient_once(backend):
    plain, penalized = Layer_Dense(2, 3), Layer_Dense(2, 3, weight_regularizer_l2=0.5)
    for layer in (plain, penalized):
        layer.set_parameters(W, B)
        layer.forward(X)
        layer.backward(DY)
        layer.backward(DY)  # a second call starts afresh
    close(backend, penalized.dweights, X.T @ DY + W)
    close(backend, penalized.dbiases, backend.to_numpy(plain.dbiases))


def test_penalty_loss_by_hand(backend):
    first = Layer_Dense(2, 3, 0.1, 0.01, 0.2, 0.02)
    first.set_parameters([[1.0, -2, 0], [0.5, -0.5, 3]], [[-1.0, 0, 2]])
    second, free = Layer_Dense(3, 1, weight_regularizer_l1=1.0), Layer_Dense(1, 1)
    second.weights = [[1.0], [-2.0], [0.25]]
    loss = Loss_CategoricalCrossentropy()
    # 0.1 * 7 + 0.01 * 14.5 + 0.2 * 3 + 0.02 * 5
    assert float(loss.regularization_loss(first)) == pytest.approx(1.545, rel=1e-6)
    assert float(loss.regularization_loss(second)) == pytest.approx(3.25, rel=1e-6)
    assert float(loss.regularization_loss(free)) == 0
    assert float(loss.regularization_loss()) == 0  # nothing remembered yet
    loss.remember_trainable_layers([first, second, free])
    assert float(loss.regularization_loss()) == pytest.approx(4.795, rel=1e-6)


@pytest.mark.parametrize(
    "which",
    [
        "weight_regularizer_l1",
        "weight_regularizer_l2",
        "bias_regularizer_l1",
        "bias_regularizer_l2",
    ],
)
@pytest.mark.parametrize("factor", [-0.1, np.nan, np.inf, "0.1", 1j, None, [0.1]], ids=repr)
def test_bad_regularizer(backend, which, factor):
    message = rf"^{which}: got .*, expected a number of at least 0"
    with pytest.raises((TypeError, ValueError), match=message):
        Layer_Dense(2, 3, **{which: factor})
