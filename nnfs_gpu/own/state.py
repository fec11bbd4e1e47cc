"""What parts of the user's own keep, as it was before a step: for a step that is undone.

Nobody knows what a class of the user's own changes, and where: running means in place, momentums
in a dictionary, a generator, an optimizer of ours inside. So everything that the part holds is
followed, through containers and objects, and put back as it was, each object in its place.

Left out is what a batch leaves: arrays that are large and new since the last step, which the
next forward replaces. Slower than what is done for parts of ours, and only for the user's.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np

from ..backend.numpy_backend import NumpyBackend
from ..rollback import refill
from .parts import NEIGHBOURS

OF_A_BATCH = {"inputs", "output", "dinputs", "binary_mask", "dweights", "dbiases"}
LEFT_OUT = OF_A_BATCH | set(NEIGHBOURS)
SMALL = 1 << 16  # bytes of an array that is copied though it is new
LEAVES = (
    *(type(None), bool, int, float, complex, str, bytes, np.generic, np.dtype),
    *(type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, NumpyBackend),
)

Restore = Callable[[], None]


def is_own(part: Any) -> bool:
    """Whether its class was written outside of this package."""
    return part is not None and not type(part).__module__.startswith("nnfs_gpu.")


class OwnState:
    """What some parts hold. `record()` before a step, `put_back()` where it is undone.

    strangers  what is none of theirs, wherever they hold it: the model and its other parts
    """

    def __init__(self, parts: Iterable[Any], strangers: Iterable[Any]):
        self.parts, self._strangers = list(parts), list(strangers)
        self._arrays: dict[int, Any] = {}  # of the last `record`, by id
        self._restores: list[Restore] = []

    def record(self, *batch: Any) -> None:
        """Keep what they hold now, but for the arrays of the `batch`, which are others'."""
        before, self._arrays, self._restores = self._arrays, {}, []
        seen = {id(one) for one in (*self._strangers, *batch)}
        todo = list(self.parts)
        while todo:
            one = todo.pop()
            if isinstance(one, LEAVES) or id(one) in seen:
                continue
            seen.add(id(one))
            self._keep(one, before, todo)

    def put_back(self) -> None:
        """All of it as it was at `record`; may be done again."""
        for restore in self._restores:
            restore()

    def _keep(self, one: Any, before: dict[int, Any], todo: list[Any]) -> None:
        if hasattr(one, "shape") and hasattr(one, "nbytes") and hasattr(one, "copy"):
            self._arrays[id(one)] = one  # held, so that its id stays its own
            if one.nbytes <= SMALL or before.get(id(one)) is one:
                self._keep_array(one)
        elif isinstance(one, dict):
            self._keep_dict(one)
            todo += one.values()
        elif isinstance(one, list):
            self._restores.append(partial(one.__setitem__, slice(None), one.copy()))
            todo += one
        elif isinstance(one, tuple):
            todo += one
        elif isinstance(one, np.random.Generator):
            bits = one.bit_generator
            self._restores.append(partial(setattr, bits, "state", bits.state))
        elif isinstance(one, np.random.RandomState):
            self._restores.append(partial(one.set_state, one.get_state()))
        elif hasattr(one, "__dict__"):
            held = vars(one)
            self._keep_dict(held)
            todo += [value for name, value in held.items() if name not in LEFT_OUT]

    def _keep_array(self, array: Any) -> None:
        if getattr(getattr(array, "flags", None), "writeable", True):
            self._restores.append(partial(array.__setitem__, ..., array.copy()))

    def _keep_dict(self, held: dict[Any, Any]) -> None:
        self._restores.append(partial(refill, held, held.copy()))
