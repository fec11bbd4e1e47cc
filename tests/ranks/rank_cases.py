"""Trains on the ranks that it is started on, and says what each case has ended with on each rank.

    mpiexec -n 3 python rank_cases.py FOLDER

with PYTHONPATH=tests, for test_ranks_mpi.py; it calls `results` in its own process, too: without
a world, for what one process ends with. A case is one call of `train`, with random numbers of its
own. The ranks have different numbers of threads.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numba
import numpy as np
from fused_state import backend_of, gradients, parameters, state
from networks import ENDS, OPTIMIZERS, Network

from nnfs_gpu import Callback, EarlyStopping, Rows, World
from nnfs_gpu.data import blockwise
from nnfs_gpu.fused.cpu import groups
from nnfs_gpu.training.checkpoint import FILE

WIDE = Network((4, 64, 48, 3), l1=1e-4, l2=1e-4)  # leaves of some 130 rows
NARROW = Network((2, 64, 3), optimizer="rmsprop")  # of some 500
DROPOUT = Network((4, 64, 48, 3), keep=0.9, dropout_seeds=(None, None), activation="tanh")
REGRESSION = Network((4, 64, 48, 2), loss="squared_error", activation="sigmoid", l2=1e-3)
TWO = {"batch_size": 700}  # of 1,111 rows two batches, of which four ranks have rows
SHUFFLED = TWO | {"shuffle": True, "seed": 3}


@dataclass(frozen=True)
class Case:
    """One call of `train`.

    data       "arrays", "maps" (files in the folder) or "rows" (made when asked for)
    block      rows of a block of files and of made rows; None: what the package takes
    short      a call of the engine has as many groups as threads
    validated  rows of the validation data; with them comes early stopping
    stops      in the middle of an epoch
    kept       there is a checkpoint
    like       the case that has the same bits
    """

    network: Network
    n: int = 700
    dtype: str = "float32"
    data: str = "arrays"
    block: int | None = None
    short: bool = False
    validated: int = 0
    stops: bool = False
    kept: bool = False
    like: str = ""
    train: dict[str, Any] = field(default_factory=dict)


def table() -> dict[str, Case]:
    """All cases, by name."""
    maps, rows = {"data": "maps"}, {"data": "rows"}
    found = {
        "whole": Case(WIDE),
        "whole, short calls": Case(WIDE, short=True, like="whole"),
        "whole of maps": Case(WIDE, **maps, block=200, like="whole"),
        "whole of rows": Case(WIDE, **rows, block=100, like="whole"),  # less than a leaf
        "narrow": Case(NARROW, n=2500, dtype="float64"),
        "narrow of rows": Case(NARROW, n=2500, dtype="float64", **rows, block=999, like="narrow"),
        "batches": Case(WIDE, 1111, "float64", kept=True, train=TWO),
        "batches of maps": Case(
            WIDE, 1111, "float64", **maps, block=300, like="batches", train=TWO
        ),
        "batches of rows": Case(
            WIDE, 1111, "float64", **rows, short=True, like="batches", train=TWO
        ),
        "shuffled": Case(DROPOUT, 1111, kept=True, train=SHUFFLED),
        "shuffled of maps": Case(
            DROPOUT, 1111, **maps, block=160, short=True, like="shuffled", train=SHUFFLED
        ),
        "maps": Case(REGRESSION, 1111, **maps, kept=True, validated=40, train=TWO),
        "small batches": Case(DROPOUT, 50, train={"batch_size": 7}),  # a leaf each
        "a row": Case(DROPOUT, 1, validated=1),
        "stops": Case(WIDE, 900, stops=True, kept=True, train={"batch_size": 300}),
        "validated": Case(DROPOUT, 1111, kept=True, validated=333, train=SHUFFLED),
        "printed": Case(NARROW, 1200, validated=99, train={"batch_size": 500, "print_every": 2}),
        "diverges": Case(Network((4, 64, 48, 3), optimizer="momentum"), train={"epochs": 4}),
    }
    for loss in [*ENDS, "soft"]:
        for number, optimizer in enumerate(OPTIMIZERS):
            soft = loss == "soft"
            known = {"loss": "softmax_cross_entropy" if soft else loss, "soft": soft}
            network = Network((4, 64, 48, 3), optimizer=optimizer, **known)
            found[f"{loss}, {optimizer}"] = Case(network, 300, ("float32", "float64")[number % 2])
    return found


class Stop(Callback):
    """In the second epoch."""

    def on_train_batch_end(self, batch, logs):
        if (batch, logs["epoch"]) == (1, 2):
            self.model.stop_training = True


# ---- one case ----
def arrays(case):
    """The model and all rows in memory."""
    model = case.network.model(backend_of(case.dtype))
    X, y = case.network.data(model, case.n)
    if case.like == "" and "epochs" in case.train:  # steps that are too large
        model.optimizer.learning_rate = model.optimizer.current_learning_rate = 1e30
    return model, np.asarray(X), np.asarray(y.values)


def files(folder, case):
    """Where the rows of a case of maps lie."""
    return [folder / f"{name}-{case.n}-{case.dtype}-{case.network.loss}.npy" for name in "Xy"]


def write_files(folder):
    """Those of all cases."""
    for case in table().values():
        if case.data == "maps":
            for path, values in zip(files(folder, case), arrays(case)[1:], strict=True):
                np.save(path, values)


def data_of(folder, case, X, y):
    """What `train` is given."""
    if case.data == "maps":
        return [np.load(path, mmap_mode="r") for path in files(folder, case)]
    if case.data == "rows":
        return Rows(lambda start, stop: (X[start:stop], y[start:stop]), case.n), None
    return X, y


@contextlib.contextmanager
def changed(case):
    """Blocks of files and calls of the engine are as long as the case says."""
    before = blockwise.block_rows, groups.LONG_CALL
    if case.block:
        blockwise.block_rows = lambda model: case.block
    if case.short:
        groups.LONG_CALL = 1
    try:
        yield
    finally:
        blockwise.block_rows, groups.LONG_CALL = before


def trained(name, case, folder, world):
    """Everything that a case ends with on this rank, in short."""
    np.random.seed(hash_of((case.like or name).encode()))
    with changed(case):
        model, X, y = arrays(case)
        settings = {"epochs": 2, "print_every": None, "callbacks": []} | case.train
        if case.validated:
            settings["validation_data"] = X[: case.validated], y[: case.validated]
            settings["callbacks"] = [EarlyStopping("val_loss", 1, restore_best=True)]
        if case.stops:
            settings["callbacks"] = [Stop()]
        path = folder / f"run-{hash_of(name.encode())}-{world and world.size}"
        if case.kept:
            settings["checkpoint"] = path
        history = model.train(*data_of(folder, case, X, y), world=world, **settings)
    found = ending(model, history, gradients(model))
    if case.kept and (world is None or world.rank == 0):
        found["file"] = hash_of((path / FILE).read_bytes())
    measured = model.evaluate(X, y, batch_size=150, verbose=False, world=world)
    return found | {"measured": [float(one).hex() for one in measured.values()]}


def ending(model, history, more=()):
    """Bits and counts, of which the long ones are hashed; more: arrays beside the usual ones."""
    parts = model.loss, model.accuracy
    dropouts = [layer for layer in model.layers if hasattr(layer, "calls")]
    kept = [*parameters(model), *state(model).values(), *more]
    return {
        "arrays": [hash_of(values.tobytes()) for values in kept],
        "history": {k: hash_of(np.array(v).tobytes()) for k, v in history.history.items()},
        "epochs": history.epoch,
        "sums": [[float(p.accumulated_sum).hex(), int(p.accumulated_count)] for p in parts],
        "steps": [model.optimizer.iterations, model.optimizer.current_learning_rate],
        "dropout": [[layer.seed, layer.calls] for layer in dropouts],
        "stopped": model.stop_training,
        "next": np.random.rand(),
    }


def hash_of(data):
    """Below 2^32."""
    return int.from_bytes(hashlib.sha256(data).digest()[:4])


def results(folder, world=None):
    """What all cases end with, by name."""
    return {name: trained(name, case, folder, world) for name, case in table().items()}


def main(folder):
    with World.mpi(timeout=120) as world:
        numba.set_num_threads(min(1 + world.rank % 2, numba.config.NUMBA_NUM_THREADS))
        found = results(Path(folder), world)
        line = json.dumps({"rank": world.rank, "size": world.size, "found": found})
        sys.stdout.flush()
        os.write(1, (line + "\n").encode())


if __name__ == "__main__":
    main(sys.argv[1])
