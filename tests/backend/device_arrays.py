"""Arrays with the manners of a GPU's, without a GPU: what a program may do with them shows here.

`DeviceArray` allows what CuPy's arrays allow and refuses what they refuse, with the same kind of
error: turning into a NumPy array without being asked, mixing with one or with a list, being a
key of a dictionary, an index or a number to round, NumPy's `flags.writeable`, `ctypes`, and
arguments like `where`. Reductions and single elements are arrays of no dimension.
test_device_arrays.py compares it with the installed CuPy.

What CuPy does by waiting for the device (`float(a)`, `a[mask]`, a copy to the host ...) is
allowed, but not inside `no_waiting()`: nothing in a training step may wait.
`DeviceBackend` computes on such arrays with the specification.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np

from nnfs_gpu.backend.arrays import check_real
from nnfs_gpu.backend.numpy_backend import NumpyBackend

METHODS = (
    *("all", "any", "argmax", "astype", "clip", "copy", "dot", "max", "mean", "min", "ravel"),
    *("reshape", "round", "squeeze", "std", "sum", "transpose", "var", "view"),
)
LACKING = {"where", "initial", "like", "subok", "casting", "signature", "device"}  # as arguments
WAITING = {"nonzero", "argwhere", "flatnonzero", "unique", "allclose", "array2string"}


class WaitingError(AssertionError):
    """Something waited for the device inside `no_waiting()`."""


_forbidden: list[bool] = []


@contextmanager
def no_waiting() -> Iterator[None]:
    """Inside, whatever would wait for a device raises WaitingError."""
    _forbidden.append(True)
    try:
        yield
    finally:
        _forbidden.pop()


def waits(what: str) -> None:
    """Here the device is waited for."""
    if _forbidden:
        raise WaitingError(f"{what} waits for the device")


def host(value: Any) -> Any:
    """NumPy arrays in place of device arrays, in lists too; TypeError for NumPy's own."""
    if isinstance(value, DeviceArray):
        return value.inside
    if isinstance(value, np.ndarray):
        raise TypeError(f"Unsupported type {type(value)}: a NumPy array where CuPy's is expected")
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
        refused = LACKING & set(kwargs)
        if refused:
            raise TypeError(f"{function.__name__}() got an unexpected keyword argument {refused}")
        if function.__name__ in WAITING:
            waits(function.__name__)
        out = kwargs.get("out")
        kwargs = {name: host(value) for name, value in kwargs.items()}
        result = function(*host(args), **kwargs)
        return device(result) if out is None else out

    return call


def _operand(value: Any) -> Any:
    """Of arithmetic: a device array or a number; CuPy takes no lists here."""
    if isinstance(value, list | tuple):
        raise TypeError(f"Unsupported type {type(value)}")
    return host(value)


class DeviceArray(np.lib.mixins.NDArrayOperatorsMixin):
    """A NumPy array that cannot be reached by accident."""

    __hash__ = None  # type: ignore[assignment]
    __cuda_array_interface__: dict[str, Any] = {}  # noqa: RUF012 - tells that it is no NumPy array

    def __init__(self, inside: np.ndarray, device: int = 0):
        self.inside, self._device = inside, device

    # ---- what waits ----
    def get(self) -> np.ndarray:
        waits("get()")
        return self.inside.copy()

    def item(self) -> Any:
        waits("item()")
        return self.inside.item()

    def tolist(self) -> Any:
        waits("tolist()")
        return self.inside.tolist()

    def __bool__(self) -> bool:
        waits("a truth value")
        return bool(self.inside)

    def __float__(self) -> float:
        waits("float()")
        return float(self.inside)

    def __int__(self) -> int:
        waits("int()")
        return int(self.inside)

    def __format__(self, specification: str) -> str:
        waits("a text")
        return format(self.inside, specification)

    def __str__(self) -> str:
        waits("a text")
        return str(self.inside)

    def __repr__(self) -> str:  # of debuggers and failing tests too: they may wait
        return f"DeviceArray({self.inside!r})"

    # ---- NumPy's protocols ----
    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        out = kwargs.pop("out", (None,))[0]
        if kwargs.keys() - {"dtype", "axis", "keepdims"}:
            raise TypeError(f"Wrong arguments {kwargs}")
        if out is not None:
            kwargs["out"] = (host(out),)
        result = getattr(ufunc, method)(*map(_operand, inputs), **kwargs)
        return device(result) if out is None else out

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return on_device(function)(*args, **kwargs)

    # ---- elements ----
    def __getitem__(self, key: Any) -> Any:
        if _has_mask(key):
            waits("a[mask], whose size only the device knows,")
        return device(self.inside[self._key(key)])

    def __setitem__(self, key: Any, value: Any) -> None:
        if isinstance(value, np.ndarray | list | tuple) and np.ndim(value):
            raise ValueError("non-scalar numpy.ndarray cannot be used for fill")  # CuPy's words
        if _has_mask(key) and np.ndim(getattr(value, "inside", value)):
            waits("a[mask] = array, whose size only the device knows,")
        self.inside[self._key(key)] = value.inside if isinstance(value, DeviceArray) else value

    @staticmethod
    def _key(key: Any) -> Any:
        """NumPy arrays are moved where they stand as indices."""
        if isinstance(key, tuple):
            return tuple(DeviceArray._key(one) for one in key)
        return key if isinstance(key, np.ndarray) else host(key)

    def __len__(self) -> int:
        return len(self.inside)

    def __iter__(self) -> Any:
        if not self.ndim:
            raise TypeError("iteration over a 0-d array")
        return (self[row] for row in range(len(self)))

    @property
    def flags(self) -> Any:
        found = self.inside.flags
        names = ("c_contiguous", "f_contiguous", "fnc", "forc", "owndata")
        return SimpleNamespace(**{name: getattr(found, name) for name in names})

    @property
    def data(self) -> Any:
        return SimpleNamespace(device_id=self._device, ptr=self.inside.ctypes.data)


def _has_mask(key: Any) -> bool:
    parts = key if isinstance(key, tuple) else (key,)
    return any(getattr(part, "dtype", None) == np.bool_ for part in parts)


for _name in METHODS:
    setattr(DeviceArray, _name, on_device(getattr(np.ndarray, _name)))
for _name in ("shape", "ndim", "size", "dtype", "itemsize", "nbytes", "strides", "T"):
    setattr(DeviceArray, _name, property(lambda self, n=_name: device(getattr(self.inside, n))))


class DeviceModule:
    """NumPy's functions over device arrays, as the module `cupy` has them.

    copied_in, copied_out   shapes of arrays that crossed over since the last `reset()`
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
        if isinstance(a, list | tuple) and any(isinstance(one, DeviceArray) for one in a):
            return device(np.array([getattr(one, "inside", one) for one in a], dtype))
        a = np.array(a, dtype)  # always a copy, as between two memories
        self.copied_in.append(a.shape)
        return DeviceArray(a)

    def asnumpy(self, a: Any) -> np.ndarray:
        if not isinstance(a, DeviceArray):
            return np.asarray(a)
        self.copied_out.append(a.shape)
        return a.get()

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
        return self.xp.asnumpy(a)
