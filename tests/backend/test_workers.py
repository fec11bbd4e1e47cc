"""Threads that share a caller's work: who is called, who stays, when they sleep."""

from __future__ import annotations

import threading

import pytest
from worker_meetings import ME, PATIENCE, all_asleep, assert_usable, invited, meeting, until

from nnfs_gpu.backend.cpu import workers as module
from nnfs_gpu.backend.cpu.workers import Workers
from nnfs_gpu.kernels.cpu import waiting


# ---- who is called ----
@pytest.mark.parametrize("threads", [0, 1, 2, 3, 4, 100])
def test_each_thread_is_called_once_with_a_number_of_its_own(crew, threads):
    expected = max(1, min(threads, crew.count + 1))
    for _ in range(20):
        task, calls = meeting(expected)
        crew.share(task, threads)
        assert len(calls) == expected
        assert dict(calls)[0] == ME()
        for number, thread in calls:
            assert number == 0 or crew._threads[number].ident == thread
    assert len(crew._threads) <= crew.count


def test_what_has_not_begun_when_the_caller_is_done_never_does(crew, monkeypatch):
    """Workers about to begin when the job is over: they are not waited for, and do nothing."""
    gate, coming, late, calls = threading.Event(), [], [], []
    take_part = module._Job.take_part

    def task(number):
        calls.append(number)
        until(lambda: len(coming) == crew.count, "nobody comes")

    def slow(job, number):
        if job.task is not task:
            return take_part(job, number)
        coming.append(number)
        gate.wait(PATIENCE)
        late.append(take_part(job, number))
        return late[-1]

    with monkeypatch.context() as patch:
        patch.setattr(module._Job, "take_part", slow)
        try:
            crew.share(task, 4)
        finally:
            gate.set()
        until(lambda: len(late) == len(coming), "nobody begins")
    until(lambda: all_asleep(crew), "threads stay awake")
    assert calls == [0]
    assert not any(late)
    assert_usable(crew)


def test_a_second_caller_works_alone_and_does_not_wait(crew):
    second = []

    def other():
        crew.share(lambda number: second.append((number, ME())), 4)

    def task(number):
        if number == 0:
            thread = threading.Thread(target=other)
            thread.start()
            thread.join(PATIENCE)
            assert not thread.is_alive()
            assert second == [(0, thread.ident)]

    crew.share(task, 4)
    assert len(second) == 1
    assert_usable(crew)


def test_a_task_that_shares_works_alone(crew):
    """Nor does it get guests, or send anybody to sleep."""
    inner, guests = [], []

    def nested(number):
        me = ME()
        crew.share(lambda k: inner.append((k, ME() == me)), 4)
        crew.invite(lambda *given: guests.append(given), 4)
        crew.rest()

    task, calls = meeting(4, nested)
    crew.share(task, 4)
    assert len(calls) == 4
    assert inner == [(0, True)] * 4
    assert_usable(crew)
    assert guests == []


# ---- guests ----
@pytest.mark.parametrize("guests", [1, 2, 3])
def test_guests_stay_while_the_caller_goes_on(crew, guests):
    party = invited(crew, guests)
    assert party.left == []
    assert len(party.came) == guests
    for number, thread, expected in party.came:
        assert crew._threads[number].ident == thread
        assert expected
    party.over = True
    until(lambda: len(party.left) == guests, "guests stay")
    assert_usable(crew)


@pytest.mark.parametrize("fails", [None, SystemExit])
@pytest.mark.parametrize(
    "call",
    [
        assert_usable,
        Workers.rest,
        lambda crew: crew.share(lambda number: None, 2),
        lambda crew: setattr(invited(crew, 2), "over", True),
    ],
    ids=["all", "rest", "share", "invite"],
)
def test_guests_leave_when_they_are_wanted(crew, call, fails):
    """For another job, even a small one, other guests and a rest; nobody learns of their errors."""
    party = invited(crew, 3, fails)
    call(crew)
    until(lambda: len(party.left) == 3, "guests stay")
    until(lambda: all_asleep(crew), "threads stay awake")
    assert_usable(crew)


# ---- watching and sleeping ----
def test_threads_watch_for_more_and_sleep_in_the_end_or_at_a_rest(crew, monkeypatch):
    assert_usable(crew)
    until(lambda: all_asleep(crew), "threads watch on")
    monkeypatch.setattr(module, "WATCH", waiting.FOREVER)
    monkeypatch.setattr(module, "_workers", crew)
    for rest in (crew.rest, module.rest) * 3:
        for _ in range(2):
            assert_usable(crew)
            assert not crew._asleep
        # Again and again: one thread may have been on its way to watching.
        until(lambda: rest() or all_asleep(crew), "threads watch on")  # noqa: B023
