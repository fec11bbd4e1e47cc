"""Does CuPy work on this machine? Asked in stages, so that the answer names what is missing."""

from __future__ import annotations

from typing import Any

import numpy as np

from .driver import UnavailableError, cuda_driver

INSTALL = (
    "on a machine with an NVIDIA GPU: pip install 'nnfs-gpu[cuda13]' (or cuda12, as the driver "
    "allows)"
)
PROBE = 'extern "C" __global__ void probe(float* x) { x[0] = 1; }'


def import_cupy() -> Any:
    """CuPy; UnavailableError where it is not installed."""
    try:
        import cupy
    except ImportError as error:
        raise UnavailableError(f"CuPy is not installed ({error})", INSTALL) from error
    return cupy


def what_works() -> str:
    """What would run the kernels; UnavailableError with the first stage that fails.

    The stages: the package, driver and device, a tiny kernel compiled, and run on a tiny array.
    """
    cupy = import_cupy()
    version, found = cuda_driver()
    if version is None:
        raise UnavailableError(found, "install the NVIDIA driver, or use the numba backend")
    try:
        probe = cupy.RawModule(code=PROBE, backend="nvrtc").get_function("probe")
    except Exception as error:
        raise UnavailableError(
            f"NVRTC does not compile: {type(error).__name__}: {error}",
            f"install CuPy for this driver ({found}) with its compiler: "
            "pip install 'cupy-cuda13x[ctk]' or 'cupy-cuda12x[ctk]'",
        ) from error
    try:
        x = cupy.zeros(1, np.float32)
        probe((1,), (1,), (x,))
        if float(x[0]) != 1:
            raise RuntimeError("a kernel ran and wrote nothing")
    except Exception as error:
        raise UnavailableError(
            f"the device does not work: {type(error).__name__}: {error}",
            "look at nvidia-smi: another program may hold its memory",
        ) from error
    return f"cupy {cupy.__version__}, {found}, {device_name(cupy)}"


def device_name(cupy: Any) -> str:
    """Of the current device."""
    properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
    return properties["name"].decode()
