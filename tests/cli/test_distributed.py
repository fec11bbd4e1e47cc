"""`nnfs-gpu train --distributed`: the files of one process, whoever goes on; signals.

No test waits to see that nothing hangs: where a run ends, it has not hung.
"""

from __future__ import annotations

import re
import signal

import pytest
from cli_runs import posix, run
from distributed_runs import SMALL, STOP_RANK, checkpoint, distributed, metrics, model


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
    assert found["steps"] == 2 * 6 + 1  # heard and obeyed after the first of these
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


def test_ranks_train_on_a_table_as_one_process_does(tmp_path):
    rows = [f"{i % 7 / 3},{'red' if i % 5 else 'blue'},{'uvw'[i % 3]}" for i in range(90)]
    (tmp_path / "t.csv").write_text("\n".join(["size,colour,kind", *rows]))
    given = ("train", "--data", tmp_path / "t.csv", "--target", "kind", "--epochs", 2)
    given += ("--backend", "numba", "--no-plot", "--out")
    alone = run(*given, tmp_path / "alone")
    done = distributed(2, *given, tmp_path / "ranks")
    assert (alone.returncode, done.code, done.err) == (0, 0, ""), alone.stderr
    assert model(tmp_path / "ranks") == model(tmp_path / "alone")
    piped = distributed(2, "train", "--data", "-", "--target", "kind")
    assert piped.code == 2
    assert "ranks cannot share standard input" in piped.err
