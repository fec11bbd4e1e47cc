"""Everything about the GPU in one command: python -m bench.gpu_check [--out DIR] [--minutes 8].

Runs in place on a machine that has the packages and no network: the package is put together
from copies under build/, so nothing is installed. Every step is a process of its own with a time
limit and a log; one that fails, crashes or hangs does not stop the others. After each step
    DIR/gpu_check_<device>_<date>.json and .md
are written anew, so that a kill leaves what was measured; whole logs are under build/gpu_check.
Steps share the time: what did not get any is "cut". Exit status 0: all steps passed (goals that
are missed are reported and do not count; a tool that this machine does not have does not,
either). 1: not so. 2: no GPU, or packages missing; nothing is written. `--only` runs the steps
that it names, also `racecheck`, which is not part of the whole.

Standard library alone, so that a broken package is a step that failed and no missing report.
"""

from __future__ import annotations

import argparse
import contextlib
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
from collections.abc import Sequence
from pathlib import Path

from .gpu_plan import EXTRA, STEPS, Step
from .gpu_report import Results, markdown, short

ROOT = Path(__file__).resolve().parent.parent
REQUIRED = ("numpy", "numba", "cupy", "pytest")
TREE = "tree"  # of `package_tree`, where the steps run: in ROOT itself, ROOT/nnfs_gpu would hide it
TAIL = 4_000  # characters of the log of a step that did not pass, for the report


# ---- how it runs ----
def package_tree(folder: Path) -> Path:
    """A folder for PYTHONPATH with what a wheel would install: `nnfs_gpu` with `kernels` inside.
    Copies: through links, a module would find itself in the sources."""
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
    defaults = {"NUMBA_CACHE_DIR": str(cache)}
    toolkit = Path(shutil.which("nvcc") or "/usr/local/cuda/bin/nvcc").resolve().parent.parent
    if (toolkit / "nvvm").is_dir():  # Numba's compiler for the device, where no wheel has it
        defaults["CUDA_HOME"] = str(toolkit)
    kept = {k: v for k, v in os.environ.items() if k != "NNFS_GPU_BACKEND"}
    return defaults | kept | changed


def run(steps: Sequence[Step], out: Path, work: Path, minutes: float) -> Results:
    """Run the steps, write the report after each, return it."""
    end = time.monotonic() + 60 * minutes
    work.mkdir(parents=True, exist_ok=True)
    environment = step_environment(work)
    date = time.strftime("%Y-%m-%d-%H%M", time.gmtime())
    results: Results = {"device": _name(), "date": date, "state": "unfinished", "steps": []}
    try:
        for number, step in enumerate(steps):
            kept = sum(later.least for later in steps[number + 1 :])
            seconds = min(step.most, end - time.monotonic() - kept)
            found = _run_step(step, seconds, work, environment)
            results["steps"].append(found)
            write(results, out)
            line = f"{found['status']:12} {found['seconds']:6.1f} s  {step.name}"
            print(f"{line}: {found['summary'][:150]}", flush=True)
        results["state"] = "finished"
    finally:
        write(results, out)
    return results


def _name() -> str:
    """The device's, for the report's file name."""
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return "unknown device"
    return (done.stdout.strip().splitlines() or ["unknown device"])[0]


def _run_step(step: Step, seconds: float, work: Path, environment: dict[str, str]) -> Results:
    """One step's findings and status; never raises for what the step does."""
    found: Results = {"name": step.name, "status": "cut", "seconds": 0.0, "summary": "no time left"}
    found |= {"records": [], "problems": [], "cuts": [], "notes": [], "log_tail": ""}
    findings, log = work / f"{step.name}.json", work / f"{step.name}.log"
    findings.unlink(missing_ok=True)
    if seconds < min(5.0, step.most):
        return found
    command = step.command(findings, seconds)
    if isinstance(command, str):
        return found | {"status": "unavailable", "summary": command}
    start = time.monotonic()
    code = _run_process(command, seconds, log, work / TREE, environment)
    found["seconds"] = time.monotonic() - start
    text = log.read_text(encoding="utf-8", errors="replace")
    with contextlib.suppress(OSError, ValueError):  # a step that was killed early, or pytest
        found |= json.loads(findings.read_text(encoding="utf-8"))
    found |= _judge(step, code, text, found, seconds)
    if found["status"] not in ("passed", "unavailable"):
        found["log_tail"] = text[-TAIL:]
    return found


def _judge(step: Step, code: int | None, log: str, found: Results, seconds: float) -> Results:
    """Status, summary and problems, from how the process ended and what it left."""
    problems = list(found["problems"])
    summary = f"{len(found['records'])} measurements"
    if step.read is not None:
        summary, more = step.read(log)
        problems += more
    if code is None:
        problems.append(f"timed out after {seconds:.0f} s")
        return {
            "status": "timed out",
            "summary": f"{problems[-1]}; {summary}",
            "problems": problems,
        }
    if summary.startswith("unavailable: "):
        return {"status": "unavailable", "summary": summary.removeprefix("unavailable: ")}
    if code < 0 or (code and not problems and not found["cuts"]):
        name = f"signal {-code}" if code < 0 else f"exit status {code}"
        return {"status": "crashed", "summary": f"{name}; {summary}", "problems": [*problems, name]}
    if problems:
        return {"status": "failed", "summary": f"{summary}; {problems[0]}", "problems": problems}
    if found["cuts"]:
        return {"status": "cut", "summary": f"{summary}; {found['cuts'][0]}"}
    return {"status": "passed", "summary": summary}


def _run_process(
    command: list[str], seconds: float, log: Path, folder: Path, environment: dict[str, str]
) -> int | None:
    """Its exit status, negative for a signal; None where it was stopped at the limit. Its
    children end with it, whatever happens here."""
    with log.open("wb") as file:
        try:
            process = subprocess.Popen(
                command,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            file.write(f"{command[0]}: {error}\n".encode())
            return 127
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def write(results: Results, out: Path) -> None:
    """Both reports, each whole or not at all."""
    try:
        report = markdown(results)
    except Exception as error:  # the figures matter more than their tables
        report = f"No tables: {type(error).__name__}: {error}. The figures are in the JSON file."
    out.mkdir(parents=True, exist_ok=True)
    device = re.sub(r"[^a-z0-9]+", "-", results["device"].lower()).strip("-")
    name = f"gpu_check_{device}_{results['date']}"
    for ending, text in (("json", json.dumps(results, indent=1)), ("md", report)):
        temporary = out / f".{name}.{ending}.tmp"
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(out / f"{name}.{ending}")


def problem_here() -> str | None:
    """Why nothing can be checked on this machine; None where it can."""
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
    parser.add_argument("--minutes", type=float, default=8.0, help="for all steps together")
    known = {step.name: step for step in (*steps, *EXTRA)}
    parser.add_argument("--only", metavar="STEP,STEP", help=f"of {', '.join(known)}")
    options = parser.parse_args(arguments)
    wanted = options.only.split(",") if options.only else [step.name for step in steps]
    unknown = set(wanted) - set(known)
    if unknown:
        parser.error(f"--only: no step {', '.join(sorted(unknown))}")
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
