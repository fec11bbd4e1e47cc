"""Cells in memory where threads meet: every part is taken once, and late threads find nothing.

Proves it with threads that run compiled loops at the same time, without the interpreter's lock,
and from plain Python at the limits of counts and turns.
"""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from numba import njit

from nnfs_gpu.kernels.cpu.waiting import (
    APART,
    COUNTS,
    FOREVER,
    PATIENCE,
    SHIFT,
    add,
    changed,
    claim,
    clock,
    look,
    put,
    reached,
)

LAST_TURN = (1 << 63 - SHIFT) - 1  # the largest whose counts fit beside it
MANY = 20_000_000_000  # ns: only a thread that never comes is not waited for
THREADS = 6

native = njit(nogil=True)


@native
def put_in(cells, at, value):
    put(cells, at, value)


@native
def add_to(cells, at, times, number):
    for _ in range(times):
        add(cells, at, number)
        reached(cells, at, 0, 0)  # no compiler makes one addition of all


@native
def look_at(cells, at):
    return look(cells, at)


@native
def read_clock():
    return clock()


@native
def take_all(cells, at, turn, limit, owners, number):
    """Mark every part taken with the number of the thread; how many there were."""
    taken = 0
    while True:
        part = claim(cells, at, turn, limit)
        if part < 0:
            return taken
        owners[part] += number
        taken += 1


def new_cells(count=1):
    return np.zeros(count * APART, np.int64)


def together(task, threads=THREADS):
    """task(k) on so many threads at the same time: their results, when all have ended."""
    results, gate = [None] * threads, threading.Barrier(threads)

    def work(k):
        gate.wait()
        results[k] = task(k)

    all_of_them = [threading.Thread(target=work, args=(k,)) for k in range(threads)]
    for thread in all_of_them:
        thread.start()
    for thread in all_of_them:
        thread.join()
    return results


# ---- parts ----
def test_parts_come_in_order_and_no_more_than_there_are():
    cells = new_cells(2)
    put_in(cells, APART, 7 << SHIFT)
    assert [claim(cells, APART, 7, 3) for _ in range(5)] == [0, 1, 2, -1, -1]
    assert cells[APART] == (7 << SHIFT) + 3
    assert np.count_nonzero(cells) == 1
    assert claim(cells, APART, 7, 4) == 3
    assert claim(new_cells(), 0, 0, 0) == -1


@pytest.mark.parametrize("limit", [1, THREADS, 200_003])
def test_many_threads_take_each_part_once(limit):
    for turn in range(1, 4):
        cells, owners = new_cells(3), np.zeros(limit, np.int64)
        put_in(cells, APART, turn << SHIFT)
        counts = together(lambda k: take_all(cells, APART, turn, limit, owners, 10**k))  # noqa: B023
        assert sum(counts) == limit
        assert np.isin(owners, 10 ** np.arange(THREADS)).all()
        assert [int((owners == 10**k).sum()) for k in range(THREADS)] == counts
        assert cells.nonzero()[0].tolist() == [APART]
        assert cells[APART] == (turn << SHIFT) + limit


def test_threads_in_python_take_each_part_once():
    cells, limit = new_cells(), 3_000
    put_in(cells, 0, 5 << SHIFT)

    def task(k):
        parts = []
        while (part := claim(cells, 0, 5, limit)) >= 0:
            parts.append(part)
        return parts

    found = together(task)
    assert sorted(part for parts in found for part in parts) == list(range(limit))
    assert all(parts == sorted(parts) for parts in found)


@pytest.mark.parametrize("turn", [0, 1, 8, 10, LAST_TURN])
def test_another_turn_takes_nothing_and_an_old_one_waits_for_nothing(turn):
    cells = new_cells()
    put_in(cells, 0, (9 << SHIFT) + 2)
    assert claim(cells, 0, turn, 100) == -1
    assert cells[0] == (9 << SHIFT) + 2
    old = turn < 9
    assert reached(cells, 0, (turn << SHIFT) + COUNTS, 0) is old
    if old:
        assert reached(cells, 0, (turn << SHIFT) + COUNTS, FOREVER)


def test_a_turn_that_ends_under_the_hands_of_takers():
    """Turns follow each other while threads take: each part of each turn still has one owner."""
    turns, limit = 200, 50
    cells, owners = new_cells(), np.zeros((turns, limit), np.int64)
    put_in(cells, 0, 0)

    def task(k):
        for turn in range(turns):
            take_all(cells, 0, turn, limit, owners[turn], 1)
            if k == 0:
                put_in(cells, 0, (turn + 1) << SHIFT)

    together(task)
    np.testing.assert_array_equal(owners, 1)


def test_counts_and_turns_at_their_limits():
    cells = new_cells()
    for turn in (0, 1, LAST_TURN):
        last = (turn << SHIFT) + COUNTS
        put_in(cells, 0, last - 1)
        assert claim(cells, 0, turn, COUNTS) == COUNTS - 1
        assert cells[0] == last
        assert claim(cells, 0, turn, COUNTS) == -1
        assert cells[0] == last
        put_in(cells, 0, last - 1)
        assert not reached(cells, 0, last, 3)
        add_to(cells, 0, 1, 1)
        assert reached(cells, 0, last, 0)
        assert look_at(cells, 0) >> SHIFT == turn
    assert cells[0] == np.iinfo(np.int64).max


# ---- counts ----
def test_no_addition_is_lost():
    cells, each = new_cells(3), 1_000_000
    put_in(cells, APART, 3 << SHIFT)
    together(lambda k: add_to(cells, APART, each, 3 if k % 2 else -1))
    assert look_at(cells, APART) == (3 << SHIFT) + THREADS * each
    assert np.count_nonzero(cells) == 1


# ---- waiting ----
@pytest.mark.parametrize("most", [0, 1, 1_000, PATIENCE - 1, PATIENCE + 1, 3_000_000])
def test_waiting_ends_after_its_time(most):
    """By the clock, and not before: before and after the core is offered to others."""
    cells = new_cells()
    put_in(cells, 0, 41)
    for wait, value in ((reached, 42), (changed, 41)):
        begun = time.perf_counter_ns()
        assert wait(cells, 0, value, most) is False
        assert time.perf_counter_ns() - begun >= most
    assert reached(cells, 0, 41, most) is True
    assert reached(cells, 0, 40, most) is True
    for other in (40, 42):
        assert changed(cells, 0, other, most) is True
    assert cells[0] == 41


def test_the_clock_is_pythons():
    """The same units and the same beginning, wherever it is read."""
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    found = read_clock()
    assert before <= found <= time.clock_gettime_ns(time.CLOCK_MONOTONIC)


def test_waiting_ends_when_another_thread_writes():
    cells = new_cells(2)
    begun = threading.Barrier(3)

    def task(k):
        begun.wait()
        if k == 0:
            return reached(cells, 0, 3, MANY)
        if k == 1:
            return changed(cells, APART, 0, MANY)
        put_in(cells, APART, -1)
        for value in (1, 2, 3):
            put_in(cells, 0, value)
        return True

    assert together(task, 3) == [True, True, True]


@native
def tell(cells, data, rounds, most):
    """Write numbers, say so, and wait for the answer, so many times."""
    for turn in range(1, rounds + 1):
        for k in range(data.shape[0]):
            data[k] = turn * k
        put(cells, 0, turn)
        if not reached(cells, APART, turn, most):
            return -1
    return 0


@native
def hear(cells, data, rounds, most):
    """How many numbers were not there when they had been announced."""
    wrong = 0
    for turn in range(1, rounds + 1):
        if not reached(cells, 0, turn, most):
            return -1
        for k in range(data.shape[0]):
            wrong += data[k] != turn * k
        add(cells, APART, 1)
    return wrong


def test_what_was_written_before_is_there_when_a_value_is_reached():
    cells, data = new_cells(2), np.zeros(100, np.int64)
    sides = (tell, hear)
    assert together(lambda k: sides[k](cells, data, 2_000, MANY), 2) == [0, 0]
    assert cells[0] == cells[APART] == 2_000


def test_threads_of_one_turn_after_another():
    """As a fused step does it: parts are taken and counted, and the leader opens the next turn."""
    turns, limit, threads = 100, 7, 4
    cells, done = new_cells(3), np.zeros((turns, limit), np.int64)
    opened, taken, counted = 0, APART, 2 * APART

    def task(k):
        for turn in range(1, turns + 1):
            if k == 0:
                put_in(cells, taken, turn << SHIFT)
                put_in(cells, counted, turn << SHIFT)
                put_in(cells, opened, turn)
            elif not reached(cells, opened, turn, MANY):
                return False
            while (part := claim(cells, taken, turn, limit)) >= 0:
                done[turn - 1, part] += 1
                add_to(cells, counted, 1, 1)
            if not reached(cells, counted, (turn << SHIFT) + limit, MANY):
                return False
            assert (done[turn - 1] == 1).all()
        return True

    assert together(task, threads) == [True] * threads
    np.testing.assert_array_equal(done, 1)
