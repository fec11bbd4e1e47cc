"""What is shown while a network trains: bars, lines, and what is said of compiling."""

from __future__ import annotations

import io
import sys
import types

import pytest
from rich.console import Console

from nnfs_gpu.backend import compiling
from nnfs_gpu.show import display as displays
from nnfs_gpu.show.display import LineDisplay, TerminalDisplay, display_for, in_words

NUMBERS = {"loss": 0.5, "accuracy": 0.75, "val_loss": 0.25, "val_accuracy": 0.875}
SPEED = {"samples_per_second": 1.2e6}


class Clock:
    """time.perf_counter that moves when the test says so."""

    now = 100.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    """For displays and for compiling."""
    made = Clock()
    monkeypatch.setattr(displays, "time", made)
    monkeypatch.setattr(compiling, "time", made)
    monkeypatch.setattr(compiling, "_listeners", [])
    return made


def compile_for(clock, seconds):
    with compiling.compiling():
        with compiling.compiling():
            clock.now += seconds / 2
        clock.now += seconds / 2


def lines(most=None):
    file = io.StringIO()
    return LineDisplay(Console(file=file, width=20), most), file


def bar(width=100):
    file = io.StringIO()
    return TerminalDisplay(
        Console(file=file, width=width, force_terminal=True, highlight=False)
    ), file


# ---- lines ----
def test_a_line_an_epoch():
    display, file = lines()
    display.begin(10, 5)
    assert not display.due()
    assert display.due_epoch(1)
    display.epoch(1, NUMBERS | SPEED)
    display.epoch(10, {"loss": float("nan")})
    display.end()
    assert file.getvalue().splitlines() == [
        "epoch  1/10  loss 0.5000  accuracy 0.7500  val_loss 0.2500  val_accuracy 0.8750  "
        "1,200,000 samples/s",
        "epoch 10/10  loss nan",
    ]


@pytest.mark.parametrize(
    ("epochs", "done", "most", "shown"),
    [
        (100, 0, 4, [25, 50, 75, 100]),
        (10, 0, 20, list(range(1, 11))),
        (10, 0, 3, [4, 8]),
        (100, 60, 4, [75, 100]),
        (1, 0, 1, [1]),
    ],
)
def test_few_lines_of_many_epochs(epochs, done, most, shown):
    display, _ = lines(most)
    display.begin(epochs, 1, done)
    found = []
    for epoch in range(done + 1, epochs + 1):
        if display.due_epoch(epoch):
            found.append(epoch)
            display.epoch(epoch, {})
    assert found == shown


# ---- bars ----
def test_a_bar_is_drawn_now_and_then(clock):
    display, file = bar()
    display.begin(3, 10, 1)
    assert "2/3" in file.getvalue()
    assert display.due()  # the first numbers at once
    display.step(2, 5, {"loss": 1.5})
    assert "loss 1.5000" in file.getvalue()
    assert display.progress.tasks[0].completed == 15
    assert not display.due()
    assert display.due_epoch(2)  # a step that was shown does not hide the epoch's numbers
    clock.now += displays.REFRESH
    assert display.due()
    display.epoch(2, NUMBERS)
    assert "(val 0.8750)" in file.getvalue()
    assert not display.due_epoch(3)
    display.end()
    assert file.getvalue().rstrip().endswith("\x1b[?25h")  # the cursor is there again
    length = len(file.getvalue())
    display.end()
    assert len(file.getvalue()) == length


def test_a_display_that_never_began_ends():
    for made in (bar()[0], lines()[0], displays.Display()):
        made.end()


def test_numbers_fit_into_the_room():
    everything = NUMBERS | SPEED
    text = "loss 0.5000 (val 0.2500) accuracy 0.7500 (val 0.8750) 1.2M samples/s"
    assert in_words(everything, 100) == text
    assert in_words(everything, len(text) - 1) == text.removesuffix(" 1.2M samples/s")
    assert in_words(everything, 45) == "loss 0.5000 accuracy 0.7500 (val 0.8750)"
    assert in_words(everything, 30) == "loss 0.5000 accuracy 0.7500"
    assert in_words(everything, 1) == "loss 0.5000"
    assert in_words({}, 100) == ""


# ---- notebooks ----
def test_a_notebook_gets_one_output_that_is_drawn_again(monkeypatch, clock):
    shown = []

    class Handle:
        def update(self, content):
            shown.append(content.data)

    def display(content, *, display_id):
        assert display_id is True
        shown.append(content.data)
        return Handle()

    module = types.ModuleType("IPython.display")
    module.HTML = lambda data: types.SimpleNamespace(data=data)
    module.display = display
    monkeypatch.setitem(sys.modules, "IPython", types.ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    console = Console(force_jupyter=True, file=io.StringIO())
    made = display_for(console)
    made.begin(4, 2)
    compile_for(clock, 3.0)
    assert "compiling kernels" in shown[-1]
    made.epoch(2, NUMBERS)
    made.end()
    assert '<progress value="4" max="8"' in shown[-1]
    assert "<div>compiled kernels for 3.0 s" in shown[-1]
    assert "epoch 2/4&ensp;loss 0.5000 (val 0.2500)" in shown[-1]
    assert "color" not in shown[-1]


def test_which_display_for_which_console():
    assert type(display_for(Console(quiet=True))) is displays.Display
    assert type(display_for(Console(file=io.StringIO()))) is LineDisplay
    assert type(display_for(Console(force_terminal=True))) is TerminalDisplay


# ---- compiling ----
def test_compiling_is_said_with_its_time_and_once(clock):
    display, file = bar()
    display.begin(2, 1)
    compile_for(clock, 1.5)
    assert "compiling kernels, the first time on this machine" in file.getvalue()
    compile_for(clock, 2.0)
    display.epoch(1, NUMBERS)
    assert file.getvalue().count("compiled kernels for 3.5 s") == 1
    compile_for(clock, displays.NOTABLE / 2)
    display.epoch(2, NUMBERS)
    display.end()
    assert file.getvalue().count("compiled kernels for") == 1
    before = file.getvalue()
    compile_for(clock, 9.0)  # after the end nobody listens
    assert file.getvalue() == before


def test_without_a_display_it_is_logged_once_and_only_where_it_is_long(clock, caplog, monkeypatch):
    monkeypatch.setattr(compiling, "_seconds", 0.0)
    monkeypatch.setattr(compiling, "_said", False)
    with caplog.at_level("INFO", logger="nnfs_gpu"):
        compile_for(clock, compiling.LONG)
        assert caplog.messages == []
        compile_for(clock, 0.5)
        compile_for(clock, 10.0)
    (message,) = caplog.messages
    assert message.startswith("kernels have been compiled for 2.5 s: the first time")
    assert compiling.seconds() == 12.5


def test_with_a_display_nothing_is_logged(clock, caplog, monkeypatch):
    monkeypatch.setattr(compiling, "_seconds", 0.0)
    monkeypatch.setattr(compiling, "_said", False)
    display, _ = lines()
    with caplog.at_level("INFO", logger="nnfs_gpu"):
        display.begin(1, 1)
        compile_for(clock, 9.0)
        display.end()
    assert caplog.messages == []


def test_a_compilation_that_fails_ends_all_the_same(clock):
    before = compiling.seconds()

    def fail():
        with compiling.compiling():
            clock.now += 1.0
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    compile_for(clock, 1.0)
    assert compiling.seconds() - before == 2.0
