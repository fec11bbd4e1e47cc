"""Remedies for targets that are numbers, for NaN, for pairs and blocks, for parameters.

The tables of `test_remedies.py` go on here; `remedies_followed.py` is the reader.
"""

import numpy as np
import pytest
from networks import dense_model
from remedies_followed import follow, network, regression

import nnfs_gpu as ng

RNG = np.random.default_rng(0)
X = RNG.normal(size=(30, 2))
Y = np.arange(30) % 3
WORDS = np.array(["ant", "bee", "cat"])[Y]
MASK = np.arange(30) == 4
PAIRS = [(X[:10], Y[:10]), (X[10:], Y[10:])]


@pytest.fixture(autouse=True)
def _numpy():
    ng.use_backend("numpy")


# ---- numbers as targets ----
VALUES = {
    "turned": (2, X.T, r"targets: got shape \(2, 30\), expected \(30, 2\)"),
    "an axis more": (2, X.reshape(30, 2, 1), r"targets: got shape \(30, 2, 1\)"),
    "an axis more of one": (1, X[:, :1, None], r"targets: got shape \(30, 1, 1\)"),
    "fewer": (1, X[:9, 0], r"targets: got shape \(9, 1\), expected \(30,\) or \(30, 1\)"),
    "NaN": (1, np.where(MASK, np.nan, X[:, 0]), r"targets: got NaN or infinity in 1 place"),
    "NaN in a row": (2, np.where(MASK[:, None], np.nan, X), r"targets: got NaN or infinity in 2"),
    "text": (1, X[:, 0].astype("U"), "y: .*real numbers expected, got dtype <U32"),
    "masked": (1, np.ma.array(X[:, 0]), r"y: got a masked .* use y.filled\(0\)"),
}


@pytest.mark.parametrize("name", VALUES)
def test_targets_of_a_regression(name):
    outputs, y, message = VALUES[name]
    model = regression(outputs)
    with pytest.raises((TypeError, ValueError), match=f"(?s)^train: {message}") as refused:
        model.train(X, y, print_every=None)
    found = follow(str(refused.value), X=X, y=y)
    model.train(found["X"], found["y"], print_every=None)


def test_more_numbers_than_outputs():
    with pytest.raises(ValueError, match=r"targets: got shape \(30, 2\).*end with .*\(..., 2\)"):
        regression(1).train(X, X, print_every=None)
    regression(2).train(X, X, print_every=None)


@pytest.mark.parametrize("y", [Y % 2 + 1, (Y % 2) * 2 - 1])
def test_two_numbers_for_yes_and_no(y):
    model = dense_model(2, 1, last=ng.Activation_Sigmoid, seed=None)
    with pytest.raises(ValueError, match=r"targets: got values from .* expected 0 or 1") as refused:
        model.train(X, y, print_every=None)
    found = follow(str(refused.value).split("cross-entropy; ")[1], X=X, y=y)["y"]
    np.testing.assert_array_equal(found, y == y.max())
    model.train(X, found, print_every=None)


# ---- check_finite ----
@pytest.mark.parametrize("bad", [np.nan, np.inf, "in lists"])
def test_numbers_that_are_none(bad):
    x = np.where(MASK[:, None], bad if bad != "in lists" else np.nan, X)
    x = x.tolist() if bad == "in lists" else x
    model = network()
    with pytest.raises(ValueError, match=r"train: got NaN or infinity in 2 .* in X: ") as refused:
        model.train(x, Y, check_finite=True, print_every=None)
    found = follow(str(refused.value), X=x, y=Y)
    assert len(found["X"]) == 29
    model.train(found["X"], found["y"], check_finite=True, print_every=None)


def test_numbers_too_large_for_the_dtype():
    x = X * 1e200
    with np.errstate(over="ignore"), pytest.raises(ValueError, match="too large for float32"):
        network().train(x, Y, check_finite=True, print_every=None)
    network().train(x / abs(x).max(), Y, check_finite=True, print_every=None)


# ---- pairs ----
def test_a_single_and_four():
    for data in ((X,), (X, Y, np.ones(30), Y)):
        with pytest.raises(
            TypeError, match=rf"got a tuple of {len(data)}, expected a pair \(X, y\)"
        ):
            network().train(X, Y, validation_data=data, print_every=None)


@pytest.mark.parametrize(
    "given", [PAIRS, PAIRS[:1] * 3, [list(p) for p in PAIRS], lambda: (pair for pair in PAIRS)]
)
def test_blocks_as_validation_data(given):
    data = given() if callable(given) else given
    with pytest.raises((TypeError, ValueError), match=r"^validation_data: .*Blocks\(") as refused:
        network().train(X, Y, validation_data=data, print_every=None)
    text = str(refused.value).split(" for batches")[0]
    data = given() if callable(given) else given
    found = follow(text, validation_data=data)["validation_data"]
    history = network().train(X, Y, validation_data=found, print_every=None)
    assert history["val_loss"]


def test_two_samples_in_lists_are_a_pair():
    """Nested lists may look like blocks: they are data and targets, as ever."""
    pair = [[[0.0, 1.0], [1.0, 0.0]], [[1, 0, 0], [0, 1, 0]]]
    network().train(X, Y, validation_data=pair, print_every=None)
    pair = [[[0.0, 1.0], [1.0, 0.0]], [0, 1]]
    network().train(X, Y, validation_data=pair, print_every=None)


def test_predict_of_blocks():
    model = network()
    for given in (ng.Blocks(PAIRS), PAIRS):
        with pytest.raises(TypeError, match=r"predict: got a .*, expected an array X") as refused:
            model.predict(given)
        found = follow(str(refused.value), X=given, model=model)["X"]
        np.testing.assert_array_equal(found, model.predict(X))


# ---- parameters ----
def test_weights_and_biases():
    model = network()
    (weights, biases), last = model.get_parameters()
    for name, w, b in (("weights", weights.T, biases), ("biases", weights, biases[0])):
        message = rf"^set_parameters, layer 1 of 2: Layer_Dense {name}: got shape .*expected .*use "
        with pytest.raises(ValueError, match=message) as refused:
            model.set_parameters([(w, b), last])
        found = follow(str(refused.value), **{name: w if name == "weights" else b})
        model.set_parameters([(found.get("weights", w), found.get("biases", b)), last])
        with pytest.raises(ValueError, match=rf"Layer_Dense {name}: got shape .*use {name}"):
            setattr(model.layers[0], name, w if name == "weights" else b)


def test_empty_data():
    for x in (X[:0], [], np.zeros((0, 28, 28))):
        with pytest.raises((TypeError, ValueError), match=r"^train: .*got .*expected"):
            network().train(x, Y[:0], print_every=None)


@pytest.mark.parametrize("x", ["data.csv", {"a": [1]}, None, 5.0, {1.0, 2.0}])
def test_what_is_no_array(x):
    with pytest.raises((TypeError, ValueError), match=r"^predict: .*(X|got shape \(\))"):
        network().predict(x)


# ---- accuracy ----
@pytest.mark.parametrize("y", [Y * 1.0, WORDS, Y.reshape(-1, 1), (Y * 1.0).tolist()])
def test_accuracy_of_labels_that_are_none(y):
    accuracy = ng.Accuracy_Categorical()
    with pytest.raises(TypeError, match=r"accuracy: got targets of .*expected whole") as refused:
        accuracy.calculate(Y, y)
    assert accuracy.calculate(Y, follow(str(refused.value), y=y)["y"]) == 1
