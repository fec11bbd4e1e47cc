"""A CuPy on the CPU that is as strict as the real one, and counts what crosses over.

`DeviceArray` is what lies on the device. As with CuPy, a NumPy array is refused wherever a
device array is expected: in arithmetic, in functions, as a kernel's argument; only `asarray`
takes it, and only `asnumpy` gives one back. Both count. `DeviceBackend` is the cupy backend
over it, with its kernels executed by the emulator.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from emulation.emulator import Emulator

from nnfs_gpu.backend.cupy_backend import CupyBackend


class DeviceArray(np.ndarray):
    """An array that mixes with its like and with plain numbers alone."""

    def __array_ufunc__(self, ufunc, method, *inputs, out=(), **options):
        for a in (*inputs, *out):
            _refuse_host(a)
        host = [a.view(np.ndarray) if isinstance(a, DeviceArray) else a for a in inputs]
        if out:
            options["out"] = tuple(a.view(np.ndarray) for a in out)
        return _on_device(getattr(ufunc, method)(*host, **options), out)

    def __array_function__(self, function, types, arguments, options):
        for a in (*arguments, *options.values()):
            _refuse_host(a)
        return _on_device(super().__array_function__(function, types, arguments, options))

    def __setitem__(self, where, value):
        _refuse_host(value)
        super().__setitem__(where, value)


def _refuse_host(a: Any) -> None:
    if isinstance(a, np.ndarray) and not isinstance(a, DeviceArray):
        raise TypeError(f"Unsupported type {type(a)}: a NumPy array where CuPy's is expected")


def _on_device(result: Any, out: Any = ()) -> Any:
    if out:
        return out[0]
    if isinstance(result, np.ndarray | np.generic):
        return np.asarray(result).view(DeviceArray)  # CuPy's reductions give arrays, too
    return result


class FakeCupy:
    """The array module: NumPy's functions between device arrays.

    copied_in, copied_out   arrays that crossed over since the last `reset()`
    """

    ndarray = DeviceArray

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.copied_in: list[tuple[int, ...]] = []
        self.copied_out: list[tuple[int, ...]] = []

    def asarray(self, a: Any, dtype: Any = None) -> DeviceArray:
        if isinstance(a, DeviceArray):
            return a if dtype in (None, a.dtype) else a.astype(dtype)
        a = np.array(a, dtype)  # always a copy, as between two memories
        self.copied_in.append(a.shape)
        return a.view(DeviceArray)

    def asnumpy(self, a: Any) -> np.ndarray:
        self.copied_out.append(a.shape)
        return np.array(a).view(np.ndarray)

    def __getattr__(self, name: str) -> Any:
        function = getattr(np, name)
        if not callable(function) or isinstance(function, type):
            return function

        def on_device(*arguments: Any, **options: Any) -> Any:
            for a in (*arguments, *options.values()):
                _refuse_host(a)
            return _on_device(function(*arguments, **options))

        return on_device


class StrictEmulator(Emulator):
    """The launch refuses NumPy arrays, as `cuda_launch` does."""

    def launch(self, file, kernel, grid, block, arguments, dtype, **definitions):
        for a in arguments:
            _refuse_host(a)
        plain = [a.view(np.ndarray) if isinstance(a, DeviceArray) else a for a in arguments]
        super().launch(file, kernel, grid, block, plain, dtype, **definitions)


class DeviceBackend(CupyBackend):
    """`CupyBackend` on the strict CuPy."""

    name = "cupy"

    def _runtime(self) -> tuple[Any, Any]:
        return FakeCupy(), StrictEmulator()

    def synchronize(self) -> None:
        """The emulator has finished when it returns."""
