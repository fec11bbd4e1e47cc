"""The part of `make gpu-check` that checks the fused step, run with the emulator as the device."""

from __future__ import annotations

import numpy as np
import pytest
from emulation.backend import EmulatedCupyBackend

from bench import gpu_fused
from bench.gpu_steps import Notebook
from nnfs_gpu.fused.cuda import KernelSteps


@pytest.fixture
def backend():
    return EmulatedCupyBackend()


def test_it_finds_the_step_right(backend, monkeypatch):
    monkeypatch.setattr(gpu_fused, "NETS", ((2, 8, 3), (2, 6, 5, 3)))
    monkeypatch.setattr(gpu_fused, "RIGHT", (61,))
    notebook = Notebook()
    gpu_fused.fused_right(notebook, backend)
    assert notebook.found["problems"] == []
    kinds = [record["kind"] for record in notebook.found["records"]]
    assert kinds == ["fused right", "fused repeated"] * 2


def test_it_finds_a_wrong_gradient(backend, monkeypatch):
    class Wrong(KernelSteps):
        def step(self, X, y):
            measured = super().step(X, y)
            self.model.trainable_layers[0].dweights[0, 0] *= 1.01
            return measured

    monkeypatch.setattr(gpu_fused, "FusedSteps", Wrong)
    notebook = Notebook()
    gpu_fused.compare(notebook, backend, (2, 8, 3), 61, "it")
    assert len(notebook.found["problems"]) == 1
    assert "gradients differ" in notebook.found["problems"][0]


def test_it_measures_speed(backend, monkeypatch):
    monkeypatch.setattr(gpu_fused, "ROUNDS", 1)
    monkeypatch.setattr(gpu_fused, "SECONDS", 0.0)
    monkeypatch.setattr(gpu_fused, "find_peers", lambda *_: {})
    notebook = Notebook()
    gpu_fused.measure(notebook, backend, (2, 8, 3), 61)
    (record,) = notebook.found["records"]
    assert record["samples_a_second"] > 0
    assert list(record["seconds_a_step"]) == ["ours"]


def test_the_books_run_is_timed(backend, monkeypatch):
    monkeypatch.setattr(gpu_fused, "ROUNDS", 1)
    monkeypatch.setattr(gpu_fused, "EPOCHS", 3)
    notebook = Notebook()
    gpu_fused.fused_book(notebook, backend)
    (record,) = notebook.found["records"]
    assert np.isfinite(record["milliseconds"])
    assert "accuracy" in notebook.found["problems"][0], "three epochs are not enough"
