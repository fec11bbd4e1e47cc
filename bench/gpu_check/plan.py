"""The steps of `make gpu-check`, the most valuable first: what each runs, and for how long.

Used by `python -m bench.gpu_check`. Standard library alone. Most steps are those of
bench/gpu_check/steps.py; the test suite and compute-sanitizer have logs of their own kind.

Seconds are for a machine on which nothing is compiled yet: `least` should see a step through on
a large GPU, `most` is when something hangs.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REHEARSAL = "NNFS_GPU_REHEARSAL"  # in the environment: the steps run on the emulated device
TEST_SECONDS = 100  # for one test
DEVICE_TESTS = re.compile(r"def \w+\([^)]*\bbackend(_name)?\b|mark\.device\b")  # in a file
FIRST_TESTS = ("test_fused_cuda_device", "test_contract", "test_operations", "test_gradients")
IN_PROGRESS = re.compile(
    r"^(?:\[gw\d+\].*?(?:FAILED|ERROR) (?P<a>\S.*)|(?P<b>\S+::.*?) (?:FAILED|ERROR)\b)",
    re.MULTILINE,
)
DONE = re.compile(r"^(?:\[gw\d+\].*? PASSED \S|\S+::.* PASSED\b)", re.MULTILINE)
NO_MODULE = re.compile(r"^E +ModuleNotFoundError: No module named '([\w.]+)'", re.MULTILINE)

Command = list[str] | str  # a str is the reason why a step cannot run here


@dataclass(frozen=True)
class Step:
    """A part of the check.

    command  (file for findings, seconds) -> what to run, or why not
    most     seconds it may take
    least    seconds kept for it while the steps before it run
    read     what its log says: (summary, problems)
    needs    modules without which there is nothing to run
    """

    name: str
    command: Callable[[Path, float], Command]
    most: float
    least: float
    read: Callable[[str], tuple[str, list[str]]] | None = None
    needs: tuple[str, ...] = ()

    def missing(self) -> str | None:
        """Why it cannot run here; None where nothing is missing."""
        absent = [name for name in self.needs if importlib.util.find_spec(name) is None]
        return f"not installed: {', '.join(absent)}" if absent else None


def kept_for(later: Sequence[Step], seconds: float) -> float:
    """Of `seconds`, those kept for the steps that come next: for as many as fit, in order."""
    kept = 0.0
    for step in later:
        if kept + step.least > seconds:
            break
        kept += step.least
    return kept


# ---- what runs ----
def _part(name: str, most: float, least: float, needs: tuple[str, ...] = ()) -> Step:
    """A step of bench/gpu_check/steps.py, which is told to end a little before its limit."""

    def command(findings: Path, seconds: float) -> Command:
        own = str(max(1.0, seconds - 8))
        arguments = ["-m", "bench.gpu_check.steps", name, "--json", str(findings), "--seconds", own]
        return [sys.executable, *arguments]

    return Step(name, command, most, least, None, needs)


def _tests(_findings: Path, _seconds: float) -> Command:
    """What of the suite runs on a device, in several processes where pytest-xdist is there. Other
    plugins stay out: warnings are errors in our tests, and theirs are not ours.
    """
    command = [sys.executable, "-m", "pytest", *map(str, device_tests()), "-m", "device"]
    command += ["-vv", "--tb=short", "-rfE", "--continue-on-collection-errors"]
    command += ["-c", str(ROOT / "pyproject.toml"), "-p", "no:cacheprovider"]
    if importlib.util.find_spec("xdist"):
        command += ["-p", "xdist", "-n", str(max(1, min(8, (os.cpu_count() or 2) // 2)))]
    if importlib.util.find_spec("pytest_timeout"):
        command += ["-p", "timeout", f"--timeout={TEST_SECONDS}"]
    return command


def device_tests() -> list[Path]:
    """The files with tests of a backend, the operations first; the others are not even read."""
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    found = [file for file in files if DEVICE_TESTS.search(file.read_text(encoding="utf-8"))]
    order = [next((i for i, n in enumerate(FIRST_TESTS) if f.stem.startswith(n)), 9) for f in found]
    return [file for _, file in sorted(zip(order, found, strict=True))]


def _read_tests(log: str) -> tuple[str, list[str]]:
    """A package that is not here takes its tests along, and is no failure."""
    counts = re.findall(r"^=*\s*(\d+ (?:passed|failed|error|skipped).*?)\s*=*$", log, re.MULTILINE)
    problems = re.findall(r"^(?:FAILED|ERROR) .*", log, re.MULTILINE)
    if not counts:  # stopped: what had failed until then
        problems = [f"FAILED {found['a'] or found['b']}" for found in IN_PROGRESS.finditer(log)]
    summary = counts[-1] if counts else f"{len(DONE.findall(log))} passed until then"
    absent = sorted(
        {name for name in NO_MODULE.findall(log) if importlib.util.find_spec(name) is None}
    )
    if absent:
        lost = [text for text in problems if text.startswith("ERROR ") and "::" not in text]
        problems = [text for text in problems if text not in lost]
        summary += f"; without {', '.join(absent)}: {len(lost)} files of tests left out"
    return summary, problems


def _memcheck(findings: Path, seconds: float) -> Command:
    """Reads and writes outside an array; CuPy's own probing of the driver is no error."""
    options = ["memcheck", "--padding", "256", "--report-api-errors", "no"]
    return _watched("exercise", options, findings, seconds)


def _racecheck(findings: Path, seconds: float) -> Command:
    """Shared memory that one thread reads before another has written it: the fused steps have
    the most of it. `racecheck-all` takes every kernel, and minutes.
    """
    return _watched("exercise-fused", ["racecheck"], findings, seconds)


def _racecheck_all(findings: Path, seconds: float) -> Command:
    return _watched("exercise", ["racecheck"], findings, seconds)


def _watched(name: str, options: list[str], findings: Path, seconds: float) -> Command:
    part = _part(name, 0, 0).command(findings, seconds)
    if REHEARSAL in os.environ:  # without the tool, which watches GPUs
        return part
    tool = _sanitizer()
    if tool is None:
        return "compute-sanitizer is not on this machine"
    return [tool, "--print-limit", "20", "--error-exitcode", "9", "--tool", *options, *part]


def _sanitizer() -> str | None:
    """The tool itself: on the PATH, in a CUDA toolkit, or in NVIDIA's wheels."""
    found = [shutil.which("compute-sanitizer")]
    places = ["/usr/local/cuda*/compute-sanitizer", "/usr/local/cuda*/bin", "/opt/cuda*/bin"]
    places += [f"{home}/*" for name in ("CUDA_HOME", "CUDA_PATH") if (home := os.environ.get(name))]
    places += [f"{path}/nvidia/*/compute-sanitizer" for path in sys.path if path]
    for place in places:
        pattern = Path(f"{place}/compute-sanitizer")
        found += map(str, sorted(Path("/").glob(str(pattern).lstrip("/"))))
    return next((path for path in found if path and Path(path).is_file()), None)


def _read_sanitizer(log: str) -> tuple[str, list[str]]:
    if REHEARSAL in os.environ:
        return "rehearsed without compute-sanitizer", []
    if re.search(r"device not supported", log, re.IGNORECASE):
        return "unavailable: compute-sanitizer does not support this device", []
    errors = re.findall(r"(?:ERROR|RACECHECK) SUMMARY: (\d+)", log)
    if not errors:
        return "no summary in the log", ["compute-sanitizer gave no summary"]
    count = int(errors[-1])
    wrong = r"^=+ ((?:Invalid|Misaligned|Out-of-range|(?:Error|Warning): Race).*)"
    problems = re.findall(wrong, log, re.MULTILINE)
    return f"{count} errors", (problems[:20] or [f"{count} errors"]) if count else []


STEPS: tuple[Step, ...] = (
    _part("environment", 30, 10),
    _part("crosscheck-cupy", 60, 40),
    _part("fused-right", 60, 40),
    _part("accuracy", 60, 40),
    _part("determinism", 45, 30),
    _part("crosscheck-numba", 90, 35, ("numba",)),  # which compiles for the CPU first
    Step("memcheck", _memcheck, 75, 50, _read_sanitizer),
    Step("racecheck", _racecheck, 60, 40, _read_sanitizer),
    _part("throughput", 100, 55),
    _part("fused-speed", 80, 50),
    _part("fused-book", 25, 15),
    _part("launches", 25, 15),
    _part("training", 70, 40, ("numba",)),  # Numba compiles for the CPU first
    Step("tests", _tests, 150, 60, _read_tests, ("pytest",)),
    _part("crosscheck-numba-cuda", 60, 20, ("numba", "numba_cuda")),
)

# Asked for by name, with --only: slow, and not part of the whole.
EXTRA: tuple[Step, ...] = (Step("racecheck-all", _racecheck_all, 240, 60, _read_sanitizer),)
