"""Programs of the tests that need a process of their own, and where they find their modules.

Numba's simulator is one of them: one run for all tests, started early (see conftest.py).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import nnfs_gpu

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent
# The PYTHONPATH of a program that imports modules of the tests: the folders in which pytest finds
# them, and what it was before.
MODULES = os.pathsep.join(
    [folder for folder in sys.path if folder.startswith(str(TESTS))]
    + list(filter(None, [os.environ.get("PYTHONPATH")]))
)
SIMULATOR = pytest.StashKey[subprocess.Popen]()


def start_program(name: str, *options: str, **environment: str) -> subprocess.Popen:
    """A program of simulator/, started, on the package that is tested here."""
    package = Path(nnfs_gpu.__file__).resolve().parent.parent
    return subprocess.Popen(
        [sys.executable, *options, str(TESTS / "simulator" / name)],
        env=os.environ | environment | {"PYTHONPATH": str(package)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def program_output(program: subprocess.Popen):
    """The JSON that it writes, when it has ended."""
    out, err = program.communicate()
    assert program.returncode == 0, err
    return json.loads(out)


def simulator_started(config) -> subprocess.Popen:
    """Numba's simulator at work: one run for all tests."""
    if SIMULATOR not in config.stash:
        program = start_program("run.py", "-W", "error", NUMBA_ENABLE_CUDASIM="1")
        config.stash[SIMULATOR] = program
    return config.stash[SIMULATOR]
