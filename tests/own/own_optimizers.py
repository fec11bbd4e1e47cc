"""Optimizers as readers of the book write them: see own/parts.py."""

import numpy as np

from nnfs_gpu import Optimizer_Adam, Optimizer_SGD


class Optimizer_AdamW(Optimizer_Adam):  # noqa: N801
    def update_params(self, layer):
        layer.weights = layer.weights * (1 - 0.01 * self.current_learning_rate)
        super().update_params(layer)


class Optimizer_Nadam:  # noqa: N801
    """No base class; the book's names of its state."""

    def __init__(self, learning_rate=0.01):
        self.learning_rate = learning_rate
        self.current_learning_rate = learning_rate
        self.iterations = 0

    def pre_update_params(self):
        self.current_learning_rate = self.learning_rate / (1 + 1e-3 * self.iterations)

    def update_params(self, layer):
        if not hasattr(layer, "weight_cache"):
            layer.weight_momentums = np.zeros_like(layer.weights)
            layer.weight_cache = np.zeros_like(layer.weights)
            layer.bias_momentums = np.zeros_like(layer.biases)
            layer.bias_cache = np.zeros_like(layer.biases)
        step = self.iterations + 1
        for kind, name in (("weight", "weights"), ("bias", "biases")):
            gradient = getattr(layer, "d" + name)
            momentums = 0.9 * getattr(layer, kind + "_momentums") + 0.1 * gradient
            cache = 0.999 * getattr(layer, kind + "_cache") + 0.001 * gradient**2
            setattr(layer, kind + "_momentums", momentums)
            setattr(layer, kind + "_cache", cache)
            ahead = (0.9 * momentums + 0.1 * gradient) / (1 - 0.9 ** (step + 1))
            rate = self.current_learning_rate
            change = -rate * ahead / (np.sqrt(cache / (1 - 0.999**step)) + 1e-7)
            setattr(layer, name, getattr(layer, name) + change)

    def post_update_params(self):
        self.iterations += 1


class Optimizer_Plain:  # noqa: N801
    """Chapter 10's first: update_params alone, in float64."""

    def __init__(self, learning_rate=1.0):
        self.learning_rate = learning_rate

    def update_params(self, layer):
        layer.weights += -self.learning_rate * np.clip(layer.dweights, -1, 1)
        layer.biases += -self.learning_rate * np.clip(layer.dbiases, -1, 1)


class Optimizer_Cosine(Optimizer_SGD):  # noqa: N801
    """A schedule: ours with `pre_update_params` overridden."""

    def pre_update_params(self):
        turn = min(self.iterations / 100, 1.0)
        self.current_learning_rate = self.learning_rate * 0.5 * (1 + np.cos(np.pi * turn))


class Optimizer_Wrapped:  # noqa: N801
    """Hands the work to one of ours."""

    def __init__(self, inner):
        self.inner = inner
        self.current_learning_rate = inner.learning_rate

    def pre_update_params(self):
        self.inner.pre_update_params()
        self.current_learning_rate = self.inner.current_learning_rate

    def update_params(self, layer):
        self.inner.update_params(layer)

    def post_update_params(self):
        self.inner.post_update_params()
