"""Workers: threads that share a caller's work, and spin-wait for the next call of it.

A sleeping thread takes some 60 microseconds to wake. One that has just worked therefore watches
for more work for `WATCH` before it sleeps, as OpenMP's threads do; `sleep` sends them to sleep at
once: call it before other libraries' threads (BLAS) get work.

Ctrl-C may come between any two instructions of a caller. So a caller holds no lock that a worker
waits for, and each fact that must stay true is written by one instruction: which caller has the
workers, which thread has which number, what there is to do, and who is doing it.
"""

from __future__ import annotations

import itertools
import logging
import os
import queue
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from ...kernels.cpu import waiting
from ..interrupts import insist
from .affinity import Affinity

WATCH = 1_000_000  # ns
SPIN = 70_000  # ns that a caller watches for the last worker's end before it sleeps
AGAIN = 10.0  # seconds after which a thread is asked for again where the system had none

Task = Callable[[int], None]
Follower = Callable[[int, np.ndarray, int], None]

logger = logging.getLogger("nnfs_gpu")


class Workers:
    """At most `count` threads beside the caller's, numbered from 1; started when first needed.

    fork_join(task, threads)  task(0) here and task(number) on others, at the same time
    follow(task, threads)     task(number, signal, seen) on others, while the caller goes on
    leave_callers_core()      none of them on the caller's core
    sleep()                   waiting threads fall asleep now

    No two threads have the same number, whatever happens. Where the system starts no more of
    them, those that there are do the work, and the caller alone if need be.
    """

    def __init__(self, count: int):
        self.count = count
        self._turns = itertools.count(1)
        self._turn = np.zeros(1, np.int64)  # of the last job: what waiting threads watch
        self._job = _NOTHING
        self._caller: dict[str, _Job] = {}  # "has them": the job of the caller who does
        self._threads: dict[int, threading.Thread] = {}  # by number
        # By the number of one that sleeps, or is about to: what wakes it.
        self._asleep: dict[int, queue.SimpleQueue[None]] = {}
        self._affinity = Affinity()
        self._refused: float | None = None  # when the system started no thread

    def fork_join(self, task: Task, threads: int) -> None:
        """Call `task` once on each of up to `threads` threads, with 0 on this one.

        Comes back when this thread's call has ended, and those of the others that have begun;
        one that has not begun by then never does, so the tasks have to take the work between
        them from a common place. While another caller has the threads, this one works alone.
        Raises what a task raised.
        """
        if threads < 2:
            task(0)
            return
        job = _Job(task, min(threads - 1, self.count))
        self._with_all(job)
        if job.error is not None:
            raise job.error

    def follow(self, task: Follower, threads: int) -> None:
        """Have up to `threads` - 1 workers call `task`, and come back at once.

        A task has to end when signal[0] is no longer `seen`, because its thread is wanted, and
        when it has had nothing to do for a while. Nobody learns of what it raises. While another
        caller has the threads, nothing happens.
        """
        self._with_all(_Job(task, min(threads - 1, self.count), lasting=True))

    def sleep(self) -> None:
        """Waiting threads and followers fall asleep now, so that their cores are free."""
        if len(self._asleep) < len(self._threads):
            self._with_all(_Job(_nothing, 0, lasting=True))

    def _with_all(self, job: _Job) -> None:
        """Start `job` if no other caller has the workers, and do this thread's part of it."""
        try:
            try:
                # Both asks and takes: there is no moment at which it is not known who has them.
                if self._caller.setdefault("has them", job) is job:
                    self._start(job)
                if not job.lasting:
                    job.task(0)
            finally:
                self._end(job)
        finally:
            self._end(job)  # where Ctrl-C cut off the first: the second finds nothing else to do

    def _end(self, job: _Job) -> None:
        """The workers are free again, when those at `job` have done their part of it."""
        if self._caller.get("has them") is not job:
            return
        if not job.lasting:
            job.end()
            self._job = _NOTHING  # keeps nothing of the caller's alive
        self._caller.pop("has them", None)

    def _start(self, job: _Job) -> None:
        if len(self._threads) < job.places:
            self._more_threads(job.places)
        if job.places:
            self.leave_callers_core()
        job.turn = next(self._turns)
        self._job = job
        self._turn[0] = job.turn
        for bell in list(self._asleep.values())[: job.places]:
            bell.put(None)

    def _more_threads(self, places: int) -> None:
        """Start the threads 1 to `places` that there are not yet.

        A start that Ctrl-C cuts off may leave a thread or not. It takes its number itself then,
        when it begins, unless another one that was started in its stead has it: see `_work`.
        """
        if self._refused is not None and time.monotonic() < self._refused + AGAIN:
            return
        handled = sys.exc_info()[1]
        for number in range(1, places + 1):
            if number in self._threads:
                continue
            name = f"nnfs_gpu-{number}"
            thread = threading.Thread(target=self._work, args=(number,), name=name, daemon=True)
            try:
                thread.start()
            except RuntimeError as reason:
                if reason.__context__ is not handled:  # Ctrl-C, in the middle of Python's own start
                    raise reason.__context__ or reason from None
                self._work_without(reason, places)
                return
            self._threads.setdefault(number, thread)
            self._affinity.renew()

    def _work_without(self, reason: RuntimeError, places: int) -> None:
        """The system starts no more threads: say so the first time, and do not ask for a while."""
        if self._refused is None:
            logger.warning(
                "%s: work goes on with %d of %d threads; allow this process more (ulimit -u, "
                "pids.max), or set NUMBA_NUM_THREADS",
                *(reason, len(self._threads) + 1, places + 1),
            )
        self._refused = time.monotonic()

    def leave_callers_core(self) -> None:
        """Keep the workers off this thread's core, if there are others.

        A caller whose followers stay has to see to it again now and then: it may be moved itself.
        """
        self._affinity.avoid_this_core(thread.native_id for thread in self._threads.values())

    # ---- on a worker ----
    def _work(self, number: int) -> None:
        me = threading.current_thread()
        if self._threads.setdefault(number, me) is not me:
            return
        seen, watching, bell = 0, False, queue.SimpleQueue[None]()
        while True:
            if watching:
                waiting.reached(self._turn, 0, seen + 1, WATCH)
            self._sleep(number, seen, bell)
            seen, job = int(self._turn[0]), self._job
            seen = max(seen, job.turn)  # one that came in between is the one that was read
            follower = (self._turn, seen) if job.lasting else ()
            watching = job.join(number, *follower) and not job.lasting
            job = _NOTHING  # keeps nothing alive while this thread waits

    def _sleep(self, number: int, seen: int, bell: queue.SimpleQueue[None]) -> None:
        """Until there is a job after turn `seen`. A bell rung too often wakes in vain, once."""
        if self._turn[0] > seen:
            return
        self._asleep[number] = bell  # first: who writes the turn after this look sees it
        while self._turn[0] <= seen:
            bell.get()
        del self._asleep[number]


class _Job:
    """A task, how many may take part in it, and who is at it.

    lasting  nobody waits for its end, and the task is a `Follower`
    turn     the workers' turn from when it was started
    """

    def __init__(self, task: Task | Follower, places: int, *, lasting: bool = False):
        self.task: Any = task
        self.places, self.lasting = places, lasting
        self.error: BaseException | None = None
        self.turn = 0
        self._left = list(range(places))
        self._open = True
        self._at_it: dict[int, threading.Lock] = {}  # by number; unlocked when it has ended
        self._ended = np.zeros(1, np.int64)  # changes whenever one has

    def join(self, number: int, *follower: Any) -> bool:
        """Do the task, if there is room and it is not over; whether it was done."""
        try:
            self._left.pop()
        except IndexError:
            return False
        end = threading.Lock()
        end.acquire()
        self._at_it[number] = end  # first: who closes the job after this look sees it
        done = self._open
        try:
            if done:
                self.task(number, *follower)
        except BaseException as error:
            self.error = None if self.lasting else error
        if self.lasting:  # when one leaves, all do; nothing of the caller's stays alive
            self._open, self.task = False, _nothing
        del self._at_it[number]
        self._ended[0] += 1
        end.release()
        return done

    def end(self) -> None:
        """Nobody begins any more; wait for those who have, even after Ctrl-C: they write."""
        insist(self._wait)

    def _wait(self) -> None:
        self._open = False
        seen = int(self._ended[0])
        if len(self._at_it) == 1:
            waiting.changed(self._ended, 0, seen, SPIN)
        for end in list(self._at_it.values()):
            end.acquire()


def _nothing(number: int, *follower: Any) -> None:
    pass


_NOTHING = _Job(_nothing, 0)
_workers: Workers | None = None
_making = threading.Lock()


def of_this_process(most: int) -> Workers:
    """The workers of this process; `most` of them when they are made."""
    global _workers
    if _workers is None:
        with _making:
            if _workers is None:
                _workers = Workers(most)
    return _workers


def sleep() -> None:
    """`Workers.sleep`, if this process has workers."""
    if _workers is not None:
        _workers.sleep()


def _forget() -> None:
    global _workers, _making
    _workers, _making = None, threading.Lock()


if hasattr(os, "register_at_fork"):  # threads do not survive a fork: the child makes its own
    os.register_at_fork(after_in_child=_forget)
