"""What goes wrong on a device, as two errors in plain words: out of memory, and a lost device.

CuPy reports the first with a MemoryError of its own, the rest as errors of CUDA's driver,
runtime and cuBLAS, from whatever call comes next: a kernel that fails shows only then.
`@reported` on a backend's class and on an engine's turns them into one of the two errors here,
with the original as `__cause__`. Nothing else is caught.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from typing import Any, TypeVar

Class = TypeVar("Class", bound=type)

# CUDA's numbers for errors after which a process has to be started anew (CUDA Runtime API,
# cudaError_t: "This leaves the process in an inconsistent state ..."), and for a device that
# went away or that another process holds.
LOST = {46, 214, 220, 700, 702, 709, 710, 714, 715, 716, 717, 718, 719, 721, 999}
NO_MEMORY = 2  # cudaErrorMemoryAllocation, CUDA_ERROR_OUT_OF_MEMORY
CUBLAS_NO_MEMORY = 3  # CUBLAS_STATUS_ALLOC_FAILED
CUBLAS = "CUBLASError"  # whose numbers mean something else
FROM_CUDA = {  # CuPy's and Numba's error classes, by name: importing the libraries may fail
    *("CUDARuntimeError", "CUDADriverError", CUBLAS, "CudaAPIError", "CUDAError"),
}


class DeviceMemoryError(MemoryError):
    """The GPU has not the memory that was asked for. The device goes on working."""


class DeviceError(RuntimeError):
    """The GPU refused a call, or does not work any more."""


def device_of(a: Any) -> int | None:
    """The number of the device that a CuPy array lies on; None for an array of the host."""
    return getattr(a.data, "device_id", None)


def check_device(a: Any, device: int) -> None:
    """ValueError for a CuPy array that does not lie on the device of this number."""
    lies = device_of(a)
    if lies != device:
        raise ValueError(
            f"an array of shape {a.shape} lies on device {lies}, and device {device} is the "
            "current one: move it with cupy.asarray(x), or work inside "
            f"`with cupy.cuda.Device({lies}):`"
        )


def reported(cls: Class) -> Class:
    """Class decorator: what CUDA raises inside a public method comes out in our words."""
    for name in dir(cls):
        member = getattr(cls, name)
        if name == "__init__" or (not name.startswith("_") and callable(member)):
            found = next(vars(base)[name] for base in cls.__mro__ if name in vars(base))
            if inspect.isfunction(found):  # no class method, and no class
                setattr(cls, name, _in_words(found))
    return cls


def _in_words(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(*arguments: Any, **named: Any) -> Any:
        try:
            return method(*arguments, **named)
        except Exception as error:
            ours = in_words(error)
            if ours is None:
                raise
            raise ours from error

    call.__doc__ = inspect.getdoc(method)  # the protocol's, where it has none of its own
    return call


def in_words(error: Exception) -> Exception | None:
    """Our error for one that CuPy raised, or None for any other."""
    kind = type(error)
    if kind.__name__ == "OutOfMemoryError" and isinstance(error, MemoryError):
        return _no_memory(str(error))
    if kind.__name__ not in FROM_CUDA:
        return None
    status = getattr(error, "status", getattr(error, "code", None))
    is_cublas = kind.__name__ == CUBLAS
    if status == (CUBLAS_NO_MEMORY if is_cublas else NO_MEMORY) or "OUT_OF_MEMORY" in str(error):
        return _no_memory(str(error))
    if status in LOST and not is_cublas:
        return DeviceError(
            f"the GPU does not work any more ({error}): this process cannot use it again. Start "
            "the program anew; what trains with checkpoint=... goes on where it was. Where it "
            "comes back, look at nvidia-smi and at the kernel's log (dmesg, Xid), and run "
            "`nnfs-gpu crosscheck`"
        )
    return DeviceError(
        f"the GPU refused a call ({error}): run `nnfs-gpu info` to see whether it works, and "
        "`nnfs-gpu crosscheck` for its kernels; NNFS_GPU_BACKEND=numba computes without it"
    )


def _no_memory(what: str) -> DeviceMemoryError:
    """`what` names the bytes that were asked for where CuPy asked."""
    return DeviceMemoryError(
        f"the GPU is out of memory: {what.rstrip('.')}{_free()}. Use a smaller batch_size, give "
        "the data in blocks (docs/scale.md), or free what other programs "
        "hold (nvidia-smi)"
    )


def _free() -> str:
    """What the device has, where it still answers."""
    cupy = sys.modules.get("cupy")
    if cupy is None:
        return ""
    try:
        free, total = cupy.cuda.runtime.memGetInfo()
    except RuntimeError:  # CUDA's own, of a device that does not answer
        return ""
    return f"; {free:,} of {total:,} bytes of the device are free"
