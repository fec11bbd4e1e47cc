"""EarlyStopping: when it ends training, what it puts back, and that a checkpoint knows it."""

import numpy as np
import pytest
from model_programs import X_VAL, Y_VAL, X, Y, network, parameters

from nnfs_gpu import Callback, use_backend
from nnfs_gpu.callbacks import EarlyStopping

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
