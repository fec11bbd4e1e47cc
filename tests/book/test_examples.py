"""Every example runs: for a few epochs on each backend, and as a command from the wheel's files.

And each shows what its docstring tells the reader to look at, where a short run can show it.
"""

from __future__ import annotations

import ast
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

import nnfs_gpu
from nnfs_gpu import examples, images, use_backend

FOLDER = Path(examples.__file__).parent
PROGRAMS = [f"chapter{chapter:02}" for chapter in examples.CHAPTERS]


@pytest.fixture(autouse=True)
def _one_thread():
    """Products this small on many threads wait for one another where other programs run."""
    with threadpool_limits(1, "blas"):
        yield


def program(name):
    return importlib.import_module(f"nnfs_gpu.examples.{name}")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A small folder in the book's layout: 3 classes of 10 pictures, 4 of each to test."""
    folder = tmp_path_factory.mktemp("pictures")
    images.save_images(
        folder, *images.draw_shapes(10, 3, size=8), *images.draw_shapes(4, 3, size=8, seed=1)
    )
    return folder


def numbers(value):
    """All numbers in what a main returned."""
    if isinstance(value, nnfs_gpu.History):
        value = value.history
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return [number for one in value for number in numbers(one)]
    return np.asarray(value, float).reshape(-1).tolist()


def test_there_is_one_for_each_chapter():
    assert [path.stem for path in sorted(FOLDER.glob("chapter*.py"))] == PROGRAMS
    assert PROGRAMS[0] == "chapter09"
    assert PROGRAMS[-1] == "chapter22"


@pytest.mark.parametrize("name", PROGRAMS)
def test_runs_on_every_backend(backend_name, name, pictures, capsys):
    use_backend(backend_name)
    main = program(name).main
    options = {"epochs": 3}
    if "folder" in main.__annotations__:
        options["folder"] = str(pictures)
    found = numbers(main(**options))
    assert found
    assert np.isfinite(found).all()
    printed = capsys.readouterr()
    assert len(printed.out.splitlines()) >= 2
    assert printed.err == ""
    assert "nan" not in printed.out
    assert nnfs_gpu.get_backend().name == backend_name  # init() keeps it


# ---- what they show ----
def test_chapter_9_checks_a_gradient(capsys):
    use_backend("numpy")
    losses = program("chapter09").main(epochs=100)
    both = re.findall(r"by \w+: +(-?[\d.]+)", capsys.readouterr().out)
    assert float(both[0]) == pytest.approx(float(both[1]), abs=2e-9)
    assert abs(float(both[0])) > 1e-5  # not two zeros
    assert losses[-1] < losses[0]


def test_chapter_10_ranks_optimizers():
    use_backend("numpy")
    last = program("chapter10").main(epochs=150)
    assert last["Adam"] < last["RMSprop"] < last["SGD"] < 1.0987


def test_chapter_13_needs_scaled_data():
    use_backend("numpy")
    accuracies = program("chapter13").main(epochs=200)
    assert accuracies["raw"] < 0.4 < 0.6 < accuracies["scaled"]


def test_chapter_17_draws_a_sine(capsys):
    values = np.sin(2 * np.pi * np.arange(200) / 200)
    program("chapter17").draw(values, width=8, height=3)
    assert capsys.readouterr().out.splitlines() == [" **     ", "*--**--*", "     ** "]


def test_chapters_19_to_22_learn_from_drawn_pictures(capsys):
    """Without a folder: what is drawn, written and read again can be told apart."""
    use_backend("numpy")
    history = program("chapter19").main(epochs=4)
    assert history["val_accuracy"][-1] > 0.8
    table = program("chapter20").main(epochs=4)
    assert table.sum() == 4 * 30
    assert np.trace(table) > 0.8 * table.sum()
    assert "drawing square, disc, cross, triangle" in capsys.readouterr().out


def test_chapter_21_loads_what_it_saved(pictures):
    use_backend("numpy")
    trained, new, *loaded = program("chapter21").main(epochs=10, folder=str(pictures))
    assert loaded == [trained] * 3
    assert new["loss"] > trained["loss"]


def test_chapter_22_inverts_the_colours(pictures):
    use_backend("numpy")
    truth, right, wrong = program("chapter22").main(epochs=60, folder=str(pictures))
    assert right == truth
    assert wrong != truth


# ---- as commands ----
def command(*arguments, folder, **environment):
    """A finished `python -m nnfs_gpu.examples...` in a folder that is not the project."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", *arguments],
        cwd=folder,
        env=os.environ | {"NNFS_GPU_BACKEND": "numpy"} | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_list_names_all(tmp_path):
    done = command("nnfs_gpu.examples", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert [line.split()[2] for line in lines] == [f"nnfs_gpu.examples.{p}" for p in PROGRAMS]
    assert all(re.search(rf"   Chapter {n}, ", x) for n, x in zip(range(9, 23), lines, strict=True))
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"`(chapter\d\d)\.py`", readme) == PROGRAMS


def test_a_program_as_a_command(tmp_path):
    done = command("nnfs_gpu.examples.chapter14", "--epochs", "2", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["penalty", "none", "L1", "L2"]
    assert list(tmp_path.iterdir()) == []  # nothing is left behind


def test_every_program_is_a_command():
    """The last lines of each file, so that the one started above speaks for all."""
    endings = set()
    for name in PROGRAMS:
        tree = ast.parse((FOLDER / f"{name}.py").read_text(encoding="utf-8"))
        assert ast.get_docstring(tree).startswith(f"Chapter {int(name[-2:])}, ")
        assert "Look at:" in ast.get_docstring(tree)
        endings.add(ast.unparse(tree.body[-1]))
    assert len(endings) == 1
    assert "run(main)" in endings.pop()


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["--epochs", "0"], 2, "got '0', expected a whole number of at least 1"),
        (["--epochs", "many"], 2, "got 'many', expected a whole number"),
        (["--folder", "nowhere"], 1, "nowhere/train: no such folder; expected nowhere/train/<cl"),
        (["--help"], 0, ""),
    ],
)
def test_wrong_options_end_in_one_line(capsys, monkeypatch, tmp_path, arguments, code, text):
    monkeypatch.chdir(tmp_path)
    use_backend("numpy")
    with pytest.raises(SystemExit) as stop:
        examples.run(program("chapter19").main, arguments)
    printed = capsys.readouterr()
    assert stop.value.code == code
    assert text in printed.err
    assert "Traceback" not in printed.err
    if arguments == ["--help"]:
        assert "Chapter 19, a real data set" in printed.out
        assert "(default 5)" in printed.out
