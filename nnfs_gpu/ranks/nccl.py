"""Sums over the GPUs of ranks: NCCL, through CuPy. Nothing goes through the host, nothing waits.

`world.MPIWorld` makes a `Communicator` when it is first given an array that lies on a GPU;
`nnfs-gpu info` asks `version`. CuPy is imported here alone, inside the functions.

What NCCL itself refuses (argcheck.cc and init.cc of its sources): data types and communicators that
it does not know, two ranks on one device. Not what is worse: an address of the host is followed
(NCCL_CHECK_POINTERS=1 asks for a look), and where ranks disagree on the number of elements they
wait for ever, or add up what is not theirs. So an array is looked at here; that all ranks bring as
many numbers is the engines' to see to, whose messages follow from the plan.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from ..backend.cuda.errors import check_device
from ..backend.cuda.probe import import_cupy, in_a_line, installed_wheels
from ..backend.driver import SUPPORTED, UnavailableError
from .errors import WorldError, on_all

Array = Any


class Communicator:
    """The ranks of a world as NCCL knows them; all of them make one at the same time.

    rank, size   of the world
    broadcast    `World.broadcast`: NCCL's id of the communicator goes from rank 0 to all

    Its GPU is the device that is current when it is made, another one for each rank.

    Raises WorldError, on all ranks, where NCCL does not work on rank 0; on a rank alone where it
    does not work there, which ends the others through the world. Two ranks on one GPU, too.
    """

    def __init__(self, rank: int, size: int, broadcast: Callable[[Any], Any]):
        identity, ours = None, ""
        try:
            self._cupy, self._nccl = _libraries()
            self._device = int(self._cupy.cuda.runtime.getDevice())
            if rank == 0:
                identity = self._nccl.get_unique_id()
        except UnavailableError as error:
            ours = f"{error}; {error.remedy}"
        except Exception as error:  # NCCL's and CUDA's own
            ours = f"NCCL does not start ({in_a_line(error)}); run nnfs-gpu info"
        # All take part, whatever they have found: a rank that stays away hangs the others.
        identity, theirs = broadcast((identity, ours))
        if theirs:
            raise on_all(WorldError(f"rank 0: {theirs}"), rank)
        if ours:
            raise WorldError(f"rank {rank}: {ours}")
        try:
            self._communicator = self._nccl.NcclCommunicator(size, identity, rank)
        except Exception as error:
            raise WorldError(
                f"NCCL does not connect rank {rank} of {size} on device {self._device} "
                f"({in_a_line(error)}); give each rank a GPU of its own"
            ) from error

    def sum(self, a: Array) -> None:
        """Add up `a` over the ranks, in place: contiguous int64 of as many elements on each.

        On CuPy's current stream: returns at once, and what is launched there later has the sum.
        Raises TypeError for an array of another dtype or of the host, ValueError for one with
        gaps or of another device, WorldError where NCCL refuses.
        """
        if not isinstance(a, self._cupy.ndarray):
            raise TypeError(f"sum: got a {type(a).__name__}, expected a CuPy array on the GPU")
        if a.dtype != np.int64:
            raise TypeError(f"sum: got an array of {a.dtype}, expected int64")
        if not a.flags.c_contiguous:
            raise ValueError(
                f"sum: got an array of shape {a.shape} with gaps, expected a contiguous one"
            )
        check_device(a, self._device)
        if not a.size:
            return
        place, nccl, stream = a.data.ptr, self._nccl, self._cupy.cuda.get_current_stream()
        try:
            self._communicator.allReduce(
                place, place, a.size, nccl.NCCL_INT64, nccl.NCCL_SUM, stream.ptr
            )
        except Exception as error:
            raise WorldError(f"sum: NCCL refuses {a.size} numbers ({in_a_line(error)})") from error

    def close(self) -> None:
        """Forget the ranks: `sum` is refused from now on."""
        self._communicator.destroy()


def version() -> str:
    """NCCL's version, such as "2.27.7", or in words why there is none."""
    try:
        number = int(_libraries()[1].get_version())
    except UnavailableError as error:
        return f"{error}; {error.remedy}"
    except Exception as error:
        return f"NCCL does not answer ({in_a_line(error)})"
    thousands = 10_000 if number >= 10_000 else 1_000  # 2.8.4 is 2804, 2.27.7 is 22707
    return f"{number // thousands}.{number % thousands // 100}.{number % 100}"


def _libraries() -> tuple[Any, Any]:
    """CuPy and its NCCL. Raises UnavailableError where one is missing."""
    cupy = import_cupy()
    with warnings.catch_warnings():  # CuPy warns of what is said below
        warnings.simplefilter("ignore")
        try:
            nccl = importlib.import_module("cupy.cuda.nccl")
            # CuPy's module is there without NCCL; what is wrong says the one beneath it.
            if not nccl.available:
                importlib.import_module("cupy_backends.cuda.libs.nccl")
        except ImportError as error:
            raise UnavailableError(f"NCCL does not load ({in_a_line(error)})", _remedy()) from error
    if not nccl.available:
        raise UnavailableError("this CuPy is built without NCCL", _remedy())
    return cupy, nccl


def _remedy() -> str:
    """How to install what CuPy loads; NCCL is for Linux alone."""
    wheels = installed_wheels()
    majors = [major for major in SUPPORTED if f"cupy-cuda{major}x" in wheels]
    if not majors:
        return "install NCCL 2 for Linux: conda install -c conda-forge nccl, beside CuPy of conda"
    return f"pip install 'nvidia-nccl-cu{majors[0]}>=2.27', for Linux"
