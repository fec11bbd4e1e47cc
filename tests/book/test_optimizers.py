"""Optimizers: the book's updates, step by step, on every backend.

Proves each rule over 20 steps against the book's formulas (chapter 10) in plain float64, fed with
the same gradients: decay of the rate, momentum, bias correction, the state under the book's
names, everything written in place. The factors are chosen so
that each detail shows: an epsilon of 0.05 tells inside from outside the root, betas far from 1
tell a missing or late bias correction.
"""

import numpy as np
import pytest
from helpers import assert_close
from optimizer_oracle import STATES, follow

from nnfs_gpu import (
    Layer_Dense,
    Optimizer_Adagrad,
    Optimizer_Adam,
    Optimizer_RMSprop,
    Optimizer_SGD,
)

STEPS = 20
SHAPE = (5, 7)
PARTS = {"weight": "weights", "bias": "biases"}


pytestmark = pytest.mark.default_backend


RULES = {
    "sgd": (Optimizer_SGD, {"learning_rate": 0.3}),
    "momentum": (Optimizer_SGD, {"learning_rate": 0.3, "momentum": 0.8}),
    "adagrad": (Optimizer_Adagrad, {"learning_rate": 0.3, "epsilon": 0.05}),
    "rmsprop": (Optimizer_RMSprop, {"learning_rate": 0.3, "epsilon": 0.05, "rho": 0.7}),
    "adam": (
        Optimizer_Adam,
        {"learning_rate": 0.3, "epsilon": 0.05, "beta_1": 0.6, "beta_2": 0.9},
    ),
}
BOOK_NAMES = {"m": "momentums", "cache": "cache"}
CLASSES = [Optimizer_SGD, Optimizer_Adagrad, Optimizer_RMSprop, Optimizer_Adam]


def gradients(rng, backend, shape):
    """Asymmetric, of mixed size, with exact zeros: what ReLU networks give."""
    values = rng.randn(*shape) * 10.0 ** rng.randint(-3, 2, shape) + 0.01
    values[rng.rand(*shape) < 0.2] = 0
    return values.astype(backend.dtype)


@pytest.mark.parametrize("decay", [0.0, 0.25])
@pytest.mark.parametrize("rule", RULES)
def test_twenty_steps_follow_the_book(backend, rule, decay):
    make, arguments = RULES[rule]
    rng = np.random.RandomState(11)
    layer, optimizer = Layer_Dense(*SHAPE), make(decay=decay, **arguments)
    layer.biases = rng.randn(1, SHAPE[1])
    start = {part: backend.to_numpy(getattr(layer, PARTS[part])).copy() for part in PARTS}
    given = {part: [] for part in PARTS}
    arrays = None
    for step in range(STEPS):
        for part, shape in (("weight", SHAPE), ("bias", (1, SHAPE[1]))):
            given[part].append(gradients(rng, backend, shape))
            setattr(layer, f"d{PARTS[part]}", backend.asarray(given[part][-1]))
        optimizer.pre_update_params()
        assert optimizer.current_learning_rate == pytest.approx(0.3 / (1 + decay * step), rel=1e-15)
        optimizer.update_params(layer)
        optimizer.post_update_params()
        np.testing.assert_array_equal(backend.to_numpy(layer.dweights), given["weight"][-1])
        np.testing.assert_array_equal(backend.to_numpy(layer.dbiases), given["bias"][-1])
        # the same arrays from the first step to the last
        now = [layer.weights, layer.biases]
        now += [getattr(layer, f"{part}_{BOOK_NAMES[s]}") for part in PARTS for s in STATES[rule]]
        arrays = arrays or now
        assert all(a is b for a, b in zip(arrays, now, strict=True))
    assert optimizer.iterations == STEPS
    for part, attribute in PARTS.items():
        expected, _, state = follow(
            rule, start[part], np.array(given[part]), decay=decay, **arguments
        )
        compare(backend, getattr(layer, attribute), expected, f"{rule} {attribute}")
        for name, values in state.items():
            got = getattr(layer, f"{part}_{BOOK_NAMES[name]}")
            compare(backend, got, values, f"{rule} {part}_{name}")


def compare(backend, got, expected, what):
    """Equal to the rounding of 20 steps; sums of terms of either sign, so by the largest."""
    magnitude = np.maximum(np.abs(expected), 1)
    got = backend.to_numpy(got)
    assert_close(got, expected, backend.dtype, ulps=4 * STEPS, magnitude=magnitude, what=what)


def test_states_are_named_as_in_the_book(backend):
    names = {"weight_momentums", "bias_momentums", "weight_cache", "bias_cache"}
    for rule, (make, arguments) in RULES.items():
        layer, optimizer = Layer_Dense(2, 3), make(**arguments)
        layer.forward(np.ones((1, 2)))
        layer.backward(np.ones((1, 3)))
        optimizer.update_params(layer)
        kept = {name for name in names if hasattr(layer, name)}
        assert kept == {f"{part}_{BOOK_NAMES[state]}" for part in PARTS for state in STATES[rule]}
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
