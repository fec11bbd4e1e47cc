"""EarlyStopping: when it ends training, what it puts back, and that a checkpoint knows it."""

import contextlib
import os

import numpy as np
import pytest
from model_programs import X_VAL, Y_VAL, X, Y, network, parameters

from nnfs_gpu import Blocks, Callback, EarlyStopping, Layer_Dense, use_backend

pytestmark = pytest.mark.default_backend


class Script(Callback):
    """Puts numbers of its own into the logs, before those who come after it."""

    def __init__(self, name, values):
        self.name, self.values = name, values

    def on_epoch_end(self, epoch, logs):
        logs[self.name] = self.values[epoch - 1]


NAN = float("nan")


@pytest.mark.parametrize(
    ("monitor", "values", "patience", "delta", "best_epoch", "stopped"),
    [
        ("loss", [5, 4, 3, 2, 1], 1, 0, 5, None),
        ("loss", [5, 4, 4, 3, 3], 1, 0, 2, 3),
        ("loss", [5, 4, 4, 4, 3], 2, 0, 2, 4),
        ("loss", [5, 4, 4, 4, 3], 3, 0, 5, None),
        ("loss", [5, 4.5, 4.2, 3.9, 3.8], 3, 1, 4, None),
        ("loss", [5, 4.5, 4.2, 4.1, 3.8], 2, 1, 1, 3),
        ("loss", [NAN, 6, 4, NAN, NAN], 2, 0, 3, 5),
        ("loss", [NAN, 9, 4, 3, 3], 2, 0, 4, None),
        ("loss", [NAN, NAN, 4, 3, 3], 1, 0, None, 1),
        ("accuracy", [0.1, 0.2, 0.2, 0.1, 0.1], 2, 0, 2, 4),
        ("accuracy", [0.1, 0.2, 0.3, 0.4, 0.5], 1, 0, 5, None),
        ("val_accuracy", [0.5, 0.4, 0.6, 0.5, 0.5], None, 0, 3, None),
        ("val_loss", [1, 2, 3, 4, 5], 4, 0, 1, 5),
    ],
)
def test_early_stopping(monitor, values, patience, delta, best_epoch, stopped):
    use_backend("numpy")
    model, early = network(), EarlyStopping(monitor, patience, delta, restore_best=True)
    states, kept = [], Callback()
    kept.on_epoch_end = lambda epoch, logs: states.append(parameters(model))
    history = model.train(
        X,
        Y,
        epochs=5,
        print_every=None,
        validation_data=(X_VAL, Y_VAL),
        callbacks=[Script(monitor, values), kept, early],
    )
    assert (early.best_epoch, early.stopped_epoch) == (best_epoch, stopped)
    assert history.epoch == list(range(1, (stopped or 5) + 1))
    assert best_epoch is None or early.best == values[best_epoch - 1]
    for a, b in zip(parameters(model), states[(best_epoch or stopped) - 1], strict=True):
        np.testing.assert_array_equal(a, b)


def test_without_restoring_the_last_parameters_stay(backend):
    model, plain = network(), network()
    early = EarlyStopping("loss", 1, min_delta=100.0)
    assert model.train(X, Y, epochs=9, print_every=None, callbacks=[early]).epoch == [1, 2]
    plain.train(X, Y, epochs=2, print_every=None)
    for a, b in zip(parameters(model), parameters(plain), strict=True):
        np.testing.assert_array_equal(a, b)
    early.patience = 3
    assert len(model.train(X, Y, epochs=9, print_every=None, callbacks=[early]).epoch) == 4


def test_early_stopping_of_what_is_not_measured(backend_name):
    use_backend(backend_name)
    model = network()
    with pytest.raises(ValueError, match=r"monitors 'val_loss', but an epoch gives loss, .*valida"):
        model.train(X, Y, callbacks=[EarlyStopping()])
    assert model.optimizer.iterations == 0


@pytest.mark.parametrize("arguments", [{"patience": 0}, {"patience": 1.5}, {"min_delta": -1}])
def test_bad_arguments_of_early_stopping(arguments):
    with pytest.raises((TypeError, ValueError), match=f"{next(iter(arguments))}: got"):
        EarlyStopping("loss", **arguments)


@pytest.mark.parametrize("fall", [3, 6, 7])
def test_early_stopping_survives_a_resume(backend, tmp_path, fall):
    """Counters and best parameters are in the checkpoint; a stopped run stays stopped."""

    def run(**arguments):
        model, early = network(), EarlyStopping("loss", 3, 1.0, restore_best=True)
        values = [9, 7, 7.5, 5, 4.5, 4.9, 4.8, 1]
        callbacks = [Script("loss", values), early, *arguments.pop("more", [])]
        given = {"epochs": 8, "batch_size": 25, "print_every": None, "callbacks": callbacks}
        history = model.train(X, Y, **given | arguments)
        found = (history.epoch, early.best, early.best_epoch, early.stopped_epoch, early.wait)
        return found, parameters(model)

    class Fall(Callback):
        def on_epoch_end(self, epoch, logs):
            if epoch == fall:
                raise KeyboardInterrupt

    found, arrays = run()
    assert found == ([1, 2, 3, 4, 5, 6, 7], 5, 4, 7, 3)
    with pytest.raises(KeyboardInterrupt):
        run(checkpoint=tmp_path, more=[Fall()])
    for _ in range(2):  # the second finds a finished run
        again, others = run(checkpoint=tmp_path)
        assert again == found
        for a, b in zip(others, arrays, strict=True):
            np.testing.assert_array_equal(a, b)


# ---- ended by an exception ----
class Raise(Callback):
    """Raises in one of its methods; keeps the parameters after every epoch."""

    def __init__(self, where, error, when=3):
        self.where, self.error, self.when, self.seen = where, error, when, []

    def on_train_batch_end(self, batch, logs):
        if self.where == "step" and logs["epoch"] == self.when and batch == 1:
            raise self.error

    def on_epoch_end(self, epoch, logs):
        self.seen.append(parameters(self.model))
        logs["loss"] = [5.0, 1.0, 4.0, 6.0][epoch - 1]  # the second is the best
        if self.where == "epoch" and epoch == self.when:
            raise self.error

    def on_train_end(self, logs):
        if self.where == "end":
            raise self.error

    def on_exception(self, error):
        if self.where == "exception":
            raise self.error


def assert_best(model, seen):
    for a, b in zip(parameters(model), seen[1], strict=True):
        np.testing.assert_array_equal(a, b)


GIVEN = {"epochs": 4, "batch_size": 25, "print_every": None}


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, SystemExit])
@pytest.mark.parametrize("where", ["step", "epoch", "end"])
@pytest.mark.parametrize("first", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("checkpoint", [False, True])
def test_the_best_comes_back_after_an_exception(tmp_path, error, where, first, checkpoint):
    """Wherever it is raised, and whichever callback hears of it first."""
    use_backend("numpy")
    model, early, other = network(), EarlyStopping("loss", restore_best=True), Raise(where, error())
    script = Raise("", None)  # sees the epochs before either
    order = [script, other, early] if first else [script, early, other]
    folder = {"checkpoint": tmp_path, "checkpoint_every": 1} if checkpoint else {}
    with pytest.raises(error):
        model.train(X, Y, callbacks=order, **GIVEN, **folder)
    assert early.best_epoch == 2
    assert_best(model, script.seen)


def test_the_best_comes_back_when_the_disk_is_full(tmp_path, monkeypatch):
    use_backend("numpy")
    written, replace = [], os.replace

    def fourth_fails(*arguments):
        written.append(arguments)
        if len(written) == 4:  # the first one, and three after epochs
            raise OSError("broken")
        replace(*arguments)

    monkeypatch.setattr(os, "replace", fourth_fails)
    model, early, script = network(), EarlyStopping("loss", restore_best=True), Raise("", None)
    with pytest.raises(OSError, match="broken"):
        model.train(X, Y, callbacks=[script, early], checkpoint=tmp_path, **GIVEN)
    assert_best(model, script.seen)


def test_the_best_comes_back_when_the_data_fail():
    use_backend("numpy")
    model, early, script = network(), EarlyStopping("loss", restore_best=True), Raise("", None)
    held = iter([(X_VAL, Y_VAL)] * 3)
    validation = Blocks(lambda: broken(held), len(X_VAL))
    with pytest.raises(OSError, match="broken"):
        model.train(X, Y, callbacks=[script, early], validation_data=validation, **GIVEN)
    assert len(script.seen) == 3
    assert_best(model, script.seen)


def broken(held):
    """Three passes, and then the disk is gone."""
    found = next(held, None)
    if found is None:
        raise OSError("broken")
    yield found


def test_a_callback_that_fails_once_more_does_not_keep_the_others_from_it():
    use_backend("numpy")
    model, early = network(), EarlyStopping("loss", restore_best=True)
    script, other = Raise("epoch", KeyboardInterrupt()), Raise("exception", ValueError("again"))
    with pytest.raises(ValueError, match="again") as caught:
        model.train(X, Y, callbacks=[script, other, early], **GIVEN)
    assert isinstance(caught.value.__context__, KeyboardInterrupt)
    assert_best(model, script.seen)


def test_ctrl_c_while_the_best_is_put_back(monkeypatch):
    """Once more Ctrl-C, at every place of it: the network is the best one, whole."""
    use_backend("numpy")
    for place in range(4):
        model, early, script = network(), EarlyStopping("loss", restore_best=True), Raise("", None)
        other = Raise("epoch", KeyboardInterrupt())
        calls, real = iter(range(9)), Layer_Dense.set_parameters

        def interrupted(layer, *values, calls=calls, real=real, place=place):
            number = next(calls)
            if number == place // 2 and place % 2 == 0:
                raise KeyboardInterrupt
            real(layer, *values)
            if number == place // 2 and place % 2 == 1:
                raise KeyboardInterrupt

        monkeypatch.setattr(Layer_Dense, "set_parameters", interrupted)
        with pytest.raises(KeyboardInterrupt):
            model.train(X, Y, callbacks=[script, early, other], **GIVEN)
        monkeypatch.undo()
        assert_best(model, script.seen)


def test_an_interrupted_run_goes_on_from_its_last_step_not_from_its_best(tmp_path):
    """What was put back into the model is not in the checkpoint."""
    use_backend("numpy")
    whole, resumed = network(), network()
    script, early = Raise("", None), EarlyStopping("loss", None, restore_best=True)
    expected = whole.train(X, Y, callbacks=[script, early], **GIVEN)
    for error in (KeyboardInterrupt, None):
        given = [Raise("epoch" if error else "", error), EarlyStopping("loss", None, 0.0, True)]
        with pytest.raises(error) if error else contextlib.nullcontext():
            history = resumed.train(X, Y, callbacks=given, checkpoint=tmp_path, **GIVEN)
    assert history.history == expected.history
    assert (resumed.optimizer.iterations, whole.optimizer.iterations) == (8, 8)
    for a, b in zip(parameters(resumed), parameters(whole), strict=True):
        np.testing.assert_array_equal(a, b)


def test_training_that_cannot_begin_tells_no_callback():
    use_backend("numpy")
    model, other = network(), Raise("exception", ValueError("told"))
    with pytest.raises(ValueError, match="monitors 'nothing'"):
        model.train(X, Y, callbacks=[other, EarlyStopping("nothing", restore_best=True)], **GIVEN)
