"""MPI through mpi4py: the calls that a world makes of it, none of which waits for ever.

Each call is begun without waiting and asked after until it is done. So Ctrl-C is heard, and a
rank that waits for one which hangs says so when its time is over. Imported by `World.mpi` alone:
mpi4py starts MPI when it is imported.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from . import launchers
from .errors import WorldError

SPIN = 1e-3  # seconds of asking again and again: most calls are done in a hundredth of that
NAP = 0.02  # then sleeps, of this part of what was waited for so far
LONGEST_NAP = 1e-3


class Messages:
    """What ranks send each other; with its own communicator, beside whatever the program sends.

    rank, size  of this process
    timeout     seconds that a call waits for the other ranks
    """

    def __init__(self, timeout: float):
        if not timeout > 0:
            raise ValueError(f"timeout: got {timeout!r}, expected seconds above 0")
        self.timeout = timeout
        self._mpi = _mpi()
        self._ranks = self._mpi.COMM_WORLD
        self.rank, self.size = self._ranks.Get_rank(), self._ranks.Get_size()
        launchers.check(self.size, self._mpi.Get_library_version().split(",")[0].split("\n")[0])
        self._left: Any = None
        if self.size > 1:
            self._ranks, request = self._ranks.Idup()
            self._wait(request, "the start")

    def add(self, a: np.ndarray) -> None:
        """The sum over the ranks, in place."""
        self._check()
        self._wait(self._ranks.Iallreduce(self._mpi.IN_PLACE, a, self._mpi.SUM), "sum")

    def spread(self, a: np.ndarray) -> None:
        """What rank 0 has in `a`, on all."""
        self._check()
        self._wait(self._ranks.Ibcast(a, 0), "broadcast")

    def meet(self) -> None:
        """Wait until all are here."""
        self._check()
        self._wait(self._ranks.Ibarrier(), "barrier")

    def abort(self, code: int) -> None:
        """End all ranks. Does not return."""
        self._ranks.Abort(code)

    def _wait(self, request: Any, what: str) -> None:
        """Until the call is done. Left by an exception, it goes on in its arrays: the request
        keeps them, and no other call may follow.
        """
        self._left = request
        done, begin = request.Test, time.perf_counter()
        while not done():
            waited = time.perf_counter() - begin
            if waited > self.timeout:
                raise TimeoutError(
                    f"rank {self.rank} has waited {self.timeout:g} seconds in {what}: another rank "
                    "hangs or has died, or needs longer; look at what it printed, or give "
                    "World.mpi a longer timeout"
                )
            if waited > SPIN:
                time.sleep(min(NAP * waited, LONGEST_NAP))
        self._left = None

    def _check(self) -> None:
        if self._left is not None:
            raise WorldError(
                f"rank {self.rank} has left a call before its end and cannot make another one; "
                "abort() ends all ranks"
            )


def _mpi() -> Any:
    """mpi4py's module; WorldError that says what to install."""
    try:
        from mpi4py import MPI
    except ModuleNotFoundError as error:
        if error.name != "mpi4py":
            raise
        raise WorldError(
            "mpi4py is not installed, which World.mpi needs: pip install 'nnfs-gpu[mpi]', and an "
            "MPI where the machine has none (pip install mpich)"
        ) from error
    except (ImportError, RuntimeError) as error:  # an MPI that it was not made for; none at all
        reason = str(error).splitlines()[0]
        raise WorldError(
            f"mpi4py does not find its MPI library ({reason}): load the MPI that the machine has "
            "(module load ...), or pip install mpich"
        ) from error
    return MPI
