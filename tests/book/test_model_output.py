"""What `Model` prints and returns: the book's lines, the history, a last partial batch."""

import re

import numpy as np
import pytest
from helpers import assert_close
from model_programs import PENALTY, X_VAL, Y_VAL, X, Y, line, network, parameters

from nnfs_gpu import (
    Activation_ReLU,
    Activation_Softmax,
    History,
    Layer_Dense,
    Optimizer_SGD,
    use_backend,
)

STEP_LINE = re.compile(
    r"step: \d+, acc: \d\.\d{3}, loss: \d+\.\d{3} "
    r"\(data_loss: \d+\.\d{3}, reg_loss: \d+\.\d{3}\), lr: \S+"
)
TRAINING_LINE = re.compile(
    r"training, acc: \d\.\d{3}, loss: \d+\.\d{3} "
    r"\(data_loss: \d+\.\d{3}, reg_loss: \d+\.\d{3}\), lr: \S+"
)
VALIDATION_LINE = re.compile(r"validation, acc: \d\.\d{3}, loss: \d+\.\d{3}")


pytestmark = pytest.mark.default_backend


# ---- what is printed ----


def test_lines_are_in_the_books_format(backend, capsys):
    model = network(**PENALTY)
    model.train(X, Y, epochs=2, batch_size=16, validation_data=(X_VAL, Y_VAL))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 14
    for epoch in (1, 2):
        heading, *steps, training, validation = lines[7 * (epoch - 1) : 7 * epoch]
        assert heading == f"epoch: {epoch}"
        assert [step.split(",")[0] for step in steps] == [f"step: {k}" for k in range(4)]
        assert all(STEP_LINE.fullmatch(step) for step in steps)
        assert TRAINING_LINE.fullmatch(training)
        assert VALIDATION_LINE.fullmatch(validation)


@pytest.mark.parametrize(
    ("print_every", "steps"),
    [
        (1, [0, 1, 2, 3, 4, 5, 6, 7]),
        (2, [0, 2, 4, 6, 7]),
        (3, [0, 3, 6, 7]),
        (7, [0, 7]),
        (100, [0, 7]),
    ],
)
def test_steps_printed_are_the_multiples_and_the_last(backend_name, capsys, print_every, steps):
    use_backend(backend_name)
    network().train(X, Y, epochs=2, batch_size=7, print_every=print_every)
    lines = capsys.readouterr().out.splitlines()
    printed = [int(s.split(",")[0][6:]) for s in lines if s.startswith("step")]
    assert printed == steps * 2
    assert [s for s in lines if s.startswith("epoch")] == ["epoch: 1", "epoch: 2"]
    assert sum(s.startswith("training") for s in lines) == 2


@pytest.mark.parametrize("print_every", [None, 0, False])
def test_silent(backend_name, capsys, print_every):
    use_backend(backend_name)
    history = network().train(
        X, Y, epochs=2, batch_size=7, print_every=print_every, validation_data=(X_VAL, Y_VAL)
    )
    assert capsys.readouterr() == ("", "")
    assert len(history["val_loss"]) == 2


def test_printing_does_not_change_the_training(backend):
    loud, silent = network(), network()
    histories = [
        loud.train(X, Y, epochs=3, batch_size=16, print_every=1, validation_data=(X_VAL, Y_VAL)),
        silent.train(X, Y, epochs=3, batch_size=16, print_every=None),
    ]
    for a, b in zip(parameters(loud), parameters(silent), strict=True):
        np.testing.assert_array_equal(a, b)
    assert histories[0]["loss"] == histories[1]["loss"]


def test_evaluate_prints_one_line_and_returns_its_numbers(backend, capsys):
    model = network()
    measured = model.evaluate(X_VAL, Y_VAL)
    expected = f"validation, acc: {measured['accuracy']:.3f}, loss: {measured['loss']:.3f}\n"
    assert capsys.readouterr().out == expected
    assert model.evaluate(X_VAL, Y_VAL, verbose=False) == measured
    assert capsys.readouterr().out == ""
    assert {key: type(value) for key, value in measured.items()} == {
        "loss": float,
        "accuracy": float,
    }
    p = backend.to_numpy(model.predict(X_VAL)).astype(np.float64)
    assert measured["loss"] == pytest.approx(-np.log(p[range(23), Y_VAL]).mean(), rel=1e-5)
    assert measured["accuracy"] == np.mean(p.argmax(axis=1) == Y_VAL)


def test_only_training_is_training(backend):
    """What behaves otherwise in training, such as dropout, is told so in every forward."""

    class Told(Activation_ReLU):
        def forward(self, inputs, training=True):
            flags.append(training)
            return super().forward(inputs, training)

    flags, model = [], network(Layer_Dense(2, 3), Told(), Layer_Dense(3, 3), Activation_Softmax())
    model.train(X, Y, batch_size=25, print_every=None, validation_data=(X_VAL, Y_VAL))
    assert flags == [True, True, False]
    flags.clear()
    model.evaluate(X_VAL, Y_VAL, verbose=False)
    model.predict(X_VAL)
    model.forward(X_VAL)
    assert flags == [False, False, True]


# ---- what is returned ----


def test_history_holds_what_was_printed(backend, capsys):
    model = network(**PENALTY)
    history = model.train(X, Y, epochs=3, batch_size=16, validation_data=(X_VAL, Y_VAL))
    lines = capsys.readouterr().out.splitlines()
    assert isinstance(history, History)
    assert history.epoch == [1, 2, 3]
    assert set(history.history) == {
        *("loss", "data_loss", "reg_loss", "accuracy", "learning_rate", "val_loss", "val_accuracy")
    }
    assert all(
        len(values) == 3 and all(type(value) is float for value in values)
        for values in history.history.values()
    )
    assert [s for s in lines if s.startswith("training")] == [
        line("training", *values)
        for values in zip(
            history["accuracy"],
            history["data_loss"],
            history["reg_loss"],
            history["learning_rate"],
            strict=True,
        )
    ]
    assert [s for s in lines if s.startswith("validation")] == [
        f"validation, acc: {accuracy:.3f}, loss: {loss:.3f}"
        for accuracy, loss in zip(history["val_accuracy"], history["val_loss"], strict=True)
    ]
    sums = np.add(history["data_loss"], history["reg_loss"])
    np.testing.assert_allclose(history["loss"], sums, rtol=1e-12)
    assert "3 epochs" in repr(history)


def test_history_without_validation_has_no_validation(backend):
    history = network().train(X, Y, print_every=None)
    assert not [key for key in history.history if key.startswith("val")]


def test_the_last_validation_is_what_evaluate_measures_afterwards(backend):
    model = network()
    history = model.train(
        X, Y, epochs=3, batch_size=16, print_every=None, validation_data=(X_VAL, Y_VAL)
    )
    measured = model.evaluate(X_VAL, Y_VAL, batch_size=16, verbose=False)
    assert measured == {"loss": history["val_loss"][-1], "accuracy": history["val_accuracy"][-1]}
    assert history["val_loss"][0] != history["val_loss"][-1]


@pytest.mark.parametrize("batch_size", [1, 7, 16, 49, 50, 51, 1000])
def test_epoch_loss_weighs_samples_not_batches(backend, batch_size):
    """With a rate of 0 the network stands still: the epoch's loss is that of all data."""
    model = network(optimizer=Optimizer_SGD(0.0))
    history = model.train(X, Y, batch_size=batch_size, print_every=None)
    p = backend.to_numpy(model.predict(X)).astype(np.float64)
    assert history["data_loss"] == pytest.approx([-np.log(p[range(50), Y]).mean()], rel=1e-6)
    assert history["accuracy"] == [np.mean(p.argmax(axis=1) == Y)]


@pytest.mark.parametrize("batch_size", [1, 7, 22, 23, 24, 500])
def test_batches_do_not_change_evaluation_and_prediction(backend, batch_size):
    model = network()
    model.train(X, Y, epochs=5, print_every=None)
    whole, parts = model.predict(X_VAL), model.predict(X_VAL, batch_size=batch_size)
    assert parts.shape == (23, 3)
    expected = backend.to_numpy(whole)
    assert_close(backend.to_numpy(parts), expected, backend.dtype, ulps=16, magnitude=1)
    measured = model.evaluate(X_VAL, Y_VAL, batch_size=batch_size, verbose=False)
    assert measured == pytest.approx(model.evaluate(X_VAL, Y_VAL, verbose=False), rel=1e-5)


def test_prediction_is_kept_when_the_model_goes_on(backend):
    model = network()
    predicted = model.predict(X)
    before = backend.to_numpy(predicted).copy()
    model.train(X, Y, print_every=None)
    np.testing.assert_array_equal(backend.to_numpy(predicted), before)
