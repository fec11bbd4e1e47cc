"""Chapter 13, the training data: scale it.

The spiral as it might come from a sensor: one coordinate in millimetres around 500, the other
in kilometres around 0. The same network learns it raw, and with each feature brought to mean 0
and deviation 1. The numbers for that come from the training data alone and are used for the
test data as they are: new samples come one by one and have no mean of their own.

Look at: the accuracies. The points are the same, the network is the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import nnfs_gpu as nnfs
from nnfs_gpu import (
    Accuracy_Categorical,
    Activation_ReLU,
    Activation_Softmax,
    Layer_Dense,
    Loss_CategoricalCrossentropy,
    Model,
    Optimizer_Adam,
    get_backend,
    spiral_data,
)


def measure(samples: int) -> tuple[np.ndarray, Any]:
    """Points of the spiral in two units that do not fit each other, and their classes."""
    X, y = spiral_data(samples=samples, classes=3)
    # Sensors give NumPy arrays; the model moves them to its backend.
    return get_backend().to_numpy(X) * [100.0, 0.001] + [500.0, 0.0], y


def train(X: Any, y: Any, epochs: int) -> Model:
    """A network of 64 neurons, trained."""
    model = Model()
    model.add(Layer_Dense(2, 64))
    model.add(Activation_ReLU())
    model.add(Layer_Dense(64, 3))
    model.add(Activation_Softmax())
    model.set(
        loss=Loss_CategoricalCrossentropy(),
        optimizer=Optimizer_Adam(learning_rate=0.02),
        accuracy=Accuracy_Categorical(),
    )
    model.finalize()
    model.train(X, y, epochs=epochs, print_every=None)
    return model


def main(epochs: int = 500) -> dict[str, float]:
    """Train on raw and on scaled data; returns the test accuracies."""
    nnfs.init()
    X, y = measure(100)
    X_test, y_test = measure(1000)
    print("mean and deviation of each feature:", X.mean(axis=0), X.std(axis=0))

    mean, deviation = X.mean(axis=0), X.std(axis=0)
    ways = {
        "raw": (X, X_test),
        "scaled": ((X - mean) / deviation, (X_test - mean) / deviation),
    }
    accuracies = {}
    for name, (train_data, test_data) in ways.items():
        model = train(train_data, y, epochs)
        accuracies[name] = model.evaluate(test_data, y_test, verbose=False)["accuracy"]
        print(f"{name}: test accuracy {accuracies[name]:.3f}")
    return accuracies


if __name__ == "__main__":
    from nnfs_gpu.examples import run

    run(main)
