"""`crosscheck`: agrees with itself across backends, and notices an operation that is wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from rich.console import Console

from nnfs_gpu import get_backend
from nnfs_gpu.backend import protocol
from nnfs_gpu.backend.numpy_backend import NumpyBackend
from nnfs_gpu.cli import crosscheck as cli_crosscheck
from nnfs_gpu.selftest.crosscheck import BOUNDS, STEPS, Difference, compare, crosscheck
from nnfs_gpu.selftest.operations import OPERATIONS


@pytest.fixture(scope="module")
def differences():
    return crosscheck(get_backend("numba"), get_backend("numpy"))


def test_all_agree(differences):
    assert [d for d in differences if not d.passed] == []


def test_every_operation_is_compared_in_both_dtypes(differences):
    names = {name for name, value in vars(protocol.Backend).items() if callable(value)}
    operations = {n for n in names if not n.startswith("_")}
    assert {line.name for line in OPERATIONS} == operations
    for dtype in ("float32", "float64"):
        compared = {d.operation.split(" (")[0] for d in differences if d.dtype == dtype}
        assert operations < compared
        assert any(name.startswith("training") for name in compared)


class Wrong(NumpyBackend):
    """Mistakes of the size that a bug makes."""

    name = "wrong"

    def softmax_backward(self, dy, y):
        return y * dy  # the diagonal of the Jacobian alone

    def relu_forward(self, x):
        y = super().relu_forward(x)
        y[0, 0] = np.nan
        return y

    def adam_step(self, w, **rest):
        super().adam_step(w, **rest)
        w *= w.dtype.type(1 + 1e-4)

    def argmax(self, x):
        return super().argmax(x).astype(np.int64)  # the values are right, the dtype is not

    def asarray(self, x, dtype=None):
        a = super().asarray(x, dtype)
        return a if np.asarray(x).flags.c_contiguous else a[::-1].copy()

    def all_finite(self, a):
        return not super().all_finite(a)


def test_mistakes_are_noticed():
    found = crosscheck(Wrong(), NumpyBackend())
    failed = {d.operation for d in found if not d.passed}
    # Training uses argmax for its accuracy and the combined gradient: only ReLU's NaN reaches it.
    operations = {"softmax_backward", "relu_forward", "adam_step", "argmax", "asarray"}
    assert failed == {*operations, "all_finite", "linear_relu_forward", *_training(found)}
    assert all(np.isinf(d.units) for d in found if d.operation == "relu_forward")


def _training(found):
    return {d.operation for d in found if d.operation.startswith("training")}


def test_training_takes_twenty_steps_and_the_worst_shape_is_shown():
    class Late(NumpyBackend):
        """Wrong at one shape in the middle."""

        name, steps = "late", 0

        def sum(self, a):
            return super().sum(a) + (a.shape == (257, 10))

        def momentum_step(self, *arguments, **named):
            Late.steps += 1
            super().momentum_step(*arguments, **named)

    line = next(line for line in OPERATIONS if line.name == "sum")
    assert [d.passed for d in compare(line, Late(), NumpyBackend())] == [False, False]
    crosscheck(Late(), NumpyBackend())
    shapes, dtypes, parameters = 5, 2, 4
    assert Late.steps == dtypes * (shapes + STEPS * parameters)
    assert STEPS == 20


def test_bounds_are_small():
    """A bound of thousands of units would pass a wrong formula; only the training run has one."""
    assert max(bound for kind, bound in BOUNDS.items() if kind != "training") <= 64


def test_command(tmp_path):
    command = [sys.executable, "-m", "nnfs_gpu.cli", "crosscheck"]
    done = subprocess.run(
        [*command, "--backend", "numba", "--json", str(tmp_path / "c.json")],
        env=os.environ | {"COLUMNS": "80"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert max(len(line.rstrip()) for line in lines) <= 80
    for line in OPERATIONS:
        mine = [text for text in lines if text[:40].rstrip() == line.label]
        assert [text.split()[-1] for text in mine] == ["pass", "pass"], line.label
    written = json.loads((tmp_path / "c.json").read_text())
    assert (written["backend"], written["against"], written["passed"]) == (
        "numba",
        "numpy",
        True,
    )
    assert {d["passed"] for d in written["differences"]} == {True}
    same = subprocess.run(
        [*command, "--backend", "numpy"], capture_output=True, text=True, check=False
    )
    assert same.returncode == 2
    assert same.stderr.startswith("error:")
    assert "Traceback" not in same.stderr


def test_numbers_of_any_size_leave_the_names_whole(capsys):
    """A backend that is wrong by powers of ten, or infinitely: nothing is cut off."""
    sizes = (0.0, 1.25e-45, 123456.789, 1.7e308, np.inf, np.nan)
    found = [
        Difference(
            max((line.label for line in OPERATIONS), key=len), "float32", x, x, x, x, 4096.0, False
        )
        for x in sizes
    ]
    console = Console(width=80)
    console.print(cli_crosscheck._table("a against b, float32", "float32", found))
    lines = capsys.readouterr().out.splitlines()
    assert "…" not in "".join(lines)
    assert [line.split()[-1] for line in lines[2:]] == ["FAIL"] * len(sizes)


def test_an_absent_backend_is_one_line():
    command = [sys.executable, "-m", "nnfs_gpu.cli", "crosscheck", "--backend", "cupy"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        pytest.skip("this machine has a GPU")
    assert done.returncode == 2
    assert done.stderr.startswith("error: --backend cupy: backend 'cupy' cannot be used")
