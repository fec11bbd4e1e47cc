"""Which backend is taken where CuPy is absent, there twice, for another driver, or lacks a part.

Each machine is made up: a `cupy` module, its packages and a driver library of our own. Proves,
for each, what `available_backends` says was found and what to do about it, that "auto" falls back
and says so once, and that a choice by name raises with both; that `nnfs-gpu info` and the
numba-cuda backend say the same; and that a machine where all works is used.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import types

import numpy as np
import pytest
from gpu_machines import DRIVER_12, MACHINES, Cupy, Driver, machine

from nnfs_gpu import Layer_Dense, available_backends, get_backend, use_backend
from nnfs_gpu.backend import BackendUnavailableError, driver
from nnfs_gpu.backend.cuda import libraries as cuda_libraries, probe as cuda_probe
from nnfs_gpu.backend.cupy_backend import CupyBackend
from nnfs_gpu.cli import info as cli_info


@pytest.fixture(params=MACHINES)
def broken(request, monkeypatch):
    """(reason, remedy) of a machine whose GPU cannot be used."""
    cupy, library, reason, remedy = MACHINES[request.param]
    machine(monkeypatch, cupy, library)
    return reason, remedy


def test_what_is_missing_and_what_to_do(broken):
    reason, remedy = broken
    status = available_backends()["cupy"]
    assert not status.usable
    assert re.search(reason, status.reason)
    assert re.search(remedy, status.remedy)
    assert "\n" not in status.reason + status.remedy


def test_the_numba_cuda_backend_needs_the_same(broken, monkeypatch):
    """After what it needs itself, which the stand-in has: it lies on CuPy's arrays."""
    from nnfs_gpu.backend.numba_cuda import launch as launching

    reason, remedy = broken
    monkeypatch.setattr(launching, "cuda", types.SimpleNamespace(implementation="NVIDIA"))
    monkeypatch.setattr(launching, "SIMULATOR", False)
    monkeypatch.setattr(launching, "_compile", lambda: None)
    status = available_backends()["numba-cuda"]
    assert re.search(reason, status.reason)
    assert re.search(remedy, status.remedy)
    assert "NUMBA_ENABLE_CUDASIM=1" in status.remedy


def test_info_says_the_same(broken, capsys):
    reason, remedy = broken
    assert cli_info.run("-") == 0
    found = json.loads(capsys.readouterr().out)
    assert re.search(reason, found["backends"]["cupy"]["reason"])
    assert re.search(remedy, found["backends"]["cupy"]["remedy"])
    assert found["auto"] == "numba"


def test_auto_falls_back_and_says_why_once(broken, caplog):
    caplog.set_level(logging.INFO, logger="nnfs_gpu")
    assert get_backend().name == "numba"
    for _ in range(2):
        assert get_backend("auto").name == "numba"
        use_backend("auto", dtype="float64")
    layer = Layer_Dense(2, 3)
    assert isinstance(layer.forward(np.ones((1, 2))), np.ndarray)
    (message,) = caplog.messages
    assert re.match(f"backend auto: took numba; not cupy: {broken[0]}", message)


def test_a_choice_by_name_raises_with_reason_and_remedy(broken):
    reason, remedy = broken
    use_backend("numpy")
    before = get_backend()
    pattern = (
        f"^backend 'cupy' cannot be used: {reason}.*; .*{remedy}.*, or choose another backend$"
    )
    for call in (get_backend, use_backend):
        with pytest.raises(BackendUnavailableError, match=pattern) as caught:
            call("cupy")
        assert caught.value.__cause__ is not None
    assert get_backend() is before


def test_the_environment_variable_is_a_choice_by_name(broken, monkeypatch):
    monkeypatch.setenv("NNFS_GPU_BACKEND", "cupy")
    with pytest.raises(BackendUnavailableError, match=broken[0]):
        Layer_Dense(2, 3)


def test_the_stages_come_in_order(monkeypatch):
    """Nothing is compiled where there is no driver; a machine is probed again when it changed."""
    cupy = Cupy()
    machine(monkeypatch, cupy, None)
    assert not available_backends()["cupy"].usable
    assert cupy.probed == 0
    machine(monkeypatch, cupy, Driver())
    assert available_backends()["cupy"].usable
    assert cupy.probed == 1


def test_a_machine_where_all_works_is_used(monkeypatch, caplog):
    caplog.set_level(logging.INFO, logger="nnfs_gpu")
    machine(monkeypatch, Cupy(built=12090), Driver(version=12080, devices=2))
    monkeypatch.setattr(CupyBackend, "_runtime", lambda self: (np, None))
    assert available_backends()["cupy"].reason == ("cupy 14.2, CUDA 12.8, 2 device(s), Paper 9000")
    assert get_backend().name == "cupy"
    assert Layer_Dense(2, 3).backend.name == "cupy"
    assert caplog.messages == ["backend auto: took cupy"]


def test_the_wheel_that_make_installs_is_the_drivers(monkeypatch):
    for library, expected in (
        (None, ""),
        (Driver(devices=0), ""),
        (Driver(version=11080), ""),
        (Driver(version=12020), "cuda12"),
        (Driver(version=13000), "cuda13"),
        (Driver(version=14000), "cuda13"),
    ):
        machine(monkeypatch, None, library)
        assert driver.extra(driver.cuda_driver()[0]) == expected


def test_a_wheel_of_an_older_cuda_than_the_drivers_works(monkeypatch):
    machine(monkeypatch, Cupy("", ("cupy-cuda12x",), built=12090), Driver())
    assert available_backends()["cupy"].usable


def test_a_warning_of_cupys_import_is_no_error(monkeypatch, tmp_path):
    """Under `python -W error`, as in these tests, too."""
    machine(monkeypatch, None, None)
    (tmp_path / "cupy.py").write_text(
        "import warnings; warnings.warn('old NumPy', stacklevel=1); __version__ = '14'"
    )
    monkeypatch.delitem(sys.modules, "cupy")
    monkeypatch.syspath_prepend(tmp_path)
    assert cuda_probe.import_cupy().__version__ == "14"


def test_cupy_that_does_not_load_says_why_in_a_line(monkeypatch, tmp_path):
    machine(monkeypatch, None, DRIVER_12)
    monkeypatch.setattr(cuda_probe, "installed_wheels", lambda: ["cupy-cuda13x"])
    (tmp_path / "cupy.py").write_text(
        "try:\n    raise ImportError('libcudart.so.13: no such file')\n"
        "except ImportError as error:\n"
        "    raise ImportError('=====\\nFailed to import CuPy.\\n\\nHints') from error\n"
    )
    monkeypatch.delitem(sys.modules, "cupy")
    monkeypatch.syspath_prepend(tmp_path)
    status = available_backends()["cupy"]
    assert status.reason == "CuPy does not load: ImportError: libcudart.so.13: no such file"
    assert status.remedy == (
        "pip uninstall -y cupy-cuda13x nvidia-cublas nvidia-cuda-nvrtc; "
        "pip install 'nnfs-gpu[cuda12]'"
    )


def test_installed_wheels_are_those_of_the_environment(monkeypatch):
    """The names of the packages, not the folder: two of them share it."""
    there = {"cupy-cuda12x", "cupy"}

    def version(name):
        if name not in there:
            raise cuda_probe.metadata.PackageNotFoundError(name)
        return "14.2"

    monkeypatch.setattr(cuda_probe.metadata, "version", version)
    assert cuda_probe.installed_wheels() == ["cupy", "cupy-cuda12x"]
    there |= {"nvidia-cublas", "nvidia-cufft-cu12"}
    assert cuda_libraries.installed_libraries(13) == ["nvidia-cublas"]
    assert cuda_libraries.installed_libraries(12) == ["nvidia-cufft-cu12"]


def test_the_probe_does_not_hide_an_error_of_ours(monkeypatch):
    """What CuPy raises when it is imported, other than that it is not there, is its own reason."""
    machine(monkeypatch, Cupy(), Driver())

    def fail():
        raise ValueError("binary incompatibility")

    monkeypatch.setattr(cuda_probe, "import_cupy", fail)
    status = available_backends()["cupy"]
    assert status.reason == "ValueError: binary incompatibility"
    assert "reinstall CuPy" in status.remedy
