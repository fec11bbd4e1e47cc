"""Chapter 18, the model object: the loop of the last chapters, written once.

Layers are added in order; `set` gives the loss, the optimizer and the accuracy; `finalize`
connects them and finds the pair softmax and cross-entropy, whose gradient is one difference.
`train` prints, and returns a history: lists with one number an epoch.

Look at: how little is left to write. Validation data is measured after every epoch without
dropout, which is why it may look better than training does.
"""

from __future__ import annotations

from typing import Any

import nnfs_gpu as nnfs
from nnfs_gpu import (
    Accuracy_Categorical,
    Activation_ReLU,
    Activation_Softmax,
    Layer_Dense,
    Layer_Dropout,
    Loss_CategoricalCrossentropy,
    Model,
    Optimizer_Adam,
    spiral_data,
)


def main(epochs: int = 50) -> Any:
    """Train a classifier of the spiral; returns the history."""
    nnfs.init()
    X, y = spiral_data(samples=300, classes=3)
    X_test, y_test = spiral_data(samples=100, classes=3)

    model = Model()
    model.add(Layer_Dense(2, 64, weight_regularizer_l2=5e-4, bias_regularizer_l2=5e-4))
    model.add(Activation_ReLU())
    model.add(Layer_Dropout(0.1))
    model.add(Layer_Dense(64, 3))
    model.add(Activation_Softmax())
    model.set(
        loss=Loss_CategoricalCrossentropy(),
        optimizer=Optimizer_Adam(learning_rate=0.05, decay=5e-5),
        accuracy=Accuracy_Categorical(),
    )
    model.finalize()

    history = model.train(X, y, validation_data=(X_test, y_test), epochs=epochs, print_every=100)
    best = max(history["val_accuracy"])
    print(f"best validation accuracy {best:.3f} of {len(history['val_accuracy'])} epochs")
    return history


if __name__ == "__main__":
    from nnfs_gpu.examples import run

    run(main)
