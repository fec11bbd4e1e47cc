"""The one place where CUDA C++ kernels are compiled and started.

A kernel file is compiled by NVRTC for the device at hand, once for each dtype and set of
definitions (`-DC=3`), and kept in CuPy's cache on disk. `common.cuh` is put in front of it as
text: CuPy's cache key does not see included files, so an include would run old code.
`launch` converts the arguments, because a wrong size would pass silently: CuPy gives a Python
float eight bytes, and a kernel that expects a float32 reads four of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from typing import Any

import cupy
import numpy as np

REALS = {np.dtype(np.float32): "float", np.dtype(np.float64): "double"}

Grid = tuple[int, ...]


def source(file: str) -> str:
    """The text of kernels/`file`.cu with what all kernels share in front of it."""
    folder = resources.files("nnfs_gpu.kernels")
    parts = [
        f'#line 1 "{name}"\n{folder.joinpath(name).read_text()}'
        for name in ("common.cuh", f"{file}.cu")
    ]
    return "\n".join(parts)


class CudaLauncher:
    """Starts kernels on the current device and CuPy's current stream."""

    def __init__(self) -> None:
        self._functions: dict[tuple, Any] = {}
        self.launched: set[tuple[str, str]] = set()  # (file, kernel): tests ask which ran

    def launch(
        self,
        file: str,
        kernel: str,
        grid: Grid,
        block: int,
        arguments: Sequence[Any],
        dtype: np.dtype,
        **definitions: int,
    ) -> None:
        """Run `kernel` of kernels/`file`.cu.

        arguments  in the kernel's order: contiguous arrays on the device; ints become 64-bit
                   integers and floats `dtype`; NumPy scalars stay as they are

        Returns at once: the device works on its own. Raises ValueError for an array that is
        not contiguous, TypeError for one that is not on the device.
        """
        key = (cupy.cuda.runtime.getDevice(), file, kernel, dtype, *definitions.items())
        function = self._functions.get(key)
        if function is None:
            function = self._functions[key] = self._compile(file, kernel, dtype, definitions)
            self.launched.add((file, kernel))
        real = dtype.type
        converted = [
            _array(a)
            if isinstance(a, cupy.ndarray)
            else np.int64(a)
            if type(a) is int
            else real(a)
            if type(a) is float
            else _scalar(a)
            for a in arguments
        ]
        function(grid, (block,), converted)

    @staticmethod
    def _compile(file: str, kernel: str, dtype: np.dtype, definitions: dict[str, int]) -> Any:
        defined = (f"-D{name}={value}" for name, value in definitions.items())
        options = ("-std=c++17", f"-DREAL={REALS[dtype]}", *defined)
        module = cupy.RawModule(code=source(file), options=options, backend="nvrtc")
        return module.get_function(kernel)


def _array(a: Any) -> Any:
    if not a.flags.c_contiguous:
        raise ValueError(f"kernel argument of shape {a.shape} is not contiguous")
    return a


def _scalar(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value
    raise TypeError(f"kernel argument: got a {type(value).__name__}, expected an array on the GPU")
