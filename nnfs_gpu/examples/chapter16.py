"""Chapter 16, binary logistic regression: one output that says yes or no.

The sigmoid makes a probability of one number, binary cross-entropy judges it. Unlike softmax,
several such outputs are questions of their own: here two, asked about each point of a spiral.
Is it on the second arm? Does it lie in the upper half?

Look at: the accuracy of each question. The second one is easy and is learned at once.
"""

from __future__ import annotations

import numpy as np

import nnfs_gpu as nnfs
from nnfs_gpu import (
    Activation_ReLU,
    Activation_Sigmoid,
    Layer_Dense,
    Loss_BinaryCrossentropy,
    Optimizer_Adam,
    spiral_data,
)


def main(epochs: int = 1000) -> list[float]:
    """Train; returns the last accuracy of each question."""
    nnfs.init()
    X, arm = spiral_data(samples=100, classes=2)
    # One column a question: targets have the shape of the outputs, (samples, 2).
    y = np.concatenate([arm.reshape(-1, 1), (X[:, 1:] > 0) * 1], axis=1)

    dense1, activation1 = Layer_Dense(2, 64), Activation_ReLU()
    dense2, activation2 = Layer_Dense(64, 2), Activation_Sigmoid()
    loss_function = Loss_BinaryCrossentropy()
    optimizer = Optimizer_Adam(learning_rate=0.02, decay=5e-5)
    accuracies: list[float] = []
    for epoch in range(1, epochs + 1):
        dense1.forward(X)
        activation1.forward(dense1.output)
        dense2.forward(activation1.output)
        output = activation2.forward(dense2.output)
        loss = loss_function.calculate(output, y)

        loss_function.backward(output, y)
        activation2.backward(loss_function.dinputs)
        dense2.backward(activation2.dinputs)
        activation1.backward(dense2.dinputs)
        dense1.backward(activation1.dinputs)
        optimizer.pre_update_params()
        optimizer.update_params(dense1)
        optimizer.update_params(dense2)
        optimizer.post_update_params()

        if epoch % 200 == 0 or epoch in (1, epochs):
            right = np.mean(((output > 0.5) * 1) == y, axis=0)
            accuracies = [float(right[0]), float(right[1])]
            print(
                f"epoch: {epoch}, loss: {float(loss):.3f}, second arm: {accuracies[0]:.3f}, "
                f"upper half: {accuracies[1]:.3f}"
            )
    return accuracies


if __name__ == "__main__":
    from nnfs_gpu.examples import run

    run(main)
