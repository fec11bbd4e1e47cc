"""A reader of pickles that can run nothing: for `book_files.py`.

A pickle is a program for a small stack machine that may call any function it can name, so
Python's own reader runs whatever a stranger's file says. `read` is another machine for the
same programs. It knows the operations that build numbers, texts, bytes, lists, tuples, dicts
with text keys, and objects of the classes of this file:
    Record   an object of one of the book's classes: a name and attributes, no behaviour
    _DType, Array, _FromBuffer, _Scalar
             what NumPy's pickles call, in place of it: arrays of numbers, made from bytes
             that are in the file. NumPy's own code for this trusts its input
Any other operation or name is refused before anything is done with it: nothing is imported,
and no more memory is used than the file is long. `pickletools.genops`, of the standard
library, splits the program into operations without running them; what each does is in its
documentation and in PEP 307, PEP 3154 and PEP 574.

Reads what Python 3 writes unless told otherwise: protocols 3, 4 and 5.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from typing import Any

import numpy as np

PROTOCOLS = (3, 4, 5)
DTYPES = frozenset(["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"])


class RefusedError(Exception):
    """What no book's file holds; its text says what was found."""


# ---- stand-ins ----
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


class _DType:
    """numpy.dtype("f4", False, True), then its byte order."""

    __slots__ = ("dtype",)

    def __init__(self, code: Any, align: Any = False, copy: Any = True):
        if not isinstance(code, str) or code not in DTYPES:
            raise RefusedError(f"an array of dtype {_words(code)}")
        self.dtype = np.dtype(code)

    def set_state(self, state: Any) -> None:
        # (version, byte order, and for dtypes with parts what they are: none here)
        if not isinstance(state, tuple) or len(state) < 5 or state[1] not in ("<", ">", "|", "="):
            raise RefusedError("a dtype of unknown form")
        if any(part is not None for part in state[2:5]):
            raise RefusedError("a dtype of several parts")
        self.dtype = self.dtype.newbyteorder(state[1])


class _NDArray:
    """The name numpy.ndarray: an argument of `Array`, never an object."""

    __slots__ = ()

    def __init__(self, *arguments: Any) -> None:
        raise RefusedError("a call of numpy.ndarray")


class Array:
    """numpy's _reconstruct(ndarray, (0,), b"b"), then shape, dtype, order and bytes."""

    __slots__ = ("values",)

    def __init__(self, kind: Any, shape: Any, code: Any) -> None:
        if kind is not _NDArray:
            raise RefusedError("an array of unknown form")
        self.values = np.zeros(0)

    def set_state(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise RefusedError("an array of unknown form")
        _, shape, dtype, fortran, data = state
        self.values = _numbers(data, dtype, shape, "F" if fortran else "C")


class _FromBuffer(Array):
    """numpy's _frombuffer(bytes, dtype, shape, order), of protocol 5."""

    __slots__ = ()

    def __init__(self, data: Any, dtype: Any, shape: Any, order: Any) -> None:
        if order not in ("C", "F"):
            raise RefusedError("an array of unknown order")
        self.values = _numbers(data, dtype, shape, order)

    def set_state(self, state: Any) -> None:
        raise RefusedError("an array of unknown form")


class _Scalar(Array):
    """numpy's scalar(dtype, bytes)."""

    __slots__ = ()

    def __init__(self, dtype: Any, data: Any) -> None:
        self.values = _numbers(data, dtype, (), "C")

    def set_state(self, state: Any) -> None:
        raise RefusedError("a scalar of unknown form")


def _numbers(data: Any, dtype: Any, shape: Any, order: str) -> np.ndarray:
    """The bytes, which must fill it exactly, as an array: a view, so that nothing is copied."""
    if not isinstance(data, (bytes, bytearray)) or not isinstance(dtype, _DType):
        raise RefusedError("an array that is not made of bytes")
    if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
        raise RefusedError("an array of a shape that is no tuple of sizes")
    try:
        return np.frombuffer(data, dtype.dtype).reshape(shape, order=order)  # type: ignore[call-overload]
    except ValueError:
        raise RefusedError(f"{len(data)} bytes for an array of {len(shape)} axes") from None


STAND_INS: dict[tuple[str, str], type] = {
    ("numpy", "dtype"): _DType,
    ("numpy", "ndarray"): _NDArray,
}
for _core in ("numpy.core", "numpy._core"):  # NumPy 1 and 2
    STAND_INS[f"{_core}.multiarray", "_reconstruct"] = Array
    STAND_INS[f"{_core}.multiarray", "scalar"] = _Scalar
    STAND_INS[f"{_core}.numeric", "_frombuffer"] = _FromBuffer


def _words(value: Any) -> str:
    """A text of the file, not too long; of anything else only what it is."""
    return value[:60] if type(value) is str else f"({type(value).__name__})"


# ---- the machine ----
def is_pickle(data: bytes) -> bool:
    """Whether this is a pickle of a protocol that we read, and no safetensors file."""
    return len(data) > 8 and data[0] == 0x80 and data[1] in PROTOCOLS and data[8:9] != b"{"


def read(data: bytes, names: frozenset[str]) -> Any:
    """The object in a pickle whose classes have one of `names`, in any module.

    Raises RefusedError for what such a file does not hold, and whatever Python raises for a
    program that is no whole one.
    """
    machine = _Machine(names)
    for operation, argument, _ in pickletools.genops(data):
        if operation.name == "STOP":
            return machine.stack.pop()
        machine.do(operation.name, argument)
    raise RefusedError("no end")


class _Machine:
    """A stack, the places marked on it, and a memo of objects that are met again."""

    PUSHED = (  # operations whose argument is the value
        *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "SHORT_BINUNICODE", "BINUNICODE"),
        *("SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    )
    MADE: dict[str, Callable[[], Any]] = {  # noqa: RUF012 - never written
        "NONE": lambda: None,
        "NEWTRUE": lambda: True,
        "NEWFALSE": lambda: False,
        "EMPTY_LIST": list,
        "EMPTY_TUPLE": tuple,
        "EMPTY_DICT": dict,
    }
    TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}  # noqa: RUF012 - never written

    def __init__(self, names: frozenset[str]):
        self.classes = {name: type(name, (Record,), {"__slots__": ()}) for name in names}
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def do(self, name: str, argument: Any) -> None:
        """One operation, by its name in `pickletools`."""
        stack = self.stack
        if name in self.PUSHED:
            stack.append(argument)
        elif name in self.MADE:
            stack.append(self.MADE[name]())
        elif name in self.TUPLES:
            parts = [stack.pop() for _ in range(self.TUPLES[name])]
            stack.append(tuple(reversed(parts)))
        elif name in ("BINPUT", "LONG_BINPUT", "MEMOIZE"):
            self.memo[len(self.memo) if argument is None else argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(self.memo[argument])
        elif name == "MARK":
            self.marks.append(len(stack))
        elif name not in ("PROTO", "FRAME"):
            action = self.ACTIONS.get(name)
            if action is None:
                raise RefusedError(f"the operation {name}")
            action(self, argument)

    def _since_mark(self) -> list[Any]:
        mark = self.marks.pop()
        values = self.stack[mark:]
        del self.stack[mark:]
        return values

    def _tuple(self, argument: Any) -> None:
        self.stack.append(tuple(self._since_mark()))

    def _append(self, argument: Any) -> None:
        self._extend([self.stack.pop()])

    def _appends(self, argument: Any) -> None:
        self._extend(self._since_mark())

    def _extend(self, values: list[Any]) -> None:
        if type(self.stack[-1]) is not list:
            raise RefusedError(f"an append to a {type(self.stack[-1]).__name__}")
        self.stack[-1].extend(values)

    def _set_item(self, argument: Any) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._update([key, value])

    def _set_items(self, argument: Any) -> None:
        self._update(self._since_mark())

    def _update(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not dict or not all(type(key) is str for key in items[::2]):
            raise RefusedError("a dict with other keys than text")
        target.update(zip(items[::2], items[1::2], strict=True))

    def _global(self, argument: str) -> None:
        self.stack.append(self._find(*argument.split(" ", 1)))

    def _stack_global(self, argument: Any) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self.stack.append(self._find(module, name))

    def _find(self, module: Any, name: Any) -> type:
        if type(module) is str and type(name) is str:
            found = STAND_INS.get((module, name)) or self.classes.get(name)
            if found is not None:
                return found
        raise RefusedError(f"the name {_words(module)}.{_words(name)}")

    def _reduce(self, argument: Any) -> None:
        arguments, kind = self.stack.pop(), self.stack.pop()
        if kind not in STAND_INS.values() or type(arguments) is not tuple:
            raise RefusedError("a call")
        self.stack.append(kind(*arguments))

    def _new_object(self, argument: Any) -> None:
        arguments, kind = self.stack.pop(), self.stack.pop()
        if kind not in self.classes.values() or arguments != ():
            raise RefusedError("an object that is made with arguments")
        self.stack.append(kind())

    def _build(self, argument: Any) -> None:
        state = self.stack.pop()
        if not isinstance(self.stack[-1], (Record, _DType, Array)):
            raise RefusedError(f"a state for a {type(self.stack[-1]).__name__}")
        self.stack[-1].set_state(state)

    ACTIONS = {  # noqa: RUF012 - never written
        "TUPLE": _tuple,
        "APPEND": _append,
        "APPENDS": _appends,
        "SETITEM": _set_item,
        "SETITEMS": _set_items,
        "GLOBAL": _global,
        "STACK_GLOBAL": _stack_global,
        "REDUCE": _reduce,
        "NEWOBJ": _new_object,
        "BUILD": _build,
    }
