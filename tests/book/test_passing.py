"""What a layer does not hold after fused training says so when it is read."""

import copy
import pickle

import numpy as np
import pytest
from remedies_followed import network

import nnfs_gpu as ng

X = np.random.default_rng(0).normal(size=(40, 2))
Y = np.arange(40) % 3
QUIET = {"print_every": None}
NAMES = ("inputs", "output", "dinputs")


@pytest.fixture
def model():
    """A network with dropout on the backend that has a fused step."""
    ng.use_backend("numba")
    made = network()
    made.layers.insert(2, ng.Layer_Dropout(0.1, seed=0))
    made.finalize()
    return made


def parts(model):
    """(layer, name) of all that a pass leaves on a model."""
    for layer in model.layers:
        yield from ((layer, name) for name in NAMES)
    yield model.layers[2], "binary_mask"
    yield model.input_layer, "output"


def test_reading_says_who_keeps_none_and_who_does(model):
    model.train(X, Y, engine="fused", **QUIET)
    for layer, name in parts(model):
        with pytest.raises(AttributeError) as refused:
            getattr(layer, name)
        text = str(refused.value)
        assert text.startswith(f"{type(layer).__name__}.{name} is not there: the fused engine")
        assert "engine='layers'" in text
        assert not hasattr(layer, name)
        assert getattr(layer, name, None) is None
        assert name not in vars(layer)
    model.train(X, Y, engine="layers", **QUIET)  # what the message says to do
    for layer, name in parts(model):
        assert getattr(layer, name).shape[0] == 40
    assert model.layers[-1].output.shape == (40, 3)


def test_before_any_pass_nothing_is_different(model):
    for layer in model.layers:
        assert layer.inputs is layer.output is None
        with pytest.raises(AttributeError, match="backward has not been called"):
            _ = layer.dinputs
        with pytest.raises(RuntimeError, match="backward was called before forward"):
            layer.backward(X)
    assert isinstance(ng.Layer_Dense.output, type(ng.Layer_Dense.inputs))


def test_a_forward_pass_afterwards_leaves_its_output(model):
    model.train(X, Y, engine="fused", validation_data=(X[:7], Y[:7]), **QUIET)
    assert model.layers[-1].output.shape == (7, 3)  # the validation's, as in the book
    model.forward(X, training=False)
    assert model.layers[-1].output.shape == (40, 3)
    with pytest.raises(AttributeError, match=r"Layer_Dense.dinputs is not there"):
        _ = model.layers[0].dinputs
    model.train(X, Y, engine="fused", **QUIET)  # nor is that pass's output this step's
    assert not any(hasattr(layer, name) for layer, name in parts(model))


class Look(ng.Callback):
    """Looks at the layers between steps, as a program may."""

    def on_train_batch_end(self, batch, logs):
        assert not hasattr(self.model.layers[0], "output")
        self.model.forward(X[:5], training=False)
        assert self.model.layers[0].output.shape == (5, 5)


def test_a_callback_that_runs_the_model_between_steps(model):
    model.train(X, Y, engine="fused", batch_size=10, callbacks=[Look()], epochs=2, **QUIET)


@pytest.mark.parametrize("engine", ["fused", "layers"])
def test_copies_and_pickles(model, engine):
    model.train(X, Y, engine=engine, **QUIET)
    for make in (copy.copy, copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))):
        for layer in (*model.layers, model.input_layer):
            made = make(layer)
            assert vars(made).keys() == vars(layer).keys() - {"prev", "next"}
            assert hasattr(made, "output") is hasattr(layer, "output")
            assert repr(made) == repr(layer)
    made = copy.deepcopy(model)
    np.testing.assert_array_equal(made.predict(X), model.predict(X))


def test_backward_without_its_forward(model):
    model.train(X, Y, engine="fused", **QUIET)
    with pytest.raises(AttributeError, match="is not there: the fused engine"):
        model.backward(np.full((40, 3), 1 / 3), Y)
    output = model.forward(X)
    model.backward(output, Y)
    assert model.layers[0].dinputs.shape == X.shape


def test_own_layers_without_the_attributes():
    """A class that derives from one of ours and forgets to call its constructor."""

    class Bare(ng.Activation_ReLU):
        def __init__(self):
            self.backend = ng.get_backend()

    layer = Bare()
    assert not hasattr(layer, "output")
    layer.forward(X)
    assert layer.output.shape == X.shape


@pytest.mark.parametrize("part", ["loss", "softmax_classifier_output"])
def test_losses_say_so_too(model, part):
    model.train(X, Y, engine="layers", **QUIET)
    model.train(X, Y, engine="fused", **QUIET)
    with pytest.raises(AttributeError, match=r"dinputs is not there: the fused engine.*'layers'"):
        getattr(model, part).dinputs  # noqa: B018
    copied = pickle.loads(pickle.dumps(model))
    assert not hasattr(getattr(copied, part), "dinputs")
    targets = getattr(model, part).backward(np.full((len(X), 3), 1 / 3, np.float32), Y)
    np.testing.assert_array_equal(getattr(model, part).dinputs, targets)
