"""Layers and activations: what they accept, keep, return, and refuse with a clear error.

Proves that parameters stay of one dtype and layout whatever is assigned to them, that forward
and backward store what the book's programs read, that the penalty's numbers are those worked
out by hand, and that bad sizes, shapes and kinds raise one error with the remedy.
"""

import numpy as np
import pytest
from helpers import assert_close

from nnfs_gpu import (
    Activation_ReLU,
    Activation_Softmax,
    Layer_Dense,
    Layer_Input,
    Loss_CategoricalCrossentropy,
    Optimizer_Adam,
    Optimizer_SGD,
    use_backend,
)

X = np.array([[1.0, -2.0], [0.5, 3.0], [-1.0, 0.25]])
W = np.array([[0.2, -0.5, 1.0], [-0.3, 0.4, 0.7]])
B = np.array([[0.1, 0.2, -0.3]])
DY = np.array([[1.0, 2, 3], [-1, 0, 1], [0.5, 0.5, -2]])

NOT_NUMBERS = {
    "strings": [["a", "b"]],
    "complex": [[1j, 2]],
    "objects": np.array([[1.0, None]], object),
    "None": None,
    "dates": np.array([["2020-01-01", "2020-01-02"]], "datetime64[D]"),
}


@pytest.fixture
def backend(backend):
    """Every backend and dtype in turn, made the default that objects are constructed with."""
    use_backend(backend)
    return backend


@pytest.fixture
def dense(backend):
    """A 2-3 layer with known parameters."""
    layer = Layer_Dense(2, 3)
    layer.set_parameters(W, B)
    return layer


def close(backend, got, expected):
    """Equal to a few roundings, and of the backend's dtype."""
    expected = np.asarray(expected)
    magnitude = np.maximum(1, np.abs(expected))
    assert_close(backend.to_numpy(got), expected, backend.dtype, ulps=8, magnitude=magnitude)


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
    e = np.exp(X @ W)
    close(backend, output, e / e.sum(axis=1, keepdims=True))
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
