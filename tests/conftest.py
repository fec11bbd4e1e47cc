"""Fixtures of the whole suite: the backends it runs over, and a clean slate for each test."""

from __future__ import annotations

import os

import numpy as np
import pytest
from emulation.emulator import COMPILER
from helpers import BACKENDS, DTYPES, EMULATED, EMULATED_MODULES, MUST_WORK, status_of
from processes import SIMULATOR, simulator_started

import nnfs_gpu.backend
from nnfs_gpu import get_backend, use_backend

if COMPILER is None:
    assert not os.environ.get("CI"), "CI must have g++: the CUDA kernels are run through it"


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


def pytest_generate_tests(metafunc):
    """Every backend that works here, and in the modules that prove operations the emulated one.

    What does not work is skipped once, with its reason, by test_backends.py.
    """
    if "backend_name" in metafunc.fixturenames:
        names = [name for name in BACKENDS if name in MUST_WORK or status_of(name).usable]
        if metafunc.module.__name__.startswith(EMULATED_MODULES) and status_of(EMULATED).usable:
            names.append(EMULATED)
        metafunc.parametrize("backend_name", names, indirect=True)


def pytest_configure(config):
    config.addinivalue_line("markers", "device: runs on a GPU; make gpu-check runs these alone")


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(items):
    """What runs on a backend of the GPU is marked; in a rehearsal, on the emulated one."""
    names = {"cupy", "numba-cuda"} | ({EMULATED} if "NNFS_GPU_REHEARSAL" in os.environ else set())
    for item in items:
        if hasattr(item, "callspec") and item.callspec.params.get("backend_name") in names:
            item.add_marker("device")


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
def compiler():
    """What runs the CUDA kernels on the CPU needs it: g++."""
    if COMPILER is None:
        pytest.skip("g++ is not installed: the CUDA kernels cannot run on the CPU")


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
