"""Checkpoints: a killed and resumed run ends with the bits of one that was never interrupted.

Processes are really killed (`killed_run.py`), between steps, while a checkpoint is written,
around its rename, and from outside at any moment. Then: what is refused, and by which name.
"""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from interruptions import Fall
from model_programs import X_VAL, Y_VAL, X, Y, network, parameters
from processes import MODULES

from nnfs_gpu import (
    Activation_Softmax,
    Callback,
    EarlyStopping,
    Layer_Dense,
    Model,
    Optimizer_SGD,
    use_backend,
)
from nnfs_gpu.files.tensor_file import ModelFileError
from nnfs_gpu.training.checkpoint import FILE, CheckpointError

PROGRAM = Path(__file__).with_name("killed_run.py")
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
posix = pytest.mark.skipif(os.name != "posix", reason="fork and SIGKILL of POSIX systems")
STEPS = {"epochs": 3, "batch_size": 16, "print_every": None}  # 4 steps an epoch


# ---- killed processes ----
def killed(folder, backend, kind, plan):
    """(kills that happened, the resumed run's result, the whole run's)."""
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(folder), backend, kind, json.dumps(plan)],
        capture_output=True,
        text=True,
        env=os.environ | ONE_THREAD | {"PYTHONPATH": MODULES},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    resumed = json.loads((folder / "result").read_text())
    return printed["kills"], resumed, json.loads(printed["whole"])


RANDOM = random.Random(11)
PLANS = {
    "steps": [f"step {RANDOM.randint(4, 12)}" for _ in range(8)],
    "writes": ["write 1", "write 3", "rename 2", "after 2", "rename 4", "write 2", "after 1"],
    "at once": ["step 1", "write 2", "step 3", "step 3", "step 7", "step 1"],
}


@posix
@pytest.mark.parametrize("kind", ["plain", "shuffled", "regression", "book"])
@pytest.mark.parametrize("plan", PLANS)
def test_a_killed_run_ends_with_the_same_bits(tmp_path, kind, plan):
    kills, resumed, whole = killed(tmp_path, "numpy", kind, PLANS[plan])
    assert kills >= 3
    assert resumed == whole
    assert sorted(os.listdir(tmp_path)) == [FILE, "result"]  # no half-written file is left


@posix
def test_a_run_killed_from_outside_at_any_moment(tmp_path):
    times = [f"time {RANDOM.uniform(0.005, 0.12):.4f}" for _ in range(12)]
    kills, resumed, whole = killed(tmp_path, "numpy", "shuffled", times)
    assert kills >= 2
    assert resumed == whole


@posix
def test_a_killed_run_on_numba(tmp_path):
    kills, resumed, whole = killed(tmp_path, "numba", "shuffled", ["step 5", "write 2", "step 8"])
    assert kills == 3
    assert resumed == whole


# ---- resuming in one process, on every backend ----
def fall(steps, folder, **arguments):
    with pytest.raises(KeyboardInterrupt):
        network().train(X, Y, checkpoint=folder, callbacks=[Fall(steps)], **STEPS | arguments)


@pytest.mark.parametrize("every", [None, 1, 3, 5])
def test_resumed_on_every_backend(backend, tmp_path, every):
    use_backend(backend)
    whole = network()
    expected = whole.train(X, Y, shuffle=True, validation_data=(X_VAL, Y_VAL), **STEPS)
    given = {"shuffle": True, "validation_data": (X_VAL, Y_VAL), "checkpoint_every": every}
    for steps in (5, 2, 4):
        fall(steps, tmp_path, **given)
    model = network()
    history = model.train(X, Y, checkpoint=str(tmp_path), **STEPS | given)
    assert (history.epoch, history.history) == (expected.epoch, expected.history)
    for a, b in zip(parameters(model), parameters(whole), strict=True):
        np.testing.assert_array_equal(a, b)
    assert model.optimizer.iterations == 12


def test_an_empty_folder_begins_and_a_finished_one_trains_nothing(tmp_path):
    use_backend("numpy")
    first, again = network(), network(seed=9)
    history = first.train(X, Y, checkpoint=tmp_path / "new" / "folder", **STEPS)
    repeated = again.train(
        X, Y, checkpoint=tmp_path / "new" / "folder", callbacks=[Fall(1)], **STEPS
    )
    assert repeated.history == history.history
    for a, b in zip(parameters(first), parameters(again), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_run_may_grow(tmp_path):
    use_backend("numpy")
    network().train(X, Y, checkpoint=tmp_path, **STEPS)
    grown, whole = network(), network()
    history = grown.train(X, Y, checkpoint=tmp_path, **STEPS | {"epochs": 7})
    assert history.history == whole.train(X, Y, **STEPS | {"epochs": 7}).history
    with pytest.raises(CheckpointError, match="has 7 epochs already, got epochs=2"):
        network().train(X, Y, checkpoint=tmp_path, **STEPS | {"epochs": 2})


def test_a_checkpoint_is_a_model_file(backend_name, tmp_path):
    use_backend(backend_name)
    fall(7, tmp_path, checkpoint_every=3)
    loaded = Model.load(tmp_path / FILE)
    assert loaded.optimizer.iterations == 6
    other = network(seed=4)
    other.load_parameters(tmp_path / FILE)
    for a, b in zip(parameters(loaded), parameters(other), strict=True):
        np.testing.assert_array_equal(a, b)


def test_how_often_it_is_written(tmp_path, monkeypatch):
    use_backend("numpy")
    for every, expected in (
        (None, [0, 4, 8, 12]),
        (5, [0, 5, 10, 12]),
        (4, [0, 4, 8, 12]),
        (100, [0, 12]),
    ):
        written, model, replace = [], network(), os.replace

        def watch(source, target, written=written, model=model, replace=replace):
            written.append(model.optimizer.iterations)
            replace(source, target)

        monkeypatch.setattr(os, "replace", watch)
        folder = tmp_path / str(every)
        model.train(X, Y, checkpoint=folder, checkpoint_every=every, **STEPS)
        monkeypatch.undo()
        assert sorted(set(written)) == expected


def test_the_folder_stays_where_a_callback_changes_the_current_one(tmp_path, monkeypatch):
    class Goes(Callback):
        def on_epoch_end(self, epoch, logs):
            os.chdir("/")

    use_backend("numpy")
    monkeypatch.chdir(tmp_path)
    model = network()
    model.train(X, Y, checkpoint="run", callbacks=[Goes()], **STEPS)
    assert Model.load(tmp_path / "run" / FILE).optimizer.iterations == model.optimizer.iterations


def test_a_changed_learning_rate_is_kept(tmp_path):
    """A callback that halves the rate: the resumed run has the halved one, and is not refused."""

    class Halve(Callback):
        def on_epoch_end(self, epoch, logs):
            self.model.optimizer.learning_rate /= 2

    use_backend("numpy")
    whole, resumed = network(), network()
    whole.train(X, Y, callbacks=[Halve()], **STEPS)
    with pytest.raises(KeyboardInterrupt):
        network().train(X, Y, checkpoint=tmp_path, callbacks=[Halve(), Fall(10)], **STEPS)
    resumed.train(X, Y, checkpoint=tmp_path, callbacks=[Halve()], **STEPS)
    assert resumed.optimizer.learning_rate == whole.optimizer.learning_rate == 0.05 / 8
    for a, b in zip(parameters(resumed), parameters(whole), strict=True):
        np.testing.assert_array_equal(a, b)


# ---- what is refused ----
OTHERS = {
    "batch_size was 16, is now 17": {"batch_size": 17},
    "shuffle seed was None, is now 0": {"shuffle": True},
    "validation X was None, is now": {"validation_data": (X_VAL, Y_VAL)},
    r"callbacks was \[\], is now \[EarlyStopping\]": {"callbacks": [EarlyStopping("loss")]},
}


@pytest.mark.parametrize("message", OTHERS)
def test_other_settings_are_refused_by_name(tmp_path, message):
    use_backend("numpy")
    fall(6, tmp_path)
    before, model = (tmp_path / FILE).read_bytes(), network(seed=8)
    start = parameters(model)
    with pytest.raises(CheckpointError, match=f"is of another run: {message}"):
        model.train(X, Y, checkpoint=tmp_path, **STEPS | OTHERS[message])
    for a, b in zip(parameters(model), start, strict=True):
        np.testing.assert_array_equal(a, b)
    assert (model.optimizer.iterations, (tmp_path / FILE).read_bytes()) == (0, before)


def test_other_data_are_refused(tmp_path):
    use_backend("numpy")
    fall(6, tmp_path)
    changed, labels = X.copy(), Y.copy()
    changed[31, 1] += 1e-3
    labels[3] = (labels[3] + 1) % 3
    for x, y, message in (
        (changed, Y, "X.sha256 was"),
        (X, labels, "y.sha256 was"),
        (X[:-1], Y[:-1], "X.shape.0 was 50, is now 49"),
        (X, np.eye(3)[Y], r"y.shape was \[50\], is now \[50, 3\]"),
    ):
        with pytest.raises(CheckpointError, match=message):
            network().train(x, y, checkpoint=tmp_path, **STEPS)


def test_another_network_is_refused(tmp_path):
    use_backend("numpy")
    fall(6, tmp_path)
    for model, message in (
        (network(optimizer=Optimizer_SGD()), "optimizer.class was 'Optimizer_Adam', is now"),
        (network(weight_regularizer_l2=0.1), "layers.0.weight_regularizer_l2 was 0, is now 0.1"),
        (network(Layer_Dense(2, 3), Activation_Softmax()), r"layers was \[Layer_Dense, .* is now"),
    ):
        with pytest.raises(CheckpointError, match=message):
            model.train(X, Y, checkpoint=tmp_path, **STEPS)
    use_backend("numpy", dtype="float64")
    with pytest.raises(CheckpointError, match="dtype was 'float32', is now 'float64'"):
        network().train(X, Y, checkpoint=tmp_path, **STEPS)
    use_backend("numba", dtype="float32")
    with pytest.raises(CheckpointError, match="backend was 'numpy', is now 'numba'"):
        network().train(X, Y, checkpoint=tmp_path, **STEPS)


def test_a_damaged_checkpoint_and_other_files(tmp_path):
    use_backend("numpy")
    fall(6, tmp_path)
    path = tmp_path / FILE
    whole = path.read_bytes()
    model = network()
    for content in (b"", whole[:-5], whole[:100], whole.replace(b"0.05", b"0.06"), b"x" * 999):
        path.write_bytes(content)
        with pytest.raises(ModelFileError, match=FILE):
            model.train(X, Y, checkpoint=tmp_path, **STEPS)
        assert path.read_bytes() == content
    model.save(path)
    with pytest.raises(ModelFileError, match="holds 'model', expected a checkpoint"):
        model.train(X, Y, checkpoint=tmp_path, **STEPS)


def test_bad_arguments(tmp_path):
    use_backend("numpy")
    with pytest.raises(ValueError, match="checkpoint_every: needs checkpoint"):
        network().train(X, Y, checkpoint_every=5)
    for every in (0, -1, 1.5, True):
        with pytest.raises((TypeError, ValueError), match="checkpoint_every: got"):
            network().train(X, Y, checkpoint=tmp_path, checkpoint_every=every)
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        network().train(X, Y, checkpoint=tmp_path / "file")
