"""What the launcher of this process has promised: how many there are, and which one this is.

A launcher that does not fit the MPI library starts N processes of which each believes that it is
alone: N times the same training, into the same files. `srun` without the right `--mpi` does so,
and so does an `mpiexec` of another MPI than the one that was loaded. What gives it away are the
variables that launchers set. Called when MPI has said how many ranks there are.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from .errors import WorldError


@dataclass(frozen=True)
class Launcher:
    """The variables that a launcher sets in each of its processes.

    name   as the user typed it
    rank   the variable that has the process's number, from 0
    size   the one that has how many there are; "" where there is none
    needs  one that must be there, too, where others set the same names
    """

    name: str
    rank: str
    size: str
    needs: str = ""


# Whoever starts a process sets these last: an mpiexec inside a job of Slurm decides, not Slurm.
# SLURM_NTASKS and SLURM_PROCID are set in a batch script, too, which is one process: what srun
# alone sets is the number of its step's tasks.
LAUNCHERS = (
    Launcher("Open MPI's mpirun", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    Launcher("mpiexec", "PMI_RANK", "PMI_SIZE"),
    Launcher("MVAPICH's mpirun", "MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE"),
    Launcher("jsrun", "JSM_NAMESPACE_RANK", "JSM_NAMESPACE_SIZE"),
    Launcher("flux run", "FLUX_TASK_RANK", "FLUX_JOB_SIZE"),
    Launcher("srun", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),
    Launcher("torchrun", "RANK", "WORLD_SIZE", needs="TORCHELASTIC_RUN_ID"),
    Launcher("a launcher with PMIx", "PMIX_RANK", ""),
)


@dataclass(frozen=True)
class Promise:
    """What a launcher says of this process.

    size   how many there are, or, where that is not known, at least are
    known  whether it is
    """

    launcher: str
    rank: int
    size: int
    known: bool


def promised(variables: Mapping[str, str]) -> Promise | None:
    """What the innermost launcher says in these variables; None where there is none."""
    for one in LAUNCHERS:
        if one.needs and one.needs not in variables:
            continue
        rank = _number(variables, one.rank)
        size = _number(variables, one.size)
        if rank is not None and (size is not None or not one.size):
            return Promise(one.name, rank, size or rank + 1, size is not None)
    return None


def is_first() -> bool:
    """Whether this process tells what all find before they know of each other: a missing library,
    a wrong option.
    """
    promise = promised(os.environ)
    return promise is None or promise.rank == 0


def check(size: int, library: str) -> None:
    """WorldError where MPI sees one process and the launcher has started more.

    library  the MPI library, as it calls itself

    Each of the processes raises it, as none knows of the others; the first that can tell prints.
    """
    if size > 1:
        return
    promise = promised(os.environ)
    if promise is None or promise.size <= 1:
        return
    raise WorldError(
        f"{promise.launcher} has started {'' if promise.known else 'at least '}{promise.size} "
        f"processes, and MPI ({library}) sees one: each would train alone; start them with the "
        "mpiexec of this MPI, let srun speak its language (srun --mpi=list, then --mpi=pmix or "
        "pmi2), or install mpi4py for the MPI of the launcher",
        quiet=promise.rank != (0 if promise.known else 1),
    )


def _number(variables: Mapping[str, str], name: str) -> int | None:
    """The number in a variable; None where it is not set or holds something else."""
    text = variables.get(name, "")
    return int(text) if text.isdecimal() else None
