"""Ranks on the same cores share them; ranks that a launcher has bound, and strangers, do not."""

import os

import numpy as np
import pytest
from rank_runs import run_ranks

from nnfs_gpu.backend.cpu import quota
from nnfs_gpu.ranks import cores

THREADS = """
import os
if BIND:
    os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[int(os.environ["PMI_RANK"]) % 2]})
from nnfs_gpu.backend.cpu import launch, quota
from nnfs_gpu.ranks import cores
from nnfs_gpu import World
with World.mpi(timeout=20) as world:
    found = {"threads": launch.threads_allowed(), "shared": quota.sharing()}
    say(rank=world.rank, blas=[one.num_threads for one in cores._blas()], **found)
"""


def test_nodes(monkeypatch, tmp_path):
    """The same number in each process of a machine, another for another name or another start."""
    here = cores.node()
    assert 0 <= here < 1 << 56
    assert cores.node() == here
    monkeypatch.setattr(cores.platform, "node", lambda: "a container of it")
    other = cores.node()
    assert other != here
    (tmp_path / "boot").write_text("another machine of the same name")
    monkeypatch.setattr(cores, "BOOT", tmp_path / "boot")
    assert cores.node() not in (here, other)
    monkeypatch.setattr(cores, "BOOT", tmp_path / "missing")
    assert cores.node() not in (here, other)


def test_where_a_process_may_run(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3, 1}, raising=False)
    first = cores.here()
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {1, 3})
    assert cores.here() == first
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {1, 2})
    assert cores.here() != first
    monkeypatch.delattr(os, "sched_getaffinity")  # another system
    assert cores.here() == cores.here()


@pytest.mark.parametrize(("rank", "processes"), [(0, 2), (1, 1), (2, 2), (3, 1), (4, 1)])
def test_who_shares_cores(monkeypatch, rank, processes):
    """Two ranks on the same cores, one bound beside them, two on another machine, each bound."""
    monkeypatch.setattr(quota, "_sharing", 1)
    monkeypatch.setattr(cores, "_blas", list)
    cores.share(np.array([[7, 1], [7, 2], [7, 1], [8, 1], [8, 2]]), rank)
    assert quota.sharing() == processes


def test_ranks_of_a_machine_share_its_cores():
    """As this machine's mpiexec starts them: it binds nothing."""
    free = dict.fromkeys(("NUMBA_NUM_THREADS", *cores.BLAS_THREADS))
    (alone,) = run_ranks(1, THREADS.replace("BIND", "False"), env=free).said
    done = run_ranks(2, THREADS.replace("BIND", "False"), env=free)
    assert (done.code, done.err) == (0, "")
    assert [one["threads"] for one in done.said] == [max(1, alone["threads"] // 2)] * 2
    assert [one["blas"] for one in done.said] == [[max(1, n // 2) for n in alone["blas"]]] * 2
    chosen = {"NUMBA_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "1"}
    (alone,) = run_ranks(1, THREADS.replace("BIND", "False"), env=free | chosen).said
    done = run_ranks(2, THREADS.replace("BIND", "False"), env=free | chosen)
    assert [one["threads"] for one in done.said] == [2, 2]
    assert [one["blas"] for one in done.said] == [alone["blas"]] * 2


@pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2,
    reason="needs two cores to bind ranks to",
)
def test_bound_ranks_have_their_cores_to_themselves():
    done = run_ranks(2, THREADS.replace("BIND", "True"), env={"NUMBA_NUM_THREADS": None})
    assert (done.code, done.err) == (0, "")
    assert [(one["threads"], one["shared"]) for one in done.said] == [(1, 1)] * 2
