"""ProgressBar: how far training is, for `Model.train(progress=True)` and in lists of callbacks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import checks
from ..show.display import Display, display_for
from .callbacks import Callback, Onlooker, checked


class ProgressBar(Onlooker):
    """Shows how far training is, with the numbers of the last epoch.

    A bar on a terminal and in a notebook; elsewhere, in a file or a pipe, a few lines. It says,
    too, when kernels are compiled, the first time on a machine, and how long that took. Training
    is not slowed down for it: it never waits for the device within an epoch, and where an engine
    does many steps or many epochs in one call, the bar moves from call to call. Of several ranks
    the first one shows it.

    Parameters
    ----------
    lines : int
        At most so many lines, and one for the last epoch, where there is no bar.
    """

    rank_0 = True

    def __init__(self, lines: int = 20):
        self.lines = checks.positive_int(lines, "lines")
        self._display: Display | None = None
        self._numbers: dict[str, float] = {}

    def on_train_begin(self, logs: dict[str, Any]) -> None:
        """Forget an earlier training. Nothing is shown yet: training may be refused."""
        self._display, self._numbers = None, {}
        self._epochs, self._steps = logs["epochs"], logs["steps"]

    def on_progress(self, epochs: int, steps: int) -> None:
        """The bar appears before the first step, where training begins or goes on."""
        if self._display is None:
            from rich.console import Console

            self._display = display_for(Console(highlight=False, emoji=False), self.lines)
            self._display.begin(self._epochs, self._steps, epochs)
        elif self._display.due():
            self._display.step(epochs + 1, steps, self._numbers)

    def due(self, epoch: int) -> bool:
        """See `Onlooker`."""
        return self._display is not None and self._display.due_epoch(epoch)

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Its numbers are shown."""
        self._numbers = dict(logs)
        if self._display is not None:
            self._display.epoch(epoch, self._numbers)

    def on_train_end(self, logs: dict[str, float]) -> None:
        """The bar stays as it is, and the terminal is as it was."""
        self._leave()

    def on_exception(self, error: BaseException) -> None:
        """The same, after Ctrl-C, too."""
        self._leave()

    def _leave(self) -> None:
        display, self._display = self._display, None
        if display is not None:
            display.end()


def with_bar(
    callbacks: Sequence[Callback], print_every: int | None, progress: bool
) -> tuple[Sequence[Callback], int | None]:
    """Callbacks and `print_every` of a training with a bar in place of the lines, or without.

    Raises TypeError for a `progress` that is not True or False.
    """
    if not isinstance(progress, bool):
        raise TypeError(
            f"progress: got {progress!r}, expected True or False; give a bar of your own in "
            "callbacks=[ProgressBar(...)]"
        )
    if not progress:
        return callbacks, print_every
    given = checked(callbacks)
    if not any(isinstance(one, ProgressBar) for one in given):
        given = (*given, ProgressBar())
    return given, None
