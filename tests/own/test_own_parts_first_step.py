"""Own parts whose methods give the wrong thing: the first step says which, and changes nothing."""

from __future__ import annotations

import numpy as np
import own_networks as networks
import own_parts as own
import pytest
from own_networks import Bare, regression, with_layer, works

from nnfs_gpu import Loss_CategoricalCrossentropy, use_backend

X = networks.X


@pytest.fixture(autouse=True)
def _float32():
    use_backend("numpy", dtype="float32")


def first_step(layer=None, loss=None, accuracy=None, y=networks.NUMBERS):
    """The error of the first step of a network with the part, whose parameters stay."""
    model = regression(loss, accuracy) if layer is None else with_layer(layer)
    y = y if layer is None else networks.LABELS
    model.finalize()
    before = [p.copy() for pair in model.get_parameters() for p in pair]
    with pytest.raises((ValueError, TypeError)) as caught:
        model.train(X, y, print_every=None)
    after = [p for pair in model.get_parameters() for p in pair]
    assert all((p == q).all() for p, q in zip(after, before, strict=True))
    return str(caught.value)


def broken(base, **methods):
    return type(f"{base.__name__}Broken", (base,), methods)()


NOTHING = {
    "forward": "layer 1 (Activation_TanhBroken): forward returned nothing and stored nothing",
    "backward": "layer 1 (Activation_TanhBroken): backward returned nothing and stored nothing",
}


@pytest.mark.parametrize("method", NOTHING)
def test_a_layer_that_stores_nothing(method):
    nothing = {"forward": lambda self, x, training: None, "backward": lambda self, d: None}
    layer = broken(own.Activation_Tanh, **{method: nothing[method]})
    layer.output = None
    if method == "backward":
        layer.forward = lambda x, training: setattr(layer, "output", np.tanh(x))
    assert first_step(layer).startswith(NOTHING[method])


def store(name, change):
    """A method of the layer that stores what `change` makes of its argument."""
    return lambda self, x, *rest: setattr(self, name, change(x))


@pytest.mark.parametrize(
    ("method", "change", "message"),
    [
        ("forward", lambda x: x.sum(axis=0), r"output has shape (8,) for inputs of shape (60, 8)"),
        ("forward", lambda x: x[:30], "expected (60, ...): one row a sample"),
        ("forward", lambda x: [None] * len(x), "output: array of real numbers expected"),
        ("backward", lambda d: d.T, "dinputs has shape (8, 60), expected (60, 8)"),
        ("backward", lambda d: d + 1j, "dinputs: array of real numbers expected, got dtype compl"),
    ],
)
def test_a_layer_whose_shapes_do_not_fit(method, change, message):
    stored = {"forward": "output", "backward": "dinputs"}[method]
    methods = {"forward": store("output", lambda x: x), "backward": store("dinputs", lambda d: d)}
    layer = broken(Bare, **methods | {method: store(stored, change)})
    found = first_step(layer)
    assert message in found
    assert found.startswith("layer 1 (BareBroken)")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dbiases": None}, "backward stored no dbiases, the gradient of biases (1, 8); add the l"),
        ({"dweights": np.zeros(8)}, "dweights has shape (8,), expected (1, 8), the shape of weigh"),
    ],
)
def test_gradients_that_are_not_there_or_do_not_fit(change, message):
    class Layer_Norm(own.Layer_BatchNorm):  # noqa: N801
        def backward(self, dvalues):
            super().backward(dvalues)
            vars(self).update(change)

    assert f"layer 1 (Layer_Norm): {message}" in first_step(Layer_Norm(8))


@pytest.mark.parametrize(
    ("methods", "y", "message"),
    [
        ({"forward": lambda self, p, t: None}, None, "losses: got nothing; return the losses"),
        ({"forward": lambda self, p, t: np.zeros(7)}, None, "losses: got shape (7,), expected (60"),
        ({"backward": lambda self, d, t: None}, None, "backward returned nothing and stored noth"),
        ({"backward": lambda self, d, t: d[:, 0]}, None, "dinputs has shape (60,), expected ("),
        ({}, networks.NUMBERS[:, 0], "(60, 60), expected (60, 1), the shape of the predictions; "
                                     "y_true has shape (60,); give y.reshape(-1, 1)"),
    ],
)  # fmt: skip
def test_a_loss_whose_shapes_do_not_fit(methods, y, message):
    y = networks.NUMBERS if y is None else y
    found = first_step(loss=broken(own.Loss_Huber, **methods), y=y)
    assert message in found
    assert found.startswith("Loss_HuberBroken")
    if "reshape" in message:
        works(regression(own.Loss_Huber()), y.reshape(-1, 1))


@pytest.mark.parametrize(
    ("compare", "message"),
    [
        (lambda self, p, y: None, "compare returned nothing"),
        (lambda self, p, y: p == y.reshape(-1), "compared every prediction with every target"),
        (lambda self, p, y: ["yes"] * 60, "comparisons: array of real numbers expected"),
    ],
)
def test_an_accuracy_whose_comparisons_do_not_fit(compare, message):
    accuracy = type("Accuracy_Broken", (), {"compare": compare})()
    found = first_step(accuracy=accuracy)
    assert message in found
    assert found.startswith("Accuracy_Broken")


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.arange(59), "train: targets: got 59 targets for 60 samples"),
        (np.full((60, 1), np.nan), "train: targets: got NaN or infinity in 60 place"),
        (np.array(["a"] * 60), "train: y: array of real numbers expected, got dtype <U1"),
    ],
)
def test_targets_that_are_no_targets(y, message):
    assert message in first_step(loss=own.Loss_Huber(), y=y)


def test_labels_are_checked_where_only_an_own_layer_knows_the_classes():
    """At the first step, by our loss."""
    model = networks.ours()
    model.layers[3] = own.Activation_OwnSoftmax()
    model.set(loss=Loss_CategoricalCrossentropy())
    model.finalize()
    for y, message in ((networks.LABELS + 1, "from 1 to 3, expected 0 to 2"), (X, r"\(60, 2\)")):
        with pytest.raises(ValueError, match=message):
            model.train(X, y, print_every=None)
    assert model.optimizer.iterations == 0
