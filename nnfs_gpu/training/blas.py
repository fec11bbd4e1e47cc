"""Products of narrow networks on one BLAS thread.

They gain nothing from a second one, and while other programs use the cores its waiting costs more
than the product (measured at load 2.5: 1.1 s against 15.5 s for five epochs of 2-64-64-3).
BLAS libraries have one number of threads for the whole process, so it is changed when the first
of several callers begins and put back when the last one has ended.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from ..network.network import Network

NARROW = 128  # widest layer whose products stay on one thread
SMALL = 1 << 18  # multiplications for which OpenBLAS takes one thread (interface/gemm.c)

Result = TypeVar("Result")


def for_model(
    model: Network, act: Callable[[], Result], samples: int | None = None, ranks: bool = False
) -> Result:
    """`act()`, on one BLAS thread where the layers of `model` are narrow and on the host.

    samples  that it multiplies at a time, where that is known: for few of them BLAS takes one
             thread by itself, and to say so again takes as long as a product
    ranks    on one thread at any width: ranks have unlike numbers of threads, and of a wide product
             the last digits depend on it
    """
    held = (getattr(layer, "weights", None) for layer in model.trainable_layers)
    widest = max((n for weights in held for n in getattr(weights, "shape", ())), default=0)
    few = samples is not None and samples * widest * widest <= SMALL
    one = ranks or (0 < widest <= NARROW and not few)
    if not one or getattr(model.backend, "xp", np) is not np:
        return act()
    return _ONE_THREAD.call(act)


class _OneThread:
    """Whoever calls has BLAS on one thread until all that call have ended.

    Nothing here waits for a lock that Ctrl-C could leave locked: see `Workers`.
    """

    def __init__(self) -> None:
        self._callers: dict[object, None] = {}
        self._changing: dict[str, object] = {}  # "now": the caller who changes the libraries
        self._before: list[tuple[Any, int]] | None = None  # libraries and their threads, if changed

    def call(self, act: Callable[[], Result]) -> Result:
        """`act()` on one BLAS thread."""
        caller = object()
        try:
            try:
                self._callers[caller] = None
                self._settle(caller)
                return act()
            finally:
                self._leave(caller)
        finally:
            self._leave(caller)  # where Ctrl-C cut off the first

    def _leave(self, caller: object) -> None:
        self._callers.pop(caller, None)
        self._settle(caller)

    def _settle(self, caller: object) -> None:
        """Change the libraries where somebody calls and they are not, or the other way round."""
        while bool(self._callers) != (self._before is not None):
            try:
                try:
                    if self._changing.setdefault("now", caller) is caller:
                        self._change()
                    else:
                        time.sleep(0)
                finally:
                    self._changed(caller)
            finally:
                self._changed(caller)

    def _changed(self, caller: object) -> None:
        if self._changing.get("now") is caller:
            self._changing.pop("now", None)

    def _change(self) -> None:
        if self._callers and self._before is None:
            self._before = [(library, library.num_threads) for library in _libraries()]
            for library, _ in self._before:
                library.set_num_threads(1)
        elif self._before is not None and not self._callers:
            for library, threads in self._before:
                if library.num_threads == 1:  # else somebody has chosen another number meanwhile
                    library.set_num_threads(threads)
            self._before = None

    def forget_callers(self) -> None:
        """Of the parent of a forked process, whose threads are not in the child."""
        self._callers.clear()
        self._changing.clear()


@functools.cache
def _libraries() -> list[Any]:
    """The BLAS libraries of this process. Looking for them takes milliseconds: once.

    None without threadpoolctl, as on a machine that has NumPy alone: they keep their threads.
    """
    try:
        from threadpoolctl import ThreadpoolController
    except ModuleNotFoundError:
        return []
    return list(ThreadpoolController().select(user_api="blas").lib_controllers)


_ONE_THREAD = _OneThread()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_ONE_THREAD.forget_callers)
