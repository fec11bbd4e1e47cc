"""The cores that workers may run on: never more than somebody gave them."""

from __future__ import annotations

import os

import pytest

from nnfs_gpu.backend.cpu import affinity
from nnfs_gpu.backend.cpu.affinity import FEW_CORES, Affinity

CALLER = 0


class System:
    """Affinities by thread, as the system keeps them; the caller is number 0."""

    def __init__(self, cores, threads):
        self.core, self.cores = 0, {thread: set(range(cores)) for thread in (CALLER, *threads)}
        self.asked, self.changes, self.fails = 0, [], None

    def get(self, thread):
        self.asked += 1
        if self.fails == "get":
            raise PermissionError("forbidden")
        if thread not in self.cores:
            raise ProcessLookupError("no such thread")
        return set(self.cores[thread])

    def set(self, thread, cores):
        self.changes.append((thread, set(cores)))
        if self.fails == "set":
            raise PermissionError("forbidden")
        self.cores[thread] = set(cores)


@pytest.fixture
def system(monkeypatch):
    """Makes one with so many cores and threads."""

    def make(cores, threads=(7, 8)):
        made = System(cores, threads)
        monkeypatch.setattr(affinity, "_core", lambda: made.core)
        monkeypatch.setattr(os, "sched_getaffinity", made.get, raising=False)
        monkeypatch.setattr(os, "sched_setaffinity", made.set, raising=False)
        return made

    return make


def move(kept, system, *cores, threads=(7, 8)):
    """The caller runs on these cores, one after the other."""
    for core in cores:
        system.core = core
        kept.avoid_this_core(threads)


def test_workers_follow_a_caller_that_moves(system):
    cpu, kept = system(3), Affinity()
    for core in (0, 2, 1, 0):
        move(kept, cpu, core)
        assert cpu.cores[7] == cpu.cores[8] == {0, 1, 2} - {core}
    asked = cpu.asked
    move(kept, cpu, 0, 0)  # it has not moved
    assert cpu.asked == asked


@pytest.mark.parametrize("given", [{2}, {1, 2}, {0}, {0, 3}])
@pytest.mark.parametrize("moved_before", [False, True])
def test_an_affinity_that_somebody_gave_a_worker_is_not_widened(system, given, moved_before):
    cpu, kept = system(4), Affinity()
    if moved_before:
        move(kept, cpu, 0, 1, 2)
    cpu.cores[7] = set(given)
    for core in (3, 0, 1, 2, 3):
        move(kept, cpu, core)
        assert cpu.cores[7] <= given
        assert cpu.cores[7] == (given - {core} or cpu.cores[7])
        assert cpu.cores[8] == {0, 1, 2, 3} - {core}
    cpu.cores[7] = {0, 1}  # and again
    move(kept, cpu, 0, 1, 2)
    assert cpu.cores[7] <= {0, 1}


def test_what_the_process_may_use_counts_when_it_is_narrowed_later(system):
    """As `taskset -p` does it, which leaves the process's other threads alone."""
    cpu, kept = system(4), Affinity()
    move(kept, cpu, 0)
    cpu.cores[CALLER] = {1, 2}
    move(kept, cpu, 1)
    assert cpu.cores[7] == {2}
    cpu.cores[CALLER] = {3}
    move(kept, cpu, 3)
    assert cpu.cores[7] == {2}  # nowhere to go: it is left alone
    assert all(3 not in cores for thread, cores in cpu.changes[-2:])


def test_workers_that_two_callers_share_stay_within_both(system):
    cpu, kept = system(4), Affinity()
    cpu.cores[CALLER] = {0, 1}
    move(kept, cpu, 0)
    assert cpu.cores[7] == {1}
    cpu.cores[CALLER] = {2, 3}
    move(kept, cpu, 2)
    assert cpu.cores[7] == {3}


@pytest.mark.parametrize("fails", ["get", "set"])
def test_a_system_that_forbids_it_is_asked_once(system, fails):
    cpu, kept = system(3), Affinity()
    cpu.fails = fails
    move(kept, cpu, 0, 1, 2)
    assert len(cpu.changes) == (fails == "set")
    assert cpu.asked <= 2


def test_a_worker_that_is_gone_does_not_keep_the_others(system):
    cpu, kept = system(3, threads=(8,)), Affinity()
    move(kept, cpu, 0, 1)
    assert cpu.cores[8] == {0, 2}


def test_on_many_cores_no_worker_is_moved(system):
    """64 cores, 63 workers, and a caller that the system moves all the time."""
    threads = tuple(range(100, 163))
    cpu, kept = system(64, threads), Affinity()
    move(kept, cpu, *range(64), threads=threads)
    assert cpu.changes == []
    assert cpu.asked <= 64
    cpu.cores[CALLER] = set(range(FEW_CORES))
    move(kept, cpu, 5, threads=threads)
    assert len(cpu.changes) == 63


@pytest.mark.parametrize("core", [None, lambda: -1])
def test_a_system_that_does_not_say_where_a_thread_runs(system, monkeypatch, core):
    cpu, kept = system(3), Affinity()
    monkeypatch.setattr(affinity, "_core", core)
    kept.avoid_this_core((7, 8))
    assert cpu.asked == 0
