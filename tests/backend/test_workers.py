"""Threads that share a caller's work: who is called, who stays, when they sleep."""

from __future__ import annotations

import threading

import pytest
from worker_meetings import ME, PATIENCE, all_asleep, assert_usable, following, meeting, until

from nnfs_gpu.backend.cpu import workers as module
from nnfs_gpu.backend.cpu.workers import Workers
from nnfs_gpu.kernels.cpu import waiting


# ---- who is called ----
@pytest.mark.parametrize("threads", [0, 1, 2, 3, 4, 100])
def test_each_thread_is_called_once_with_a_number_of_its_own(pool, threads):
    expected = max(1, min(threads, pool.count + 1))
    for _ in range(20):
        task, calls = meeting(expected)
        pool.fork_join(task, threads)
        assert len(calls) == expected
        assert dict(calls)[0] == ME()
        for number, thread in calls:
            assert number == 0 or pool._threads[number].ident == thread
    assert len(pool._threads) <= pool.count


def test_what_has_not_begun_when_the_caller_is_done_never_does(pool, monkeypatch):
    """Workers about to begin when the job is over: they are not waited for, and do nothing."""
    gate, coming, late, calls = threading.Event(), [], [], []
    join = module._Job.join

    def task(number):
        calls.append(number)
        until(lambda: len(coming) == pool.count, "nobody comes")

    def slow(job, number):
        if job.task is not task:
            return join(job, number)
        coming.append(number)
        gate.wait(PATIENCE)
        late.append(join(job, number))
        return late[-1]

    with monkeypatch.context() as patch:
        patch.setattr(module._Job, "join", slow)
        try:
            pool.fork_join(task, 4)
        finally:
            gate.set()
        until(lambda: len(late) == len(coming), "nobody begins")
    until(lambda: all_asleep(pool), "threads stay awake")
    assert calls == [0]
    assert not any(late)
    assert_usable(pool)


def test_a_second_caller_works_alone_and_does_not_wait(pool):
    second = []

    def other():
        pool.fork_join(lambda number: second.append((number, ME())), 4)

    def task(number):
        if number == 0:
            thread = threading.Thread(target=other)
            thread.start()
            thread.join(PATIENCE)
            assert not thread.is_alive()
            assert second == [(0, thread.ident)]

    pool.fork_join(task, 4)
    assert len(second) == 1
    assert_usable(pool)


def test_a_task_that_shares_works_alone(pool):
    """Nor does it get followers, or send anybody to sleep."""
    inner, followers = [], []

    def nested(number):
        me = ME()
        pool.fork_join(lambda k: inner.append((k, ME() == me)), 4)
        pool.follow(lambda *given: followers.append(given), 4)
        pool.sleep()

    task, calls = meeting(4, nested)
    pool.fork_join(task, 4)
    assert len(calls) == 4
    assert inner == [(0, True)] * 4
    assert_usable(pool)
    assert followers == []


# ---- followers ----
@pytest.mark.parametrize("followers", [1, 2, 3])
def test_followers_stay_while_the_caller_goes_on(pool, followers):
    party = following(pool, followers)
    assert party.left == []
    assert len(party.came) == followers
    for number, thread, expected in party.came:
        assert pool._threads[number].ident == thread
        assert expected
    party.over = True
    until(lambda: len(party.left) == followers, "followers stay")
    assert_usable(pool)


@pytest.mark.parametrize("fails", [None, SystemExit])
@pytest.mark.parametrize(
    "call",
    [
        assert_usable,
        Workers.sleep,
        lambda pool: pool.fork_join(lambda number: None, 2),
        lambda pool: setattr(following(pool, 2), "over", True),
    ],
    ids=["all", "sleep", "fork_join", "follow"],
)
def test_followers_leave_when_they_are_wanted(pool, call, fails):
    """For another job, even a small one, others, and sleep; nobody learns of their errors."""
    party = following(pool, 3, fails)
    call(pool)
    until(lambda: len(party.left) == 3, "followers stay")
    until(lambda: all_asleep(pool), "threads stay awake")
    assert_usable(pool)


# ---- watching and sleeping ----
def test_threads_watch_for_more_and_sleep_in_the_end_or_at_a_rest(pool, monkeypatch):
    assert_usable(pool)
    until(lambda: all_asleep(pool), "threads watch on")
    monkeypatch.setattr(module, "WATCH", waiting.FOREVER)
    monkeypatch.setattr(module, "_workers", pool)
    for sleep in (pool.sleep, module.sleep) * 3:
        for _ in range(2):
            assert_usable(pool)
            assert not pool._asleep
        # Again and again: one thread may have been on its way to watching.
        until(lambda: sleep() or all_asleep(pool), "threads watch on")  # noqa: B023
