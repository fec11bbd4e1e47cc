"""Chapter 14, L1 and L2 regularization: large weights cost.

The loss gets a penalty that grows with the parameters, l1 * sum|p| + l2 * sum p^2, so that a
weight stays large only where the data needs it. Three networks with far too many neurons for
30 points a class, equal but for the penalty.

Look at: the loss on new data, which L2 nearly halves; the largest weight, which it keeps down;
and the share of weights near 0: L1 clears out most of them, and here that is all it does.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import nnfs_gpu as nnfs
from nnfs_gpu import (
    Activation_ReLU,
    Activation_Softmax_Loss_CategoricalCrossentropy,
    Layer_Dense,
    Optimizer_Adam,
    spiral_data,
)

PENALTIES: dict[str, dict[str, float]] = {
    "none": {},
    "L1": {"weight_regularizer_l1": 1e-4, "bias_regularizer_l1": 1e-4},
    "L2": {"weight_regularizer_l2": 1e-4, "bias_regularizer_l2": 1e-4},
}


def train(penalty: dict[str, float], epochs: int) -> dict[str, float]:
    """Train one network; returns what it reached."""
    nnfs.init()
    X, y = spiral_data(samples=30, classes=3)
    X_test, y_test = spiral_data(samples=1000, classes=3)
    dense1, activation1 = Layer_Dense(2, 256, **penalty), Activation_ReLU()
    dense2 = Layer_Dense(256, 3, **penalty)
    loss_activation = Activation_Softmax_Loss_CategoricalCrossentropy()
    optimizer = Optimizer_Adam(learning_rate=0.02, decay=1e-4)

    def forward(points: Any, labels: Any) -> Any:
        activation1.forward(dense1.forward(points))
        return loss_activation.forward(dense2.forward(activation1.output), labels)

    for _ in range(epochs):
        forward(X, y)
        loss_activation.backward(loss_activation.output, y)
        dense2.backward(loss_activation.dinputs)
        activation1.backward(dense2.dinputs)
        dense1.backward(activation1.dinputs)
        optimizer.pre_update_params()
        optimizer.update_params(dense1)
        optimizer.update_params(dense2)
        optimizer.post_update_params()

    loss = loss_activation.loss
    measured = {
        "data loss": float(forward(X, y)),
        "penalty": float(loss.regularization_loss(dense1) + loss.regularization_loss(dense2)),
        "new loss": float(forward(X_test, y_test)),
    }
    predictions = np.argmax(loss_activation.output, axis=1)
    measured["new acc"] = float(np.mean(predictions == y_test))
    sizes = np.absolute(dense1.weights)
    measured["largest"] = float(np.max(sizes))
    measured["near 0"] = float(np.mean(sizes < 0.01))
    return measured


def main(epochs: int = 1500) -> dict[str, dict[str, float]]:
    """Print a row for each penalty; returns the rows."""
    rows = {}
    for name, penalty in PENALTIES.items():
        rows[name] = train(penalty, epochs)
        if len(rows) == 1:
            print(f"{'penalty':8}" + "".join(f"{heading:>11}" for heading in rows[name]))
        print(f"{name:8}" + "".join(f"{value:11.3f}" for value in rows[name].values()))
    return rows


if __name__ == "__main__":
    from nnfs_gpu.examples import run

    run(main)
