"""The steps of `make gpu-check`: what each runs, how long it may take, how its log is read.

Used by bench/gpu_check.py. Standard library alone. Most steps are those of bench/gpu_steps.py;
the test suite and compute-sanitizer have logs of their own kind.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NOT_INSTALLED = "test_nothing_of_ours_is_installed_at_the_top_level"  # here nothing is installed
TEST_SECONDS = 100  # for one test
IN_PROGRESS = re.compile(
    r"^(?:\[gw\d+\].*?(?:FAILED|ERROR) (?P<a>\S.*)|(?P<b>\S+::.*?) (?:FAILED|ERROR)\b)",
    re.MULTILINE,
)

Command = list[str] | str  # a str is the reason why a step cannot run here


@dataclass(frozen=True)
class Step:
    """A part of the check.

    command  (file for findings, seconds) -> what to run, or why not
    most     seconds it may take
    least    seconds kept for it while the steps before it run
    read     what its log says: (summary, problems)
    """

    name: str
    command: Callable[[Path, float], Command]
    most: float
    least: float
    read: Callable[[str], tuple[str, list[str]]] | None = None


# ---- what runs ----
def _part(name: str, most: float, least: float) -> Step:
    """A step of bench/gpu_steps.py, which is told to end a little before its limit."""

    def command(findings: Path, seconds: float) -> Command:
        own = str(max(1.0, seconds - 8))
        arguments = ["-m", "bench.gpu_steps", name, "--json", str(findings), "--seconds", own]
        return [sys.executable, *arguments]

    return Step(name, command, most, least)


def _tests(findings: Path, seconds: float) -> Command:
    """The suite, in several processes where pytest-xdist is there. Other plugins stay out:
    warnings are errors in our tests, and theirs are not ours."""
    command = [sys.executable, "-m", "pytest", str(ROOT / "tests"), "-vv", "--tb=short", "-rfE"]
    command += ["-c", str(ROOT / "pyproject.toml"), "-p", "no:cacheprovider"]
    command += ["--deselect", f"tests/test_packaging.py::{NOT_INSTALLED}"]
    if importlib.util.find_spec("xdist"):
        command += ["-p", "xdist", "-n", str(max(1, min(8, (os.cpu_count() or 2) // 2)))]
    if importlib.util.find_spec("pytest_timeout"):
        command += ["-p", "timeout", f"--timeout={TEST_SECONDS}"]
    return command


def _read_tests(log: str) -> tuple[str, list[str]]:
    counts = re.findall(r"^=*\s*(\d+ (?:passed|failed|error|skipped).*?)\s*=*$", log, re.MULTILINE)
    problems = re.findall(r"^(?:FAILED|ERROR) .*", log, re.MULTILINE)
    if not counts:  # stopped: what had failed until then
        problems = [f"FAILED {found['a'] or found['b']}" for found in IN_PROGRESS.finditer(log)]
    return (counts[-1] if counts else "no summary in the log"), problems


def _memcheck(findings: Path, seconds: float) -> Command:
    """Reads and writes outside an array; CuPy's own probing of the driver is no error."""
    options = ["memcheck", "--padding", "256", "--report-api-errors", "no"]
    return _watched(options, findings, seconds)


def _racecheck(findings: Path, seconds: float) -> Command:
    """Shared memory that one thread reads before another has written it."""
    return _watched(["racecheck"], findings, seconds)


def _watched(options: list[str], findings: Path, seconds: float) -> Command:
    tool = _sanitizer()
    if tool is None:
        return "compute-sanitizer is not on this machine"
    part = _part("exercise", 0, 0).command(findings, seconds)
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
    _part("environment", 40, 15),
    Step("tests", _tests, 210, 90, _read_tests),
    _part("crosscheck-cupy", 60, 25),
    _part("crosscheck-numba-cuda", 90, 25),
    Step("memcheck", _memcheck, 75, 25, _read_sanitizer),
    _part("accuracy", 70, 30),
    _part("fused-right", 60, 25),
    _part("throughput", 110, 50),
    _part("fused-speed", 100, 40),
    _part("fused-book", 30, 15),
    _part("launches", 30, 15),
    _part("determinism", 60, 25),
    _part("training", 60, 25),
)

# Asked for by name, with --only: slow, and not part of the 8 minutes.
EXTRA: tuple[Step, ...] = (Step("racecheck", _racecheck, 240, 60, _read_sanitizer),)
