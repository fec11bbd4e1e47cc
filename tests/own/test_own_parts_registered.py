"""Classes of the user's own that say what they keep: saved, loaded, and resumed to the bit."""

from __future__ import annotations

import json

import numpy as np
import own_networks as networks
import own_parts as own
import pytest

import nnfs_gpu
from nnfs_gpu import Activation_Softmax, Callback, Layer_Dense, Model, use_backend
from nnfs_gpu.files import vocabulary

X, Y = networks.X, networks.LABELS
STEPS = {"epochs": 4, "batch_size": 16, "print_every": None}


@pytest.fixture(autouse=True)
def only_here():
    """What a test registers is forgotten after it."""
    before = dict(vocabulary.PARTS)
    yield
    vocabulary.PARTS.clear()
    vocabulary.PARTS.update(before)


@pytest.fixture(params=["numpy", "numba"])
def cpu(request):
    return use_backend(request.param, dtype="float32")


class Optimizer_Lookahead:  # noqa: N801
    """Momentum, and slow weights that follow; all of it under names of its own."""

    def __init__(self, rate):
        self.rate, self.learning_rate, self.steps = rate, rate, 0
        self.largest = np.float32(0)

    def update_params(self, layer):
        if not hasattr(layer, "weight_velocity"):
            layer.weight_velocity = np.zeros_like(layer.weights, np.float64)
            layer.weight_slow = layer.weights.copy()
        layer.weight_velocity = 0.9 * layer.weight_velocity - self.rate * layer.dweights
        layer.weights = layer.weights + layer.weight_velocity
        layer.biases = layer.biases - self.rate * layer.dbiases
        self.largest = max(self.largest, np.abs(layer.dweights).max())
        if self.steps % 3 == 2:
            layer.weight_slow = layer.weight_slow + 0.5 * (layer.weights - layer.weight_slow)
            layer.weights = layer.weight_slow.copy()

    def post_update_params(self):
        self.steps += 1


class Layer_Norm(own.Layer_BatchNorm):  # noqa: N801
    """Running means, and how often it was called."""

    def __init__(self, n):
        super().__init__(n)
        self.n, self.calls = n, 0

    def forward(self, inputs, training):
        self.calls += training
        super().forward(inputs, training)


def register(**options):
    nnfs_gpu.register(
        **{"arguments": ["rate"], "state": ["steps", "largest"]}
        | {"layer_state": ["weight_velocity", "weight_slow"]}
        | options
    )(Optimizer_Lookahead)
    nnfs_gpu.register(arguments=["n"], state=["mean", "variance", "calls"])(Layer_Norm)


def network(seed=3):
    np.random.seed(seed)
    model = Model()
    for layer in (Layer_Dense(2, 12), Layer_Norm(12), Layer_Dense(12, 3), Activation_Softmax()):
        model.add(layer)
    model.set(
        loss=nnfs_gpu.Loss_CategoricalCrossentropy(),
        optimizer=Optimizer_Lookahead(0.05),
        accuracy=nnfs_gpu.Accuracy_Categorical(),
    )
    model.finalize()
    return model


def everything(model):
    """All that decides on how training goes on."""
    norm, optimizer = model.layers[1], model.optimizer
    kept = [getattr(one, name) for one in model.trainable_layers for name in ARRAYS]
    return [*kept, norm.mean, norm.variance, norm.calls, optimizer.steps, optimizer.largest]


ARRAYS = ("weights", "biases", "weight_velocity", "weight_slow")


def assert_same(one, other):
    for a, b in zip(everything(one), everything(other), strict=True):
        assert np.asarray(a).dtype == np.asarray(b).dtype
        np.testing.assert_array_equal(a, b)


def test_saved_loaded_and_trained_on(cpu, tmp_path):
    register()
    whole, model = network(), network()
    whole.train(X, Y, **STEPS)
    model.train(X, Y, **STEPS)
    model.save(tmp_path / "m")
    loaded = Model.load(tmp_path / "m")
    assert_same(loaded, model)
    assert type(loaded.optimizer.largest) is np.float32
    assert loaded.layers[0].weight_velocity.dtype == np.float64
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    for one in (whole, loaded):
        one.train(X, Y, **STEPS)
    assert_same(loaded, whole)
    loaded.save(tmp_path / "again")
    whole.save(tmp_path / "whole")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "whole").read_bytes()


class Layer_Scale:  # noqa: N801
    """A factor for each input, in a class that has nothing of ours."""

    def __init__(self, n):
        self.n = n
        self.weights, self.biases = np.ones((1, n), np.float32), np.zeros((1, n), np.float32)

    def forward(self, inputs, training):
        self.inputs = inputs
        self.output = inputs * self.weights + self.biases

    def backward(self, dvalues):
        self.dweights = (dvalues * self.inputs).sum(axis=0, keepdims=True)
        self.dbiases = dvalues.sum(axis=0, keepdims=True)
        self.dinputs = dvalues * self.weights


def test_a_class_with_nothing_of_ours_is_kept(cpu, tmp_path):
    nnfs_gpu.register(arguments=["n"])(Layer_Scale)
    np.random.seed(3)
    model = Model()
    for layer in (Layer_Scale(2), Layer_Dense(2, 3), Activation_Softmax()):
        model.add(layer)
    model.set(
        loss=nnfs_gpu.Loss_CategoricalCrossentropy(),
        optimizer=nnfs_gpu.Optimizer_Adam(),
        accuracy=nnfs_gpu.Accuracy_Categorical(),
    )
    model.finalize()
    model.train(X, Y, **STEPS)
    model.save(tmp_path / "m")
    loaded = Model.load(tmp_path / "m")
    for name in ("weights", "biases", "weight_momentums", "weight_cache"):
        before, after = (getattr(one.layers[0], name) for one in (model, loaded))
        assert (before.dtype, after.dtype) == (np.float32, np.float32)
        np.testing.assert_array_equal(after, before)
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    for one in (model, loaded):
        one.train(X, Y, **STEPS)
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))


def test_a_model_that_has_not_trained_is_kept_too(cpu, tmp_path):
    register()
    model = network()
    model.save(tmp_path / "m")
    loaded = Model.load(tmp_path / "m")
    assert (loaded.layers[1].mean, loaded.layers[1].variance) == (0.0, 1.0)
    assert not hasattr(loaded.layers[0], "weight_slow")
    for one in (model, loaded):
        one.train(X, Y, **STEPS)
    assert_same(loaded, model)


class Fall(Callback):
    def __init__(self, steps):
        self.steps = steps

    def on_train_batch_end(self, batch, logs):
        self.steps -= 1
        if self.steps == 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("every", [None, 3])
def test_resumed_to_the_same_bits(cpu, tmp_path, every):
    register()
    whole = network()
    expected = whole.train(X, Y, shuffle=True, **STEPS)
    given = {"shuffle": True, "checkpoint": tmp_path / "run", "checkpoint_every": every}
    for steps in (6, 3):
        with pytest.raises(KeyboardInterrupt):
            network().train(X, Y, callbacks=[Fall(steps)], **STEPS | given)
    model = network(seed=9)
    history = model.train(X, Y, **STEPS | given)
    assert history.history == expected.history
    assert_same(model, whole)
    model.optimizer.rate = 0.5
    with pytest.raises(nnfs_gpu.CheckpointError, match=r"optimizer\.rate was 0\.05, is now 0\.5"):
        model.train(X, Y, **STEPS | given)


# ---- what is refused ----
def test_what_is_not_registered_is_refused_by_name(cpu, tmp_path):
    with pytest.raises(
        TypeError, match=r"cannot hold a Optimizer_Lookahead; .* nnfs_gpu\.register"
    ):
        network().save(tmp_path / "m")
    register()

    class Layer_Norm(globals()["Layer_Norm"]):  # noqa: N801 - another class of that name
        pass

    model = network()
    model.layers[1] = Layer_Norm(12)
    model.finalize()
    with pytest.raises(TypeError, match=r"cannot hold a Layer_Norm of your own \(test_own_par"):
        model.save(tmp_path / "m")


def test_a_program_that_does_not_know_the_class_refuses_the_file(cpu, tmp_path):
    register()
    network().save(tmp_path / "m")
    del vocabulary.PARTS["Optimizer_Lookahead"]
    with pytest.raises(nnfs_gpu.ModelFileError, match="unknown class 'Optimizer_Lookahead'"):
        Model.load(tmp_path / "m")


@pytest.mark.parametrize(
    ("given", "error", "match"),
    [
        ({"state": ["nothing"]}, ValueError, "Lookahead nothing: registered, but there is no such"),
        ({"state": ["held"]}, TypeError, "held: a model file cannot hold a list, expected"),
        ({"arguments": ["held"]}, TypeError, "held: a model file cannot hold a list, expected"),
    ],
)
def test_what_a_file_cannot_hold_is_named(cpu, tmp_path, given, error, match):
    register(**given)
    model = network()
    model.optimizer.held = [1]
    with pytest.raises(error, match=match):
        model.save(tmp_path / "m")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["Layer_Dense", "Normalization"])
def test_names_that_cannot_be_registered(name):
    with pytest.raises(ValueError, match=f"register: .*{name}"):
        nnfs_gpu.register()(type(name, (), {}))


def test_a_file_with_other_shapes_or_state_is_refused(cpu, tmp_path):
    register()
    model = network()
    model.train(X, Y, **STEPS)
    from nnfs_gpu.files import model_file, tensor_file

    def written(change):
        document, tensors = model_file.contents(model)
        document = json.loads(json.dumps(document))
        change(document, tensors)
        tensor_file.write(tmp_path / "m", document, tensors)

    changes = {
        "weights": lambda d, t: t.update({"1.weights": np.ones((1, 5), np.float32)}),
        "unknown": lambda d, t: t.update({"1.more": np.ones(3)}),
        "missing": lambda d, t: t.pop("1.mean"),
        "state": lambda d, t: d["state"]["layers"][1].update(calls=[1]),
        "names": lambda d, t: d["state"]["optimizer"].pop("steps"),
    }
    for change in changes.values():
        written(change)
        with pytest.raises(nnfs_gpu.ModelFileError):
            Model.load(tmp_path / "m")
