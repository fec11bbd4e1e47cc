"""Which backend is taken where CuPy is absent, there twice, for another driver, or lacks a part.

Each machine is made up: a `cupy` module, its packages and a driver library of our own. Proves,
for each, what `available_backends` says was found and what to do about it, that "auto" falls back
and says so once, and that a choice by name raises with both; that `nnfs-gpu info` and the
numba-cuda backend say the same; and that a machine where all works is used.
"""

from __future__ import annotations

import ctypes
import json
import logging
import re
import sys
import types

import numpy as np
import pytest

import nnfs_gpu.backend as selection
from nnfs_gpu import Layer_Dense, available_backends, cli_info, get_backend, use_backend
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
    """CuPy as far as the probe goes, with one thing broken.

    wheels   the packages that installed it
    built    the CUDA that it was built with, as the runtime says it
    capable  compute capability of the device
    """

    __version__ = "14.2"

    def __init__(self, broken="", wheels=("cupy-cuda13x",), built=13020, capable=(9, 0)):
        super().__init__("cupy")
        self.broken, self.probed, self.wheels = broken, 0, wheels
        major, minor = capable
        properties = {"name": b"Paper 9000", "major": major, "minor": minor}
        runtime = types.SimpleNamespace(
            getDeviceProperties=lambda device: properties, runtimeGetVersion=lambda: built
        )
        device = types.SimpleNamespace(id=0)
        self.cuda = types.SimpleNamespace(Device=lambda: device, runtime=runtime)

    def RawModule(self, code, backend):  # noqa: N802 - CuPy's name
        self.probed += 1
        if self.broken == "compiler":
            raise RuntimeError('Failure finding "libnvrtc.so.13":\n  No such file\n  in lib/')
        return types.SimpleNamespace(get_function=lambda name: self._probe)

    def _probe(self, grid, block, arguments):
        if self.broken == "launch":
            raise RuntimeError("CUDA_ERROR_NO_BINARY_FOR_GPU")
        arguments[0][0] = 0 if self.broken == "kernel" else 1

    def zeros(self, shape, dtype):
        if self.broken == "memory":
            raise MemoryError("Out of memory allocating 512 bytes")
        return Array(np.zeros(shape, dtype), self.broken)


class Array:
    """What the probe does with an array."""

    def __init__(self, values, broken):
        self.values, self.broken = values, broken

    def __getitem__(self, where):
        return self.values[where]

    def __setitem__(self, where, value):
        self.values[where] = value

    def __add__(self, number):
        return Array(self.values + number, self.broken)

    def __matmul__(self, other):
        if self.broken == "cublas":
            raise ImportError('Failure finding "libcublas.so.13"')
        return Array(
            0 * self.values if self.broken == "product" else self.values @ other.values, ""
        )


class Unloadable(types.ModuleType):
    """What stays of CuPy when one of two wheels was removed: a folder without the files."""

    wheels = ("cupy-cuda12x",)


DRIVER_12, OLD_DRIVER = Driver(version=12040), Driver(version=11080)

# name: (the cupy module, the driver, what is found, what to do)
MACHINES = {
    "no CuPy": (None, Driver(), "CuPy is not installed", r"pip install 'nnfs-gpu\[cuda13\]'"),
    "no CuPy, CUDA 12": (
        *(None, DRIVER_12),
        *("CuPy is not installed", r"pip install 'nnfs-gpu\[cuda12\]'"),
    ),
    "no CuPy, old driver": (
        *(None, OLD_DRIVER),
        *("CuPy is not installed", "update the NVIDIA driver to one for CUDA 12 or newer"),
    ),
    "two CuPys": (
        *(Cupy(wheels=("cupy-cuda12x", "cupy-cuda13x")), Driver()),
        "CuPy is installed 2 times, one over the other: cupy-cuda12x, cupy-cuda13x",
        r"pip uninstall -y cupy-cuda12x cupy-cuda13x; then pip install 'nnfs-gpu\[cuda13\]'",
    ),
    "half a CuPy": (
        *(Unloadable("cupy"), DRIVER_12, "CuPy's folder is there, its files are not"),
        r"pip uninstall -y cupy-cuda12x; then pip install 'nnfs-gpu\[cuda12\]'",
    ),
    "no driver": (Cupy(), None, "no CUDA driver: .* is not on this machine", "install the NVIDIA"),
    "driver that does not start": (
        *(Cupy(), Driver(starts=100)),
        *("the CUDA driver does not start: cuInit returned 100", "install the NVIDIA driver"),
    ),
    "no device": (
        *(Cupy(), Driver(devices=0), "a CUDA driver, but no device"),
        "CUDA_VISIBLE_DEVICES, or use the numba backend",
    ),
    "old driver": (
        *(Cupy(), OLD_DRIVER, "the driver is too old: CUDA 11.8, 1 device"),
        "update the NVIDIA driver to one for CUDA 12 or newer, or use the numba backend",
    ),
    "wheel of a newer CUDA": (
        *(Cupy(), DRIVER_12, "CuPy is built for CUDA 13, the driver is for an older one: CUDA 12"),
        r"pip uninstall -y cupy-cuda13x; then pip install 'nnfs-gpu\[cuda12\]'",
    ),
    "old device": (
        *(Cupy(capable=(7, 0)), Driver()),
        "the device is too old: Paper 9000 has compute capability 7.0, not 7.5 or more",
        "CUDA_VISIBLE_DEVICES, or use the numba backend",
    ),
    "no NVRTC": (
        *(Cupy("compiler"), Driver()),
        r'NVRTC does not compile: RuntimeError: Failure finding "libnvrtc.so.13":(?!\n)',
        r"pip install 'cupy-cuda13x\[ctk\]'",
    ),
    "no NVRTC, CUDA 12": (
        *(Cupy("compiler", ("cupy-cuda12x",), 12090), DRIVER_12),
        *("NVRTC does not compile: RuntimeError", r"pip install 'cupy-cuda12x\[ctk\]'"),
    ),
    "no cuBLAS": (
        *(Cupy("cublas"), Driver()),
        r'cuBLAS does not multiply: ImportError: Failure finding "libcublas.so.13"',
        r"pip install 'cupy-cuda13x\[ctk\]'",
    ),
    "cuBLAS that is wrong": (
        *(Cupy("product"), Driver()),
        *("cuBLAS does not multiply: RuntimeError: .*2 x 2", r"pip install 'cupy-cuda13x\[ctk\]'"),
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
    wheels = list(getattr(cupy, "wheels", ()))
    monkeypatch.setattr(cuda_probe, "installed_wheels", lambda: wheels)
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
    assert "\n" not in status.reason + status.remedy


def test_the_numba_cuda_backend_needs_the_same(broken, monkeypatch):
    """After what it needs itself, which the stand-in has: it lies on CuPy's arrays."""
    from nnfs_gpu.backend import cuda_numba_launch as launching

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
    assert status.remedy == ("pip uninstall -y cupy-cuda13x; then pip install 'nnfs-gpu[cuda12]'")


def test_installed_wheels_are_those_of_the_environment(monkeypatch):
    """The names of the packages, not the folder: two of them share it."""
    there = {"cupy-cuda12x", "cupy"}

    def version(name):
        if name not in there:
            raise cuda_probe.metadata.PackageNotFoundError(name)
        return "14.2"

    monkeypatch.setattr(cuda_probe.metadata, "version", version)
    assert cuda_probe.installed_wheels() == ["cupy", "cupy-cuda12x"]


def test_the_probe_does_not_hide_an_error_of_ours(monkeypatch):
    """What CuPy raises when it is imported, other than that it is not there, is its own reason."""
    machine(monkeypatch, Cupy(), Driver())

    def fail():
        raise ValueError("binary incompatibility")

    monkeypatch.setattr(cuda_probe, "import_cupy", fail)
    status = available_backends()["cupy"]
    assert status.reason == "ValueError: binary incompatibility"
    assert "reinstall CuPy" in status.remedy
