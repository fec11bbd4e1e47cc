"""Machines of paper for the tests of selection: a `cupy` module, its packages, a driver library.

`MACHINES` are those whose GPU cannot be used, each for one reason; `machine` puts this process on
one of them, or on one that works.
"""

from __future__ import annotations

import ctypes
import sys
import types

import numpy as np

import nnfs_gpu.backend as selection
from nnfs_gpu.backend import driver
from nnfs_gpu.backend.cuda import probe as cuda_probe


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
    nvrtc    the CUDA whose compiler it finds; None: that which it was built with
    capable  compute capability of the device
    """

    __version__ = "14.2"

    def __init__(
        self, broken="", wheels=("cupy-cuda13x",), built=13020, capable=(9, 0), nvrtc=None
    ):
        super().__init__("cupy")
        self.broken, self.probed, self.wheels = broken, 0, wheels
        major, minor = capable
        properties = {"name": b"Paper 9000", "major": major, "minor": minor}
        runtime = types.SimpleNamespace(
            getDeviceProperties=lambda device: self._answer(properties),
            runtimeGetVersion=lambda: built,
        )
        device = types.SimpleNamespace(id=0)
        version = (nvrtc or built // 1000, 0)
        compiler = types.SimpleNamespace(getVersion=lambda: self._nvrtc(version))
        self.cuda = types.SimpleNamespace(Device=lambda: device, runtime=runtime, nvrtc=compiler)

    def _answer(self, properties):
        if self.broken == "lost":
            raise RuntimeError("cudaErrorUnknown: unknown error")
        return properties

    def _nvrtc(self, version):
        if self.broken == "no compiler":
            raise RuntimeError('Failure finding "libnvrtc.so.13":\n  No such file\n  in lib/')
        return version

    def RawModule(self, code, backend):  # noqa: N802 - CuPy's name
        self.probed += 1
        if self.broken == "compiler":
            raise RuntimeError("NVRTC_ERROR_BUILTIN_OPERATION_FAILURE (7)")
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


FOR_CUDA_12 = r"nvidia-cublas nvidia-cuda-nvrtc; pip install 'nnfs-gpu\[cuda12\]'"
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
        r"pip uninstall -y cupy-cuda12x cupy-cuda13x; pip install 'nnfs-gpu\[cuda13\]'",
    ),
    "half a CuPy": (
        *(Unloadable("cupy"), DRIVER_12, "CuPy's folder is there, its files are not"),
        "uninstall -y cupy-cuda12x " + FOR_CUDA_12,
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
        "uninstall -y cupy-cuda13x " + FOR_CUDA_12,
    ),
    "old device": (
        *(Cupy(capable=(7, 0)), Driver()),
        "the device is too old: Paper 9000 has compute capability 7.0, not 7.5 or more",
        "CUDA_VISIBLE_DEVICES, or use the numba backend",
    ),
    "no NVRTC": (
        *(Cupy("no compiler"), Driver()),
        r'NVRTC does not load: RuntimeError: Failure finding "libnvrtc.so.13":(?!\n)',
        r"pip install 'cupy-cuda13x\[ctk\]>=14'",
    ),
    "no NVRTC, CUDA 12": (  # beside a newer driver, too: two CuPys would be worse
        *(Cupy("no compiler", ("cupy-cuda12x",), 12090), Driver()),
        *("NVRTC does not load: RuntimeError", r"pip install 'cupy-cuda12x\[ctk\]>=14'"),
    ),
    "NVRTC without its builtins": (
        *(Cupy("compiler"), Driver()),
        *("NVRTC does not compile: RuntimeError: .*BUILTIN", r"'cupy-cuda13x\[ctk\]>=14'"),
    ),
    "libraries of a newer CUDA, driver of the older": (
        *(Cupy("", ("cupy-cuda12x",), 12090, nvrtc=13), DRIVER_12),
        "CuPy is built for CUDA 12 and finds the libraries of CUDA 13",
        "pip uninstall -y nvidia-cublas nvidia-cuda-nvrtc",
    ),
    "libraries of a newer CUDA, and its driver": (
        *(Cupy("", ("cupy-cuda12x",), 12090, nvrtc=13), Driver()),
        "CuPy is built for CUDA 12 and finds the libraries of CUDA 13",
        r"pip uninstall -y cupy-cuda12x; pip install 'nnfs-gpu\[cuda13\]'",
    ),
    "a toolkit of a newer CUDA, driver of the older": (
        *(Cupy("", ("cupy-cuda12x",), 12090, nvrtc=14), DRIVER_12),
        "CuPy is built for CUDA 12 and finds the libraries of CUDA 14",
        r"pip install 'cupy-cuda12x\[ctk\]>=14' brings its own",
    ),
    "wheel of CUDA 11": (
        *(Cupy("", ("cupy-cuda11x",), 11080, nvrtc=11), Driver()),
        "CuPy is built for CUDA 11, expected 12 or newer",
        r"pip uninstall -y cupy-cuda11x; pip install 'nnfs-gpu\[cuda13\]'",
    ),
    "libraries of an older CUDA": (
        *(Cupy(nvrtc=12), Driver(), "CuPy is built for CUDA 13 and finds the libraries of CUDA 12"),
        r"pip install 'cupy-cuda13x\[ctk\]>=14' brings its own",
    ),
    "device that does not answer": (
        *(Cupy("lost"), Driver()),
        *("the device does not answer: RuntimeError: cudaErrorUnknown", "nvidia-smi"),
    ),
    "no cuBLAS": (
        *(Cupy("cublas"), Driver()),
        r'cuBLAS does not multiply: ImportError: Failure finding "libcublas.so.13"',
        r"pip install 'cupy-cuda13x\[ctk\]>=14'",
    ),
    "cuBLAS that is wrong": (
        *(Cupy("product"), Driver()),
        *(
            "cuBLAS does not multiply: RuntimeError: .*2 x 2",
            r"pip install 'cupy-cuda13x\[ctk\]>=14'",
        ),
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
    there = {13: ["nvidia-cublas", "nvidia-cuda-nvrtc"]}  # as [ctk] of CUDA 13 brought them
    monkeypatch.setattr(cuda_probe, "installed_libraries", lambda major: there.get(major, []))
    monkeypatch.setattr(driver, "ctypes", types.SimpleNamespace(**vars(ctypes) | {"CDLL": load}))
    monkeypatch.delenv("NNFS_GPU_BACKEND", raising=False)
    monkeypatch.setattr(selection, "_default", None)
    monkeypatch.setattr(selection, "_made", {})
    monkeypatch.setattr(selection, "_logged", set())
