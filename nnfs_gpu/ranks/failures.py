"""What each rank does by itself, and all then know whether it went well on all of them.

A rank that fails alone leaves the others waiting in the next call. So whatever a rank does alone
and may fail at, such as reading its data, ends with a message: where it failed on any rank, all
raise, and none waits. Called by the training loop and by `devices.py`.

Inside of such a phase ranks do not talk: the failed one would not take part.
"""

from __future__ import annotations

import json
import traceback
import zlib
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from .errors import RankError, on_all
from .world import World, everybody

T = TypeVar("T")

MOST = 8000  # characters of a message, and of each end of a traceback, that travel


def together(world: World, act: Callable[[], T]) -> T:
    """`act()`, called on every rank; where it raises on any, all raise, as `agree`."""
    result, failed = None, None
    try:
        result = act()
    except Exception as error:
        failed = error
    agree(world, failed)
    return result  # type: ignore[return-value] # there, where nothing has failed


def on_first(world: World, act: Callable[[], T]) -> T:
    """What `act()` returns on rank 0, which alone calls it, on all; raises as `agree`."""
    result: T = world.broadcast(together(world, lambda: act() if world.rank == 0 else None))
    return result


def agree(world: World, failed: Exception | None) -> None:
    """Returns where no rank has `failed`; raises on all where one has, or several.

    Where all have failed with the same kind of exception, as all do with a wrong argument, each
    raises its own. Else all raise RankError with what the first of them says. The errors are
    marked: each rank ends by itself, and rank 0 prints (see `errors.py`).
    """
    if world.size == 1:
        if failed is not None:
            raise failed
        return
    text = b"" if failed is None else _packed(failed)
    table = everybody(world, (failed is not None, _kind(failed), len(text)))
    ranks = np.flatnonzero(table[:, 0])
    if not len(ranks):
        return
    first = int(ranks[0])
    message, trace = json.loads(_text(world, text, first, int(table[first, 2])))
    if failed is not None and len(ranks) == world.size and len(set(table[:, 1])) == 1:
        raise on_all(failed, world.rank)
    error = RankError(message, first)
    error.add_note(f"On rank {first}:\n{trace}")
    raise on_all(error, world.rank) from failed


def _text(world: World, text: bytes, first: int, length: int) -> bytes:
    """The `text` of rank `first`, on all: others add zeros."""
    room = np.zeros(-(-length // 8), np.int64)
    if world.rank == first:
        room.view(np.uint8)[:length] = np.frombuffer(text, np.uint8)
    world.sum(room)
    return room.tobytes()[:length]


def _packed(error: Exception) -> bytes:
    """The exception in words, and its traceback: of a very long one both ends."""
    trace = "".join(traceback.format_exception(error))
    if len(trace) > 2 * MOST:
        trace = f"{trace[:MOST]}\n...\n{trace[-MOST:]}"
    return json.dumps([f"{type(error).__name__}: {error}"[:MOST], trace]).encode()


def _kind(error: Exception | None) -> int:
    """A number of the exception's class."""
    if error is None:
        return 0
    return zlib.crc32(f"{type(error).__module__}.{type(error).__qualname__}".encode())
