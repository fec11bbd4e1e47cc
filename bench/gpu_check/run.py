"""One step of `make gpu-check`, run: its process, its limit, its log, and what became of it.

Used by `python -m bench.gpu_check`. Standard library alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from .plan import Step
from .tables import Results

TICK = 2.0  # seconds between two looks at what a step has found: a kill loses no more
GRACE = 5.0  # seconds from Ctrl-C to the kill of a step whose time is over
TAIL = 4_000  # characters of the log of a step that did not pass, for the report


def nothing(step: Step) -> Results:
    """The findings of a step that has not run."""
    found: Results = {"name": step.name, "status": "cut", "seconds": 0.0, "summary": "no time left"}
    return found | {"records": [], "problems": [], "cuts": [], "notes": [], "log_tail": ""}


def run_step(
    step: Step,
    seconds: float,
    findings: Path,
    log: Path,
    folder: Path,
    environment: dict[str, str],
    tell: Callable[[Results], None],
) -> Results:
    """One step's findings and status; never raises for what the step does.

    findings  file that the step writes as it goes
    log       file that its output is added to
    tell      called with what was found so far, whenever it has grown
    """
    found = nothing(step)
    findings.unlink(missing_ok=True)
    if seconds < min(5.0, step.most):
        return found
    command = step.missing() or step.command(findings, seconds)
    if isinstance(command, str):
        return found | {"status": "unavailable", "summary": command}
    with log.open("ab") as file:
        file.write(f"\n==== {step.name}, up to {seconds:.0f} s\n".encode())
        begin = file.tell()
    start = time.monotonic()

    def look() -> Results:
        return (
            found
            | {"status": "running", "seconds": time.monotonic() - start, "summary": "unfinished"}
            | _read(findings)
        )

    tell(look())
    code = _run_process(command, seconds, log, folder, environment, lambda: tell(look()))
    found |= {"seconds": time.monotonic() - start} | _read(findings)
    with log.open("rb") as written:
        written.seek(begin)
        text = written.read().decode("utf-8", "replace")
    found |= _judge(step, code, text, found, seconds)
    if found["status"] not in ("passed", "unavailable"):
        found["log_tail"] = text[-TAIL:]
    return found


def _read(findings: Path) -> Results:
    """What stands in the file; nothing of pytest, or of a step that was killed early."""
    with contextlib.suppress(OSError, ValueError):
        found: Results = json.loads(findings.read_text(encoding="utf-8"))
        return found
    return {}


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
    if found.get("unavailable"):
        return {"status": "unavailable", "summary": found["unavailable"][0]}
    if summary.startswith("unavailable: "):
        return {"status": "unavailable", "summary": summary.removeprefix("unavailable: ")}
    if code < 0 or (code and not problems and not found["cuts"] and "; without" not in summary):
        name = f"signal {-code}" if code < 0 else f"exit status {code}"
        return {"status": "crashed", "summary": f"{name}; {summary}", "problems": [*problems, name]}
    if problems:
        return {"status": "failed", "summary": f"{summary}; {problems[0]}", "problems": problems}
    if found["cuts"]:
        return {"status": "cut", "summary": f"{summary}; {found['cuts'][0]}"}
    return {"status": "passed", "summary": summary}


def _run_process(
    command: list[str],
    seconds: float,
    log: Path,
    folder: Path,
    environment: dict[str, str],
    look: Callable[[], None],
) -> int | None:
    """Its exit status, negative for a signal; None where it was stopped at the limit: with
    Ctrl-C first, which lets a program say how far it came. Its children end with it, whatever
    happens here.
    """
    grace = min(GRACE, seconds / 4)
    end = time.monotonic() + seconds - grace
    with log.open("ab") as file:
        try:
            process = subprocess.Popen(
                command,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # A run in the background may have been told to ignore Ctrl-C; its steps hear it.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )
        except OSError as error:
            file.write(f"{command[0]}: {error}\n".encode())
            return 127
        try:
            while True:
                left = end - time.monotonic()
                try:
                    return process.wait(max(0.0, min(TICK, left)))
                except subprocess.TimeoutExpired:
                    if left <= TICK:
                        break
                    look()
            os.killpg(process.pid, signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(grace)
            return None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
