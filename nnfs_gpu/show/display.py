"""What is shown while a network trains: a bar on a terminal or in a notebook, else plain lines.

`training/progress.py` (for `Model.train`) and `cli/progress.py` (for `nnfs-gpu train`) tell a
display how far training is, and ask it first whether it would show that. No thread draws: a display
is redrawn when it is told something.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any

from ..backend import compiling

if TYPE_CHECKING:
    from rich.console import Console

REFRESH = 0.2  # seconds between two pictures of a bar, and between two fetches of its numbers
NOTABLE = 0.5  # seconds of compiling that are worth a line
BESIDE = 28  # characters of a line for what is not numbers: a short bar, the time
Numbers = dict[str, float]


class Display:
    """Shows a training run to people. This one shows nothing: that of a rank beside the first.

    An epoch has `parts`, of which so many are done: steps, or samples.
    """

    def begin(self, epochs: int, parts: int, done: int = 0) -> None:
        """Training begins, or goes on after `done` epochs."""

    def due(self) -> bool:
        """Whether `step` would show anything now. Costs next to nothing."""
        return False

    def due_epoch(self, epoch: int) -> bool:
        """Whether `epoch` would show anything now. Costs next to nothing."""
        return False

    def step(self, epoch: int, parts: int, numbers: Numbers) -> None:
        """So many parts of `epoch` are done, with these numbers, which may be those of before."""

    def epoch(self, epoch: int, numbers: Numbers) -> None:
        """An epoch is done: its logs and, where it is known, samples_per_second."""

    def end(self) -> None:
        """Training is over, well or not. May be called again."""


class _Shown(Display):
    """One that people see. It says how long kernels were compiled."""

    _stop: Callable[[], None] | None = None  # it listens

    def begin(self, epochs: int, parts: int, done: int = 0) -> None:
        self.epochs, self.parts = epochs, parts
        self._compiled = compiling.seconds()
        self._start(done)
        self._stop = compiling.listen(self._compiling)

    def _start(self, done: int) -> None:
        """Appear."""

    def _compiling(self) -> None:
        """A kernel is about to be compiled."""

    def _say(self, line: str) -> None:
        """Show a line that stays."""
        raise NotImplementedError

    def epoch(self, epoch: int, numbers: Numbers) -> None:
        self._tell_of_compiling()

    def end(self) -> None:
        if self._stop is not None:
            self._stop()
            self._stop = None
            self._tell_of_compiling()
            self._finish()

    def _finish(self) -> None:
        """Stay as it is."""

    def _tell_of_compiling(self) -> None:
        took = compiling.seconds() - self._compiled
        if took >= NOTABLE:
            self._compiled += took
            self._say(
                f"compiled kernels for {took:.1f} s, the first time that this machine needs them; "
                "later runs load them"
            )

    def _place(self, epoch: int) -> str:
        """Such as " 7/100"."""
        return f"{epoch:{len(str(self.epochs))}}/{self.epochs}"


class LineDisplay(_Shown):
    """Lines for files and pipes: one for each epoch, or `most` in all, and the last."""

    def __init__(self, console: Console, most: int | None = None):
        self.console, self.most = console, most

    def _start(self, done: int) -> None:
        self._apart = 1 if self.most is None else -(-self.epochs // self.most)
        self._next = (done // self._apart + 1) * self._apart

    def due_epoch(self, epoch: int) -> bool:
        return epoch >= self._next

    def epoch(self, epoch: int, numbers: Numbers) -> None:
        super().epoch(epoch, numbers)
        self._next = (epoch // self._apart + 1) * self._apart
        words = [
            f"{name} {numbers[name]:.4f}"
            for name in ("loss", "accuracy", "val_loss", "val_accuracy")
            if name in numbers
        ]
        if "samples_per_second" in numbers:
            words.append(f"{numbers['samples_per_second']:,.0f} samples/s")
        self._say("  ".join([f"epoch {self._place(epoch)}", *words]))

    def _say(self, line: str) -> None:
        self.console.print(line, soft_wrap=True, markup=False)


class _Bar(_Shown):
    """A bar that moves within an epoch."""

    def _start(self, done: int) -> None:
        self._at = done * self.parts
        self._appear()
        self._show(self._at, min(done + 1, self.epochs), "first step")
        self._next = self._next_epoch = 0.0  # the first numbers at once

    def due(self) -> bool:
        return time.perf_counter() >= self._next

    def due_epoch(self, epoch: int) -> bool:
        return time.perf_counter() >= self._next_epoch

    def step(self, epoch: int, parts: int, numbers: Numbers) -> None:
        self._show((epoch - 1) * self.parts + parts, epoch, in_words(numbers, self._room()))

    def epoch(self, epoch: int, numbers: Numbers) -> None:
        super().epoch(epoch, numbers)
        self.step(epoch, self.parts, numbers)
        self._next_epoch = self._next

    def _compiling(self) -> None:
        text = "compiling kernels, the first time on this machine"
        self._show(self._at, min(self._at // self.parts + 1, self.epochs), text)

    def _show(self, at: int, epoch: int, text: str) -> None:
        self._at = at
        self._draw(at, self._place(epoch), text)
        self._next = time.perf_counter() + REFRESH

    def _room(self) -> int:
        """Characters that there are for the numbers."""
        return 200

    def _appear(self) -> None:
        """Of no length."""

    def _draw(self, at: int, place: str, text: str) -> None:
        """`at` parts long."""


class TerminalDisplay(_Bar):
    """A bar of rich. Lines that others print meanwhile stand above it."""

    def __init__(self, console: Console):
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self.progress = Progress(
            TextColumn("epoch {task.fields[place]}"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[text]}"),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
            console=console,
            auto_refresh=False,
            expand=True,
        )

    def _room(self) -> int:
        return self.progress.console.width - len(self._place(0)) - BESIDE

    def _appear(self) -> None:
        total = self.epochs * self.parts
        self.task = self.progress.add_task("", total=total, completed=self._at, place="", text="")
        self.progress.start()

    def _draw(self, at: int, place: str, text: str) -> None:
        self.progress.update(self.task, completed=at, place=place, text=text)
        self.progress.refresh()

    def _say(self, line: str) -> None:
        self.progress.console.print(line, markup=False)

    def _finish(self) -> None:
        self.progress.stop()


class NotebookDisplay(_Bar):
    """A bar of HTML in the output of a cell, drawn again in its place: without widgets, so that a
    notebook that is read elsewhere shows it, too.
    """

    def _appear(self) -> None:
        from IPython.display import display

        self._said: list[str] = []
        self._handle: Any = display(self._html(0, "", ""), display_id=True)

    def _html(self, at: int, place: str, text: str) -> Any:
        from IPython.display import HTML

        total = self.epochs * self.parts
        said = "".join(f"<div>{escape(line)}</div>" for line in self._said)
        return HTML(
            f'<div>{said}<progress value="{at}" max="{total}" style="width:30%"></progress> '
            f"epoch {escape(place)}&ensp;{escape(text)}</div>"
        )

    def _draw(self, at: int, place: str, text: str) -> None:
        self._last = at, place, text
        self._handle.update(self._html(*self._last))

    def _say(self, line: str) -> None:
        self._said.append(line)
        self._handle.update(self._html(*self._last))


def display_for(console: Console, most: int | None = None) -> Display:
    """The bar where it can be drawn, else lines, `most` of them; nothing where nobody reads."""
    if console.quiet:
        return Display()
    if console.is_jupyter:
        return NotebookDisplay()
    if console.is_terminal and not console.is_dumb_terminal:
        return TerminalDisplay(console)
    return LineDisplay(console, most)


def in_words(numbers: Numbers, room: int) -> str:
    """Such as "loss 0.4321 (val 0.4400) accuracy 0.8123 (val 0.8001) 1.23M samples/s".

    Where that is longer than `room`, without what matters least.
    """
    for left_out in range(len(LEAST) + 1):
        shown = {k: v for k, v in numbers.items() if k not in LEAST[:left_out]}
        words = [f"{word}{shown[name]:.4f}{end}" for name, word, end in WORDS if name in shown]
        if "samples_per_second" in shown:
            words.append(f"{_short(shown['samples_per_second'])} samples/s")
        text = " ".join(words)
        if len(text) <= room:
            break
    return text


WORDS = (
    ("loss", "loss ", ""),
    ("val_loss", "(val ", ")"),
    ("accuracy", "accuracy ", ""),
    ("val_accuracy", "(val ", ")"),
)
LEAST = "samples_per_second", "val_loss", "val_accuracy", "accuracy"


def _short(number: float) -> str:
    """1234567 as "1.23M": three digits that do not jump about."""
    for unit, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= unit:
            return f"{number / unit:.3g}{suffix}"
    return f"{number:.0f}"
