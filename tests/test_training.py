"""The training loop: shuffled epochs, and the engines that do a step."""

import numpy as np
import pytest
from model_programs import X, Y, network

from nnfs_gpu import (
    Activation_ReLU,
    Activation_Softmax,
    Layer_Dense,
    Optimizer_SGD,
    training,
    use_backend,
)


@pytest.fixture
def backend(backend):
    """Every backend and dtype in turn, made the default that objects are constructed with."""
    use_backend(backend)
    return backend


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
    orders = {tuple(training.epoch_order(50, seed, epoch)) for seed in (0, 1) for epoch in (1, 2)}
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
