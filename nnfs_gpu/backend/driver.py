"""Does a CUDA driver answer here, and for which CUDA? Standard library alone.

`make` runs this file before anything is installed, to choose the CuPy wheel; `nnfs-gpu info`
calls `cuda_driver`. Asking the driver library is the only sure sign: a machine can have the
CUDA toolkit and no GPU, or a GPU and no toolkit.
"""

from __future__ import annotations

import ctypes
import sys

SUPPORTED = (13, 12)  # major CUDA versions that pyproject.toml has an extra for


class UnavailableError(RuntimeError):
    """A backend cannot work here: `args[0]` is what was found, `remedy` what to do."""

    def __init__(self, reason: str, remedy: str):
        super().__init__(reason)
        self.remedy = remedy


def cuda_driver() -> tuple[int | None, str]:
    """(CUDA version as 1000 major + 10 minor, or None; what was found, in words)."""
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        library = ctypes.CDLL(name)
    except OSError:
        return None, f"no CUDA driver: {name} is not on this machine"
    code = library.cuInit(0)
    if code != 0:
        return None, f"the CUDA driver does not start: cuInit returned {code}"
    version, devices = ctypes.c_int(), ctypes.c_int()
    library.cuDriverGetVersion(ctypes.byref(version))
    library.cuDeviceGetCount(ctypes.byref(devices))
    if devices.value == 0:
        return None, "a CUDA driver, but no device"
    text = f"CUDA {version.value // 1000}.{version.value % 1000 // 10}, {devices.value} device(s)"
    return version.value, text


def extra(version: int | None) -> str:
    """The extra of pyproject.toml for a driver version: "cuda13", "cuda12" or nothing."""
    major = (version or 0) // 1000
    return next((f"cuda{wanted}" for wanted in SUPPORTED if major >= wanted), "")


if __name__ == "__main__":
    print(extra(cuda_driver()[0]))
