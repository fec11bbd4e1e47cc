"""Optimizers: the learning rate, the other factors, and the errors for bad ones."""

import itertools

import numpy as np
import pytest
from helpers import DTYPES

from nnfs_gpu import (
    Activation_ReLU,
    Layer_Dense,
    Optimizer_Adagrad,
    Optimizer_Adam,
    Optimizer_RMSprop,
    Optimizer_SGD,
    use_backend,
)

pytestmark = pytest.mark.default_backend

CLASSES = [Optimizer_SGD, Optimizer_Adagrad, Optimizer_RMSprop, Optimizer_Adam]


# ---- the learning rate ----


@pytest.mark.parametrize("make", CLASSES)
def test_rate_decays_with_the_counted_steps(make):
    optimizer = make(0.5, decay=0.1)
    assert (optimizer.current_learning_rate, optimizer.iterations) == (0.5, 0)
    seen = []
    for _ in range(5):
        optimizer.pre_update_params()
        optimizer.pre_update_params()  # sets the rate anew: it does not count
        seen.append(optimizer.current_learning_rate)
        optimizer.post_update_params()
    assert seen == pytest.approx([0.5 / (1 + 0.1 * k) for k in range(5)], rel=1e-15)
    assert optimizer.iterations == 5
    assert optimizer.learning_rate == 0.5


@pytest.mark.parametrize("make", CLASSES)
def test_rate_without_decay_stays(make):
    optimizer = make(0.5)
    for _ in range(3):
        optimizer.pre_update_params()
        optimizer.post_update_params()
    assert optimizer.current_learning_rate == 0.5


def test_the_rate_in_use_is_the_decayed_one(backend):
    layer, optimizer = Layer_Dense(1, 1), Optimizer_SGD(1.0, decay=1.0)
    layer.weights = [[0.0]]
    layer.dweights, layer.dbiases = backend.asarray([[1.0]]), backend.asarray([[0.0]])
    for expected in (-1.0, -1.5, -1.5 - 1 / 3):
        optimizer.pre_update_params()
        optimizer.update_params(layer)
        optimizer.post_update_params()
        assert float(layer.weights[0, 0]) == pytest.approx(expected, rel=1e-6)


def test_the_books_defaults():
    defaults = {
        Optimizer_SGD: {"learning_rate": 1.0, "decay": 0.0, "momentum": 0.0},
        Optimizer_Adagrad: {"learning_rate": 1.0, "decay": 0.0, "epsilon": 1e-7},
        Optimizer_RMSprop: {"learning_rate": 0.001, "decay": 0.0, "epsilon": 1e-7, "rho": 0.9},
        Optimizer_Adam: {
            "learning_rate": 0.001,
            "decay": 0.0,
            "epsilon": 1e-7,
            "beta_1": 0.9,
            "beta_2": 0.999,
        },
    }
    for make, expected in defaults.items():
        optimizer = make()
        assert {name: getattr(optimizer, name) for name in expected} == expected
        positional = make(*(value / 2 for value in expected.values()))
        assert {name: getattr(positional, name) for name in expected} == {
            name: value / 2 for name, value in expected.items()
        }


@pytest.mark.parametrize("number", [np.float32(1), np.float64(1), np.int64(1)], ids=repr)
def test_numpy_numbers_are_rates_like_any_other(backend_name, number):
    """The same bits as with a Python float, whatever kind of number the rate is."""
    for dtype, make in itertools.product(DTYPES, CLASSES):
        with use_backend(backend_name, dtype=dtype) as backend:
            np.testing.assert_array_equal(
                trained(backend, make, number), trained(backend, make, 1.0)
            )


@pytest.mark.parametrize("make", CLASSES)
def test_whole_numbers_are_rates(backend, make):
    np.testing.assert_array_equal(trained(backend, make, 1), trained(backend, make, 1.0))


def trained(backend, make, rate):
    """The weights after three steps at `rate`."""
    np.random.seed(0)
    layer, optimizer = Layer_Dense(3, 4), make(rate, decay=rate)
    for _ in range(3):
        layer.forward([[1.0, -2.0, 0.3]])
        layer.backward([[0.1, 0.2, -0.3, 1.7]])
        optimizer.pre_update_params()
        optimizer.update_params(layer)
        optimizer.post_update_params()
    assert layer.weights.dtype == backend.dtype
    return backend.to_numpy(layer.weights)


# ---- errors ----


@pytest.mark.parametrize("bad", [-0.1, np.nan, np.inf, "0.1", 1j])
@pytest.mark.parametrize(
    ("make", "name"),
    [
        (Optimizer_SGD, "learning_rate"),
        (Optimizer_SGD, "decay"),
        (Optimizer_SGD, "momentum"),
        (Optimizer_Adagrad, "learning_rate"),
        (Optimizer_RMSprop, "decay"),
        (Optimizer_Adam, "learning_rate"),
    ],
)
def test_bad_factors(make, name, bad):
    with pytest.raises(ValueError, match=f"^{name}: got .*, expected a number of at least 0"):
        make(**{name: bad})


@pytest.mark.parametrize("bad", [0, 0.0, -0.1, np.nan, np.inf, "0.1", 1j])
@pytest.mark.parametrize("make", [Optimizer_Adagrad, Optimizer_RMSprop, Optimizer_Adam])
def test_epsilon_is_above_0(make, bad):
    """0 would be 0 / 0 for a parameter whose gradients are all 0."""
    with pytest.raises(ValueError, match=r"^epsilon: got .*, expected a number above 0"):
        make(epsilon=bad)


@pytest.mark.parametrize("bad", [-0.1, 1, 1.0, 1.5, np.nan, "0.9"])
@pytest.mark.parametrize(
    ("make", "name"),
    [(Optimizer_RMSprop, "rho"), (Optimizer_Adam, "beta_1"), (Optimizer_Adam, "beta_2")],
)
def test_factors_of_the_past_are_below_1(make, name, bad):
    with pytest.raises(ValueError, match=f"^{name}: got .*, expected a number from 0 to below 1"):
        make(**{name: bad})


@pytest.mark.parametrize("make", CLASSES)
@pytest.mark.parametrize("bad", [None, [0.1], np.array([0.1, 0.2]), {}], ids=repr)
def test_rates_that_are_no_numbers(make, bad):
    with pytest.raises((TypeError, ValueError), match=r"^learning_rate: got .*, expected a number"):
        make(bad)


def test_unknown_arguments_are_refused():
    with pytest.raises(TypeError, match="momentum"):
        Optimizer_Adam(momentum=0.9)


@pytest.mark.parametrize("make", CLASSES)
def test_update_before_backward(backend, make):
    layer = Layer_Dense(2, 3)
    layer.forward(np.ones((1, 2)))
    with pytest.raises(RuntimeError, match="Layer_Dense has no gradient; call backward first"):
        make().update_params(layer)


def test_a_layer_without_parameters_has_no_gradient(backend):
    relu = Activation_ReLU()
    relu.forward(np.ones((1, 2)))
    relu.backward(np.ones((1, 2)))
    with pytest.raises(RuntimeError, match="Activation_ReLU has no gradient"):
        Optimizer_SGD().update_params(relu)
