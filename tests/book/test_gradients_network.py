"""Gradients through a whole network and its penalties, on every backend (float64).

The check is that of test_gradients.py, and is itself checked here.
"""

from __future__ import annotations

import numpy as np
import pytest
from gradient_checks import KINDS, STEP, away_from, check_projection, targets_of
from helpers import assert_close

from nnfs_gpu import (
    Activation_ReLU,
    Activation_Softmax,
    Activation_Softmax_Loss_CategoricalCrossentropy,
    Layer_Dense,
    Loss_CategoricalCrossentropy,
    get_backend,
    use_backend,
)

DTYPES_64 = np.dtype("float64")


@pytest.fixture
def backend(backend_name):
    return get_backend(backend_name, dtype="float64", precise_dot=False, book_random=False)


class Network:
    """Dense(4, 6), ReLU, Dense(6, 5), softmax, cross-entropy, with penalties on everything.

    factors  of both layers, the second's in the opposite order
    """

    def __init__(self, backend, factors=(0.01, 0.02, 0.03, 0.04)):
        self.backend = backend
        with use_backend(backend):
            self.dense1 = Layer_Dense(4, 6, *factors)
            self.relu = Activation_ReLU()
            self.dense2 = Layer_Dense(6, 5, *factors[::-1])
            self.softmax = Activation_Softmax()
            self.loss = Loss_CategoricalCrossentropy()
            self.combined = Activation_Softmax_Loss_CategoricalCrossentropy()
        rng = np.random.RandomState(0)
        for layer in (self.dense1, self.dense2):
            # Small enough that no probability is clipped: the clip has no slope.
            layer.weights = away_from(0.4 * rng.randn(*layer.weights.shape), 0.0)
            layer.biases = away_from(0.4 * rng.randn(*layer.biases.shape), 0.0)

    def scores(self, x):
        return self.dense2.forward(self.relu.forward(self.dense1.forward(x)))

    def total(self, x, t):
        """The number that training makes smaller: mean loss and all penalties."""
        data = self.loss.calculate(self.softmax.forward(self.scores(x)), t)
        return sum(
            (float(self.loss.regularization_loss(layer)) for layer in (self.dense1, self.dense2)),
            float(data),
        )

    def backward(self, x, t, combined):
        """Gradient at the inputs; those of the parameters are left on the layers."""
        p = self.softmax.forward(self.scores(x))
        if combined:
            dscores = self.combined.backward(p, t)
        else:
            dscores = self.softmax.backward(self.loss.backward(p, t))
        dinputs = self.dense1.backward(self.relu.backward(self.dense2.backward(dscores)))
        return self.backend.to_numpy(dinputs)


def check_network(network, kind, combined):
    backend = network.backend
    rng = np.random.RandomState(5)
    x, t = rng.randn(17, 4), targets_of(kind, rng, 17, 5)
    hidden = backend.to_numpy(network.dense1.forward(x))
    assert np.abs(hidden).min() > 10 * STEP, "a step would cross the kink: choose another seed"
    assert (hidden < 0).any()
    dx = network.backward(x, t, combined)
    gradients = {
        (layer, name): np.array(backend.to_numpy(getattr(layer, f"d{name}")))
        for layer in (network.dense1, network.dense2)
        for name in ("weights", "biases")
    }
    check_projection(lambda z: network.total(z, t), x, dx, 11, "inputs")
    for seed, ((layer, name), gradient) in enumerate(gradients.items()):
        value = np.array(backend.to_numpy(getattr(layer, name)))

        def total(z, layer=layer, name=name):
            setattr(layer, name, z)
            return network.total(x, t)

        check_projection(total, value, gradient, seed, name)
        setattr(layer, name, value)


@pytest.mark.parametrize("combined", [True, False], ids=["combined", "separate"])
@pytest.mark.parametrize("kind", KINDS)
def test_whole_network(backend, kind, combined):
    check_network(Network(backend), kind, combined)


@pytest.mark.parametrize("place", range(4))
def test_whole_network_with_one_penalty(backend, place):
    """Each factor alone: none may hide behind another, in the loss or in the gradient."""
    factors = [0.0] * 4
    factors[place] = 0.05
    network = Network(backend, factors)
    check_network(network, "sparse", True)
    layers = (network.dense1, network.dense2)
    network.loss.remember_trainable_layers(layers)
    total = sum(float(network.loss.regularization_loss(layer)) for layer in layers)
    assert total > 0
    assert float(network.loss.regularization_loss()) == pytest.approx(total, rel=1e-14)
    if place == 0:  # L1 on dense1's weights and, in opposite order, L2 on dense2's biases
        w, b = (backend.to_numpy(a) for a in (layers[0].weights, layers[1].biases))
        assert total == pytest.approx(0.05 * (np.abs(w).sum() + (b**2).sum()), rel=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_combined_equals_separate(backend, kind):
    """Softmax.backward(Loss.backward) is Activation_Softmax_Loss...backward, element by element."""
    network = Network(backend)
    rng = np.random.RandomState(6)
    for n, c in ((1, 3), (40, 5), (40, 33)):
        t = targets_of(kind, rng, n, c)
        p = network.softmax.forward(rng.randn(n, c))
        combined = backend.to_numpy(network.combined.backward(p, t))
        separate = backend.to_numpy(network.softmax.backward(network.loss.backward(p, t)))
        assert_close(separate, combined, DTYPES_64, magnitude=1 / n, ulps=8)
        rows = np.abs(combined.sum(axis=1)).max()
        assert rows < 1e-15, "the gradients of a row sum to zero"


@pytest.mark.parametrize("kind", KINDS)
def test_combined_forward_equals_separate(backend, kind):
    network = Network(backend)
    rng = np.random.RandomState(7)
    x, t = 3 * rng.randn(40, 5), targets_of(kind, rng, 40, 5)
    loss = network.combined.forward(x, t)
    expected = network.loss.calculate(network.softmax.forward(x), t)
    assert float(loss) == float(expected)
    np.testing.assert_array_equal(
        backend.to_numpy(network.combined.output), backend.to_numpy(network.softmax.output)
    )


def test_a_wrong_gradient_is_noticed(backend):
    """The check itself: one element off by one part in ten thousand is refused."""
    x = np.random.RandomState(8).randn(6, 4)
    check_projection(lambda z: float((z**2).sum()), x, 2 * x, 0)
    wrong = 2 * x
    wrong[3, 2] *= 1 + 1e-4
    with pytest.raises(AssertionError):
        check_projection(lambda z: float((z**2).sum()), x, wrong, 0)
