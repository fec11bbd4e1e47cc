"""Ctrl-C at every instruction, for the tests: an exception raised at the k-th that is executed.

`sys.settrace` sees each bytecode instruction of the package's functions before it is executed,
and what the trace function raises is raised there: wherever a signal's handler could raise
KeyboardInterrupt, and in many places where it could not.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path

import nnfs_gpu

PACKAGE = str(Path(nnfs_gpu.__file__).parent)


class Instructions:
    """Counts the package's instructions while it is used in `with`, and raises at number `at`.

    within  a function beside the package's own that counts, with all that it calls
    """

    def __init__(self, at: int | None = None, error=KeyboardInterrupt, within=None):
        self.at, self.error, self.within, self.count = at, error, within, 0
        self.where = ""

    def __enter__(self):
        self._before = sys.gettrace()
        sys.settrace(self._call)
        return self

    def __exit__(self, *_):
        sys.settrace(self._before)

    def _call(self, frame, event, argument):
        if not frame.f_code.co_filename.startswith(PACKAGE) and not self._is_within(frame):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return self._step

    def _is_within(self, frame):
        while self.within is not None and frame is not None:
            if frame.f_code is self.within.__code__:
                return True
            frame = frame.f_back
        return False

    def _step(self, frame, event, argument):
        if event == "opcode":
            self.count += 1
            if self.count == self.at:
                self.where = f"{frame.f_code.co_qualname}:{frame.f_lineno}"
                raise self.error
        return self._step


def instructions(act: Callable[[], object], **options) -> int:
    """How many `act` executes."""
    with Instructions(**options) as counted:
        act()
    return counted.count


def cut_off(act: Callable[[], object], at: int, **options) -> str:
    """Do `act` with an exception at instruction `at`; where that was, "" where it was none."""
    with Instructions(at, **options) as counted, contextlib.suppress(counted.error):
        act()
    return counted.where


class Fall(nnfs_gpu.Callback):
    """Ends the run after some steps, as a crash does."""

    def __init__(self, steps):
        self.steps = steps

    def on_train_batch_end(self, batch, logs):
        self.steps -= 1
        if self.steps == 0:
            raise KeyboardInterrupt
