"""Chapter 19, a real data set: pictures from a folder, in batches.

    python -m nnfs_gpu.examples.chapter19 --folder fashion_mnist_images

reads folder/{train,test}/{class number}/*.png, the layout of the book's Fashion-MNIST;
`nnfs_gpu.images.save_npz` makes it from an .npz file. Without a folder, pictures of a square, a
disc, a cross and a triangle are drawn, written to a temporary folder and read from there.

Files come class by class. A batch of one class teaches to answer that class, so the data is
shuffled; grey levels 0 to 255 become -1 to 1, as networks like them; each picture becomes a row.

Look at: steps within an epoch. Weights change after every batch, not once an epoch.
"""

from __future__ import annotations

import tempfile
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
)
from nnfs_gpu.images import SHAPES, draw_shapes, load_images, save_images

CLASSES = 4  # of the drawn pictures


def prepare(folder: str | None) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(X, y, X_test, y_test) ready to train on: shuffled, scaled, one row a picture."""
    if folder is None:
        print(f"no --folder: drawing {', '.join(SHAPES[:CLASSES])}")
        with tempfile.TemporaryDirectory() as temporary:
            save_images(temporary, *draw_shapes(150, CLASSES), *draw_shapes(30, CLASSES, seed=1))
            X, y, X_test, y_test = load_images(temporary)
    else:
        X, y, X_test, y_test = load_images(folder)
    print(f"{len(X)} pictures to train, {len(X_test)} to test, {X.shape[2]} x {X.shape[1]} pixels")
    keys = np.arange(len(X))
    np.random.shuffle(keys)
    return scale(X[keys]), y[keys], scale(X_test), y_test


def scale(X: np.ndarray) -> np.ndarray:
    """Pictures (N, height, width) of grey levels 0 to 255 as rows of numbers from -1 to 1."""
    return (X.reshape(X.shape[0], -1).astype(np.float32) - 127.5) / 127.5


def build(inputs: int, classes: int) -> Model:
    """The network of chapters 19 to 22: two hidden layers of 128 neurons."""
    model = Model()
    model.add(Layer_Dense(inputs, 128))
    model.add(Activation_ReLU())
    model.add(Layer_Dense(128, 128))
    model.add(Activation_ReLU())
    model.add(Layer_Dense(128, classes))
    model.add(Activation_Softmax())
    model.set(
        loss=Loss_CategoricalCrossentropy(),
        optimizer=Optimizer_Adam(decay=1e-3),
        accuracy=Accuracy_Categorical(),
    )
    model.finalize()
    return model


def main(epochs: int = 5, folder: str | None = None) -> Any:
    """Train on the pictures; returns the history."""
    nnfs.init(dot_precision_workaround=False)
    X, y, X_test, y_test = prepare(folder)
    model = build(X.shape[1], int(y.max()) + 1)
    return model.train(
        X,
        y,
        validation_data=(X_test, y_test),
        epochs=epochs,
        batch_size=128 if len(X) > 10_000 else 32,
        print_every=100,
    )


if __name__ == "__main__":
    from nnfs_gpu.examples import run

    run(main)
