"""One run, the same bits: alone and on 2, 3 and 4 ranks, whatever the ranks have of it.

Ranks are threads here (local_world.py); test_ranks_mpi.py has processes.
"""

from __future__ import annotations

import threading

import numpy as np
import pytest
from fused_state import backend_of
from local_world import LocalWorld, errors_on_ranks, on_ranks
from networks import ENDS, OPTIMIZERS, Network

from nnfs_gpu import Callback, EarlyStopping, World, fused, get_backend
from nnfs_gpu.fused import CannotFuse
from nnfs_gpu.ranks.errors import RankError
from nnfs_gpu.training.shared import ReplicasPartedError, SharedSteps, share_of

DTYPES = ["float32", "float64"]
MAKING = threading.Lock()


def everything(model, history=None):
    """All that training has made, as bytes."""
    found = {}
    for number, layer in enumerate(model.trainable_layers):
        for name in (
            "weights",
            "biases",
            "dweights",
            "dbiases",
            "weight_momentums",
            "weight_cache",
        ):
            if hasattr(layer, name):
                found[number, name] = np.asarray(getattr(layer, name)).tobytes()
    found["iterations"] = model.optimizer.iterations
    if history is not None:
        found["history"] = {
            name: np.array(curve).tobytes() for name, curve in history.history.items()
        }
    return found


def made(network, dtype="float32", n=100):
    """Model, data and targets. One thread at a time: layers are made on the default backend."""
    with MAKING:
        model = network.model(backend_of(dtype))
        return model, *network.data(model, n)


def trained(network, dtype, world, n=300, **settings):
    model, X, y = made(network, dtype, n)
    given = {"epochs": 2, "print_every": None} | settings
    history = model.train(X, y.values, world=world, **given)
    return everything(model, history)


def assert_same_on_ranks(network, dtype, sizes=(1, 2, 3, 4), **settings):
    alone = trained(network, dtype, None, **settings)
    for size in sizes:
        for found in on_ranks(size, lambda world: trained(network, dtype, world, **settings)):
            assert found == alone, f"{size} ranks"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("loss", [*ENDS, "soft"])
def test_every_loss_and_optimizer(loss, optimizer, dtype):
    soft = loss == "soft"
    loss = "softmax_cross_entropy" if soft else loss
    network = Network((2, 16, 3), loss=loss, soft=soft, optimizer=optimizer)
    assert_same_on_ranks(network, dtype, (3,), n=1500)


NETWORKS = {
    "narrow": Network((2, 64, 3)),
    "deep": Network((5, 33, 17, 2), activation="tanh", l1=1e-3, l2=1e-3),
    "dropout": Network((4, 40, 3), keep=0.8, optimizer="adamw"),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(
    "settings",
    [
        {"n": 7003},
        {"n": 2999, "batch_size": 1300},
        {"n": 2500, "batch_size": 1100, "shuffle": True, "seed": 5},
        {"n": 50, "batch_size": 16},  # fewer leaves than ranks
    ],
    ids=["whole", "batches", "shuffled", "few"],
)
def test_batches_of_all_kinds(name, settings, dtype):
    assert_same_on_ranks(NETWORKS[name], dtype, **settings)


def test_validation_and_early_stopping_are_the_same_on_all():
    network = NETWORKS["narrow"]

    def run(world):
        model, X, y = made(network, n=2100)
        stop = EarlyStopping("val_loss", patience=1, min_delta=10.0, restore_best=True)
        history = model.train(
            X,
            y.values,
            epochs=9,
            batch_size=700,
            print_every=None,
            validation_data=(X[:1000], y.values[:1000]),
            callbacks=[stop],
            world=world,
        )
        return everything(model, history), stop.stopped_epoch

    alone = run(None)
    assert alone[1] == 2
    for size in (1, 2, 3):
        assert on_ranks(size, run) == [alone] * size


def test_evaluate_and_predict_are_shared():
    network = NETWORKS["deep"]
    model = network.model(backend_of("float64"))
    X, y = network.data(model, 1003)
    measured = model.evaluate(X, y.values, batch_size=100, verbose=False)
    outputs = np.asarray(model.predict(X, batch_size=50))

    def run(world):
        mine, _, _ = made(network, "float64")
        found = mine.evaluate(X, y.values, batch_size=100, verbose=False, world=world)
        whole = mine.predict(X, batch_size=50, world=world)
        part = mine.predict(X, batch_size=50, world=world, gather=False)
        return found, np.asarray(whole), np.asarray(part)

    for size in (2, 3):
        results = on_ranks(size, run)
        assert [found for found, _, _ in results] == [measured] * size
        for _, whole, _ in results:
            np.testing.assert_allclose(whole, outputs, rtol=1e-14)
            assert whole.tobytes() == results[0][1].tobytes()
        assert np.concatenate([part for _, _, part in results]).tobytes() == whole.tobytes()
    # fewer rows than ranks
    few = on_ranks(3, lambda world: made(network, "float64")[0].predict(X[:2], world=world))
    assert all(one.shape == (2, outputs.shape[1]) for one in few)


def test_who_stops_stops_all_after_the_same_step():
    network = NETWORKS["narrow"]

    class StopOn1(Callback):
        def on_train_batch_end(self, batch, logs):
            self.seen = batch
            if self.model.world_rank == 1 and batch == 3:
                self.model.stop_training = True

    def run(world):
        model, X, y = made(network, n=1000)
        model.world_rank = world.rank
        stop = StopOn1()
        model.train(X, y.values, batch_size=50, callbacks=[stop], print_every=None, world=world)
        return stop.seen, everything(model)

    results = on_ranks(3, run)
    assert [seen for seen, _ in results] == [3] * 3  # the step after which it asked
    assert results[0] == results[1] == results[2]


def test_lines_come_from_rank_0_alone(capsys):
    network = NETWORKS["narrow"]
    trained(network, "float32", None, print_every=1)
    alone = capsys.readouterr().out
    assert "acc:" in alone
    on_ranks(3, lambda world: trained(network, "float32", world, print_every=1))
    assert capsys.readouterr().out == alone


def test_callbacks_that_write_are_called_on_rank_0_alone():
    class Writes(Callback):
        rank_0 = True
        calls = 0

        def on_epoch_end(self, epoch, logs):
            self.calls += 1

    def run(world):
        writes = Writes()
        trained(NETWORKS["narrow"], "float32", world, callbacks=[writes])
        return writes.calls

    assert on_ranks(3, run) == [2, 0, 0]


# ---- what goes wrong ----
def test_replicas_that_part_are_named():
    network = NETWORKS["narrow"]

    class Disturb(Callback):
        def on_train_batch_end(self, batch, logs):
            if self.model.world_rank == 2 and batch == 1:
                self.model.trainable_layers[1].biases[0, 0] += np.float32(1e-7)

    def run(world):
        model, X, y = made(network, n=400)
        model.world_rank = world.rank
        model.train(
            X, y.values, batch_size=100, callbacks=[Disturb()], print_every=None, world=world
        )

    errors = errors_on_ranks(4, run)
    assert all(isinstance(error, ReplicasPartedError) for error in errors)
    assert {str(error) for error in errors} == {str(errors[0])}
    assert "rank 2 differ" in str(errors[0])
    assert "before step 3" in str(errors[0])


def test_ranks_with_other_data_or_settings_are_told_before_the_first_step():
    network = NETWORKS["narrow"]

    def run(world, n=100, **settings):
        model, X, y = made(network, n=n)
        X = X + np.float32(settings.pop("shift", 0))
        before = everything(model)
        with pytest.raises(RankError, match="rank 1: ValueError: train: got something") as caught:
            model.train(X, y.values, print_every=None, world=world, **settings)
        assert everything(model) == before
        return str(caught.value)

    assert "samples was 100, is now 150" in on_ranks(2, lambda w: run(w, n=100 + 50 * w.rank))[0]
    assert "X.sha256" in on_ranks(2, lambda w: run(w, shift=w.rank))[0]
    assert "batch_size" in on_ranks(2, lambda w: run(w, batch_size=10 + w.rank))[0]
    assert "epochs" in on_ranks(2, lambda w: run(w, epochs=1 + w.rank))[0]


def test_unlike_first_parameters_become_those_of_rank_0():
    def run(world):
        network = Network((2, 64, 3), seed=world.rank)
        model, _, _ = made(network)
        X, y = Network((2, 64, 3)).data(model, 300)
        model.train(X, y.values, print_every=None, world=world)
        return everything(model)

    found = on_ranks(3, run)
    assert found[0] == found[1] == found[2] == on_ranks(1, run)[0]


def test_what_cannot_be_shared_is_refused_by_name():
    network = NETWORKS["narrow"]
    model = network.model(backend_of("float32"))
    X, y = network.data(model, 100)
    with pytest.raises(ValueError, match="engine: got 'layers', expected 'auto' or 'fused'"):
        model.train(X, y.values, engine="layers", world=World())
    with pytest.raises(TypeError, match="ranks cannot divide"):
        model.train(lambda: iter([(X, y.values)]), print_every=None, world=World())
    plain = network.model(get_backend("numpy", dtype="float64"))
    with pytest.raises(CannotFuse, match="numpy"):
        plain.train(X, y.values, world=World())


def test_more_ranks_than_words_have_room_for_are_refused():
    class Many(World):
        size = 1025

    model, _, _ = made(NETWORKS["narrow"])
    with pytest.raises(ValueError, match="world: got 1,025 ranks, expected at most 1,024"):
        SharedSteps(fused.engine(model), Many())


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8])
def test_shares_are_whole_leaves_and_cover_a_batch_once(size):
    for total, leaf in ((1, 1), (1000, 64), (1000, 1000), (999, 1000), (7, 2), (64, 64), (129, 64)):
        shares = [share_of(rank, size, total, leaf) for rank in range(size)]
        rows = [row for start, stop in shares for row in range(start, stop)]
        assert rows == list(range(total))
        assert all(start % leaf == 0 for start, stop in shares if start < stop)
        leaves = [-(-(stop - start) // leaf) for start, stop in shares]
        assert max(leaves) - min(leaves) <= 1


def test_a_step_has_one_sum():
    network = NETWORKS["narrow"]

    def run(world):
        before = world.sums
        trained(network, "float32", world, n=100, epochs=1, batch_size=10)
        first = world.sums - before
        trained(network, "float32", world, n=200, epochs=1, batch_size=10)
        return world.sums - before - 2 * first

    assert on_ranks(2, run) == [10, 10]
    assert issubclass(LocalWorld, World)
