"""Data in blocks on a device whose arrays do not mix with NumPy's: what crosses over."""

import shutil

import numpy as np
import pytest
from blocks_networks import (
    LABELS,
    POINTS,
    VALUES,
    N,
    assert_same,
    classifier,
    regression,
    source,
    state,
)
from device_arrays import DeviceArray, DeviceBackend

import nnfs_gpu as ng
from nnfs_gpu.data.sources import Blocks

QUIET = {"print_every": None}


class Counting(DeviceBackend):
    """Writes down the shapes of what is copied to the device and back."""

    def __init__(self, *arguments, **settings):
        super().__init__(*arguments, **settings)
        self.copied_in, self.copied_out = [], []

    def asarray(self, x, dtype=None):
        if not isinstance(x, DeviceArray):
            self.copied_in.append(np.shape(x))
        return super().asarray(x, dtype)

    def to_numpy(self, a):
        self.copied_out.append(a.shape)
        return super().to_numpy(a)

    def crossed(self):
        """(in, out) since the last call, without numbers."""
        found = [shape for shape in self.copied_in if shape], [s for s in self.copied_out if s]
        self.copied_in, self.copied_out = [], []
        return found


@pytest.fixture
def device():
    backend = Counting(np.float64)
    ng.use_backend(backend)
    return backend


@pytest.fixture
def mapped(tmp_path, monkeypatch):
    """Memory maps of data and labels, and blocks of 300 rows."""
    monkeypatch.setattr("nnfs_gpu.data.blockwise.block_rows", lambda model: 300)
    monkeypatch.setattr("nnfs_gpu.training.inference.block_rows", lambda model: 300)
    np.save(tmp_path / "X.npy", POINTS.astype(np.float32))
    np.save(tmp_path / "y.npy", LABELS)
    return [np.load(tmp_path / name, mmap_mode="r") for name in ("X.npy", "y.npy")]


def step(make, X, y=None, **arguments):
    model = make()
    history = model.train(X, y, **QUIET | arguments)
    return state(model), history.history


@pytest.mark.parametrize("make_y", [(classifier, LABELS), (regression, VALUES)])
def test_a_step_in_blocks(device, make_y):
    make, y = make_y
    found, history = step(make, source(y=y))
    ng.use_backend("numpy", dtype="float64")
    expected, numbers = step(make, POINTS, y)
    assert_same(found, expected, 1e-12)
    assert_same(history, numbers, 1e-12)


@pytest.mark.parametrize(
    "arguments", [{}, {"batch_size": 100}, {"shuffle": True, "batch_size": 350}]
)
def test_memory_maps(device, mapped, arguments):
    found, history = step(classifier, *mapped, epochs=2, **arguments)
    ng.use_backend("numpy", dtype="float64")
    X, y = mapped
    expected, numbers = step(classifier, np.array(X), np.array(y), epochs=2, **arguments)
    assert_same(found, expected, 1e-10)
    assert_same(history, numbers, 1e-10)


class Watch(ng.Callback):
    """What crossed over in each epoch."""

    def __init__(self, device):
        self.device, self.epochs = device, []

    def on_train_begin(self, logs):
        self.device.crossed()

    def on_train_batch_end(self, batch, logs):
        self.epochs.append(self.device.crossed())


def test_rows_cross_over_once_an_epoch_and_nothing_comes_back(device, mapped):
    """After the first pass, which looks at the labels on the host."""
    watch = Watch(device)
    classifier().train(*mapped, epochs=2, callbacks=[watch], **QUIET)
    rows = [(300, 4), (300,), (300, 4), (300,), (100, 4), (100,)]
    assert watch.epochs == [(rows, [])] * 2


def test_points_made_on_the_device_do_not_cross(device):
    """Only labels come back, to be looked at, in the first epoch."""
    watch = Watch(device)
    blocks = Blocks([(device.asarray(X), device.asarray(y, np.int32)) for X, y in source()], N)
    classifier().train(blocks, epochs=3, callbacks=[watch], **QUIET)
    (copied_in, copied_out), *later = watch.epochs
    assert copied_in == []
    assert copied_out == [(rows,) for rows in (150, 1, 300, 150, 1, 98)]
    assert later == [([], [])] * 2


def test_predict_and_evaluate(device, mapped):
    X, y = mapped
    model = classifier()
    outputs = model.predict(X)
    assert (type(outputs), outputs.shape) == (np.ndarray, (N, 3))
    np.testing.assert_array_equal(outputs, model.predict(np.array(X)))
    found = model.evaluate(X, y, verbose=False)
    assert found == pytest.approx(
        model.evaluate(np.array(X), np.array(y), verbose=False), rel=1e-12
    )


# ---- the fused step on a GPU, its kernels run by the emulator ----
@pytest.mark.skipif(shutil.which("g++") is None, reason="g++ compiles the kernels for the CPU")
@pytest.mark.parametrize("dropout", [None, 0.2])
def test_the_fused_step_takes_blocks_and_many_epochs(dropout):
    from emulation.backend import EmulatedCupyBackend

    class Cupy(EmulatedCupyBackend):
        name = "cupy"  # which has a fused step

    def trained(backend, *given, **arguments):
        ng.use_backend(backend)
        return step(lambda: classifier(dropout=dropout), *given, **arguments)

    device, host = Cupy(np.float64), ng.get_backend("numpy", dtype="float64")
    for batch_size in (None, 320):
        arguments = {"batch_size": batch_size, "epochs": 2}
        found, history = trained(device, source(), engine="fused", **arguments)
        expected, numbers = trained(host, POINTS, LABELS, **arguments)
        assert_same(found, expected, 1e-9)
        assert_same(history, numbers, 1e-9)
    found, history = trained(device, POINTS, LABELS, engine="fused", epochs=7)  # one call
    expected, numbers = trained(host, POINTS, LABELS, epochs=7)
    assert_same(found, expected, 1e-9)
    assert_same(history, numbers, 1e-9)
