"""Chapter 17, regression: the output is a number, here a sine.

The last layer has no nonlinearity, the loss is the mean squared or the mean absolute error. A
prediction counts as right when it is closer than a 250th of the targets' deviation.

Look at: where the weights begin. From 0.01 * randn, as everywhere before, hardly a signal gets
through three layers, and learning takes many times longer than from ten times as much. The
plot at the end is the network's idea of a sine.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import nnfs_gpu as nnfs
from nnfs_gpu import (
    Activation_Linear,
    Activation_ReLU,
    Layer_Dense,
    Loss_MeanAbsoluteError,
    Loss_MeanSquaredError,
    Optimizer_Adam,
    get_backend,
    sine_data,
)


def train(loss_function: Any, scale: float, epochs: int) -> tuple[float, float, Any]:
    """Loss, accuracy and predictions after `epochs`, from weights `scale` times the usual ones."""
    X, y = sine_data(200)
    layers: list[Any] = [
        Layer_Dense(1, 64),
        Activation_ReLU(),
        Layer_Dense(64, 64),
        Activation_ReLU(),
        Layer_Dense(64, 1),
        Activation_Linear(),
    ]
    dense = layers[::2]
    for layer in dense:
        layer.weights *= scale
    optimizer = Optimizer_Adam(learning_rate=0.005, decay=1e-3)
    precision = np.std(y) / 250
    for _ in range(epochs):
        output = X
        for layer in layers:
            output = layer.forward(output)
        loss = loss_function.calculate(output, y)
        dvalues = loss_function.backward(output, y)
        for layer in reversed(layers):
            dvalues = layer.backward(dvalues)
        optimizer.pre_update_params()
        for layer in dense:
            optimizer.update_params(layer)
        optimizer.post_update_params()
    accuracy = np.mean(np.absolute(output - y) < precision)
    return float(loss), float(accuracy), output


def draw(values: np.ndarray, width: int = 64, height: int = 13) -> None:
    """A curve of values between -1 and 1, in letters."""
    columns = values[np.linspace(0, len(values) - 1, width).astype(int)]
    rows = ((1 - columns.clip(-1, 1)) / 2 * (height - 1)).round().astype(int)
    for row in range(height):
        print("".join("*" if here == row else "-" if row == height // 2 else " " for here in rows))


def main(epochs: int = 300) -> dict[str, float]:
    """Train three ways and draw the second one; returns the losses."""
    nnfs.init()
    ways = {
        "squared error, small weights": (Loss_MeanSquaredError(), 1.0),
        "squared error, weights times 10": (Loss_MeanSquaredError(), 10.0),
        "absolute error, weights times 10": (Loss_MeanAbsoluteError(), 10.0),
    }
    losses = {}
    for name, (loss_function, scale) in ways.items():
        losses[name], accuracy, output = train(loss_function, scale, epochs)
        print(f"{name}: loss {losses[name]:.5f}, acc {accuracy:.3f}")
        if name == "squared error, weights times 10":
            drawn = get_backend().to_numpy(output)[:, 0]
    draw(drawn)
    return losses


if __name__ == "__main__":
    from nnfs_gpu.examples import run

    run(main)
