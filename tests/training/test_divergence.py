"""Training that goes to NaN or infinity is warned of, once, with the epoch and what to do."""

import warnings

import numpy as np
import pytest
from remedies_followed import network, regression

import nnfs_gpu as ng
from nnfs_gpu import Blocks, Callback, EarlyStopping

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 2))
Y = np.arange(60) % 3
QUIET = {"print_every": None}
WAYS = {"numpy": ("numpy", "layers"), "layers": ("numba", "layers"), "fused": ("numba", "fused")}


@pytest.fixture(params=WAYS)
def engine(request):
    """The name of an engine, on a backend that has it."""
    backend, name = WAYS[request.param]
    ng.use_backend(backend)
    return name


def with_bad(value, row=7):
    bad = X.copy()
    bad[row, 0] = value
    return bad


def fast(rate, make=network):
    """A model whose steps are that large."""
    np.random.seed(0)
    model = make()
    model.set(optimizer=ng.Optimizer_SGD(learning_rate=rate))
    model.finalize()
    return model


def told(model, *data, **arguments):
    """What is warned of while `model` trains, and its history."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        history = model.train(*data, **QUIET | arguments)
    assert all(one.filename == __file__ for one in found), "they point at the line that trains"
    return [str(one.message) for one in found], history


def sources(x, tmp_path):
    """The same data as arrays, memory maps and blocks, with and without small batches."""
    np.save(tmp_path / "X.npy", x)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    yield (x, Y), {}
    yield (x, Y), {"batch_size": 16}
    yield (x, Y), {"shuffle": True}
    yield (mapped, Y), {"batch_size": 16}
    yield (Blocks([(x[:50], Y[:50]), (x[50:], Y[50:])]),), {}


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_bad_numbers_in_the_data(engine, tmp_path, value):
    for data, arguments in sources(with_bad(value), tmp_path):
        messages, history = told(fast(0.1), *data, epochs=4, engine=engine, **arguments)
        assert len(messages) == 1, messages
        first = 1 + int(np.argmin(np.isfinite(history["loss"])))
        assert messages[0].startswith(f"train: loss of epoch {first} is nan: ")
        assert "check_finite=True" in messages[0]
        assert first == 1 or value == -np.inf  # which a ReLU may hide, but not from the gradient


def test_a_rate_that_explodes(engine):
    for arguments in ({}, {"batch_size": 16}, {"callbacks": [Callback()]}):
        for make, y in ((network, Y), (regression, X[:, :1])):
            messages, history = told(fast(1e30, make), X, y, epochs=5, engine=engine, **arguments)
            first = history.epoch[int(np.argmin(np.isfinite(history["loss"])))]
            assert len(messages) == 1, messages
            assert messages[0].startswith(f"train: loss of epoch {first} is ")
            assert "learning_rate" in messages[0]


def test_many_epochs_in_one_call(engine):
    """The epoch is named although nobody looked when it ended."""
    model = fast(1e5, regression)
    messages, history = told(model, X, X[:, :1], epochs=2500, engine=engine)
    first = history.epoch[int(np.argmin(np.isfinite(history["loss"])))]
    assert first > 1
    assert len(messages) == 1
    assert messages[0].startswith(f"train: loss of epoch {first} is ")


def test_the_last_step_may_be_the_one_too_large(engine):
    """Every loss is finite, the model is not."""
    for arguments in ({}, {"callbacks": [EarlyStopping("loss")]}):
        messages, history = told(fast(1e38), X * 1e5, Y, engine=engine, **arguments)
        assert np.isfinite(history["loss"]).all()
        assert len(messages) == 1
        assert messages[0].startswith("train: weights or biases after epoch 1 are NaN or infinite")
        assert "check_finite" in messages[0]


def test_bad_validation_data(engine):
    stop = EarlyStopping("val_loss", patience=2, restore_best=True)
    messages, history = told(
        fast(0.1), X, Y, epochs=9, validation_data=(with_bad(np.nan), Y), callbacks=[stop]
    )
    assert len(messages) == 1
    assert messages[0].startswith("train: val_loss of epoch 1 is nan")
    assert np.isfinite(history["loss"]).all()
    assert (stop.stopped_epoch, stop.best_epoch) == (2, None)


@pytest.mark.parametrize("monitor", ["loss", "val_loss", "accuracy"])
def test_early_stopping_restores_what_is_finite(engine, monitor):
    stop = EarlyStopping(monitor, patience=3, restore_best=True)
    model = fast(1e5, regression)
    messages, history = told(
        model, X, X[:, :1], epochs=90, validation_data=(X, X[:, :1]), callbacks=[stop]
    )
    assert len(messages) == 1
    assert stop.stopped_epoch == len(history.epoch) < 90
    assert np.isfinite(stop.best)
    if monitor != "accuracy":
        assert all(np.isfinite(w).all() for pair in model.get_parameters() for w in pair)


def test_each_call_warns_once_and_a_good_one_never(engine):
    model = fast(0.1)
    assert told(model, X, Y, epochs=3, engine=engine)[0] == []
    for _ in range(2):
        assert len(told(model, with_bad(np.nan), Y, epochs=3, engine=engine)[0]) == 1


def test_check_finite_finds_it_before_the_first_step(engine):
    model = fast(0.1)
    with pytest.raises(ValueError, match=r"NaN or infinity .* first at index \(7, 0\)"):
        model.train(with_bad(np.nan), Y, check_finite=True, engine=engine, **QUIET)
    assert told(model, X, Y, engine=engine)[0] == []


def test_an_error_of_a_callback_comes_instead():
    ng.use_backend("numpy")

    class Strict(Callback):
        def on_epoch_end(self, epoch, logs):
            if not np.isfinite(logs["loss"]):
                raise ArithmeticError(f"epoch {epoch}")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ArithmeticError, match="epoch 1"):
            fast(0.1).train(with_bad(np.nan), Y, epochs=3, callbacks=[Strict()], **QUIET)


def test_numpy_raises_where_it_is_asked_to():
    """`numpy.errstate` of the caller counts: to find the operation that overflows."""
    ng.use_backend("numpy")
    with np.errstate(over="raise", invalid="raise"), pytest.raises(FloatingPointError):
        fast(1e30).train(X, Y, epochs=9, **QUIET)
    with np.errstate(all="ignore"):  # NumPy's own warnings: not this one
        assert len(told(fast(1e30), X, Y, epochs=9)[0]) == 1


def test_estimators_raise_and_do_not_warn():
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    for scale, arguments, message in (
        (1, {"max_iter": 5}, r"diverged: the loss of epoch \d is not finite"),
        (1e9, {"max_iter": 1, "batch_size": None, "alpha": 0}, "diverged: a weight after epoch 1"),
    ):
        classifier = ng.NNFSClassifier(8, solver="sgd", learning_rate_init=1e38, **arguments)
        with pytest.raises(ValueError, match=message):
            classifier.fit(X * scale, Y)
    messages, _ = told(fast(0.1), with_bad(np.nan), Y)  # and what comes after it is told again
    assert len(messages) == 1


# ---- later passes ----
def changed(labels, at):
    """Blocks whose labels are `labels` from pass `at` on."""
    passes = iter(range(100))

    def made():
        y = labels if next(passes) >= at else Y
        return iter([(X[:25], y[:25]), (X[25:], y[25:])])

    return Blocks(made, len(X))


BAD_LABELS = {
    "too large": (np.where(Y, Y, 3), "labels: got values from 1 to 3, expected 0 to 2"),
    "far too large": (np.where(Y, Y, 10**9), "labels: got values from 1 to 1000000000"),
    "negative": (Y - 1, "labels: got values from -1 to 1"),
    "wraps in int32": (Y + 2**32, "labels: got values from 4294967296"),
    "NaN": (np.where(Y, np.nan, Y), "labels: got dtype float64"),
    "fewer": (Y[:-1], "got 34 labels for 35"),
}


@pytest.mark.parametrize("name", BAD_LABELS)
def test_labels_that_go_bad_in_a_later_pass(engine, name):
    labels, message = BAD_LABELS[name]
    expected = fast(0.1)
    expected.train(changed(Y, 9), epochs=2, engine=engine, **QUIET)
    model = fast(0.1)
    with pytest.raises((TypeError, ValueError), match=message):
        model.train(changed(labels, 2), epochs=4, engine=engine, **QUIET)
    assert model.optimizer.iterations == 2
    for a, b in zip(model.get_parameters(), expected.get_parameters(), strict=True):
        np.testing.assert_array_equal(a[0], b[0])
    with pytest.raises((TypeError, ValueError), match=f"validation_data, .*{message}"):
        model.train(X, Y, epochs=4, validation_data=changed(labels, 2), engine=engine, **QUIET)


@pytest.mark.parametrize("make", [network, regression])
def test_rows_and_numbers_that_go_bad_in_a_later_pass(engine, make):
    good = np.eye(3)[Y] if make is network else X[:, :1]
    for value in (np.nan, np.inf, 7.0 if make is network else np.nan):
        bad = good.copy()
        bad[40, 0] = value
        before = 2 if make is network else 3  # the accuracy of numbers wants to see them first
        passes = iter([good] * before + [bad])

        def made(passes=passes):
            y = next(passes)
            return iter([(X[:25], y[:25]), (X[25:], y[25:])])

        model = fast(0.1, make)
        with pytest.raises(ValueError, match=r"rows 25 to 59: (labels: row 15|targets: got NaN)"):
            model.train(Blocks(made, 60), epochs=4, engine=engine, **QUIET)
        assert model.optimizer.iterations == 2


class Change(Callback):
    """Writes into files while they are trained on."""

    def __init__(self, path, value):
        self.path, self.value = path, value

    def on_epoch_end(self, epoch, logs):
        if epoch == 2:
            np.load(self.path, mmap_mode="r+")[33] = self.value


def test_files_that_change_while_they_are_read(engine, tmp_path):
    for batch_size in (None, 20):
        np.save(tmp_path / "X.npy", X)
        np.save(tmp_path / "y.npy", Y)
        x, y = (np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in "Xy")
        model = fast(0.1)
        arguments = {"epochs": 9, "batch_size": batch_size, "engine": engine} | QUIET
        change = [Change(tmp_path / "y.npy", 99)]
        with pytest.raises(ValueError, match=r"train, rows .*: labels: got values from 0 to 99"):
            model.train(x, y, callbacks=change, **arguments)
        assert all(np.isfinite(w).all() for pair in model.get_parameters() for w in pair)
        np.save(tmp_path / "y.npy", Y)
        y = np.load(tmp_path / "y.npy", mmap_mode="r")
        change = [Change(tmp_path / "X.npy", np.nan)]
        with pytest.raises(ValueError, match=r"train, rows .*: got NaN or infinity in 2 place"):
            fast(0.1).train(x, y, callbacks=change, check_finite=True, **arguments)
