"""Chapter 10, optimizers: six ways down from the same place.

All begin with the same weights and see the same data; only the rule that turns a gradient into
a step differs. SGD with a learning rate of 1, with decay, with momentum; AdaGrad, RMSprop and
Adam, which give every parameter a rate of its own.

Look at: the rows of the table. Plain SGD hardly leaves 1.09, the loss of guessing one of three
classes; momentum gets through the flat part; Adam is far ahead from the beginning.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import nnfs_gpu as nnfs
from nnfs_gpu import (
    Activation_ReLU,
    Activation_Softmax_Loss_CategoricalCrossentropy,
    Layer_Dense,
    Optimizer_Adagrad,
    Optimizer_Adam,
    Optimizer_RMSprop,
    Optimizer_SGD,
    spiral_data,
)

OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "SGD": lambda: Optimizer_SGD(learning_rate=1.0),
    "SGD, decay": lambda: Optimizer_SGD(learning_rate=1.0, decay=1e-3),
    "SGD, momentum": lambda: Optimizer_SGD(learning_rate=1.0, decay=1e-3, momentum=0.9),
    "AdaGrad": lambda: Optimizer_Adagrad(decay=1e-4),
    "RMSprop": lambda: Optimizer_RMSprop(learning_rate=0.02, decay=1e-5, rho=0.999),
    "Adam": lambda: Optimizer_Adam(learning_rate=0.05, decay=5e-7),
}


def train(optimizer: Any, epochs: int) -> tuple[list[float], float]:
    """Losses of all epochs, and the accuracy of the last one."""
    nnfs.init()  # the same draws for each optimizer
    X, y = spiral_data(samples=100, classes=3)
    dense1, activation1, dense2 = Layer_Dense(2, 64), Activation_ReLU(), Layer_Dense(64, 3)
    loss_activation = Activation_Softmax_Loss_CategoricalCrossentropy()
    losses = []
    for _ in range(epochs):
        dense1.forward(X)
        activation1.forward(dense1.output)
        dense2.forward(activation1.output)
        losses.append(loss_activation.forward(dense2.output, y))

        loss_activation.backward(loss_activation.output, y)
        dense2.backward(loss_activation.dinputs)
        activation1.backward(dense2.dinputs)
        dense1.backward(activation1.dinputs)

        optimizer.pre_update_params()
        optimizer.update_params(dense1)
        optimizer.update_params(dense2)
        optimizer.post_update_params()
    predictions = np.argmax(loss_activation.output, axis=1)
    # Numbers leave the device once, here, and not in every epoch.
    return [float(loss) for loss in losses], float(np.mean(predictions == y))


def main(epochs: int = 1001) -> dict[str, float]:
    """Print the losses of all optimizers on the way; returns the last ones."""
    shown = sorted({0, epochs // 10, epochs // 4, epochs // 2, epochs - 1})
    print(f"{'loss at epoch':15}" + "".join(f"{epoch:8}" for epoch in shown) + "   acc")
    last = {}
    for name, make in OPTIMIZERS.items():
        losses, accuracy = train(make(), epochs)
        numbers = "".join(f"{losses[epoch]:8.3f}" for epoch in shown)
        print(f"{name:15}{numbers}{accuracy:6.3f}")
        last[name] = losses[-1]
    return last


if __name__ == "__main__":
    from nnfs_gpu.examples import run

    run(main)
