"""Chapter 22, prediction: what is in this picture?

A picture from elsewhere must be made like those of the training: grey, of the same size, light
on dark, scaled the same way, a row in a batch of one. A photograph on paper is dark on light:
its colours are inverted first.

Look at: the confidences. The same picture without inversion is answered too, just as calmly,
and wrongly: a network never says that it has not learned such a thing.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

import nnfs_gpu as nnfs
from nnfs_gpu import Model
from nnfs_gpu.examples.chapter19 import build, prepare, scale
from nnfs_gpu.images import SHAPES, read_image, write_image


def name(model: Model, image: np.ndarray) -> int:
    """Print the class of one picture (height, width) and how sure the model is; returns it."""
    confidences = model.predict(scale(image.reshape(1, *image.shape)))
    prediction = int(model.output_layer_activation.predictions(confidences)[0])
    print(f"class {prediction}, confidence {float(confidences[0, prediction]):.3f}")
    return prediction


def main(epochs: int = 5, folder: str | None = None) -> tuple[int, int, int]:
    """Train, then look at one picture; returns its class and what is said of it in two ways.

    The picture is a test picture in inverted colours, in a file of its own.
    """
    nnfs.init(dot_precision_workaround=False)
    X, y, X_test, y_test = prepare(folder)
    model = build(X.shape[1], int(y.max()) + 1)
    model.train(X, y, epochs=epochs, batch_size=32, print_every=None)

    side = int(X.shape[1] ** 0.5)
    number = len(X_test) // 2
    if X.shape[1] != side * side:
        raise ValueError(f"got pictures of {X.shape[1]} pixels, expected square ones")
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "photograph.png"
        levels = (X_test[number] * 127.5 + 127.5).round().astype(np.uint8)
        write_image(file, 255 - levels.reshape(side, side))
        image = read_image(file)

    truth = int(y_test[number])
    print(f"the picture shows class {truth}{'' if folder else ', ' + SHAPES[truth]}")
    print("colours inverted, as the network knows them:")
    right = name(model, 255 - image)
    print("as it came:")
    wrong = name(model, image)
    return truth, right, wrong


if __name__ == "__main__":
    from nnfs_gpu.examples import run

    run(main)
