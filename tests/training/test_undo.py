"""A step that fails leaves nothing on the model: failures of the user's parts and of memory."""

from __future__ import annotations

import numpy as np
import pytest
from networks import Network, model_of
from test_step_whole import backend_named, visible

import nnfs_gpu as ng
from nnfs_gpu.rollback import all_or_nothing
from nnfs_gpu.training.engines import LayerSteps

NETWORK = Network((2, 8, 8, 3), keep=0.8)


def made(optimizer=None, backend="numpy"):
    model = NETWORK.model(backend_named(backend))
    if optimizer is not None:
        model.set(optimizer=optimizer)
        model.finalize()
    return model, *NETWORK.data(model, 40)


class Fails(ng.Optimizer_Adam):
    """At one layer's update of one step, when it has done half of it."""

    def __init__(self, step, layer, error=MemoryError):
        super().__init__(0.01, decay=0.001)
        self.step, self.layer, self.error, self.updated = step, layer, error, 0
        self.moving = None

    def update_params(self, layer):
        self.updated += 1
        place = (self.updated - 1) % 3
        if (self.iterations, place) == (self.step, self.layer):
            self._update(layer, layer.weights, layer.dweights, "weight")
            layer.noted = np.ones(3)
            self.moving = "here"
            raise self.error
        super().update_params(layer)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("layer", [0, 1, 2])
@pytest.mark.parametrize("step", [0, 1, 4])
def test_an_optimizer_that_fails_in_the_middle_has_changed_nothing(backend, step, layer):
    expected, X, y = made(ng.Optimizer_Adam(0.01, decay=0.001), backend)
    reference = LayerSteps(expected)
    for _ in range(step):
        reference.step(X, y)
    model, X, y = made(Fails(step, layer), backend)
    engine = LayerSteps(model)
    arrays = [one.weights for one in model.trainable_layers]
    for _ in range(step):
        engine.step(X, y)
    with pytest.raises(MemoryError):
        engine.step(X, y)
    assert visible(model) == visible(expected)
    assert model.optimizer.updated == 3 * step
    assert model.optimizer.moving is None
    assert not any(hasattr(one, "noted") for one in model.trainable_layers)
    assert all(a is one.weights for a, one in zip(arrays, model.trainable_layers, strict=True))
    model.optimizer.step = -1
    for _ in range(3):
        engine.step(X, y)
        reference.step(X, y)
    assert visible(model) == visible(expected)


def test_a_step_fails_after_a_call_that_was_taken_back():
    """The engine's notes of the layers are right though the call has put their attributes back."""
    model, X, y = made(Fails(2, 1))
    engine = LayerSteps(model)
    engine.step(X, y)

    def fail():
        with all_or_nothing(model, *model.layers, model.optimizer):
            model.layers[0].noted = np.ones(3)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert not hasattr(model.layers[0], "noted")
    engine.step(X, y)
    before = visible(model)
    with pytest.raises(MemoryError):
        engine.step(X, y)
    assert visible(model) == before


def test_another_optimizers_state_comes_back_where_the_first_step_of_the_new_one_fails():
    model, X, y = made(ng.Optimizer_SGD(0.1, momentum=0.9))
    LayerSteps(model).step(X, y)
    before = visible(model)
    model.set(optimizer=Fails(0, 2))
    model.finalize()
    with pytest.raises(MemoryError):
        LayerSteps(model).step(X, y)
    arrays, sums, *_ = visible(model)
    assert (arrays, sums) == before[:2]
    assert {layer.optimizer_kind for layer in model.trainable_layers} == {"Optimizer_SGD"}


class OwnDropout:
    """As the book has it: masks from NumPy's stream, and a count of its own."""

    def __init__(self, rate):
        self.rate, self.passes, self.last = 1 - rate, 0, None

    def forward(self, inputs, training=True):
        if not training:
            self.output = inputs
            return inputs
        self.passes += 1
        self.mask = np.random.binomial(1, self.rate, inputs.shape) / self.rate
        self.output = inputs * self.mask.astype(inputs.dtype)
        return self.output

    def backward(self, dvalues):
        self.dinputs = dvalues * self.mask.astype(dvalues.dtype)
        return self.dinputs


@pytest.mark.parametrize("own", [True, False])
def test_masks_from_numpys_stream_are_drawn_again(own):
    """A step that fails has drawn nothing: the one after it is the step that it would have been."""

    def build(optimizer):
        np.random.seed(5)
        with ng.use_backend(ng.get_backend("numpy", dtype="float32", book_random=True)):
            model = model_of(
                ng.Layer_Dense(2, 8),
                OwnDropout(0.3) if own else ng.Layer_Dropout(0.3),
                ng.Layer_Dense(8, 8),
                ng.Layer_Dense(8, 3),
                ng.Activation_Softmax(),
                optimizer=optimizer,
            )
        return model, LayerSteps(model)

    expected, reference = build(ng.Optimizer_Adam(0.01, decay=0.001))
    X, y = NETWORK.data(expected, 40)
    for _ in range(3):
        reference.step(X, y)
    drawn = np.random.get_state()[1:3]
    model, engine = build(Fails(1, 1))
    engine.step(X, y)
    with pytest.raises(MemoryError):
        engine.step(X, y)
    assert not own or model.layers[1].passes == 1
    model.optimizer.step = -1
    for _ in range(2):
        engine.step(X, y)
    assert visible(model) == visible(expected)
    np.testing.assert_array_equal(np.random.get_state()[1], drawn[0])
    assert np.random.get_state()[2] == drawn[1]


def test_arrays_that_lie_apart_and_of_another_dtype_come_back():
    """As a program may leave them: columns of a larger array, sums in float64."""
    model, X, y = made(Fails(1, 2))
    engine = LayerSteps(model)
    engine.step(X, y)
    layer = model.trainable_layers[1]
    layer._weights = np.asfortranarray(layer.weights)
    layer.weight_cache = layer.weight_cache.astype(np.float64)
    before = visible(model)
    with pytest.raises(MemoryError):
        engine.step(X, y)
    assert visible(model) == before


class Slots:
    """An optimizer with slots, of the user's own, that moves weights alone."""

    __slots__ = ("current_learning_rate", "iterations")

    def __init__(self):
        self.iterations, self.current_learning_rate = 0, 0.1

    def pre_update_params(self):
        pass

    def update_params(self, layer):
        layer.weights -= self.current_learning_rate * layer.dweights

    def post_update_params(self):
        self.iterations += 1


class OwnDense:
    """Weights, and one bias that is nothing's."""

    def __init__(self, n_inputs, n_neurons):
        self.n_inputs, self.n_neurons = n_inputs, n_neurons
        self.biases = np.zeros((1, 1), np.float32)
        self.weights = np.random.RandomState(1).randn(n_inputs, n_neurons).astype(np.float32)

    def forward(self, inputs, training=True):
        self.inputs = inputs
        self.output = inputs @ self.weights
        return self.output

    def backward(self, dvalues):
        self.dweights = self.inputs.T @ dvalues
        self.dbiases = np.zeros_like(self.biases)
        self.dinputs = dvalues @ self.weights.T
        return self.dinputs


def test_an_optimizer_with_slots_and_an_own_layer_train():
    with ng.use_backend(backend_named("numpy")):
        model, X, y = made()
        layers, roles = (OwnDense(2, 3), ng.Activation_Softmax()), (model.loss, model.accuracy)
        own = model_of(*layers, loss=roles[0], optimizer=Slots(), accuracy=roles[1])
    model.loss.trainable_layers = ()  # an own layer has no regularizers
    before = own.layers[0].weights.copy()
    LayerSteps(own).step(X, y)
    assert own.optimizer.iterations == 1
    assert not np.array_equal(own.layers[0].weights, before)


@pytest.mark.parametrize("engine", ["layers", "fused"])
@pytest.mark.parametrize("when", ["batch", "epoch"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_a_callback_that_fails_leaves_whole_steps(engine, when, error):
    class Failing(ng.Callback):
        def on_train_batch_end(self, batch, logs):
            if when == "batch" and (logs["epoch"], batch) == (2, 1):
                raise error

        def on_epoch_end(self, epoch, logs):
            if when == "epoch" and epoch == 2:
                raise error

    def trained(callbacks, epochs):
        model.train(
            *data,
            epochs=epochs,
            batch_size=15,
            print_every=None,
            callbacks=callbacks,
            engine=engine,
        )

    def build():
        model = NETWORK.model(backend_named("numba"))
        X, y = NETWORK.data(model, 45)
        return model, (X, np.asarray(y.values))

    model, data = build()
    trained([], 2)
    expected = visible(model)
    model, data = build()
    with pytest.raises(error):
        trained([Failing()], 5)
    done = 5 if when == "batch" else 6
    assert model.optimizer.iterations == done
    assert [one.calls for one in model.layers if hasattr(one, "calls")] == [done] * 2
    assert model.loss.accumulated_count == model.accuracy.accumulated_count == 15 * (done - 3)
    if when == "epoch":
        assert visible(model) == expected
