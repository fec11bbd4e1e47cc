"""`nnfs-gpu train --distributed`: the ranks of a run, what each computes on, how they end.

Every rank runs the whole command, and rank 0 alone prints and writes. What a rank does by itself
and may fail at ends with an agreement (`ranks/failures.py`), so that all know: then rank 0 says
what it was, in one line, and all end with its exit code. Whoever fails between two agreements says
so itself, "error: rank 2: ...", and ends all.
"""

from __future__ import annotations

import contextlib
import os
import platform
import time
from collections.abc import Callable, Iterator
from typing import NoReturn, TypeVar

from .. import fused
from ..backend import Backend
from ..model import Model
from ..ranks.devices import choose_device
from ..ranks.errors import WorldError, is_on_all, is_quiet, on_all, tell
from ..ranks.failures import together
from ..ranks.world import World, everybody, texts
from .common import choose_backend
from .config import Settings
from .errors import (
    DISTRIBUTED,
    TRACEBACK_VARIABLE,
    InputError,
    ToldError,
    fail,
    in_words,
    is_unforeseen,
)

T = TypeVar("T")

ON_PROCESSORS = ("numba", "numpy")  # backends for which no GPU is chosen
# Seconds between two ranks that fail by themselves at the same time, by Ctrl-C, say: the first one
# ends the others before they speak. Ranks from LAST_WAIT on wait no longer.
APART, LAST_WAIT = 0.3, 3
MOST_LINES = 16


# ---- from the start to the end ----
@contextlib.contextmanager
def ranks(distributed: bool, timeout: float) -> Iterator[World]:
    """The world of a command: what an MPI launcher has started, or this process alone.

    Of several ranks, an error that leaves the block becomes one line and ends all of them.
    Raises InputError where MPI does not work.
    """
    world = _started(timeout) if distributed else World()
    try:
        yield world
    except BaseException as error:
        if world.size == 1:
            raise
        _end(world, error)


def _started(timeout: float) -> World:
    if not timeout > 0:
        raise InputError(f"--timeout {timeout:g}: expected seconds above 0")
    try:
        return World.mpi(timeout)
    except WorldError as error:
        refused = InputError(f"{DISTRIBUTED}: {error}")
        vars(refused).update(quiet=is_quiet(error))
        raise refused from error


def _end(world: World, error: BaseException) -> NoReturn:
    """Say what went wrong, on one rank, and end all."""
    if is_unforeseen(error) and os.environ.get(TRACEBACK_VARIABLE):
        tell(error, world.rank)
    message, code = in_words(error)
    if is_on_all(error):
        try:
            code = int(everybody(world, (code,)).max())
        except BaseException as second:  # one has been ended in the meantime, or hangs
            message, code = in_words(second)
        else:
            if not is_quiet(error):
                fail(message, code)
            raise ToldError(code) from error
    message = message.replace("give World.mpi a longer timeout", "give a longer --timeout")
    time.sleep(APART * min(world.rank, LAST_WAIT))
    who = f"rank {world.rank}"
    fail(message if message.startswith(who) else f"{who}: {message}", code)
    world.abort(code)
    raise ToldError(code) from error  # where a world's abort returns


def on_rank_0(world: World, act: Callable[[], T]) -> T | None:
    """What `act()` gives on rank 0, which alone calls it; None on the others. Where it fails, all
    raise.
    """
    return together(world, act if world.rank == 0 else lambda: None)


# ---- what computes ----
def backend_for(config: Settings, world: World) -> Backend:
    """The backend of this rank, where it has one on a GPU of its own: nothing lies on one yet."""
    if world.size > 1 and config.backend not in ON_PROCESSORS:
        try:
            choose_device(world)
        except WorldError as error:  # on all ranks
            hint = ", or compute on processors with --backend numba"
            raise on_all(InputError(f"{DISTRIBUTED}: {error}{hint}"), world.rank) from error
    return together(world, lambda: choose_backend(config.backend, config.dtype))


def check_shared(model: Model) -> None:
    """InputError where the backend has no steps that ranks can share."""
    name = model.backend.name
    try:
        shared = hasattr(fused.engine(model), "message")
        reason = f"the fused step of the backend {name!r} is not one of them"
    except fused.CannotFuse as error:
        shared, reason = False, str(error)
    if not shared:
        raise InputError(
            f"{DISTRIBUTED} --backend {name}: ranks share fused steps whose sums are exact, and "
            f"{reason}"
        )


def who_computes(world: World, backend: Backend) -> str:
    """Lines such as "0 to 3: node17, numba 0.65.0, 4 threads", for all ranks."""
    device = "" if backend.device_number is None else f", GPU {backend.device_number}"
    said = texts(world, f"{platform.node()}, {backend.version()}{device}")
    lines, first = [], 0
    for rank in range(1, world.size + 1):
        if rank == world.size or said[rank] != said[first]:
            to = f" to {rank - 1}" if rank - 1 > first else ""
            lines.append(f"{first}{to}: {said[first]}")
            first = rank
    more = len(lines) - MOST_LINES
    return "\n".join(lines[:MOST_LINES] + ([f"... and {more} lines more"] if more > 0 else []))
