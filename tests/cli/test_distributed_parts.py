"""Parts of `nnfs-gpu train --distributed`, without processes: devices, words, what ranks say."""

from __future__ import annotations

import collections
import platform
import threading
import types

import pytest
from local_world import errors_on_ranks, on_ranks

from nnfs_gpu import World
from nnfs_gpu.cli import distributed
from nnfs_gpu.cli.config import Config
from nnfs_gpu.cli.distributed import backend_for, ranks, who_computes
from nnfs_gpu.cli.errors import InputError, Interrupted, in_words
from nnfs_gpu.cli.progress import DivergedError, StopRequest
from nnfs_gpu.ranks.errors import RankError, WorldError, is_on_all, is_quiet, on_all
from nnfs_gpu.ranks.failures import together
from nnfs_gpu.ranks.world import texts


def config(backend):
    return Config(1, 3, (8,), 1, 1, "adam", 0.1, 0.0, backend, "float32", 0)


def test_the_timeout_reaches_mpi(monkeypatch):
    given = []
    monkeypatch.setattr(World, "mpi", lambda timeout: given.append(timeout) or World())
    for wanted in (True, False):
        with ranks(wanted, 2.5) as world:
            assert (world.rank, world.size) == (0, 1)
    assert given == [2.5]


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (
            TimeoutError(
                "rank 2 has waited 5 seconds in sum: ..., or give World.mpi a longer timeout"
            ),
            1,
            "error: rank 2 has waited 5 seconds in sum: ..., or give a longer --timeout",
        ),
        (InputError("--out x: no"), 2, "error: rank 2: --out x: no"),
        (Interrupted(15), 143, "error: rank 2: interrupted; no results were written"),
    ],
)
def test_a_rank_that_fails_by_itself_says_so_and_ends_all(monkeypatch, capsys, error, code, line):
    class Alone(World):
        rank, size = 2, 3

        def abort(self, code=1):
            raise SystemExit(code)

    monkeypatch.setattr(World, "mpi", lambda timeout: Alone())
    monkeypatch.setattr(distributed, "APART", 0)
    with pytest.raises(SystemExit) as left, ranks(True, 5):
        raise error
    assert left.value.code == code
    assert capsys.readouterr().err == f"{line}\n"


# ---- devices ----
@pytest.mark.parametrize("name", ["auto", "cupy", "numba-cuda", "numba", "numpy"])
def test_a_gpu_is_chosen_before_anything_lies_on_one(monkeypatch, name):
    calls = collections.defaultdict(list)  # by rank, which is a thread

    def note(what):
        calls[threading.get_ident()].append(what)

    def run(world):
        backend_for(config(name), world)
        return calls.pop(threading.get_ident())

    monkeypatch.setattr(distributed, "choose_device", lambda world: note("device"))
    monkeypatch.setattr(distributed, "choose_backend", lambda name, dtype: note((name, dtype)))
    device = [] if name in ("numba", "numpy") else ["device"]
    assert on_ranks(3, run) == [[*device, (name, "float32")]] * 3
    assert run(World()) == [(name, "float32")]  # one process keeps what it has


def test_fewer_gpus_than_ranks(monkeypatch):
    def short(world):
        raise on_all(WorldError("rank 2 is number 3 on its machine, which has 2 GPUs"), world.rank)

    monkeypatch.setattr(distributed, "choose_device", short)
    errors = errors_on_ranks(3, lambda world: backend_for(config("auto"), world))
    message = "--distributed: rank 2 is number 3 on its machine, which has 2 GPUs, or compute on "
    message += "processors with --backend numba"
    assert [in_words(error) for error in errors] == [(message, 2)] * 3
    assert [(is_on_all(error), is_quiet(error)) for error in errors] == [
        (True, rank > 0) for rank in range(3)
    ]


# ---- what ranks say ----
def test_lines_of_who_computes():
    device = [types.SimpleNamespace(device_number=n, version=lambda: "CuPy 14") for n in range(2)]
    host = types.SimpleNamespace(device_number=None, version=lambda: "numba, 4 threads")
    node = platform.node()

    def said(world):
        mixed = host if world.rank < 3 else device[world.rank % 2]
        return who_computes(world, mixed), who_computes(world, host)

    mixed, same = on_ranks(5, said)[0]
    assert same == f"0 to 4: {node}, numba, 4 threads"
    assert mixed.splitlines() == [
        f"0 to 2: {node}, numba, 4 threads",
        f"3: {node}, CuPy 14, GPU 1",
        f"4: {node}, CuPy 14, GPU 0",
    ]


def test_lines_of_very_many_ranks(monkeypatch):
    """One a rank would hide the rest of the table."""
    monkeypatch.setattr(distributed, "texts", lambda world, text: [str(n) for n in range(40)])
    world = types.SimpleNamespace(rank=0, size=40)
    backend = types.SimpleNamespace(device_number=None, version=lambda: "")
    lines = who_computes(world, backend).splitlines()
    assert len(lines) == 17
    assert (lines[15], lines[16]) == ("15: 15", "... and 24 lines more")


def test_texts_of_all_ranks():
    said = ["", "ä" * 5, "eight by", "nine byte"]
    assert on_ranks(4, lambda world: texts(world, said[world.rank])) == [said] * 4
    assert texts(World(), "alone") == ["alone"]
    assert on_ranks(2, lambda world: texts(world, "")) == [["", ""]] * 2


@pytest.mark.parametrize(("sent", "heard"), [((0, 0, 0), None), ((0, 15, 2), 1), ((2, 0, 0), 0)])
def test_a_signal_to_one_is_known_to_all(sent, heard):
    def agree(world):
        stop = StopRequest()
        stop.signum = sent[world.rank]
        return stop.agree(world), stop.signum

    signum = 0 if heard is None else sent[heard]
    assert on_ranks(3, agree) == [(heard, signum)] * 3


# ---- words ----
FAILED = {
    "input": (InputError("--out x: no"), 2, "--out x: no"),
    "diverged": (DivergedError(1.0, 0.5), 1, "training diverged: the loss is 1.0; nothing was"),
    "disk": (OSError(28, "No space left", "f"), 1, "f: No space left"),
    "other": (KeyError("key"), 1, "KeyError: 'key' (this should not happen"),
}


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("name", FAILED)
def test_words_of_a_rank_that_has_failed(name, rank):
    """Its own, with its exit code; rank 0 says which other rank it was, without our own names."""
    error, code, words = FAILED[name]

    def phase(world):
        def act():
            if world.rank == rank:
                raise error

        together(world, act)

    errors = errors_on_ranks(2, phase)
    assert all(isinstance(one, RankError) for one in errors)
    mine, found = in_words(errors[rank])
    assert (mine[: len(words)], found) == (words, code)
    if rank == 1:
        told, _ = in_words(errors[0])
        kind = {"disk": "OSError: [Errno 28] No space left: 'f'", "other": "KeyError: 'key'"}
        expected = f"rank 1: {kind.get(name, words)}"
        assert told[: len(expected)] == expected
