"""Fixtures of the whole suite: the backends it runs over, and a clean slate for each test."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import BACKENDS, DTYPES, EMULATED, EMULATED_MODULES, MUST_WORK

import nnfs_gpu.backend
from nnfs_gpu import available_backends, get_backend

ROOT = Path(__file__).resolve().parent.parent


def _numba_cache_folder() -> Path:
    """A folder of its own for every state of the kernels.

    Numba's cache looks at the file of the kernel that is called, not at the files of the
    functions that it calls: after a change there it would run old code. The name holds what
    the code depends on, so that old code is never found. (Numba itself adds Python, CPU.)
    """
    digest = hashlib.sha256()
    for file in sorted((ROOT / "kernels").rglob("*.py")):
        digest.update(file.relative_to(ROOT).as_posix().encode() + b"\0" + file.read_bytes())
    try:
        version = importlib.metadata.version("numba")
    except importlib.metadata.PackageNotFoundError:  # the numba tests will fail and say so
        version = "none"
    digest.update(version.encode())
    return ROOT / ".numba_cache" / digest.hexdigest()[:16]


# Before anything imports Numba; subprocesses of the tests inherit it.
assert "numba" not in sys.modules, "Numba is imported already: it would use another cache"
os.environ.setdefault("NUMBA_CACHE_DIR", str(_numba_cache_folder()))


if shutil.which("g++") is None:
    assert not os.environ.get("CI"), "CI must have g++: the CUDA kernels are run through it"


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
        if metafunc.module.__name__ in EMULATED_MODULES and _status(EMULATED).usable:
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
def backend(backend_name, dtype):
    """Each backend in each dtype, with its own settings and not a former test's."""
    return get_backend(backend_name, dtype=dtype, precise_dot=False, book_random=False)


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
