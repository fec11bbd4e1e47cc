"""One training in a folder: a lock that the system takes back when its holder dies.

Two things keep others out:
    the process   `flock(2)` on the folder itself. No file is left behind, none can be stale
                  after SIGKILL, and what reads the folder is not stopped. A child made with
                  fork closes its copy at once, so that it does not keep the folder when its
                  parent is killed. Where there is no such lock (Windows, file systems that
                  lock no folders, as NFS) there is none here either, which is logged once
    the training  a set in this process: neither another thread nor a training that is started
                  by a callback of the first one gets into the same folder

(The package filelock does the same with a file in the folder, which is left behind.)
"""

from __future__ import annotations

import errno
import logging
import os
import threading
from pathlib import Path
from typing import Any

fcntl: Any
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

logger = logging.getLogger("nnfs_gpu")

NO_LOCKS = {errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}

_held: dict[str, int] = {}  # folder -> the descriptor that holds it for this process
_training: set[str] = set()  # folders in which this process trains
_told: set[str] = set()  # folders whose missing lock has been logged
_mutex = threading.RLock()  # of the three; held while the process forks


class FolderLockedError(RuntimeError):
    """Another process, or another training of this one, is at work in the folder."""


def lock(folder: str | os.PathLike[str]) -> bool:
    """Hold `folder`, which exists, until `release` or the end of this process.

    True where the folder is held from now on, False where this process held it already (then
    whoever locked it releases it) or where there are no locks.
    Raises FolderLockedError where another process holds it.
    """
    if fcntl is None:
        return False
    name = os.path.realpath(folder)
    with _mutex:
        if name in _held:
            return False
        descriptor = os.open(name, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _held[name] = descriptor
        except BlockingIOError as error:
            raise _refusal(folder, "another process is") from error
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            _tell(name, error)
            return False
        finally:
            if name not in _held:
                os.close(descriptor)
    return True


def release(folder: str | os.PathLike[str]) -> None:
    """Let other processes have `folder`; nothing where this process does not hold it."""
    with _mutex:
        descriptor = _held.pop(os.path.realpath(folder), None)
        if descriptor is not None:
            # Unlocked, not closed alone: a child made a moment ago has not closed its copy yet.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)


class TrainingFolder:
    """A folder that one training has for itself, from `enter` to `leave`."""

    def __init__(self, folder: str | os.PathLike[str]):
        self.folder, self.name = folder, os.path.realpath(folder)
        self._entered = self._locked = False

    def enter(self) -> None:
        """Raises FolderLockedError where another training is at work in the folder."""
        with _mutex:
            if self.name in _training:
                raise _refusal(self.folder, "another training of this process is")
            self._locked = lock(self.name)  # not where the process held it before
            self._entered = True
            _training.add(self.name)

    def leave(self) -> None:
        """Let others have the folder; nothing where it was not entered."""
        with _mutex:
            if self._entered:
                _training.discard(self.name)
                self._entered = False
            if self._locked:
                release(self.name)
                self._locked = False


def _refusal(folder: str | os.PathLike[str], who: str) -> FolderLockedError:
    return FolderLockedError(
        f"{Path(folder)}: {who} training there; wait for it, end it, or give another folder"
    )


def _tell(name: str, error: OSError) -> None:
    if name not in _told:
        _told.add(name)
        logger.warning(
            "%s: its file system locks no folders (%s); nothing stops another process from "
            "training there, too: start one at a time",
            name,
            error.strerror,
        )


# ---- fork ----
def _forget() -> None:
    """In the child: the folders are its parent's. To close a copy does not unlock the folder."""
    for descriptor in _held.values():
        os.close(descriptor)
    _held.clear()
    _training.clear()
    _mutex.release()


if hasattr(os, "register_at_fork"):
    # The mutex: no folder is half locked in the child of a fork that another thread makes.
    os.register_at_fork(
        before=_mutex.acquire, after_in_parent=_mutex.release, after_in_child=_forget
    )
