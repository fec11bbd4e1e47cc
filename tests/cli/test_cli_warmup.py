"""`nnfs-gpu warmup`: after it nothing that runs is compiled any more."""

import json
import os
import re
import subprocess
import sys

import pytest

from nnfs_gpu import fused
from nnfs_gpu.backend import kept_code
from nnfs_gpu.backend.kept_code import cache_folders
from nnfs_gpu.cli import warmup as cli_warmup
from nnfs_gpu.fused.plan import MOST_PRODUCTS
from nnfs_gpu.kernels.cpu import cache
from nnfs_gpu.kernels.fused_cpu.step import train as fused_train
from nnfs_gpu.selftest import warmup

TRAINING = """
import numpy as np
from nnfs_gpu import *
use_backend("numba")
X, y = spiral_data(samples=50, classes=3, seed=0)
for engine in ("fused", "layers"):
    model = Model()
    for layer in (Layer_Dense(2, 7), Activation_ReLU(), Layer_Dense(7, 3), Activation_Softmax()):
        model.add(layer)
    model.set(loss=Loss_CategoricalCrossentropy(), optimizer=Optimizer_Adagrad(),
              accuracy=Accuracy_Categorical())
    model.finalize()
    model.train(X, y, epochs=2, batch_size=32, shuffle=True, print_every=None, engine=engine)
    model.evaluate(X, y)
"""


def command(*arguments):
    run = subprocess.run(
        [sys.executable, "-m", "nnfs_gpu.cli", *arguments],
        capture_output=True,
        text=True,
        env=os.environ | {"COLUMNS": "200"},
    )
    assert run.returncode == 0, run.stderr
    return run


def test_afterwards_a_run_compiles_nothing():
    run = command("warmup", "--backend", "numba", "--dtype", "float32", "--json", "-")
    found = json.loads(run.stdout)
    assert [part["what"] for part in found["parts"]] == [
        "operations",
        "fused step",
        "fused step of one narrow layer",
    ]
    folder = cache_folders("numba")[0]
    assert found["caches"][0]["folder"] == str(folder)
    assert found["caches"][0]["files"] > 30
    assert str(folder) in run.stderr
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    subprocess.run([sys.executable, "-c", TRAINING], check=True, capture_output=True)
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_the_key_of_a_cache_is_of_versions_processor_and_kernels(monkeypatch):
    printed = command("warmup", "--backend", "numba", "--key").stdout
    assert printed == f"{kept_code.cpu_key()}\n"
    assert re.fullmatch(
        r"[a-z0-9._-]+-py3\.\d+\.\d+-numba[\d.a-z]+-[a-z0-9_.-]+-[0-9a-f]{16}\n", printed
    )
    monkeypatch.setattr(cache, "stamp", lambda: "other kernels")
    assert kept_code.cpu_key()[:-16] == printed[:-17]
    assert kept_code.cpu_key() != printed[:-1]


def test_a_key_is_for_kernels_of_the_processor():
    refused = subprocess.run(
        [sys.executable, "-m", "nnfs_gpu.cli", "warmup", "--backend", "numpy", "--key"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "--key: got the backend numpy, expected numba" in refused.stderr


def test_numpy_compiles_nothing():
    found = json.loads(command("warmup", "--backend", "numpy", "--json", "-").stdout)
    assert [part["what"] for part in found["parts"]] == ["operations"] * 2
    assert found["caches"] == []


def test_every_narrow_shape_is_among_the_small_networks(monkeypatch):
    """As the plan chooses them, whatever its limit is."""
    seen = set()

    def noted(layers, loss, output, accuracy, optimizer, y=None):
        seen.add((layers[0].n_inputs, layers[-1].n_neurons - 1))

    monkeypatch.setattr(warmup, "_step", noted)
    warmup._narrow(None)
    most = range(1, MOST_PRODUCTS)
    assert seen == {(i, d) for i in most for d in most if (i + 1) * d <= MOST_PRODUCTS}


def test_a_part_for_every_backend_that_has_a_fused_engine():
    assert "numba" in fused.ENGINES
    assert fused_train._cache.folders[0].folder in cache_folders("numba")


def test_an_unknown_backend_is_a_wrong_command():
    run = subprocess.run(
        [sys.executable, "-m", "nnfs_gpu.cli", "warmup", "--backend", "nothing"],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 2
    assert "expected one of" in run.stderr


@pytest.mark.parametrize("folder", ["missing", "file"])
def test_a_cache_that_is_no_folder_has_no_files(tmp_path, folder):
    if folder == "file":
        (tmp_path / folder).touch()
    assert cli_warmup._files(tmp_path / folder) == {}
