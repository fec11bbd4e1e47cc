"""Files damaged and made up in every way, and what must be true of each: for test_storage_fuzz.py.

A case damages one of our files (its bytes, the header, the document, the tensors; sealed again
or not) and reads it in one way. Reading either works, and then what was read can be used, or it
raises one ModelFileError (CheckpointError where a checkpoint is of another run), and then
nothing has changed: not the model, its optimizer, the callbacks, the default backend, NumPy's
stream or the folder. By hand, many cases:

    PYTHONPATH=tests python tests/files/file_fuzz.py SEED CASES
"""

import random
import shutil
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
from file_damage import damaged
from networks import dense_model, dropout

from nnfs_gpu import (
    Accuracy_Regression,
    Activation_Linear,
    Activation_ReLU,
    Activation_Softmax,
    Callback,
    EarlyStopping,
    Model,
    Optimizer_Adam,
    Optimizer_SGD,
    get_backend,
    use_backend,
)
from nnfs_gpu.cli import config as cli_config, errors as cli_errors, resume as cli_resume
from nnfs_gpu.files.tensor_file import ModelFileError
from nnfs_gpu.training.checkpoint import FILE, CheckpointError

X = np.random.RandomState(4).randn(20, 2).astype(np.float32)
CLASSES = np.arange(20, dtype=np.int32) % 3
FOUND = ModelFileError, CheckpointError


class Own(Callback):
    """A callback of a user's own that believes what it is given, and changes things in two."""

    def on_train_begin(self, logs):
        self.count, self.seen = 0, np.zeros(3)

    def on_epoch_end(self, epoch, logs):
        self.count += 1

    def get_state(self):
        return {"count": self.count, "seen": self.seen, "deep": {"a": [1, {"b": 2}]}}

    def set_state(self, state):
        self.count = state["count"] + 0
        self.seen = state["seen"] + np.zeros(3)
        self.b = state["deep"]["a"][1]["b"] + 1


def network(regression=False, seed=1):
    return dense_model(
        *(2, 4, 1 if regression else 3),
        hidden=[Activation_ReLU, dropout(0.2, seed=5)],
        last=Activation_Linear if regression else Activation_Softmax,
        optimizer=Optimizer_SGD(0.1, 0.01, 0.9) if regression else Optimizer_Adam(0.05, 1e-3),
        seed=seed,
        weight_regularizer_l1=1e-4,
        weight_regularizer_l2=5e-4,
    )


def train(model, folder=None, callbacks=(), epochs=3):
    regression = isinstance(model.accuracy, Accuracy_Regression)
    return model.train(
        X,
        X[:, :1] * 2 if regression else CLASSES,
        epochs=epochs,
        batch_size=8,
        print_every=None,
        callbacks=callbacks,
        checkpoint=folder,
        checkpoint_every=None if folder is None else 2,
    )


class Stop(Callback):
    """Ends a run in the middle of an epoch, with a checkpoint just written."""

    def on_train_batch_end(self, batch, logs):
        self.model.stop_training = logs["epoch"] == 3 and batch == 1


def callbacks():
    return [EarlyStopping("loss", 5, restore_best=True), Own()]


def originals(folder):
    """{name: (path, how it is read)}: one file of each kind."""
    use_backend("numpy", dtype="float32")
    paths = {}
    for regression in (False, True):
        model, place = network(regression), folder / f"run{regression}"
        train(model, place, [*callbacks(), Stop()])
        paths[f"checkpoint {regression}"] = place / FILE
        model.save(folder / f"model{regression}")
        paths[f"model {regression}"] = folder / f"model{regression}"
    model.save_parameters(folder / "parameters")
    paths["parameters"] = folder / "parameters"
    return {name: path.read_bytes() for name, path in paths.items()}


# ---- reading ----
def values(one):
    """What an object holds, to be compared."""
    return {
        name: value.tobytes() if isinstance(value, np.ndarray) else repr(value)
        for name, value in vars(one).items()
        if not isinstance(value, Model)
    }


def snapshot(folder, model, others):
    parts = [model.loss, model.optimizer, model.accuracy, *model.layers, *others]
    stream = np.random.get_state()
    files = {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    found = [values(part) for part in parts], [id(one) for one in parts], files, get_backend()
    return *found, model.stop_training, stream[1].tobytes(), stream[2:]


def resume(path, model, others):
    train(model, path.parent, others)


def load(path, model, others):
    loaded = Model.load(path, random_state=True)
    if None not in (loaded.loss, loaded.optimizer, loaded.accuracy):  # it can be used
        train(loaded, epochs=1)


def load_parameters(path, model, others):
    model.load_parameters(path)


def command(path, model, others):
    outputs = cli_config.Outputs(path.parent, None, False, False, 1, True)
    try:
        cli_resume.resumed(None, {}, {"epochs"}, outputs)
    except cli_errors.InputError as error:
        raise ModelFileError(str(error)) from error


READERS = {
    "checkpoint": [resume, resume, resume, load, load_parameters, command],
    "model": [load, load, load_parameters, resume],
    "parameters": [load_parameters, load],
}


def case(rng, files, folder):
    """One damaged file, read; True where it was refused. Raises AssertionError, or what is not
    to be raised."""
    name = rng.choice(sorted(files))
    read = rng.choice(READERS[name.split()[0]])
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    path = folder / FILE
    path.write_bytes(damaged(rng, files[name]))
    (folder / f".{FILE}.left").write_bytes(b"of a killed run")
    use_backend("numpy", dtype="float32")
    regression, others = name.endswith("True"), callbacks()
    model = network(regression, seed=7)
    if read is resume:  # they have been used before
        train(model, callbacks=others, epochs=1)
    before = snapshot(folder, model, others)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            read(path, model, others)
    except FOUND as error:
        text = str(error)
        assert text.startswith(str(path)), text
        assert "\n" not in text
        assert len(text) < 2000, len(text)
        after = snapshot(folder, model, others)
        for a, b in zip(before, after, strict=True):
            assert a == b, text
        return True
    return False


def main(seed, cases):
    rng, refused = random.Random(seed), 0
    with tempfile.TemporaryDirectory() as place:
        files = originals(Path(place))
        for number in range(cases):
            state = rng.getstate()
            try:
                refused += case(rng, files, Path(place) / "case")
            except Exception:
                print("case", number, "of seed", seed, state[1][:2], file=sys.stderr)
                raise
    print(f"{cases} damaged files: {refused} refused, the others read and used")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
