"""The GPU's fused step, executed on the CPU from the kernel's own source text.

Proves, without a GPU: a step equals the step layer by layer in float64 (losses, gradients, new
parameters and optimizer state, from the same state) for every loss, activation and optimizer,
with dropout, penalties and soft labels, in one block and in many; the same bits from the same
call, whichever block, warp or lane runs first; and many steps in a launch equal the same steps one
by one.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from emulation import backend as emulated
from fused_cuda_networks import (
    BOUND,
    FLOAT32,
    NETS,
    Net,
    assert_near,
    assert_steps_agree,
    emulated_model,
    gradients,
    net,
    on,
    oracle_model,
    random_net,
    state,
    steps_of,
)
from paper import PaperBackend

from nnfs_gpu.fused import CannotFuse, make_plan
from nnfs_gpu.fused.cuda import (
    buffers as cuda_buffers,
    build as cuda_build,
    device as cuda_device,
    engine as cuda_engine,
)
from nnfs_gpu.fused.cuda.choose import FusedSteps
from nnfs_gpu.fused.tiles import TiledSteps
from nnfs_gpu.training.engines import LayerSteps

MANY = cuda_build.Device(processors=20, shared=99 * 1024, dynamic=False)


pytestmark = pytest.mark.usefixtures("compiler")


@pytest.mark.parametrize("name", NETS)
def test_a_step_equals_the_step_layer_by_layer(name):
    assert_steps_agree(NETS[name], "float64")
    plan = make_plan(emulated_model(NETS[name]))
    targets = cuda_build.NUMBERS if NETS[name].soft else cuda_build.LABELS
    assert cuda_build.is_narrow(plan, targets) == NETS[name].narrow


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "sigmoid", "tanh"])
def test_a_kept_value_of_0_is_not_a_dropped_one(activation):
    """Samples of zeros through biases of zero: what tanh and leaky ReLU keep of them is 0, too."""
    of = net(4, 9, 3, activation=(activation,), keep=(0.5,))
    found = []
    for model, make in ((emulated_model(of, "float64"), steps_of), (oracle_model(of), LayerSteps)):
        for layer in model.trainable_layers:
            layer.biases = 0 * layer.biases
        X, y = of.data(model)
        X[::2] = 0
        make(model).step(X, y)
        found.append(gradients(model))
    assert_near(*found, BOUND["float64"])


@pytest.mark.parametrize("seed", range(8))
def test_random_plans(seed, monkeypatch):
    """In one block and in several."""
    monkeypatch.setattr(cuda_build, "SMALL_WORK", seed % 2 * cuda_build.SMALL_WORK)
    assert_steps_agree(random_net(seed), "float64", on(MANY))


@pytest.mark.parametrize("name", FLOAT32)
def test_a_step_in_float32(name):
    assert_steps_agree(NETS[name], "float32")


@pytest.mark.parametrize("name", ["the book's", "dropout", "narrow and wide enough"])
def test_many_blocks(name, monkeypatch):
    """More than a group of them: sums of sums, and a last tile that is not full."""
    monkeypatch.setattr(cuda_build, "SMALL_WORK", 0)
    rows = {"the book's": 17 * 256 + 5, "dropout": 16 * 18 + 3}.get(name, 300)
    of = Net(**{**NETS[name].__dict__, "rows": rows})
    fused = steps_of(emulated_model(of), MANY)
    assert name == "narrow and wide enough" or fused._build(0, rows).grid(rows) > cuda_build.GROUP
    assert_steps_agree(of, "float64" if name == "dropout" else "float32", on(MANY))


@pytest.mark.parametrize("name", ["the book's", "dropout"])
@pytest.mark.parametrize("work", [cuda_build.SMALL_WORK, 0])
def test_the_same_bits(name, work, monkeypatch):
    """Also where blocks, warps and lanes come in the opposite order: nothing is a race."""
    monkeypatch.setattr(cuda_build, "SMALL_WORK", work)
    found = []
    for backwards in (False, False, True):
        model = emulated_model(NETS[name])
        monkeypatch.setattr(emulated._emulator, "backwards", backwards)
        fused = steps_of(model, MANY)
        losses = [fused.step(*NETS[name].data(model)) for _ in range(2)]
        values = [*state(model).values(), *gradients(model).values(), np.array(losses)]
        found.append(b"".join(value.tobytes() for value in values))
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("batch", [None, 25, 30])
@pytest.mark.parametrize("rows", [1024, 3])
def test_many_steps_in_a_launch_are_the_same_steps(batch, rows, monkeypatch):
    """Also where the schedule ends before the steps do. A last batch that is smaller may get a
    smaller tile where it is given alone: other sums, the same numbers."""
    monkeypatch.setattr(cuda_buffers.Schedule, "ROWS", rows)
    of = NETS["dropout"]
    one, other = emulated_model(of), emulated_model(of)
    X, y = of.data(one)
    losses, penalties, accuracies, rates = steps_of(one).run(X, y, 7, batch)
    fused = steps_of(other)
    X, y = of.data(other)
    size = batch or len(X)
    bound = 1e-5 if len(X) % size else 0
    starts = list(range(0, len(X), size))
    for step in range(7):
        first = starts[step % len(starts)]
        if first == 0:
            other.loss.new_pass()
            other.accuracy.new_pass()
        measured = fused.step(X[first : first + size], y[first : first + size])
        expected = losses[step], penalties[step], accuracies[step]
        np.testing.assert_allclose(measured, expected, rtol=bound)
        assert rates[step] == np.float32(other.optimizer.current_learning_rate)
    for key, value in state(one).items():
        np.testing.assert_allclose(state(other)[key], value, rtol=bound, atol=bound, err_msg=key)
    for a, b in ((one.loss, other.loss), (one.accuracy, other.accuracy)):
        assert a.accumulated_count == b.accumulated_count
        np.testing.assert_allclose(a.accumulated_sum, b.accumulated_sum, rtol=bound)


def test_narrow_steps_in_a_launch_are_the_same_steps():
    of = NETS["the book's"]
    one, other = emulated_model(of), emulated_model(of)
    losses, *_ = steps_of(one).run(*of.data(one), 3)
    fused = steps_of(other)
    for step in range(3):
        assert fused.step(*of.data(other))[0] == losses[step]
    for key, value in state(one).items():
        assert value.tobytes() == state(other)[key].tobytes(), key


@pytest.mark.parametrize("kind", [emulated.EmulatedCupyBackend, PaperBackend])
def test_graphs_of_steps_are_the_same_steps(kind, monkeypatch):
    """Large batches: recorded once for each schedule, replayed, and a rest one by one."""
    monkeypatch.setattr(cuda_build, "SMALL_WORK", 0)
    monkeypatch.setattr(cuda_engine, "GRAPH_STEPS", 3)
    monkeypatch.setattr(cuda_buffers.Schedule, "ROWS", 8)
    recorded = []
    captured = cuda_device.captured
    monkeypatch.setattr(cuda_device, "captured", lambda *a: recorded.append(a[2]) or captured(*a))
    of = NETS["dropout"]
    one, other = of.model(kind()), of.model(kind())
    losses, _, _, rates = steps_of(one, MANY).run(*of.data(one), 13)
    fused = steps_of(other, MANY)
    for step in range(13):
        assert fused.step(*of.data(other))[0] == losses[step]
        assert rates[step] == np.float32(other.optimizer.current_learning_rate)
    for key, value in state(one).items():
        assert value.tobytes() == state(other)[key].tobytes(), key
    assert recorded == [3, 3], "one for each schedule of 8 rows"
    assert one.optimizer.iterations == other.optimizer.iterations == 13


def test_a_step_allocates_copies_and_waits_for_nothing(monkeypatch):
    """After the first: it launches, on the same data and on other rows."""
    of = NETS["dropout"]
    model = emulated_model(of)
    fused = steps_of(model)
    X, y = of.data(model)
    halves = [(X[:35], y[:35]), (X[35:70], y[35:70])]
    for given in ((X, y), *halves):
        fused.step(*given)

    class Nothing:
        def __getattr__(self, name):
            raise AssertionError(f"{name} inside a step")

    for part in (fused, fused._schedule, fused._settings):
        monkeypatch.setattr(part, "xp" if part is fused else "_xp", Nothing())
    monkeypatch.setattr(model.backend, "xp", Nothing())
    launches = []
    ran = emulated._emulator.launch
    monkeypatch.setattr(
        emulated._emulator, "launch", lambda *a, **k: launches.append(a[1]) or ran(*a, **k)
    )
    for ready in fused.ready.values():
        ready.launch._run = partial(emulated._emulator.launch, *ready.launch._run.args)
    for given in ((X, y), *halves, (X, y)):
        fused.step(*given)
    assert launches == ["fused_step"] * 4


def test_a_launch_beyond_the_schedule_changes_nothing():
    """As of a graph that is replayed too often."""
    of = NETS["the book's"]
    model = emulated_model(of)
    fused = steps_of(model)
    fused.step(*of.data(model))
    (ready,) = fused.ready.values()
    before = state(model)
    fused._counters[0] = fused._counters[1]
    records = fused._records.copy()
    ready.launch()
    assert_near(state(model), before, 0)
    assert np.array_equal(fused._records, records)


WIDE = {
    "relu": net(5, 140, 130, 4, rows=50, l1=1e-3),
    "sigmoid and binary": net(
        *(5, 129, 9, 2),
        activation=("sigmoid", "none"),
        loss="binary_cross_entropy",
        optimizer="rmsprop",
    ),
    "absolute": net(3, 200, 150, 2, loss="absolute_error", optimizer="momentum"),
}


@pytest.mark.parametrize("name", WIDE)
def test_wide_layers_go_by_tiles_of_rows(name):
    def make(model):
        return TiledSteps(model, make_plan(model), tile=32)

    assert_steps_agree(WIDE[name], "float64", make)
    model = emulated_model(WIDE[name])
    fused = FusedSteps(model, make_plan(model))
    assert isinstance(fused, TiledSteps)
    losses, penalties, accuracies, rates = fused.run(*WIDE[name].data(model), 2)
    assert losses.shape == penalties.shape == accuracies.shape == rates.shape == (2,)
    assert model.loss.accumulated_count == WIDE[name].rows
    dropped = Net(**{**WIDE[name].__dict__, "keep": (0.5, 0.5)})
    with pytest.raises(CannotFuse, match=r"a width of \d+.*; .*wider than 128 and has dropout"):
        FusedSteps(model := emulated_model(dropped), make_plan(model))


def test_small_tiles_where_shared_memory_is_small():
    """Weights are read from memory where they do not fit beside the activations."""
    of = net(3, 40, 36, 5, rows=50, optimizer="sgd")
    device = cuda_build.Device(processors=3, shared=12 * 1024, dynamic=False)
    build = steps_of(emulated_model(of), device)._build(cuda_build.LABELS, 50)
    assert build.tile == 16
    assert_steps_agree(of, "float32", on(device))
    with pytest.raises(CannotFuse, match="bytes of shared memory, this device has"):
        steps_of(emulated_model(of), cuda_build.Device(3, 4096, dynamic=False))
