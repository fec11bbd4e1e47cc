"""What "auto" takes, what is said when a backend fails, and the choice from outside.

Proves: `available_backends` says what works and why not; "auto" takes the first that works and
says once why not the others; an explicit choice that cannot work says what to do;
NNFS_GPU_BACKEND decides from outside.
"""

import logging
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from helpers import BACKENDS

import nnfs_gpu.backend as selection
from nnfs_gpu import (
    Layer_Dense,
    available_backends,
    get_backend,
    spiral_data,
    use_backend,
)
from nnfs_gpu.backend import AUTO_ORDER, BackendStatus, BackendUnavailableError

NAMES = ", ".join(("auto", *available_backends()))
IMPLEMENTATIONS = (
    "nnfs_gpu.backend.numba_backend",
    "nnfs_gpu.backend.cpu.launch",
    "nnfs_gpu.kernels",
)


@pytest.fixture
def no_numba(fresh, monkeypatch):
    """Numba cannot be imported, as where it is not installed."""
    for name in list(sys.modules):
        if name.startswith(IMPLEMENTATIONS):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "numba", None)


def run(code, **environment):
    """`code` in a new process: (exit status, stdout, stderr)."""
    clean = {key: value for key, value in os.environ.items() if key != "NNFS_GPU_BACKEND"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=clean | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout.strip(), done.stderr


# ---- what works here ----


def test_available_backends_has_them_all():
    found = available_backends()
    assert {*BACKENDS, *AUTO_ORDER} <= set(found)
    assert AUTO_ORDER[-2:] == ("numba", "numpy")
    for name, status in found.items():
        assert isinstance(status, BackendStatus)
        assert status.name == name
        assert bool(status.remedy) is not status.usable
        assert status.reason
    assert found["numpy"] == BackendStatus("numpy", True, f"numpy {np.__version__}", "")
    assert found["numba"].usable
    assert found["numba"].reason.startswith("numba ")


def test_available_backends_says_why_not(no_numba):
    status = available_backends()["numba"]
    assert not status.usable
    assert status.reason.startswith("ModuleNotFoundError: ")
    assert "numba" in status.reason
    assert "pip install" in status.remedy
    assert available_backends()["numpy"].usable


# ---- auto ----


def test_auto_takes_the_first_usable_of_its_order():
    usable = [name for name in AUTO_ORDER if available_backends()[name].usable]
    assert get_backend("auto").name == usable[0]


def test_auto_takes_the_first_that_works_and_says_so_once(fresh, caplog):
    caplog.set_level(logging.INFO, logger="nnfs_gpu")
    assert get_backend().name == "numba"
    for _ in range(3):
        get_backend("auto")
        get_backend("auto", dtype="float64")
        use_backend("auto")
        Layer_Dense(2, 3)
        spiral_data(5, 3)
    assert caplog.record_tuples == [("nnfs_gpu", logging.INFO, "backend auto: took numba")]


def test_auto_without_numba_is_numpy_and_says_why(no_numba, caplog):
    caplog.set_level(logging.INFO, logger="nnfs_gpu")
    assert get_backend().name == "numpy"
    assert get_backend("auto").name == "numpy"
    assert np.isfinite(Layer_Dense(2, 3).forward([[1.0, 2.0]])).all()
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("nnfs_gpu", logging.INFO)
    assert record.getMessage().startswith(
        "backend auto: took numpy; not numba: ModuleNotFoundError: "
    )


@pytest.mark.parametrize(
    "error",
    [ImportError("needs NumPy 2.3 or less"), RuntimeError("no"), OSError(), SystemError("x")],
)
def test_a_broken_numba_is_passed_over_with_its_own_words(fresh, monkeypatch, caplog, error):
    """Whatever an installation raises when it is imported."""

    def fail(name):
        if name.endswith("numba_backend"):
            raise error
        return importer(name)

    importer = selection.importlib.import_module
    caplog.set_level(logging.INFO, logger="nnfs_gpu")
    monkeypatch.setattr(selection.importlib, "import_module", fail)
    assert get_backend().name == "numpy"
    assert caplog.messages == [
        f"backend auto: took numpy; not numba: {type(error).__name__}: {error}"
    ]
    with pytest.raises(BackendUnavailableError, match=type(error).__name__) as caught:
        get_backend("numba")
    assert str(error) in str(caught.value)


def test_nothing_is_printed_by_a_choice(fresh, capfd):
    get_backend()
    available_backends()
    assert capfd.readouterr() == ("", "")


def test_no_backend_at_all(fresh, monkeypatch):
    def fail(name):
        raise ImportError(f"no {name}")

    monkeypatch.setattr(selection.importlib, "import_module", fail)
    with pytest.raises(BackendUnavailableError, match=r"no backend works here: numba: .*; numpy: "):
        get_backend()
    assert not any(status.usable for status in available_backends().values())


def test_an_explicit_choice_that_cannot_work_says_what_to_do(no_numba):
    use_backend("numpy")
    before = get_backend()
    for call in (get_backend, use_backend):
        with pytest.raises(
            BackendUnavailableError,
            match=r"^backend 'numba' cannot be used: ModuleNotFoundError: .*numba.*; "
            r"reinstall it with: pip install .*numba, or choose another backend$",
        ):
            call("numba")
    assert get_backend() is before


def test_a_backend_that_failed_works_once_it_is_repaired(no_numba, monkeypatch):
    assert get_backend("auto").name == "numpy"
    monkeypatch.undo()  # Numba is back
    assert get_backend("numba").name == "numba"


# ---- from outside ----

SHOW = "import nnfs_gpu as n; b = n.get_backend(); print(b.name, b.dtype, b.precise_dot)"
BLOCK = "import sys; sys.modules['numba'] = sys.modules['cupy'] = None; "


@pytest.mark.parametrize(
    ("value", "expected"),
    [("numpy", "numpy"), ("numba", "numba"), ("auto", "numba"), ("", "numba"), (None, "numba")],
)
def test_environment_variable(fresh, monkeypatch, value, expected):
    if value is not None:
        monkeypatch.setenv("NNFS_GPU_BACKEND", value)
    assert (get_backend().name, get_backend().dtype) == (expected, "float32")
    assert Layer_Dense(2, 3).backend.name == expected


def test_environment_variable_is_only_the_default(fresh, monkeypatch):
    monkeypatch.setenv("NNFS_GPU_BACKEND", "numpy")
    assert get_backend("numba").name == "numba"
    assert get_backend().name == "numpy"
    use_backend("numba")
    assert get_backend().name == "numba"


def test_environment_variable_in_a_new_process():
    assert run(SHOW, NNFS_GPU_BACKEND="numpy") == (0, "numpy float32 False", "")


def test_unknown_name_in_the_environment_of_a_new_process():
    status, out, err = run(SHOW, NNFS_GPU_BACKEND="gpu")
    assert (status, out) == (1, "")
    assert err.splitlines()[-1].startswith(
        f"ValueError: unknown backend 'gpu': expected one of {NAMES}"
    )


def test_the_message_says_where_the_name_comes_from(fresh, monkeypatch):
    monkeypatch.setenv("NNFS_GPU_BACKEND", "gpu")
    with pytest.raises(ValueError, match="NNFS_GPU_BACKEND"):
        get_backend()


def test_unusable_name_in_the_environment_of_a_new_process():
    status, out, err = run(BLOCK + SHOW, NNFS_GPU_BACKEND="numba")
    assert (status, out) == (1, "")
    last = err.splitlines()[-1]
    assert "BackendUnavailableError: backend 'numba' cannot be used: ModuleNotFoundError" in last
    assert "pip install" in last


def test_auto_without_numba_in_a_new_process():
    logs = "import logging; logging.basicConfig(level='INFO', format='%(name)s %(message)s'); "
    status, out, err = run(BLOCK + logs + SHOW + "; n.Layer_Dense(2, 3)", NNFS_GPU_BACKEND="auto")
    assert (status, out) == (0, "numpy float32 False")
    (line,) = err.splitlines()
    assert re.match(
        "nnfs_gpu backend auto: took numpy;.* not numba: ModuleNotFoundError: .*numba", line
    )
