"""One step of `make gpu-check`, in a process of its own: python -m bench.gpu_check.steps STEP.

`python -m bench.gpu_check` starts this file with `--json FILE --seconds S`. What a step finds goes
into the file line by line, so that a step that is killed leaves what it had; a step ends by itself
when its seconds are over, and says what it left out.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import math
import os
import platform
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from nnfs_gpu import available_backends, get_backend
from nnfs_gpu.backend import BackendUnavailableError
from nnfs_gpu.backend.cuda.libraries import find_libraries
from nnfs_gpu.selftest import crosscheck
from nnfs_gpu.selftest.operations import OPERATIONS

from .notebook import Notebook
from .plan import REHEARSAL, ROOT

PACKAGES = (
    *("numpy", "numba", "cupy-cuda13x", "cupy-cuda12x", "numba-cuda", "cuda-bindings", "torch"),
    *("cuda-core", "nvidia-cuda-nvrtc", "pytest", "pytest-xdist", "setuptools", "safetensors"),
)


# ---- the machine ----
def environment(notebook: Notebook) -> None:
    """The device, the driver, versions, the commit, and whether both GPU backends work."""
    query = "name,driver_version,memory.total,clocks.sm,clocks.max.sm,clocks.mem,power.limit"
    arguments = ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader"]
    notebook.add("nvidia-smi", query=query, answer=output(arguments))
    notebook.add(
        "software",
        commit=os.environ.get("COMMIT") or output(["git", "rev-parse", "HEAD"]),
        changed_files=output(["git", "status", "--porcelain"]).splitlines()[:40],
        python=platform.python_version(),
        system=platform.platform(),
        cores=os.cpu_count(),
        **{name: version for name in PACKAGES if (version := installed(name))},
    )
    for status in available_backends().values():
        notebook.add("backend", name=status.name, usable=status.usable, found=status.reason)
        if not status.usable:  # cupy is what is checked; others may lack a package here
            tell = notebook.problem if status.name == "cupy" else notebook.note
            tell(f"backend {status.name}: {status.reason}; {status.remedy}")
    for found in find_libraries():
        notebook.add(
            "library",
            name=found.library.name,
            found=" ".join(filter(None, (found.version, found.path, found.problem))),
        )
    with notebook.attempt("device properties"):
        notebook.add("device", **device())


def device() -> dict[str, Any]:
    """What a reader needs to know of the device, from the runtime."""
    import cupy

    found = cupy.cuda.runtime.getDeviceProperties(0)
    names = {
        "name": "name",
        "multiprocessors": "multiProcessorCount",
        "memory_bytes": "totalGlobalMem",
        "l2_bytes": "l2CacheSize",
        "clock_khz": "clockRate",  # gone from CUDA 13: nvidia-smi has it
        "memory_bus_bits": "memoryBusWidth",
    }
    return {name: found[key] for name, key in names.items() if key in found} | {
        "compute_capability": f"{found['major']}.{found['minor']}",
        "cuda_driver": cupy.cuda.runtime.driverGetVersion(),
        "cuda_runtime": cupy.cuda.runtime.runtimeGetVersion(),
        "nvrtc": ".".join(str(part) for part in cupy.cuda.nvrtc.getVersion()),
    }


def output(arguments: list[str]) -> str:
    """What a command prints, or why it does not."""
    try:
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"unknown ({error})"
    return done.stdout.strip() if done.returncode == 0 else "unknown"


def installed(package: str) -> str | None:
    """The version of a package; None where it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


# ---- against the specification ----
def cross_check(notebook: Notebook, backend: Any, against: Any) -> None:
    """Every line of `nnfs-gpu crosscheck`; one that raises does not stop the others."""
    for line in OPERATIONS:
        if notebook.late(f"crosscheck from {line.label} on"):
            return
        with notebook.attempt(line.label, backend):
            _note_differences(notebook, crosscheck.compare(line, backend, against))
    if not notebook.late("crosscheck: training"):
        with notebook.attempt("training", backend):
            _note_differences(notebook, crosscheck.compare_training(backend, against))


def _note_differences(notebook: Notebook, differences: Iterator[crosscheck.Difference]) -> None:
    for found in differences:
        notebook.add("crosscheck", **crosscheck.as_records([found])[0])
        if not found.passed:
            wrong = f"{found.units:.3g} units, allowed {found.bound:.3g}"
            if found.promised and not found.same_bits:
                wrong += ", and not the same bits, as promised"
            notebook.problem(f"{found.operation}, {found.dtype}: {wrong}")


# ---- which step ----
def main(arguments: list[str] | None = None) -> int:
    """Run one step; 0 when nothing is wrong and nothing was left out."""
    from . import accuracy, exercise, fused, fused_speed, speed, training

    def on_device(name: str = "cupy") -> Any:
        return get_backend(name, dtype="float32", precise_dot=False, book_random=False)

    steps: dict[str, Callable[[Notebook], None]] = {
        "environment": environment,
        "crosscheck-cupy": lambda book: cross_check(book, on_device(), on_device("numpy")),
        "crosscheck-numba": lambda book: cross_check(book, on_device(), on_device("numba")),
        "crosscheck-numba-cuda": lambda book: cross_check(
            book, on_device("numba-cuda"), on_device("numpy")
        ),
        "exercise": lambda book: exercise.exercise(book, on_device()),
        "exercise-fused": lambda book: exercise.exercise_fused(book, on_device()),
        "accuracy": lambda book: accuracy.accuracy_step(book, on_device()),
        "throughput": lambda book: speed.throughput_step(book, on_device()),
        "launches": lambda book: speed.launches_step(book, on_device()),
        "determinism": lambda book: accuracy.determinism_step(book, on_device()),
        "fused-right": lambda book: fused.fused_right(book, on_device()),
        "fused-speed": lambda book: fused_speed.fused_speed(book, on_device()),
        "fused-book": lambda book: fused_speed.fused_book(book, on_device()),
        "training": lambda book: training.compare(book, on_device(), on_device("numba")),
    }
    parser = argparse.ArgumentParser(prog="python -m bench.gpu_check.steps", description=__doc__)
    parser.add_argument("step", choices=steps)
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the findings go")
    parser.add_argument("--seconds", type=float, default=math.inf, help="time for it")
    options = parser.parse_args(arguments)
    notebook = Notebook(options.json, options.seconds)
    if REHEARSAL in os.environ:
        _rehearse()
    try:
        steps[options.step](notebook)
    except BackendUnavailableError as error:
        notebook.unavailable(str(error), step=options.step)
    except Exception as error:
        traceback.print_exc()
        notebook.problem(f"{type(error).__name__}: {error}")
    if options.json is None:
        print(json.dumps(notebook.found, indent=1))
    return 1 if notebook.found["problems"] or notebook.found["cuts"] else 0


def _rehearse() -> None:
    """The device of paper in the place of the GPU."""
    sys.path += [str(ROOT / "tests"), str(ROOT / "tests" / "backend")]
    importlib.import_module("paper").stand_in(setattr, dict.__setitem__)


if __name__ == "__main__":
    sys.exit(main())
