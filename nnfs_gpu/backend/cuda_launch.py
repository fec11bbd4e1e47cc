"""The one place where CUDA C++ kernels are compiled and started.

A kernel file is compiled by NVRTC for the device at hand, once for each dtype and set of
definitions (`-DC=3`), and kept in CuPy's cache on disk. A definition SHARED is also the number
of bytes of dynamic shared memory that a block gets. The text is `cuda_source.source`'s.
`launch` converts the arguments, because a wrong size would pass silently: CuPy gives a Python
float eight bytes, and a kernel that expects a float32 reads four of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cupy
import numpy as np

from .cuda_source import source

REALS = {np.dtype(np.float32): "float", np.dtype(np.float64): "double"}

Grid = tuple[int, ...]


class Prepared:
    """A launch to be made again and again: looked up, checked and converted once.

    Calling it starts the kernel on CuPy's current stream of the device that it was prepared on.
    """

    def __init__(self, function: Any, grid: Grid, block: int, shared: int, real: Any):
        self._function, self._grid, self._block, self._shared = function, grid, (block,), shared
        self._real = real
        self._arguments: list[Any] = []

    def put(self, first: int, *arguments: Any) -> None:
        """Other arguments from place `first` on, as `CudaLauncher.launch` takes them."""
        real = self._real
        self._arguments[first : first + len(arguments)] = [
            _array(a)
            if isinstance(a, cupy.ndarray)
            else np.int64(a)
            if type(a) is int
            else real(a)
            if type(a) is float
            else _scalar(a)
            for a in arguments
        ]

    def __call__(self) -> None:
        self._function(self._grid, self._block, self._arguments, shared_mem=self._shared)


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
        **definitions: Any,
    ) -> None:
        """Run `kernel` of kernels/`file`.cu.

        arguments  in the kernel's order: contiguous arrays on the device; ints become 64-bit
                   integers and floats `dtype`; NumPy scalars stay as they are

        Returns at once: the device works on its own. Raises ValueError for an array that is
        not contiguous, TypeError for one that is not on the device.
        """
        self.prepare(file, kernel, grid, block, arguments, dtype, **definitions)()

    def prepare(
        self,
        file: str,
        kernel: str,
        grid: Grid,
        block: int,
        arguments: Sequence[Any],
        dtype: np.dtype,
        **definitions: Any,
    ) -> Prepared:
        """What `launch` would start, compiled but not started."""
        key = (cupy.cuda.runtime.getDevice(), file, kernel, dtype, *definitions.items())
        function = self._functions.get(key)
        if function is None:
            function = self._functions[key] = self._compile(file, kernel, dtype, definitions)
            self.launched.add((file, kernel))
        made = Prepared(function, grid, block, definitions.get("SHARED", 0), dtype.type)
        made.put(0, *arguments)
        return made

    @staticmethod
    def _compile(file: str, kernel: str, dtype: np.dtype, definitions: dict[str, Any]) -> Any:
        defined = (f"-D{name}={value}" for name, value in definitions.items())
        options = ("-std=c++17", f"-DREAL={REALS[dtype]}", *defined)
        module = cupy.RawModule(code=source(file), options=options, backend="nvrtc")
        function = module.get_function(kernel)
        if "SHARED" in definitions:  # more than 48 KiB must be asked for
            function.max_dynamic_shared_size_bytes = definitions["SHARED"]
        return function


def _array(a: Any) -> Any:
    if not a.flags.c_contiguous:
        raise ValueError(
            f"kernel argument of shape {a.shape} is not contiguous; use cupy.ascontiguousarray"
        )
    return a


def _scalar(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value
    raise TypeError(
        f"kernel argument: got a {type(value).__name__}, expected an array on the GPU: "
        "convert with backend.asarray(x)"
    )
