"""Everything about the GPU in one command: python -m bench.gpu_check [--out DIR] [--minutes 9].

Runs in place on a machine that has the packages and no network: the package is put together
from copies under build/, so nothing is installed. Every step is a process of its own with a time
limit; one that fails, crashes or hangs does not stop the others, and a package that is missing
takes away only the steps that need it. While a step runs and after it
    DIR/gpu_check_<device>_<date>.json, .md and .log
are written anew, so that a kill leaves what was measured. The steps come in the order of their
value (bench/gpu_check/plan.py), and share the time in that order: what did not get any is "cut",
and the report ends with the command that goes on with it. Exit status 0: all steps passed (goals
that are missed are reported and do not count; a tool that this machine does not have does not,
either). 1: not so. 2: no GPU, or packages missing; nothing is written.

`--only` runs the steps that it names. `--rehearse` runs everything on the emulated device of the
tests, at tiny sizes: whether each step gets its time and ends, before a GPU is paid for.

Standard library alone, so that a broken package is a step that failed and no missing report.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from .plan import EXTRA, REHEARSAL, ROOT, STEPS, Step, kept_for
from .report import REHEARSED, markdown, short
from .run import nothing, run_step
from .tables import Results

REQUIRED = ("numpy", "cupy")
TREE = "tree"  # of `package_tree`, where the steps run: in ROOT itself, ROOT/nnfs_gpu would hide it


# ---- how it runs ----
def package_tree(folder: Path) -> Path:
    """A folder for PYTHONPATH with what a wheel would install: `nnfs_gpu` with `kernels` inside.
    Copies: through links, a module would find itself in the sources.
    """
    shutil.rmtree(folder, ignore_errors=True)
    ignored = shutil.ignore_patterns("__pycache__", "kernels")  # the link nnfs_gpu/kernels
    for source, place in (("nnfs_gpu", "nnfs_gpu"), ("kernels", "nnfs_gpu/kernels")):
        shutil.copytree(ROOT / source, folder / place, ignore=ignored)
    return folder


def step_environment(work: Path) -> dict[str, str]:
    """What the processes of the steps see."""
    cache = work / "numba"
    shutil.rmtree(cache, ignore_errors=True)  # Numba does not see every change of a source
    path = [str(package_tree(work / TREE)), str(ROOT), os.environ.get("PYTHONPATH", "")]
    changed = {
        "PYTHONPATH": os.pathsep.join(filter(None, path)),
        "PYTHONUNBUFFERED": "1",
        "PYTHONFAULTHANDLER": "1",  # a crash leaves a traceback in the log
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # JAX takes most of the memory otherwise
    }
    home = toolkit(os.environ)
    if home is not None:
        changed["CUDA_HOME"] = str(home)
    kept = {k: v for k, v in os.environ.items() if k != "NNFS_GPU_BACKEND"}
    return {"NUMBA_CACHE_DIR": str(cache)} | kept | changed


def toolkit(environment: os._Environ[str] | dict[str, str]) -> Path | None:
    """A CUDA toolkit with NVVM, Numba's compiler for the device; None where there is none, or
    a wheel has it. `nvcc` on the PATH may be a script that calls the real one.
    """

    def places() -> Iterator[Path]:
        for name in ("CUDA_HOME", "CUDA_PATH"):
            if environment.get(name):
                yield Path(environment[name])
        nvcc = shutil.which("nvcc", path=environment.get("PATH"))
        if nvcc:
            yield Path(nvcc).resolve().parent.parent
            text = Path(nvcc).read_bytes()[:4096].decode("utf-8", "replace")
            if text.startswith("#!"):
                yield from (Path(found).parent.parent for found in re.findall(r"/\S+/nvcc\b", text))
        for pattern in ("usr/local/cuda", "usr/local/cuda-*", "opt/cuda*", "usr/lib/cuda"):
            yield from sorted(Path("/").glob(pattern), reverse=True)
        if environment.get("CONDA_PREFIX"):
            yield Path(environment["CONDA_PREFIX"])

    return next((place for place in places() if any(place.glob("nvvm/lib*/libnvvm.so*"))), None)


class Report:
    """What was found, in files that are whole at any moment."""

    def __init__(self, out: Path, steps: Sequence[Step]):
        self.results: Results = {
            "device": REHEARSED if REHEARSAL in os.environ else _name(),
            "date": time.strftime("%Y-%m-%d-%H%M", time.gmtime()),
            "state": "unfinished",
            "out": str(out),
            "steps": [nothing(step) | {"status": "waiting", "summary": ""} for step in steps],
        }
        device = re.sub(r"[^a-z0-9]+", "-", self.results["device"].lower()).strip("-")
        self._file = out / f"gpu_check_{device}_{self.results['date']}"
        self.log = self._file.with_suffix(".log")
        out.mkdir(parents=True, exist_ok=True)
        self.log.touch()

    def put(self, number: int, found: Results) -> None:
        """The findings of a step, in the place of what was known of it."""
        self.results["steps"][number] = found
        self.write()

    def write(self) -> None:
        """Both reports, each whole or not at all."""
        try:
            report = markdown(self.results)
        except Exception as error:  # the figures matter more than their tables
            report = f"No tables: {type(error).__name__}: {error}. The figures are in the JSON."
        for ending, text in (("json", json.dumps(self.results, indent=1)), ("md", report)):
            temporary = self._file.with_name(f".{self._file.name}.{ending}.tmp")
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(self._file.with_suffix(f".{ending}"))


def run(steps: Sequence[Step], out: Path, work: Path, minutes: float) -> Results:
    """Run the steps, write the report all the while, return it."""
    end = time.monotonic() + 60 * minutes
    work.mkdir(parents=True, exist_ok=True)
    environment = step_environment(work)
    report = Report(out, steps)
    try:
        for number, step in enumerate(steps):
            left = end - time.monotonic()
            seconds = min(step.most, left - kept_for(steps[number + 1 :], left - step.least))
            findings = work / f"{step.name}.json"
            found = run_step(
                *(step, seconds, findings, report.log, work / TREE, environment),
                tell=partial(report.put, number),
            )
            report.put(number, found)
            line = f"{found['status']:12} {found['seconds']:6.1f} s  {step.name}"
            print(f"{line}: {found['summary'][:150]}", flush=True)
        report.results["state"] = "finished"
    finally:
        report.write()
    return report.results


def _name() -> str:
    """The device's, for the report's file name."""
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return "unknown device"
    return (done.stdout.strip().splitlines() or ["unknown device"])[0]


def problem_here() -> str | None:
    """Why nothing can be checked on this machine; None where it can."""
    if REHEARSAL in os.environ:
        return None if shutil.which("g++") else "nothing to rehearse on: g++ is not installed"
    missing = [name for name in REQUIRED if importlib.util.find_spec(name) is None]
    file = ROOT / "nnfs_gpu" / "backend" / "driver.py"
    version, found = runpy.run_path(str(file))["cuda_driver"]()
    if version is None:
        return f"no GPU to check: {found}"
    return f"missing packages: {', '.join(missing)}" if missing else None


def main(arguments: list[str] | None = None, steps: Sequence[Step] = STEPS) -> int:
    """The command; see the file's docstring for what it returns."""
    parser = argparse.ArgumentParser(prog="python -m bench.gpu_check", description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results", metavar="DIR")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "gpu_check", metavar="DIR")
    parser.add_argument("--minutes", type=float, default=9.0, help="for all steps together")
    known = {step.name: step for step in (*steps, *EXTRA)}
    parser.add_argument("--only", metavar="STEP,STEP", help=f"of {', '.join(known)}")
    rehearse = "on the emulated device of the tests, at tiny sizes"
    parser.add_argument("--rehearse", action="store_true", help=rehearse)
    options = parser.parse_args(arguments)
    wanted = options.only.split(",") if options.only else [step.name for step in steps]
    unknown = set(wanted) - set(known)
    if unknown:
        parser.error(f"--only: no step {', '.join(sorted(unknown))}")
    if options.rehearse:
        os.environ[REHEARSAL] = "1"
    if problem := problem_here():
        print(f"gpu-check: {problem}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the report is written then, too
    chosen = [step for name, step in known.items() if name in wanted]
    results = run(chosen, options.out.resolve(), options.work.resolve(), options.minutes)
    print(short(results))
    return 0 if all(s["status"] in ("passed", "unavailable") for s in results["steps"]) else 1


if __name__ == "__main__":
    sys.exit(main())
