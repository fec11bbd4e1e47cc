"""`nnfs-gpu train --distributed` where something is wrong: one line, all ranks end, none hangs."""

from __future__ import annotations

import json
import re
import signal

import pytest
from cli_runs import posix, run
from distributed_runs import RANKS, SMALL, STOP_RANK, distributed, metrics
from rank_runs import run_ranks

# ---- errors of all ranks: one line, the exit code of one process, nothing left behind ----
BAD = {
    "option": ("--bogus 1", 2, "No such option: --bogus"),
    "number": ("--samples 1.5", 2, "'--samples': '1.5': expected a whole number from 1 to"),
    "hidden": ("--hidden 64,x", 2, "--hidden '64,x': expected whole numbers"),
    "rate": ("--learning-rate nan", 2, "--learning-rate nan: expected a number above 0"),
    "timeout": ("--timeout 0", 2, "--timeout 0: expected seconds above 0"),
    "backend": ("--backend abacus", 2, "unknown backend 'abacus'"),
    "layers": ("--backend numpy", 2, "backend 'numpy' has no fused step; take one of numba"),
    "out": ("--out {file}", 2, "file.txt: is a file, expected a folder"),
    "resume": ("--resume {dir}/none", 2, "none: no such folder; begin a run with"),
    "json": ("--json {dir}", 2, "is a folder, expected a file"),
    "foreign": ("--resume {dir}/foreign", 2, "not a readable safetensors file"),
    "diverged": (
        "--learning-rate 1e30 --epochs 3 --out {dir}/a/b",
        1,
        "training diverged: the loss is nan; nothing was written",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_an_error_of_all_is_told_once(tmp_path, name):
    given, code, message = BAD[name]
    (tmp_path / "file.txt").write_text("text")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "checkpoint.safetensors").write_text("text")
    before = sorted(tmp_path.rglob("*"))
    filled = given.format(dir=tmp_path, file=tmp_path / "file.txt").split()
    where = () if "--out" in filled or "--resume" in filled else ("--out", tmp_path / "out")
    small = ("train", "--samples", 700, "--no-plot", "--backend", "numba", *where)
    small = small if "--resume" not in filled else ("train",)
    done = distributed(2, *small, *filled)
    assert done.code == code
    assert len(done.err.splitlines()) == 1, done.err
    assert done.err.startswith("error: ")
    assert message in done.err
    assert "should not happen" not in done.err
    assert "epoch" not in done.out
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_is_one_runs(tmp_path):
    broken = "import nnfs_gpu.files.folder_lock as lock, fcntl\n"
    broken += f"held = os.open({str(tmp_path)!r}, os.O_RDONLY)\n"
    broken += "if rank == 1: fcntl.flock(held, fcntl.LOCK_EX)\n"
    broken += "from mpi4py import MPI\nMPI.COMM_WORLD.Barrier()"
    done = distributed(2, *SMALL, "--out", tmp_path, broken=broken)
    assert done.code == 2
    assert done.err == (
        f"error: {tmp_path}: another process is training there; wait for it, end it, or give "
        "another folder\n"
    )


def test_without_the_option_each_would_train_alone(tmp_path):
    """The folder is the first one's; the other says what was forgotten."""
    done = run_ranks(2, ["-m", "nnfs_gpu.cli", *map(str, SMALL), "--out", tmp_path], env=RANKS)
    assert done.code == 2
    assert "mpiexec has started several of this: give --distributed to share one run" in done.err


def test_info_does_not_start_mpi():
    """Under a launcher whose MPI is another one, its start would wait, or end the command."""
    done = run_ranks(2, ["-m", "nnfs_gpu.cli", "info"], env=RANKS)
    assert (done.code, done.err) == (0, "")
    assert len(re.findall(r"MPI +│ mpi4py \d\S*, MPICH \d", done.out)) == 2
    lost = run("info", "--json", "-", env={"PMI_RANK": "1", "PMI_SIZE": "2", "PMI_FD": "99"})
    assert json.loads(lost.stdout)["mpi"].startswith("mpi4py ")
    nowhere = run("info", "--json", "-", env={"MPI4PY_LIBMPI": "/none.so"})
    assert "its MPI does not load (/none.so" in json.loads(nowhere.stdout)["mpi"]


# ---- errors of one rank ----
ALONE = {  # what is broken, the exit code, the line
    "makes no points": (
        "if rank == 1: points.training_points = lambda config: 1 // 0",
        1,
        "error: rank 1: ZeroDivisionError: integer division or modulo by zero "
        "(NNFS_GPU_TRACEBACK=1 shows where)",
    ),
    "no backend": (
        "if rank == 1: distributed.choose_backend = lambda *given: "
        "(_ for _ in ()).throw(distributed.InputError('--backend numba: not here'))",
        2,
        "error: rank 1: --backend numba: not here",
    ),
    "in a step": (
        "if rank == 1: progress.TrainingWatch.on_train_batch_end = lambda *given: [][1]",
        1,
        "error: rank 1: IndexError: list index out of range (NNFS_GPU_TRACEBACK=1 shows where)",
    ),
    "between agreements": (
        "if rank == 1: train.who_computes = lambda *given: {}['key']",
        1,
        "error: rank 1: KeyError: 'key' (this should not happen; NNFS_GPU_TRACEBACK=1 shows where)",
    ),
    "writes no model": (
        "if rank == 0: results.Model.save = lambda *given: (_ for _ in ()).throw("
        "OSError(28, 'No space left on device'))",
        1,
        "error: {out}/model.safetensors: No space left on device",
    ),
    "writes no checkpoint": (
        "from nnfs_gpu.training import checkpoint\n"
        "if rank == 0: checkpoint.tensor_file.write = lambda *given: (_ for _ in ()).throw("
        "OSError(28, 'No space left on device', 'the file'))",
        1,
        "error: the file: No space left on device",
    ),
}


@pytest.mark.parametrize("name", ALONE)
def test_an_error_of_one_rank_ends_all(tmp_path, name):
    broken, code, line = ALONE[name]
    out = tmp_path / "out"
    done = distributed(3, *SMALL, "--epochs", 2, "--out", out, broken=broken)
    assert done.code == code
    errors = [line for line in done.err.splitlines() if line.startswith("error")]
    assert errors == [line.format(out=out)], done.err
    assert "Traceback" not in done.err


def test_a_traceback_where_it_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("NNFS_GPU_TRACEBACK", "1")
    broken = ALONE["makes no points"][0]
    done = distributed(2, *SMALL, "--out", tmp_path, broken=broken)
    assert done.code == 1
    assert "in <lambda>" in done.err
    assert sum(line.startswith("error: rank 1: Zero") for line in done.err.splitlines()) == 1


@posix
def test_a_rank_that_is_killed_ends_all(tmp_path):
    broken = STOP_RANK.format(rank=1, signum=int(signal.SIGKILL))
    done = distributed(2, *SMALL, "--epochs", 100_000, "--out", tmp_path, broken=broken)
    assert done.code not in (0, None)
    resumed = run("train", "--resume", tmp_path, "--no-plot", "--epochs", 4)
    assert resumed.returncode == 0, resumed.stderr
    assert metrics(tmp_path)[0]["epochs_finished"] == 4
