"""The command when it is interrupted, and on a terminal."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess

import pytest
from cli_runs import ENVIRONMENT, ESCAPE, command, posix, started, trained_once

from nnfs_gpu import Model, spiral_data, use_backend


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """See `trained_once`."""
    return trained_once(tmp_path_factory)


# ---- signals ----
def _interrupted(tmp_path, signum) -> tuple[int, str, dict]:
    """Start a long run, send `signum` after its first epoch; (exit code, stderr, metrics)."""
    arguments = ("train", "--samples", 2000, "--epochs", 100_000)
    with started(*arguments, "--no-plot", "--out", tmp_path) as process:
        for line in process.stdout:
            if line.startswith("epoch"):
                process.send_signal(signum)
                break
        out, err = process.communicate(timeout=60)
    assert "interrupted" in out  # the table came
    return process.returncode, err, json.loads((tmp_path / "metrics.json").read_text())


@posix
@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_training_and_keeps_what_was_learned(tmp_path, signum, code):
    returncode, err, metrics = _interrupted(tmp_path, signum)
    assert returncode == code
    assert err.strip() == "stopping after this step; once more ends at once, without saving"
    assert metrics["interrupted"] is True
    assert 1 <= metrics["epochs_finished"] < 100_000
    assert metrics["steps"] >= 6 * metrics["epochs_finished"]
    with use_backend("numpy", dtype="float32"):
        model = Model.load(tmp_path / "model.safetensors")
        X, y = spiral_data(3334, 3, seed=1)  # training had seed 0
        accuracy = float((model.predict(X).argmax(axis=1) == y).mean())
    assert metrics["validation_accuracy"] == pytest.approx(accuracy, abs=1.5 / len(y))
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "checkpoint.safetensors",
        "metrics.json",
        "model.safetensors",
    ]


@posix
def test_ctrl_c_outside_training_is_one_line(tmp_path, trained):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with started("predict", trained[0], pipe) as process:
        with open(pipe, "wb"):  # returns when the command has opened its end and waits for rows
            process.send_signal(signal.SIGINT)
            process.wait(timeout=60)
        out, err = process.communicate()
    assert process.returncode == 130
    assert out == ""
    assert err == "error: interrupted; no results were written\n"


# ---- a terminal ----
@posix
def test_on_a_terminal_a_bar_moves_within_an_epoch(tmp_path):
    import pty

    parent, child = pty.openpty()
    arguments = ("--samples", "500", "--epochs", "2", "--batch-size", "50", "--no-plot")
    with subprocess.Popen(
        command("train", *arguments, "--out", tmp_path),
        stdin=child,
        stdout=child,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT | {"COLUMNS": "100", "LINES": "30"},
    ) as process:
        os.close(child)
        text = b""
        while True:
            try:
                part = os.read(parent, 65536)
            except OSError:  # Linux: the other end is closed
                break
            if not part:
                break
            text += part
        assert process.wait(timeout=60) == 0, process.stderr.read()
    os.close(parent)
    shown = text.decode()
    assert ESCAPE + "[?25l" in shown  # the cursor is hidden while the bar moves,
    assert ESCAPE + "[?25h" in shown  # and shown again
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    frames = re.findall(
        r"epoch ([12])/2 +(\S+) +loss (\d\.\d+)(?: \(val [\d.]+\))? accuracy (0\.\d+)", plain
    )
    first = [frame for frame in frames if frame[0] == "1"]
    # One within the epoch, with the numbers so far, before the one at its end.
    assert len({(loss, accuracy) for _, _, loss, accuracy in first}) >= 2
    assert {epoch for epoch, *_ in frames} == {"1", "2"}
    assert "━" in frames[-1][1]
    assert "samples/s" in plain
    assert "left" in plain
    assert "val_loss" not in plain  # those are the plain lines
    assert "validation accuracy" in plain
