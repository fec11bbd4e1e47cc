"""Ranks that are killed, hang or cannot write: all end, and the run goes on with other ranks.

Processes over MPI; what they train is in kill_ranks.py, which kills at random where it is started
by hand.
"""

from __future__ import annotations

import os

import pytest
from kill_ranks import ENVIRONMENT, start, trained
from rank_runs import START, run_ranks

from nnfs_gpu.training.checkpoint import FILE


@pytest.fixture(scope="module")
def wanted(tmp_path_factory):
    """What one process ends with that nobody kills."""
    return trained(tmp_path_factory.mktemp("alone"))


def test_killed_and_gone_on_with_other_ranks(wanted, tmp_path):
    """By SIGKILL between two writes, by SIGKILL in a write, by Ctrl-C of one rank."""
    folder, files = tmp_path / "run", []
    for ranks, *end in ((4, 2, "step", 5), (2, 0, "half", 3), (3, 1, "interrupt", 4)):
        done = start(folder, ranks, *end)
        assert done.code not in (0, None)
        assert not done.said
        files.append((folder / FILE).read_bytes())
        if end[1] == "interrupt":
            assert done.code == 130
            assert "KeyboardInterrupt" in done.err
            assert "rank 1: Traceback" in done.err
            assert done.err.count("Traceback") == 1
    assert len(set(files)) == 3  # each went on
    done = start(folder, 2)
    assert (done.code, done.err) == (0, "")
    assert [one["found"] for one in done.said] == [wanted] * 2
    assert os.listdir(folder) == [FILE]


HEAD = (
    START
    + """
import errno, time
from pathlib import Path
import numpy as np
from kill_ranks import trained
from nnfs_gpu import Callback, World
from nnfs_gpu.files import tensor_file
from nnfs_gpu.ranks.errors import is_on_all, is_quiet
"""
)


def program(*lines):
    """Python source, with a world of three ranks."""
    return ["-c", "\n".join([HEAD, "with World.mpi(timeout=60) as world:", *lines])]


def test_a_disk_that_is_full_ends_all_and_loses_nothing(wanted, tmp_path):
    """And the same processes go on when there is room again."""
    lines = f"""
    folder, real, writes = Path({str(tmp_path)!r}) / "run", tensor_file.write, []
    def write(path, *contents):
        writes.append(1)
        if len(writes) == 4:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        real(path, *contents)
    tensor_file.write = write
    try:
        trained(folder, world)
    except Exception as error:
        text, kind = str(error), [type(error).__name__, is_on_all(error), is_quiet(error)]
    world.barrier()
    found = trained(folder, world)
    say(rank=world.rank, text=text, kind=kind, writes=len(writes), found=found)
"""
    done = run_ranks(3, program(lines), timeout=120, env=ENVIRONMENT)
    assert (done.code, done.err) == (0, "")
    for rank, said in enumerate(done.said):
        assert said["text"].endswith(f"No space left on device: '{tmp_path}/run/{FILE}'")
        assert said["text"].startswith("[Errno" if rank == 0 else "rank 0: OSError: [Errno")
        assert said["kind"] == ["RankError" if rank else "OSError", True, rank > 0]
        assert said["found"] == wanted
    assert [said["writes"] > 4 for said in done.said] == [True, False, False]
    assert os.listdir(tmp_path / "run") == [FILE]


def test_a_rank_that_hangs_is_not_waited_for(tmp_path):
    lines = f"""
    class Hangs(Callback):
        def on_train_batch_end(self, batch, logs):
            if (batch, logs["epoch"]) == (1, 2):
                world._messages.timeout = 1
                time.sleep(10_000 * (world.rank == 1))
    import kill_ranks
    kill_ranks.EarlyStopping = lambda *_, **__: Hangs()
    trained({str(tmp_path)!r}, world)
"""
    done = run_ranks(3, program(lines), timeout=120, env=ENVIRONMENT)
    assert done.code == 1
    assert "has waited 1 seconds in sum: another rank hangs or has died" in done.err
    assert "rank 1 has waited" not in done.err
    assert (tmp_path / FILE).exists()
