"""Chapter 12, validation data: choosing a setting without touching the test data.

A setting that is chosen by the test data fits the test data, and nothing is left to measure
with. So the training points are cut into 4 folds: each is held out once while the other three
train, and the setting with the best mean on what was held out is taken. The test data is used
one single time, at the end.

Look at: the mean of each learning rate, and how near the test accuracy comes to the best mean.
"""

from __future__ import annotations

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

FOLDS = 4
RATES = (0.0005, 0.005, 0.05)


def train(X: np.ndarray, y: np.ndarray, learning_rate: float, epochs: int) -> Model:
    """A network of 64 neurons, trained."""
    model = Model()
    model.add(Layer_Dense(2, 64))
    model.add(Activation_ReLU())
    model.add(Layer_Dense(64, 3))
    model.add(Activation_Softmax())
    model.set(
        loss=Loss_CategoricalCrossentropy(),
        optimizer=Optimizer_Adam(learning_rate=learning_rate),
        accuracy=Accuracy_Categorical(),
    )
    model.finalize()
    model.train(X, y, epochs=epochs, print_every=None)
    return model


def main(epochs: int = 300) -> tuple[float, float]:
    """Cross-validate all rates; returns the best one and its accuracy on the test data."""
    nnfs.init()
    # Folds are made on the host: to_numpy is the way back from any backend.
    X, y = (get_backend().to_numpy(a) for a in spiral_data(samples=100, classes=3))
    X_test, y_test = spiral_data(samples=1000, classes=3)
    folds = np.array_split(np.random.permutation(len(X)), FOLDS)  # classes come in blocks

    means = {}
    for rate in RATES:
        accuracies = []
        for held_out in folds:
            others = np.setdiff1d(np.arange(len(X)), held_out)
            model = train(X[others], y[others], rate, epochs)
            measured = model.evaluate(X[held_out], y[held_out], verbose=False)
            accuracies.append(measured["accuracy"])
        means[rate] = float(np.mean(accuracies))
        folds_text = " ".join(f"{accuracy:.3f}" for accuracy in accuracies)
        print(f"learning rate {rate}: held out {folds_text}, mean {means[rate]:.3f}")

    best = max(means, key=lambda rate: means[rate])
    model = train(X, y, best, epochs)  # on all training points now
    accuracy = model.evaluate(X_test, y_test, verbose=False)["accuracy"]
    print(f"learning rate {best} it is; test accuracy {accuracy:.3f}")
    return best, accuracy


if __name__ == "__main__":
    from nnfs_gpu.examples import run

    run(main)
