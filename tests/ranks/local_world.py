"""Ranks that are threads of one process: a world for tests, and how a program runs on it.

Real ranks are processes (`run_ranks`). Threads show the same arithmetic, start at once, and let a
test look at every rank's model. Over MPI ranks that are in different calls wait for ever, or add
up what does not belong together: here the first such call ends the test with what each was in.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from nnfs_gpu import World
from nnfs_gpu.ranks.errors import is_on_all

WAIT = 20.0  # seconds until a test that hangs ends


class RanksApartError(BaseException):
    """The ranks are in different calls. No code that is tested catches it."""


class LocalWorld(World):
    """One of `size` threads that share `common`; `sums` counts the calls of sum."""

    def __init__(self, rank: int, size: int, common: dict[str, Any]):
        self.rank, self.size, self.common = rank, size, common
        self.sums = 0

    def sum(self, a):
        self.common[self.rank] = a.copy()
        self._meet(f"a sum of {a.size} numbers")
        a[...] = np.sum([self.common[rank] for rank in range(self.size)], axis=0)
        self.sums += 1
        self._wait()

    def broadcast(self, value):
        if self.rank == 0:
            self.common["value"] = value
        self._meet("a broadcast")
        found = self.common["value"]
        self._wait()
        return found

    def barrier(self):
        self._meet("a barrier")

    def _meet(self, call):
        """Raises RanksApartError, on all, where another rank is in another call."""
        self.common["call", self.rank] = call
        self._wait()
        calls = [self.common["call", rank] for rank in range(self.size)]
        self._wait()
        if len(set(calls)) > 1:
            raise RanksApartError(f"ranks are in different calls: {'; '.join(calls)}")

    def _wait(self):
        self.common["barrier"].wait(WAIT)


def on_ranks(size, program):
    """What program(world) gives on each of so many ranks; raises the first rank's exception."""
    common: dict[str, Any] = {"barrier": threading.Barrier(size)}
    results: list[Any] = [None] * size
    errors: list[BaseException | None] = [None] * size

    def run(rank):
        try:
            results[rank] = program(LocalWorld(rank, size, common))
        except BaseException as error:
            errors[rank] = error
            if not is_on_all(error):  # nobody waits for this rank
                common["barrier"].abort()

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    found = [error for error in errors if error is not None]
    for error in sorted(found, key=lambda one: isinstance(one, threading.BrokenBarrierError)):
        raise error
    return results


def errors_on_ranks(size, program):
    """The exception of each rank; None where it had none."""

    def caught(world):
        try:
            program(world)
        except Exception as error:
            return error
        return None

    return on_ranks(size, caught)
