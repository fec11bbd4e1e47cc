"""`progress=True` and `ProgressBar`: what is shown, and that nothing else changes for it."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
from model_programs import X_VAL, Y_VAL, X, Y, network, parameters
from rich.console import Console

from nnfs_gpu import Callback, EarlyStopping, History, ProgressBar, use_backend
from nnfs_gpu.fused.cpu.engine import FusedSteps
from nnfs_gpu.show import display as displays
from nnfs_gpu.training import progress

QUIET = {"print_every": None}


class Seen(displays.Display):
    """Writes down what it is told; wants to see every `every`-th epoch."""

    def __init__(self, every=1):
        self.told, self.every = [], every

    def begin(self, epochs, parts, done=0):
        self.told.append(("begin", epochs, parts, done))

    def due(self):
        return True

    def due_epoch(self, epoch):
        return epoch % self.every == 0

    def step(self, epoch, parts, numbers):
        self.told.append(("step", epoch, parts, dict(numbers)))

    def epoch(self, epoch, numbers):
        self.told.append(("epoch", epoch, dict(numbers)))

    def end(self):
        self.told.append(("end",))


@pytest.fixture
def seen(monkeypatch):
    """The display of every bar."""
    made = Seen()
    monkeypatch.setattr(progress, "display_for", lambda console, lines: made)
    return made


def places(seen):
    return [one[1:3] for one in seen.told if one[0] == "step"]


def epochs(seen):
    return [one[1] for one in seen.told if one[0] == "epoch"]


# ---- what is shown ----
@pytest.mark.default_backend
def test_a_bar_begins_moves_and_ends(backend, seen, capsys):
    model = network()
    history = model.train(
        X, Y, epochs=2, batch_size=20, validation_data=(X_VAL, Y_VAL), progress=True
    )
    assert seen.told[0] == ("begin", 2, 3, 0)
    assert seen.told[-1] == ("end",)
    assert places(seen)[-1] == (2, 3)
    assert epochs(seen) == [1, 2]
    shown = [one for one in seen.told if one[0] == "epoch"]
    assert shown[-1][2] == {name: curve[-1] for name, curve in history.history.items()}
    assert "val_accuracy" in shown[0][2]
    of_the_second = [one[3] for one in seen.told if one[0] == "step" and one[1] == 2]
    assert of_the_second[0] == shown[0][2]  # within an epoch, the numbers of the last one
    assert capsys.readouterr().out == ""  # in place of the book's lines


def test_the_last_epoch_is_shown_whatever_ends_training(seen):
    use_backend("numpy")
    seen.every = 100
    stopping = EarlyStopping("loss", patience=1, min_delta=1e9)
    network().train(X, Y, epochs=50, callbacks=[stopping], progress=True)
    assert epochs(seen) == [stopping.stopped_epoch]
    assert seen.told[-1] == ("end",)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_exception_ends_the_bar(seen, error):
    class Failing(Callback):
        def on_epoch_end(self, epoch, logs):
            raise error

    use_backend("numpy")
    with pytest.raises(error):
        network().train(X, Y, epochs=3, callbacks=[Failing()], progress=True)
    assert seen.told[-1] == ("end",)


def test_training_that_is_refused_shows_nothing(seen):
    class Refusing(Callback):
        def on_train_begin(self, logs):
            raise ValueError("not today")

    use_backend("numpy")
    with pytest.raises(ValueError, match="not today"):
        network().train(X, Y, callbacks=[Refusing()], progress=True)
    assert seen.told == []


def test_a_resumed_run_begins_where_it_is(seen, tmp_path):
    use_backend("numpy")
    network().train(X, Y, epochs=3, checkpoint=tmp_path, progress=True)
    seen.told.clear()
    network().train(X, Y, epochs=5, checkpoint=tmp_path, **QUIET, callbacks=[ProgressBar()])
    assert seen.told[0] == ("begin", 5, 1, 3)
    assert epochs(seen) == [4, 5]
    seen.told.clear()
    network().train(X, Y, epochs=5, checkpoint=tmp_path, progress=True)  # there is nothing left
    assert [one[0] for one in seen.told] == ["begin", "epoch", "end"]


def test_one_bar_for_both_wishes_and_one_object_for_many_runs(seen):
    use_backend("numpy")
    bar = ProgressBar()
    for _ in range(2):
        seen.told.clear()
        network().train(X, Y, epochs=2, progress=True, callbacks=[bar])
        assert [one[0] for one in seen.told].count("begin") == 1


def test_lines_where_there_is_no_terminal(capsys):
    use_backend("numpy")
    model = network()
    model.train(X, Y, epochs=6, callbacks=[ProgressBar(lines=2)], **QUIET)
    lines = capsys.readouterr().out.splitlines()
    assert [re.match(r"epoch (\d)/6  loss \d", line)[1] for line in lines] == ["3", "6"]


def test_a_terminal_is_left_clean_by_ctrl_c(monkeypatch):
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=80)
    monkeypatch.setattr(progress, "display_for", lambda *_: displays.display_for(console))

    class Interrupting(Callback):
        def on_epoch_end(self, epoch, logs):
            raise KeyboardInterrupt

    use_backend("numpy")
    with pytest.raises(KeyboardInterrupt):
        network().train(X, Y, epochs=3, callbacks=[Interrupting()], progress=True)
    hidden, shown = file.getvalue().rfind("\x1b[?25l"), file.getvalue().rfind("\x1b[?25h")
    assert 0 <= hidden < shown


# ---- nothing else changes ----
def counted(name, calls):
    """The engine's method, which writes down its name."""
    real = getattr(FusedSteps, name)

    def method(self, *given, **more):
        calls.append(name)
        return real(self, *given, **more)

    return method


@pytest.mark.parametrize(
    "arguments",
    [
        {"epochs": 2345},
        {"epochs": 7, "batch_size": 3},
        {"epochs": 7, "batch_size": 3, "shuffle": True},
        {"epochs": 7, "batch_size": 3, "engine": "layers"},
    ],
)
def test_the_same_bits_in_the_same_calls(seen, monkeypatch, arguments):
    use_backend("numba")
    seen.every = 1000
    calls = []
    for name in ("run", "sweep"):
        monkeypatch.setattr(FusedSteps, name, counted(name, calls))

    def trained(**more):
        calls.clear()
        np.random.seed(5)
        model = network()
        history = model.train(X, Y, **arguments, **more)
        return history.epoch, history.history, parameters(model), list(calls)

    expected, found = trained(print_every=None), trained(progress=True)
    assert found[:2] == expected[:2]
    for a, b in zip(found[2], expected[2], strict=True):
        np.testing.assert_array_equal(a, b)
    if "batch_size" not in arguments:
        assert found[3] == expected[3] == ["run"] * 3  # a bar does not cut them
    assert set(found[3]) == set(expected[3])
    assert epochs(seen)[-1] == arguments["epochs"]


def test_numbers_are_fetched_for_epochs_that_are_shown(seen, monkeypatch):
    use_backend("numpy")
    seen.every, fetched, append = 4, [], History.append

    def noted(self, epoch, logs):
        fetched.append((epoch, seen.told[-1][1]))
        append(self, epoch, logs)

    monkeypatch.setattr(History, "append", noted)
    network().train(X, Y, epochs=10, batch_size=20, progress=True)
    # (an epoch, which epoch was shown to be under way when its numbers were fetched)
    assert fetched == [(epoch, min(-(-epoch // 4) * 4, 10)) for epoch in range(1, 11)]


# ---- bad input ----
@pytest.mark.parametrize("given", ["yes", 1, None])
def test_progress_is_a_bool(given):
    use_backend("numpy")
    with pytest.raises(TypeError, match=r"progress: got .*, expected True or False"):
        network().train(X, Y, progress=given)


@pytest.mark.parametrize("given", [0, -1, 2.5, "all"])
def test_lines_are_a_whole_number(given):
    with pytest.raises((TypeError, ValueError), match="lines"):
        ProgressBar(lines=given)
