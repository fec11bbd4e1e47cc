"""`nnfs-gpu info`: which backends work here, what they are made of, and what is missing."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from typing import Any

from rich.table import Table
from rich.text import Text

from ..backend import available_backends, get_backend
from ..backend.cuda.libraries import PATHFINDER, USERS, Found, find_libraries
from ..backend.cuda.probe import installed_wheels
from ..backend.driver import cuda_driver
from ..ranks import nccl
from .common import check_target, console_for, to_json, two_columns, versions, write

# MPI is loaded and not started: its start would wait for other processes, or end this one where it
# was started by a launcher of another MPI. So a process of its own looks, in which nothing follows.
MPI_VERSION = """
import mpi4py
mpi4py.rc(initialize=False, finalize=False)
from mpi4py import MPI
print(MPI.Get_library_version())
"""
MPI_SECONDS = 30.0  # some machines load it over a network


def run(json_target: str | None) -> int:
    """Print what this machine has for nnfs_gpu, write it as JSON; returns the exit code."""
    console = console_for(json_target)
    check_target(json_target, "--json")
    found = information()
    if json_target is not None:
        write(to_json(found), json_target)
    console.print(_backends(found["backends"]))
    threads = found["numba_threads"]
    rows = {
        "auto takes": found["auto"],
        "CPU cores": f"{found['cpus']}, of which this process may use {found['usable_cpus']}",
        "Numba threads": "-" if threads is None else str(threads),
        "CUDA driver": found["cuda_driver"],
        "MPI": found["mpi"],
        "NCCL": found["nccl"],
        "versions": ", ".join(f"{k} {v or 'missing'}" for k, v in found["versions"].items()),
    }
    console.print(two_columns(rows))
    if any(found["versions"][name] for name in USERS):
        console.print(_libraries(found["cuda_libraries"]))
    return 0


def information() -> dict[str, Any]:
    """All that a report of a failure should hold."""
    backends = available_backends()
    try:
        import numba

        threads = int(numba.get_num_threads())
    except Exception:  # the table says why: a broken installation may raise anything
        threads = None
    affinity = getattr(os, "sched_getaffinity", None)  # Linux only
    version, driver = cuda_driver()
    return {
        "backends": {
            name: {"usable": status.usable, "reason": status.reason, "remedy": status.remedy}
            for name, status in backends.items()
        },
        "auto": get_backend("auto").name,
        "cpus": os.cpu_count(),
        "usable_cpus": len(affinity(0)) if affinity else os.cpu_count(),
        "numba_threads": threads,
        "cuda_version": version,
        "cuda_driver": driver,
        "cuda_visible_devices": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "mpi": _mpi(),
        "nccl": nccl.version(),
        "versions": versions() | _gpu_versions(),
        "cuda_libraries": {found.library.name: _record(found) for found in find_libraries()},
    }


def _gpu_versions() -> dict[str, str | None]:
    """CuPy's with the wheels that it came in, numba-cuda's and that of what finds libraries."""
    wheels = {name: importlib.metadata.version(name) for name in installed_wheels()}
    found = {"cupy": ", ".join(f"{version} ({name})" for name, version in wheels.items()) or None}
    for name in ("numba-cuda", PATHFINDER):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found


def _mpi() -> str:
    """mpi4py and the library that it loads, or what is missing for train --distributed."""
    try:
        version = importlib.metadata.version("mpi4py")
    except importlib.metadata.PackageNotFoundError:
        return "mpi4py is not installed; pip install 'nnfs-gpu[mpi]' (and mpich, without an MPI)"
    try:
        asked = subprocess.run(
            [sys.executable, "-c", MPI_VERSION],
            capture_output=True,
            text=True,
            timeout=MPI_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"mpi4py {version}; its MPI does not load ({error})"
    lines = (asked.stdout if asked.returncode == 0 else asked.stderr).strip().splitlines()
    if asked.returncode:
        reason = lines[-1] if lines else f"exit code {asked.returncode}"
        return f"mpi4py {version}; its MPI does not load ({reason}); pip install mpich, or load one"
    return f"mpi4py {version}, {_short(lines[0]) if lines else 'an MPI without a name'}"


def _short(library: str) -> str:
    """What a library calls itself, in a few words: "MPICH 5.0.2"."""
    return " ".join(library.replace("Version:", "").split(",")[0].split())


def _record(found: Found) -> dict[str, Any]:
    library = found.library
    mine = {major for major in library.wheels if f"cupy-cuda{major}x" in installed_wheels()}
    majors = mine or set(library.wheels)  # the CUDA that CuPy here is built for, or any
    return {
        "path": found.path,
        "version": found.version,
        "problem": found.problem,
        "needed_by": list(library.users),
        "does": library.does,
        "wheels": [wheel for major, wheel in sorted(library.wheels.items()) if major in majors],
    }


# ---- tables ----
def _backends(backends: dict[str, Any]) -> Table:
    table = Table("backend", "")
    table.add_column("what was found", overflow="fold")
    table.add_column("what to do", overflow="fold")
    for name, status in backends.items():
        usable = Text("works", "green") if status["usable"] else Text("no", "red")
        table.add_row(name, usable, Text(status["reason"]), Text(status["remedy"]))
    return table


def _libraries(libraries: dict[str, Any]) -> Table:
    """Files of wheels with their version, others with their place; what is missing, with what
    brings it. All places stand in the JSON.
    """
    table = Table("CUDA file", "needed by")
    table.add_column("what was found", overflow="fold")
    for name, found in libraries.items():
        name_of = os.path.basename(found["path"] or "")
        text = Text(f"{name_of} {found['version']}" if found["version"] else found["path"] or "")
        if found["problem"]:
            bring = " or ".join(found["wheels"])
            text = Text(f"missing ({found['does']}): pip install {bring}", "red")
        table.add_row(name, ", ".join(found["needed_by"]), text)
    return table
