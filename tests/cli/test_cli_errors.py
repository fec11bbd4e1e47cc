"""Bad input to the command: one line, the right exit code, and nothing left behind."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from cli_runs import run, trained_once


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """See `trained_once`."""
    return trained_once(tmp_path_factory)


# name: (arguments, exit code, what the line must hold). {dir} is a fresh folder, {model} a
# model file, {file} an ordinary text file in {dir}.
BAD = {
    "command": ("bogus", 2, "bogus"),
    "option": ("train --bogus 1", 2, "--bogus"),
    "samples": ("train --samples 0", 2, "--samples"),
    "no whole number": ("train --samples 2.5e-1", 2, "'2.5e-1': expected a whole number from 1"),
    "too many samples": ("evaluate {model} --samples 1e10", 2, "from 1 to 1,000,000,000, such as"),
    "classes": ("train --classes 0", 2, "--classes"),
    "hidden text": ("train --hidden 64,x", 2, "--hidden '64,x'"),
    "hidden zero": ("train --hidden 0", 2, "--hidden '0'"),
    "rate": ("train --learning-rate -0.1", 2, "--learning-rate -0.1"),
    "rate nan": ("train --learning-rate nan", 2, "--learning-rate nan"),
    "optimizer": ("train --optimizer lion", 2, "adagrad"),
    "dtype": ("train --dtype float16", 2, "float64"),
    "backend": ("train --backend abacus", 2, "numpy"),
    "against": ("crosscheck --against abacus", 2, "--against abacus"),
    "out is a file": ("train --out {file}", 2, "expected a folder"),
    "out in a file": ("train --out {file}/deep/er", 2, "cannot write there"),
    "json is a folder": ("train --json {dir}", 2, "expected a file"),
    "json nowhere": ("train --json {dir}/none/m.json", 2, "cannot write there"),
    "diverged": (
        "train --samples 50 --epochs 3 --learning-rate 1e30 --out {dir}/a/b",
        1,
        "lower --learning-rate than 1e+30",
    ),
    "no model": ("evaluate {dir}", 2, "nnfs-gpu train"),
    "foreign model": ("evaluate {file}", 2, "not a readable safetensors file"),
    "damaged model": ("predict {dir}/half.safetensors {file}", 2, "half.safetensors"),
    "no input": ("predict {model} {dir}/none.csv", 2, "no such file"),
    "text": ("predict {model} {dir}/words.csv", 2, "line 3, column 'y': got 'four', expected"),
    "empty": ("predict {model} {dir}/empty.csv", 2, "is empty"),
    "header only": ("predict {model} {dir}/header.csv", 2, "no rows"),
    "columns": (
        "predict {model} {dir}/wide.csv --output {dir}/o.csv",
        2,
        "got 3 columns, expected 2",
    ),
    "ragged": ("predict {model} {dir}/ragged.csv", 2, "line 3: got 1 cells, expected 2"),
    "nan": (
        "predict {model} {dir}/nan.csv --output {dir}/o.csv",
        2,
        "line 2, column '1': is missing",
    ),
    "pickle": ("predict {model} {dir}/object.npy", 2, "damaged .npy"),
    "binary": ("predict {model} {model}", 2, "neither CSV"),
    "output nowhere": (
        "predict {model} {dir}/good.csv --output {dir}/none/o.csv",
        2,
        "cannot write",
    ),
}
if Path("/dev/full").exists():  # a disk that is full: every write to it fails
    BAD["full disk"] = (
        "predict {model} {dir}/good.csv --output /dev/full",
        1,
        "/dev/full: No space left",
    )


def _bad_case(base: Path, number: int, arguments: str, model: Path):
    """Run one case in a folder of its own; (the run, files that it left behind)."""
    folder = base / str(number)
    folder.mkdir()
    (folder / "file.txt").write_text("no,model,words\n1,words\n")
    (folder / "half.safetensors").write_bytes(model.read_bytes()[:-100])
    (folder / "empty.csv").write_text(" \n")
    (folder / "header.csv").write_text("x,y\n")
    (folder / "wide.csv").write_text("1,2,3\n")
    (folder / "words.csv").write_text("x,y\n1,2\n3,four\n5,6\n")
    (folder / "ragged.csv").write_text("1,2\n\n3\n")
    (folder / "nan.csv").write_text("1,2\nnan,3\n")
    (folder / "good.csv").write_text("1,2\n")
    np.save(folder / "object.npy", np.array([{}, None], dtype=object))
    before = sorted(folder.rglob("*"))
    filled = [
        part.format(dir=folder, model=model, file=folder / "file.txt") for part in arguments.split()
    ]
    return run(*filled, cwd=folder), sorted(set(folder.rglob("*")) - set(before))


@pytest.fixture(scope="module")
def bad_runs(trained, tmp_path_factory):
    """All of `BAD`, two at a time."""
    base, model = tmp_path_factory.mktemp("bad"), trained[0] / "model.safetensors"
    with ThreadPoolExecutor(2) as pool:
        runs = pool.map(
            lambda item: _bad_case(base, item[0], item[1][0], model), enumerate(BAD.values())
        )
        return dict(zip(BAD, runs, strict=True))


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line_and_leaves_nothing(bad_runs, name):
    _, code, expected = BAD[name]
    done, left = bad_runs[name]
    assert done.returncode == code, done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    assert expected in lines[0]
    assert "should not happen" not in lines[0]
    assert "Traceback" not in done.stdout + done.stderr
    assert left == []


@pytest.mark.skipif(
    os.name != "posix" or os.geteuid() == 0, reason="the administrator may write everywhere"
)
def test_unwritable_folder(tmp_path):
    tmp_path.chmod(0o555)
    done = run("train", "--out", tmp_path / "new")
    tmp_path.chmod(0o755)
    assert done.returncode == 2
    assert done.stderr.startswith("error: --out")
