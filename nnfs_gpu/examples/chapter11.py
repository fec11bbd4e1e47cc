"""Chapter 11, testing: what a network knows shows on data that it has not seen.

Two networks learn the same 90 points, one with 8 neurons and one with 512. New points from the
same spiral tell which of them has understood the spiral and which has learned points by heart.

Look at: the gap between the two columns. It is overfitting, and training alone cannot show it.
"""

from __future__ import annotations

from typing import Any

import nnfs_gpu as nnfs
from nnfs_gpu import (
    Accuracy_Categorical,
    Activation_ReLU,
    Activation_Softmax,
    Layer_Dense,
    Loss_CategoricalCrossentropy,
    Model,
    Optimizer_Adam,
    spiral_data,
)


def network(neurons: int) -> Model:
    """Two inputs, one hidden layer, three classes."""
    model = Model()
    model.add(Layer_Dense(2, neurons))
    model.add(Activation_ReLU())
    model.add(Layer_Dense(neurons, 3))
    model.add(Activation_Softmax())
    model.set(
        loss=Loss_CategoricalCrossentropy(),
        optimizer=Optimizer_Adam(learning_rate=0.02, decay=1e-4),
        accuracy=Accuracy_Categorical(),
    )
    model.finalize()
    return model


def main(epochs: int = 1000) -> dict[int, dict[str, Any]]:
    """Train both; returns the last numbers of each, by its neurons."""
    nnfs.init()
    X, y = spiral_data(samples=30, classes=3)
    X_test, y_test = spiral_data(samples=1000, classes=3)
    measured = {}
    print("neurons   loss: seen  not seen   accuracy: seen  not seen")
    for neurons in (8, 512):
        model = network(neurons)
        model.train(X, y, epochs=epochs, print_every=None)
        seen = model.evaluate(X, y, verbose=False)
        new = model.evaluate(X_test, y_test, verbose=False)
        print(
            f"{neurons:7}{seen['loss']:13.3f}{new['loss']:10.3f}"
            f"{seen['accuracy']:17.3f}{new['accuracy']:10.3f}"
        )
        measured[neurons] = {"seen": seen, "new": new}
    return measured


if __name__ == "__main__":
    from nnfs_gpu.examples import run

    run(main)
