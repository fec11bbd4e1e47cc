"""Ranks of one machine share its cores: each starts that share of threads, where nobody has chosen.

What launchers do differs: MPICH's mpiexec lets each rank run on all cores; Open MPI's binds two
ranks to a core each, and more of them to a processor; `srun --cpus-per-task` binds each to its
own. Bound ranks start as many threads as they have cores (Numba's default); ranks that may run on
the same cores would start as many each, and take turns in the middle of a step. So ranks tell each
other where they may run. `World.mpi` does so at its start.

The same of BLAS, which multiplies where networks are evaluated: two ranks with two threads each
took five times as long on two cores as with one each (2-512-512-3, OpenBLAS).
"""

from __future__ import annotations

import hashlib
import os
import platform
from pathlib import Path
from typing import Any

import numpy as np

from ..backend.cpu import quota

BOOT = Path("/proc/sys/kernel/random/boot_id")  # Linux: a number of this machine since it started
BLAS_THREADS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "OMP_NUM_THREADS")


def node() -> int:
    """A number that the processes of a machine have in common, and no others.

    Containers of a machine have names of their own, and each sees its own devices.
    """
    try:
        boot = BOOT.read_text()
    except OSError:  # another system
        boot = ""
    return number_of(platform.node() + boot)


def number_of(text: str) -> int:
    """A number below 2^56 that tells texts apart."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7])


def here() -> tuple[int, int]:
    """The machine, and the cores of it that this process may run on: equal numbers, equal cores."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux only
    return node(), number_of(repr(sorted(affinity(0)) if affinity else ""))


def share(table: np.ndarray, rank: int) -> None:
    """Let `rank` start its share of threads. `table`: what `here` gives, of every rank.

    Ranks whose cores overlap without being the same count as strangers.
    """
    processes = int((table == table[rank]).all(axis=1).sum())
    quota.share(processes)
    if processes > 1 and not any(name in os.environ for name in BLAS_THREADS):
        for library in _blas():
            library.set_num_threads(max(1, library.num_threads // processes))


def _blas() -> list[Any]:
    """The BLAS libraries of this process. None without threadpoolctl: they keep their threads."""
    try:
        from threadpoolctl import ThreadpoolController
    except ModuleNotFoundError:
        return []
    return list(ThreadpoolController().select(user_api="blas").lib_controllers)
