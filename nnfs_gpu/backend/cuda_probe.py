"""Does CuPy work on this machine? Asked in stages, so that the answer names what is missing.

The cheap questions come first: which packages there are, what the driver says. Only then is
something compiled and run. `cuda_libraries` lists the files that the last stages need.
"""

from __future__ import annotations

import warnings
from importlib import metadata
from typing import Any

import numpy as np

from .driver import SUPPORTED, UnavailableError, cuda_driver, extra

OLDEST = (7, 5)  # compute capability: Turing, the oldest that CUDA 13 compiles for
PROBE = 'extern "C" __global__ void probe(float* x) { x[0] = 1; }'
WHEELS = ("cupy", *(f"cupy-cuda{major}x" for major in range(11, 15)))  # all hold the folder cupy/
ON_THE_CPU = "or use the numba backend"


def what_works() -> str:
    """What would run the kernels; UnavailableError with the first stage that fails.

    The stages: one package that loads; a driver new enough for it; a device new enough for the
    kernels; a tiny kernel compiled; that kernel run; a product, for which CuPy takes cuBLAS.
    """
    cupy = import_cupy()
    version, found = cuda_driver()
    if version is None:
        raise UnavailableError(found, _driver_remedy(found))
    _check_driver(version, found, cupy.cuda.runtime.runtimeGetVersion() // 1000)
    name = _check_device(cupy)
    wheel = f"pip install '{wheel_for(version)}'"
    try:
        probe = cupy.RawModule(code=PROBE, backend="nvrtc").get_function("probe")
    except Exception as error:
        raise UnavailableError(
            f"NVRTC does not compile: {in_a_line(error)}",
            f"install CuPy for this driver ({found}) with its compiler: {wheel}",
        ) from error
    try:
        x = cupy.zeros(1, np.float32)
        probe((1,), (1,), (x,))
        if float(x[0]) != 1:
            raise RuntimeError("a kernel ran and wrote nothing")
    except Exception as error:
        raise UnavailableError(
            f"the device does not work: {in_a_line(error)}",
            "look at nvidia-smi: another program may hold its memory",
        ) from error
    try:
        ones = cupy.zeros((2, 2), np.float32) + 1
        if float((ones @ ones)[1, 1]) != 2:
            raise RuntimeError("a product of ones of 2 x 2 is not 2")
    except Exception as error:
        raise UnavailableError(
            f"cuBLAS does not multiply: {in_a_line(error)}",
            f"install CuPy for this driver ({found}) with its libraries: {wheel}",
        ) from error
    return f"cupy {cupy.__version__}, {found}, {name}"


def import_cupy() -> Any:
    """CuPy; UnavailableError where it is not installed, is there twice or does not load."""
    found = installed_wheels()
    again = f"pip uninstall -y {' '.join(found) or 'cupy'}; then {install()}"
    if len(found) > 1:
        raise UnavailableError(
            f"CuPy is installed {len(found)} times, one over the other: {', '.join(found)}", again
        )
    try:
        with warnings.catch_warnings():  # none of them is a reason to do without CuPy
            warnings.simplefilter("ignore")
            import cupy
    except ImportError as error:
        if getattr(error, "name", None) == "cupy" and not found:
            raise UnavailableError("CuPy is not installed", install()) from error
        # CuPy's own text fills a screen; its cause says the same in a line.
        reason = in_a_line(error.__cause__ or error)
        raise UnavailableError(f"CuPy does not load: {reason}", again) from error
    if not hasattr(cupy, "__version__"):  # what stays when one of two wheels was removed
        raise UnavailableError("CuPy's folder is there, its files are not", again)
    return cupy


def installed_wheels() -> list[str]:
    """The packages that hold CuPy; two of them overwrite each other's files."""
    found = []
    for name in WHEELS:
        try:
            metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
        found.append(name)
    return found


def install() -> str:
    """How to install what this machine's driver can run."""
    version, _ = cuda_driver()
    if version is None:
        newest, older = SUPPORTED
        return (
            f"on a machine with an NVIDIA GPU: pip install 'nnfs-gpu[cuda{newest}]' "
            f"(or cuda{older}, as the driver allows)"
        )
    if not extra(version):
        return f"update the NVIDIA driver to one for CUDA {min(SUPPORTED)} or newer, {ON_THE_CPU}"
    return f"pip install 'nnfs-gpu[{extra(version)}]'"


def wheel_for(version: int | None) -> str:
    """The CuPy wheel for a driver version, with the CUDA libraries that it calls."""
    major = (extra(version) or f"cuda{SUPPORTED[0]}").removeprefix("cuda")
    return f"cupy-cuda{major}x[ctk]"


def device_name(cupy: Any) -> str:
    """Of the current device."""
    return _properties(cupy)["name"].decode()


def in_a_line(error: BaseException) -> str:
    """An exception's class and the first line of its text that says something."""
    lines = (line.strip(" =-") for line in str(error).splitlines())
    return f"{type(error).__name__}: {next(filter(None, lines), 'no message')}"


# ---- the stages that only ask ----
def _driver_remedy(found: str) -> str:
    if "no device" in found:
        return f"look at nvidia-smi and at CUDA_VISIBLE_DEVICES, {ON_THE_CPU}"
    return f"install the NVIDIA driver, {ON_THE_CPU}"


def _check_driver(version: int, found: str, built: int) -> None:
    """A driver runs what was built for its own major version of CUDA or an older one."""
    if not extra(version):
        raise UnavailableError(f"the driver is too old: {found}", install())
    if built > version // 1000:
        wheels = " ".join(installed_wheels()) or "cupy"
        raise UnavailableError(
            f"CuPy is built for CUDA {built}, the driver is for an older one: {found}",
            f"pip uninstall -y {wheels}; then {install()} (or update the driver)",
        )


def _check_device(cupy: Any) -> str:
    """Its name."""
    properties = _properties(cupy)
    name, found = properties["name"].decode(), (properties["major"], properties["minor"])
    if found < OLDEST:
        wanted, got = (".".join(map(str, pair)) for pair in (OLDEST, found))
        raise UnavailableError(
            f"the device is too old: {name} has compute capability {got}, not {wanted} or more",
            f"choose a newer device with CUDA_VISIBLE_DEVICES, {ON_THE_CPU}",
        )
    return name


def _properties(cupy: Any) -> Any:
    return cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
