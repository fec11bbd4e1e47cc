"""Affinity: workers keep off their caller's core, and within the cores that they were given.

The system often puts a thread that wakes on the core of the one that woke it, and there the two
take turns for milliseconds while another core is idle (seen on Linux 6.18, two cores: in one
burst of work out of three, for 15 ms, at a third of the speed). With many cores an idle
one is close by, and one late worker is a small share of all: there nothing is done, because a
system call for each worker would cost more.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterable

FEW_CORES = 8

# The number of the core that this thread runs on; where the system does not say, None.
_core = getattr(ctypes.PyDLL(None), "sched_getcpu", None) if os.name == "posix" else None
if not hasattr(os, "sched_setaffinity"):
    _core = None


class Affinity:
    """The cores that threads may run on: those that they were given, without their caller's.

    An affinity that is not the one set here is somebody's (the system administrator's, taskset's,
    the program's own): it is looked at before every change, and never widened. Where the system
    does not say, or forbids it, threads stay as they are: slower at times.
    """

    def __init__(self) -> None:
        self._avoided: int | None = None  # the core of the last caller
        self._forbidden = False
        # By thread: what somebody gave it, and what was set here last and the time before.
        self._threads: dict[int, tuple[set[int], tuple[set[int], ...]]] = {}

    def renew(self) -> None:
        """Threads have come: the next caller looks at all of them."""
        self._avoided = None

    def avoid_this_core(self, threads: Iterable[int | None]) -> None:
        """Keep `threads`, by their native numbers, off the core that this thread runs on."""
        core = _core() if _core and not self._forbidden else None
        if core is None or core == self._avoided or core < 0:
            return
        self._avoided = core
        try:
            allowed = os.sched_getaffinity(0)
            if 1 < len(allowed) <= FEW_CORES:
                for thread in threads:
                    if thread is not None:
                        with contextlib.suppress(ProcessLookupError):  # it has ended
                            self._move(thread, allowed, core)
        except OSError:
            self._forbidden = True

    def _move(self, thread: int, allowed: set[int], core: int) -> None:
        """Let `thread` run where it and its caller may, but for `core`."""
        now = os.sched_getaffinity(thread)
        given, ours = self._threads.get(thread, (now, ()))
        if now not in ours:
            given = now
        wanted = (given & allowed) - {core}
        if wanted and wanted != now:
            # Noted first: what is set and not known as ours would count as somebody's.
            self._threads[thread] = given, (now, wanted) if now in ours else (wanted,)
            os.sched_setaffinity(thread, wanted)
