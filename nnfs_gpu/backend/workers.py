"""Threads that share a caller's work, and wait for the next piece of it without falling asleep.

A sleeping thread takes some 60 microseconds to wake. One that has just worked therefore watches
for more work for `WATCH` seconds before it sleeps, as OpenMP's threads do; `rest` sends them to
sleep at once: call it before other libraries' threads (BLAS) get work.

The system often puts a thread that wakes on the core of the one that woke it, and there the two
take turns for milliseconds while another core is idle (seen on Linux 6.18, two cores: in one
burst of work out of three, for 15 ms, at a third of the speed). So a caller keeps the workers
off the core that it runs on.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
import time
from collections.abc import Callable

import numpy as np

from ..kernels import waiting

WATCH = 1e-3  # seconds
LOOKS = 2_000  # in one go, some 50 microseconds: between them a thread looks at the clock

Task = Callable[[int], None]

# The number of the core that this thread runs on; where the system does not say, None.
_core = getattr(ctypes.PyDLL(None), "sched_getcpu", None) if os.name == "posix" else None
if not hasattr(os, "sched_setaffinity"):
    _core = None


class Workers:
    """At most `count` threads beside the caller's; they are started when first needed.

    share(task, threads)  task(0) here and task(1), task(2), ... elsewhere, at the same time
    rest()                waiting threads fall asleep now
    """

    def __init__(self, count: int):
        self.count = count
        self._turn = np.zeros(1, np.int64)  # grows with each job: what waiting threads watch
        self._job = _Job(_nothing, 0)
        self._busy, self._wake = threading.Lock(), threading.Condition()
        self._threads: list[threading.Thread] = []
        self._avoided: int | None = None  # the core of the last caller
        self._awake = 0

    def share(self, task: Task, threads: int) -> None:
        """Call task(k) once on each of up to `threads` threads, with k = 0 on this one.

        Comes back when this thread's call has ended, and those of the others that have begun;
        one that has not begun by then never does, so the tasks have to take the work between
        them from a common place. While another caller has the threads, this one works alone.
        Raises what a task raised.
        """
        if threads < 2 or not self._busy.acquire(blocking=False):
            task(0)
            return
        job = _Job(task, min(threads - 1, self.count))
        try:
            try:
                self._start(job)
                task(0)
            finally:
                job.end()
        finally:
            self._job = _Job(_nothing, 0)  # keeps nothing of the caller's alive
            self._busy.release()
        if job.error is not None:
            raise job.error

    def rest(self) -> None:
        """Waiting threads fall asleep now, so that their cores are free."""
        if self._awake and self._busy.acquire(blocking=False):
            self._turn[0] += 1  # they find no job
            self._busy.release()

    def _start(self, job: _Job) -> None:
        while len(self._threads) < job.places:
            name = f"nnfs_gpu-{len(self._threads)}"
            self._threads.append(threading.Thread(target=self._work, name=name, daemon=True))
            self._threads[-1].start()
            self._avoided = None
        self._make_way()
        with self._wake:
            self._job = job
            self._turn[0] += 1
            self._wake.notify(job.places)

    def _make_way(self) -> None:
        """Keep the workers off this thread's core, if there are others."""
        core = _core() if _core else None
        if core == self._avoided:
            return
        self._avoided = core
        allowed = os.sched_getaffinity(0)
        if len(allowed) < 2:
            return
        for thread in self._threads:
            if thread.native_id is not None:
                with contextlib.suppress(OSError):  # a system may forbid it: slower at times
                    os.sched_setaffinity(thread.native_id, allowed - {core})

    # ---- on a worker ----
    def _work(self) -> None:
        seen, watching = 0, False
        while True:
            seen = self._next(seen, watching)
            watching = self._job.take_part()

    def _next(self, seen: int, watching: bool) -> int:
        """The number of the next job after `seen`, when it is there."""
        end = time.perf_counter() + WATCH
        with self._wake:
            self._awake += watching
        while watching and time.perf_counter() < end:
            if waiting.changed(self._turn, 0, seen, LOOKS):
                break
        with self._wake:
            self._awake -= watching
            while self._turn[0] == seen:
                self._wake.wait()
            return int(self._turn[0])


class _Job:
    """A task, how many more may take part in it, and who is at it."""

    def __init__(self, task: Task, places: int):
        self.task, self.places = task, places
        self.error: BaseException | None = None
        self._joined = 0
        self._open = True
        self._running = np.zeros(1, np.int64)
        self._changed = threading.Condition()

    def take_part(self) -> bool:
        """Do the task, if there is room and it is not over; whether it was done."""
        with self._changed:
            if not self._open or self._joined >= self.places:
                return False
            self._joined += 1
            self._running[0] += 1
            number = self._joined
        try:
            self.task(number)
        except BaseException as error:
            self.error = error
        with self._changed:
            self._running[0] -= 1
            self._changed.notify()
        return True

    def end(self) -> None:
        """Nobody begins any more; wait for those who have, even after Ctrl-C: they write."""
        interrupt = None
        while True:
            try:
                with self._changed:
                    self._open = False
                    running = int(self._running[0])
                if running == 1 and waiting.changed(self._running, 0, 1, LOOKS):
                    break
                with self._changed:
                    while self._running[0]:
                        self._changed.wait()
                break
            except KeyboardInterrupt as error:
                interrupt = error
        if interrupt is not None:
            raise interrupt


def _nothing(number: int) -> None:
    pass


_workers: Workers | None = None


def workers(most: int) -> Workers:
    """Those of this process; `most` of them when they are made."""
    global _workers
    if _workers is None:
        _workers = Workers(most)
    return _workers


def rest() -> None:
    """`Workers.rest`, if this process has workers."""
    if _workers is not None:
        _workers.rest()


def _forget() -> None:
    global _workers
    _workers = None


if hasattr(os, "register_at_fork"):  # threads do not survive a fork: the child makes its own
    os.register_at_fork(after_in_child=_forget)
