"""Own parts in files, copies, memory maps and blocks: what can be kept, and what says it cannot."""

from __future__ import annotations

import copy
import os
import pickle

import numpy as np
import own_networks as networks
import own_parts as own
import pytest
from networks import dense_model, model_of

from nnfs_gpu import (
    Accuracy_Categorical,
    Blocks,
    EarlyStopping,
    Layer_Dense,
    Optimizer_SGD,
    use_backend,
)

X = networks.X


@pytest.fixture(params=["numpy", "numba"])
def cpu(request):
    return use_backend(request.param, dtype="float32")


def parameters(model):
    return [p.copy() for pair in model.get_parameters() for p in pair]


@pytest.mark.parametrize("name", ["tanh", "dense", "huber", "nadam", "within", "adamw", "scaled"])
def test_a_file_that_cannot_name_it_says_what_can_be_written(cpu, tmp_path, name):
    model, y = networks.build(name)
    model.train(X, y, epochs=2, print_every=None)
    with pytest.raises(
        TypeError, match=r"cannot hold a \w+( of your own .*)?; it can hold .* Use save_par"
    ):
        model.save(tmp_path / "whole")
    assert os.listdir(tmp_path) == []
    model.save_parameters(tmp_path / "parameters")  # the remedy
    other, _ = networks.build(name, seed=2)
    other.load_parameters(tmp_path / "parameters")
    np.testing.assert_array_equal(other.predict(X), model.predict(X))


def test_a_class_of_the_same_name_is_told_apart(cpu, tmp_path, capsys):
    class Layer_Dense(own.Layer_OwnDense):  # noqa: N801 - kept from the book's program
        pass

    model = networks.ours()
    model.layers[2] = Layer_Dense(8, 3)
    model.finalize()
    with pytest.raises(TypeError, match=r"cannot hold a Layer_Dense of your own \(test_own_par"):
        model.save(tmp_path / "whole")
    model.explain()
    if cpu._new.name == "numba":
        assert "Layer_Dense (of test_own_parts_files), which no" in capsys.readouterr().out


def test_a_checkpoint_is_refused_before_anything_changes(cpu, tmp_path):
    model, y = networks.build("tanh")
    before = parameters(model)
    with pytest.raises(TypeError, match="cannot hold a Activation_Tanh"):
        model.train(X, y, epochs=2, print_every=None, checkpoint=tmp_path / "run")
    assert not any((tmp_path / "run").glob("*.safetensors"))
    for p, q in zip(parameters(model), before, strict=True):
        np.testing.assert_array_equal(p, q)


def test_parameters_of_other_shapes_change_nothing(cpu, tmp_path):
    model, _ = networks.build("dense")
    before = parameters(model)
    wrong = [tuple(p.copy() for p in pair) for pair in model.get_parameters()]
    wrong[1] = (np.ones((3, 3)), wrong[1][1])
    with pytest.raises(ValueError, match=r"OwnDense weights: got shape \(3, 3\), expected \(12, 1"):
        model.set_parameters(wrong)
    for p, q in zip(parameters(model), before, strict=True):
        np.testing.assert_array_equal(p, q)


def test_early_stopping_puts_the_best_back(cpu):
    model, y = networks.build("batch norm")
    stop = EarlyStopping("loss", patience=None, restore_best=True)
    history = model.train(X, y, epochs=12, print_every=None, callbacks=[stop])
    assert stop.best == min(history["loss"])
    assert [p.shape for p in parameters(model)][2:4] == [(1, 12)] * 2


@pytest.mark.parametrize("name", ["tanh", "dense", "batch norm", "huber", "r2", "nadam", "wrapped"])
@pytest.mark.parametrize("way", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_trains_on_like_the_original(cpu, name, way):
    model, y = networks.build(name)
    model.train(X, y, epochs=3, print_every=None)
    twin = way(model)
    runs = [one.train(X, y, epochs=3, batch_size=25, print_every=None) for one in (model, twin)]
    assert runs[0].history == runs[1].history
    for p, q in zip(parameters(model), parameters(twin), strict=True):
        np.testing.assert_array_equal(p, q)


# ---- data larger than memory ----
def mapped(folder, name, values):
    np.save(folder / name, values)
    return np.load(folder / f"{name}.npy", mmap_mode="r")


@pytest.mark.parametrize("name", ["tanh", "first", "huber", "hinge", "r2", "f1", "book", "top 2"])
def test_memory_maps_and_blocks_give_the_numbers_of_arrays(cpu, tmp_path, name):
    model, y = networks.build(name)
    expected = model.train(X, y, epochs=3, batch_size=20, print_every=None)
    output = model.predict(X)
    X_map, y_map = mapped(tmp_path, "X", X), mapped(tmp_path, "y", y)
    blocks = Blocks(lambda: ((X[i : i + 20], y[i : i + 20]) for i in (0, 20, 40)), samples=60)
    for data in ((X_map, y_map), (blocks,)):
        other, _ = networks.build(name)
        history = other.train(*data, epochs=3, batch_size=20, print_every=None)
        for key in ("loss", "accuracy"):
            np.testing.assert_allclose(history[key], expected[key], rtol=1e-6)
        np.testing.assert_allclose(other.predict(X_map), output, atol=1e-6)


@pytest.mark.parametrize("name", ["dense", "huber", "focal", "combined"])
def test_a_batch_that_comes_in_pieces_is_one_step(cpu, name):
    model, y = networks.build(name)
    other, _ = networks.build(name)
    for one in (model, other):  # Adam is not to magnify what rounding leaves of a gradient near 0
        one.optimizer.epsilon = 1e-3
    expected = model.train(X, y, epochs=2, print_every=None)
    blocks = Blocks(lambda: ((X[i : i + 16], y[i : i + 16]) for i in (0, 16, 32, 48)), samples=60)
    history = other.train(blocks, epochs=2, print_every=None)
    np.testing.assert_allclose(history["loss"], expected["loss"], rtol=1e-5)
    np.testing.assert_allclose(history["accuracy"], expected["accuracy"], rtol=1e-5)
    for p, q in zip(parameters(other), parameters(model), strict=True):
        np.testing.assert_allclose(p, q, atol=1e-5)


@pytest.mark.parametrize("source", ["map", "blocks"])
def test_an_accuracy_sees_all_targets_of_a_larger_file(cpu, tmp_path, source):
    class Accuracy_Largest(Accuracy_Categorical):  # noqa: N801
        def init(self, y):
            self.y = y

    model, y = networks.build("tanh")
    model.set(accuracy=Accuracy_Largest())
    model.finalize()
    data = (mapped(tmp_path, "X", X), mapped(tmp_path, "y", y))
    if source == "blocks":
        data = (Blocks(lambda: ((X[i : i + 30], y[i : i + 30]) for i in (0, 30)), samples=60),)
    model.train(*data, batch_size=30, print_every=None)
    assert type(model.accuracy.y) is np.ndarray
    assert model.accuracy.y.dtype == y.dtype
    np.testing.assert_array_equal(model.accuracy.y, y)


def test_a_layer_of_the_users_own_decides_on_the_width(cpu):
    """Ours checks features and outputs where it knows them; an own layer is asked at the step."""
    model = model_of(
        own.Layer_Reshape(6),
        Layer_Dense(6, 3),
        own.Activation_Tanh(),
        loss=own.Loss_Huber(),
        optimizer=own.Optimizer_Plain(0.1),
        accuracy=own.Accuracy_R2(),
    )
    model.train(X.reshape(20, 6), np.eye(3)[np.arange(20) % 3], print_every=None)
    with pytest.raises(ValueError, match=r"cannot reshape array"):  # NumPy's, of the layer
        model.predict(X[:, :1])


class Layer_Flatten:  # noqa: N801
    def forward(self, inputs, training):
        self.shape = inputs.shape
        self.output = inputs.reshape(len(inputs), -1)

    def backward(self, dvalues):
        self.dinputs = dvalues.reshape(self.shape)


@pytest.mark.parametrize("source", ["arrays", "map", "blocks"])
def test_a_first_layer_of_ones_own_takes_images(cpu, tmp_path, source):
    images, y = np.random.RandomState(0).rand(40, 4, 4), np.arange(40) % 3
    flat = dense_model(16, 8, 3, optimizer=Optimizer_SGD(), seed=0)
    same = dense_model(16, 8, 3, optimizer=Optimizer_SGD(), seed=0)
    model = model_of(Layer_Flatten(), *same.layers, optimizer=same.optimizer)
    data = {
        "arrays": lambda: (images, y),
        "map": lambda: (mapped(tmp_path, "X", images), mapped(tmp_path, "y", y)),
        "blocks": lambda: (Blocks([(images[:20], y[:20]), (images[20:], y[20:])], samples=40),),
    }[source]()
    history = model.train(*data, epochs=3, batch_size=20, print_every=None)
    expected = flat.train(images.reshape(40, -1), y, epochs=3, batch_size=20, print_every=None)
    np.testing.assert_allclose(history["loss"], expected["loss"], rtol=1e-6)
    X = data[0] if source == "map" else images
    np.testing.assert_allclose(model.predict(X), flat.predict(images.reshape(40, -1)), atol=1e-6)
    assert model.evaluate(*data, verbose=False)["loss"] < history["loss"][0]
    with pytest.raises(ValueError, match=r"predict: got shape \(16,\), expected .*reshape"):
        model.predict(np.zeros(16))
    with pytest.raises(ValueError, match=r"predict: got shape \(40, 4, 4\)"):
        flat.predict(images)
