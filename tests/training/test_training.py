"""The training loop: shuffled epochs, and the engines that do a step."""

import numpy as np
import pytest
from model_programs import X, Y, network, parameters

from nnfs_gpu import (
    Activation_ReLU,
    Activation_Softmax,
    Callback,
    Layer_Dense,
    Layer_Dropout,
    Optimizer_SGD,
    use_backend,
)
from nnfs_gpu.data.order import order_of
from nnfs_gpu.training import engines, loop as training

pytestmark = pytest.mark.default_backend


# ---- shuffling ----
class Seen(Activation_ReLU):
    """Writes down the batches that go through it."""

    def __init__(self):
        super().__init__()
        self.batches = []

    def forward(self, inputs, training=True):
        if training:
            self.batches.append(self.backend.to_numpy(self.backend.asarray(inputs)).copy())
        return super().forward(inputs, training)


@pytest.mark.parametrize("batch_size", [None, 16, 50])
@pytest.mark.parametrize("hot", [False, True])
def test_every_epoch_has_every_sample_with_its_label_once(backend, batch_size, hot):
    points = np.stack([np.arange(30.0), np.arange(30) % 3], axis=1)  # the label is in the point
    y = np.eye(3)[np.arange(30) % 3] if hot else np.arange(30) % 3
    seen = Seen()
    model = network(seen, Layer_Dense(2, 3), Activation_Softmax(), optimizer=Optimizer_SGD(0.0))
    layer = model.layers[1]
    layer.weights = [[0, 0, 0], [-9, 0, 9]]  # class 0 or 2 for label 0 or 2
    layer.biases = [[4, 0, -14]]
    history = model.train(
        points, y, epochs=3, batch_size=batch_size, print_every=None, shuffle=True, seed=5
    )
    epochs = np.concatenate(seen.batches).reshape(3, 30, 2)
    for epoch in epochs:
        assert sorted(epoch[:, 0]) == list(range(30))
        assert (epoch[:, 0] % 3 == epoch[:, 1]).all()
        assert not (epoch[:, 0] == np.arange(30)).all()
    assert not (epochs[0] == epochs[1]).all()
    assert len({round(accuracy, 9) for accuracy in history["accuracy"]}) == 1


def test_the_order_is_a_function_of_seed_and_epoch(backend):
    runs = {}
    for seed in (0, 0, 1, 2**64 - 1):
        model = network()
        np.random.seed(seed % 7)  # the global stream has no part in it
        history = model.train(
            X, Y, epochs=3, batch_size=16, print_every=None, shuffle=True, seed=seed
        )
        assert runs.setdefault(seed, history.history) == history.history
    assert len({tuple(history["loss"]) for history in runs.values()}) == 3
    orders = {tuple(order_of(50, seed, epoch)) for seed in (0, 1) for epoch in (1, 2)}
    assert len(orders) == 4


@pytest.mark.parametrize("seed", [-1, 2**64, 1.5, None, "1"])
def test_bad_seeds(seed):
    use_backend("numpy")
    with pytest.raises((TypeError, ValueError), match=r"seed: got .*, expected a whole number"):
        network().train(X, Y, shuffle=True, seed=seed)


# ---- engines ----
def test_engines(backend_name):
    """The fused engine gives the layers' numbers up to rounding; its name is checked."""
    use_backend(backend_name, dtype="float64")
    by_layers = network().train(X, Y, epochs=3, batch_size=16, print_every=None, engine="layers")
    by_choice = network().train(X, Y, epochs=3, batch_size=16, print_every=None)
    for name, values in by_layers.history.items():
        np.testing.assert_allclose(by_choice[name], values, rtol=1e-9)
    with pytest.raises(ValueError, match="engine: got 'fast', expected 'auto', 'fused' or"):
        network().train(X, Y, engine="fast")


def test_what_cannot_be_fused_is_said(backend_name):
    use_backend(backend_name)
    model = network(Seen(), Layer_Dense(2, 3), Activation_Softmax())
    with pytest.raises(ValueError, match=r"engine='fused': .*; use engine='layers'"):
        model.train(X, Y, engine="fused")
    model.train(X, Y, print_every=None)


# ---- many epochs in one call ----
def counting(monkeypatch):
    """The numbers of epochs that a fused engine is asked for in one call."""
    calls, make = [], engines.steps_for

    def steps_for(model, engine, **options):
        made = make(model, engine, **options)
        run = made.run

        def count(X, y, steps):
            calls.append(steps)
            return run(X, y, steps)

        made.run = count
        return made

    monkeypatch.setattr(training, "steps_for", steps_for)
    return calls


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["plain", "dropout", "decay"])
def test_epochs_in_one_call_are_the_epochs_one_by_one(monkeypatch, dtype, kind):
    """The same bits in the history, the parameters and what the model counts."""
    use_backend("numba", dtype=dtype)

    def made():
        np.random.seed(5)
        dropout = [Layer_Dropout(0.2, seed=3)] if kind == "dropout" else []
        optimizer = Optimizer_SGD(0.3, decay=0.03, momentum=0.5) if kind == "decay" else None
        layers = Layer_Dense(2, 8), Activation_ReLU(), *dropout, Layer_Dense(8, 3)
        return network(*layers, Activation_Softmax(), optimizer=optimizer)

    one_by_one, at_once = made(), made()
    arguments = {"epochs": 2_345, "print_every": None}
    calls = counting(monkeypatch)
    expected = one_by_one.train(X, Y, callbacks=[Callback()], **arguments)
    assert calls == []
    found = at_once.train(X, Y, **arguments)
    assert calls == [1000, 1000, 345]
    assert (found.epoch, found.history) == (expected.epoch, expected.history)
    for a, b in zip(parameters(at_once), parameters(one_by_one), strict=True):
        np.testing.assert_array_equal(a, b)
    for get in (
        lambda m: (m.optimizer.iterations, m.optimizer.current_learning_rate),
        lambda m: (m.loss.accumulated_sum, m.loss.accumulated_count),
        lambda m: (m.accuracy.accumulated_sum, m.accuracy.accumulated_count),
        lambda m: [layer.calls for layer in m.layers if hasattr(layer, "calls")],
    ):
        assert get(at_once) == get(one_by_one)


def test_not_where_somebody_looks_or_a_penalty_is_in_the_history(monkeypatch, tmp_path):
    use_backend("numba")
    model = network()
    calls = counting(monkeypatch)
    for arguments in (
        {"print_every": 5},
        {"callbacks": [Callback()]},
        {"validation_data": (X, Y)},
        {"checkpoint": tmp_path},
        {"shuffle": True},
        {"batch_size": 49},
    ):
        model.train(X, Y, epochs=2, **{"print_every": None} | arguments)
    assert calls == []
    penalized = network(weight_regularizer_l2=0.1)
    whole = penalized.train(X, Y, epochs=3, print_every=None)
    assert calls == []
    after = [penalized.loss.regularization_loss()]
    assert whole["reg_loss"][-1:] == pytest.approx(after)  # as it is after the step
    model.train(X, Y, epochs=2, batch_size=50, print_every=None)
    assert calls == [2]
    many = np.tile(X, (1 << 14, 1)), np.tile(Y, 1 << 14)  # 819,200 samples
    model.train(*many, epochs=5, print_every=None)
    assert calls == [2, 2, 2, 1]
