"""One rank fails, at any moment of training: all end with its message, and none waits for another.

Ranks are threads here, in a world that notices where two are in different calls (local_world.py);
test_ranks_kills.py has processes. What may fail on one rank alone - memory, files, callbacks, the
output that nobody reads - raises at one of its calls, at each in turn.
"""

from __future__ import annotations

import shutil
import threading

import pytest
from local_world import on_ranks
from networks import Network
from test_ranks_bits import everything, made

from nnfs_gpu import Callback, EarlyStopping, Rows
from nnfs_gpu.data.held import Held
from nnfs_gpu.files import tensor_file
from nnfs_gpu.fused.cpu.engine import FusedSteps
from nnfs_gpu.losses import Loss
from nnfs_gpu.ranks.errors import is_on_all, is_quiet
from nnfs_gpu.training import inference, loop, ranks as rank_training
from nnfs_gpu.training.checkpoint import Checkpoint
from nnfs_gpu.training.divergence import FiniteWatch
from nnfs_gpu.training.run import Run

SIZE, N, BATCH, EPOCHS = 3, 70, 40, 2
NETWORK = Network((2, 16, 3), keep=0.8, dropout_seeds=(None,))


class Watcher(Callback):
    """Has all that a callback may have."""

    def settings(self):
        return {"patience": 3}

    def get_state(self):
        return {"waited": 1}


POINTS = {
    FusedSteps: (
        *("__init__", "leaf", "begin", "accumulate"),
        *("message", "fingerprint", "finish"),
    ),
    Held: ("init_accuracy", "shares", "_share"),
    Run: ("__post_init__", "settle"),
    Checkpoint: ("open", "begin", "step_done", "epoch_done", "end", "_write"),
    FiniteWatch: ("look", "tell", "end"),
    Watcher: (
        *("on_train_begin", "on_train_batch_end", "on_epoch_end", "on_train_end"),
        *("settings", "get_state", "set_state"),
    ),
    Loss: ("calculate_accumulated",),
    inference: ("print",),
    rank_training: ("contents",),
    loop: ("order_of", "print"),
    tensor_file: ("write",),
}
HERE = threading.local()  # what a rank counts its calls in, and at which of them it fails


def counted(place):
    """A call of this rank; raises OSError where it is the one that fails."""
    if hasattr(HERE, "calls"):
        number = HERE.calls[place] = HERE.calls.get(place, 0) + 1
        if HERE.fails == (place, number):
            raise OSError(f"{place} cannot, {number}")


@pytest.fixture
def points(monkeypatch):
    """Everything in POINTS is counted."""
    for holder, name in ((holder, name) for holder, names in POINTS.items() for name in names):
        real = getattr(holder, name, lambda *_: None)  # print: not seen
        place = f"{holder.__name__.rpartition('.')[-1]}.{name}"

        def called(*arguments, real=real, place=place, **settings):
            counted(place)
            return real(*arguments, **settings)

        monkeypatch.setattr(holder, name, called, raising=False)


def rows_of(X, y):
    def make(start, stop):
        counted("make")
        return X[start:stop], y[start:stop]

    return Rows(make, len(X))


KINDS = {
    "arrays": lambda X, y, folder: {"X": X, "y": y, "shuffle": True},
    "rows": lambda X, y, folder: {"X": rows_of(X, y), "print_every": 0},
    "validated": lambda X, y, folder: {"X": X, "y": y, "validation_data": rows_of(X, y)},
    "checkpoint": lambda X, y, folder: (
        {"X": X, "y": y, "checkpoint": folder} | {"checkpoint_every": 1}
    ),
    "resumed": lambda X, y, folder: {"X": X, "y": y, "checkpoint": folder},
}


def run(world, kind, folder, fails=None, epochs=EPOCHS):
    """A run on this rank that fails so: (its calls, its exception, what a second run ends with)."""
    model, X, y = made(NETWORK, n=N)
    error = None
    HERE.calls, HERE.fails = {}, fails
    try:
        callbacks = [Watcher(), EarlyStopping("loss", restore_best=True)]
        settings = {"epochs": epochs, "batch_size": BATCH, "callbacks": callbacks, "world": world}
        model.train(**settings, **KINDS[kind](X, y.values, folder))
    except Exception as caught:
        error = caught
    calls = HERE.calls
    del HERE.calls
    world.barrier()
    history = model.train(X, y.values, print_every=None, world=world)
    return calls, error, everything(model, history)


def assert_all_end(kind, folder, rank, fails):
    """Where `rank` fails so; and the models are alike afterwards, and can be trained."""
    found = on_ranks(
        SIZE, lambda world: run(world, kind, folder, fails if world.rank == rank else None)
    )
    message = f"rank {rank}: OSError: {fails[0]} cannot, {fails[1]}"
    for number, (_, error, result) in enumerate(found):
        assert is_on_all(error), (rank, fails, number, error)
        assert is_quiet(error) == (number > 0)
        assert message.endswith(str(error)) if number == rank else str(error) == message
        assert result == found[0][2]


@pytest.mark.parametrize("kind", KINDS)
def test_a_rank_that_fails_at_any_moment_ends_all(kind, points, tmp_path):
    def folder(number):
        """For a checkpoint: none yet, or one of a run that has half of its epochs."""
        made = tmp_path / str(number)
        if kind == "resumed":
            if not (tmp_path / "half").exists():
                on_ranks(1, lambda world: run(world, kind, tmp_path / "half", epochs=EPOCHS // 2))
            shutil.copytree(tmp_path / "half", made)
        return made

    whole = folder("well")
    well = on_ranks(SIZE, lambda world: run(world, kind, whole))
    assert [error for _, error, _ in well] == [None] * SIZE
    tried = 0
    for place in sorted(set().union(*(calls for calls, _, _ in well))):
        ranks = [rank for rank, (calls, _, _) in enumerate(well) if place in calls]
        for number in range(1, well[ranks[0]][0][place] + 1):
            rank = ranks[tried % len(ranks)]
            if number <= well[rank][0].get(place, 0):
                assert_all_end(kind, folder(tried), rank, (place, number))
            tried += 1
    assert tried > 40
