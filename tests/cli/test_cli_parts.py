"""Parts of the command line, without processes: how fast training was."""

from __future__ import annotations

import signal

import pytest

from nnfs_gpu import Model, Optimizer_SGD
from nnfs_gpu.cli import progress as cli_progress


class _Clock:
    """time.perf_counter that moves when the test says so."""

    now = 0.0

    def perf_counter(self) -> float:
        return self.now


class _Display:
    def __init__(self):
        self.epochs = []

    def begin(self, epochs, samples):
        pass

    def due(self):
        return False

    def epoch(self, epoch, numbers):
        self.epochs.append(numbers)


def test_speed_counts_training_steps_without_the_first_and_without_validation(monkeypatch):
    clock = _Clock()
    monkeypatch.setattr(cli_progress, "time", clock)
    stop = cli_progress.StopRequest()
    watch = cli_progress.TrainingWatch(_Display(), 100, stop, {"seed": 3})
    watch.model = Model()
    watch.on_train_begin({"epochs": 2, "steps": 3, "samples": 250})
    clock.now += 50  # the first step compiles
    watch.on_train_batch_end(0, {"epoch": 1})
    assert watch.samples_per_second == 100 / 50  # nothing better is known yet
    for epoch in (1, 2):
        for batch in range(1 if epoch == 1 else 0, 3):
            clock.now += 2
            watch.on_train_batch_end(batch, {"epoch": epoch})
        clock.now += 1000  # validation
        watch.on_epoch_end(epoch, {"loss": 1.0, "accuracy": 0.5, "val_loss": 1.0})
    assert watch.samples_per_second == pytest.approx((2 * 250 - 100) / (5 * 2))
    assert watch.training_seconds == pytest.approx(50 + 10)
    assert watch.steps == 6
    resumed = cli_progress.TrainingWatch(_Display(), 100, stop, {"seed": 3})
    resumed.model = watch.model
    resumed.on_train_begin({"epochs": 9, "steps": 3, "samples": 250})
    resumed.set_state(watch.get_state())
    assert watch.get_state()["config"] == {"seed": 3}
    assert (resumed.steps, resumed.training_seconds) == (6, watch.training_seconds)
    assert resumed.samples_per_second == watch.samples_per_second  # until it has its own
    clock.now += 30
    resumed.on_train_batch_end(0, {"epoch": 3})
    assert resumed.samples_per_second == 100 / 30
    clock.now += 4
    resumed.on_train_batch_end(1, {"epoch": 3})
    clock.now += 1
    resumed.on_train_batch_end(2, {"epoch": 3})
    assert resumed.samples_per_second == pytest.approx(150 / 5)
    assert resumed.training_seconds == pytest.approx(60 + 35)
    assert not watch.model.stop_training
    stop.signum = signal.SIGINT
    watch.on_train_batch_end(0, {"epoch": 3})
    assert watch.model.stop_training
    watch.model.optimizer = Optimizer_SGD(learning_rate=3.0)
    with pytest.raises(cli_progress.DivergedError, match="lower --learning-rate than 3"):
        watch.on_epoch_end(3, {"loss": float("nan"), "accuracy": 0.5, "val_loss": 1.0})
