"""Callbacks over ranks: the first alone writes files, and all come to the same decisions.

Ranks are threads here (local_world.py).
"""

from __future__ import annotations

import threading

import numpy as np
from fused_state import backend_of
from local_world import on_ranks
from networks import Network

from nnfs_gpu import Callback, CSVLogger, ModelCheckpoint, ReduceLROnPlateau, World

NETWORK = Network((4, 24, 3))
MAKING = threading.Lock()  # layers are made on the default backend


class Script(Callback):
    """Losses that do not improve at once."""

    def on_epoch_end(self, epoch, logs):
        logs["loss"] = [5.0, 5.0, 4.0, 6.0][epoch - 1]


class Asks(Callback):
    """Hears of every step; on the first rank alone."""

    rank_0 = wants_loss = True

    def __init__(self):
        self.losses = []

    def on_train_batch_end(self, batch, logs):
        self.losses.append(logs["loss"])


def trained(folder, world):
    """The rate at the end, the parameters, and the losses that one was told, of a rank."""
    with MAKING:
        model = NETWORK.model(backend_of("float32"))
        X, y = NETWORK.data(model, 300)
    asks = Asks()
    model.train(
        X,
        y.values,
        epochs=4,
        batch_size=150,
        print_every=None,
        checkpoint=folder / "run",
        callbacks=[
            Script(),
            ReduceLROnPlateau("loss", factor=0.5, patience=1),
            ModelCheckpoint(folder / "{epoch}", "loss", save_best_only=True),
            CSVLogger(folder / "log.csv"),
            asks,
        ],
        world=world,
    )
    parameters = b"".join(np.asarray(a).tobytes() for pair in model.get_parameters() for a in pair)
    return model.optimizer.learning_rate, parameters, asks.losses


def test_files_and_rates_are_those_of_one_process(tmp_path):
    for name in ("alone", "ranks"):
        (tmp_path / name).mkdir()
    rate, parameters, losses = trained(tmp_path / "alone", World())
    found = on_ranks(3, lambda world: trained(tmp_path / "ranks", world))
    assert [one[:2] for one in found] == [(rate, parameters)] * 3
    assert [one[2] for one in found] == [losses, [], []]
    assert len(losses) == 8
    files = {one.name for one in (tmp_path / "alone").iterdir()}
    assert files == {"1", "3", "log.csv", "run"}
    for name in files - {"run"}:
        ranks = tmp_path / "ranks" / name
        assert ranks.read_bytes() == (tmp_path / "alone" / name).read_bytes()
