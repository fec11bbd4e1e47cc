"""What training has gathered goes into a file: a loaded model trains on with the same bits."""

import numpy as np
import pytest
from model_files import X, Y, architecture, bits, build
from networks import dense_model, dropout
from safetensors.numpy import load_file

from nnfs_gpu import (
    Activation_LeakyReLU,
    Activation_Linear,
    Activation_Sigmoid,
    Activation_Tanh,
    Model,
    Optimizer_Adagrad,
    Optimizer_Adam,
    Optimizer_AdamW,
    Optimizer_RMSprop,
    Optimizer_SGD,
    init,
    use_backend,
)

pytestmark = pytest.mark.default_backend


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: Optimizer_SGD(0.3),
        lambda: Optimizer_SGD(0.3, 1e-2, momentum=0.9),
        lambda: Optimizer_Adagrad(0.3, 1e-2),
        lambda: Optimizer_RMSprop(0.02, 1e-2),
        lambda: Optimizer_Adam(0.05, 1e-2),
        lambda: Optimizer_AdamW(0.05, 1e-2, weight_decay=0.1),
    ],
    ids=["sgd", "momentum", "adagrad", "rmsprop", "adam", "adamw"],
)
def test_a_loaded_model_trains_on(backend, tmp_path, optimizer):
    """With the optimizer's arrays, iterations and rate: the bits of one that was never saved."""
    model = build(optimizer())
    model.save(tmp_path / "m")
    loaded = Model.load(tmp_path / "m")
    for one in (model, loaded):
        one.train(X, Y, epochs=3, print_every=None)
    assert bits(loaded) == bits(model)
    again = Model.load(tmp_path / "m")
    assert bits(again) != bits(loaded)  # training did not write into the file


def regression(rate=0.25):
    """A trained network with dropout, a sigmoid and a linear output."""
    hidden = [Activation_Sigmoid, dropout(rate)]
    model = dense_model(2, 5, 1, hidden=hidden, last=Activation_Linear, seed=3)
    model.train(X, X[:, :1], epochs=3, print_every=None)
    return model


@pytest.mark.parametrize("activation", [Activation_Tanh, lambda: Activation_LeakyReLU(0.2)])
def test_other_activations_come_back_with_their_constants(tmp_path, activation):
    model = dense_model(2, 5, 1, hidden=[activation], last=Activation_Linear, seed=3)
    model.train(X, X[:, :1], epochs=3, print_every=None)
    model.save(tmp_path / "m")
    loaded = Model.load(tmp_path / "m")
    mine, its = model.layers[1], loaded.layers[1]
    assert type(its) is type(mine)
    assert getattr(its, "negative_slope", None) == getattr(mine, "negative_slope", None)
    for one in (model, loaded):
        one.train(X, X[:, :1], epochs=3, print_every=None)
    assert bits(loaded) == bits(model)


@pytest.mark.parametrize("rate", [0, 0.1, 0.25, 0.7, 0.9, 1 / 3])
def test_dropout_and_regression_go_on_where_they_were(backend, tmp_path, rate):
    model = regression(rate)
    model.save(tmp_path / "m")
    loaded = Model.load(tmp_path / "m")
    mine, its = model.layers[2], loaded.layers[2]
    assert (its.rate, its.seed, its.calls) == (mine.rate, mine.seed, mine.calls)
    assert (mine.calls, type(mine.seed)) == (3, int)
    assert loaded.accuracy.precision == model.accuracy.precision > 0
    for one in (model, loaded):
        one.train(X, X[:, :1] * 2, epochs=3, print_every=None)
    assert bits(loaded) == bits(model)


def test_the_book_s_random_stream_travels_along(backend_name, tmp_path):
    """After init() dropout draws from NumPy's stream: put back when asked for, else left alone."""
    use_backend(backend_name)
    init()
    model = regression()
    model.save(tmp_path / "m")
    model.train(X, X[:, :1], epochs=2, print_every=None)
    np.random.seed(77)
    elsewhere = np.random.get_state(legacy=False)
    left = Model.load(tmp_path / "m")
    np.testing.assert_equal(np.random.get_state(legacy=False), elsewhere)
    loaded = Model.load(tmp_path / "m", random_state=True)
    loaded.train(X, X[:, :1], epochs=2, print_every=None)
    assert bits(loaded) == bits(model) != bits(left)


def test_a_model_saved_without_the_book_s_stream_holds_none(backend_name, tmp_path):
    use_backend(backend_name, book_random=False)
    regression().save(tmp_path / "m")
    assert "random.key" not in load_file(tmp_path / "m")
    assert architecture(tmp_path / "m")["random"] is None
