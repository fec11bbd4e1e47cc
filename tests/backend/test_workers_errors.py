"""Errors and Ctrl-C in work that threads share: what reaches the caller, what stays behind."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
import weakref

import pytest
from worker_meetings import PATIENCE, assert_usable, following, meeting, until

posix = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and signals")


@pytest.mark.parametrize("guilty", ["caller", "worker", "both"])
@pytest.mark.parametrize("kind", [ZeroDivisionError, KeyboardInterrupt, SystemExit])
def test_an_error_reaches_the_caller(pool, guilty, kind):
    """All calls have ended then; if there are two errors, the caller's own counts."""
    ended = []

    def action(number):
        if number == 0 and guilty != "worker":
            raise kind("here")
        if number == 1 and guilty != "caller":
            raise kind("here" if guilty == "worker" else "there")
        time.sleep(0.01)
        ended.append(number)

    with pytest.raises(kind, match="here"):
        pool.fork_join(meeting(4, action)[0], 4)
    assert len(ended) == (2 if guilty == "both" else 3)
    assert_usable(pool)


@posix
def test_ctrl_c_while_the_caller_waits_for_others(pool):
    """The caller waits on, twice interrupted, and raises it when the others' calls have ended."""
    ended = []

    def action(number):
        if number:
            until(lambda: not pool._job._open, "the caller does not wait")
            for _ in range(2):
                signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
                time.sleep(0.02)
            ended.append(number)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            pool.fork_join(meeting(2, action)[0], 2)
        assert len(ended) == 1
    finally:
        signal.signal(signal.SIGINT, before)
    assert_usable(pool)


@pytest.mark.parametrize("fails", [None, ValueError])
def test_nothing_of_the_callers_is_kept_alive(pool, fails):
    """Neither a job's task nor that of followers who left; with an error, after a collection."""

    class Task:
        def __call__(self, number):
            barrier.wait()
            if number and fails:
                raise fails

    barrier, task = threading.Barrier(3, timeout=PATIENCE), Task()
    alive = [weakref.ref(task)]
    try:
        pool.fork_join(task, 3)
        assert fails is None
    except ValueError:
        assert fails
    party = following(pool, 3, fails)
    alive.append(weakref.ref(party))
    party.over = True
    del task, party
    until(lambda: gc.collect() >= 0 and all(a() is None for a in alive), "kept alive")
