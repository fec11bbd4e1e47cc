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
LOOKS = 600  # in one go, some 70 microseconds: between them a thread looks at the clock

Task = Callable[[int], None]
Guest = Callable[[int, np.ndarray, int], None]

# The number of the core that this thread runs on; where the system does not say, None.
_core = getattr(ctypes.PyDLL(None), "sched_getcpu", None) if os.name == "posix" else None
if not hasattr(os, "sched_setaffinity"):
    _core = None


class Workers:
    """At most `count` threads beside the caller's, numbered from 1; started when first needed.

    share(task, threads)   task(0) here and task(number) on others, at the same time
    invite(task, threads)  task(number, signal, seen) on others, while the caller goes on
    make_way()             none of them on the caller's core
    rest()                 waiting threads fall asleep now
    """

    def __init__(self, count: int):
        self.count = count
        self._turn = np.zeros(1, np.int64)  # grows with each job: what waiting threads watch
        self._job = _NOTHING
        self._busy, self._wake = threading.Lock(), threading.Condition()
        self._threads: list[threading.Thread] = []
        self._asleep = 0
        self._avoided: int | None = None  # the core of the last caller

    def share(self, task: Task, threads: int) -> None:
        """Call `task` once on each of up to `threads` threads, with 0 on this one.

        Comes back when this thread's call has ended, and those of the others that have begun;
        one that has not begun by then never does, so the tasks have to take the work between
        them from a common place. While another caller has the threads, this one works alone.
        Raises what a task raised.
        """
        job = _Job(task, min(threads - 1, self.count))
        if threads < 2 or not self._busy.acquire(blocking=False):
            task(0)
            return
        try:
            try:
                self._start(job)
                task(0)
            finally:
                job.end()
        finally:
            self._job = _NOTHING  # keeps nothing of the caller's alive
            self._busy.release()
        if job.error is not None:
            raise job.error

    def invite(self, task: Guest, threads: int) -> None:
        """Have up to `threads` - 1 workers call `task`, and come back at once.

        A task has to end when signal[0] is no longer `seen`, because its thread is wanted, and
        when it has had nothing to do for a while. Nobody learns of what it raises. While another
        caller has the threads, nothing happens.
        """
        if self._busy.acquire(blocking=False):
            try:
                signal = self._turn
                seen = int(signal[0]) + 1
                guest = lambda number: task(number, signal, seen)  # noqa: E731
                self._start(_Job(guest, min(threads - 1, self.count), lasting=True))
            finally:
                self._busy.release()

    def rest(self) -> None:
        """Waiting threads and guests fall asleep now, so that their cores are free."""
        if self._asleep < len(self._threads) and self._busy.acquire(blocking=False):
            with self._wake:
                self._job = _NOTHING
                self._turn[0] += 1
            self._busy.release()

    def _start(self, job: _Job) -> None:
        while len(self._threads) < job.places:
            number = len(self._threads) + 1
            name = f"nnfs_gpu-{number}"
            thread = threading.Thread(target=self._work, args=(number,), name=name, daemon=True)
            thread.start()
            self._threads.append(thread)
            self._avoided = None
        self.make_way()
        with self._wake:
            self._job = job
            self._turn[0] += 1
            self._wake.notify(job.places)

    def make_way(self) -> None:
        """Keep the workers off this thread's core, if there are others.

        A caller whose guests stay has to see to it again now and then: it may be moved itself.
        """
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
    def _work(self, number: int) -> None:
        seen, watching = 0, False
        while True:
            seen, job = self._next(seen, watching)
            watching = job.take_part(number) and not job.lasting
            if job.lasting:
                with self._wake:
                    if job is self._job:  # its guests leave
                        self._job = _NOTHING
            job = _NOTHING  # keeps nothing alive while this thread waits

    def _next(self, seen: int, watching: bool) -> tuple[int, _Job]:
        """The number of the next job after `seen`, and the job, when it is there."""
        end = time.perf_counter() + WATCH
        while watching and time.perf_counter() < end:
            if waiting.changed(self._turn, 0, seen, LOOKS):
                break
        with self._wake:
            self._asleep += 1
            while self._turn[0] == seen:
                self._wake.wait()
            self._asleep -= 1
            return int(self._turn[0]), self._job


class _Job:
    """A task, how many may take part in it, and how many are at it.

    lasting  nobody waits for its end
    """

    def __init__(self, task: Task, places: int, *, lasting: bool = False):
        self.task, self.places, self.lasting = task, places, lasting
        self.error: BaseException | None = None
        self._joined = 0
        self._open = True
        self._running = np.zeros(1, np.int64)
        self._changed = threading.Condition()

    def take_part(self, number: int) -> bool:
        """Do the task, if there is room and it is not over; whether it was done."""
        with self._changed:
            if not self._open or self._joined >= self.places:
                return False
            self._joined += 1
            self._running[0] += 1
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


_NOTHING = _Job(lambda number: None, 0)
_workers: Workers | None = None


def of_this_process(most: int) -> Workers:
    """The workers of this process; `most` of them when they are made."""
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
