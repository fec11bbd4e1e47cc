"""A world: of one process, over MPI on real ranks, and over anything else that adds up integers."""

import types

import numpy as np
import pytest
from rank_runs import run_ranks, torch_world

import nnfs_gpu as ng
from nnfs_gpu.ranks.errors import RankError
from nnfs_gpu.ranks.world import everybody

CALLS = """
import numpy as np
from nnfs_gpu import World
with World.mpi(timeout=20) as world:
    a = np.arange(5) * 10**17 * (1 - 2 * world.rank) + world.rank
    world.sum(a)
    b = np.full((2, 3), world.rank, np.int64)
    world.sum(b[1])
    told = world.broadcast({"from": [world.rank, "é", None]})
    nothing = world.broadcast(b"" if world.rank == 0 else object)
    large = world.broadcast(np.arange(300_000) if world.rank == 0 else None)
    world.barrier()
    say(rank=world.rank, size=world.size, a=a.tolist(), b=b.tolist(), told=told,
        nothing=len(nothing), large=int(large.sum()))
"""


# ---- one process ----
def test_one_process():
    with ng.World() as world:
        assert (world.rank, world.size) == (0, 1)
        a = np.arange(4)
        world.sum(a)
        assert a.tolist() == [0, 1, 2, 3]
        given = object()
        assert world.broadcast(given) is given
        world.barrier()
        assert everybody(world, (5, 6)).tolist() == [[5, 6]]
    with pytest.raises(SystemExit) as left:
        world.abort(3)
    assert left.value.code == 3
    with pytest.raises(KeyError, match="mine"), ng.World():
        raise KeyError("mine")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.zeros(3), "got float64, expected an array of int64"),
        (np.zeros(3, np.int32), "got int32, expected"),
        ([1, 2], "got list, expected"),
        (np.zeros((3, 4), np.int64)[:, 1], r"got an array of shape \(3,\) with gaps, expected a"),
    ],
)
def test_what_cannot_be_added_up(given, message):
    with pytest.raises(TypeError, match=f"sum: {message}"):
        ng.World().sum(given)


# ---- MPI ----
def test_mpi_without_a_launcher_is_one_process():
    done = run_ranks(1, CALLS)
    assert (done.code, done.err) == (0, "")
    assert [(one["rank"], one["size"]) for one in done.said] == [(0, 1)]


@pytest.mark.parametrize("ranks", [2, 3])
def test_calls(ranks):
    done = run_ranks(ranks, CALLS)
    assert (done.code, done.err) == (0, "")
    offset, factor = sum(range(ranks)), sum(1 - 2 * rank for rank in range(ranks))
    for rank, said in enumerate(done.said):
        assert (said["rank"], said["size"]) == (rank, ranks)
        assert said["a"] == [k * 10**17 * factor + offset for k in range(5)]
        assert said["b"] == [[rank] * 3, [offset] * 3]
        assert said["told"] == {"from": [0, "é", None]}
        assert said["nothing"] == 0
        assert said["large"] == 300_000 * 299_999 // 2
    assert len(done.said) == ranks


def test_what_rank_0_cannot_pickle_fails_on_all():
    done = run_ranks(
        2,
        """
from nnfs_gpu import World
from nnfs_gpu.ranks.errors import RankError
with World.mpi(timeout=20) as world:
    try:
        world.broadcast((lambda: 1) if world.rank == 0 else None)
    except RankError as error:
        say(rank=world.rank, error=str(error), quiet=error.quiet)
    world.barrier()
""",
    )
    assert (done.code, done.err) == (0, "")
    assert [one["quiet"] for one in done.said] == [False, True]
    assert all(
        one["error"].startswith("rank 0: ") and "pickle" in one["error"] for one in done.said
    )


def test_arrays_of_a_gpu_go_to_nccl():
    """It is made at the first such array, once, and gets the world's own broadcast."""
    done = run_ranks(
        2,
        """
import sys, types
import numpy as np
from nnfs_gpu import World

class Communicator:
    made = 0
    def __init__(self, rank, size, broadcast):
        Communicator.made += 1
        self.id = broadcast(f"id of {rank}")
    def sum(self, a):
        a.values += 100

class OnGpu:
    dtype = np.dtype(np.int64)
    flags = types.SimpleNamespace(c_contiguous=True)
    values = 1

stand_in = types.ModuleType("nnfs_gpu.ranks.nccl")
stand_in.Communicator = Communicator
sys.modules["nnfs_gpu.ranks.nccl"] = stand_in
with World.mpi(timeout=20) as world:
    a = OnGpu()
    world.sum(a)
    world.sum(a)
    say(rank=world.rank, values=a.values, made=Communicator.made, id=world._nccl.id)
""",
    )
    assert (done.code, done.err) == (0, "")
    assert done.said == [
        {"rank": rank, "values": 201, "made": 1, "id": "id of 0"} for rank in range(2)
    ]


# ---- what fills the interface otherwise ----
class Half(ng.World):
    """A double as short as the docstring's: rank 0 of two that always have the same numbers."""

    size = 2

    def sum(self, a):
        a *= 2

    def barrier(self):
        pass

    def abort(self, code=1):
        raise SystemExit(code)


def test_the_docstrings_world_of_pytorch():
    """Its code, on stand-ins for PyTorch: every rank of two has the same."""
    code = torch_world()
    assert len(code.splitlines()) <= 20

    def all_reduce(a):
        a *= 2

    def broadcast_object_list(box, src):
        box[src] = "of rank 0"

    dist = types.SimpleNamespace(
        init_process_group=lambda kind: None,
        get_rank=lambda: 1,
        get_world_size=lambda: 2,
        all_reduce=all_reduce,
        broadcast_object_list=broadcast_object_list,
        barrier=lambda: None,
    )
    codes = []
    names = {
        "nnfs_gpu": ng,
        "dist": dist,
        "torch": types.SimpleNamespace(from_numpy=lambda a: a),
        "os": types.SimpleNamespace(_exit=codes.append),
    }
    exec(code, names)
    with names["TorchWorld"]() as world:
        a = np.arange(3)
        world.sum(a)
        world.barrier()
        assert (world.rank, world.size, a.tolist()) == (1, 2, [0, 2, 4])
        assert world.broadcast("of rank 1") == "of rank 0"
        world.abort(4)
    assert codes == [4]


def test_a_double():
    with Half() as world:
        a = np.arange(3)
        world.sum(a)
        assert a.tolist() == [0, 2, 4]
    with pytest.raises(SystemExit) as left, Half():
        raise ValueError("of this rank alone")
    assert left.value.code == 1
    marked = ng.ranks.errors.on_all(RankError("ValueError: everywhere", 1), 0)
    with pytest.raises(RankError, match="rank 1: ValueError: everywhere"), Half():
        raise marked
    with pytest.raises(SystemExit) as left, Half():
        raise SystemExit(0)
    assert left.value.code == 0


def test_the_watchdog_of_the_start_watches_the_start_alone():
    done = run_ranks(
        1,
        """
import faulthandler
calls = []
faulthandler.dump_traceback_later = lambda seconds, exit: calls.append((seconds, exit))
faulthandler.cancel_dump_traceback_later = lambda: calls.append("cancelled")
from nnfs_gpu import World
World.mpi(timeout=50)
World.mpi(timeout=float("inf"))
say(calls=calls)
""",
    )
    assert done.said == [{"calls": [[50, True], "cancelled", [1e6, True], "cancelled"]}]
