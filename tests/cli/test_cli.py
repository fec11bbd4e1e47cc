"""`nnfs-gpu train`, `evaluate`, `predict` and `info` as people use them: the real command."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from cli_runs import ESCAPE, assert_png, run, together, trained_once

from nnfs_gpu import Model, get_backend, spiral_bayes_limit, spiral_data, use_backend

RESULTS = ["checkpoint.safetensors", "metrics.json", "model.safetensors"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """See `trained_once`."""
    return trained_once(tmp_path_factory)


# ---- train ----
def test_train_writes_files_that_say_the_same(trained):
    folder, done, _ = trained
    assert sorted(p.name for p in folder.iterdir()) == [
        "checkpoint.safetensors",
        "decision.png",
        "metrics.json",
        "model.safetensors",
    ]
    assert_png(folder / "decision.png")
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["bayes_limit"] == spiral_bayes_limit(3)
    assert metrics["interrupted"] is False
    assert metrics["backend"] == "numpy"
    assert metrics["samples_per_second"] > 0
    assert metrics["epochs_finished"] == 9
    assert metrics["steps"] == 9 * -(-9000 // 64)
    assert metrics["config"] == {
        "samples": 3000,
        "classes": 3,
        "hidden": [64, 48],
        "epochs": 9,
        "batch_size": 64,
        "optimizer": "adam",
        "learning_rate": 0.02,
        "decay": 0.001,
        "backend": "numpy",
        "dtype": "float32",
        "seed": 5,
    }
    assert set(metrics["versions"]) == {"nnfs_gpu", "python", "numpy", "numba", "safetensors"}
    assert metrics["versions"]["numpy"] == np.__version__
    curve = metrics["curve"]
    assert curve["epoch"] == list(range(1, 10))
    for key in ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"):
        assert len(curve[key]) == 9
    assert curve["loss"][-1] < curve["loss"][0]
    # At chance it would be 0.33, and 0.4 to 0.5 if batches held one class each.
    assert 0.8 < metrics["validation_accuracy"] < metrics["bayes_limit"] + 0.02
    # The table repeats the numbers of the file.
    for key in ("train_accuracy", "validation_accuracy", "bayes_limit"):
        assert f" {metrics[key]:.4f} " in done.stdout
    assert f" {metrics['samples_per_second']:,.0f} " in done.stdout


def test_metrics_are_those_of_the_saved_model_on_the_documented_points(trained):
    folder, _, _ = trained
    metrics = json.loads((folder / "metrics.json").read_text())
    with use_backend("numpy", dtype="float32"):
        model = Model.load(folder / "model.safetensors")
        for key, samples, seed in (("train", 3000, 5), ("validation", 3334, 6)):
            X, y = spiral_data(samples, 3, seed=seed)
            accuracy = float((model.predict(X).argmax(axis=1) == y).mean())
            # One point may fall the other way: products round by the batch's size.
            assert metrics[f"{key}_accuracy"] == pytest.approx(accuracy, abs=1.5 / len(y))
    assert metrics["curve"]["val_accuracy"][-1] == pytest.approx(
        metrics["validation_accuracy"], abs=1.5 / 10_000
    )


def test_same_seed_gives_the_same_model_and_json_alone_on_stdout(trained):
    folder, _, again = trained
    metrics = json.loads(again.stdout)  # nothing but JSON on stdout
    other = folder.parent.parent / "again"
    assert sorted(p.name for p in other.iterdir()) == RESULTS
    assert metrics == json.loads((other / "metrics.json").read_text())
    with use_backend("numpy", dtype="float32"):
        models = [Model.load(place / "model.safetensors") for place in (folder, other)]
    for mine, its in zip(*(model.get_parameters() for model in models), strict=True):
        np.testing.assert_array_equal(mine[0], its[0])
        np.testing.assert_array_equal(mine[1], its[1])
    assert "validation accuracy" in again.stderr
    assert "epoch 9/9" in again.stderr


def test_no_terminal_codes_in_pipes_and_one_line_an_epoch(trained):
    _, done, again = trained
    for text in (done.stdout, done.stderr, again.stdout, again.stderr):
        assert ESCAPE not in text
        assert "\r" not in text
    lines = re.findall(r"^epoch (\d)/9  loss \d\.\d{4}  accuracy 0\.", done.stdout, re.MULTILINE)
    assert lines == list("123456789")
    assert done.stderr == ""


def test_default_backend_one_epoch_and_other_choices(tmp_path):
    """The defaults that the other tests replace: a backend by `auto`, three optimizers."""
    small = ("train", "--samples", 50, "--epochs", 1, "--json", "-", "--no-plot", "--out")
    auto = ("--backend", "auto")
    sgd, adagrad, rmsprop, wide = together(
        (*small, tmp_path / "a", "--optimizer", "sgd", *auto),
        (*small, tmp_path / "b", "--optimizer", "adagrad", "--learning-rate", 0.25),
        (*small, tmp_path / "c", "--optimizer", "rmsprop", "--decay", 0, "--dtype", "float64"),
        (*small, tmp_path / "d", "--classes", 300),
    )
    for done, optimizer, rate, decay in (
        (sgd, "sgd", 0.5, 1e-3),
        (adagrad, "adagrad", 0.25, 0),
        (rmsprop, "rmsprop", 0.01, 0),
        (wide, "adam", 0.01, 1e-3),
    ):
        assert done.returncode == 0, done.stderr
        config = json.loads(done.stdout)["config"]
        assert (config["optimizer"], config["learning_rate"], config["decay"]) == (
            optimizer,
            rate,
            decay,
        )
    assert json.loads(rmsprop.stdout)["config"]["dtype"] == "float64"
    assert json.loads(sgd.stdout)["backend"] == get_backend("auto").name
    assert json.loads(wide.stdout)["backend"] == "numpy"  # NNFS_GPU_BACKEND says so
    assert json.loads(wide.stdout)["bayes_limit"] == spiral_bayes_limit(300)
    with use_backend("numpy"):
        assert Model.load(tmp_path / "c" / "model.safetensors").backend.dtype == np.float64
        assert Model.load(tmp_path / "d" / "model.safetensors").layers[-2].n_neurons == 300


# ---- evaluate ----
def test_evaluate_takes_folder_or_file_and_fresh_points(trained, tmp_path):
    folder, _, _ = trained
    target = tmp_path / "e.json"
    same, fresh, validation = together(
        ("evaluate", folder, "--samples", 3334, "--seed", 6, "--json", "-"),
        ("evaluate", folder / "model.safetensors", "--json", target),
        ("evaluate", folder, "--samples", 3000, "--seed", 5, "--backend", "numba", "--json", "-"),
    )
    metrics = json.loads((folder / "metrics.json").read_text())
    found = json.loads(same.stdout)
    assert found["accuracy"] == metrics["validation_accuracy"]
    assert found["loss"] == pytest.approx(metrics["validation_loss"], rel=1e-6)
    assert found["bayes_limit"] == spiral_bayes_limit(3)
    other = json.loads(target.read_text())
    assert other["seed"] > 2**32  # no seed of train, nor of its validation points
    assert other["accuracy"] not in (metrics["validation_accuracy"], metrics["train_accuracy"])
    assert abs(other["accuracy"] - metrics["validation_accuracy"]) < 0.02
    assert f" {other['accuracy']:.4f} " in fresh.stdout
    assert f" {other['loss']:.4f} " in fresh.stdout
    assert "0.9098" in fresh.stdout
    # On another backend the training points give the training accuracy.
    by_numba = json.loads(validation.stdout)
    assert by_numba["backend"] == "numba"
    assert by_numba["accuracy"] == pytest.approx(metrics["train_accuracy"], abs=3 / 9000)


# ---- predict ----
def test_predict_is_the_same_from_csv_npy_and_stdin(trained, tmp_path):
    folder, _, _ = trained
    rows = np.random.default_rng(0).uniform(-1, 1, (50, 2)).astype(np.float32)
    text = "x,y\n" + "".join(f"{x!r}, {y!r}\n" for x, y in rows.tolist())
    (tmp_path / "rows.csv").write_text(text)
    np.save(tmp_path / "rows.npy", rows)
    target = tmp_path / "out.csv"
    from_csv = run("predict", folder, tmp_path / "rows.csv")
    from_npy = run("predict", folder, tmp_path / "rows.npy", "--output", target)
    bare = text.split("\n", 1)[1].replace("\n", "\r\n")
    bare = "\ufeff" + bare  # no header, and the beginning and line ends that Excel writes
    from_stdin = run("predict", folder, "-", stdin=bare.encode())
    for done in (from_csv, from_npy, from_stdin):
        assert (done.returncode, done.stderr) == (0, "")
    assert from_npy.stdout == ""
    assert target.read_text() == from_csv.stdout == from_stdin.stdout
    header, *lines = csv.reader(io.StringIO(from_csv.stdout))
    assert header == ["class", "p0", "p1", "p2"]
    with use_backend("numpy", dtype="float32"):
        expected = Model.load(folder / "model.safetensors").predict(rows)
    found = np.array([line[1:] for line in lines]).astype(np.float32)
    np.testing.assert_array_equal(found, expected)  # 9 digits give a float32 back, bit for bit
    assert [int(line[0]) for line in lines] == expected.argmax(axis=1).tolist()


# ---- info, help, imports ----
def test_info_lists_backends_and_versions():
    done, machine = together(("info",), ("info", "--json", "-"))
    found = json.loads(machine.stdout)
    assert found["backends"]["numpy"]["usable"] is True
    assert np.__version__ in found["backends"]["numpy"]["reason"]
    for status in found["backends"].values():
        assert status["usable"] or (status["reason"] and status["remedy"])
    usable = [name for name, status in found["backends"].items() if status["usable"]]
    assert found["auto"] == usable[0]
    assert 1 <= found["usable_cpus"] <= found["cpus"] == os.cpu_count()
    assert found["versions"]["numpy"] == np.__version__
    assert found["mpi"].startswith("mpi4py ")  # its version, or what is missing
    assert found["nccl"]
    for row in ("MPI", "NCCL"):
        assert re.search(rf"│ {row} +│ \S", done.stdout)
    assert ESCAPE not in done.stdout
    for name in found["backends"]:
        assert name in done.stdout
    assert found["cuda_driver"].split()[0] in done.stdout


def test_help_explains_and_no_command_shows_it():
    bare, of_train, version = together((), ("train", "--help"), ("--version",))
    assert (bare.returncode, of_train.returncode) == (0, 0)
    for name in ("train", "evaluate", "predict", "info"):
        assert f" {name} " in bare.stdout
    words = " ".join(of_train.stdout.replace("│", " ").split())
    assert "100000" in words
    assert "of each class" in words or "each class" in words
    assert re.fullmatch(r"nnfs-gpu \d+\.\d+\.\d+\S*\n", version.stdout)


def test_imports_stay_light():
    """The package does not load the command line; its help loads neither Numba nor Matplotlib."""
    code = """
import sys, nnfs_gpu
heavy = {"typer", "rich", "matplotlib", "numba", "nnfs_gpu.cli.app"} & set(sys.modules)
assert not heavy, heavy
sys.argv = ["nnfs-gpu", "train", "--help"]
from nnfs_gpu.cli.app import main
try:
    main()
except SystemExit as end:
    assert end.code == 0
heavy = {"matplotlib", "numba", "matplotlib.pyplot"} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
