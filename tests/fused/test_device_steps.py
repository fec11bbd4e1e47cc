"""A training step on a GPU, by CuPy's rules: it mixes no arrays and waits for nothing.

The cupy backend runs here on arrays as strict as CuPy's (fake_cupy.py), its kernels by the
emulator. Proves: no step waits for the device or copies anything, layer by layer or fused, in
one launch or many; a NumPy array that somebody assigns to a gradient, a parameter or the
optimizer's state on such a layer is moved, and the numbers are those of the specification; and
that the fused step asks the device for two attributes, not for all.
"""

from __future__ import annotations

import numpy as np
import pytest
from device_arrays import DeviceArray, WaitingError, no_waiting
from fake_cupy import DeviceBackend
from fused_cuda_networks import NETS, net, oracle_model, state

from nnfs_gpu import Layer_Dense, Optimizer_Adam, Optimizer_SGD, get_backend, use_backend
from nnfs_gpu.fused import make_plan
from nnfs_gpu.fused.cuda import build as cuda_build, device as cuda_device
from nnfs_gpu.fused.cuda.engine import KernelSteps
from nnfs_gpu.fused.tiles import TiledSteps
from nnfs_gpu.training.engines import LayerSteps

pytestmark = pytest.mark.usefixtures("compiler")

SMALL = cuda_build.Device(processors=3, shared=99 * 1024, dynamic=False)
STATES = ("momentums", "cache")
SOME = ("the book's", "dropout", "narrow, sigmoid and binary", "narrow, linear and absolute")


def fused(model):
    return KernelSteps(model, make_plan(model), SMALL)


def wide(model):
    return TiledSteps(model, make_plan(model), tile=20)


@pytest.fixture
def device(dtype):
    return DeviceBackend(dtype)


def oracle(dtype):
    return get_backend("numpy", dtype=dtype, precise_dot=False, book_random=False)


# ---- nothing waits, nothing crosses over ----
@pytest.mark.parametrize("make", [LayerSteps, fused, wide])
@pytest.mark.parametrize("name", SOME)
def test_a_step_waits_for_nothing(device, name, make):
    if make is wide and NETS[name].keep:
        pytest.skip("tiles of rows have no dropout")
    model = NETS[name].model(device)
    X, y = NETS[name].data(model)
    engine = make(model)
    engine.step(X, y)  # allocates, and writes what the model's objects say
    device.xp.reset()
    with no_waiting():
        for _ in range(2):
            measured = engine.step(X, y)
        engine.accumulate(X[:30], y[:30], X.shape[0])
        engine.accumulate(X[30:], y[30:], X.shape[0])
        engine.finish()
    assert (device.xp.copied_in, device.xp.copied_out) == ([], [])
    assert all(isinstance(value, DeviceArray) for value in tuple(measured)[::2])


@pytest.mark.parametrize("small", [True, False], ids=["one launch", "a graph of launches"])
def test_many_steps_wait_for_nothing(device, small, monkeypatch):
    if not small:
        monkeypatch.setattr(cuda_build, "SMALL_WORK", 0)
    model = NETS["the book's"].model(device)
    X, y = NETS["the book's"].data(model)
    engine = fused(model)
    engine.step(X, y)
    with no_waiting():
        engine.run(X, y, 40)


@pytest.mark.parametrize("engine", ["layers", "fused"])
@pytest.mark.parametrize("settings", [{}, {"batch_size": 30}, {"batch_size": 32, "shuffle": True}])
def test_training_waits_outside_of_its_steps_alone(engine, settings, monkeypatch):
    """`Model.train` with NumPy's data, as programs call it; the losses are the specification's."""

    def guarded(method):
        def call(*arguments):
            with no_waiting():
                return method(*arguments)

        return call

    for cls, names in (
        (LayerSteps, ("step", "accumulate", "finish")),
        (KernelSteps, ("step", "run", "accumulate", "finish")),
    ):
        for name in names:
            monkeypatch.setattr(cls, name, guarded(getattr(cls, name)))
    found = []
    for backend in (DeviceBackend("float64"), oracle("float64")):
        model = NETS["the book's"].model(backend)
        X, y = NETS["the book's"].data(oracle_model(NETS["the book's"]))
        options = {"epochs": 3, "print_every": None, "seed": 1, "validation_data": (X, y.values)}
        kind = engine if backend.name == "cupy" else "layers"
        history = model.train(X, y.values, engine=kind, **options | settings)
        found.append((history["loss"], history["val_loss"], history["accuracy"]))
        if backend.name == "cupy":
            assert isinstance(model.layers[0].weights, DeviceArray)
    np.testing.assert_allclose(*found, 1e-9)


def test_waiting_is_noticed(device):
    """Whatever the tests above could miss."""
    a = device.asarray(np.arange(4.0))
    waiting = (
        *(lambda: float(a[0]), lambda: int(a[0]), lambda: bool(a[0] > 0), lambda: a[a > 1]),
        *(lambda: a.get(), lambda: a[0].item(), lambda: f"{a[0]:.1f}", lambda: device.to_numpy(a)),
        *(lambda: device.synchronize(), lambda: device.all_finite(a), lambda: a.tolist()),
    )
    for wait in waiting:
        wait()
        with no_waiting(), pytest.raises(WaitingError):
            wait()


def test_the_fused_step_asks_for_two_attributes(device):
    assert cuda_device.device_of(device.xp) == cuda_build.Device(3, 48 * 1024)
    assert device.xp.asked == ["MultiProcessorCount", "MaxSharedMemoryPerBlockOptin"]


# ---- what somebody assigns ----
def assigned(model, rng):
    """New gradients, parameters and state as NumPy arrays of float64 on every dense layer."""
    for layer in model.trainable_layers:
        for kind, w in (("weight", layer.weights), ("bias", layer.biases)):
            setattr(layer, f"d{kind}{'s' if kind == 'weight' else 'es'}", rng.normal(size=w.shape))
            for name in STATES:
                if hasattr(layer, f"{kind}_{name}"):
                    setattr(layer, f"{kind}_{name}", rng.uniform(0.1, 1, w.shape))


@pytest.mark.parametrize("make", [LayerSteps, fused, wide])
@pytest.mark.parametrize("optimizer", ["momentum", "adagrad", "rmsprop", "adam"])
def test_numpy_state_between_two_steps_is_moved(device, make, optimizer):
    of = net(3, 8, 3, optimizer=optimizer, rows=40)
    found = []
    for backend, engine_of in ((device, make), (oracle(device.dtype), LayerSteps)):
        model = of.model(backend)
        X, y = of.data(model)
        engine = engine_of(model)
        for _ in range(2):
            engine.step(X, y)
            assigned(model, np.random.default_rng(3))
        engine.step(X, y)
        found.append(state(model))
        if backend is device:
            for layer in model.trainable_layers:
                held = [
                    v for k, v in vars(layer).items() if k.startswith(("weight_", "bias_", "d"))
                ]
                assert not any(isinstance(value, np.ndarray) for value in held)
    ours, theirs = found
    assert ours.keys() == theirs.keys()
    for key, value in theirs.items():
        np.testing.assert_allclose(ours[key], value, 2e-4 if device.dtype == "f4" else 1e-9, 1e-6)


@pytest.mark.parametrize("make", [np.array, np.ndarray.tolist], ids=["NumPy array", "lists"])
def test_a_gradient_from_the_host_is_moved(device, make):
    """The book's loop with a gradient of one's own; clipped with NumPy, for instance."""
    with use_backend(device):
        layer = Layer_Dense(2, 3)
    for adam in (Optimizer_SGD(0.5), Optimizer_SGD(0.5, momentum=0.9), Optimizer_Adam(0.5)):
        layer.weights, layer.biases = np.ones((2, 3)), np.zeros((1, 3))
        layer.dweights, layer.dbiases = make(np.ones((2, 3))), make(-np.ones((1, 3)))
        adam.pre_update_params()
        adam.update_params(layer)
        adam.post_update_params()
        np.testing.assert_allclose(layer.weights.get(), np.full((2, 3), 0.5), 1e-6)
        np.testing.assert_allclose(layer.biases.get(), np.full((1, 3), 0.5), 1e-6)
        assert isinstance(layer.dweights, DeviceArray)
        assert layer.dweights.dtype == device.dtype


def test_a_gradient_of_another_shape_is_refused(device):
    with use_backend(device):
        layer = Layer_Dense(2, 3)
    layer.dweights, layer.dbiases = np.ones((3, 2)), np.ones((1, 3))
    with pytest.raises(ValueError, match=r"dweights: got shape \(3, 2\), expected \(2, 3\)"):
        Optimizer_SGD().update_params(layer)
