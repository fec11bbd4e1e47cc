"""What a pickle is read into in place of what it names: for `book_pickle.py`.

Record   an object of one of the book's classes: a name and attributes, no behaviour
Foreign  one of any other class: to be named in an error, and never more than that
DType, Array, FromBuffer, Scalar
         what NumPy's pickles call, in place of it: arrays of numbers, made from bytes
         that are in the file. NumPy's own code for this trusts its input
"""

from __future__ import annotations

from typing import Any

import numpy as np

DTYPES = frozenset(["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"])


class RefusedError(Exception):
    """What no book's file holds; its text says what was found."""


class Record:
    """An object of one of the book's classes: its attributes, and no behaviour."""

    __slots__ = ("attributes",)

    def __init__(self) -> None:
        self.attributes: dict[str, Any] = {}

    def set_state(self, state: Any) -> None:
        """Take the attributes, a dict."""
        if type(state) is not dict:
            raise RefusedError(f"attributes of a {type(self).__name__} that are no dict")
        self.attributes = state


class Foreign(Record):
    """An object of a class that is none of the book's. `name`: as the pickle has it."""

    __slots__ = ()
    name = ""


class DType:
    """numpy.dtype("f4", False, True), then its byte order."""

    __slots__ = ("dtype",)

    def __init__(self, code: Any, _align: Any = False, _copy: Any = True):
        if not isinstance(code, str) or code not in DTYPES:
            raise RefusedError(f"an array of dtype {words(code)}")
        self.dtype = np.dtype(code)

    def set_state(self, state: Any) -> None:
        """The byte order. Raises RefusedError for dtypes of several parts."""
        # (version, byte order, and for dtypes with parts what they are: none here)
        if not isinstance(state, tuple) or len(state) < 5 or state[1] not in ("<", ">", "|", "="):
            raise RefusedError("a dtype of unknown form")
        if any(part is not None for part in state[2:5]):
            raise RefusedError("a dtype of several parts")
        self.dtype = self.dtype.newbyteorder(state[1])


class _NDArray:
    """The name numpy.ndarray: an argument of `Array`, never an object."""

    __slots__ = ()

    def __init__(self, *_: Any) -> None:
        raise RefusedError("a call of numpy.ndarray")


class Array:
    """numpy's _reconstruct(ndarray, (0,), b"b"), then shape, dtype, order and bytes."""

    __slots__ = ("values",)

    def __init__(self, kind: Any, _shape: Any, _code: Any) -> None:
        if kind is not _NDArray:
            raise RefusedError("an array of unknown form")
        self.values = np.zeros(0)

    def set_state(self, state: Any) -> None:
        """The values. Raises RefusedError where the bytes do not fill the shape."""
        if not isinstance(state, tuple) or len(state) != 5:
            raise RefusedError("an array of unknown form")
        _, shape, dtype, fortran, data = state
        self.values = _numbers(data, dtype, shape, "F" if fortran else "C")


class FromBuffer(Array):
    """numpy's _frombuffer(bytes, dtype, shape, order), of protocol 5."""

    __slots__ = ()

    def __init__(self, data: Any, dtype: Any, shape: Any, order: Any) -> None:
        if order not in ("C", "F"):
            raise RefusedError("an array of unknown order")
        self.values = _numbers(data, dtype, shape, order)

    def set_state(self, _: Any) -> None:
        """Raises RefusedError: it is whole already."""
        raise RefusedError("an array of unknown form")


class Scalar(Array):
    """numpy's scalar(dtype, bytes)."""

    __slots__ = ()

    def __init__(self, dtype: Any, data: Any) -> None:
        self.values = _numbers(data, dtype, (), "C")

    def set_state(self, _: Any) -> None:
        """Raises RefusedError: it is whole already."""
        raise RefusedError("a scalar of unknown form")


def _numbers(data: Any, dtype: Any, shape: Any, order: str) -> np.ndarray:
    """The bytes, which must fill it exactly, as an array: a view, so that nothing is copied."""
    if not isinstance(data, (bytes, bytearray)) or not isinstance(dtype, DType):
        raise RefusedError("an array that is not made of bytes")
    if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
        raise RefusedError("an array of a shape that is no tuple of sizes")
    try:
        found: Any = np.frombuffer(data, dtype.dtype)
        values: np.ndarray = found.reshape(shape, order=order)
        return values
    except ValueError:
        raise RefusedError(f"{len(data)} bytes for an array of {len(shape)} axes") from None


STAND_INS: dict[tuple[str, str], type] = {
    ("numpy", "dtype"): DType,
    ("numpy", "ndarray"): _NDArray,
}
for _core in ("numpy.core", "numpy._core"):  # NumPy 1 and 2
    STAND_INS[f"{_core}.multiarray", "_reconstruct"] = Array
    STAND_INS[f"{_core}.multiarray", "scalar"] = Scalar
    STAND_INS[f"{_core}.numeric", "_frombuffer"] = FromBuffer


def words(value: Any) -> str:
    """A text of the file, not too long; of anything else only what it is."""
    return value[:60] if type(value) is str else f"({type(value).__name__})"
