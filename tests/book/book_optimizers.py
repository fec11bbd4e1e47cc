"""Optimizers of the book in plain NumPy: see book_reference.py."""

from __future__ import annotations

import numpy as np
from book_parts import plural


class Optimizer:
    def __init__(self, learning_rate, decay):
        self.learning_rate = self.current_learning_rate = learning_rate
        self.decay, self.iterations = decay, 0

    def pre_update_params(self):
        if self.decay:
            slower = 1.0 / (1.0 + self.decay * self.iterations)
            self.current_learning_rate = self.learning_rate * slower

    def update_params(self, layer):
        for name in ("weight", "bias"):
            p, dp = getattr(layer, plural(name)), getattr(layer, "d" + plural(name))
            if not hasattr(layer, f"{name}_cache"):
                setattr(layer, f"{name}_cache", np.zeros_like(p))
                setattr(layer, f"{name}_momentums", np.zeros_like(p))
            p += self.change(layer, name, dp)

    def post_update_params(self):
        self.iterations += 1

    def scaled(self, step, cache):
        return -self.current_learning_rate * step / (np.sqrt(cache) + self.epsilon)


class Optimizer_SGD(Optimizer):  # noqa: N801
    def __init__(self, learning_rate=1.0, decay=0.0, momentum=0.0):
        super().__init__(learning_rate, decay)
        self.momentum = momentum

    def change(self, layer, name, dp):
        if not self.momentum:
            return -self.current_learning_rate * dp
        m = self.momentum * getattr(layer, f"{name}_momentums") - self.current_learning_rate * dp
        setattr(layer, f"{name}_momentums", m)
        return m


class Optimizer_Adagrad(Optimizer):  # noqa: N801
    def __init__(self, learning_rate=1.0, decay=0.0, epsilon=1e-7):
        super().__init__(learning_rate, decay)
        self.epsilon = epsilon

    def change(self, layer, name, dp):
        cache = getattr(layer, f"{name}_cache") + dp**2
        setattr(layer, f"{name}_cache", cache)
        return self.scaled(dp, cache)


class Optimizer_RMSprop(Optimizer):  # noqa: N801
    def __init__(self, learning_rate=0.001, decay=0.0, epsilon=1e-7, rho=0.9):
        super().__init__(learning_rate, decay)
        self.epsilon, self.rho = epsilon, rho

    def change(self, layer, name, dp):
        cache = self.rho * getattr(layer, f"{name}_cache") + (1 - self.rho) * dp**2
        setattr(layer, f"{name}_cache", cache)
        return self.scaled(dp, cache)


class Optimizer_Adam(Optimizer):  # noqa: N801
    def __init__(self, learning_rate=0.001, decay=0.0, epsilon=1e-7, beta_1=0.9, beta_2=0.999):
        super().__init__(learning_rate, decay)
        self.epsilon, self.beta_1, self.beta_2 = epsilon, beta_1, beta_2

    def change(self, layer, name, dp):
        m = self.beta_1 * getattr(layer, f"{name}_momentums") + (1 - self.beta_1) * dp
        cache = self.beta_2 * getattr(layer, f"{name}_cache") + (1 - self.beta_2) * dp**2
        setattr(layer, f"{name}_momentums", m)
        setattr(layer, f"{name}_cache", cache)
        step = self.iterations + 1
        return self.scaled(m / (1 - self.beta_1**step), cache / (1 - self.beta_2**step))
