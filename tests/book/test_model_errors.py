"""One clear error for each thing that does not fit, before anything has changed."""

import numpy as np
import pytest
from model_programs import X_VAL, Y_VAL, X, Y, network, parameters
from networks import model_of

from nnfs_gpu import (
    Accuracy_Categorical,
    Activation_ReLU,
    Activation_Softmax,
    Labels,
    Layer_Dense,
    Loss_CategoricalCrossentropy,
    Model,
    Optimizer_SGD,
    use_backend,
)

pytestmark = pytest.mark.default_backend


def test_train_before_set(backend):
    model = Model()
    model.add(Layer_Dense(2, 3))
    model.add(Activation_Softmax())
    model.finalize()
    for call, message in (
        (lambda: model.train(X, Y), "Model.train needs loss, optimizer, accuracy; give them to"),
        (lambda: model.evaluate(X, Y), r"Model.evaluate needs loss, accuracy; .*Model.set\(...\)"),
        (lambda: model.backward(model.forward(X), Y), "Model.backward needs loss"),
    ):
        with pytest.raises(RuntimeError, match=message):
            call()
    model.set(loss=Loss_CategoricalCrossentropy())
    with pytest.raises(RuntimeError, match=r"Model.train needs optimizer, accuracy;"):
        model.train(X, Y)


def test_before_finalize(backend):
    model = network()
    model.add(Layer_Dense(3, 3))  # unfinished again
    model.add(Activation_Softmax())
    for call in (
        lambda: model.train(X, Y),
        lambda: model.evaluate(X, Y),
        lambda: model.predict(X),
        lambda: model.forward(X),
        lambda: model.backward(X, Y),
    ):
        with pytest.raises(RuntimeError, match=r"call finalize\(\) after the last add and set"):
            call()
    model.finalize()
    model.train(X, Y, print_every=None)
    model.set(optimizer=Optimizer_SGD())
    with pytest.raises(RuntimeError, match=r"call finalize\(\)"):
        model.train(X, Y)


def test_an_empty_model(backend):
    with pytest.raises(ValueError, match="the model has no layers; add some first"):
        Model().finalize()
    for call in (lambda m: m.predict(X), lambda m: m.forward(X)):
        with pytest.raises(RuntimeError, match="finalize"):
            call(Model())


@pytest.mark.parametrize(
    "layer",
    [
        None,
        3,
        "Layer_Dense",
        Layer_Dense,
        Activation_ReLU,
    ],
)
def test_what_is_no_layer_cannot_be_added(backend, layer):
    model = Model()
    with pytest.raises(TypeError, match=r"Model.add: got .*, expected a layer or an activation"):
        model.add(layer)
    assert model.layers == []


def test_layers_that_do_not_fit(backend):
    with pytest.raises(
        ValueError,
        match=r"layer 2 is Dense\(7, 3\), but the layers before it give 8 outputs; "
        r"expected Dense\(8, ...\)",
    ):
        network(Layer_Dense(2, 8), Activation_ReLU(), Layer_Dense(7, 3), Activation_Softmax())


@pytest.mark.parametrize("last", [Activation_ReLU, lambda: Layer_Dense(8, 3)])
def test_cross_entropy_without_softmax(backend, last):
    with pytest.raises(
        ValueError,
        match=r"needs probabilities, but the last layer is .*; add Activation_Softmax\(\)",
    ):
        network(Layer_Dense(2, 8), last())


def mixed(part):
    """A float32 NumPy model whose `part` was made for float64."""
    with use_backend("numpy", dtype="float64"):
        others = {
            "layer": Layer_Dense(2, 3),
            "activation": Activation_Softmax(),
            "loss": Loss_CategoricalCrossentropy(),
            "accuracy": Accuracy_Categorical(),
        }
    with use_backend("numpy", dtype="float32"):
        parts = {
            "layer": Layer_Dense(2, 3),
            "activation": Activation_Softmax(),
            "loss": Loss_CategoricalCrossentropy(),
            "accuracy": Accuracy_Categorical(),
        } | {part: others[part]}
        model_of(
            *(parts["layer"], parts["activation"]),
            loss=parts["loss"],
            optimizer=Optimizer_SGD(),
            accuracy=parts["accuracy"],
        )


@pytest.mark.parametrize(
    "part",
    [
        "layer",
        "activation",
        "loss",
        "accuracy",
    ],
)
def test_parts_of_different_backends(part):
    with pytest.raises(
        ValueError,
        match=r"made for .*'numpy', float64.* model for .*'numpy', float32.*same use_backend",
    ):
        mixed(part)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_check_finite(backend, bad):
    x = X.copy()
    x[31, 1] = bad
    x[40, 0] = bad
    model = network()
    before = parameters(model)
    message = r"got NaN or infinity in 2 place\(s\), the first at index \(31, 1\); expected finite"
    for what, call in {
        "train": lambda: model.train(x, Y, check_finite=True),
        "validation_data": lambda: model.train(X, Y, validation_data=(x, Y), check_finite=True),
        "evaluate": lambda: model.evaluate(x, Y, check_finite=True),
        "predict": lambda: model.predict(x, check_finite=True),
    }.items():
        with pytest.raises(ValueError, match=f"^{what}: {message}"):
            call()
    for a, b in zip(parameters(model), before, strict=True):
        np.testing.assert_array_equal(a, b)
    model.train(X, Y, check_finite=True, print_every=None)


def test_check_finite_sees_what_the_dtype_cannot_hold(backend_name):
    with use_backend(backend_name, dtype="float32"), np.errstate(over="ignore"):
        model = network()
        with pytest.raises(ValueError, match="infinity in 1 place"):
            model.predict(np.array([[1e300, 0.0]]), check_finite=True)


WRONG_DATA = {
    "width": (np.zeros((5, 3)), np.zeros(5, int), r"got shape \(5, 3\), expected \(samples, 2\)"),
    "one sample": (np.zeros(2), [0], r"got shape \(2,\), expected .*reshape\(1, -1\)"),
    "empty": (np.zeros((0, 2)), np.zeros(0, int), r"got an empty batch of shape \(0, 2\)"),
    "class": (np.zeros((5, 2)), [0, 1, 2, 3, 0], "got values from 0 to 3, expected 0 to 2"),
    "columns": (np.zeros((5, 2)), np.eye(5), r"got shape \(5, 5\), expected \(N, 3\)"),
    "column": (np.zeros((5, 2)), np.zeros((5, 1), int), r"got shape \(5, 1\), .*reshape\(-1\)"),
    "count": (np.zeros((5, 2)), [0, 1, 2, 0], "got 4 labels for 5 samples"),
}


@pytest.mark.parametrize("case", WRONG_DATA)
def test_data_that_does_not_fit_the_network(backend, capsys, case):
    x, y, message = WRONG_DATA[case]
    model = network()
    before = parameters(model)
    for call in (
        lambda: model.train(x, y),
        lambda: model.train(X, Y, validation_data=(x, y)),
        lambda: model.evaluate(x, y),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    if case in ("width", "one sample", "empty"):
        with pytest.raises(ValueError, match="^validation_data: " + message):
            model.train(X, Y, validation_data=(x, y))
        with pytest.raises(ValueError, match="^predict: " + message):
            model.predict(x)
    assert capsys.readouterr().out == ""  # before the first step
    for a, b in zip(parameters(model), before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_float_labels(backend):
    with pytest.raises(TypeError, match=r"labels: got dtype float64.*astype\('int32'\)"):
        network().train(X, Y.astype(float))


def test_checked_labels_are_counted(backend):
    """The first 25 of 50 labels would be taken without a word."""
    y = Labels(Y, 3, backend)
    with pytest.raises(ValueError, match=r"labels: got 50 .* 25"):
        network().train(X[:25], y, batch_size=5, print_every=None)


def test_checked_labels_train_as_raw_ones(backend):
    history = network().train(X, Labels(Y, 3, backend), batch_size=16, print_every=None)
    assert history.history == network().train(X, Y, batch_size=16, print_every=None).history
    with pytest.raises(ValueError, match=r"expected .* of 3"):
        network().train(X, Labels(Y, 4, backend), print_every=None)


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("epochs", 0, ValueError),
        ("epochs", -1, ValueError),
        ("epochs", 1.5, TypeError),
        ("epochs", True, TypeError),
        ("epochs", None, TypeError),
        ("batch_size", 0, ValueError),
        ("batch_size", -5, ValueError),
        ("batch_size", 2.0, TypeError),
        ("batch_size", "32", TypeError),
        ("batch_size", False, TypeError),
    ],
)
def test_epochs_and_batch_size(backend_name, capsys, name, value, error):
    use_backend(backend_name)
    model = network()
    calls = [lambda: model.train(X, Y, **{name: value})]
    if name == "batch_size":
        calls.append(lambda: model.evaluate(X, Y, batch_size=value))
        calls.append(lambda: model.predict(X, batch_size=value))
    for call in calls:
        with pytest.raises(error, match=f"{name}: got .*, expected .*at least 1"):
            call()
    assert capsys.readouterr().out == ""
    assert model.optimizer.iterations == 0


@pytest.mark.parametrize(
    "data", [(X_VAL,), X_VAL, (X_VAL, Y_VAL, 1, 1), 5], ids=["1", "X", "4", "5"]
)
def test_validation_data_that_is_no_pair(data):
    use_backend("numpy")
    with pytest.raises((TypeError, ValueError), match=r"validation_data: got .*expected .*X, y"):
        network().train(X, Y, validation_data=data)


@pytest.mark.parametrize("print_every", [-1, 0.5, "1"])
def test_bad_print_every(print_every):
    use_backend("numpy")
    model = network()
    with pytest.raises((TypeError, ValueError), match=r"print_every: got .*, expected"):
        model.train(X, Y, print_every=print_every)
    assert model.optimizer.iterations == 0
