"""The one place where CUDA C++ kernels are loaded and started.

A kernel file is compiled for the device at hand (`cuda_compile`) and loaded once for each dtype
and set of definitions (`-DC=3`). A definition SHARED is also the number of bytes of dynamic
shared memory that a block gets. `launch` converts the arguments, because a wrong size would
pass silently: CuPy gives a Python float eight bytes, and a kernel that expects a float32 reads
four of them.

Work goes to the caller's current device and CuPy's current stream on it; a kernel is loaded
once for each device, and an array of another device is refused: a kernel would follow its
address into memory that is not there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cupy
import numpy as np

from . import compile as cuda_compile
from .errors import check_device

Grid = tuple[int, ...]


class Prepared:
    """A launch to be made again and again: looked up, checked and converted once.

    Calling it starts the kernel on CuPy's current stream of the device that it was prepared on.
    Raises ValueError where another device is the current one, or an array lies on another.
    """

    def __init__(self, device: int, function: Any, grid: Grid, block: int, shared: int, real: Any):
        self._device, self._real = device, real
        self._function, self._grid, self._block, self._shared = function, grid, (block,), shared
        self._arguments: list[Any] = []

    def put(self, first: int, *arguments: Any) -> None:
        """Other arguments from place `first` on, as `CudaLauncher.launch` takes them."""
        real, device = self._real, self._device
        self._arguments[first : first + len(arguments)] = [
            _array(a, device)
            if isinstance(a, cupy.ndarray)
            else np.int64(a)
            if type(a) is int
            else real(a)
            if type(a) is float
            else _scalar(a)
            for a in arguments
        ]

    def __call__(self) -> None:
        """Start the kernel. Raises ValueError while another device is the current one."""
        current = cupy.cuda.runtime.getDevice()
        if current != self._device:
            raise ValueError(
                f"a kernel for device {self._device} was started while device {current} is the "
                f"current one: put the call into `with cupy.cuda.Device({self._device}):`"
            )
        self._function(self._grid, self._block, self._arguments, shared_mem=self._shared)


class CudaLauncher:
    """Starts kernels on the current device and CuPy's current stream."""

    def __init__(self) -> None:
        self._modules: dict[tuple[Any, ...], Any] = {}
        self._functions: dict[tuple[Any, ...], Any] = {}
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
        not contiguous or lies on another device, TypeError for one that is on none.
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
        device = cupy.cuda.runtime.getDevice()
        key = (device, file, dtype, *definitions.items())
        function = self._functions.get((kernel, key))
        if function is None:
            function = self._functions[kernel, key] = self._load(key, kernel, definitions)
            self.launched.add((file, kernel))
        made = Prepared(device, function, grid, block, definitions.get("SHARED", 0), dtype.type)
        made.put(0, *arguments)
        return made

    def _load(self, key: tuple[Any, ...], kernel: str, definitions: dict[str, Any]) -> Any:
        """`kernel` of the module for `key` = (device, file, dtype, *definitions)."""
        device, file, dtype = key[:3]
        module = self._modules.get(key)
        if module is None:
            capability = int(cupy.cuda.Device(device).compute_capability)
            code = cuda_compile.code_for(cupy.cuda.nvrtc, file, dtype, capability, definitions)
            module = self._modules[key] = cupy.cuda.Module()
            module.load(code)
        function = module.get_function(kernel)
        if "SHARED" in definitions:  # more than 48 KiB must be asked for
            attribute = cupy.cuda.driver.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
            cupy.cuda.driver.funcSetAttribute(function.ptr, attribute, definitions["SHARED"])
        return function


def _array(a: Any, device: int) -> Any:
    check_device(a, device)
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
