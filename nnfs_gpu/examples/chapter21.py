"""Chapter 21, saving and loading: parameters, and whole models.

`get_parameters` and `set_parameters` carry what was learned from one model to another of the
same shape, `save_parameters` and `load_parameters` do so through a file. `save` writes the whole
model and `Model.load` builds it again, without knowing its layers. The files hold numbers and
names (safetensors), no code: unlike a pickle, a file from elsewhere cannot run anything.

Look at: the validation lines. A new network guesses; with the parameters it is the trained one.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import nnfs_gpu as nnfs
from nnfs_gpu import Model
from nnfs_gpu.examples.chapter19 import build, prepare


def main(epochs: int = 5, folder: str | None = None) -> list[dict[str, float]]:
    """Train, save, load; returns the measurements in the order in which they are printed."""
    nnfs.init(dot_precision_workaround=False)
    X, y, X_test, y_test = prepare(folder)
    classes = int(y.max()) + 1
    trained = build(X.shape[1], classes)
    trained.train(X, y, epochs=epochs, batch_size=32, print_every=None)
    print("trained:")
    measured = [trained.evaluate(X_test, y_test)]

    model = build(X.shape[1], classes)
    print("a new network:")
    measured.append(model.evaluate(X_test, y_test))
    print("with the parameters of the trained one:")
    model.set_parameters(trained.get_parameters())
    measured.append(model.evaluate(X_test, y_test))

    with tempfile.TemporaryDirectory() as place:
        parameters, whole = Path(place) / "network.parms", Path(place) / "network.model"
        print("another new network, parameters from a file:")
        trained.save_parameters(parameters)
        model = build(X.shape[1], classes)
        model.load_parameters(parameters)
        measured.append(model.evaluate(X_test, y_test))
        print("the whole model from a file:")
        trained.save(whole)
        print(f"({whole.stat().st_size} bytes)")
        model = Model.load(whole)
        measured.append(model.evaluate(X_test, y_test))
    return measured


if __name__ == "__main__":
    from nnfs_gpu.examples import run

    run(main)
