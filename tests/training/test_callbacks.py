"""Callbacks: when they are called, what they see, and how they end training."""

import numpy as np
import pytest
from model_programs import X_VAL, Y_VAL, X, Y, network, parameters

from nnfs_gpu import Callback, use_backend
from nnfs_gpu.training import loop as training
from nnfs_gpu.training.run import METRICS, VALIDATION_METRICS

pytestmark = pytest.mark.default_backend


class Recorder(Callback):
    """Writes down every call."""

    def __init__(self, name="", calls=None):
        self.name, self.calls = name, [] if calls is None else calls

    def on_train_begin(self, logs):
        self.calls.append((f"{self.name}begin", dict(logs)))

    def on_train_batch_end(self, batch, logs):
        self.calls.append((f"{self.name}batch", batch, dict(logs)))

    def on_epoch_end(self, epoch, logs):
        self.calls.append((f"{self.name}epoch", epoch, dict(logs)))

    def on_train_end(self, logs):
        self.calls.append((f"{self.name}end", dict(logs)))


def test_callbacks_are_called_in_order(backend):
    recorder, model = Recorder(), network()
    history = model.train(
        X,
        Y,
        epochs=2,
        batch_size=20,
        print_every=None,
        validation_data=(X_VAL, Y_VAL),
        callbacks=[recorder],
    )
    logs = [{key: values[epoch] for key, values in history.history.items()} for epoch in range(2)]
    assert "val_accuracy" in logs[0]
    assert recorder.model is model
    assert recorder.calls == [
        (
            "begin",
            {"epochs": 2, "steps": 3, "samples": 50, "metrics": METRICS + VALIDATION_METRICS},
        ),
        *(("batch", step, {"epoch": 1}) for step in range(3)),
        ("epoch", 1, logs[0]),
        *(("batch", step, {"epoch": 2}) for step in range(3)),
        ("epoch", 2, logs[1]),
        ("end", logs[1]),
    ]


def test_callbacks_take_turns(backend_name):
    use_backend(backend_name)
    calls = []
    network().train(
        X, Y, print_every=None, callbacks=(Recorder("a ", calls), Recorder("b ", calls), Callback())
    )
    names = ["begin", "batch", "epoch", "end"]
    assert [call[0] for call in calls] == [f"{who} {name}" for name in names for who in "ab"]


def test_a_callback_sees_the_step_that_was_made(backend):
    class Watch(Callback):
        def on_train_batch_end(self, batch, logs):
            seen.append((self.model.optimizer.iterations, parameters(self.model)[0].copy()))

    seen, model = [], network()
    start = parameters(model)[0]
    model.train(X, Y, batch_size=25, print_every=None, callbacks=[Watch()])
    assert [count for count, _ in seen] == [1, 2]
    assert not np.array_equal(seen[0][1], start)
    np.testing.assert_array_equal(seen[1][1], parameters(model)[0])


def test_a_stopped_training_can_go_on(backend):
    class Stop(Callback):
        def on_epoch_end(self, epoch, logs):
            if epoch == 2:
                raise KeyboardInterrupt

    model, whole = network(), network()
    with pytest.raises(KeyboardInterrupt):
        model.train(X, Y, epochs=5, batch_size=16, print_every=None, callbacks=[Stop()])
    model.train(X, Y, epochs=3, batch_size=16, print_every=None)
    whole.train(X, Y, epochs=5, batch_size=16, print_every=None)
    for a, b in zip(parameters(model), parameters(whole), strict=True):
        np.testing.assert_array_equal(a, b)


# ---- ending training ----
class StopAfter(Callback):
    """Sets `stop_training` after some steps or at an epoch."""

    def __init__(self, *, step=None, epoch=None):
        self.steps, self.step, self.epoch = 0, step, epoch

    def on_train_batch_end(self, batch, logs):
        self.steps += 1
        self.model.stop_training |= self.steps == self.step

    def on_epoch_end(self, epoch, logs):
        self.model.stop_training |= epoch == self.epoch

    def on_train_end(self, logs):
        self.ended_with = logs


@pytest.mark.parametrize(
    ("stop", "steps", "epochs"),
    [
        ({"step": 1}, 1, 0),
        ({"step": 6}, 6, 1),
        ({"step": 8}, 8, 2),  # the last step of an epoch: the epoch is finished
        ({"epoch": 1}, 4, 1),
        ({"epoch": 5}, 20, 5),
        ({}, 20, 5),
    ],
)
def test_a_callback_ends_training(backend, stop, steps, epochs):
    callback, model = StopAfter(**stop), network()
    history = model.train(
        X, Y, epochs=5, batch_size=16, print_every=None, callbacks=[callback, Callback()]
    )
    assert (model.optimizer.iterations, history.epoch) == (steps, list(range(1, epochs + 1)))
    assert all(len(values) == epochs for values in history.history.values())
    assert callback.ended_with == history.last()
    assert len(model.train(X, Y, epochs=2, print_every=None)["loss"]) == 2  # and not for ever


def test_history_says_what_it_has(backend_name):
    use_backend(backend_name)
    history = network().train(X, Y, epochs=2, print_every=None)
    assert "loss" in history
    assert "val_loss" not in history
    with pytest.raises(KeyError, match="no 'val_loss'; it has loss, data_loss"):
        history["val_loss"]


def test_more_epochs_than_wait_on_the_device(monkeypatch):
    """Numbers of many epochs are fetched together, and none is lost or moved."""
    use_backend("numpy")
    expected = network().train(X, Y, epochs=23, print_every=None, callbacks=[Callback()])
    monkeypatch.setattr(training, "MOST_PENDING", 5)
    history = network().train(X, Y, epochs=23, print_every=None)
    assert (history.epoch, history.history) == (list(range(1, 24)), expected.history)


@pytest.mark.parametrize("wrong", [Callback, Callback(), [Callback], ["early"], [None]])
def test_what_is_no_list_of_callbacks_is_refused(wrong):
    with pytest.raises(TypeError, match=r"callbacks: got .*expected"):
        network().train(X, Y, callbacks=wrong, print_every=None)


# ---- the numbers of a step ----
class Losses(Recorder):
    wants_loss = True


@pytest.mark.parametrize("engine", ["layers", "auto"])
def test_who_asks_for_the_loss_gets_it_and_nobody_else(backend, engine):
    asks, asks_not, model = Losses(), Recorder(), network(weight_regularizer_l2=0.02)
    model.train(X, Y, batch_size=25, engine=engine, print_every=None, callbacks=[asks_not, asks])
    assert [call for call in asks_not.calls if call[0] == "batch"] == [
        ("batch", 0, {"epoch": 1}),
        ("batch", 1, {"epoch": 1}),
    ]
    model = network(weight_regularizer_l2=0.02)
    for step, (name, number, logs) in enumerate(asks.calls[1:3]):
        batch = slice(25 * step, 25 * step + 25)
        output = model.forward(model.backend.asarray(X[batch]), training=False)
        data_loss, penalty = model.loss.calculate(output, Y[batch], include_regularization=True)
        assert (name, number, logs["epoch"]) == ("batch", step, 1)
        assert all(type(value) is float for key, value in logs.items() if key != "epoch")
        expected = [float(data_loss) + float(penalty), float(data_loss), float(penalty)]
        found = [logs[key] for key in ("loss", "data_loss", "reg_loss")]
        np.testing.assert_allclose(found, expected, rtol=1e-6)
        assert logs["accuracy"] in [n / 25 for n in range(26)]
        model.train(X[batch], Y[batch], engine=engine, print_every=None)


def test_nothing_is_fetched_for_those_who_do_not_ask(monkeypatch):
    """The numbers of a step stay what the engine gives: on a GPU, on the device."""
    use_backend("numpy")

    class Number:
        fetched = 0

        def __float__(self):
            Number.fetched += 1
            return 1.0

    real = training.Training._show_step
    monkeypatch.setattr(
        training.Training, "_show_step", lambda self, a, b, _: real(self, a, b, [Number()] * 3)
    )
    for callback, fetched in ((Recorder(), 0), (Losses(), 6)):
        network().train(X, Y, batch_size=25, print_every=None, callbacks=[callback])
        assert Number.fetched == fetched
