"""Weights of samples over ranks: the bits of one process, whoever has which samples.

Ranks are threads here (local_world.py).
"""

from __future__ import annotations

import threading

import numpy as np
import pytest
from fused_state import backend_of
from local_world import errors_on_ranks, on_ranks
from networks import Network

from nnfs_gpu import Rows, World
from nnfs_gpu.fused.cpu.groups import Groups

NETWORK = Network((4, 24, 3), l2=1e-3)
N = 300
MAKING = threading.Lock()  # layers are made on the default backend
WEIGHTS = np.random.RandomState(5).rand(N) * (np.arange(N) >= 120)  # a rank may have but zeros


@pytest.fixture(autouse=True)
def _small_groups(monkeypatch):
    """So that each of a few ranks has some."""
    monkeypatch.setattr(Groups, "samples", lambda self, n: self.layout.panel)


def run(world, kind, dtype="float32", weights=WEIGHTS, **settings):
    """Parameters and history of a rank, as bytes."""
    with MAKING:
        model = NETWORK.model(backend_of(dtype))
        X, y = NETWORK.data(model, N)
    X, y = np.asarray(X), np.asarray(y.values)
    given = {"epochs": 2, "print_every": None, "engine": "fused", "world": world} | settings
    if kind == "arrays":
        history = model.train(X, y, sample_weight=weights, class_weight={1: 2.5}, **given)
    else:
        made = Rows(lambda a, b: (X[a:b], y[a:b], weights[a:b]), N)
        history = model.train(made, class_weight={1: 2.5}, **given)
    parameters = b"".join(np.asarray(a).tobytes() for pair in model.get_parameters() for a in pair)
    return (
        parameters,
        str(history.history),
        model.evaluate(X, y, sample_weight=weights, verbose=False, world=world),
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("settings", [{}, {"batch_size": 110}], ids=["whole", "batches"])
def test_any_number_of_ranks_has_the_bits_of_one_process(dtype, settings):
    alone = run(None, "arrays", dtype, **settings)
    for ranks in (1, 2, 3):
        for kind in ("arrays", "rows"):
            found = on_ranks(ranks, lambda world, kind=kind: run(world, kind, dtype, **settings))
            assert [one[:2] for one in found] == [alone[:2]] * ranks
            assert len({str(one[2]) for one in found}) == 1
            assert found[0][2]["loss"] == pytest.approx(alone[2]["loss"], rel=1e-6)


def test_a_rank_without_rows_knows_the_weights():
    """Of 8 rows, a leaf, one rank has all."""
    small = {"batch_size": 8, "epochs": 1}
    alone = run(World(), "arrays", **small)
    assert [one[:2] for one in on_ranks(3, lambda world: run(world, "rows", **small))] == [
        alone[:2]
    ] * 3


def test_ranks_of_other_weights_are_told():
    def other(world):
        run(world, "arrays", weights=WEIGHTS + world.rank)

    errors = errors_on_ranks(2, other)
    assert any("weights" in str(error) for error in errors)
