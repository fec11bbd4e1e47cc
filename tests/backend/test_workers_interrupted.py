"""Workers whose caller is interrupted at any instruction, or whose system gives them no threads.

The workers stay free, no two have the same number, and all of them help in the end.
"""

from __future__ import annotations

import logging
import os
import threading

import numpy as np
import pytest
from interruptions import cut_off, instructions
from worker_meetings import PATIENCE, assert_usable, meeting, until

from nnfs_gpu.backend.cpu import affinity, workers as module
from nnfs_gpu.backend.cpu.workers import Workers

MANY = int(os.environ.get("NNFS_GPU_INTERRUPTS", "40"))
START = threading.Event.wait  # where a thread's start waits until the thread runs


def at_work(number, signal, seen):
    """A follower that leaves when it is wanted."""
    until(lambda: signal[0] != seen, "nobody wants the followers")


def life(pool):
    """All that a caller does: starts threads, shares, has others follow, sends to sleep."""
    pool.fork_join(until_the_caller_comes(), 4)
    pool.follow(at_work, 4)
    pool.fork_join(lambda number: None, 2)
    pool.sleep()


def until_the_caller_comes():
    """A task in which all that come wait for the caller, and nobody for them."""
    come = []

    def task(number):
        if number == 0:
            come.append(True)
        until(lambda: come, "the caller never comes")

    return task


def numbers_of(pool):
    """By number, the threads that were ever called with it."""
    task, calls = meeting(pool.count + 1)
    pool.fork_join(task, pool.count + 1)
    return calls


@pytest.fixture(autouse=True)
def _no_affinity(monkeypatch):
    monkeypatch.setattr(affinity, "_core", None)


@pytest.fixture(autouse=True, scope="module")
def _compiled():
    """What workers wait in: compiled at first use."""
    pool = Workers(1)
    for _ in range(2):
        assert_usable(pool)


@pytest.fixture(scope="module")
def total():
    return instructions(lambda: life(Workers(3)), within=START)


def test_workers_stay_free_and_have_their_numbers_wherever_ctrl_c_comes(total):
    assert total > 500
    chosen = np.random.default_rng(2).choice(total, min(MANY, total), replace=False) + 1
    hits = 0
    for at in sorted(chosen):
        pool = Workers(3)
        where = cut_off(lambda: life(pool), at, within=START)  # noqa: B023
        hits += bool(where)  # how many instructions there are differs a little each time
        assert not pool._caller, (at, where)
        assert_usable(pool)
        for _ in range(2):
            calls = sorted(numbers_of(pool))
            assert [number for number, _ in calls] == [0, 1, 2, 3], (at, where)
        assert {t.ident for t in pool._threads.values()} == {thread for _, thread in calls[1:]}
    assert hits > len(chosen) // 2


def test_a_start_that_was_cut_off_is_made_up_for_and_its_thread_leaves(monkeypatch):
    """KeyboardInterrupt when the thread runs already, but before its start has come back."""
    pool, start, gates = Workers(1), threading.Thread.start, []
    run = threading.Thread.run

    def slow(thread):
        if thread.name == "nnfs_gpu-1":
            gates[thread].wait(PATIENCE) if thread in gates else None
        run(thread)

    gates = {}

    def interrupted(thread):
        gates[thread] = threading.Event()
        start(thread)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "run", slow)
        patch.setattr(threading.Thread, "start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            pool.fork_join(lambda number: None, 2)
        patch.setattr(threading.Thread, "start", start)
        assert_usable(pool)  # with another thread
        (late, gate) = next(iter(gates.items()))
        gate.set()
        late.join(PATIENCE)
        assert not late.is_alive()
    assert list(pool._threads) == [1]
    assert pool._threads[1] is not late
    assert_usable(pool)


# ---- no threads ----
@pytest.fixture
def refusing(monkeypatch):
    """A system that starts so many threads of ours; `refusing.left` may be changed."""

    class Refusing:
        left, asked = 0, 0

    start = threading.Thread.start

    def limited(thread):
        if thread.name.startswith("nnfs_gpu-"):
            Refusing.asked += 1
            if not Refusing.left:
                raise RuntimeError("can't start new thread")
            Refusing.left -= 1
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)
    return Refusing


@pytest.mark.parametrize("threads", [0, 1, 2])
def test_where_no_thread_can_be_started_those_there_are_work(refusing, caplog, threads):
    """It is said once, and the system is not asked again for a while."""
    refusing.left = threads
    pool = Workers(3)
    with caplog.at_level(logging.WARNING, logger="nnfs_gpu"):
        for _ in range(3):
            task, calls = meeting(threads + 1)
            pool.fork_join(task, 4)
            assert sorted(number for number, _ in calls) == list(range(threads + 1))
            pool.follow(at_work, 4)
            pool.sleep()
    assert refusing.asked == threads + 1
    (record,) = caplog.records
    assert record.name == "nnfs_gpu"
    assert "can't start new thread" in record.getMessage()
    assert f"{threads + 1} of 4 threads" in record.getMessage()


def test_threads_are_asked_for_again_after_a_while(refusing, monkeypatch, caplog):
    pool = Workers(2)
    pool.fork_join(lambda number: None, 3)
    refusing.left = 2
    monkeypatch.setattr(module, "AGAIN", 0.0)
    assert_usable(pool)
    assert len(caplog.records) == 1
