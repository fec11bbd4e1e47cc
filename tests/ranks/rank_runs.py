"""Programs on several ranks, started as a user does: by the mpiexec of this environment.

`run_ranks` is for every test that needs real ranks. What each rank found it writes with `say`,
one line of JSON in one piece: lines that several processes print at once may be mixed.
"""

from __future__ import annotations

import inspect
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from processes import MODULES

import nnfs_gpu

PACKAGE = Path(nnfs_gpu.__file__).resolve().parent.parent
BESIDE = Path(sys.executable).parent  # where mpich's wheel puts it
MPIEXEC = shutil.which("mpiexec", path=str(BESIDE)) or shutil.which("mpiexec")
ABORTED = re.compile(r"application called MPI_Abort\(comm=\w+, (\d+)\)")
START = """
import json, os, sys
def say(**found):
    os.write(1, (json.dumps(found) + "\\n").encode())
"""


@dataclass
class Finished:
    """How a program on ranks ended.

    code      mpiexec's exit code; None where its time was over and it was killed
    out, err  what all ranks have printed
    said      what they have handed to `say`, sorted by "rank" where they gave one
    """

    code: int | None
    out: str
    err: str
    said: list[dict] = field(default_factory=list)


def run_ranks(
    n: int,
    program: str | Sequence[str | os.PathLike],
    *,
    timeout: float = 60.0,
    env: Mapping[str, str | None] | None = None,
    until: str | None = None,
    ending: signal.Signals = signal.SIGINT,
) -> Finished:
    """Run Python on `n` ranks and wait until all have ended, which they do.

    program  Python source, which has `say`; or the arguments of python: a file, or -m and a module
    timeout  seconds, after which mpiexec and all ranks are killed
    env      variables beside those of this process; None takes one away
    until    text in the ranks' output at which mpiexec gets the signal `ending`

    Calls `check_mpiexec`.
    """
    if isinstance(program, str):
        program = ["-c", START + program]
    return _finished(start_ranks(n, program, env), timeout, until, ending)


def start_ranks(
    n: int, arguments: Sequence[str | os.PathLike], env: Mapping[str, str | None] | None = None
) -> subprocess.Popen:
    """The program, started; whoever calls it sees to its end."""
    check_mpiexec()
    path = os.pathsep.join([str(PACKAGE), MODULES])
    variables = os.environ | {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1"} | dict(env or {})
    return subprocess.Popen(
        [str(MPIEXEC), "-n", str(n), sys.executable, *map(str, arguments)],
        env={name: value for name, value in variables.items() if value is not None},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _finished(
    ranks: subprocess.Popen, timeout: float, until: str | None, ending: signal.Signals
) -> Finished:
    before, late = "", threading.Event()

    def kill() -> None:
        """Of mpiexec alone: its helpers see that it is gone, and kill the ranks."""
        late.set()
        ranks.kill()

    limit = threading.Timer(timeout, kill)
    limit.start()
    try:
        for line in ranks.stdout if until is not None else ():
            before += line
            if until in line:
                ranks.send_signal(ending)
                break
        out, err = ranks.communicate()
    finally:
        limit.cancel()
        ranks.kill()
    out = before + out
    said = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    code = None if late.is_set() else _code(ranks.returncode, err)
    return Finished(code, out, err, sorted(said, key=lambda one: one.get("rank", 0)))


def _code(code: int, err: str) -> int:
    """That of the rank that has aborted all. MPICH's mpiexec says 9 instead, one time in some 300:
    the signal by which it has ended the others.
    """
    aborted = ABORTED.search(err)
    return int(aborted[1]) if code == signal.SIGKILL and aborted else code


def check_mpiexec() -> None:
    """Skip the test where there is no mpiexec; in CI, fail it."""
    if MPIEXEC is None:
        problem = "no mpiexec is installed (pip install mpich mpi4py): ranks cannot be started"
        pytest.fail(problem) if os.environ.get("CI") else pytest.skip(problem)


def torch_world() -> str:
    """The code of the world over PyTorch that the docstring of `World` shows."""
    text = inspect.getdoc(nnfs_gpu.World)
    shown = re.search(r"^    class TorchWorld.*\n(?:(?:    .*)?\n)+", text, re.MULTILINE)[0]
    return textwrap.dedent(shown).strip()
