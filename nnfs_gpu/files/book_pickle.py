"""A reader of pickles that can run nothing: for `book_file.py`.

A pickle is a program for a small stack machine that may call any function it can name, so
Python's own reader runs whatever a stranger's file says. `read` is another machine for the
same programs. It knows the operations that build numbers, texts, bytes, lists, tuples, dicts
with text keys, and objects of the classes of `book_stand_ins.py`, which stand for the book's
and for NumPy's arrays. Any other operation or call is refused before anything is done with it:
nothing is imported, and no more memory is used than the file is long. Names of other classes
are remembered, so that an error can tell them all. `pickletools.genops`, of the standard
library, splits the program into operations without running them; what each does is in its
documentation and in PEP 307, PEP 3154 and PEP 574.

Reads what Python 3 writes unless told otherwise: protocols 3, 4 and 5.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from typing import Any, BinaryIO

from .book_stand_ins import STAND_INS, Array, DType, Foreign, Record, RefusedError, words

PROTOCOLS = (3, 4, 5)
MOST_NAMES = 100  # of other classes


class ForeignError(Exception):
    """A file with objects of classes that are none of the book's."""

    def __init__(self, names: list[str]):
        super().__init__(", ".join(names))
        self.names = names


# ---- the machine ----
def is_pickle(data: bytes) -> bool:
    """Whether this is a pickle of a protocol that we read, and no safetensors file."""
    return len(data) > 8 and data[0] == 0x80 and data[1] in PROTOCOLS and data[8:9] != b"{"


def read(file: BinaryIO, names: frozenset[str]) -> Any:
    """The object in a pickle whose classes have one of `names`, in any module.

    Capitals and underscores do not count: LayerDense and layer_dense are Layer_Dense.

    Raises ForeignError where there are objects of other classes, RefusedError for what such
    a file does not hold, and whatever Python raises for a program that is no whole one.
    """
    machine = _Machine(names)
    try:
        for operation, argument, _ in pickletools.genops(file):
            if operation.name == "STOP":
                return machine.result()
            machine.do(operation.name, argument)
    except RefusedError as error:
        if machine.foreign:  # what their objects hold may be anything, too
            raise ForeignError(machine.foreign) from error
        raise
    raise RefusedError("no end")


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


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
        classes = {name: type(name, (Record,), {"__slots__": ()}) for name in names}
        self.classes = {_plain(name): kind for name, kind in classes.items()}
        self.named: list[str] = []  # of others, in the order in which they were met
        self.foreign: list[str] = []  # those of which there are objects
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

    def result(self) -> Any:
        """What the program leaves, where it names nothing but the book's classes."""
        if self.foreign:
            raise ForeignError(self.foreign)
        if self.named:
            raise RefusedError(f"the name {self.named[0]}")
        return self.stack.pop()

    def _since_mark(self) -> list[Any]:
        mark = self.marks.pop()
        values = self.stack[mark:]
        del self.stack[mark:]
        return values

    def _tuple(self, _: Any) -> None:
        self.stack.append(tuple(self._since_mark()))

    def _append(self, _: Any) -> None:
        self._extend([self.stack.pop()])

    def _appends(self, _: Any) -> None:
        self._extend(self._since_mark())

    def _extend(self, values: list[Any]) -> None:
        if type(self.stack[-1]) is not list:
            raise RefusedError(f"an append to a {type(self.stack[-1]).__name__}")
        self.stack[-1].extend(values)

    def _set_item(self, _: Any) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._update([key, value])

    def _set_items(self, _: Any) -> None:
        self._update(self._since_mark())

    def _update(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not dict or not all(type(key) is str for key in items[::2]):
            raise RefusedError("a dict with other keys than text")
        target.update(zip(items[::2], items[1::2], strict=True))

    def _global(self, argument: str) -> None:
        self.stack.append(self._find(*argument.split(" ", 1)))

    def _stack_global(self, _: Any) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self.stack.append(self._find(module, name))

    def _find(self, module: Any, name: Any) -> type:
        if type(module) is str and type(name) is str:
            found = STAND_INS.get((module, name)) or self.classes.get(_plain(name))
            return found or self._other(f"{words(module)}.{words(name)}")
        raise RefusedError(f"the name {words(module)}.{words(name)}")

    def _other(self, name: str) -> type:
        if name not in self.named:
            if len(self.named) == MOST_NAMES:
                raise RefusedError(f"the name {name}, after {MOST_NAMES} others")
            self.named.append(name)
        return type("Foreign", (Foreign,), {"__slots__": (), "name": name})

    def _reduce(self, _: Any) -> None:
        arguments, kind = self.stack.pop(), self.stack.pop()
        if isinstance(kind, type) and issubclass(kind, Foreign):
            raise RefusedError(f"the name {kind.name}")
        if kind not in STAND_INS.values() or type(arguments) is not tuple:
            raise RefusedError("a call")
        self.stack.append(kind(*arguments))

    def _new_object(self, _: Any) -> None:
        arguments, kind = self.stack.pop(), self.stack.pop()
        other = isinstance(kind, type) and issubclass(kind, Foreign)
        if not (other or kind in self.classes.values()) or arguments != ():
            raise RefusedError("an object that is made with arguments")
        if other and kind.name not in self.foreign:
            self.foreign.append(kind.name)
        self.stack.append(kind())

    def _build(self, _: Any) -> None:
        state = self.stack.pop()
        if not isinstance(self.stack[-1], (Record, DType, Array)):
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
