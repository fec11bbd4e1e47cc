"""Threads that share work and the system: cores where they run, processes that fork."""

from __future__ import annotations

import os
import threading

import numpy as np
import pytest
from worker_meetings import PATIENCE, assert_usable, passes_in_child

from nnfs_gpu.backend.cpu import affinity, launch, workers as module
from nnfs_gpu.backend.cpu.workers import Workers

posix = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and signals")


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
    pool = Workers(2)
    assert_usable(pool)
    threads = [thread.native_id for thread in pool._threads.values()]
    assert cores["set"] == [(thread, {1, 2}) for thread in threads]
    assert_usable(pool)
    assert len(cores["set"]) == 2  # nothing has changed
    cores["core"] = 2
    assert_usable(pool)
    assert cores["set"][2:] == [(thread, {0, 1}) for thread in threads]


@pytest.mark.parametrize("change", [{"allowed": {0}}, {"fails": True}, {"core": None}])
def test_workers_work_where_they_cannot_be_moved(cores, change):
    """One core alone, a system that forbids it, one that does not say where a thread runs."""
    cores.update(change)
    pool = Workers(2)
    for _ in range(3):
        assert_usable(pool)
    assert cores["set"] == [] or cores["fails"]


# ---- processes ----
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

    other = threading.Thread(target=lambda: launch.workers().fork_join(occupy, 2))
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
