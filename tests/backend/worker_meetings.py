"""Tasks that meet at barriers and wait for events: for the tests of threads that share work.

So each proof holds however the system schedules them; a wait that would never end fails after
`PATIENCE` seconds.
"""

from __future__ import annotations

import os
import signal
import threading
import time
import warnings

PATIENCE = 60
ME = threading.get_ident


def until(condition, what):
    """Wait for it."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.0005)


def meeting(threads, action=lambda number: None):
    """A task for so many threads, each of which waits for all others, and (number, thread)s."""
    barrier, calls = threading.Barrier(threads, timeout=PATIENCE), []

    def task(number):
        calls.append((number, ME()))
        barrier.wait()
        action(number)

    return task, calls


def assert_usable(pool):
    """All threads take part in a job."""
    task, calls = meeting(pool.count + 1)
    pool.fork_join(task, pool.count + 1)
    assert len({thread for _, thread in calls}) == pool.count + 1


def all_asleep(pool):
    return len(pool._asleep) == len(pool._threads)


class Party:
    """A task for followers: all meet the caller, then stay until they are wanted or sent away."""

    def __init__(self, followers, fails=None):
        self.barrier, self.over = threading.Barrier(followers + 1, timeout=PATIENCE), False
        self.came, self.left, self.fails = [], [], fails

    def __call__(self, number, signal, seen):
        self.came.append((number, ME(), int(signal[0]) == seen))
        self.barrier.wait()
        until(lambda: self.over or signal[0] != seen, "nobody wants the followers")
        self.left.append(number)
        if self.fails:
            raise self.fails


def following(pool, followers, fails=None):
    """The party that so many have come to."""
    party = Party(followers, fails)
    pool.follow(party, followers + 1)
    party.barrier.wait()
    return party


def passes_in_child(check):
    """Whether `check` passes in a forked process."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # a fork with threads, from 3.12 on
        child = os.fork()
    if child == 0:
        status = 1
        try:
            signal.alarm(PATIENCE)
            check()
            status = 0
        finally:
            os._exit(status)
    return os.waitpid(child, 0)[1] == 0
