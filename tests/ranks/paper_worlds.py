"""Ranks of paper: threads of this process, for tests of what ranks tell each other.

A world of them fills the interface as another library would: all that it can do is add up.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

import nnfs_gpu as ng

LIMIT = 30.0  # seconds that a rank waits for the others: a test that hangs ends


class PaperWorld(ng.World):
    """One rank of several threads. What hangs raises threading.BrokenBarrierError."""

    def __init__(self, rank: int, values: list, meeting: threading.Barrier):
        self.rank, self.size = rank, len(values)
        self._values, self._meeting = values, meeting

    def sum(self, a):
        self._values[self.rank] = a.copy()
        self.barrier()
        total = np.add.reduce(self._values)
        self.barrier()
        a[...] = total

    def broadcast(self, value):
        self._values[self.rank] = value
        self.barrier()
        found = self._values[0]
        self.barrier()
        return found

    def barrier(self):
        self._meeting.wait()

    def abort(self, code=1):
        self._meeting.abort()
        raise SystemExit(code)


def on_paper(n: int, act: Callable[[PaperWorld], Any]) -> list:
    """What act(world) returns on each of n ranks, or the exception that it raises."""
    values, meeting = [None] * n, threading.Barrier(n, timeout=LIMIT)
    found: list = [None] * n

    def run(rank: int) -> None:
        try:
            found[rank] = act(PaperWorld(rank, values, meeting))
        except BaseException as error:
            found[rank] = error

    threads = [threading.Thread(target=run, args=(rank,), name=f"rank {rank}") for rank in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def this_rank() -> int:
    """Of the thread that asks."""
    return int(threading.current_thread().name.removeprefix("rank "))
