"""Runs of every kind that a kill may hit, and what a kill at each write of a checkpoint leaves.

For test_checkpoint_kills.py. SIGKILL leaves what the folder holds at that moment, no more and no
less, so `disks` notes that around every write; training that starts on such a disk is the
resumed run. kill_program.py kills processes for good.
"""

import dataclasses
import itertools
import json
import os
import shutil

import numpy as np
from networks import dense_model, dropout

from nnfs_gpu import (
    Activation_Linear,
    Activation_ReLU,
    Activation_Sigmoid,
    Activation_Softmax,
    EarlyStopping,
    Layer_Dropout,
    Optimizer_Adam,
    Optimizer_SGD,
    use_backend,
)
from nnfs_gpu.data import sources as blocks
from nnfs_gpu.files import tensor_file
from nnfs_gpu.training.checkpoint import FILE

RNG = np.random.RandomState(3)
SMALL = RNG.randn(50, 2).astype(np.float32)
LARGE = RNG.randn(2500, 2).astype(np.float32)  # more than a block of a memory map
EARLY = {"patience": (1, 0.02), "restore": (None, 0.0)}


@dataclasses.dataclass(frozen=True, repr=False)
class Run:
    """One row of the table. steps: "one" of all samples, "exact" as well, "several" an epoch."""

    backend: str = "numpy"
    engine: str = "auto"
    steps: str = "several"
    every: int | None = None
    data: str = "held"  # or "maps", "blocks"
    shuffle: bool = False
    dropout: bool = False
    decay: bool = False
    validation: bool = False
    early: str = ""  # or a name in EARLY
    regression: bool = False

    def __repr__(self):
        """Its settings, those that are set."""
        values = dataclasses.asdict(self)
        return "-".join(
            n if v is True else str(v) for n, v in values.items() if v not in ("", False)
        )

    def possible(self) -> bool:
        fused = self.engine != "fused" or (self.backend == "numba")
        return fused and not (self.shuffle and self.data == "blocks")

    def samples(self):
        return LARGE if self.data == "maps" else SMALL

    def network(self):
        """The model, untrained, and the callbacks."""
        use_backend(self.backend)
        activation = Activation_Sigmoid if self.regression else Activation_ReLU
        model = dense_model(
            *(2, 6, 1 if self.regression else 3),
            hidden=[activation, dropout(0.2)] if self.dropout else [activation],
            last=Activation_Linear if self.regression else Activation_Softmax,
            optimizer=Optimizer_SGD(0.3, 0.01, 0.9) if self.decay else Optimizer_Adam(0.05),
            seed=2,
            weight_regularizer_l2=1e-3,
        )
        monitor = "val_loss" if self.validation else "loss"
        patience, delta = EARLY.get(self.early, (None, 0.0))
        early = EarlyStopping(monitor, patience, delta, restore_best=True)
        return model, [early] if self.early else []

    def arrays(self, folder):
        """What `train` gets as X and y."""
        X = self.samples()
        y = X[:, :1] * 2 if self.regression else np.arange(len(X), dtype=np.int32) % 3
        if self.data == "maps":
            for name, values in (("X", X), ("y", y)):
                if not (folder / f"{name}.npy").exists():
                    np.save(folder / f"{name}.npy", values)
            return tuple(np.load(folder / f"{name}.npy", mmap_mode="r") for name in "Xy")
        if self.data == "blocks":
            pairs = [(X[i : i + 7], y[i : i + 7]) for i in range(0, len(X), 7)]
            return blocks.Blocks(pairs, samples=len(X)), None
        return X, y

    def train(self, folder, checkpoint):
        """From what is in `checkpoint` (None: without) to the end; everything that it ends with."""
        model, callbacks = self.network()
        X, y = self.arrays(folder)
        n = len(self.samples())
        size = {"one": None, "exact": n, "several": 16 if n < 100 else 1100}[self.steps]
        held = SMALL[::3], SMALL[::3, :1] if self.regression else np.arange(17) % 3
        history = model.train(
            X,
            y,
            epochs=4,
            batch_size=size,
            print_every=None,
            shuffle=self.shuffle,
            engine=self.engine,
            callbacks=callbacks,
            validation_data=held if self.validation else None,
            checkpoint=checkpoint,
            checkpoint_every=self.every if checkpoint is not None else None,
        )
        return ending(model, history, callbacks)


def ending(model, history, callbacks):
    """Everything that a run ends with, as text: bits, curve, counts, what comes next by chance."""
    names = ("weights", "biases", "weight_momentums", "weight_cache", "bias_momentums")
    kept = [
        model.backend.to_numpy(getattr(layer, name)).tobytes().hex()
        for layer in model.trainable_layers
        for name in (*names, "bias_cache")
        if getattr(layer, name, None) is not None
    ]
    counts = [
        [model.optimizer.iterations, model.optimizer.current_learning_rate],
        [[part.seed, part.calls] for part in model.layers if isinstance(part, Layer_Dropout)],
        [history.epoch, sorted(history.history.items()), getattr(model.accuracy, "precision", 0)],
        [[one.best, one.best_epoch, one.stopped_epoch, one.wait] for one in callbacks],
        np.random.rand(2).tolist(),
    ]
    return json.dumps([kept, counts])


# ---- what a kill leaves ----
class disks:  # noqa: N801 - a context manager
    """Collects, in its block, what the folder holds around every write of a checkpoint.

    before  the file that was there; half and whole: a temporary one beside it; after: renamed
    """

    def __init__(self, folder, monkeypatch):
        self.folder, self.monkeypatch = folder, monkeypatch
        self.found = {}

    def __enter__(self):
        fsync, replace = os.fsync, os.replace

        def synced(handle):
            if not os.path.isdir(f"/proc/self/fd/{handle}"):
                self._note("half", cut=True)
                self._note("whole")
            fsync(handle)

        def replaced(source, target):
            replace(source, target)
            self._note("after")

        self.monkeypatch.setattr(tensor_file.os, "fsync", synced)
        self.monkeypatch.setattr(tensor_file.os, "replace", replaced)
        return self

    def _note(self, moment, cut=False):
        files = {path.name: path.read_bytes() for path in self.folder.iterdir()}
        if cut:
            files = {n: data[: len(data) // (1 + (n != FILE))] for n, data in files.items()}
        self.found.setdefault(tuple(sorted(files.items())), (len(self.found), moment))

    def __exit__(self, *exc):
        self.monkeypatch.undo()

    def __iter__(self):
        for files, name in self.found.items():
            shutil.rmtree(self.folder)
            self.folder.mkdir()
            for file, data in files:
                (self.folder / file).write_bytes(data)
            yield name


def table():
    """All runs that are possible."""
    choices = {
        "backend": ("numpy", "numba"),
        "engine": ("layers", "fused"),
        "steps": ("one", "exact", "several"),
        "every": (None, 1, 3),
        "data": ("held", "maps", "blocks"),
        "early": ("", *EARLY),
        **dict.fromkeys(("shuffle", "dropout", "decay", "validation", "regression"), (False, True)),
    }
    runs = (
        Run(**dict(zip(choices, row, strict=True))) for row in itertools.product(*choices.values())
    )
    return [run for run in runs if run.possible()]
