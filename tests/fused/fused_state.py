"""What the tests of the CPU's fused step read of a model, and how they compare it."""

from __future__ import annotations

import numpy as np

import nnfs_gpu as ng
from nnfs_gpu import fused
from nnfs_gpu.training.engines import LayerSteps

STATE = ("weight_momentums", "weight_cache", "bias_momentums", "bias_cache")


def layer_steps(network, backend):
    """(model, its steps layer by layer)."""
    model = network.model(backend)
    return model, LayerSteps(model)


def parameters(model):
    """Copies of all weights and biases."""
    return [a.copy() for layer in model.trainable_layers for a in (layer.weights, layer.biases)]


def state(model):
    """Copies of the optimizer's state, by layer and name."""
    return {
        (k, name): getattr(layer, name).copy()
        for k, layer in enumerate(model.trainable_layers)
        for name in STATE
        if hasattr(layer, name)
    }


def gradients(model):
    """Copies of all dweights and dbiases."""
    return [a.copy() for layer in model.trainable_layers for a in (layer.dweights, layer.dbiases)]


def copy_state(source, target):
    """`target` continues where `source` stands."""
    for a, b in zip(source.layers, target.layers, strict=True):
        for name in ("weights", "biases", *STATE):
            if hasattr(a, name):
                setattr(b, name, getattr(a, name).copy())
        if hasattr(a, "calls"):
            b.calls, b.seed = a.calls, a.seed
    for name in ("iterations", "current_learning_rate"):
        setattr(target.optimizer, name, getattr(source.optimizer, name))


TOLERANCE = {"float32": 1e-5, "float64": 1e-12}


def backend_of(dtype):
    return ng.get_backend("numba", dtype=dtype, precise_dot=False, book_random=False)


def assert_gradients(model, expected, dtype):
    """Every gradient within the tolerance of the largest number of its layer's gradients."""
    found = gradients(model)
    for first in range(0, len(found), 2):
        layer = slice(first, first + 2)
        scale = max(np.abs(a).max() for a in expected[layer])
        for got, want in zip(found[layer], expected[layer], strict=True):
            assert got.dtype == np.dtype(dtype)
            error = np.abs(got - want).max()
            assert error <= TOLERANCE[dtype] * scale, f"layer {first // 2}: {error / scale}"


def trained(network, n, steps=3, dtype="float32"):
    model = network.model(backend_of(dtype))
    X, y = network.data(model, n)
    engine = fused.engine(model)
    measured = [engine.step(X, y) for _ in range(steps)]
    return measured, parameters(model) + list(state(model).values())
