"""Epochs of mini-batches in few calls: the bits of step after step, shuffled or not."""

import numpy as np
import pytest
from fused_state import backend_of, parameters, state
from networks import Network

import nnfs_gpu as ng
from nnfs_gpu import fused
from nnfs_gpu.fused.cpu.engine import FusedSteps
from nnfs_gpu.kernels.fused_cpu import tables as k

NETWORKS = {
    "narrow": Network((2, 16, 3)),
    "wide": Network((5, 40, 24, 4), l1=0.001, l2=0.002),
    "dropout": Network((3, 20, 3), keep=0.6),
    "soft labels": Network((2, 9, 3), soft=True),
    "regression": Network((1, 12, 12, 2), loss="squared_error"),
    "two answers": Network((4, 6, 2), loss="binary_cross_entropy", activation="sigmoid"),
}


class StepByStep(ng.Callback):
    """Looks at each step, so that there is no sweep."""

    def __init__(self):
        self.steps = 0

    def on_train_batch_end(self, batch, logs):
        self.steps += 1


def run(network, n, dtype="float32", callbacks=(), **settings):
    """(history, parameters, state, sums) after `Model.train`."""
    model = network.model(backend_of(dtype))
    X, y = network.data(model, n)
    settings = {"epochs": 3, "batch_size": 32, "print_every": None} | settings
    history = model.train(X, y.values, callbacks=list(callbacks), engine="fused", **settings)
    sums = [(part.accumulated_sum, part.accumulated_count) for part in (model.loss, model.accuracy)]
    calls = [layer.calls for layer in model.layers if hasattr(layer, "calls")]
    counts = model.optimizer.iterations, model.optimizer.current_learning_rate, calls
    return history.history, parameters(model), state(model), (sums, counts)


def assert_same(found, wanted):
    (history, values, states, counts), (history_2, values_2, states_2, counts_2) = found, wanted
    assert history == history_2
    assert counts == counts_2
    for got, want in zip([*values, *states.values()], [*values_2, *states_2.values()], strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.fixture
def sweeps(monkeypatch):
    """The (samples, steps) of the sweeps that are made."""
    made, real = [], FusedSteps.sweep
    monkeypatch.setattr("nnfs_gpu.fused.cpu.engine.HEARD", 1e9)  # a busy machine cuts none

    def noted(self, X, y, start, batch, steps, order=None):
        made.append((batch, steps))
        return real(self, X, y, start, batch, steps, order)

    monkeypatch.setattr(FusedSteps, "sweep", noted)
    return made


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_bits_are_those_of_step_after_step(sweeps, name, shuffle):
    found = run(NETWORKS[name], 200, shuffle=shuffle)
    assert sweeps == [(32, 6), (8, 1)] * 3
    watched = StepByStep()
    wanted = run(NETWORKS[name], 200, shuffle=shuffle, callbacks=[watched])
    assert watched.steps == 21
    assert len(sweeps) == 6
    assert_same(found, wanted)


@pytest.mark.parametrize("n", [64, 65])
def test_the_last_batch_is_whole_or_one_sample(sweeps, n):
    found = run(NETWORKS["narrow"], n, dtype="float64", shuffle=True, epochs=2)
    assert sweeps == ([(32, 2)] if n == 64 else [(32, 2), (1, 1)]) * 2
    assert_same(
        found,
        run(NETWORKS["narrow"], n, "float64", [StepByStep()], shuffle=True, epochs=2),
    )


@pytest.mark.parametrize("every", [1, 3, 5, 100])
def test_printed_steps_are_the_same(sweeps, capsys, every):
    """A sweep ends where a line is due."""
    found = run(NETWORKS["wide"], 200, print_every=every, epochs=2)
    lines = capsys.readouterr().out
    assert bool(sweeps) == (every > 1)
    wanted = run(NETWORKS["wide"], 200, print_every=every, epochs=2, callbacks=[StepByStep()])
    assert lines == capsys.readouterr().out
    assert_same(found, wanted)


def test_callbacks_at_the_end_of_epochs_and_validation_do_not_stop_sweeps(sweeps):
    model = NETWORKS["narrow"].model(backend_of("float32"))
    X, y = NETWORKS["narrow"].data(model, 96)
    seen = []

    class Epochs(ng.Callback):
        def on_epoch_end(self, epoch, logs):
            seen.append((epoch, logs["val_loss"], self.model.optimizer.iterations))

    model.train(
        X,
        y.values,
        epochs=2,
        batch_size=32,
        print_every=None,
        validation_data=(X, y.values),
        callbacks=[Epochs()],
    )
    assert sweeps == [(32, 3)] * 2
    assert [(epoch, count) for epoch, _, count in seen] == [(1, 3), (2, 6)]


def test_calls_are_cut_so_that_ctrl_c_is_heard(sweeps, monkeypatch):
    monkeypatch.setattr("nnfs_gpu.fused.cpu.engine.MOST_SWEPT", 2)
    found = run(NETWORKS["narrow"], 200)
    assert sweeps == [(32, 2), (32, 2), (32, 2), (8, 1)] * 3
    assert_same(found, run(NETWORKS["narrow"], 200, callbacks=[StepByStep()]))


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_that_share_shuffled_batches_change_nothing(monkeypatch, threads):
    monkeypatch.setattr("nnfs_gpu.fused.cpu.calls.SHARED_STEP", 1)
    monkeypatch.setattr("nnfs_gpu.fused.cpu.calls.WORTH_FOLLOWING", 1)
    network, settings = Network((3, 30, 30, 3), keep=0.7), {"batch_size": 300, "shuffle": True}
    monkeypatch.setattr("nnfs_gpu.backend.cpu.launch.threads_allowed", lambda: 1)
    alone = run(network, 2_000, **settings)
    monkeypatch.setattr("nnfs_gpu.backend.cpu.launch.threads_allowed", lambda: threads)
    assert_same(run(network, 2_000, epochs=3, **settings), alone)


@pytest.mark.parametrize(
    ("order", "says"),
    [
        (np.arange(9), r"shape \(9,\)"),
        (np.arange(10, dtype=np.int32), "int32"),
        (np.arange(1, 11), "0 to 9"),
        (np.arange(-1, 9), "0 to 9"),
    ],
)
def test_an_order_that_names_no_rows_is_refused(order, says):
    network = NETWORKS["narrow"]
    model = network.model(backend_of("float32"))
    engine, before = fused.engine(model), parameters(model)
    X, y = network.data(model, 10)
    with pytest.raises(ValueError, match=says):
        engine.sweep(X, y, 0, 5, 2, order)
    assert engine.layout.cells[k.OPENED] == 0
    for got, want in zip(parameters(model), before, strict=True):
        np.testing.assert_array_equal(got, want)
