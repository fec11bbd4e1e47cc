"""`nnfs-gpu train --distributed`: the files of one process, one line for an error, no hang.

No test waits to see that nothing hangs: where a run ends, it has not hung.
"""

from __future__ import annotations

import json
import platform
import re
import signal
import types

import pytest
from cli_runs import ENVIRONMENT, posix, run
from local_world import on_ranks
from rank_runs import run_ranks

from nnfs_gpu.cli import distributed as ranks_of_a_command
from nnfs_gpu.training import checkpoint_file

SMALL = ("train", "--samples", 700, "--batch-size", 400, "--hidden", "16,8", "--seed", 3)
SMALL += ("--backend", "numba", "--no-plot")
RANKS = {name: ENVIRONMENT[name] for name in ("TERM", "OPENBLAS_NUM_THREADS")}
RANKS |= dict.fromkeys(("FORCE_COLOR", "NO_COLOR", "COLUMNS", "NNFS_GPU_BACKEND"))
CLOCKS = ("seconds", "training_seconds", "samples_per_second", "communication_seconds")

# The real command, in a program that can break one rank of it.
PROGRAM = """
from nnfs_gpu.cli import app, distributed, points, progress, results, train
rank = int(os.environ["PMI_RANK"])
{broken}
sys.argv = ["nnfs-gpu", *{arguments!r}]
app.main()
"""


def distributed(ranks, *arguments, broken=None, **options):
    """The command on ranks; `broken`: Python that changes something in one of them."""
    given = [*map(str, arguments), "--distributed"]
    program = ["-m", "nnfs_gpu.cli", *given]
    if broken is not None:
        program = PROGRAM.format(arguments=given, broken=broken)
    return run_ranks(ranks, program, env=RANKS, **options)


def metrics(folder):
    """metrics.json without what a clock has measured, and how many ranks there were."""
    found = json.loads((folder / "metrics.json").read_text())
    for name in CLOCKS:
        assert found.pop(name) >= 0
    assert re.fullmatch(r"numba \S+, \d+ threads", found.pop("backend_version"))
    return found, found.pop("ranks")


def checkpoint(folder):
    """The document and the tensors of the checkpoint, without what a clock has measured."""
    document, tensors = checkpoint_file.read(folder / "checkpoint.safetensors")
    del document["sha256"]  # of all that the file holds
    for state in document["training"]["callbacks"]:
        for name in CLOCKS:
            state.pop(name, None)
    return document, {name: a.tobytes() for name, a in tensors.items()}


def model(folder):
    return (folder / "model.safetensors").read_bytes()


def epochs(text):
    """Lines of epochs without the speed, and the rows of the table that hold no times."""
    lines = re.findall(r"^(epoch .*)  [\d,]+ samples/s$", text, re.MULTILINE)
    return lines + re.findall(r"│ (.* accuracy .*) +│", text)


# ---- the same files ----
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_three_ranks_write_what_one_process_does(tmp_path, dtype):
    given = (*SMALL, "--epochs", 4, "--dtype", dtype)
    alone = run(*given, "--out", tmp_path / "alone")
    done = distributed(3, *given, "--out", tmp_path / "ranks")
    assert (alone.returncode, done.code, done.err) == (0, 0, ""), alone.stderr
    assert model(tmp_path / "ranks") == model(tmp_path / "alone")
    assert checkpoint(tmp_path / "ranks") == checkpoint(tmp_path / "alone")
    (found, ranks), (expected, one) = metrics(tmp_path / "ranks"), metrics(tmp_path / "alone")
    assert (found, ranks, one) == (expected, 3, 1)
    assert sorted(p.name for p in (tmp_path / "ranks").iterdir()) == [
        "checkpoint.safetensors",
        "metrics.json",
        "model.safetensors",
    ]
    assert len(epochs(done.out)) == 4 + 2
    assert epochs(done.out) == epochs(alone.stdout)
    assert re.search(r"ranks +│ 0 to 2: \S+, numba \S+, \d+ threads", done.out)
    assert re.search(r"communication +│ \d+\.\d\d s on rank 0, \d+\.\d% of the training", done.out)
    assert "communication" not in alone.stdout


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a run of six epochs by one process."""
    folder = tmp_path_factory.mktemp("whole")
    done = run(*SMALL, "--epochs", 6, "--out", folder)
    assert done.returncode == 0, done.stderr
    return folder


def assert_same_files(folder, expected):
    assert model(folder) == model(expected)
    assert checkpoint(folder) == checkpoint(expected)
    assert metrics(folder)[0] == metrics(expected)[0]


def test_a_run_of_three_ranks_goes_on_with_two_and_with_one_process(whole, tmp_path):
    assert distributed(3, *SMALL, "--epochs", 2, "--out", tmp_path).code == 0
    goes_on = ("train", "--resume", tmp_path, "--no-plot", "--epochs")
    second = distributed(2, *goes_on, 4)
    assert second.code == 0, second.err
    assert second.out.startswith("going on with the training of 2-16-8-3")
    assert "epoch 3/4" in second.out
    assert "epoch 2/4" not in second.out
    assert run(*goes_on, 6).returncode == 0
    assert_same_files(tmp_path, whole)


def test_a_run_of_one_process_goes_on_with_ranks(whole, tmp_path):
    assert run(*SMALL, "--epochs", 2, "--out", tmp_path).returncode == 0
    assert distributed(2, "train", "--resume", tmp_path, "--no-plot", "--epochs", 6).code == 0
    assert_same_files(tmp_path, whole)


FEW = """
points.HELD = 2000
held = points.datasets.spiral_data
def few(samples, classes, *, seed):
    assert seed == 4, "training points are not held"
    return held(samples, classes, seed=seed)
points.datasets.spiral_data = few
"""


def test_very_many_points_are_made_by_each_rank(tmp_path):
    """With the limit lowered: training points are not held, and the files are the same."""
    given = (*SMALL, "--epochs", 3)
    for ranks in (1, 3):
        done = distributed(ranks, *given, "--out", tmp_path / str(ranks), broken=FEW)
        assert done.code == 0, done.err
    assert model(tmp_path / "1") == model(tmp_path / "3")
    (found, _), (expected, _) = metrics(tmp_path / "3"), metrics(tmp_path / "1")
    assert found == expected
    held = run(*given, "--out", tmp_path / "held")
    assert held.returncode == 0
    assert model(tmp_path / "held") != model(tmp_path / "1")  # another order


# ---- signals ----
STOP_RANK = """
class TrainingWatch(progress.TrainingWatch):
    def on_epoch_end(self, epoch, logs):
        super().on_epoch_end(epoch, logs)
        if rank == {rank} and epoch == 2:
            os.kill(os.getpid(), {signum})
train.TrainingWatch = TrainingWatch
"""


@posix
def test_a_signal_to_one_rank_stops_all_and_the_run_goes_on(whole, tmp_path):
    broken = STOP_RANK.format(rank=1, signum=int(signal.SIGTERM))
    done = distributed(2, *SMALL, "--epochs", 6, "--out", tmp_path, broken=broken)
    assert done.code == 143
    assert done.err == ""
    assert done.out.count("rank 1 was sent SIGTERM: all have stopped after the same step") == 1
    assert "interrupted" in done.out
    found, _ = metrics(tmp_path)
    assert (found["interrupted"], found["epochs_finished"]) == (True, 2)
    assert found["steps"] == 2 * 6 + 2  # heard after the first of these, obeyed after the second
    assert run("train", "--resume", tmp_path, "--no-plot").returncode == 0
    assert_same_files(tmp_path, whole)


@posix
@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_to_mpiexec_stops_all_and_is_told_once(tmp_path, signum, code):
    arguments = (*SMALL, "--epochs", 100_000, "--out", tmp_path)
    done = distributed(3, *arguments, until="epoch", ending=signum)
    assert done.code == code
    assert done.err.count("stopping after this step; once more ends at once") == 1
    assert "was sent" not in done.out
    assert metrics(tmp_path)[0]["interrupted"] is True
    assert model(tmp_path)


@posix
def test_a_second_signal_ends_all_at_once(tmp_path):
    twice = STOP_RANK.format(rank=1, signum=int(signal.SIGINT))
    twice += "TrainingWatch.on_train_end = lambda self, logs: rank == 1 and os.kill(os.getpid(), 2)"
    done = distributed(2, *SMALL, "--epochs", 9, "--out", tmp_path, broken=twice)
    assert done.code == 130
    errors = [line for line in done.err.splitlines() if line.startswith("error")]
    assert errors == ["error: rank 1: interrupted; no results were written"]
    assert not (tmp_path / "model.safetensors").exists()


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


def test_the_timeout_reaches_mpi(monkeypatch):
    given = []
    monkeypatch.setattr(ranks_of_a_command.World, "mpi", lambda timeout: given.append(timeout))
    with ranks_of_a_command.ranks(True, 2.5):
        pass
    with ranks_of_a_command.ranks(False, 2.5) as world:
        assert (world.rank, world.size) == (0, 1)
    assert given == [2.5]


def test_lines_of_who_computes():
    def said(world):
        device = types.SimpleNamespace(device_number=world.rank % 2, version=lambda: "CuPy 14")
        host = types.SimpleNamespace(device_number=None, version=lambda: "numba, 4 threads")
        return [
            ranks_of_a_command.who_computes(world, host if world.rank < 3 else device),
            ranks_of_a_command.who_computes(world, host),
        ]

    mixed, same = on_ranks(5, said)[0]
    node = platform.node()
    assert same == f"0 to 4: {node}, numba, 4 threads"
    assert mixed.splitlines() == [
        f"0 to 2: {node}, numba, 4 threads",
        f"3: {node}, CuPy 14, GPU 1",
        f"4: {node}, CuPy 14, GPU 0",
    ]


# ---- errors of one rank ----
ALONE = {  # what is broken, the exit code, the line
    "makes no points": (
        "if rank == 1: train.training_points = lambda config: 1 // 0",
        1,
        "error: rank 1: ZeroDivisionError: integer division or modulo by zero",
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
        "error: rank 1: IndexError: list index out of range",
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


@posix
def test_a_rank_that_is_killed_ends_all(tmp_path):
    broken = STOP_RANK.format(rank=1, signum=int(signal.SIGKILL))
    done = distributed(2, *SMALL, "--epochs", 100_000, "--out", tmp_path, broken=broken)
    assert done.code not in (0, None)
    resumed = run("train", "--resume", tmp_path, "--no-plot", "--epochs", 4)
    assert resumed.returncode == 0, resumed.stderr
    assert metrics(tmp_path)[0]["epochs_finished"] == 4
