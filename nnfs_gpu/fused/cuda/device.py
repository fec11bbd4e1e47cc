"""The device of the GPU's fused step: what it has, what starts kernels, and graphs of launches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...backend import Backend
from ...backend.cupy_backend import CupyBackend
from ..vocabulary import CannotFuse
from .build import Device


def launcher_of(backend: Backend) -> Any:
    """What starts kernels: the backend's own, or one for the Numba backend's CuPy arrays.

    Raises CannotFuse under Numba's simulator, which runs no CUDA C++.
    """
    if isinstance(backend, CupyBackend):
        return backend.calls.launcher
    if backend.xp is np:
        raise CannotFuse("Numba's CUDA simulator does not run CUDA C++")
    from ...backend.cuda.launch import CudaLauncher

    return CudaLauncher()


def device_of(xp: Any) -> Device:
    """The current device; for NumPy arrays the emulator, taken as a small one."""
    if xp is np:
        return Device(processors=3, shared=99 * 1024, dynamic=False)
    runtime, device = xp.cuda.runtime, xp.cuda.Device().id
    return Device(
        runtime.deviceGetAttribute(runtime.cudaDevAttrMultiProcessorCount, device),
        runtime.deviceGetAttribute(runtime.cudaDevAttrMaxSharedMemoryPerBlockOptin, device),
    )


def captured(xp: Any, launch: Callable[[], Any], times: int) -> Callable[[], None]:
    """`times` launches as one CUDA graph; calling it starts them on the current stream.

    They are recorded on a stream of their own, and may allocate and wait for nothing. Arrays
    that they were given must live as long as the graph. NumPy arrays have no graphs: there the
    call makes the launches.
    """
    if xp is np:

        def each() -> None:
            for _ in range(times):
                launch()

        return each
    stream = xp.cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        try:
            for _ in range(times):
                launch()
        finally:
            graph = stream.end_capture()
    start: Callable[[], None] = graph.launch
    return start
