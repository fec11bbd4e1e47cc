"""The fused step on the CPU does what the layers do, one after the other.

Proves it for random networks of every kind (gradients to 1e-5 in float32 and 1e-12 in float64
of a layer's largest, losses, accuracies, updates, counters; in float32 the layers in float64
are the measure, because the layers' own sums are rounded more than the fused step's), the
same bits whatever the number of threads, masks bit for bit, blocks of a batch, no allocation in
a step, and that a network learns.
"""

import json
import os
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from fused_networks import (
    ENDS,
    OPTIMIZERS,
    Network,
    copy_state,
    gradients,
    parameters,
    state,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from nnfs_gpu.kernels import fused_tables as k
from numba.core.runtime import _nrt_python, rtsys

import nnfs_gpu as ng
from nnfs_gpu import fused

TOLERANCE = {"float32": 1e-5, "float64": 1e-12}


def backend_of(dtype):
    return ng.get_backend("numba", dtype=dtype, precise_dot=False, book_random=False)


def assert_gradients(model, expected, dtype):
    """Every gradient within the tolerance of the largest number of its layer's gradients."""
    found = gradients(model)
    for first in range(0, len(found), 2):
        layer = slice(first, first + 2)
        scale = max(np.abs(a).max() for a in expected[layer])
        for got, want in zip(found[layer], expected[layer], strict=True):
            assert got.dtype == np.dtype(dtype)
            error = np.abs(got - want).max()
            assert error <= TOLERANCE[dtype] * scale, f"layer {first // 2}: {error / scale}"


def assert_update(model, before, held, optimizer):
    """The parameters and the state are those of the optimizer's own step with these gradients."""
    for s, layer in enumerate(model.trainable_layers):
        shadow = type(layer)(layer.n_inputs, layer.n_neurons)
        shadow.backend = layer.backend
        shadow.weights, shadow.biases = before[2 * s].copy(), before[2 * s + 1].copy()
        shadow.dweights, shadow.dbiases = layer.dweights, layer.dbiases
        for (number, name), values in held.items():
            if number == s:
                setattr(shadow, name, values.copy())
        optimizer.update_params(shadow)
        names = [name for name in vars(shadow) if name.endswith(("momentums", "cache"))]
        for name in ("weights", "biases", *names):
            got, want = getattr(layer, name), getattr(shadow, name)
            unit = 4 * np.finfo(want.dtype).eps
            np.testing.assert_allclose(got, want, rtol=unit, atol=unit * np.abs(want).max())


networks = st.builds(
    Network,
    widths=st.lists(st.integers(1, 300), min_size=1, max_size=4).flatmap(
        lambda front: st.integers(1, 40).map(lambda last: (*front, last))
    ),
    activation=st.sampled_from(("relu", "sigmoid", "linear")),
    loss=st.sampled_from(tuple(ENDS)),
    optimizer=st.sampled_from(tuple(OPTIMIZERS)),
    keep=st.sampled_from((1.0, 0.5)),
    l1=st.sampled_from((0.0, 0.001)),
    l2=st.sampled_from((0.0, 0.002)),
    soft=st.booleans(),
    seed=st.integers(0, 10),
)


def check_step(network, n, dtype, steps=2):
    """Steps of both ways, each from the same state and new parameters."""
    oracle, slow = network.layer_steps(backend_of(dtype))
    exact, exact_steps = network.layer_steps(backend_of("float64"))
    model = network.model(backend_of(dtype))
    X, y = network.data(model, n)
    X64, y64 = network.data_of(exact, X, y)
    network.data_of(oracle, X, y)
    engine = fused.engine(model)
    for step in range(steps):
        network.set_parameters(model, network.seed + step)
        copy_state(model, oracle)
        copy_state(model, exact)
        before, held = parameters(model), state(model)
        want, got = slow.step(X, y), engine.step(X, y)
        exact_steps.step(X64, y64)
        assert_gradients(model, gradients(exact), dtype)
        for a, b in zip(got[:2], want[:2], strict=True):
            assert abs(a - float(b)) <= TOLERANCE[dtype] * max(1, abs(float(b)))
        outputs = 1 if network.loss == "softmax_cross_entropy" else network.widths[-1]
        assert abs(got[2] - want[2]) * n * outputs <= 2  # a tie may fall to either side
        rule = OPTIMIZERS[network.optimizer]()
        rule.iterations = model.optimizer.iterations - 1
        rule.pre_update_params()
        assert model.optimizer.current_learning_rate == rule.current_learning_rate
        assert_update(model, before, held, rule)
        assert model.optimizer.iterations == oracle.optimizer.iterations
        for a, b in zip(model.layers, oracle.layers, strict=True):
            assert getattr(a, "calls", 0) == getattr(b, "calls", 0)
            assert a.inputs is a.output is None
    for kind in ("loss", "accuracy"):
        a, b = getattr(model, kind), getattr(oracle, kind)
        assert a.accumulated_count == b.accumulated_count
        error = abs(a.accumulated_sum - float(b.accumulated_sum))
        assert error <= 2 * steps + 1e-4 * abs(b.accumulated_sum)


@settings(derandomize=True, database=None, deadline=None, max_examples=30)
@given(networks, st.integers(1, 5000), st.sampled_from(("float32", "float64")))
def test_random_networks_step_as_their_layers_do(network, n, dtype):
    if network.soft and network.widths[-1] == 1:
        network = Network(**{**vars(network), "soft": False})
    check_step(network, n, dtype)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("loss", ENDS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_loss_with_every_optimizer(loss, optimizer, dtype):
    check_step(Network((2, 17, 3), loss=loss, optimizer=optimizer, l2=0.001), 77, dtype)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("widths", [(1, 1), (1000, 2), (2, 512, 3), (3, 1, 1, 40), (2, 64, 64, 3)])
@pytest.mark.parametrize("n", [1, 15, 16, 17, 257])
def test_awkward_sizes(widths, n, dtype):
    check_step(Network(widths, activation="sigmoid"), n, dtype, steps=1)


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_many_groups_and_waves(dtype, monkeypatch):
    """A batch of more groups than there is room for at a time."""
    monkeypatch.setattr("nnfs_gpu.fused.cpu.MOST_GROUPS", 4)
    monkeypatch.setattr("nnfs_gpu.fused.cpu.MOST_GROUP", 2048)
    check_step(Network((2, 64, 3), activation="sigmoid", keep=0.75), 30_001, dtype)


@pytest.mark.parametrize("widths", [(2, 64, 3), (2, 20, 20, 3)])
def test_long_sums_keep_their_digits(widths):
    """60,000 samples sorted by class: sums grow, and nearly cancel in the end."""
    network = Network(widths, activation="sigmoid")
    model, exact = network.model(backend_of("float32")), network.model(backend_of("float64"))
    copy_state(model, exact)
    X, y = network.data(model, 60_000)
    y.values.sort()
    fused.engine(model).step(X, y)
    fused.engine(exact).step(*network.data_of(exact, X, y))
    assert_gradients(model, gradients(exact), "float32")


# ---- the same bits ----
def trained(network, n, steps=3, dtype="float32"):
    model = network.model(backend_of(dtype))
    X, y = network.data(model, n)
    engine = fused.engine(model)
    measured = [engine.step(X, y) for _ in range(steps)]
    return measured, parameters(model) + list(state(model).values())


@pytest.mark.parametrize("n", [300, 40_000])
def test_same_bits_twice_and_with_any_number_of_threads(n, monkeypatch):
    network = Network((2, 64, 3), keep=0.5)
    runs = [trained(network, n)]
    for threads in (1, 2, 5):
        monkeypatch.setattr("numba.get_num_threads", lambda threads=threads: threads)
        runs.append(trained(network, n))
    measured, arrays = runs[0]
    for others in runs[1:]:
        assert others[0] == measured
        for a, b in zip(others[1], arrays, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("n", [300, 40_000])
def test_many_steps_in_one_call_are_the_steps_one_by_one(n):
    network = Network((2, 64, 3), keep=0.5, l2=1e-3)
    measured, arrays = trained(network, n, steps=4)
    model = network.model(backend_of("float32"))
    X, y = network.data(model, n)
    losses, penalties, accuracies, rates = fused.engine(model).run(X, y, 4)
    assert [tuple(row) for row in zip(losses, penalties, accuracies, strict=True)] == measured
    np.testing.assert_array_equal(rates, [0.01 / (1 + 0.001 * step) for step in range(4)])
    for a, b in zip(parameters(model) + list(state(model).values()), arrays, strict=True):
        np.testing.assert_array_equal(a, b)
    assert model.optimizer.iterations == 4
    assert model.optimizer.current_learning_rate == rates[-1]
    assert model.loss.accumulated_count == n
    assert model.loss.accumulated_sum / n == losses[-1]


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(("width", "seed"), [(8, 0), (7, 2**64 - 1), (3, 12345)])
def test_masks_bit_for_bit(width, seed, dtype):
    backend = backend_of(dtype)
    network = Network((2, width, 3), keep=0.7)
    model = network.model(backend)
    X, y = network.data(model, 50)
    dropout = model.layers[2]
    dropout.seed, dropout.calls = seed, 5
    engine = fused.engine(model)
    row = engine.layout.table[0]
    pitch = int(engine.layout.head[k.PITCH])
    room, address = engine._workspaces[0]
    first = (address - room.ctypes.data) // room.itemsize + int(row[k.MASK_AT])
    for call in (5, 6):
        engine.step(X, y)
        mask = room[first : first + width * pitch].reshape(width, pitch)[:, :50].T
        _, expected = backend.dropout_forward(np.ones((50, width), dtype), 0.7, seed, call)
        np.testing.assert_array_equal(mask, expected)
    assert dropout.calls == 7


# ---- what may change between two steps ----
def test_changes_between_steps_count():
    """Rates, penalties, dropout's share, assigned arrays and arrays changed in place."""
    network = Network((2, 20, 3), activation="sigmoid", keep=0.5, l2=0.001)
    backend = backend_of("float64")
    oracle, slow = network.layer_steps(backend)
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
    oracle, slow = network.layer_steps(backend_of(dtype))
    model = network.model(backend_of(dtype))
    exact, exact_steps = network.layer_steps(backend_of("float64"))
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
        model = ng.Model()
        for part in (
            ng.Layer_Dense(2, 64),
            ng.Activation_ReLU(),
            ng.Layer_Dense(64, 3),
            ng.Activation_Softmax(),
        ):
            model.add(part)
        model.set(
            loss=ng.Loss_CategoricalCrossentropy(),
            optimizer=ng.Optimizer_Adam(learning_rate=0.05, decay=5e-7),
            accuracy=ng.Accuracy_Categorical(),
        )
        model.finalize()
        X, y = model._data(X, y, "test", False)
        losses, _, accuracies, _ = fused.engine(model).run(X, y, 10_001)
    assert losses[0] == pytest.approx(1.0986, abs=1e-3)
    assert losses[-1] < 0.3
    assert accuracies[-1] > 0.9


def test_a_second_process_compiles_nothing():
    """The compiled step comes from the disk."""
    trained(Network((2, 5, 3)), 30, steps=1)  # so that it is there
    code = """
import json
from fused_networks import Network
from nnfs_gpu import fused, get_backend
from nnfs_gpu.kernels.fused_step import train
network = Network((2, 9, 4))
model = network.model(get_backend("numba", dtype="float32"))
engine = fused.engine(model)
engine.compile()
engine.step(*network.data(model, 30))
print(json.dumps([len(train.stats.cache_hits), len(train.stats.cache_misses)]))
"""
    folder = os.path.dirname(os.path.abspath(__file__))
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": folder},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == [1, 0]
