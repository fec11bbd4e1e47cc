"""Chapter 20, evaluation: how good is it, and where is it wrong?

`evaluate` measures a trained model on any data, in batches where the data is large, without
dropout and without changing anything. One number hides which classes are mixed up: the table of
true against predicted classes shows it.

Look at: the rows. Off the diagonal stand the mistakes.
"""

from __future__ import annotations

import numpy as np

import nnfs_gpu as nnfs
from nnfs_gpu.examples.chapter19 import build, prepare


def main(epochs: int = 5, folder: str | None = None) -> np.ndarray:
    """Train and evaluate; returns the table, (classes, classes)."""
    nnfs.init(dot_precision_workaround=False)
    X, y, X_test, y_test = prepare(folder)
    classes = int(y.max()) + 1
    model = build(X.shape[1], classes)
    model.train(X, y, epochs=epochs, batch_size=32, print_every=None)

    print("all at once:")
    model.evaluate(X_test, y_test)
    print("in batches of 50, the same:")
    model.evaluate(X_test, y_test, batch_size=50)
    print("on the training data:")
    model.evaluate(X, y)

    predictions = model.output_layer_activation.predictions(model.predict(X_test))
    table = np.zeros((classes, classes), int)
    np.add.at(table, (y_test, model.backend.to_numpy(predictions)), 1)
    print("rows: true class; columns: predicted class")
    print(table)
    return table


if __name__ == "__main__":
    from nnfs_gpu.examples import run

    run(main)
