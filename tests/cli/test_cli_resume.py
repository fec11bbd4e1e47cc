"""`nnfs-gpu train --resume`: killed runs go on, empty and finished folders, other settings."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from cli_runs import ENVIRONMENT, posix, run, started, together
from processes import MODULES

from nnfs_gpu import Layer_Dense, Model, Optimizer_SGD, use_backend

RUN = ("train", "--samples", 400, "--epochs", 30, "--batch-size", 64, "--hidden", "16")
RUN += ("--seed", 3, "--backend", "numpy", "--no-plot", "--checkpoint-every", 7)
STEPS = 30 * 19  # 1,200 points in batches of 64


def metrics(folder):
    """metrics.json without what a clock has measured."""
    found = json.loads((folder / "metrics.json").read_text())
    for name in ("seconds", "training_seconds", "samples_per_second"):
        assert found.pop(name) > 0
    found["config"].pop("backend")  # "numpy" either way: asked for, or read
    return found


def stopped(arguments, signum, after):
    """Start the command, send it `signum` after `after` lines of epochs; its exit code."""
    with started(*arguments, stderr=subprocess.DEVNULL) as process:
        for line in process.stdout:
            after -= line.startswith("epoch")
            if after == 0:
                process.send_signal(signum)
                break
        process.communicate(timeout=60)
    return process.returncode


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    done = run(*RUN, "--out", folder)
    assert done.returncode == 0, done.stderr
    return folder


@posix
def test_a_killed_run_goes_on_to_the_same_files(whole, tmp_path):
    """Twice killed, once interrupted, with nothing but the folder named: equal bytes."""
    codes = [
        stopped((*RUN, "--resume", tmp_path), signal.SIGKILL, 3),
        stopped(("train", "--resume", tmp_path, "--no-plot"), signal.SIGKILL, 4),
        stopped((*RUN, "--resume", tmp_path), signal.SIGINT, 2),
    ]
    assert codes == [-signal.SIGKILL, -signal.SIGKILL, 130]
    interrupted = json.loads((tmp_path / "metrics.json").read_text())
    assert interrupted["interrupted"] is True
    assert 0 < interrupted["steps"] < STEPS
    last = run("train", "--resume", tmp_path, "--no-plot")
    assert last.returncode == 0, last.stderr
    assert last.stdout.startswith("going on with the training of 2-16-3 on 1,200 points")
    assert "epoch 30/30" in last.stdout
    assert "epoch  1/30" not in last.stdout
    model = (tmp_path / "model.safetensors").read_bytes()
    assert model == (whole / "model.safetensors").read_bytes()
    assert metrics(tmp_path) == metrics(whole)
    assert metrics(whole)["steps"] == STEPS
    assert sorted(os.listdir(tmp_path)) == sorted(os.listdir(whole))


@posix
def test_killed_at_its_writes_where_an_epoch_is_one_step(tmp_path):
    """Between the step and the epoch's end, too: the step is not made again."""
    program = Path(__file__).resolve().parents[1] / "training" / "kill_program.py"
    environment = ENVIRONMENT | {"PYTHONPATH": MODULES}
    one = ("train", "--samples", 100, "--epochs", 6, "--hidden", "8", "--no-plot")
    one += ("--backend", "numpy", "--checkpoint-every", 1)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert run(*one, "--out", whole).returncode == 0
    for number, moment, *arguments in (
        (2, "after", *one, "--out", killed),
        (1, "after", "train", "--resume", killed, "--no-plot", "--checkpoint-every", 1),
        (2, "half", "train", "--resume", killed, "--no-plot", "--checkpoint-every", 1),
        (2, "whole", "train", "--resume", killed, "--no-plot", "--checkpoint-every", 2),
    ):
        died = [sys.executable, program, "command", number, moment, *arguments]
        done = subprocess.run(list(map(str, died)), capture_output=True, env=environment)
        assert done.returncode == -signal.SIGKILL, done.stderr
    assert run("train", "--resume", killed, "--no-plot").returncode == 0
    names = [(folder / "model.safetensors").read_bytes() for folder in (whole, killed)]
    assert names[0] == names[1]
    assert metrics(killed) == metrics(whole)
    assert metrics(killed)["steps"] == 6


def test_empty_finished_and_growing_folders(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "done")
    shutil.copytree(whole, tmp_path / "grown")
    (tmp_path / "done" / "metrics.json").unlink()
    (tmp_path / "a" / "b").mkdir(parents=True)
    done, grown, longer, new = together(
        ("train", "--resume", tmp_path / "done", "--no-plot"),
        ("train", "--resume", tmp_path / "grown", "--no-plot", "--epochs", 33),
        (*RUN, "--epochs", 33, "--out", tmp_path / "longer"),
        ("train", "--resume", tmp_path / "a" / "b", "--samples", 20, "--epochs", 1, "--no-plot"),
    )
    for each in (done, grown, longer, new):
        assert each.returncode == 0, each.stderr
    assert "epoch" not in done.stdout.split("┌")[0]  # nothing was left to train
    assert metrics(tmp_path / "done") == metrics(whole)  # and the files are there again
    models = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("grown", "longer")]
    assert models[0] == models[1]
    assert metrics(tmp_path / "grown") == metrics(tmp_path / "longer")
    assert new.stdout.startswith(f"no checkpoint in {tmp_path / 'a' / 'b'}, a new run: training")
    assert (tmp_path / "a" / "b" / "model.safetensors").exists()


def test_without_resume_a_new_run_begins(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "again")
    done = run(*RUN, "--epochs", 2, "--seed", 4, "--out", tmp_path / "again")
    assert done.returncode == 0, done.stderr
    assert metrics(tmp_path / "again")["epochs_finished"] == 2


def test_other_settings_and_other_files_are_refused(whole, tmp_path):
    for name in ("damaged", "foreign", "empty"):
        (tmp_path / name).mkdir()
    checkpoint = (whole / "checkpoint.safetensors").read_bytes()
    (tmp_path / "damaged" / "checkpoint.safetensors").write_bytes(checkpoint[:-9])
    with use_backend("numpy"):
        foreign = Model()
        foreign.add(Layer_Dense(2, 3))
        foreign.save(tmp_path / "foreign" / "checkpoint.safetensors")
    before = {path: path.read_bytes() for path in whole.iterdir()}
    cases = [
        (("--resume", whole, "--samples", 7), "--samples 7: the run in"),
        (("--resume", whole, "--hidden", "16,16"), "--hidden"),
        (("--resume", whole, "--optimizer", "sgd"), "--optimizer sgd: the run in"),
        (("--resume", whole, "--batch-size", 65), "has 64; leave the option out"),
        (("--resume", whole, "--backend", "numba"), "--backend numba: the run in"),
        (("--resume", whole, "--epochs", 29), "has 30 epochs done"),
        (("--resume", whole, "--out", tmp_path), "expected one folder"),
        (("--resume", tmp_path / "damaged"), "not a readable safetensors file"),
        (("--resume", tmp_path / "foreign"), "holds 'model', expected a checkpoint"),
        (("--resume", tmp_path / "empty"), "no settings of a run; begin it with its settings"),
        (("--checkpoint-every", 0), "--checkpoint-every"),
    ]
    for (_, message), done in zip(cases, together(*(("train", *c) for c, _ in cases)), strict=True):
        assert done.returncode == 2, done.stdout
        assert len(done.stderr.splitlines()) == 1
        assert message in done.stderr
    assert before == {path: path.read_bytes() for path in whole.iterdir()}


def test_a_checkpoint_of_a_program_is_not_the_command_s(tmp_path):
    from model_programs import X, Y, network

    with use_backend("numpy"):
        network(optimizer=Optimizer_SGD()).train(X, Y, print_every=None, checkpoint=tmp_path)
    done = run("train", "--resume", tmp_path)
    assert done.returncode == 2
    assert "not a checkpoint of nnfs-gpu train" in done.stderr
