"""Which backend is taken where CuPy is absent, has no driver, no device, no compiler, no memory.

Each machine is made up: a `cupy` module and a driver library of our own. Proves, for each, what
`available_backends` says was found and what to do about it, that "auto" falls back and says so
once, and that a choice by name raises with both; and that a machine where all works is used.
"""

from __future__ import annotations

import ctypes
import logging
import re
import sys
import types

import numpy as np
import pytest

import nnfs_gpu.backend as selection
from nnfs_gpu import Layer_Dense, available_backends, get_backend, use_backend
from nnfs_gpu.backend import BackendUnavailableError, cuda_probe, driver
from nnfs_gpu.backend.cupy_backend import CupyBackend


# ---- machines of paper ----
class Driver:
    """libcuda: how it starts, and how many devices it has."""

    def __init__(self, starts=0, devices=1, version=13000):
        self.starts, self.devices, self.version = starts, devices, version

    def cuInit(self, flags):  # noqa: N802 - CUDA's names
        return self.starts

    def cuDriverGetVersion(self, to):  # noqa: N802
        to._obj.value = self.version
        return 0

    def cuDeviceGetCount(self, to):  # noqa: N802
        to._obj.value = self.devices
        return 0


class Cupy(types.ModuleType):
    """CuPy as far as the probe goes, with one thing broken."""

    __version__ = "13.9"

    def __init__(self, broken=""):
        super().__init__("cupy")
        self.broken, self.probed = broken, 0
        properties = {"name": b"Paper 9000"}
        runtime = types.SimpleNamespace(getDeviceProperties=lambda device: properties)
        device = types.SimpleNamespace(id=0)
        self.cuda = types.SimpleNamespace(Device=lambda: device, runtime=runtime)

    def RawModule(self, code, backend):  # noqa: N802 - CuPy's name
        self.probed += 1
        if self.broken == "compiler":
            raise RuntimeError("CuPy failed to load libnvrtc.so.13")
        return types.SimpleNamespace(get_function=lambda name: self._probe)

    def _probe(self, grid, block, arguments):
        if self.broken == "launch":
            raise RuntimeError("CUDA_ERROR_NO_BINARY_FOR_GPU")
        arguments[0][0] = 0 if self.broken == "kernel" else 1

    def zeros(self, shape, dtype):
        if self.broken == "memory":
            raise MemoryError("Out of memory allocating 512 bytes")
        return np.zeros(shape, dtype)


# name: (the cupy module, the driver, what is found, what to do)
MACHINES = {
    "no CuPy": (None, Driver(), "CuPy is not installed", r"pip install 'nnfs-gpu\[cuda13\]'"),
    "no driver": (Cupy(), None, "no CUDA driver: .* is not on this machine", "install the NVIDIA"),
    "driver that does not start": (
        *(Cupy(), Driver(starts=100)),
        *("the CUDA driver does not start: cuInit returned 100", "install the NVIDIA driver"),
    ),
    "no device": (Cupy(), Driver(devices=0), "a CUDA driver, but no device", "the numba backend"),
    "no NVRTC": (
        *(Cupy("compiler"), Driver()),
        *(r"NVRTC does not compile: RuntimeError: .*libnvrtc", r"cupy-cuda13x\[ctk\]"),
    ),
    "no memory": (
        *(Cupy("memory"), Driver()),
        *("the device does not work: MemoryError: Out of memory", "nvidia-smi"),
    ),
    "kernel that cannot run": (
        *(Cupy("launch"), Driver()),
        *("the device does not work: RuntimeError: CUDA_ERROR_NO_BINARY", "nvidia-smi"),
    ),
    "kernel that writes nothing": (
        *(Cupy("kernel"), Driver()),
        *("the device does not work: .*wrote nothing", "nvidia-smi"),
    ),
}


def machine(monkeypatch, cupy, library):
    """This process on a machine with that CuPy and that driver, nothing chosen yet."""

    def load(name):
        if library is None:
            raise OSError(f"{name}: cannot open shared object file")
        return library

    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setattr(driver, "ctypes", types.SimpleNamespace(**vars(ctypes) | {"CDLL": load}))
    monkeypatch.delenv("NNFS_GPU_BACKEND", raising=False)
    monkeypatch.setattr(selection, "_default", None)
    monkeypatch.setattr(selection, "_made", {})
    monkeypatch.setattr(selection, "_logged", set())


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
    machine(monkeypatch, Cupy(), Driver(version=12080, devices=2))
    monkeypatch.setattr(CupyBackend, "_runtime", lambda self: (np, None))
    assert available_backends()["cupy"].reason == ("cupy 13.9, CUDA 12.8, 2 device(s), Paper 9000")
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


def test_the_probe_does_not_hide_an_error_of_ours(monkeypatch):
    """What CuPy raises when it is imported, other than that it is not there, is its own reason."""
    machine(monkeypatch, Cupy(), Driver())

    def fail():
        raise ValueError("binary incompatibility")

    monkeypatch.setattr(cuda_probe, "import_cupy", fail)
    status = available_backends()["cupy"]
    assert status.reason == "ValueError: binary incompatibility"
    assert "reinstall CuPy" in status.remedy
