"""An object in a line: what was given and is not the default, for ours and for the user's own."""

from __future__ import annotations

import numpy as np
import pytest

import nnfs_gpu as n


@pytest.fixture(autouse=True)
def _numpy():
    with n.use_backend("numpy"):
        yield


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: n.Layer_Dense(2, 64), "Layer_Dense(2, 64)"),
        (
            lambda: n.Layer_Dense(2, 3, bias_regularizer_l1=1e-4),
            "Layer_Dense(2, 3, bias_regularizer_l1=0.0001)",
        ),
        (lambda: n.Layer_Dropout(0.1), "Layer_Dropout(0.1)"),
        (lambda: n.Layer_Dropout(0.3, seed=7), "Layer_Dropout(0.3, seed=7)"),
        (lambda: n.Layer_Input(), "Layer_Input()"),
        (lambda: n.Activation_ReLU(), "Activation_ReLU()"),
        (lambda: n.Activation_LeakyReLU(), "Activation_LeakyReLU()"),
        (lambda: n.Activation_LeakyReLU(0.2), "Activation_LeakyReLU(negative_slope=0.2)"),
        (lambda: n.Loss_MeanSquaredError(), "Loss_MeanSquaredError()"),
        (lambda: n.Accuracy_Categorical(binary=True), "Accuracy_Categorical(binary=True)"),
        (lambda: n.Optimizer_SGD(1.0), "Optimizer_SGD()"),
        (
            lambda: n.Optimizer_AdamW(0.01, beta_2=np.float32(0.5)),
            "Optimizer_AdamW(learning_rate=0.01, beta_2=0.5)",
        ),
        (
            lambda: n.EarlyStopping("loss", patience=None),
            "EarlyStopping(monitor='loss', patience=None)",
        ),
    ],
)
def test_what_differs_from_the_default_is_said(make, text):
    assert repr(make()) == text


def test_what_was_changed_later_counts():
    optimizer = n.Optimizer_Adam()
    optimizer.learning_rate = 0.25
    assert repr(optimizer) == "Optimizer_Adam(learning_rate=0.25)"


class Layer_Own(n.Layer_Dense):  # noqa: N801 - in the book's style
    """Has an argument that it does not keep, one that is an array, and one that cannot be read."""

    def __init__(self, lost, n_inputs, n_neurons, mask, broken=1, kept=(1, 2), *, many=None):
        super().__init__(n_inputs, n_neurons)
        self.mask, self.kept, self.many = mask, kept, many

    @property
    def broken(self):
        raise RuntimeError("not now")


def test_a_class_of_the_users_own_never_fails():
    one = Layer_Own(5, 2, 3, np.ones(4), kept=[1.5], many=list(range(1000)))
    text = repr(one)
    assert text.startswith("Layer_Own(n_inputs=2, n_neurons=3, kept=[1.5], many=[0, 1, 2,")
    assert len(text) < 120


class Dropout_Bare(n.Layer_Dropout):  # noqa: N801
    def __init__(self):
        """Does not call ours: there is no rate."""


def test_a_subclass_without_our_attributes():
    assert repr(Dropout_Bare()) == "Dropout_Bare()"
    assert repr(n.Layer_Dropout.__new__(n.Layer_Dropout)) == "Layer_Dropout()"
