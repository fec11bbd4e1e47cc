"""One process in a folder: a lock that the system takes back when its holder dies.

`flock(2)` on the folder itself: no file is left behind, none can be stale after SIGKILL, and
what reads the folder is not stopped. Where there is no such lock (Windows, some network file
systems) there is none here either.
"""

from __future__ import annotations

import os
from pathlib import Path

_held: dict[str, tuple[int, int]] = {}  # folder -> (process, descriptor)


class FolderLockedError(RuntimeError):
    """Another process is at work in the folder."""


def lock(folder: str | os.PathLike) -> bool:
    """Hold `folder`, which exists, until `release` or the end of this process.

    True where the folder is held from now on, False where this process held it already (then
    whoever locked it releases it) or where there are no locks.
    Raises FolderLockedError where another process holds it.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return False
    name = os.path.realpath(folder)
    if _held.get(name, (0, 0))[0] == os.getpid():  # a forked child is another process
        return False
    descriptor = os.open(name, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise FolderLockedError(
            f"{Path(folder)}: another process is training there; wait for it, end it, or give "
            "another folder"
        ) from error
    except OSError:  # a file system without locks
        os.close(descriptor)
        return False
    _held[name] = os.getpid(), descriptor
    return True


def release(folder: str | os.PathLike) -> None:
    """Let others have `folder`; nothing where this process does not hold it."""
    name = os.path.realpath(folder)
    process, descriptor = _held.get(name, (0, 0))
    if process == os.getpid():
        del _held[name]
        os.close(descriptor)
