"""A bar over ranks: the first rank alone shows it. Ranks are threads here (local_world.py)."""

from __future__ import annotations

import threading

import numpy as np
from fused_state import backend_of
from local_world import on_ranks
from networks import Network

from nnfs_gpu.show.display import Display
from nnfs_gpu.training import progress

NETWORK = Network((4, 24, 3))
MAKING = threading.Lock()  # layers are made on the default backend


class Seen(Display):
    """Writes down which epochs it is shown: every second one, and the last."""

    def __init__(self):
        self.epochs = []

    def due_epoch(self, epoch):
        return epoch % 2 == 0

    def epoch(self, epoch, numbers):
        self.epochs.append((epoch, numbers["loss"]))


def trained(world, **more):
    with MAKING:
        model = NETWORK.model(backend_of("float32"))
        X, y = NETWORK.data(model, 300)
    arguments = {"epochs": 5, "batch_size": 150, "print_every": None, "world": world}
    history = model.train(X, y.values, **arguments | more)
    parameters = b"".join(np.asarray(a).tobytes() for pair in model.get_parameters() for a in pair)
    return history.history, parameters


def test_the_first_rank_shows_it_and_all_have_the_same_bits(monkeypatch):
    made = []

    def display_for(console, lines):
        made.append(Seen())
        return made[-1]

    monkeypatch.setattr(progress, "display_for", display_for)
    plain = on_ranks(2, trained)
    assert made == []
    shown = on_ranks(2, lambda world: trained(world, progress=True))
    assert shown == plain
    (seen,) = made
    losses = plain[0][0]["loss"]
    assert seen.epochs == [(epoch, losses[epoch - 1]) for epoch in (2, 4, 5)]
