"""The book's own classes, mixed with ours in any roles: the lines that all of ours print.

So nothing is called in another way than the book calls it. The number of random mixtures is
NNFS_GPU_MIXES.
"""

from __future__ import annotations

import os

import book_reference
import numpy as np
import own_networks as networks
import pytest
from networks import model_of

import nnfs_gpu
from nnfs_gpu import use_backend

X = networks.X
MIXES = int(os.environ.get("NNFS_GPU_MIXES", 12))
ROLES = (
    "Layer_Dense",
    "Activation_ReLU",
    "Layer_Dropout",
    "Activation_Softmax",
    "Loss",
    "Optimizer",
)
ROLES += ("Accuracy",)


def mixed(rng, from_book):
    """A classifier whose parts of the roles in `from_book` are the book's own classes."""

    def part(role, name, *arguments, **options):
        if role not in from_book:
            return getattr(nnfs_gpu, name)(*arguments, **options)
        return getattr(book_reference, name)(*arguments, **options)

    layers = [part("Layer_Dense", "Layer_Dense", 2, 8, weight_regularizer_l2=1e-2)]
    layers += [part("Activation_ReLU", "Activation_ReLU")]
    if rng.rand() < 0.5:
        layers += [part("Layer_Dropout", "Layer_Dropout", 0.1)]
    layers += [part("Layer_Dense", "Layer_Dense", 8, 3, bias_regularizer_l1=1e-3)]
    layers += [part("Activation_Softmax", "Activation_Softmax")]
    optimizer, options = [
        ("Optimizer_SGD", {"learning_rate": 1.0, "decay": 1e-2}),
        ("Optimizer_SGD", {"learning_rate": 0.5, "momentum": 0.9}),
        ("Optimizer_Adagrad", {"learning_rate": 0.1}),
    ][rng.randint(3)]
    return model_of(
        *layers,
        loss=part("Loss", "Loss_CategoricalCrossentropy"),
        optimizer=part("Optimizer", optimizer, **options),
        accuracy=part("Accuracy", "Accuracy_Categorical"),
    )


@pytest.mark.parametrize("number", range(MIXES))
def test_the_books_classes_mix_with_ours(capsys, number):
    """Any of them, in any role: what is printed and what comes out is the same."""
    rng = np.random.RandomState(number)
    use_backend(("numpy", "numba")[number % 2], dtype="float32", precise_dot=True, book_random=True)
    size = [None, 25][rng.randint(2)]
    y = networks.LABELS if rng.rand() < 0.5 else np.eye(3)[networks.LABELS]
    roles = {role for role in ROLES if rng.rand() < 0.5} or {"Layer_Dense"}
    ran = []
    for chosen in (set(), roles):
        np.random.seed(number)
        model = mixed(np.random.RandomState(number), chosen)
        model.train(X, y, epochs=6, batch_size=size, validation_data=(X, y), print_every=2)
        ran.append((capsys.readouterr().out, model.predict(X)))
    (lines, expected), (found, got) = ran
    assert found == lines, roles
    np.testing.assert_allclose(got, expected, atol=2e-5)
