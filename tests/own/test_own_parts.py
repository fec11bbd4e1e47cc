"""Parts of the user's own, in the book's style, train, evaluate and predict like ours.

One network a kind (own_networks.py), on every CPU backend and on the emulated cupy. That the
gradients are right is seen by random projections, in float64.
"""

from __future__ import annotations

import numpy as np
import own_networks as networks
import pytest
from helpers import EMULATED

import nnfs_gpu
from nnfs_gpu import Model, use_backend
from nnfs_gpu.fused import CannotFuse
from nnfs_gpu.network.network import loss_of

X = networks.X


@pytest.mark.parametrize("name", networks.ALL)
def test_trains_evaluates_and_predicts(backend_name, capsys, name):
    """The loss falls; evaluation agrees with training's; parameters keep their dtype."""
    use_backend(backend_name, dtype="float32")
    model, y = networks.build(name)
    history = model.train(X, y, epochs=40, batch_size=32, validation_data=(X, y))
    assert history["loss"][-1] < 0.7 * history["loss"][0]
    measured = model.evaluate(X, y, batch_size=32)
    assert measured["loss"] == pytest.approx(history["val_loss"][-1], rel=1e-5)
    assert measured["accuracy"] == pytest.approx(history["val_accuracy"][-1], rel=1e-5)
    lines = capsys.readouterr().out.splitlines()
    assert f"acc: {measured['accuracy']:.3f}, loss: {measured['loss']:.3f}" in lines[-1]
    predicted = model.predict(X, batch_size=25)
    assert predicted.shape == (60, 1 if name in ("f1",) or y is networks.NUMBERS else 3)
    assert predicted.dtype == np.float32
    for pair in model.get_parameters():
        assert [p.dtype for p in pair] == [np.float32] * 2


@pytest.mark.parametrize("name", ["tanh", "swish", "dense", "first", "log cosh", "focal", "nadam"])
def test_trains_on_the_kernels_of_cuda(monkeypatch, name):
    """The emulated cupy backend: CUDA's kernels, run by the CPU."""
    place = ("emulation.backend", "EmulatedCupyBackend")
    monkeypatch.setitem(nnfs_gpu.backend._MODULES, EMULATED, place)
    with use_backend(EMULATED, dtype="float32"):
        model, y = networks.build(name)
    history = model.train(X, y, epochs=3, print_every=None)
    with use_backend("numpy", dtype="float32"):
        oracle, _ = networks.build(name)
    expected = oracle.train(X, y, epochs=3, print_every=None)
    np.testing.assert_allclose(history["loss"], expected["loss"], rtol=1e-4)
    np.testing.assert_allclose(model.predict(X), oracle.predict(X), atol=1e-3)


@pytest.mark.parametrize("name", sorted({*networks.LAYERS, *networks.LOSSES} - {"relu6"}))
def test_gradients_by_random_projection(capsys, name):
    """d loss along a random direction of all parameters = sum of gradients times direction."""
    use_backend("numpy", dtype="float64")
    model, y = networks.build(name)
    y = model.checked_targets(X, y, "test")
    rng, step = np.random.RandomState(3), 1e-6
    start = [tuple(p.copy() for p in pair) for pair in model.get_parameters()]
    along = [tuple(rng.randn(*p.shape) for p in pair) for pair in start]

    def loss_at(t):
        moved = [
            tuple(p + t * d for p, d in zip(pair, directions, strict=True))
            for pair, directions in zip(start, along, strict=True)
        ]
        model.set_parameters(moved)
        return float(np.mean(loss_of(model).forward(model.forward(X, training=True), y)))

    slope = (loss_at(step) - loss_at(-step)) / (2 * step)
    model.set_parameters(start)
    model.backward(model.forward(X, training=True), y)
    expected = sum(
        float(np.sum(gradient * direction))
        for layer, directions in zip(model.trainable_layers, along, strict=True)
        for gradient, direction in zip((layer.dweights, layer.dbiases), directions, strict=True)
    )
    assert slope == pytest.approx(expected, rel=1e-4, abs=1e-7)
    assert abs(slope) > 1e-4  # the projection sees something


# ---- engines ----
@pytest.mark.parametrize("name", sorted(set(networks.ALL) - {"print"}))
def test_nothing_of_one_s_own_is_fused(capsys, name):
    use_backend("numba", dtype="float32")
    model, y = networks.build(name)
    model.explain()
    assert "layer by layer: " in capsys.readouterr().out
    before = [tuple(p.copy() for p in pair) for pair in model.get_parameters()]
    with pytest.raises(CannotFuse, match=r"engine='fused': .*(own|Own|OnScores|_|Softmax).*; use"):
        model.train(X, y, engine="fused", print_every=None)
    for pair, old in zip(model.get_parameters(), before, strict=True):
        for p, q in zip(pair, old, strict=True):
            np.testing.assert_array_equal(p, q)
    model.train(X, y, engine="auto", print_every=None)
    model.train(X, y, engine="layers", print_every=None)


@pytest.mark.parametrize(
    ("place", "method"),
    [
        (lambda model: model.layers[0], "forward"),
        (lambda model: model.layers[1], "backward"),
        (lambda model: model.loss, "forward"),
        (lambda model: model.accuracy, "compare"),
        (lambda model: model.optimizer, "update_params"),
        (lambda model: model, "forward"),
    ],
)
def test_a_method_that_was_replaced_on_an_object_is_called(place, method):
    """Of the very classes that are fused: somebody looks into them, or tries something."""
    use_backend("numba", dtype="float32")
    model, calls = networks.ours(), []
    original = getattr(place(model), method)

    def watched(*arguments, **options):
        calls.append(method)
        return original(*arguments, **options)

    setattr(place(model), method, watched)
    model.finalize()
    model.train(X, networks.LABELS, epochs=2, print_every=None)
    assert len(calls) >= 2
    with pytest.raises(CannotFuse, match=f"another {method} than the package's"):
        model.train(X, networks.LABELS, engine="fused", print_every=None)


def test_a_model_that_overrides_forward_is_not_fused():
    class Doubled(Model):
        def forward(self, X, training=True):
            return super().forward(2 * X, training)

    use_backend("numba", dtype="float32")
    model = networks.ours()
    model.__class__ = Doubled
    with pytest.raises(CannotFuse, match="another forward"):
        model.train(X, networks.LABELS, engine="fused", print_every=None)
