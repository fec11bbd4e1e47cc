"""Dropout, regularization and optimizers: masks, choices at zero, NaN, many steps."""

from __future__ import annotations

import math

import numpy as np
import pytest
from helpers import DTYPES, array, assert_close, philox_words, run, summing, usable_backends
from optimizer_oracle import follow

from nnfs_gpu import (
    Layer_Dense,
    Optimizer_Adagrad,
    Optimizer_Adam,
    Optimizer_AdamW,
    Optimizer_RMSprop,
    Optimizer_SGD,
    get_backend,
    use_backend,
)
from nnfs_gpu.selftest.operations import OPERATIONS


# ---- dropout ----
@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9])
def test_dropout_keeps_the_stated_fraction(backend, keep):
    n = 200_001
    x = np.random.RandomState(0).randn(n).astype(backend.dtype)
    y, mask = backend.dropout_forward(backend.asarray(x), keep, 99, 3)
    y, mask = backend.to_numpy(y), backend.to_numpy(mask)
    values = np.unique(mask)
    expected = np.array([0, backend.dtype.type(1) / backend.dtype.type(keep)])
    np.testing.assert_array_equal(values, expected)
    assert y.tobytes() == (x * mask).tobytes()
    kept = np.count_nonzero(mask)
    assert abs(kept - keep * n) < 5 * math.sqrt(n * keep * (1 - keep))


def test_dropout_keeps_the_same_elements_everywhere():
    """One pattern for all backends and dtypes, element by element; another for other calls."""

    def pattern(backend, dtype, seed, call):
        one = get_backend(backend, dtype=dtype, precise_dot=False, book_random=False)
        _, mask = one.dropout_forward(one.asarray(np.ones((1237, 3))), 0.7, seed, call)
        return (one.to_numpy(mask) != 0).ravel()

    expected = philox_words(0, 1237 * 3, 42, 1, 5) < 0.7 * 2**32
    others = [pattern("numpy", "float32", *counter) for counter in ((42, 6), (43, 5), (42, 0))]
    for other in others:
        assert 0.3 < (other != expected).mean() < 0.55
    for name in usable_backends():
        for dtype in DTYPES:
            np.testing.assert_array_equal(pattern(name, dtype, 42, 5), expected)


def test_dropout_that_keeps_all(backend):
    x = np.random.RandomState(0).randn(100_003).astype(backend.dtype)
    for keep in (1.0, 1):
        y, mask = backend.dropout_forward(backend.asarray(x), keep, 1, 2)
        assert backend.to_numpy(y).tobytes() == x.tobytes()
        assert (backend.to_numpy(mask) == 1).all()


@pytest.mark.parametrize(("seed", "call"), [(-1, 0), (2**64, 0), (0, -1), (0, 2**32)])
def test_dropout_refuses_seeds_that_do_not_fit(backend, seed, call):
    with pytest.raises(ValueError, match="expected 0 to"):
        backend.dropout_forward(backend.asarray([1.0]), 0.5, seed, call)


@pytest.mark.parametrize("keep", [0, 0.0, -0.5, 1.0001, 2, math.nan, math.inf, 1e-11])
def test_dropout_refuses_fractions_that_keep_nothing_or_more_than_all(backend, keep):
    with pytest.raises(ValueError, match=r"dropout: got keep = .*expected the fraction"):
        backend.dropout_forward(backend.asarray([1.0, 2.0]), keep, 1, 2)


# ---- regularization and optimizers ----
def test_penalty_at_zero_is_the_books(backend):
    """The L1 gradient at 0 and at -0.0 is +1."""
    w = array(backend, 0.0, -0.0, 2.0, -2.0)
    dw = backend.asarray(np.full(4, 10.0), backend.dtype)
    backend.regularization_step(dw, backend.asarray(w), 0.5, 0.0)
    assert_close(backend.to_numpy(dw), [10.5, 10.5, 10.5, 9.5], backend.dtype, ulps=0)
    backend.regularization_step(dw, backend.asarray(w), 0.0, 0.25)
    assert_close(backend.to_numpy(dw), [10.5, 10.5, 11.5, 8.5], backend.dtype, ulps=0)
    backend.regularization_step(dw, backend.asarray(w), 0.0, 0.0)
    assert_close(backend.to_numpy(dw), [10.5, 10.5, 11.5, 8.5], backend.dtype, ulps=0)
    for l1, l2, expected in ((0.5, 0.0, 2.0), (0.0, 0.25, 2.0), (0.0, 0.0, 0.0), (1.0, 1.0, 12.0)):
        penalty = backend.regularization_loss(backend.asarray(w), l1, l2)
        assert_close(backend.to_numpy(penalty), expected, backend.dtype, ulps=0)


@pytest.mark.parametrize(
    "identity",
    ["sgd_step", "momentum_step", "adagrad_step", "rmsprop_step", "adam_step", "adamw_step"],
)
def test_steps_pass_nan_on_and_leave_the_others(backend, identity):
    operation = next(o for o in OPERATIONS if o.id == identity)
    arguments = operation.arguments(backend.dtype, 8, 5)
    clean = run(backend, operation, arguments)
    arguments["dw"][3, 2] = np.nan
    for result, want in zip(run(backend, operation, arguments), clean, strict=True):
        assert np.isnan(result[3, 2])
        result[3, 2] = want[3, 2]
        assert result.tobytes() == want.tobytes()


NAMES = ("weights", "biases")
DEFAULTS = {
    "sgd": {},
    "momentum": {},
    "adagrad": {"epsilon": 1e-7},
    "rmsprop": {"epsilon": 1e-7, "rho": 0.9},
    "adam": {"epsilon": 1e-7, "beta_1": 0.9, "beta_2": 0.999},
}


@pytest.mark.parametrize(
    ("rule", "make", "arguments"),
    [
        ("sgd", Optimizer_SGD, {"learning_rate": 0.5}),
        ("sgd", Optimizer_SGD, {"learning_rate": 1.0, "decay": 0.1}),
        ("momentum", Optimizer_SGD, {"learning_rate": 0.5, "decay": 0.01, "momentum": 0.9}),
        ("adagrad", Optimizer_Adagrad, {"learning_rate": 0.5, "decay": 0.01, "epsilon": 1e-7}),
        (
            "rmsprop",
            Optimizer_RMSprop,
            {"learning_rate": 0.02, "decay": 0.01, "epsilon": 1e-7},
        ),
        ("rmsprop", Optimizer_RMSprop, {"learning_rate": 0.02, "rho": 0.5, "epsilon": 1e-3}),
        ("adam", Optimizer_Adam, {"learning_rate": 0.05, "decay": 0.01, "epsilon": 1e-7}),
        ("adam", Optimizer_Adam, {"learning_rate": 0.05, "beta_1": 0.5, "beta_2": 0.6}),
    ],
)
def test_optimizers_over_several_steps(backend, rule, make, arguments):
    """The public classes against the oracle, weights and biases, over twelve steps."""
    rng, steps = np.random.RandomState(3), 12
    with use_backend(backend):
        layer = Layer_Dense(5, 4)
    layer.weights, layer.biases = rng.randn(5, 4), rng.randn(1, 4)
    start = {name: np.array(backend.to_numpy(getattr(layer, name))) for name in NAMES}
    gradients = {
        "weights": rng.randn(steps, 5, 4).astype(backend.dtype),
        "biases": rng.randn(steps, 1, 4).astype(backend.dtype),
    }
    gradients["weights"][:, 1, 1] = 0.0  # a parameter that never moves
    optimizer = make(**arguments)
    for step in range(steps):
        layer.dweights = backend.asarray(gradients["weights"][step])
        layer.dbiases = backend.asarray(gradients["biases"][step])
        optimizer.pre_update_params()
        optimizer.update_params(layer)
        optimizer.post_update_params()
    assert optimizer.iterations == steps
    assert optimizer.current_learning_rate == pytest.approx(
        arguments["learning_rate"] / (1 + arguments.get("decay", 0) * (steps - 1)), rel=1e-15
    )
    for name in NAMES:
        expected, size, _ = follow(rule, start[name], gradients[name], **DEFAULTS[rule] | arguments)
        assert_close(
            backend.to_numpy(getattr(layer, name)),
            expected,
            backend.dtype,
            ulps=summing(steps),
            magnitude=size,
            what=name,
        )
    assert backend.to_numpy(layer.weights)[1, 1] == start["weights"][1, 1]


def test_adamw_is_adam_and_a_decay_that_no_gradient_sees(backend):
    """Of weights and biases alike; one without a gradient shrinks by rate * weight_decay a step."""
    rng, rate, share, steps = np.random.RandomState(4), 0.05, 0.1, 5
    start = {"weights": rng.randn(3, 4), "biases": rng.randn(1, 4)}
    gradients = {"weights": rng.randn(3, 4), "biases": rng.randn(1, 4)}
    for values in gradients.values():
        values[0, 1] = 0.0
    with use_backend(backend):
        layers = {make: Layer_Dense(3, 4) for make in (Optimizer_Adam, Optimizer_AdamW)}
    for make, layer in layers.items():
        layer.weights, layer.biases = start["weights"], start["biases"]
        settings = {"weight_decay": share} if make is Optimizer_AdamW else {}
        optimizer = make(rate, **settings)
        for _ in range(steps if settings else 1):
            layer.dweights, layer.dbiases = map(backend.asarray, gradients.values())
            optimizer.pre_update_params()
            optimizer.update_params(layer)
            optimizer.post_update_params()
    for name in NAMES:
        # With the same gradient at every step Adam moves by the same amount at every step.
        adam = backend.to_numpy(getattr(layers[Optimizer_Adam], name)) - start[name]
        expected = start[name].copy()
        for _ in range(steps):
            expected += adam - rate * share * expected
        found = backend.to_numpy(getattr(layers[Optimizer_AdamW], name))
        size = np.abs(start[name]) + steps * np.abs(adam)
        assert_close(found, expected, backend.dtype, ulps=16 * steps, magnitude=size, what=name)
        still = start[name][0, 1] * (1 - rate * share) ** steps
        assert_close(found[0, 1], still, backend.dtype, ulps=2 * steps)


def test_adam_after_a_million_steps(backend):
    """The corrections are 1 by then; the first step moves by the rate, whatever the gradient."""
    for step, gradient, expected in ((1, 1e-3, -0.05), (1, -1e3, 0.05), (10**6, 0.0, 0.0)):
        w, dw, m, cache = (backend.asarray([[value]]) for value in (0.0, gradient, 0.0, 0.0))
        backend.adam_step(w, dw, m, cache, 0.05, 1e-7, 0.9, 0.999, step)
        # epsilon beside a gradient of 1e-3 takes 1e-4 off.
        assert_close(
            backend.to_numpy(w),
            [[expected / (1 + 1e-7 / max(abs(gradient), 1e-7))]],
            backend.dtype,
            ulps=8,
        )
