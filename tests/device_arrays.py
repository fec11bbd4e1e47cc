"""Arrays with the manners of a GPU's, without a GPU: what a program may do with them shows here.

`DeviceArray` allows what CuPy's arrays allow (CuPy 14, its `__array_ufunc__` and
`__array_function__`) and refuses what they refuse: turning into a NumPy array without being
asked, mixing with one, being a key of a dictionary or an index of a list. Reductions and single
elements are arrays of no dimension. `DeviceBackend` computes on them with the specification.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nnfs_gpu.backend.arrays import check_real
from nnfs_gpu.backend.numpy_backend import NumpyBackend

METHODS = (
    *("all", "any", "argmax", "astype", "clip", "copy", "dot", "max", "mean", "min", "ravel"),
    *("reshape", "round", "squeeze", "std", "sum", "transpose", "var", "view"),
)


def host(value: Any) -> Any:
    """NumPy arrays in place of device arrays, in lists too; TypeError for NumPy's own."""
    if isinstance(value, DeviceArray):
        return value.inside
    if isinstance(value, np.ndarray):
        raise TypeError(f"Unsupported type {type(value)}")  # CuPy's words
    if isinstance(value, list | tuple):
        return type(value)(host(one) for one in value)
    return value


def device(value: Any) -> Any:
    """A device array in place of what NumPy computed, of no dimension for a number."""
    if isinstance(value, tuple):
        return tuple(device(one) for one in value)
    return DeviceArray(np.asarray(value)) if isinstance(value, np.ndarray | np.generic) else value


def on_device(function: Any) -> Any:
    """`function` of NumPy, over device arrays."""

    def call(*args: Any, **kwargs: Any) -> Any:
        kwargs = {name: host(value) for name, value in kwargs.items()}
        return device(function(*host(args), **kwargs))

    return call


class DeviceArray(np.lib.mixins.NDArrayOperatorsMixin):
    """A NumPy array that cannot be reached by accident."""

    __hash__ = None  # type: ignore[assignment]
    __cuda_array_interface__: dict[str, Any] = {}  # noqa: RUF012 - tells that it is no NumPy array

    def __init__(self, inside: np.ndarray):
        self.inside = inside

    def get(self) -> np.ndarray:
        return self.inside.copy()

    def item(self) -> Any:
        return self.inside.item()

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        out = kwargs.pop("out", (None,))[0]
        if out is not None:
            kwargs["out"] = (host(out),)
        result = getattr(ufunc, method)(*host(inputs), **kwargs)
        return device(result) if out is None else out

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return on_device(function)(*args, **kwargs)

    def __getitem__(self, key: Any) -> Any:
        return device(self.inside[self._key(key)])

    def __setitem__(self, key: Any, value: Any) -> None:
        self.inside[self._key(key)] = host(value)

    @staticmethod
    def _key(key: Any) -> Any:
        """NumPy arrays are moved where they stand as indices."""
        if isinstance(key, tuple):
            return tuple(DeviceArray._key(one) for one in key)
        return key if isinstance(key, np.ndarray) else host(key)

    def __len__(self) -> int:
        return len(self.inside)

    def __iter__(self) -> Any:
        return (self[row] for row in range(len(self)))

    def __bool__(self) -> bool:
        return bool(self.inside)

    def __float__(self) -> float:
        return float(self.inside)

    def __int__(self) -> int:
        return int(self.inside)

    def __format__(self, specification: str) -> str:
        return format(self.inside, specification)

    def __str__(self) -> str:
        return str(self.inside)

    def __repr__(self) -> str:
        return repr(self.inside)


for _name in METHODS:
    setattr(DeviceArray, _name, on_device(getattr(np.ndarray, _name)))
for _name in ("shape", "ndim", "size", "dtype", "flags", "nbytes", "T"):
    setattr(DeviceArray, _name, property(lambda self, n=_name: device(getattr(self.inside, n))))


class DeviceModule:
    """NumPy's functions over device arrays, as the module `cupy` has them."""

    ndarray = DeviceArray

    def __getattr__(self, name: str) -> Any:
        value = getattr(np, name)
        return value if isinstance(value, type) or not callable(value) else on_device(value)


class DeviceBackend(NumpyBackend):
    """The specification over device arrays."""

    name = "device"
    xp = DeviceModule()

    def asarray(self, x: Any, dtype: Any = None) -> Any:
        dtype = np.dtype(self.dtype if dtype is None else dtype)
        if not isinstance(x, DeviceArray):
            return DeviceArray(np.array(super().asarray(x, dtype)))
        check_real(x)
        if x.dtype == dtype and x.flags.c_contiguous:
            return x
        return DeviceArray(np.ascontiguousarray(x.inside, dtype))

    def to_numpy(self, a: Any) -> np.ndarray:
        return a.get() if isinstance(a, DeviceArray) else np.asarray(a)
