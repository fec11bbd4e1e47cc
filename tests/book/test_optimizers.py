"""Optimizers: the book's updates, step by step, on every backend.

Proves each rule over 20 steps against a plain float64 transcription of the book's formulas
(chapter 10) fed with the same gradients: decay of the rate, momentum, bias correction, the
state under the book's names, everything written in place; and the errors for bad arguments.
The factors are chosen so that each detail shows: an epsilon of 0.05 tells inside from outside
the root, betas far from 1 tell a missing or late bias correction.
"""

import itertools

import numpy as np
import pytest
from helpers import DTYPES, assert_close

from nnfs_gpu import (
    Activation_ReLU,
    Layer_Dense,
    Optimizer_Adagrad,
    Optimizer_Adam,
    Optimizer_RMSprop,
    Optimizer_SGD,
    use_backend,
)

STEPS = 20
SHAPE = (5, 7)


pytestmark = pytest.mark.default_backend


# ---- the book's formulas, in float64: (parameters, gradient, state, rate, step from 0) ----


def sgd(w, dw, state, rate, step):
    return w - rate * dw


def momentum(w, dw, state, rate, step):
    state["momentums"] = 0.8 * state["momentums"] - rate * dw
    return w + state["momentums"]


def adagrad(w, dw, state, rate, step):
    state["cache"] = state["cache"] + dw**2
    return w - rate * dw / (np.sqrt(state["cache"]) + 0.05)


def rmsprop(w, dw, state, rate, step):
    state["cache"] = 0.7 * state["cache"] + 0.3 * dw**2
    return w - rate * dw / (np.sqrt(state["cache"]) + 0.05)


def adam(w, dw, state, rate, step):
    state["momentums"] = 0.6 * state["momentums"] + 0.4 * dw
    m = state["momentums"] / (1 - 0.6 ** (step + 1))
    state["cache"] = 0.9 * state["cache"] + 0.1 * dw**2
    v = state["cache"] / (1 - 0.9 ** (step + 1))
    return w - rate * m / (np.sqrt(v) + 0.05)


RULES = {
    "sgd": (sgd, Optimizer_SGD, {"learning_rate": 0.3}, ()),
    "momentum": (momentum, Optimizer_SGD, {"learning_rate": 0.3, "momentum": 0.8}, ("momentums",)),
    "adagrad": (adagrad, Optimizer_Adagrad, {"learning_rate": 0.3, "epsilon": 0.05}, ("cache",)),
    "rmsprop": (
        rmsprop,
        Optimizer_RMSprop,
        {"learning_rate": 0.3, "epsilon": 0.05, "rho": 0.7},
        ("cache",),
    ),
    "adam": (
        adam,
        Optimizer_Adam,
        {"learning_rate": 0.3, "epsilon": 0.05, "beta_1": 0.6, "beta_2": 0.9},
        ("momentums", "cache"),
    ),
}
CLASSES = [Optimizer_SGD, Optimizer_Adagrad, Optimizer_RMSprop, Optimizer_Adam]


def gradients(rng, backend, shape):
    """Asymmetric, of mixed size, with exact zeros: what ReLU networks give."""
    values = rng.randn(*shape) * 10.0 ** rng.randint(-3, 2, shape) + 0.01
    values[rng.rand(*shape) < 0.2] = 0
    return values.astype(backend.dtype)


@pytest.mark.parametrize("decay", [0.0, 0.25])
@pytest.mark.parametrize("rule", RULES)
def test_twenty_steps_follow_the_book(backend, rule, decay):
    formula, make, arguments, states = RULES[rule]
    rng = np.random.RandomState(11)
    layer, optimizer = Layer_Dense(*SHAPE), make(decay=decay, **arguments)
    layer.biases = rng.randn(1, SHAPE[1])
    expected = {
        "weight": backend.to_numpy(layer.weights).astype(np.float64),
        "bias": backend.to_numpy(layer.biases).astype(np.float64),
    }
    state = {part: dict.fromkeys(states, 0.0) for part in expected}
    arrays = None
    for step in range(STEPS):
        layer.dweights = backend.asarray(gradients(rng, backend, SHAPE))
        layer.dbiases = backend.asarray(gradients(rng, backend, (1, SHAPE[1])))
        rate = 0.3 / (1 + decay * step)
        for part, dw in (("weight", layer.dweights), ("bias", layer.dbiases)):
            dw = backend.to_numpy(dw).astype(np.float64)
            expected[part] = formula(expected[part], dw, state[part], rate, step)
        given = [backend.to_numpy(a).copy() for a in (layer.dweights, layer.dbiases)]
        optimizer.pre_update_params()
        assert optimizer.current_learning_rate == pytest.approx(rate, rel=1e-15)
        optimizer.update_params(layer)
        optimizer.post_update_params()
        np.testing.assert_array_equal(backend.to_numpy(layer.dweights), given[0])
        np.testing.assert_array_equal(backend.to_numpy(layer.dbiases), given[1])
        # the same arrays from the first step to the last
        now = [layer.weights, layer.biases]
        now += [getattr(layer, f"{part}_{name}") for part in expected for name in states]
        arrays = arrays or now
        assert all(a is b for a, b in zip(arrays, now, strict=True))
    assert optimizer.iterations == STEPS
    for part, attribute in (("weight", "weights"), ("bias", "biases")):
        compare(backend, getattr(layer, attribute), expected[part], f"{rule} {attribute}")
        for name in states:
            got = getattr(layer, f"{part}_{name}")
            compare(backend, got, state[part][name], f"{rule} {part}_{name}")


def compare(backend, got, expected, what):
    """Equal to the rounding of 20 steps; sums of terms of either sign, so by the largest."""
    magnitude = np.maximum(np.abs(expected), 1)
    got = backend.to_numpy(got)
    assert_close(got, expected, backend.dtype, ulps=4 * STEPS, magnitude=magnitude, what=what)


def test_states_are_named_as_in_the_book(backend):
    names = {"weight_momentums", "bias_momentums", "weight_cache", "bias_cache"}
    for _rule, make, arguments, states in RULES.values():
        layer, optimizer = Layer_Dense(2, 3), make(**arguments)
        layer.forward(np.ones((1, 2)))
        layer.backward(np.ones((1, 3)))
        optimizer.update_params(layer)
        kept = {name for name in names if hasattr(layer, name)}
        assert kept == {f"{part}_{state}" for part in ("weight", "bias") for state in states}
        for name in kept:
            of = layer.weights if name.startswith("weight") else layer.biases
            assert getattr(layer, name).shape == of.shape
            assert getattr(layer, name).dtype == of.dtype


def test_first_adam_step_is_the_sign_of_the_gradient(backend):
    layer, optimizer = Layer_Dense(2, 2), Optimizer_Adam(0.1)
    layer.weights = np.zeros((2, 2))
    layer.dweights = backend.asarray([[1e-3, -5.0], [40.0, -0.2]])
    layer.dbiases = backend.zeros((1, 2))
    optimizer.update_params(layer)
    assert backend.to_numpy(layer.weights) == pytest.approx(
        np.array([[-0.1, 0.1], [-0.1, 0.1]]), rel=2e-4
    )
    assert backend.to_numpy(layer.biases).tolist() == [[0, 0]]


@pytest.mark.parametrize("make", CLASSES)
def test_zero_gradient_moves_nothing(backend, make):
    layer, optimizer = Layer_Dense(3, 2), make()
    before = backend.to_numpy(layer.weights).copy()
    layer.dweights, layer.dbiases = backend.zeros((3, 2)), backend.zeros((1, 2))
    for _ in range(3):
        optimizer.pre_update_params()
        optimizer.update_params(layer)
        optimizer.post_update_params()
    np.testing.assert_array_equal(backend.to_numpy(layer.weights), before)


@pytest.mark.parametrize("make", CLASSES)
def test_layers_do_not_share_state(backend, make):
    """Two layers under one optimizer move as each would alone."""
    alone, together = [], []
    for shared in (False, True):
        np.random.seed(2)
        layers = Layer_Dense(2, 3), Layer_Dense(2, 3)
        optimizers = [make(0.1)] * 2 if shared else [make(0.1), make(0.1)]
        for step in range(3):
            for k, layer in enumerate(layers):
                layer.forward([[1.0 + k, -2.0 * step]])
                layer.backward([[1.0, -1.0, 0.5 + k]])
                optimizers[k].update_params(layer)
            for optimizer in set(optimizers):
                optimizer.post_update_params()
        (together if shared else alone).extend(backend.to_numpy(one.weights) for one in layers)
    np.testing.assert_array_equal(alone, together)


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
