"""The part of `make gpu-check` that checks the fused step, run with the emulator as the device."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from emulation.backend import EmulatedCupyBackend
from emulation.emulator import COMPILER

from nnfs_gpu.fused.cuda.engine import KernelSteps
from nnfs_gpu.selftest import timing as benchmark

sys.path.append(str(Path(__file__).resolve().parents[2]))  # `bench` is not installed

from bench.gpu_check import fused as gpu_fused, fused_speed as gpu_fused_speed, report as gpu_report
from bench.gpu_check.notebook import Notebook

pytestmark = pytest.mark.skipif(COMPILER is None, reason="g++ is not installed")


@pytest.fixture
def backend(monkeypatch):
    monkeypatch.setattr(benchmark, "PAUSE", 0.0)
    monkeypatch.setattr(gpu_fused_speed, "ROUNDS", 1)
    monkeypatch.setattr(gpu_fused_speed, "SECONDS", 0.0)
    monkeypatch.setattr(gpu_fused_speed, "COMPILED", ())
    monkeypatch.setattr(gpu_fused, "REPEATED", 3)
    return EmulatedCupyBackend()


def report(notebook):
    step = {"name": "it", "status": "passed", "seconds": 1.0, "summary": ""} | notebook.found
    return gpu_report.markdown({"device": "Paper", "date": "", "state": "", "steps": [step]})


def test_it_finds_the_step_right(backend, monkeypatch):
    monkeypatch.setattr(gpu_fused, "NETS", ((2, 8, 3), (2, 6, 5, 3)))
    monkeypatch.setattr(gpu_fused, "RIGHT", (61,))
    notebook = Notebook()
    gpu_fused.fused_right(notebook, backend)
    assert notebook.found["problems"] == []
    kinds = [record["kind"] for record in notebook.found["records"]]
    assert kinds == ["fused right", "fused right", "fused repeated"] * 2
    text = report(notebook)
    assert "| 2-6-5-3, in blocks | 61 |" in text
    assert "| 2-8-3 | 61 | 3 | same bits |" in text
    assert "| P7 fused steps, one by one and together: the same bits | all | 2 of 2 | met |" in text


@pytest.mark.parametrize("method", ["step", "finish"])
def test_it_finds_a_wrong_gradient(backend, monkeypatch, method):
    class Wrong(KernelSteps):
        pass

    def wrong(self, *arguments):
        measured = getattr(KernelSteps, method)(self, *arguments)
        self.model.trainable_layers[0].dweights[0, 0] *= 1.01
        return measured

    setattr(Wrong, method, wrong)
    monkeypatch.setattr(gpu_fused, "FusedSteps", Wrong)
    notebook = Notebook()
    gpu_fused.compare(notebook, backend, (2, 8, 3), 61, "it")
    assert len(notebook.found["problems"]) == 1
    assert "gradients differ" in notebook.found["problems"][0]


def test_it_measures_speed_beside_pytorch(backend):
    pytest.importorskip("torch")
    notebook = Notebook()
    gpu_fused_speed.measure(notebook, backend, (2, 8, 3), 61)
    assert notebook.found["problems"] == []
    (record,) = notebook.found["records"]
    assert record["samples_a_second"] > 0
    assert record["seconds_a_step"].keys() == {"ours", "torch"}
    assert record["faster_than"].keys() == {"torch"}
    assert "| 2-8-3 | 61 |" in report(notebook)


def test_what_computes_something_else_is_not_timed(backend, monkeypatch):
    def find(notebook, backend, widths, X, y):
        call, found = lambda n: None, [np.ones((2, 8)), np.ones((1, 8)), np.ones((8, 3))]
        return {"wrong": (call, [*found, np.full((1, 3), np.nan)])}

    monkeypatch.setattr(gpu_fused_speed, "find_peers", find)
    notebook = Notebook()
    gpu_fused_speed.measure(notebook, backend, (2, 8, 3), 61)
    assert "wrong, 2-8-3, 61 rows: its gradient differs" in notebook.found["problems"][0]
    assert list(notebook.found["records"][0]["seconds_a_step"]) == ["ours"]


def test_the_books_run_is_timed(backend, monkeypatch):
    monkeypatch.setattr(gpu_fused_speed, "EPOCHS", 3)
    notebook = Notebook()
    gpu_fused_speed.fused_book(notebook, backend)
    (record,) = notebook.found["records"]
    assert np.isfinite(record["milliseconds"])
    assert "accuracy" in notebook.found["problems"][0], "three epochs are not enough"
    assert "| 3 epochs |" in report(notebook)


def goals_of(*records):
    step = {"name": "it", "records": list(records)}
    return {goal["goal"]: goal for goal in gpu_report.goals({"steps": [step]})}


def test_goals_of_the_fused_step():
    speed = {"kind": "fused speed", "net": "2-64-3", "rows": 1_000_000, "goal": 20e9}
    found = goals_of(
        speed | {"samples_a_second": 19e9, "faster_than": {"torch": 13.0}},
        speed | {"net": "2-128-3", "goal": None, "samples_a_second": 9e9, "faster_than": {}},
        {"kind": "fused book", "milliseconds": 26.0, "goal": 30.0},
        {"kind": "fused repeated", "same": True},
        {"kind": "fused repeated", "same": False},
    )
    met = {name: goal["met"] for name, goal in found.items() if name[:2] in ("P4", "P5")}
    assert met == {
        "P4 2-64-3, 1,000,000 samples: samples a second": False,
        "P4 2-64-3, 1,000,000 samples: times PyTorch eager": True,
        "P4 2-64-3, 1,000,000 samples: times torch.compile": None,
        "P5 the book's run of 10,001 epochs, ms": True,
    }
    assert found["P7 fused steps, one by one and together: the same bits"]["measured"] == "1 of 2"
    nothing = goals_of()
    assert all(goal["met"] is None for name, goal in nothing.items() if name[:2] in ("P4", "P5"))
