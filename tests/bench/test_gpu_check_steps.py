"""Every step of `make gpu-check` runs to its end here, without a GPU, at tiny sizes.

Proves: no wrong name or argument is left for the machine with the GPU; every operation and every
kernel is timed, checked and watched; wrong results are reported, and not timed.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from paper import PaperBackend, PaperCupy, stand_in

import nnfs_gpu
from nnfs_gpu.backend import BackendUnavailableError
from nnfs_gpu.backend.numpy_backend import NumpyBackend
from nnfs_gpu.selftest import crosscheck, timing as benchmark

sys.path.append(str(Path(__file__).resolve().parents[2]))  # `bench` is not installed

from bench import cases as gpu_cases
from bench.gpu_check import (
    accuracy as gpu_kernels,
    exercise as gpu_exercise,
    notebook,
    plan as gpu_plan,
    report as gpu_report,
    run as gpu_run,
    speed as gpu_speed,
    steps as gpu_steps,
)
from bench.gpu_check.notebook import DeviceLostError, Notebook


@pytest.fixture
def paper(monkeypatch):
    """The emulated backend, found under the names of the GPU's, and tiny sizes."""
    stand_in(monkeypatch.setattr, monkeypatch.setitem)
    settings = {"dtype": "float32", "precise_dot": False, "book_random": False}
    return nnfs_gpu.get_backend("cupy", **settings)


# ---- every step, to its end ----
MEASURED = {
    "environment": {"nvidia-smi", "software", "backend", "library", "device"},
    "crosscheck-cupy": {"crosscheck"},
    "crosscheck-numba": {"crosscheck"},
    "crosscheck-numba-cuda": {"crosscheck"},
    "exercise": {"exercise"},
    "exercise-fused": {"exercise"},
    "accuracy": {"accuracy", "beyond"},
    "throughput": {"copy", "throughput"},
    "launches": {"launch"},
    "determinism": {"determinism"},
    "fused-right": {"fused right", "fused repeated"},
    "fused-speed": {"fused speed"},
    "fused-book": {"fused book"},
    "training": {"losses", "final accuracy", "speed"},
}


# Copies and questions, which no kernel of ours answers.
NOT_TIMED = {"asarray", "to_numpy", "zeros", "copy", "synchronize", "all_finite"}

SECTIONS = {  # of the report, by the step that fills them
    "accuracy": "Accuracy",
    "throughput": "Throughput",
    "fused-right": "Fused",
    "fused-speed": "Fused",
    "fused-book": "Fused",
    "launches": "CPU time",
    "training": "Training",
    "crosscheck-cupy": "crosscheck",
    "crosscheck-numba": "crosscheck",
    "crosscheck-numba-cuda": "crosscheck",
}


@pytest.fixture
def no_torch(monkeypatch):
    found = gpu_speed.importlib.util.find_spec
    spec = lambda name: None if name == "torch" else found(name)  # noqa: E731
    monkeypatch.setattr(gpu_speed.importlib.util, "find_spec", spec)


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize("name", MEASURED)
def test_every_step_runs_to_its_end(name, paper, no_torch, tmp_path):
    status = gpu_steps.main([name, "--json", str(tmp_path / "f.json"), "--seconds", "600"])
    found = json.loads((tmp_path / "f.json").read_text())
    assert found["problems"] == []
    assert found["cuts"] == []
    assert {record["kind"] for record in found["records"]} == MEASURED[name]
    assert status == 0
    if name == "exercise":
        assert set(found["records"][0]["kernels"]) == gpu_exercise.kernel_names()
    results = {"device": "Paper", "date": "today", "state": "finished"}
    step = {"name": name, "status": "passed", "seconds": 1.0, "summary": "", "log_tail": ""}
    text = gpu_report.markdown(results | {"steps": [step | found]})
    for part in text.split("\n## "):
        title = SECTIONS.get(name)
        assert not (title and part.startswith(title) and "(nothing measured)" in part)


@pytest.mark.usefixtures("compiler")
def test_the_rehearsal_runs_the_steps_in_their_own_processes(tmp_path):
    """`make gpu-check ARGS="--rehearse ..."`, two steps of it: on the emulated device, timed."""
    command = [sys.executable, "-m", "bench.gpu_check", "--rehearse", "--minutes", "2"]
    command += ["--only", "environment,fused-right", "--out", str(tmp_path / "out")]
    done = subprocess.run(
        [*command, "--work", str(tmp_path / "work")],
        cwd=gpu_plan.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert gpu_report.NO_FIGURES in done.stdout
    (file,) = (tmp_path / "out").glob("*.json")
    steps = json.loads(file.read_text())["steps"]
    assert [(step["name"], step["status"]) for step in steps] == [
        ("environment", "passed"),
        ("fused-right", "passed"),
    ]
    assert all(step["seconds"] > 0 for step in steps)
    backends = {r["name"]: r for r in steps[0]["records"] if r["kind"] == "backend"}
    assert "run by g++" in backends["cupy"]["found"]


def test_every_part_of_the_plan_is_a_step_that_exists():
    for step in (*gpu_plan.STEPS, *gpu_plan.EXTRA):
        command = step.command(Path("f.json"), 60.0)
        if step.name == "tests":
            assert "pytest" in command
            assert "--continue-on-collection-errors" in command
        elif not isinstance(command, str):
            assert command[command.index("bench.gpu_check.steps") + 1] in MEASURED
    assert sum(step.least for step in gpu_plan.STEPS) <= 9 * 60
    assert all(step.least <= step.most for step in gpu_plan.STEPS)


@pytest.mark.usefixtures("compiler")
def test_every_operation_and_every_kernel_is_timed(paper):
    timed = {case.operation for case in gpu_cases.CASES}
    assert timed == {line.name for line in crosscheck.OPERATIONS} - NOT_TIMED


@pytest.mark.usefixtures("compiler")
def test_pytorch_computes_the_same(paper):
    torch = pytest.importorskip("torch")
    notebook = Notebook()
    clock = benchmark.clock_of(paper)
    gpu_speed.throughput(notebook, [paper], torch, clock, 1 << 13, (3, 33), 1)
    assert notebook.found["problems"] == []
    ratios = {
        record["name"]: record["contenders"]["cupy"]["faster_than"]
        for record in notebook.found["records"]
        if record["kind"] == "throughput"
    }
    with_peer = {case.name for case in gpu_cases.CASES if case.peers}
    assert {name for name, found in ratios.items() if found} == with_peer
    assert set(ratios["adam_step"]) == {"torch", "torch foreach"}


def test_a_backend_that_cannot_work_is_a_failure_only_where_it_is_checked(tmp_path, monkeypatch):
    """numba-cuda may lack a NumPy that it knows: that step is then left out, with the reason."""

    def refuse(name, **settings):
        raise BackendUnavailableError(f"backend {name!r} cannot be used: NumPy 2.5")

    monkeypatch.setattr(gpu_steps, "get_backend", refuse)
    for name, status in (("crosscheck-numba-cuda", 0), ("crosscheck-cupy", 1)):
        assert gpu_steps.main([name, "--json", str(tmp_path / "f.json")]) == status
        found = gpu_run.nothing(gpu_plan.STEPS[0]) | json.loads((tmp_path / "f.json").read_text())
        judged = gpu_run._judge(gpu_plan.STEPS[0], status, "", found, 9.0)
        assert judged["status"] == ("failed" if status else "unavailable")
        assert "NumPy 2.5" in judged["summary"]


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize("name", ["determinism", "throughput"])
def test_what_is_measured_beside_cupy_may_be_missing(name, paper, tmp_path, monkeypatch):
    made = gpu_steps.get_backend

    def refuse(name, **settings):
        if name == "numba-cuda":
            raise BackendUnavailableError(f"backend {name!r} cannot be used: NumPy 2.5")
        return made(name, **settings)

    monkeypatch.setattr(notebook, "get_backend", refuse)  # which asks for numba-cuda
    assert gpu_steps.main([name, "--json", str(tmp_path / "f.json")]) == 0
    found = json.loads((tmp_path / "f.json").read_text())
    assert found["problems"] == []
    assert any("NumPy 2.5" in note for note in found["notes"])


# ---- wrong results ----
class Wrong(PaperBackend):
    """Mistakes of the kinds that GPUs make: nothing written, another order, wild reads."""

    calls = 0

    def relu_forward(self, x):
        return np.full_like(x, np.nan)

    def softmax_backward(self, dy, y):
        dx = super().softmax_backward(dy, y)
        dx[-1, -1] += 1e-3
        return dx

    def mean(self, a):
        Wrong.calls += 1
        return super().mean(a) * np.float32(1 + Wrong.calls * 1e-6)

    def sigmoid_forward(self, x):
        raise RuntimeError("illegal address\nmore")


@pytest.fixture
def few(monkeypatch):
    names = ("relu_forward", "softmax_backward", "mean", "sigmoid_forward", "sigmoid_backward")
    table = tuple(line for line in crosscheck.OPERATIONS if line.name in names)
    monkeypatch.setattr(crosscheck, "OPERATIONS", table)
    cases = tuple(case for case in gpu_cases.CASES if case.name in names)
    monkeypatch.setattr(gpu_speed, "CASES", cases)


@pytest.mark.usefixtures("compiler")
def test_wrong_results_are_reported_and_not_timed(few):
    wrong, books = Wrong(), [Notebook() for _ in range(4)]
    clock = benchmark.clock_of(wrong)
    gpu_kernels.accuracy(books[0], wrong, 1_000, (3,))
    gpu_speed.throughput(books[1], [wrong], None, clock, 1 << 13, (3,), 1)
    gpu_kernels.determinism(books[2], wrong, ((5, 3),), 3)
    gpu_steps.cross_check(books[3], wrong, NumpyBackend())
    found = ["\n".join(book.found["problems"]) for book in books]
    for text in (found[0], found[1], found[3]):
        assert "relu_forward" in text
        assert "softmax_backward" in text
    assert "sigmoid_backward" not in "".join(found)
    assert all("RuntimeError: illegal address" in text for text in found)
    assert "mean" in found[2]
    assert "relu" not in found[2]
    timed = [r for r in books[1].found["records"] if r["kind"] == "throughput"]
    contenders = {record["name"]: set(record["contenders"]) for record in timed}
    assert contenders["sigmoid_backward"] == {"cupy"}
    assert contenders["relu_forward"] == contenders["softmax_backward"] == set()


def test_nan_and_shapes_never_pass():
    one = np.ones((2, 2), np.float32)
    assert gpu_kernels.units_of(one, one, 1.0) == 0
    assert gpu_kernels.units_of(one * np.nan, one, 1.0) == np.inf
    assert gpu_kernels.units_of(one, one * np.nan, 1.0) == np.inf
    assert gpu_kernels.units_of(one + np.float32(2**-23), one, 1.0) == 1
    with pytest.raises(AssertionError, match="shape"):
        gpu_kernels.units_of(one, np.ones(2), 1.0)


def test_little_memory_and_a_late_hour_are_said(paper, monkeypatch):
    monkeypatch.setattr(paper, "xp", PaperCupy(free=1 << 16))
    monkeypatch.setattr(crosscheck, "OPERATIONS", crosscheck.OPERATIONS[8:9])
    notebook = Notebook()
    gpu_kernels.accuracy_step(notebook, paper)
    assert "GiB free" in notebook.found["notes"][0]
    ticks = iter(range(100))
    notebook = Notebook(None, 2, lambda: next(ticks))
    gpu_kernels.determinism(notebook, paper, ((5, 3),) * 9, 2)
    assert len(notebook.found["records"]) == 1
    assert "determinism from" in notebook.found["cuts"][0]


def test_a_lost_device_ends_the_step():
    def raises():
        raise RuntimeError("unspecified launch failure")

    notebook = Notebook()
    with (
        pytest.raises(DeviceLostError, match="lost after relu"),
        notebook.attempt("relu", SimpleNamespace(synchronize=raises)),
    ):
        pass
    assert notebook.found["problems"] == ["relu: RuntimeError: unspecified launch failure"]
