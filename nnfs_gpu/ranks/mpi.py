"""MPI through mpi4py: the calls that a world makes of it, none of which waits for ever.

Each call is begun without waiting and asked after until it is done. So Ctrl-C is heard, and a
rank that waits for one which hangs says so when its time is over. Imported by `World.mpi` alone:
mpi4py starts MPI when it is imported.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from . import launchers
from .errors import WorldError

# How a rank waits, in seconds. It asks again and again; after SPIN it lets others have the core in
# between: where ranks outnumber cores, steps of little work are 10 times as fast so as by spinning
# for a millisecond. After YIELD it sleeps, for NAP of what it has waited so far: sooner, it would
# lose the core to whatever else runs there.
SPIN, YIELD = 2e-5, 1e-2
NAP, LONGEST_NAP = 0.02, 1e-3
LONGEST_START = 1e6  # seconds that the watchdog can count


class Messages:
    """What ranks send each other; with its own communicator, beside whatever the program sends.

    rank, size  of this process
    timeout     seconds that a call waits for the other ranks
    """

    def __init__(self, timeout: float):
        if not timeout > 0:
            raise ValueError(f"timeout: got {timeout!r}, expected seconds above 0")
        self.timeout = timeout
        self._mpi = _started_with_all_ranks(timeout)
        self._ranks = self._mpi.COMM_WORLD
        self.rank, self.size = self._ranks.Get_rank(), self._ranks.Get_size()
        launchers.check(self.size, self._mpi.Get_library_version().split(",")[0].split("\n")[0])
        self._left = ""
        self._request: Any = None
        if self.size > 1:
            self._ranks, request = self._ranks.Idup()
            self._call("the start", lambda: request)

    def add(self, a: np.ndarray) -> None:
        """The sum over the ranks, in place."""
        self._call("sum", self._ranks.Iallreduce, self._mpi.IN_PLACE, a, self._mpi.SUM)

    def spread(self, a: np.ndarray) -> None:
        """What rank 0 has in `a`, on all."""
        self._call("broadcast", self._ranks.Ibcast, a, 0)

    def meet(self) -> None:
        """Wait until all are here."""
        self._call("barrier", self._ranks.Ibarrier)

    def abort(self, code: int) -> None:
        """End all ranks. Does not return."""
        self._ranks.Abort(code)

    def _call(self, what: str, begin: Callable[..., Any], *arguments: Any) -> None:
        """begin(*arguments), until it is done.

        Left by an exception, it goes on in its arrays: the request keeps them, and no other call
        may follow, as ranks would then be in different ones.
        """
        if self._left:
            raise WorldError(
                f"rank {self.rank} has left a {self._left} before its end and cannot make another "
                "call; abort() ends all ranks"
            )
        self._left = what
        self._request = begin(*arguments)
        done, begun = self._request.Test, time.perf_counter()
        while not done():
            self._pause(time.perf_counter() - begun)
        self._left = ""

    def _pause(self, waited: float) -> None:
        """Before it is asked again. Raises TimeoutError."""
        if waited > self.timeout:
            raise TimeoutError(
                f"rank {self.rank} has waited {self.timeout:g} seconds in {self._left}: another "
                "rank hangs or has died, or needs longer; look at what it printed, or give "
                "World.mpi a longer timeout"
            )
        if waited > YIELD:
            time.sleep(min(NAP * waited, LONGEST_NAP))
        elif waited > SPIN:
            _yield()


_yield = getattr(os, "sched_yield", lambda: time.sleep(0))  # Windows has another way


def _started_with_all_ranks(timeout: float) -> Any:
    """mpi4py's module; WorldError that says what to install.

    MPI starts when all ranks are there, and hears nothing before that, not even Ctrl-C. Where one
    has ended early, Python's watchdog ends this process after `timeout` seconds; it prints where
    it stood, which is here.
    """
    with contextlib.suppress(AttributeError, OSError, ValueError):  # there is no stderr
        faulthandler.dump_traceback_later(min(timeout, LONGEST_START), exit=True)
    try:
        from mpi4py import MPI
    except ModuleNotFoundError as error:
        if error.name != "mpi4py":
            raise
        raise WorldError(
            "mpi4py is not installed, which World.mpi needs: pip install 'nnfs-gpu[mpi]', and an "
            "MPI where the machine has none (pip install mpich)",
            quiet=not launchers.is_first(),
        ) from error
    except (ImportError, RuntimeError) as error:  # an MPI that it was not made for; none at all
        reason = str(error).splitlines()[0]
        raise WorldError(
            f"mpi4py does not find its MPI library ({reason}): load the MPI that the machine has "
            "(module load ...), or pip install mpich",
            quiet=not launchers.is_first(),
        ) from error
    finally:
        faulthandler.cancel_dump_traceback_later()
    return MPI
