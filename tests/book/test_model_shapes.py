"""Networks of every shape, and parameters that move between models."""

import numpy as np
import pytest
from helpers import assert_close
from model_programs import X, Y, network, parameters

from nnfs_gpu import (
    Activation_ReLU,
    Activation_Softmax,
    Layer_Dense,
    Layer_Input,
    Model,
    Optimizer_Adam,
    Optimizer_SGD,
)

pytestmark = pytest.mark.default_backend


# ---- networks of other shapes ----


def test_finalize_connects_the_chain(backend):
    model = network()
    assert isinstance(model.input_layer, Layer_Input)
    chain = [model.input_layer, *model.layers, model.loss]
    for before, layer, after in zip(chain, chain[1:], chain[2:], strict=False):
        assert layer.prev is before
        assert layer.next is after
    assert model.trainable_layers == [model.layers[0], model.layers[2]]
    assert model.output_layer_activation is model.layers[-1]
    assert model.loss.trainable_layers == model.trainable_layers


def test_one_dense_layer(backend):
    model = network(Layer_Dense(2, 3), Activation_Softmax(), optimizer=Optimizer_SGD(1.0))
    points = np.array([[0.0, 1.0], [1.0, -1.0], [-1.0, -1.0]]).repeat(10, axis=0)
    history = model.train(points, np.arange(30) // 10, epochs=30, print_every=None)
    assert history["accuracy"][-1] == 1
    assert history["loss"][-1] < 0.2


def test_a_single_layer_of_any_kind_is_a_model(backend):
    """The book's finalize fails with one layer (defect B7)."""
    np.random.seed(0)
    for layer, expected in (
        (Activation_ReLU(), np.maximum(X, 0)),
        (Layer_Dense(2, 2), None),
        (Activation_Softmax(), None),
    ):
        model = Model()
        model.add(layer)
        model.finalize()
        output = backend.to_numpy(model.predict(X))
        assert output.shape == (50, 2)
        if expected is not None:
            np.testing.assert_array_equal(output, expected.astype(backend.dtype))


def test_a_softmax_alone_trains_nothing_and_is_measured(backend):
    model = network(Activation_Softmax())
    history = model.train(np.eye(3) * 5, [0, 1, 2], epochs=2, print_every=None)
    assert history["accuracy"] == [1, 1]
    assert history["loss"][0] == history["loss"][1]


def test_one_class(backend):
    model = network(Layer_Dense(2, 4), Activation_ReLU(), Layer_Dense(4, 1), Activation_Softmax())
    before = parameters(model)
    history = model.train(X, np.zeros(50, int), epochs=3, batch_size=16, print_every=None)
    assert history["accuracy"] == [1, 1, 1]
    assert all(0 <= loss < 2e-7 for loss in history["loss"])
    for a, b in zip(parameters(model), before, strict=True):
        np.testing.assert_array_equal(a, b)  # certain already: no gradient


@pytest.mark.parametrize("engine", ["layers", "auto"])
def test_one_class_in_one_hot_rows(backend, engine):
    """(N, 1) ones: each row says class 0."""
    model = network(Layer_Dense(2, 4), Activation_ReLU(), Layer_Dense(4, 1), Activation_Softmax())
    history = model.train(X, np.ones((50, 1)), print_every=None, engine=engine)
    assert history["accuracy"] == [1.0]
    assert model.evaluate(X, np.ones((50, 1)), verbose=False)["accuracy"] == 1.0


@pytest.mark.parametrize("kind", ["uint16", "int64"])
def test_300_classes(backend, kind):
    rng = np.random.RandomState(0)
    points, y = rng.randn(300, 16), rng.permutation(300).astype(kind)
    model = network(Layer_Dense(16, 300), Activation_Softmax(), optimizer=Optimizer_Adam(0.1))
    history = model.train(points, y, epochs=12, batch_size=50, print_every=None)
    assert history["loss"][0] == pytest.approx(np.log(300), rel=0.1)
    assert history["accuracy"][-1] > 0.95
    assert backend.to_numpy(model.predict(points)).argmax(axis=1).max() > 290


def test_softmax_in_the_middle(backend):
    model = network(
        Layer_Dense(2, 4),
        Activation_Softmax(),
        Layer_Dense(4, 3),
        Activation_Softmax(),
        optimizer=Optimizer_SGD(0.5),
    )
    assert len(model.train(X, Y, epochs=3, print_every=None)["loss"]) == 3
    middle = model.layers[1]
    jacobians = backend.to_numpy(backend.softmax_jacobian(middle.output))
    dvalues = backend.to_numpy(model.layers[2].dinputs)
    expected = np.einsum("nij,nj->ni", jacobians, dvalues)
    magnitude = np.abs(dvalues).max()
    got = backend.to_numpy(middle.dinputs)
    assert_close(got, expected, backend.dtype, ulps=8, magnitude=magnitude)


def test_lists_and_integers_are_data(backend):
    model = network()
    history = model.train(X.tolist(), Y.tolist(), print_every=None)
    other = network().train(X, Y.astype(np.uint8), print_every=None)
    assert history.history == other.history
    assert model.predict([[1, 2]]).shape == (1, 3)


# ---- parameters ----


def test_parameters_move_between_models(backend):
    first, second = network(seed=1), network(seed=2)
    second.set_parameters(first.get_parameters())
    np.testing.assert_array_equal(*(backend.to_numpy(m.predict(X)) for m in (first, second)))
    first.train(X, Y, print_every=None)  # copies: the second does not move
    for a, b in zip(parameters(second), parameters(network(seed=1)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_set_parameters_checks_all_before_it_changes_any(backend):
    model = network()
    before = parameters(model)
    good = [(np.ones((2, 8)), np.ones((1, 8))), (np.ones((8, 3)), np.ones((1, 3)))]
    with pytest.raises(ValueError, match="set_parameters: got 1 layers, expected 2"):
        model.set_parameters(good[:1])
    with pytest.raises(ValueError, match=r"biases: got shape \(3,\), expected \(1, 3\)"):
        model.set_parameters([good[0], (good[1][0], np.ones(3))])
    for a, b in zip(parameters(model), before, strict=True):
        np.testing.assert_array_equal(a, b)
    model.set_parameters(good)
    assert all((a == 1).all() for a in parameters(model))
