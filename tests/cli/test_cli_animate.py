"""`nnfs-gpu train --animate`: training.gif, the same model as without, and who is refused."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from cli_runs import run, together
from PIL import Image

SMALL = ("train", "--samples", 200, "--hidden", 8, "--batch-size", 100, "--no-plot")


def frames(folder) -> int:
    return Image.open(io.BytesIO((folder / "training.gif").read_bytes())).n_frames


def test_the_model_is_the_same_and_a_resumed_run_leaves_the_same_file(tmp_path):
    whole, plain, part = (tmp_path / name for name in ("whole", "plain", "part"))
    for done in together(
        (*SMALL, "--epochs", 6, "--animate", "--out", whole),
        (*SMALL, "--epochs", 6, "--out", plain),
        (*SMALL, "--epochs", 3, "--animate", "--out", part),
    ):
        assert (done.returncode, done.stderr) == (0, "")
    assert frames(whole) == 6
    assert frames(part) == 3
    assert not (plain / "training.gif").exists()
    models = [(one / "model.safetensors").read_bytes() for one in (whole, plain)]
    assert models[0] == models[1]
    curves = [json.loads((one / "metrics.json").read_text())["curve"] for one in (whole, plain)]
    assert curves[0] == curves[1]
    without, resumed = together(
        ("train", "--resume", plain, "--epochs", 7, "--animate", "--no-plot"),
        ("train", "--resume", part, "--epochs", 6, "--animate", "--no-plot"),
    )
    assert (without.returncode, resumed.returncode) == (0, 0), without.stderr + resumed.stderr
    assert "training.gif" in resumed.stdout
    assert (part / "training.gif").read_bytes() == (whole / "training.gif").read_bytes()
    assert frames(plain) == 1  # from there on
    again = run("train", "--resume", part, "--no-plot")  # and the wish may go
    assert again.returncode == 0, again.stderr
    assert "training.gif" not in again.stdout


@pytest.fixture
def tables(tmp_path):
    """Two tables: of two columns and a class, of three."""
    rng = np.random.default_rng(0)
    for columns in (2, 3):
        rows = rng.normal([5.0] * columns, 2.0, (60, columns))
        names = np.where(rows[:, 0] > 5, "large", "small")
        lines = [",".join([*(f"x{i}" for i in range(columns)), "size"])]
        lines += [",".join([*map(str, row), name]) for row, name in zip(rows, names, strict=True)]
        (tmp_path / f"{columns}.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_a_table_of_two_columns_is_a_plane_and_others_are_refused(tables):
    plane, wide = together(
        *(
            (
                *("train", "--data", tables / f"{columns}.csv", "--target", "size"),
                *("--epochs", 2, "--animate", "--no-plot", "--out", tables / f"out{columns}"),
            )
            for columns in (2, 3)
        )
    )
    assert plane.returncode == 0, plane.stderr
    assert frames(tables / "out2") == 2
    assert wide.returncode == 2
    assert wide.stderr.startswith("error: --animate: got 3 features and size, ")
    assert "expected classes over two columns of numbers" in wide.stderr
    assert not (tables / "out3").exists()
