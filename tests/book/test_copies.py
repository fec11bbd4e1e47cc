"""What was pickled, copied, sent to a process or made before `init()` fits what is made here."""

from __future__ import annotations

import copy
import multiprocessing
import pickle

import numpy as np
import own_networks as networks
import pytest
from helpers import COPIES, plain
from networks import dense_model, model_of

import nnfs_gpu as nnfs
from nnfs_gpu import get_backend, use_backend

X, Y = networks.X, networks.LABELS


# ---- what is put together from copies ----
def classifier(*dense):
    first, last = dense or (nnfs.Layer_Dense(2, 8), nnfs.Layer_Dense(8, 3))
    inside = nnfs.Activation_ReLU(), nnfs.Layer_Dropout(0.1, seed=1)
    optimizer = nnfs.Optimizer_Adam(0.05)
    return model_of(first, *inside, last, nnfs.Activation_Softmax(), optimizer=optimizer)


def with_parts(model):
    model.set(
        loss=nnfs.Loss_CategoricalCrossentropy(),
        optimizer=nnfs.Optimizer_Adam(0.05),
        accuracy=nnfs.Accuracy_Categorical(),
    )
    model.finalize()
    return model


def same(a, b):
    pairs = zip(a.get_parameters(), b.get_parameters(), strict=True)
    return all((p == q).all() for x, y in pairs for p, q in zip(x, y, strict=True))


@pytest.mark.parametrize("name", ["numpy", "numba"])
@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("engine", ["auto", "layers"])
def test_a_copied_model_trains_on_like_the_original(name, way, engine):
    plain(name)
    np.random.seed(0)
    model = classifier()
    model.train(X, Y, epochs=3, batch_size=25, print_every=None, engine=engine)
    twin = COPIES[way](model)
    runs = [m.train(X, Y, epochs=3, print_every=None, engine=engine) for m in (model, twin)]
    assert runs[0].history == runs[1].history
    assert same(model, twin)
    assert twin.layers[1].prev is twin.layers[0]
    assert twin.layers[0].next is twin.layers[1]
    assert twin.loss is twin.layers[-1].next
    assert twin.loss.trainable_layers[0] is twin.layers[0]


@pytest.mark.parametrize("name", ["numpy", "numba"])
@pytest.mark.parametrize("way", COPIES)
def test_an_unpickled_model_takes_new_parts(name, way):
    plain(name)
    model = classifier()
    model.train(X, Y, print_every=None)
    twin = with_parts(COPIES[way](model))
    assert len(twin.train(X, Y, epochs=2, print_every=None)["loss"]) == 2
    twin.set(optimizer=nnfs.Optimizer_SGD(), accuracy=COPIES[way](twin.accuracy))
    twin.set(loss=COPIES[way](twin.loss))
    twin.finalize()
    twin.train(X, Y, print_every=None)


@pytest.mark.parametrize("name", ["numpy", "numba"])
@pytest.mark.parametrize("way", COPIES)
def test_copied_layers_fit_a_new_model(name, way):
    plain(name)
    model = classifier()
    model.train(X, Y, epochs=2, print_every=None)
    layers = [COPIES[way](layer) for layer in model.layers]
    assert not any(hasattr(layer, "prev") for layer in layers)  # alone, without the network
    new = classifier(layers[0], layers[3])
    assert same(new, model)
    new.train(X, Y, print_every=None)


def test_a_layer_is_pickled_without_the_network():
    plain()
    model = classifier()
    model.train(X, Y, print_every=None)
    alone = nnfs.Layer_Dense(8, 3)
    assert len(pickle.dumps(model.layers[4])) < len(pickle.dumps(alone)) + 10_000
    assert len(pickle.dumps(nnfs.Activation_ReLU())) < 500


def test_a_deep_network_is_pickled_and_copied():
    """The chain from layer to layer is not followed: 600 layers, beyond Python's limit."""
    plain()
    model = dense_model(*[2] * 301, 3, seed=None)
    for way in COPIES.values():
        np.testing.assert_array_equal(way(model).predict(X), model.predict(X))


def test_a_subclass_with_slots_is_copied_whole():
    class Activation_Slots(nnfs.Activation_ReLU):  # noqa: N801
        __slots__ = ("slope",)

    plain()
    layer = Activation_Slots()
    layer.slope, layer.prev = 0.25, None
    twin = copy.deepcopy(layer)
    assert twin.slope == 0.25
    assert not hasattr(twin, "prev")


# ---- made before init() ----
@pytest.mark.parametrize("name", ["numpy", "numba"])
@pytest.mark.parametrize("first", ["layers", "model", "loss"])
def test_what_was_made_before_init_fits(name, first):
    plain(name)
    before = {
        "layers": (nnfs.Layer_Dense(2, 8), nnfs.Layer_Dense(8, 3)),
        "model": nnfs.Model(),
        "loss": nnfs.Loss_CategoricalCrossentropy(),
    }
    nnfs.init()
    layers = before["layers"] if first == "layers" else ()
    model = classifier(*layers)
    if first == "model":
        model = before["model"]
        for layer in classifier().layers:
            model.add(layer)
        with_parts(model)
    if first == "loss":
        model.set(loss=before["loss"])
        model.finalize()
    history = model.train(X, Y, epochs=3, print_every=None)
    assert history["loss"][-1] < history["loss"][0]
    with use_backend(get_backend()):
        kept = model.layers[0].backend
    assert kept.precise_dot is (first != "layers")  # each keeps what it was made with


def test_a_model_of_layers_with_precise_products_is_not_fused():
    """Their setting counts, not that of the model made before: numbers would differ."""
    plain("numba")
    model = nnfs.Model()
    nnfs.init()
    for layer in (nnfs.Layer_Dense(2, 3), nnfs.Activation_Softmax()):
        model.add(layer)
    with_parts(model)
    with pytest.raises(ValueError, match="precise_dot"):
        model.train(X, Y, engine="fused", print_every=None)


def test_a_file_keeps_the_stream_for_a_dropout_layer_made_after_init(tmp_path):
    plain()
    model = nnfs.Model()
    nnfs.init()
    for layer in (nnfs.Layer_Dense(2, 3), nnfs.Layer_Dropout(0.1), nnfs.Activation_Softmax()):
        model.add(layer)
    with_parts(model).save(tmp_path / "model")
    draws = np.random.rand(3)
    nnfs.Model.load(tmp_path / "model", random_state=True)
    np.testing.assert_array_equal(np.random.rand(3), draws)


# ---- other processes ----
def trained(model):
    """Run in another process."""
    model.train(X, Y, epochs=2, print_every=None, engine="layers")
    return model, model.backend is get_backend(model.backend.name, dtype="float32")


@pytest.mark.parametrize("name", ["numpy", "numba"])
def test_a_model_goes_to_another_process_and_back(name):
    plain(name)
    np.random.seed(0)
    model = classifier()
    model.train(X, Y, print_every=None, engine="layers")
    own, _ = networks.build("dense")
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        (back, shared), (own_back, _) = pool.map(trained, [model, own])
    assert shared
    assert back.backend is model.backend
    assert same(trained(model)[0], back)
    assert same(trained(own)[0], own_back)
    with_parts(back).train(X, Y, print_every=None)
