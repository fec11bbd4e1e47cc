"""Ranks that are given different things, or what cannot be shared, are told before the first step.

Ranks are threads (local_world.py), and the model is as it was.
"""

from __future__ import annotations

import pytest
from local_world import errors_on_ranks, on_ranks
from test_ranks_bits import NETWORKS, made
from test_ranks_edges import MODEST, whole

from nnfs_gpu import EarlyStopping, Rows
from nnfs_gpu.fused import CannotFuse
from nnfs_gpu.ranks.errors import RankError, is_on_all, is_quiet
from nnfs_gpu.training.checkpoint import FILE


def refused_on_rank_1(change, world, kind):
    """Trains where rank 1 is given something else: the message, the same on all ranks."""
    model, X, y = made(MODEST, n=60)
    y = y.values
    data = {"X": Rows(lambda i, j: (X[i:j], y[i:j]), 60)} if kind == "rows" else {"X": X, "y": y}
    settings = data | {"epochs": 2, "batch_size": 20, "print_every": None}
    before = whole(model)
    with pytest.raises(RankError, match="rank 1: ValueError: train: got something") as caught:
        model.train(world=world, **settings | (change(X, y) if world.rank == 1 else {}))
    assert whole(model) == before
    assert is_on_all(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("kind", ["arrays", "rows"])
def test_ranks_that_are_given_different_things(kind, tmp_path):
    changes = {
        "batch_size was 20, is now 30": lambda X, y: {"batch_size": 30},
        "validation samples was None, is now 9": lambda X, y: {"validation_data": (X[:9], y[:9])},
        "checkpoint was None, is now ": lambda X, y: {"checkpoint": tmp_path / "one"},
        "callbacks was [], is now [EarlyStopping]": lambda X, y: {
            "callbacks": [EarlyStopping("loss")]
        },
    }
    if kind == "arrays":
        changes["data was 'Held', is now 'Made'"] = lambda X, y: {
            "X": Rows(lambda i, j: (X[i:j], y[i:j]), 60),
            "y": None,
        }
        changes["shuffle seed was None, is now 4"] = lambda X, y: {"shuffle": True, "seed": 4}
    for words, change in changes.items():
        for found in on_ranks(3, lambda world: refused_on_rank_1(change, world, kind)):  # noqa: B023
            assert words in found
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("epochs", "word"), [(2, "another"), (0, "no")])
def test_ranks_that_read_other_checkpoints_are_told(epochs, word, tmp_path):
    """As on machines with a disk of their own each."""

    def run(world, folder, epochs=4):
        model, X, y = made(MODEST, n=60)
        settings = {"batch_size": 20, "print_every": None, "checkpoint": folder}
        return model.train(X, y.values, epochs=epochs, world=world, **settings)

    def other(world):
        run(world, tmp_path / ("first" if world.rank == 0 else "second"))

    run(None, tmp_path / "first", 3)
    if epochs:
        run(None, tmp_path / "second", epochs)
    before = (tmp_path / "first" / FILE).read_bytes()
    errors = errors_on_ranks(2, other)
    words = f"rank 1: FileNotFoundError: checkpoint: {word} {tmp_path / 'second' / FILE} than rank"
    assert {str(error)[: len(words)] for error in errors} == {words}
    assert (tmp_path / "first" / FILE).read_bytes() == before


def test_evaluate_and_predict_want_all_rows_on_every_rank():
    def run(world):
        model, X, y = made(MODEST, n=60)
        y, rows = y.values, 20 + 10 * world.rank
        for act in (
            lambda: model.predict(X[:rows], world=world),
            lambda: model.evaluate(X[:rows], y[:rows], verbose=False, world=world),
        ):
            with pytest.raises(ValueError, match="got 20, 30, 40 samples on the ranks") as caught:
                act()
            assert is_on_all(caught.value)
            assert is_quiet(caught.value) == (world.rank > 0)
        sizes = {"batch_size": 10 + world.rank}
        with pytest.raises(ValueError, match="in batches of 10, 11, 12"):
            model.evaluate(X, y, verbose=False, world=world, **sizes)
        with pytest.raises(RankError, match="rank 2: ValueError: predict: "):
            model.predict(X[:, : 2 - world.rank // 2], world=world)
        with pytest.raises(RankError, match="rank 2: ValueError: evaluate: "):
            model.evaluate(X[:, : 2 - world.rank // 2], y, world=world)
        return model.evaluate(X, y, verbose=False, world=world)

    found = on_ranks(3, run)
    assert found[0] == found[1] == found[2]


def test_a_wrong_argument_is_said_once():
    def run(world):
        model, X, y = made(MODEST, n=60)
        model.train(X, y.values, epochs=0, world=world)

    errors = errors_on_ranks(3, run)
    assert {(type(error), str(error)) for error in errors} == {
        (ValueError, "epochs: got 0, expected at least 1")
    }
    assert [is_quiet(error) for error in errors] == [False, True, True]


def test_own_layers_are_refused_on_all():
    class Own(type(NETWORKS["narrow"].layers()[0])):
        pass

    def run(world):
        model, X, y = made(MODEST, n=60)
        model.layers[0].__class__ = Own
        model.train(X, y.values, world=world)

    errors = errors_on_ranks(2, run)
    assert {type(error) for error in errors} == {CannotFuse}
