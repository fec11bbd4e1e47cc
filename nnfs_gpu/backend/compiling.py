"""Kernels are compiled when they are first called: who hears of it, and how long it takes.

Code that is found on disk does not count. `cpu/events.py` says when Numba compiles a kernel of ours
for the CPU, `cuda/compile.py` when NVRTC compiles one for a GPU; `show/display.py` listens. Where
nobody does and it takes long, that is said through `logging`, once: the first run on a machine
stands still for it.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator

logger = logging.getLogger("nnfs_gpu")

LONG = 2.0  # seconds

Listener = Callable[[], None]  # called when a compilation begins

_listeners: list[Listener] = []
_seconds = 0.0
_said = False
_here = threading.local()  # how many compilations are under way here, when the outermost began


def seconds() -> float:
    """How long this process has compiled kernels so far."""
    return _seconds


@contextlib.contextmanager
def compiling() -> Iterator[None]:
    """A compilation: the block."""
    begin()
    try:
        yield
    finally:
        end()


def begin() -> None:
    """A compilation begins, on this thread. One inside of another is part of it."""
    depth = getattr(_here, "depth", 0)
    _here.depth = depth + 1
    if not depth:
        _here.begun = time.perf_counter()
        for listener in tuple(_listeners):
            listener()


def end() -> None:
    """The compilation that began last has ended, well or not."""
    _here.depth -= 1
    if not _here.depth:
        _add(time.perf_counter() - _here.begun)


def _add(took: float) -> None:
    global _seconds, _said
    _seconds += took
    if _seconds > LONG and not _said and not _listeners:
        _said = True
        logger.info(
            "kernels have been compiled for %.1f s: the first time that they are needed on this "
            "machine; later runs load them (nnfs-gpu warmup compiles all of them in advance)",
            _seconds,
        )


def listen(listener: Listener) -> Callable[[], None]:
    """Call `listener` when a compilation begins; what is returned ends that."""
    _listeners.append(listener)

    def stop() -> None:
        with contextlib.suppress(ValueError):  # it was called before
            _listeners.remove(listener)

    return stop
