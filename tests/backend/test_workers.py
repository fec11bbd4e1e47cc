"""Threads that share a caller's work: who is called, what reaches the caller, what stays behind.

Tasks meet at barriers and wait for events, so that each proof holds however the system schedules
them; a wait that would never end fails after `PATIENCE` seconds.
"""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
import warnings
import weakref

import numpy as np
import pytest

from nnfs_gpu.backend.cpu import affinity, launch, workers as module
from nnfs_gpu.backend.cpu.workers import Workers
from nnfs_gpu.kernels.cpu import waiting

PATIENCE = 60
ME = threading.get_ident
posix = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and signals")


@pytest.fixture(scope="module")
def crew():
    """Three threads for all tests here: what one test leaves behind, the next would find."""
    return Workers(3)


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


def assert_usable(crew):
    """All threads take part in a job."""
    task, calls = meeting(crew.count + 1)
    crew.share(task, crew.count + 1)
    assert len({thread for _, thread in calls}) == crew.count + 1


def all_asleep(crew):
    return len(crew._asleep) == len(crew._threads)


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
class Party:
    """A task for guests: all meet the caller, then stay until they are wanted or sent away."""

    def __init__(self, guests, fails=None):
        self.barrier, self.over = threading.Barrier(guests + 1, timeout=PATIENCE), False
        self.came, self.left, self.fails = [], [], fails

    def __call__(self, number, signal, seen):
        self.came.append((number, ME(), int(signal[0]) == seen))
        self.barrier.wait()
        until(lambda: self.over or signal[0] != seen, "nobody wants the guests")
        self.left.append(number)
        if self.fails:
            raise self.fails


def invited(crew, guests, fails=None):
    """The party that so many have come to."""
    party = Party(guests, fails)
    crew.invite(party, guests + 1)
    party.barrier.wait()
    return party


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


# ---- errors ----
@pytest.mark.parametrize("guilty", ["caller", "worker", "both"])
@pytest.mark.parametrize("kind", [ZeroDivisionError, KeyboardInterrupt, SystemExit])
def test_an_error_reaches_the_caller(crew, guilty, kind):
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
        crew.share(meeting(4, action)[0], 4)
    assert len(ended) == (2 if guilty == "both" else 3)
    assert_usable(crew)


@posix
def test_ctrl_c_while_the_caller_waits_for_others(crew):
    """The caller waits on, twice interrupted, and raises it when the others' calls have ended."""
    ended = []

    def action(number):
        if number:
            until(lambda: not crew._job._open, "the caller does not wait")
            for _ in range(2):
                signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
                time.sleep(0.02)
            ended.append(number)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            crew.share(meeting(2, action)[0], 2)
        assert len(ended) == 1
    finally:
        signal.signal(signal.SIGINT, before)
    assert_usable(crew)


@pytest.mark.parametrize("fails", [None, ValueError])
def test_nothing_of_the_callers_is_kept_alive(crew, fails):
    """Neither a job's task nor that of guests who have left; with an error, after a collection."""

    class Task:
        def __call__(self, number):
            barrier.wait()
            if number and fails:
                raise fails

    barrier, task = threading.Barrier(3, timeout=PATIENCE), Task()
    alive = [weakref.ref(task)]
    try:
        crew.share(task, 3)
        assert fails is None
    except ValueError:
        assert fails
    party = invited(crew, 3, fails)
    alive.append(weakref.ref(party))
    party.over = True
    del task, party
    until(lambda: gc.collect() >= 0 and all(a() is None for a in alive), "kept alive")


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


# ---- cores ----
@pytest.fixture
def cores(monkeypatch):
    """A system with three cores, of which the caller is on the first."""
    found = {"core": 0, "allowed": {0, 1, 2}, "fails": False, "set": []}

    def set_affinity(thread, allowed):
        found["set"].append((thread, allowed))
        if found["fails"]:
            raise OSError("forbidden")

    monkeypatch.setattr(affinity, "_core", lambda: found["core"])
    monkeypatch.setattr(os, "sched_getaffinity", lambda thread: found["allowed"], raising=False)
    monkeypatch.setattr(os, "sched_setaffinity", set_affinity, raising=False)
    return found


def test_workers_are_kept_off_the_callers_core(cores):
    crew = Workers(2)
    assert_usable(crew)
    threads = [thread.native_id for thread in crew._threads.values()]
    assert cores["set"] == [(thread, {1, 2}) for thread in threads]
    assert_usable(crew)
    assert len(cores["set"]) == 2  # nothing has changed
    cores["core"] = 2
    assert_usable(crew)
    assert cores["set"][2:] == [(thread, {0, 1}) for thread in threads]


@pytest.mark.parametrize("change", [{"allowed": {0}}, {"fails": True}, {"core": None}])
def test_workers_work_where_they_cannot_be_moved(cores, change):
    """One core alone, a system that forbids it, one that does not say where a thread runs."""
    cores.update(change)
    crew = Workers(2)
    for _ in range(3):
        assert_usable(crew)
    assert cores["set"] == [] or cores["fails"]


# ---- processes ----
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


def launch_in_parts():
    """A launch on three threads covers all rows once."""
    rows = np.zeros(1000)

    def kernel(start, stop, out):
        out[int(start) : int(stop)] += 1

    launch.launch(kernel, 1000, (), (rows,), work=100 * launch.WORK_PER_THREAD)
    assert (rows == 1).all()


def use_workers():
    assert module._workers is None
    launch_in_parts()
    assert_usable(launch.workers())


@posix
@pytest.mark.parametrize("busy", [False, True])
def test_a_forked_child_makes_threads_of_its_own(monkeypatch, busy):
    """Also where it was born while another thread of the parent had the workers."""
    monkeypatch.setattr("numba.get_num_threads", lambda: 3)
    monkeypatch.setattr(module, "_workers", None)
    use_workers()
    begun, over = threading.Event(), threading.Event()

    def occupy(number):
        begun.set()
        assert over.wait(PATIENCE)

    other = threading.Thread(target=lambda: launch.workers().share(occupy, 2))
    if busy:
        other.start()
        assert begun.wait(PATIENCE)
    try:
        assert passes_in_child(use_workers)
    finally:
        over.set()
    if busy:
        other.join()
    assert_usable(launch.workers())
