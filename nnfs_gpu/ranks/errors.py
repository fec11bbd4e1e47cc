"""How a program of several ranks ends: its errors, which rank prints them, with which code.

An error is either one rank's own, and then the others wait for a rank that will not come: whoever
sees it aborts all (`World.__exit__`, and for what nobody catches `sys.excepthook`). Or all ranks
raise it, and each ends by itself: such an error is marked with `on_all`, and rank 0 prints it.
"""

from __future__ import annotations

import contextlib
import sys
import traceback

INTERRUPTED = 130  # what a shell reports for a program that Ctrl-C ended


class WorldError(RuntimeError):
    """The ranks cannot work together, or not any more.

    Parameters
    ----------
    message : str
        What is wrong and what to do.
    quiet : bool
        Whether another process says the same, so that this one need not.
    """

    def __init__(self, message: str, quiet: bool = False):
        super().__init__(message)
        self.quiet = quiet


class RankError(WorldError):
    """What failed on one rank, raised on all: "rank 2: ValueError: ...".

    That rank's traceback is a note of the error.

    Parameters
    ----------
    message : str
        What it raised.
    rank : int
        The first on which it failed.
    """

    def __init__(self, message: str, rank: int):
        super().__init__(f"rank {rank}: {message}")
        self.rank = rank


def on_all(error: Exception, rank: int) -> Exception:
    """`error`, marked as one that all ranks raise: this is `rank`, and rank 0 prints."""
    vars(error).update(on_all_ranks=True, quiet=rank != 0)
    return error


def is_on_all(error: BaseException) -> bool:
    """Whether all ranks raise it."""
    return getattr(error, "on_all_ranks", False) is True


def is_quiet(error: BaseException) -> bool:
    """Whether another process prints it."""
    return getattr(error, "quiet", False) is True


def exit_code(error: BaseException) -> int:
    """What a process reports that ends with `error`; 0 for sys.exit() alone."""
    if isinstance(error, SystemExit):
        if error.code is None or isinstance(error.code, int):
            return error.code or 0
        return 1
    return INTERRUPTED if isinstance(error, KeyboardInterrupt) else 1


def tell(error: BaseException, rank: int) -> None:
    """Write the traceback to stderr, at once, so that lines of other ranks are not in between."""
    if isinstance(error, SystemExit):
        text = f"exit code {error.code}\n" if isinstance(error.code, int) else f"{error.code}\n"
    else:
        text = "".join(traceback.format_exception(error))
    with contextlib.suppress(OSError, ValueError):  # nobody reads, and the ranks must end
        print(f"rank {rank}: {text}", end="", file=sys.stderr, flush=True)
