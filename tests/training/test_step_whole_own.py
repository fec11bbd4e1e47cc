"""Steps with parts of the user's own are undone whole, whatever those parts change, and where."""

from __future__ import annotations

import copy
import functools

import numpy as np
import own_networks as networks
import pytest
from networks import dense_model, dropout

from nnfs_gpu import (
    Callback,
    Layer_Dense,
    Optimizer_Adam,
    Optimizer_SGD,
    use_backend,
)

X, LABELS = networks.X, networks.LABELS
BATCH = 10


class Running:
    """Centers its inputs by a mean that it keeps in place, in a list, and counts in a dict."""

    def __init__(self):
        self.means, self.counts = [np.zeros((1, 12))], {"calls": 0}
        self.rng = np.random.default_rng(0)

    def forward(self, inputs, training):
        if training:
            self.means[0] *= 0.9
            self.means[0] += 0.1 * inputs.mean(axis=0)
            self.counts["calls"] += 1
            inputs = inputs + self.rng.normal(0, 0.1, inputs.shape)
        self.output = inputs - self.means[0]

    def backward(self, dvalues):
        self.dinputs = dvalues


class Shrinking(Layer_Dense):
    """Its forward changes its weights."""

    def forward(self, inputs, training):
        self.weights *= 0.99
        return super().forward(inputs, training)


class Momentum:
    """Keeps its momentums in a dictionary, and changes them in place."""

    def __init__(self):
        self.learning_rate, self.momentums, self.inner = 0.1, {}, Optimizer_SGD(0.1, decay=0.1)

    def update_params(self, layer):
        kept = self.momentums.setdefault(layer.weights.shape, np.zeros_like(layer.weights))
        kept *= 0.9
        kept -= self.learning_rate * layer.dweights
        layer.weights += kept
        self.inner.pre_update_params()
        self.inner.post_update_params()


def model_with(name):
    middle = {"running": Running, "shrinking": functools.partial(Shrinking, 12, 12)}
    optimizer = Momentum() if name == "momentum" else Optimizer_Adam(0.01)
    hidden = [middle.get(name, dropout(0.1, seed=1))]
    with use_backend("numpy", dtype="float32"):
        return dense_model(2, 12, 3, hidden=hidden, optimizer=optimizer, seed=0)


class StopAfter(Callback):
    def __init__(self, steps):
        self.steps = steps

    def on_train_batch_end(self, batch, logs):
        self.model.stop_training = batch + 1 == self.steps


def raising(method, at, error):
    """`method` that raises when it has done its work for the time number `at`."""
    calls = []

    @functools.wraps(method)
    def call(*arguments):
        result = method(*arguments)
        calls.append(None)
        if len(calls) == at:
            raise error
        return result

    return call


def state(model):
    """All numbers that last from one step to the next."""
    optimizer, layers = vars(model.optimizer), model.layers
    found = [array for pair in model.get_parameters() for array in pair]
    found += [getattr(model.optimizer, "iterations", 0), *optimizer.get("momentums", {}).values()]
    found += [inner.iterations for inner in (optimizer.get("inner"),) if inner]
    for layer in layers:
        if isinstance(layer, Running):
            found += [*layer.means, layer.counts["calls"], copy.deepcopy(layer.rng).random()]
    return found


PLACES = {
    "running forward": lambda model: (own_layer(model), "forward", 3),
    "running backward": lambda model: (own_layer(model), "backward", 3),
    "shrinking forward": lambda model: (own_layer(model), "forward", 3),
    "momentum update_params": lambda model: (
        *(model.optimizer, "update_params"),
        2 * len(model.trainable_layers) + 1,
    ),
}


def own_layer(model):
    return next(layer for layer in model.layers if isinstance(layer, (Running, Shrinking)))


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
@pytest.mark.parametrize("place", PLACES)
def test_the_third_step_is_cut_off_and_two_are_done(place, error):
    name = place.split()[0]
    whole, cut = model_with(name), model_with(name)
    whole.train(X, LABELS, batch_size=BATCH, print_every=None, callbacks=[StopAfter(2)])

    part, method, at = PLACES[place](cut)
    original = getattr(part, method)
    setattr(part, method, raising(original, at, error))
    cut.finalize()
    with pytest.raises(error):
        cut.train(X, LABELS, batch_size=BATCH, print_every=None)
    for found, expected in zip(state(cut), state(whole), strict=True):
        np.testing.assert_array_equal(found, expected)

    delattr(part, method)
    cut.finalize()
    for model in (cut, whole):
        model.train(X, LABELS, epochs=2, batch_size=BATCH, print_every=None)
    for found, expected in zip(state(cut), state(whole), strict=True):
        np.testing.assert_array_equal(found, expected)
