"""One GPU for each rank: which it gets, and what is refused. On stand-ins for `cupy.cuda`."""

import sys
import types

import pytest
from paper_worlds import on_paper, this_rank

import nnfs_gpu as ng
from nnfs_gpu.backend.cuda import probe
from nnfs_gpu.ranks import devices
from nnfs_gpu.ranks.devices import choose_device
from nnfs_gpu.ranks.errors import RankError, WorldError, is_on_all, is_quiet


class Cuda:
    """`cupy.cuda` of one process: the devices that it sees, by what identifies them."""

    def __init__(self, *buses, broken=""):
        self.current, self.broken = 0, broken
        self.runtime = types.SimpleNamespace(
            getDeviceCount=lambda: len(buses), deviceGetPCIBusId=lambda number: buses[number]
        )

    def Device(self, number):  # noqa: N802 - CuPy's name
        def use():
            if self.broken:
                raise RuntimeError(self.broken)
            self.current = number

        return types.SimpleNamespace(use=use)


@pytest.fixture
def on_machines(monkeypatch):
    """A function: choose_device on ranks of which each has (its node, its Cuda or None)."""

    def chosen(*ranks):
        monkeypatch.setattr(devices, "node", lambda: ranks[this_rank()][0])
        monkeypatch.setattr(devices, "cuda_of_cupy", lambda: ranks[this_rank()][1])
        return on_paper(len(ranks), choose_device)

    return chosen


TWO = ("00:1", "00:2")


def test_the_rank_within_the_node(on_machines):
    """Nodes may be dealt out in any order, and buses have the same numbers on each."""
    ranks = [(node, Cuda(*TWO)) for node in (7, 8, 8, 7)]
    assert on_machines(*ranks) == [0, 0, 1, 1]
    assert [cuda.current for _, cuda in ranks] == [0, 0, 1, 1]
    more = [(7, Cuda("00:1", "00:2", "00:3", "00:4")) for _ in range(3)]
    assert on_machines(*more) == [0, 1, 2]


def test_the_launchers_choice(on_machines):
    """Each rank sees one device, its own, which is its number 0."""
    assert on_machines(*[(7, Cuda(f"00:{rank}")) for rank in range(3)]) == [0, 0, 0]


def test_no_gpu_and_one_process(on_machines):
    assert on_machines((7, None), (7, None)) == [None, None]
    assert on_machines((7, Cuda()), (8, None)) == [None, None]
    cuda = Cuda(*TWO)
    cuda.current = 1
    assert on_machines((7, cuda)) == [None]
    assert cuda.current == 1
    assert choose_device(ng.World()) is None


@pytest.mark.parametrize(
    ("ranks", "message"),
    [
        ([(7, Cuda(*TWO)) for _ in range(3)], "rank 2 is number 3 on its machine, which has 2"),
        ([(7, Cuda("00:1")) for _ in range(2)], "ranks 0 and 1 are on one GPU; give each rank one"),
        ([(7, Cuda("00:1")), (8, None)], "rank 1 has no GPU .* and rank 0 has; run nnfs-gpu info"),
        ([(8, Cuda()), (7, Cuda("00:1"))], "rank 0 has no GPU .* and rank 1 has"),
        ([(7, Cuda("a")), (7, Cuda("b")), (7, Cuda("a"))], "ranks 0 and 2 are on one GPU"),
    ],
)
def test_what_all_ranks_refuse(on_machines, ranks, message):
    found = on_machines(*ranks)
    for rank, error in enumerate(found):
        with pytest.raises(WorldError, match=message):
            raise error
        assert is_on_all(error)
        assert is_quiet(error) == (rank > 0)


def test_a_device_that_does_not_work(on_machines):
    found = on_machines((7, Cuda(*TWO)), (7, Cuda(*TWO, broken="cudaErrorDevicesUnavailable")))
    for error in found:
        with pytest.raises(RankError, match="rank 1: RuntimeError: cudaErrorDevicesUnavailable"):
            raise error


# ---- what a process finds ----
def test_cupy_is_loaded_where_a_driver_answers(monkeypatch):
    cupy = types.ModuleType("cupy")
    cupy.cuda = Cuda()
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setattr(probe, "cuda_driver", lambda: (13000, "CUDA 13.0, 1 device(s)"))
    assert probe.cuda_of_cupy() is cupy.cuda
    monkeypatch.setitem(sys.modules, "cupy", None)  # not installed
    assert probe.cuda_of_cupy() is None
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setattr(probe, "cuda_driver", lambda: (None, "no CUDA driver"))
    assert probe.cuda_of_cupy() is None
