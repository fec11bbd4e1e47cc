"""Weights of samples in the GPU's fused step, executed on the CPU from the kernel's own text.

Proves: a step with weights equals the step layer by layer in float64, for every loss, in one launch
and in leaves, in one block and in many; a whole number counts as so many copies; weights of 1 have
the bits of none; a batch of weight 0 has the penalty's gradient alone; many steps in a launch are
the same steps; ranks have the bits of one, also one that has no rows; rows with and without weights
in one batch are refused. (To the bits of the CPU: test_fused_one_answer.py.)
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from device_arrays import no_waiting
from fake_cupy import DeviceBackend
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
    state,
    steps_of,
)
from rank_steps import SHARES, accumulated, everything, step
from test_fused_cuda_blocks import assert_blocks_agree, in_blocks

from nnfs_gpu import fused
from nnfs_gpu.fused.cuda import build as cuda_build, engine as cuda_engine
from nnfs_gpu.fused.cuda.engine import KernelSteps
from nnfs_gpu.training.engines import LayerSteps

pytestmark = pytest.mark.usefixtures("compiler")

MANY = cuda_build.Device(processors=20, shared=99 * 1024, dynamic=False)
SOME = ("the book's", "dropout", "narrow, linear and absolute", "soft labels")


def weigh(model, y, weights):
    y.weights = model.backend.asarray(np.asarray(weights, float))
    return y


@dataclass(frozen=True)
class Weighted(Net):
    """Whose samples have weights, some of them 0; their sums are exact in both dtypes."""

    def data(self, model):
        X, y = super().data(model)
        weights = np.random.default_rng(3).integers(0, 9, self.rows) / 4
        weights[0] = 1.5
        return X, weigh(model, y, weights)


def weighted(name: str, **other) -> Weighted:
    return Weighted(**NETS[name].__dict__ | other)


# ---- the right numbers ----
@pytest.mark.parametrize("name", NETS)
def test_a_step_equals_the_step_layer_by_layer(name):
    assert_steps_agree(weighted(name), "float64")


@pytest.mark.parametrize("name", FLOAT32)
def test_a_step_in_float32(name):
    assert_steps_agree(weighted(name), "float32")


@pytest.mark.parametrize(("name", "rows"), [("the book's", 4_357), ("dropout", 291)])
def test_many_blocks(name, rows, monkeypatch):
    monkeypatch.setattr(cuda_build, "SMALL_WORK", 0)
    of = weighted(name, rows=rows)
    build = steps_of(emulated_model(of), MANY)._build(cuda_build.LABELS, rows, weighted=True)
    assert build.grid(rows) > cuda_build.GROUP
    assert dict(build.definitions)["WEIGHTS"] == 1
    assert_steps_agree(of, "float64", on(MANY))


@pytest.mark.parametrize("name", SOME)
def test_blocks_are_the_step_over_all_rows(name):
    assert_blocks_agree(weighted(name), "float64", steps_of)


@pytest.mark.parametrize("name", SOME)
def test_a_whole_number_counts_as_so_many_copies(name):
    of = replace(NETS[name], keep=1.0)
    copies = np.random.default_rng(4).integers(0, 4, of.rows)
    found = []
    for repeated in (False, True):
        model = emulated_model(of, "float64")
        X, y = of.data(model)
        if repeated:
            rows = np.repeat(np.arange(of.rows), copies)
            X, y = X[rows], y[rows]
        else:
            weigh(model, y, copies)
        loss, penalty, _ = steps_of(model).step(X, y)
        found.append((gradients(model) | {"loss": np.array([loss, penalty])}, model))
    (ours, one), (theirs, other) = found
    assert_near(ours, theirs, BOUND["float64"])
    assert float(one.loss.accumulated_count) == other.loss.accumulated_count == copies.sum()


@pytest.mark.parametrize("dtype", BOUND)
@pytest.mark.parametrize("name", SOME)
def test_weights_of_one_have_the_bits_of_none(name, dtype):
    """And their scale does not count: whole steps, many in a launch, leaves."""
    of, found = NETS[name], []
    for weights in (None, 1, 8):
        model = emulated_model(of, dtype)
        X, y = of.data(model)
        if weights:
            weigh(model, y, np.full(of.rows, weights))
        steps = steps_of(model)
        measured = [*map(float, steps.step(X, y)), *map(float, steps.step(X, y))]
        measured += [value for one in steps.run(X, y, 3, 40) for value in one.tolist()]
        measured += in_blocks(steps, X, y)
        values = [*state(model).values(), *gradients(model).values()]
        mean = float(model.loss.calculate_accumulated())
        found.append((measured, [value.tobytes() for value in values], mean))
    assert found[0] == found[1] == found[2]


def test_a_batch_of_weight_0_has_the_gradient_of_the_penalty_alone():
    """Its loss is 0, in one launch and in leaves, and the pass goes on."""
    of, found = net(3, 8, 4, optimizer="sgd", l1=1e-2), []
    for make in (LayerSteps, steps_of, steps_of):
        model = oracle_model(of) if make is LayerSteps else emulated_model(of, "float64")
        X, y = of.data(model)
        weigh(model, y, np.zeros(of.rows))
        steps, in_parts = make(model), bool(found) and len(found) > 1
        loss, penalty, accuracy = in_blocks(steps, X, y) if in_parts else steps.step(X, y)
        assert (float(loss), float(model.loss.accumulated_count)) == (0.0, 0.0)
        found.append(gradients(model) | state(model) | {"penalty": np.array(float(penalty))})
        weigh(model, y, np.ones(of.rows))
        steps.step(X, y)
        assert float(model.loss.accumulated_count) == of.rows
        assert model.accuracy.accumulated_count == 2 * of.rows
        assert float(model.accuracy.accumulated_sum) > of.rows * float(accuracy)
    for one in found[1:]:
        assert_near(one, found[0], BOUND["float64"])


@pytest.mark.parametrize("batch", [None, 25])
def test_many_steps_in_a_launch_are_the_same_steps(batch):
    of = weighted("dropout")
    one, other = emulated_model(of), emulated_model(of)
    losses, *_ = steps_of(one).run(*of.data(one), 5, batch)
    steps, (X, y) = steps_of(other), of.data(other)
    size = batch or of.rows
    starts = range(0, of.rows, size)
    for number in range(5):
        first = starts[number % len(starts)]
        if first == 0:
            other.loss.new_pass()
            other.accuracy.new_pass()
        assert steps.step(X[first : first + size], y[first : first + size])[0] == losses[number]
    assert everything(one) == everything(other)


# ---- ranks ----
@pytest.mark.parametrize("dtype", BOUND)
@pytest.mark.parametrize("name", SOME)
def test_whoever_has_which_leaves(name, dtype, monkeypatch):
    """Also one that has none, and so cannot know that there are weights."""
    of = weighted(name)
    leaf = of.rows // 3
    monkeypatch.setattr(cuda_engine, "leaf_of", lambda *_: leaf)
    found = []
    for shares in (
        SHARES[which](of.rows, leaf) for which in ("one rank", "uneven", "with an empty rank")
    ):
        models = [emulated_model(of, dtype) for _ in shares]
        ranks = [(steps_of(model), of.data(model)) for model in models]
        measured = [one for _ in range(2) for one in step(ranks, shares, of.rows)]
        means = {float(model.loss.calculate_accumulated()) for model in models}
        found += [(everything(model), set(measured), means) for model in models]
    assert all(one == found[0] for one in found)


def test_rows_with_and_without_weights_are_refused():
    of = net(2, 8, 3)
    model = emulated_model(of)
    steps, (X, y) = steps_of(model), of.data(model)
    steps.accumulate(X[:30], weigh(model, y[:30], np.ones(30)), 70)
    steps.accumulate(X[30:], y[30:], 70)
    with pytest.raises(ValueError, match="got weights of 30 of 70 samples; give a weight for each"):
        steps.finish()
    steps.step(X, y)
    assert model.optimizer.iterations == 1
    for wrong in (np.ones(69), np.ones((70, 1))):
        with pytest.raises(ValueError, match=r"got weights of shape .*, expected \(70,\), float32"):
            steps.step(X, weigh(model, y, wrong))


def test_ranks_of_which_one_has_no_weights_end_with_nan(monkeypatch):
    """The device alone knows; nothing is updated."""
    monkeypatch.setattr(cuda_engine, "leaf_of", lambda *_: 35)
    of, messages, ranks = net(2, 8, 3), [], []
    for weights in (False, True):
        model = emulated_model(of)
        X, y = of.data(model)
        if weights:
            weigh(model, y, np.ones(of.rows))
        ranks.append((model, steps_of(model)))
        block = (35 * weights, 35 * weights + 35)
        messages.append(accumulated(ranks[-1][1], (X, y), [block], of.rows))
    total = messages[0] + messages[1]
    for (model, steps), message in zip(ranks, messages, strict=True):
        before = state(model)
        message[:] = total
        assert np.isnan([float(value) for value in steps.finish()]).all()
        assert_near({key: state(model)[key] for key in before}, before, 0)


# ---- training ----
@pytest.mark.parametrize("settings", [{}, {"batch_size": 30}, {"batch_size": 32, "shuffle": True}])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_training_with_weights(dtype, settings, monkeypatch):
    """`Model.train` with NumPy's data; nothing waits within a step."""

    def guarded(method):
        def call(*arguments):
            with no_waiting():
                return method(*arguments)

        return call

    for name in ("step", "run", "accumulate", "finish"):
        monkeypatch.setattr(KernelSteps, name, guarded(getattr(KernelSteps, name)))
    of, found = NETS["the book's"], []
    weights = np.random.default_rng(5).random(of.rows)
    for model in (of.model(DeviceBackend(dtype)), oracle_model(of)):
        X, y = (
            np.asarray(a)
            for a in (of.data(oracle_model(of))[0], of.data(oracle_model(of))[1].values)
        )
        kind = "fused" if model.backend.name == "cupy" else "layers"
        given = {"epochs": 3, "print_every": None, "seed": 1, "class_weight": {1: 2.5}}
        history = model.train(X, y, sample_weight=weights, engine=kind, **given | settings)
        found.append((history["loss"], history["accuracy"]))
    np.testing.assert_allclose(*found, 1e-9 if dtype == "float64" else 1e-4)


def test_explain_says_who_takes_none(capsys):
    NETS["the book's"].model(DeviceBackend()).explain()
    assert "samples with weights" not in capsys.readouterr().out
    wide = net(3, 150, 140, 2)
    model = wide.model(DeviceBackend())
    model.explain()
    assert "samples with weights train layer by layer" in capsys.readouterr().out
    X, y = wide.data(oracle_model(wide))
    given = {"sample_weight": np.ones(wide.rows), "print_every": None}
    with pytest.raises(fused.CannotFuse, match="take no weights of samples; use engine='layers'"):
        model.train(X, y.values, engine="fused", **given)
    model.train(X, y.values, **given)
