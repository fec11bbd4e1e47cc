"""The fused step on the CPU among its surroundings: what may change between two steps, blocks of
a batch, memory, that a network learns, and that a second process compiles nothing.
"""

import json
import os
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from fused_state import (
    TOLERANCE,
    assert_gradients,
    backend_of,
    copy_state,
    gradients,
    layer_steps,
    parameters,
    trained,
)
from networks import Network, model_of
from numba.core.runtime import _nrt_python, rtsys
from processes import MODULES

import nnfs_gpu as ng
from nnfs_gpu import fused


# ---- what may change between two steps ----
def test_changes_between_steps_count():
    """Rates, penalties, dropout's share, assigned arrays and arrays changed in place."""
    network = Network((2, 20, 3), activation="sigmoid", keep=0.5, l2=0.001)
    backend = backend_of("float64")
    oracle, slow = layer_steps(network, backend)
    model = network.model(backend)
    X, y = network.data(oracle, 60)
    engine = fused.engine(model)

    def change(m):
        m.optimizer.learning_rate = 0.03
        m.optimizer.beta_1 = 0.8
        m.layers[0].weight_regularizer_l1 = 0.01
        m.layers[2].rate = 0.8
        m.layers[0].weights = m.layers[0].weights * 1.5
        m.layers[3].biases[0, 0] += 1.0

    for alter in (lambda m: None, change, lambda m: None):
        alter(oracle)
        alter(model)
        want, got = slow.step(X, y), engine.step(X, y)
        np.testing.assert_allclose(got, [float(v) for v in want], rtol=1e-12)
        for a, b in zip(parameters(model), parameters(oracle), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def test_arrays_are_updated_in_place():
    network = Network((2, 5, 3))
    model = network.model(backend_of("float32"))
    X, y = network.data(model, 30)
    weights = model.layers[0].weights
    before = weights.copy()
    fused.engine(model).step(X, y)
    assert model.layers[0].weights is weights
    assert (weights != before).any()


def test_nan_in_the_data_shows():
    network = Network((2, 5, 3))
    model = network.model(backend_of("float32"))
    X, y = network.data(model, 30)
    X[3, 1] = np.nan
    loss, _, _ = fused.engine(model).step(X, y)
    assert np.isnan(loss)
    assert np.isnan(model.layers[0].weights).any()


def test_a_label_out_of_range_is_nan_and_never_an_index():
    network = Network((2, 5, 3))
    for label in (-1, 3, 2**31 - 1):
        model = network.model(backend_of("float32"))
        X, y = network.data(model, 30)
        y.values[4] = label
        assert np.isnan(fused.engine(model).step(X, y)[0])


def test_bad_batches_are_refused():
    network = Network((2, 5, 3))
    model = network.model(backend_of("float32"))
    X, y = network.data(model, 30)
    engine = fused.engine(model)
    with pytest.raises(ValueError, match=r"X: got shape \(30, 3\), expected \(samples, 2\)"):
        engine.step(np.zeros((30, 3), np.float32), y)
    with pytest.raises(ValueError, match=r"y: got shape \(29,\)"):
        engine.step(X, y[:29])
    with pytest.raises(ValueError, match="dtype int64"):
        engine.step(X, np.zeros(30, np.int64))
    model.layers[0].weights.flags.writeable = False
    with pytest.raises(ValueError, match="weights: expected a writeable"):
        engine.step(X, y)


# ---- blocks of a batch ----
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_blocks_of_a_batch_are_the_batch(dtype):
    """Masks too: a block's rows are the rows of the batch."""
    network = Network((3, 40, 4), activation="sigmoid", keep=0.7, l1=1e-3)
    oracle, slow = layer_steps(network, backend_of(dtype))
    model = network.model(backend_of(dtype))
    exact, exact_steps = layer_steps(network, backend_of("float64"))
    X, y = network.data(oracle, 2000)
    engine = fused.engine(model)
    copy_state(model, exact)
    exact_steps.step(*network.data_of(exact, X, y))
    want = slow.step(X, y)
    for rows in (slice(0, 1), slice(1, 700), slice(700, 2000)):
        engine.accumulate(X[rows], y[rows], 2000)
    got = engine.finish()
    assert_gradients(model, gradients(exact), dtype)
    np.testing.assert_allclose(got, [float(v) for v in want], rtol=10 * TOLERANCE[dtype])


def test_blocks_that_do_not_make_the_batch_are_refused():
    network = Network((2, 5, 3))
    model = network.model(backend_of("float32"))
    X, y = network.data(model, 30)
    engine = fused.engine(model)
    with pytest.raises(RuntimeError, match="got 0 of 0 samples"):
        engine.finish()
    engine.accumulate(X[:20], y[:20], 30)
    with pytest.raises(ValueError, match="rows 20 to 50 of a batch of 30"):
        engine.accumulate(X, y, 30)
    with pytest.raises(RuntimeError, match="got 20 of 30 samples"):
        engine.finish()
    with pytest.raises(RuntimeError, match="a batch is under way"):
        engine.step(X, y)
    engine.accumulate(X[20:], y[20:], 30)
    engine.finish()
    engine.step(X, y)


# ---- memory ----
def test_a_step_allocates_nothing():
    network = Network((2, 64, 3), keep=0.5)
    model = network.model(backend_of("float32"))
    X, y = network.data(model, 20_000)
    engine = fused.engine(model)
    small, labels = X[:300], y[:300]
    for _ in range(2):
        engine.step(X, y)
        engine.step(small, labels)
    _nrt_python.memsys_enable_stats()
    blocks = rtsys.get_allocation_stats().alloc
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(3):
            engine.step(X, y)
            engine.step(small, labels)
        peak = tracemalloc.get_traced_memory()[1] - before
        assert rtsys.get_allocation_stats().alloc == blocks
    finally:
        tracemalloc.stop()
        _nrt_python.memsys_disable_stats()
    assert peak < 20_000  # Python's own objects; a single array of the batch has 80,000 bytes


def test_memory_does_not_grow_with_the_batch():
    """A step over 2,000,000 samples made block by block: 24 MB of data, a ceiling of 4 MB."""
    network = Network((2, 16, 3))
    model = network.model(backend_of("float32"))
    engine = fused.engine(model)
    backend, samples, classes, block = model.backend, 2_000_000 // 3 + 1, 3, 50_000
    total = samples * classes
    X, y = backend.spiral(samples, classes, 0, 0, block)
    engine.accumulate(X, ng.Labels(y, classes, backend), block)
    engine.finish()  # what has to be compiled for it takes memory, too, and is there now
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for start in range(0, total, block):
            X, y = backend.spiral(samples, classes, 0, start, min(start + block, total))
            engine.accumulate(X, ng.Labels(y, classes, backend), total)
        loss, _, _ = engine.finish()
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert np.isfinite(loss)
    assert peak < 4_000_000


# ---- learning, and the cache ----
def test_learns_the_spiral():
    """Chapter 10's program: its own run ends at 0.967 and 0.085, ours in a band around."""
    np.random.seed(0)
    with ng.use_backend(backend_of("float32")):
        X, y = ng.spiral_data(100, 3)
        model = model_of(
            ng.Layer_Dense(2, 64),
            ng.Activation_ReLU(),
            ng.Layer_Dense(64, 3),
            ng.Activation_Softmax(),
            optimizer=ng.Optimizer_Adam(learning_rate=0.05, decay=5e-7),
        )
        X, y = model.checked_data(X, y, "test", False)
        losses, _, accuracies, _ = fused.engine(model).run(X, y, 10_001)
    assert losses[0] == pytest.approx(1.0986, abs=1e-3)
    assert losses[-1] < 0.3
    assert accuracies[-1] > 0.9


def test_a_second_process_compiles_nothing():
    """The compiled step comes from the disk."""
    trained(Network((2, 5, 3)), 30, steps=1)  # so that it is there
    code = """
import json
from networks import Network
from nnfs_gpu import fused, get_backend
from nnfs_gpu.kernels.fused_cpu.step import train
network = Network((2, 9, 4))
model = network.model(get_backend("numba", dtype="float32"))
engine = fused.engine(model)
engine.compile()
engine.step(*network.data(model, 30))
print(json.dumps([len(train.stats.cache_hits), len(train.stats.cache_misses)]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": MODULES},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == [1, 0]
