"""Chapter 15, dropout: no neuron may rely on another.

In training, each value of the hidden layer is set to 0 with a probability, and what is left is
divided by the share that is kept; afterwards nothing is dropped, and thanks to the division
nothing needs to be rescaled.

Look at: the mean of the layer's output with and without dropout, the same up to chance; and the
losses of a network too large for 30 points a class: dropout raises the one on seen data and
lowers the one on new data.
"""

from __future__ import annotations

import numpy as np

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
    get_backend,
    spiral_data,
)


def show_one_layer() -> None:
    """What the layer does to a thousand ones."""
    layer = Layer_Dropout(0.3)
    ones = get_backend().asarray(np.ones((1, 1000)))
    for training in (True, False):
        output = layer.forward(ones, training)
        zeros, mean = float(np.mean(output == 0)), float(np.mean(output))
        print(f"training {training!s:5}: {zeros:.3f} of the values are 0, the mean is {mean:.3f}")


def main(epochs: int = 1500) -> dict[float, tuple[float, float]]:
    """Train with several rates; returns the losses on seen and on new data by rate."""
    nnfs.init()
    show_one_layer()
    losses = {}
    for rate in (0.0, 0.1, 0.4):
        nnfs.init()  # the same points and first weights for each rate
        X, y = spiral_data(samples=30, classes=3)
        X_test, y_test = spiral_data(samples=1000, classes=3)
        model = Model()
        model.add(Layer_Dense(2, 256))
        model.add(Activation_ReLU())
        model.add(Layer_Dropout(rate))
        model.add(Layer_Dense(256, 3))
        model.add(Activation_Softmax())
        model.set(
            loss=Loss_CategoricalCrossentropy(),
            optimizer=Optimizer_Adam(learning_rate=0.02, decay=1e-4),
            accuracy=Accuracy_Categorical(),
        )
        model.finalize()
        model.train(X, y, epochs=epochs, print_every=None)
        seen = model.evaluate(X, y, verbose=False)
        new = model.evaluate(X_test, y_test, verbose=False)
        losses[rate] = seen["loss"], new["loss"]
        print(
            f"rate {rate}: loss {seen['loss']:.3f} seen, {new['loss']:.3f} new; "
            f"accuracy {seen['accuracy']:.3f} seen, {new['accuracy']:.3f} new"
        )
    return losses


if __name__ == "__main__":
    from nnfs_gpu.examples import run

    run(main)
