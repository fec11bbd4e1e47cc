"""Sums over GPUs by NCCL, without a GPU: what we ask of it, and what it refuses.

Ranks are threads, NCCL is of paper (paper_nccl.py). Proves: sums of int64 over the whole range, in
place, on the current stream, without waiting; what fails on rank 0 reaches all with what to
install, what fails elsewhere ends that rank; two ranks on one device, arrays of the host, of
another dtype, with gaps or of another device are refused before NCCL gets them.
"""

from __future__ import annotations

import threading

import numpy as np
import pytest
from device_arrays import no_waiting
from paper_nccl import Paper
from paper_worlds import LIMIT, PaperWorld, this_rank

from nnfs_gpu import available_backends
from nnfs_gpu.backend.driver import UnavailableError
from nnfs_gpu.ranks import nccl
from nnfs_gpu.ranks.errors import WorldError, is_on_all, is_quiet

MISSING = UnavailableError("NCCL does not load (ImportError: libnccl.so.2)", "pip install nccl")


def on_ranks(monkeypatch, n, act, *, devices=None, missing=(), fails=None):
    """What act(communicator, paper) returns on each rank, or the error that it ends with.

    missing  ranks without NCCL; fails: what rank 0's id fails with
    """
    values, meeting = [None] * n, threading.Barrier(n, timeout=LIMIT)
    paper, found = Paper(n, threading.Barrier(n, timeout=LIMIT), devices), [None] * n
    paper.fails = fails

    def libraries():
        if this_rank() in missing:
            raise MISSING
        return paper.library()

    monkeypatch.setattr(nccl, "_libraries", libraries)

    def run(rank):
        world = PaperWorld(rank, values, meeting)
        try:
            found[rank] = act(nccl.Communicator(rank, n, world.broadcast), paper)
        except Exception as error:
            found[rank] = error
            if not is_on_all(error) and rank in missing:
                paper.meeting.abort()  # as World.__exit__ ends those that wait

    threads = [threading.Thread(target=run, args=(rank,), name=f"rank {rank}") for rank in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_sums_in_place(monkeypatch):
    rng = np.random.default_rng(1)
    numbers = rng.integers(-(2**59), 2**59, (3, 1000))
    numbers[:, :2] = [[2**61, -(2**61)], [1, -1], [-3, 3]]

    def act(communicator, paper):
        a = paper.array(numbers[this_rank()])
        b = paper.array([[this_rank()], [7]])
        with no_waiting():
            communicator.sum(a)
            communicator.sum(b)
            communicator.sum(a)
        paper.meeting.wait()  # all have returned: from here on they may wait for a device
        return a.get(), b.get()

    for a, b in on_ranks(monkeypatch, 3, act):
        np.testing.assert_array_equal(a, 3 * numbers.sum(axis=0))
        assert b.tolist() == [[3], [21]]


def test_no_numbers_are_no_call(monkeypatch):
    def act(communicator, paper):
        communicator.sum(paper.array([]))
        return paper.reductions

    assert on_ranks(monkeypatch, 2, act) == [0, 0]


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"missing": (0, 1, 2)}, "rank 0: NCCL does not load .*libnccl.so.2.*; pip install nccl"),
        ({"missing": (0,)}, "rank 0: NCCL does not load .*; pip install nccl"),
        (
            {"fails": RuntimeError("NCCL_ERROR_SYSTEM_ERROR: no interface")},
            "rank 0: .*no interface",
        ),
    ],
)
def test_what_fails_on_rank_0_reaches_all(monkeypatch, given, text):
    """Once: rank 0 prints it, the others end in silence."""
    found = on_ranks(monkeypatch, 3, lambda *_: "connected", **given)
    for rank, error in enumerate(found):
        with pytest.raises(WorldError, match=text):
            raise error
        assert is_on_all(error)
        assert is_quiet(error) == (rank > 0)


def test_what_fails_on_another_rank_ends_it(monkeypatch):
    found = on_ranks(monkeypatch, 2, lambda *_: "connected", missing=(1,))
    with pytest.raises(WorldError, match=r"rank 1: NCCL does not load .*; pip install nccl"):
        raise found[1]
    assert not is_on_all(found[1])
    with pytest.raises(WorldError, match="does not connect rank 0 of 2 on device 0"):
        raise found[0]


def test_two_ranks_on_one_device(monkeypatch):
    found = on_ranks(monkeypatch, 3, lambda *_: "connected", devices=(0, 1, 1))
    text = r"rank \d of 3 on device [01] \(NcclError: NCCL_ERROR_INVALID_USAGE.*; give each rank"
    for error in found:
        with pytest.raises(WorldError, match=text):
            raise error


def refused(paper):
    """Arrays, and what is said of them."""
    elsewhere = paper.array([1])
    elsewhere._device = 7
    return [
        (np.zeros(3, np.int64), TypeError, "got a ndarray, expected a CuPy array on the GPU"),
        ([1, 2], TypeError, "got a list, expected a CuPy array"),
        (paper.array([1.0], float), TypeError, "got an array of float64, expected int64"),
        (paper.array([1], np.int32), TypeError, "got an array of int32, expected int64"),
        (paper.array(np.zeros((3, 3)))[:, 0], ValueError, r"of shape \(3,\) with gaps"),
        (elsewhere, ValueError, "lies on device 7, and device [01] is the current one"),
    ]


def test_what_nccl_would_take_for_numbers_is_refused(monkeypatch):
    def act(communicator, paper):
        for a, kind, text in refused(paper):
            with pytest.raises(kind, match=text):
                communicator.sum(a)
        return paper.reductions

    assert on_ranks(monkeypatch, 2, act) == [0, 0]


def test_a_closed_communicator_refuses(monkeypatch):
    def act(communicator, paper):
        communicator.close()
        communicator.close()
        with pytest.raises(WorldError, match=r"NCCL refuses 2 numbers .*INVALID_ARGUMENT"):
            communicator.sum(paper.array([1, 2]))

    assert on_ranks(monkeypatch, 2, act) == [None, None]


@pytest.mark.parametrize(
    ("number", "text"), [(22707, "2.27.7"), (2804, "2.8.4"), (23203, "2.32.3"), (21005, "2.10.5")]
)
def test_the_version(monkeypatch, number, text):
    library = Paper(1, threading.Barrier(1)).library()
    library[1].get_version = lambda: number
    monkeypatch.setattr(nccl, "_libraries", lambda: library)
    assert nccl.version() == text


def test_why_there_is_no_version(monkeypatch):
    def libraries():
        raise MISSING

    monkeypatch.setattr(nccl, "_libraries", libraries)
    assert nccl.version() == f"{MISSING}; {MISSING.remedy}"


def test_the_installed_cupy():
    """What NCCL is called there, or what to install, in one line."""
    pytest.importorskip("cupy")
    found = nccl.version()
    assert found[0].isdigit() or "NCCL" in found
    assert "\n" not in found
    if found[0].isdigit():
        _, library = nccl._libraries()
        assert (library.NCCL_INT64, library.NCCL_SUM) == (4, 0)
        assert {"allReduce", "destroy"} <= set(dir(library.NcclCommunicator))
    else:
        assert "install" in found


@pytest.mark.device
def test_a_rank_on_a_gpu():
    """NCCL itself: one rank has its own sum."""
    status = available_backends()["cupy"]
    found = nccl.version()
    if not status.usable or not found[0].isdigit():
        pytest.skip(f"cupy: {status.reason}; NCCL: {found}")
    import cupy

    communicator = nccl.Communicator(0, 1, lambda value: value)
    numbers = np.array([2**62, -(2**62), 0, 7])
    a = cupy.asarray(numbers)
    communicator.sum(a)
    assert a.get().tolist() == numbers.tolist()
    with pytest.raises(TypeError, match="expected a CuPy array"):
        communicator.sum(numbers)
    communicator.close()
    with pytest.raises(WorldError, match="NCCL refuses 4 numbers"):
        communicator.sum(a)
