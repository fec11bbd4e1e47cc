"""Numba says when it compiles; what of it is a kernel of ours goes on to `compiling.py`.

A kernel that is found on disk gives no event, and functions of the user's own are not ours.
"""

from __future__ import annotations

import functools
from typing import Any

from numba.core import event as numba_event

from ...kernels.cpu.compiler import Callee, Kernel
from .. import compiling


class _OurKernels(numba_event.Listener):
    def on_start(self, event: Any) -> None:
        if isinstance(event.data["dispatcher"], (Kernel, Callee)):
            compiling.begin()

    def on_end(self, event: Any) -> None:
        if isinstance(event.data["dispatcher"], (Kernel, Callee)):
            compiling.end()


@functools.cache
def hear() -> None:
    """From now on; the backends that compile with Numba call it when they are imported."""
    numba_event.register("numba:compile", _OurKernels())
