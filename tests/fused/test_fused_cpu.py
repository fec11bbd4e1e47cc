"""The fused step on the CPU does what the layers do, one after the other.

Proves it for random networks of every kind (gradients to 1e-5 in float32 and 1e-12 in float64
of a layer's largest, losses, accuracies, updates, counters; in float32 the layers in float64
are the measure, because the layers' own sums are rounded more than the fused step's), the
same bits whatever the number of threads, and masks bit for bit.
"""

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
    state,
    trained,
)
from hypothesis import given, settings, strategies as st
from networks import ACTIVATIONS, ENDS, OPTIMIZERS, Network

from nnfs_gpu import fused
from nnfs_gpu.kernels.fused_cpu import tables as k


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
    activation=st.sampled_from(tuple(ACTIVATIONS)),
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
    oracle, slow = layer_steps(network, backend_of(dtype))
    exact, exact_steps = layer_steps(network, backend_of("float64"))
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
            assert not any(hasattr(a, name) for name in ("inputs", "output", "dinputs"))
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
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation(activation, dtype):
    check_step(Network((2, 17, 3), activation=activation), 77, dtype)
    if dtype == "float64" or not activation.endswith("relu"):  # at a kink float32 decides otherwise
        check_step(Network((3, 40, 9, 2), activation=activation, keep=0.6), 300, dtype)


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_a_slope_that_changes_counts_at_the_next_step(dtype):
    network = Network((2, 17, 3), activation="leaky_relu")
    model = network.model(backend_of(dtype))
    oracle, layers = layer_steps(network, backend_of("float64"))
    X, y = network.data(model, 50)
    engine, exact = fused.engine(model), network.data_of(oracle, X, y)
    for slope in (0.01, 0.5, 1.0):
        model.layers[1].negative_slope = oracle.layers[1].negative_slope = slope
        copy_state(model, oracle)
        engine.step(X, y)
        layers.step(*exact)
        assert_gradients(model, gradients(oracle), dtype)


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_many_groups_and_waves(dtype, monkeypatch):
    """A batch of more groups than there is room for at a time."""
    monkeypatch.setattr("nnfs_gpu.fused.cpu.groups.MOST_GROUPS", 4)
    monkeypatch.setattr("nnfs_gpu.fused.cpu.groups.MORE_GROUPS", 1)
    monkeypatch.setattr("nnfs_gpu.fused.cpu.groups.MOST_GROUP", 2048)
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
