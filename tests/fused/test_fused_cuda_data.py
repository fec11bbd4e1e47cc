"""The GPU's fused step, executed on the CPU: data of every kind, changes, refusals.

Labels of one byte and labels out of range, numbers that are not finite; what somebody changes
between two steps counts; what the engine cannot do it says.
"""

from __future__ import annotations

import numpy as np
import pytest
from emulation import backend as emulated
from fused_cuda_networks import (
    NETS,
    assert_near,
    emulated_model,
    gradients,
    net,
    oracle_model,
    state,
    steps_of,
)

from nnfs_gpu.fused import CannotFuse
from nnfs_gpu.training.engines import LayerSteps

pytestmark = pytest.mark.usefixtures("compiler")


@pytest.mark.parametrize("name", ["the book's", "five layers"])
def test_labels_of_one_byte_and_labels_out_of_range(name):
    of = NETS[name]
    found = []
    for dtype in (np.int32, np.uint8):
        model = emulated_model(of)
        X, y = of.data(model)
        found.append(steps_of(model).step(X, y.values.astype(dtype)))
    assert list(found[0]) == list(found[1])
    y = y.values.copy()
    y[7] = of.widths[-1]
    loss, _, _ = steps_of(model).step(X, y)
    assert np.isnan(loss)
    assert np.isnan(model.trainable_layers[-1].weights).any()


@pytest.mark.parametrize("name", ["the book's", "five layers"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_data_that_is_not_finite_shows(name, bad):
    model = emulated_model(NETS[name])
    X, y = NETS[name].data(model)
    X[5, 1] = bad
    with np.errstate(invalid="ignore"):
        loss, _, _ = steps_of(model).step(X, y)
    assert np.isnan(loss)


def test_what_changes_between_two_steps_counts():
    """Parameters, factors, rates and steps layer by layer."""
    of = NETS["the book's"]
    ours, theirs = emulated_model(of, "float64"), oracle_model(of)
    fused, layers = steps_of(ours), LayerSteps(theirs)
    data, wide_data = of.data(ours), of.data(theirs)

    def both(change):
        for model, steps, given in ((ours, fused, data), (theirs, layers, wide_data)):
            change(model)
            steps.step(*given)
        assert_near(gradients(ours), gradients(theirs), 1e-10)
        assert_near(state(ours), state(theirs), 1e-9)

    def assign(model):
        model.trainable_layers[0].weights = 0.5 * np.array(model.trainable_layers[0].weights)

    def set_parameters(model):
        model.set_parameters([(1.1 * w, b + 0.1) for w, b in model.get_parameters()])

    def penalties(model):
        model.trainable_layers[1].weight_regularizer_l2 = 0.02

    def none(model):
        for layer in model.trainable_layers:
            layer.weight_regularizer_l1 = layer.weight_regularizer_l2 = 0
            layer.bias_regularizer_l1 = layer.bias_regularizer_l2 = 0

    def rate(model):
        model.optimizer.learning_rate = 0.003

    def layer_by_layer(model):
        LayerSteps(model).step(*(data if model is ours else wide_data))

    for change in (assign, set_parameters, penalties, none, rate, layer_by_layer):
        both(change)
    assert ours.loss.accumulated_count == theirs.loss.accumulated_count
    np.testing.assert_allclose(float(ours.loss.accumulated_sum), theirs.loss.accumulated_sum)
    weights = ours.trainable_layers[0].weights
    fused.step(*data)
    assert ours.trainable_layers[0].weights is weights, "updated in place"
    assert not hasattr(ours.trainable_layers[0], "output")


def test_it_says_what_it_cannot_do():
    backend = emulated.EmulatedCupyBackend()
    for of, reason in (
        (net(2, 129, 130, 3), "width of 130"),
        (net(2, 3, 3, 3, 3, 3, 3), "6 dense layers"),
    ):
        with pytest.raises(CannotFuse, match=reason):
            steps_of(of.model(backend))
    model = net(2, 8, 3).model(backend)
    X, y = net(2, 8, 3).data(model)
    fused = steps_of(model)
    with pytest.raises(ValueError, match=r"data of shape \(70, 1\), float32, expected"):
        fused.step(X[:, :1], y)
    with pytest.raises(ValueError, match=r"targets of shape \(69,\), int32, expected \(70,\)"):
        fused.step(X, y[:69])
    with pytest.raises(ValueError, match="int64, expected"):
        fused.step(X, y.values.astype(np.int64))
    assert "one launch a step" in fused.describe()
