"""Another optimizer for a trained model begins without what the one before has left.

In the book's code both keep their arrays under the same names. SGD's momentums point downhill
and Adam's uphill, so Adam after SGD with momentum jumped: a loss of 1.07 became 11.
"""

import numpy as np
import pytest
from model_programs import X, Y, network, parameters

from nnfs_gpu import (
    Model,
    Optimizer_Adagrad,
    Optimizer_Adam,
    Optimizer_RMSprop,
    Optimizer_SGD,
)

MAKE = {
    "sgd": lambda: Optimizer_SGD(0.5, momentum=0.9),
    "adagrad": lambda: Optimizer_Adagrad(0.1),
    "rmsprop": lambda: Optimizer_RMSprop(0.01),
    "adam": lambda: Optimizer_Adam(0.01),
}
PAIRS = [(a, b) for a in MAKE for b in MAKE if a != b]


pytestmark = pytest.mark.default_backend


def give(model, optimizer):
    model.set(optimizer=optimizer)
    model.finalize()
    return model


def train(model, engine, epochs=3):
    return model.train(X, Y, epochs=epochs, print_every=None, engine=engine)["loss"]


@pytest.mark.parametrize("engine", ["layers", "auto"])
@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_another_optimizer_begins_anew(backend, first, second, engine):
    model = give(network(), MAKE[first]())
    train(model, engine)
    expected = give(network(), MAKE[second]())
    expected.set_parameters(model.get_parameters())
    assert train(give(model, MAKE[second]()), engine) == train(expected, engine)
    for a, b in zip(parameters(model), parameters(expected), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_new_object_of_the_same_class_goes_on_as_in_the_book(backend):
    model = give(network(), MAKE["sgd"]())
    whole = give(network(), MAKE["sgd"]())
    losses = train(model, "layers") + train(give(model, MAKE["sgd"]()), "layers")
    assert losses == train(whole, "layers", 6)


def test_a_file_holds_no_state_of_another_optimizer(backend, tmp_path):
    model = give(network(), MAKE["sgd"]())
    train(model, "layers")
    give(model, MAKE["adam"]()).save(tmp_path / "m")
    loaded = Model.load(tmp_path / "m")
    assert not hasattr(loaded.layers[0], "weight_momentums")
    assert train(loaded, "layers") == train(model, "layers")


def test_a_loaded_model_knows_whose_its_state_is(backend, tmp_path):
    model = give(network(), MAKE["sgd"]())
    train(model, "layers")
    model.save(tmp_path / "m")
    loaded = give(Model.load(tmp_path / "m"), MAKE["adam"]())
    assert train(loaded, "layers") == train(give(model, MAKE["adam"]()), "layers")
