"""Does CuPy work on this machine? Asked in stages, so that the answer names what is missing.

The cheap questions come first: which packages there are, what the driver says. Only then is
something compiled and run. `cuda_libraries` lists the files that the last stages need.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from typing import Any

import numpy as np

from ..driver import SUPPORTED, UnavailableError, cuda_driver, extra
from .libraries import installed_libraries

OLDEST = (7, 5)  # compute capability: Turing, the oldest that CUDA 13 compiles for
PROBE = 'extern "C" __global__ void probe(float* x) { x[0] = 1; }'
WHEELS = ("cupy", *(f"cupy-cuda{major}x" for major in range(11, 15)))  # all hold the folder cupy/
ON_THE_CPU = "or use the numba backend"


def what_works() -> str:
    """What would run the kernels; UnavailableError with the first stage that fails.

    The stages: one package that loads; a driver new enough for it; a device new enough for the
    kernels; the compiler of the same CUDA; a tiny kernel compiled; that kernel run; a product, for
    which CuPy takes cuBLAS.
    """
    cupy = import_cupy()
    version, found = cuda_driver()
    if version is None:
        raise UnavailableError(found, _driver_remedy(found))
    built = cupy.cuda.runtime.runtimeGetVersion() // 1000
    complete = f"install CuPy with all that it calls: {_complete(built)}"
    _check_driver(version, found, built)
    with _stage("the device does not answer", f"look at nvidia-smi, {ON_THE_CPU}"):
        properties = _properties(cupy)
    name = _check_device(properties)
    with _stage("NVRTC does not load", complete):
        nvrtc, _ = cupy.cuda.nvrtc.getVersion()
    _check_nvrtc(nvrtc, built, version)
    with _stage("NVRTC does not compile", complete):
        probe = cupy.RawModule(code=PROBE, backend="nvrtc").get_function("probe")
    with _stage("the device does not work", "look at nvidia-smi: is its memory full?"):
        x = cupy.zeros(1, np.float32)
        probe((1,), (1,), (x,))
        if float(x[0]) != 1:
            raise RuntimeError("a kernel ran and wrote nothing")
    with _stage("cuBLAS does not multiply", complete):
        ones = cupy.zeros((2, 2), np.float32) + 1
        if float((ones @ ones)[1, 1]) != 2:
            raise RuntimeError("a product of 2 x 2 ones is not 2")
    return f"cupy {cupy.__version__}, {found}, {name}"


@contextmanager
def _stage(what: str, remedy: str) -> Iterator[None]:
    """Whatever is raised inside is the reason: a broken installation may raise anything."""
    try:
        yield
    except Exception as error:
        raise UnavailableError(f"{what}: {in_a_line(error)}", remedy) from error


def import_cupy() -> Any:
    """CuPy; UnavailableError where it is not installed, is there twice or does not load."""
    found = installed_wheels()
    again = install_again()
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


def cuda_of_cupy() -> Any:
    """`cupy.cuda`, for ranks that ask for devices; None where there is no CUDA driver or CuPy."""
    if cuda_driver()[0] is None:
        return None
    try:
        import cupy
    except ImportError:
        return None
    return cupy.cuda


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


def install_again() -> str:
    """How to replace a CuPy that is wrong here, with the libraries that came along: those of a
    newer CUDA than the driver's would be found first.
    """
    version, _ = cuda_driver()
    allowed = version // 1000 if version and extra(version) else max(SUPPORTED)
    newer = [name for major in SUPPORTED if major > allowed for name in installed_libraries(major)]
    return f"pip uninstall -y {' '.join([*(installed_wheels() or ['cupy']), *newer])}; {install()}"


def device_name(cupy: Any) -> str:
    """Of the current device."""
    name: str = _properties(cupy)["name"].decode()
    return name


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
    if built < min(SUPPORTED):
        raise UnavailableError(
            f"CuPy is built for CUDA {built}, expected {min(SUPPORTED)} or newer", install_again()
        )
    if built > version // 1000:
        raise UnavailableError(
            f"CuPy is built for CUDA {built}, the driver is for an older one: {found}",
            f"{install_again()} (or update the driver)",
        )


def _check_nvrtc(found: int, built: int, version: int) -> None:
    """CuPy takes the newest CUDA libraries that it finds, and works with those of its own CUDA."""
    if found == built:
        return
    reason = f"CuPy is built for CUDA {built} and finds the libraries of CUDA {found}"
    if found < built:
        raise UnavailableError(reason, f"{_complete(built)} brings its own")
    if found in SUPPORTED and found <= version // 1000:
        raise UnavailableError(reason, f"take the newer CuPy: {install_again()}")
    wheels = installed_libraries(found)
    if not wheels:  # of a toolkit: wheels are found before it
        raise UnavailableError(reason, f"{_complete(built)} brings its own")
    raise UnavailableError(reason, f"pip uninstall -y {' '.join(wheels)}")


def _complete(built: int) -> str:
    """The package that brings CuPy's libraries along; before CuPy 14 there is no `ctk`."""
    return f"pip install 'cupy-cuda{built}x[ctk]>=14'"


def _check_device(properties: Any) -> str:
    """Its name."""
    name: str = properties["name"].decode()
    found = properties["major"], properties["minor"]
    if found < OLDEST:
        wanted, got = (".".join(map(str, pair)) for pair in (OLDEST, found))
        raise UnavailableError(
            f"the device is too old: {name} has compute capability {got}, not {wanted} or more",
            f"choose a newer device with CUDA_VISIBLE_DEVICES, {ON_THE_CPU}",
        )
    return name


def _properties(cupy: Any) -> Any:
    return cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
