"""Fixtures of the whole suite: the backends it runs over, and a clean slate for each test."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import BACKENDS, DTYPES, EMULATED, EMULATED_MODULES, MUST_WORK

import nnfs_gpu.backend
from nnfs_gpu import available_backends, get_backend, use_backend

ROOT = Path(__file__).resolve().parent.parent


if shutil.which("g++") is None:
    assert not os.environ.get("CI"), "CI must have g++: the CUDA kernels are run through it"


# ---- programs that need a process of their own ----
SIMULATOR = pytest.StashKey[subprocess.Popen]()


def start_program(name: str, *options: str, **environment: str) -> subprocess.Popen:
    """A program of simulator/, started, on the package that is tested here."""
    package = Path(nnfs_gpu.__file__).resolve().parent.parent
    return subprocess.Popen(
        [sys.executable, *options, str(Path(__file__).parent / "simulator" / name)],
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


def pytest_collection_finish(session):
    """The simulator takes longest and needs one core: it works beside the tests before its own.

    Not under pytest-xdist, whose workers each collect all tests and run some.
    """
    asked = any("simulated" in getattr(item, "fixturenames", ()) for item in session.items)
    if asked and not session.config.option.collectonly and "PYTEST_XDIST_WORKER" not in os.environ:
        simulator_started(session.config)


def pytest_unconfigure(config):
    """A run that ends early leaves nothing behind."""
    if SIMULATOR in config.stash and config.stash[SIMULATOR].poll() is None:
        config.stash[SIMULATOR].kill()
        config.stash[SIMULATOR].communicate()


@functools.cache
def _status(name: str):
    if name == EMULATED:
        missing = shutil.which("g++") is None
        reason = "g++ is missing: it compiles the CUDA kernels for the CPU"
        return nnfs_gpu.backend.BackendStatus(name, not missing, reason, "install g++")
    return available_backends()[name]


def pytest_generate_tests(metafunc):
    """Every backend that works here, and in the modules that prove operations the emulated one.

    What does not work is skipped once, with its reason, by test_backends.py.
    """
    if "backend_name" in metafunc.fixturenames:
        names = [name for name in BACKENDS if name in MUST_WORK or _status(name).usable]
        if metafunc.module.__name__.startswith(EMULATED_MODULES) and _status(EMULATED).usable:
            names.append(EMULATED)
        metafunc.parametrize("backend_name", names, indirect=True)


@pytest.fixture
def backend_name(request, monkeypatch) -> str:
    """The name of a backend; the emulated one can be asked for by name in its test alone."""
    if request.param == EMULATED:
        place = ("emulation.backend", "EmulatedCupyBackend")
        monkeypatch.setitem(nnfs_gpu.backend._MODULES, EMULATED, place)
    return request.param


@pytest.fixture(params=DTYPES)
def dtype(request) -> np.dtype:
    """float32 and float64."""
    return np.dtype(request.param)


@pytest.fixture
def backend(request, backend_name, dtype):
    """Each backend in each dtype, with its own settings and not a former test's.

    Where a test is marked `default_backend`, the default that objects are constructed with.
    (A fixture of this name in a module would do; pytest before 9 does not see through it.)
    """
    chosen = get_backend(backend_name, dtype=dtype, precise_dot=False, book_random=False)
    if request.node.get_closest_marker("default_backend"):
        use_backend(chosen)
    return chosen


@pytest.fixture
def oracle():
    """The specification in float64."""
    return get_backend("numpy", dtype="float64", precise_dot=False, book_random=False)


@pytest.fixture(autouse=True)
def _clean_slate():
    """Put the default backend and NumPy's global random state back after each test."""
    default, state = nnfs_gpu.backend._default, np.random.get_state()
    yield
    nnfs_gpu.backend._default = default
    np.random.set_state(state)


@pytest.fixture
def fresh(monkeypatch):
    """Selection as in a new process: no default, nothing made, nothing logged; on the CPU."""
    selection = nnfs_gpu.backend
    monkeypatch.delenv("NNFS_GPU_BACKEND", raising=False)
    monkeypatch.setattr(selection, "AUTO_ORDER", ("numba", "numpy"))  # with a GPU or without
    monkeypatch.setattr(selection, "_default", None)
    monkeypatch.setattr(selection, "_made", {})
    monkeypatch.setattr(selection, "_logged", set())
