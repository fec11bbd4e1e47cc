"""Runs of several ranks at their edges: with the bits of one process.

Stops, ranks without rows, NaN, callbacks that change the model, models that were trained before.
Ranks are threads (local_world.py).
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from local_world import errors_on_ranks, on_ranks
from networks import Network
from test_ranks_bits import everything, made

from nnfs_gpu import Callback, EarlyStopping
from nnfs_gpu.training.shared import ReplicasPartedError

MODEST = Network((2, 16, 3), keep=0.8)


def whole(model, history=None):
    """Everything that training has made, and what it counts on from."""
    found = everything(model, history)
    parts = model.loss, model.accuracy
    sums = [(one.accumulated_sum, one.accumulated_count) for one in parts]
    found["sums"] = np.array(sums, float).tobytes()
    found["rate"] = model.optimizer.current_learning_rate, model.optimizer.learning_rate
    found["stopped"] = model.stop_training
    found["dropout"] = [(one.seed, one.calls) for one in model.layers if hasattr(one, "calls")]
    found["precision"] = getattr(model.accuracy, "precision", None)
    return found


def run_of(network, n=200, dtype="float32", change=lambda model, X: None, **settings):
    """A run for `on_ranks`; `change` is made to the model and the data before."""

    def run(world):
        model, X, y = made(network, dtype, n)
        change(model, X)
        given = {"epochs": 3, "batch_size": 50, "print_every": None} | settings
        for name, make in settings.items():
            given[name] = make(X, y.values) if callable(make) else make
        with np.errstate(all="ignore"):
            return whole(model, model.train(X, y.values, world=world, **given))

    return run


def assert_as_one(run, sizes=(1, 2, 3)):
    alone = run(None)
    for size in sizes:
        for rank, found in enumerate(on_ranks(size, run)):
            assert found == alone, f"rank {rank} of {size}"
    return alone


# ---- stops ----
class Stops(Callback):
    """Asks for the end: at the beginning, after a step or after an epoch (1 or later)."""

    def __init__(self, begin=False, step=None, epoch=None):
        self.begin, self.step, self.epoch = begin, step, epoch

    def on_train_begin(self, logs):
        self.model.stop_training = self.begin

    def on_train_batch_end(self, batch, logs):
        if batch == self.step:
            self.model.stop_training = True

    def on_epoch_end(self, epoch, logs):
        if epoch == self.epoch:
            self.model.stop_training = True


@pytest.mark.parametrize(
    ("stop", "steps"),
    [
        ({"begin": True}, 0),
        ({"step": 0}, 1),
        ({"step": 2}, 3),
        ({"step": 3}, 4),  # the last of an epoch
        ({"epoch": 2}, 8),
        ({"epoch": 3}, 12),  # after the last
    ],
)
@pytest.mark.parametrize("validated", [False, True])
def test_whoever_stops_when_leaves_what_one_process_leaves(stop, steps, validated):
    held = (lambda X, y: (X[:9], y[:9])) if validated else None
    network = Network((2, 16, 3), keep=0.8, dropout_seeds=(None,) if steps == 0 else (3,))
    run = run_of(network, callbacks=lambda X, y: [Stops(**stop)], validation_data=held)
    found = assert_as_one(run)
    assert (found["iterations"], found["stopped"]) == (steps, True)
    if steps == 0:
        assert found["dropout"] == [(None, 0)]  # nothing was drawn


def test_patience_that_ends_with_the_last_epoch():
    def patience(X, y):
        return [EarlyStopping("loss", patience=2, min_delta=10.0, restore_best=True)]

    assert assert_as_one(run_of(MODEST, callbacks=patience))["stopped"]


# ---- few rows, many ranks; numbers that are none ----
@pytest.mark.parametrize("n", [1, 2, 5])
def test_ranks_that_never_have_a_row(n):
    for network in (MODEST, Network((3, 8, 2), loss="squared_error", optimizer="rmsprop")):
        assert_as_one(
            run_of(network, n, validation_data=lambda X, y: (X[:1], y[:1]), batch_size=2), (2, 4)
        )


def one_row_is_nan(model, X):
    X[3, 1] = np.nan


def weights_are_large(model, X):
    for dense in model.trainable_layers:
        dense.weights = dense.weights * dense.weights.dtype.type(1e20)


def steps_are_large(model, X):
    model.optimizer.learning_rate = model.optimizer.current_learning_rate = 1e38


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("change", [one_row_is_nan, weights_are_large, steps_are_large])
def test_what_diverges_does_so_in_the_same_bits(change, dtype):
    network = Network((2, 16, 3), optimizer="momentum")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = assert_as_one(run_of(network, dtype=dtype, change=change))
    assert not np.isfinite(np.frombuffer(found["history"]["loss"])).all()
    # One process without a world, and rank 0 of each of three worlds.
    assert [str(one.message).startswith("train: loss of epoch") for one in told] == [True] * 4


# ---- callbacks that change the model ----
class HalfRate(Callback):
    """Halves the rate after each epoch, on some ranks."""

    def __init__(self, world, ranks):
        self.acts = world is None or world.rank in ranks

    def on_epoch_end(self, epoch, logs):
        if self.acts:
            self.model.optimizer.learning_rate *= 0.5


def test_a_rate_that_changes_on_all_ranks_or_on_one():
    def run(world, ranks=(0, 1, 2)):
        return run_of(MODEST, callbacks=[HalfRate(world, ranks)])(world)

    assert_as_one(run)
    errors = errors_on_ranks(3, lambda world: run(world, (2,)))
    assert {type(error) for error in errors} == {ReplicasPartedError}
    assert "rank 2 differ from those of the others before step 6" in str(errors[0])


class Disturbs(Callback):
    """Changes a bias on rank 1, after the last step of all."""

    def __init__(self, world):
        self.acts = world.rank == 1

    def on_train_batch_end(self, batch, logs):
        if self.acts and (batch, logs["epoch"]) == (3, 3):
            self.model.trainable_layers[1].biases[0, 2] += 1e-6


def test_ranks_that_part_after_the_last_step_are_told():
    errors = errors_on_ranks(3, lambda world: run_of(MODEST, callbacks=[Disturbs(world)])(world))
    assert {type(error) for error in errors} == {ReplicasPartedError}
    assert "rank 1 differ from those of the others before step 13" in str(errors[0])


# ---- trained before ----
def test_trained_twice_by_worlds_of_any_size():
    def run(sizes):
        def first(world):
            model, X, y = made(MODEST, n=200)
            model.train(X, y.values, batch_size=70, print_every=None, world=world)
            return model, X, y.values

        model, X, y = on_ranks(sizes[0], first)[0]

        def second(world):
            mine, *_ = made(MODEST)
            if world.rank == 0:  # the others have a new one, as where rank 0 alone has loaded it
                mine = model
            history = mine.train(X, y, epochs=2, batch_size=70, print_every=None, world=world)
            return whole(mine, history)

        results = on_ranks(sizes[1], second)
        assert all(found == results[0] for found in results)
        return results[0]

    alone = run((1, 1))
    assert alone["iterations"] == 9
    assert run((3, 2)) == run((2, 4)) == alone


# ---- evaluation ----
def test_sums_of_batches_are_rounded_once_and_told_by_rank_0(capsys):
    network = Network((2, 4, 1), loss="squared_error")

    def run(world):
        model, X, y = made(network, "float64", n=5)
        for dense in model.trainable_layers:
            dense.weights, dense.biases = dense.weights * 0, dense.biases * 0
        y = np.array([[1e8], [1], [1], [1], [1]])  # losses of 1e16 and 1: 1e16 + 1 is 1e16
        return model.evaluate(X, y, batch_size=1, world=world)["loss"]

    assert assert_as_one(run) == (10**16 + 4) / 5
    assert capsys.readouterr().out.count("validation, acc: ") == 1 + 3


def test_an_accuracy_without_a_precision_fails_as_in_one_process():
    network = Network((3, 8, 2), loss="squared_error")

    def run(world):
        model, X, y = made(network, n=60)
        model.accuracy.precision = None
        world = {} if world is None else {"world": world}
        try:
            return model.evaluate(X, y.values, batch_size=10, verbose=False, **world)
        except RuntimeError as error:
            return repr(error)

    assert_as_one(run)
