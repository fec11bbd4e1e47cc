"""Running the real command in processes of its own, for the tests of the command line.

A start costs about half a second, so commands that do not depend on one another are started
together, and what several tests look at is made once for all (the fixture `trained`).
"""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nnfs_gpu.show import picture

posix = pytest.mark.skipif(os.name != "posix", reason="signals and terminals of POSIX systems")
ESCAPE = "\x1b"

ENVIRONMENT = os.environ | {
    "OPENBLAS_NUM_THREADS": "1",  # small products: a second thread only waits
    "TERM": "xterm",
    "NNFS_GPU_BACKEND": "numpy",  # what --backend overrides; starts faster than numba
}
for name in ("FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "COLUMNS"):
    ENVIRONMENT.pop(name, None)


def command(*arguments) -> list[str]:
    return [sys.executable, "-m", "nnfs_gpu.cli", *map(str, arguments)]


def run(
    *arguments, stdin: bytes = b"", cwd=None, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess:
    """One run of the real command; stdout and stderr as text. `env`: variables beside its own."""
    done = subprocess.run(
        command(*arguments),
        input=stdin,
        capture_output=True,
        cwd=cwd,
        env=ENVIRONMENT | (env or {}),
        timeout=120,
    )
    done.stdout, done.stderr = done.stdout.decode(), done.stderr.decode()
    return done


def started(*arguments, **options) -> subprocess.Popen:
    """The real command at work, to be read from and sent signals."""
    settings = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": ENVIRONMENT}
    # A shell's background jobs ignore Ctrl-C, and children inherit that.
    settings["preexec_fn"] = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
    return subprocess.Popen(command(*arguments), text=True, **settings | options)


def together(*runs) -> list[subprocess.CompletedProcess]:
    """Independent commands, two at a time."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda arguments: run(*arguments), runs))


IN_TURN = """
import contextlib, io, json, sys
import typer
from nnfs_gpu.cli.app import app
from nnfs_gpu.cli.errors import run_command

command, results = typer.main.get_command(app), []
for arguments in json.load(sys.stdin):
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        code = run_command(command, arguments)
    results.append((code, said.getvalue()))
json.dump(results, sys.stdout)
"""


def in_one_process(commands, folder: Path) -> list[tuple[int, str]]:
    """(exit code, stderr) of commands that write nothing to stdout: one start for all."""
    done = subprocess.run(
        [sys.executable, "-c", IN_TURN],
        input=json.dumps([list(map(str, command)) for command in commands]),
        capture_output=True,
        text=True,
        cwd=folder,
        env=ENVIRONMENT,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return [tuple(result) for result in json.loads(done.stdout)]


def assert_png(path: Path) -> None:
    """A whole PNG of the promised size."""
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", data[16:24]) == (picture.WIDTH, picture.HEIGHT)
    assert data[-8:-4] == b"IEND"


TRAIN = ("train", "--samples", 3000, "--epochs", 9, "--batch-size", 64, "--learning-rate", 0.02)
TRAIN += ("--hidden", "64,48", "--seed", 5, "--backend", "numpy")


_made: list = []


def trained_once(factory):
    """(folder, the run that filled it, the same run again as JSON on stdout without a picture).

    Made when the first test asks for it; `factory` is pytest's tmp_path_factory.
    """
    if not _made:
        _made.append(_train(factory.mktemp("trained")))
    return _made[0]


def _train(base: Path):
    first, second = together(
        (*TRAIN, "--out", base / "made" / "here"),
        (*TRAIN, "--out", base / "again", "--no-plot", "--json", "-"),
    )
    assert first.returncode == 0, first.stderr
    assert second.returncode == 0, second.stderr
    return base / "made" / "here", first, second
