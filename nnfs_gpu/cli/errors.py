"""How a command of `nnfs-gpu` ends: with an exit code, and where it fails with one line on stderr.

Everything that can be wrong with what the user gave is found before any work begins and raised as
`InputError`. `app.main` runs a command by `run_command`, which turns each error into words; of
several ranks, `distributed.py` does, and says which one was told by whom.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import Any, NoReturn

from ..backend.cuda.errors import DeviceError, DeviceMemoryError
from ..files.model_file import ModelFileError
from ..ranks import launchers
from ..ranks.errors import RankError, WorldError, is_quiet
from ..training.checkpoint_file import CheckpointError

TRACEBACK_VARIABLE = "NNFS_GPU_TRACEBACK"  # set it to see where an unexpected error comes from
DISTRIBUTED = "--distributed"
FORESEEN = (OSError, DeviceError, DeviceMemoryError, WorldError)


class CommandError(Exception):
    """A failure at run time."""

    exit_code = 1


class InputError(CommandError):
    """What the user gave cannot be used."""

    exit_code = 2


class Interrupted(BaseException):
    """A signal ended the command. Not an Exception, so that nothing takes it for an error."""

    def __init__(self, signum: int):
        super().__init__(signum)
        self.exit_code = 128 + signum  # what a shell reports for a process that a signal ended


class ToldError(Exception):
    """What went wrong has been said, by this rank or by another: end with `exit_code`."""

    def __init__(self, exit_code: int):
        super().__init__(exit_code)
        self.exit_code = exit_code


def run_command(command: Any, arguments: list[str]) -> int:
    """Run a Click command; returns its exit code, after one line on stderr if it failed."""
    for signum in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(signum) is not signal.SIG_IGN:
            signal.signal(signum, _interrupt)
    try:
        code = command.main(arguments, prog_name="nnfs-gpu", standalone_mode=False)
        if sys.stdout is not None:  # None where it was closed before the start
            sys.stdout.flush()
        return code or 0
    except ToldError as told:
        return told.exit_code
    except (Exception, Interrupted) as error:
        if isinstance(error, OSError):
            # What is still in stdout's buffer cannot be written; Python would complain at the end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            if isinstance(error, BrokenPipeError):  # the reader, such as `head`, has seen enough
                return 1
        if is_unforeseen(error) and os.environ.get(TRACEBACK_VARIABLE):
            raise
        message, code = in_words(error)
        return code if _told_by_another(error, arguments) else fail(message, code)


def _interrupt(signum: int, _frame: FrameType | None) -> NoReturn:
    raise Interrupted(signum)


def _told_by_another(error: BaseException, arguments: list[str]) -> bool:
    """Whether another rank says the same: all have the command, before they know of each other."""
    if DISTRIBUTED not in arguments:
        return False
    return is_quiet(error) if hasattr(error, "quiet") else not launchers.is_first()


def fail(message: str, code: int) -> int:
    """One line on stderr; returns `code`."""
    from rich.console import Console
    from rich.text import Text

    text = Text("error: " + " ".join(message.split()), style="red")
    Console(stderr=True).print(text, soft_wrap=True)
    return code


# ---- words ----
def in_words(error: Any) -> tuple[str, int]:
    """What to say of an error, and the exit code."""
    if isinstance(error, RankError):
        return _of_a_rank(error)
    if isinstance(error, CommandError):
        return describe(error), error.exit_code
    if isinstance(error, Interrupted):
        return "interrupted; no results were written", error.exit_code
    if hasattr(error, "format_message"):  # Click's errors; newer Typer has its own copy of Click
        return f"{error.format_message()} (see nnfs-gpu --help)", error.exit_code
    if isinstance(error, (CheckpointError, ModelFileError)):
        return describe(error), 2
    if isinstance(error, FORESEEN):
        return describe(error), 1
    if isinstance(error, MemoryError):
        return f"not enough memory ({describe(error)}); try fewer --samples, a smaller --hidden", 1
    return (
        f"{type(error).__name__}: {describe(error)} (this should not happen; "
        f"{TRACEBACK_VARIABLE}=1 shows where)"
    ), 1


def is_unforeseen(error: Any) -> bool:
    """Whether it is a mistake in this program, as far as one can tell."""
    if isinstance(error, RankError) and error.__cause__ is not None:
        return is_unforeseen(error.__cause__)
    known = (CommandError, Interrupted, CheckpointError, ModelFileError, MemoryError, *FORESEEN)
    return not isinstance(error, known) and not hasattr(error, "format_message")


def _of_a_rank(error: RankError) -> tuple[str, int]:
    """What failed here, where it did: on rank 0, which does what one process does, in the same
    words. Else what another rank has said; its exit code is that rank's to know.
    """
    if error.__cause__ is not None:
        return in_words(error.__cause__)
    rank, kind, text = str(error).split(": ", 2)
    ours = [CommandError.__name__, *(one.__name__ for one in CommandError.__subclasses__())]
    return f"{rank}: {text}" if kind in ours else f"{error} ({TRACEBACK_VARIABLE}=1 shows where)", 1


def describe(error: BaseException) -> str:
    """An exception as a sentence; of an OSError the file and the reason, without the number."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error) or type(error).__name__
