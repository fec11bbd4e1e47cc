"""Arrays of others come in, and what is on the device stays there.

Proves: layers take arrays of NumPy, PyTorch and JAX with the same result, and give back arrays
of their backend; an array that lies on the other side crosses over once, and never for an
operation; nothing on the cupy backend's way mixes NumPy arrays with the device's, which CuPy
refuses (fake_cupy.py). What lies on a GPU and is asked for on the CPU is fetched.
"""

from __future__ import annotations

import types

import numpy as np
import pytest
from device_arrays import DeviceArray
from fake_cupy import DeviceBackend
from helpers import DTYPES, as_tuple, assert_close

from nnfs_gpu import (
    Activation_ReLU,
    Activation_Softmax_Loss_CategoricalCrossentropy,
    Layer_Dense,
    Optimizer_Adam,
    get_backend,
    use_backend,
)
from nnfs_gpu.backend import arrays
from nnfs_gpu.backend.numpy_backend import NumpyBackend
from nnfs_gpu.selftest.operations import OPERATIONS


# ---- arrays of other libraries ----
def torch_tensor(a):
    return pytest.importorskip("torch").from_numpy(a.copy())


def jax_array(a):
    return pytest.importorskip("jax.numpy").asarray(a)


class ByProtocol:
    """An array that knows DLPack alone, as any library's on the CPU may."""

    def __init__(self, a):
        self._a, self.shape, self.dtype = a, a.shape, a.dtype

    def __array__(self, dtype=None, copy=None):
        return self._a if dtype is None else self._a.astype(dtype)

    def __dlpack__(self, **options):
        return self._a.__dlpack__(**options)

    def __dlpack_device__(self):
        return self._a.__dlpack_device__()


FOREIGN = (torch_tensor, jax_array, ByProtocol, lambda a: a.tolist(), lambda a: a[::-1][::-1])
FOREIGN_NAMES = ("torch", "jax", "protocol", "lists", "strided")


@pytest.mark.parametrize("make", FOREIGN, ids=FOREIGN_NAMES)
def test_layers_take_arrays_of_others(backend, make):
    rng = np.random.RandomState(0)
    x, dy = rng.randn(5, 3).astype(np.float32), rng.randn(5, 4).astype(np.float32)
    with use_backend(backend):
        dense, relu = Layer_Dense(3, 4), Activation_ReLU()
        last = Activation_Softmax_Loss_CategoricalCrossentropy()
    w = rng.randn(3, 4).astype(np.float32)

    def results(of):
        dense.weights = of(w)
        found = [dense.forward(of(x)), relu.forward(of(dy)), relu.backward(of(dy))]
        found += [dense.backward(of(dy)), dense.dweights, dense.dbiases]
        last.forward(of(dy), of(np.array([0, 1, 2, 3, 0])))
        found += [last.output, last.backward(last.output, of(np.array([0, 1, 2, 3, 0])))]
        return found

    expected = results(lambda a: a)
    for result, want in zip(results(make), expected, strict=True):
        assert type(result) is type(want)
        assert result.dtype == backend.dtype
        assert backend.to_numpy(result).tobytes() == backend.to_numpy(want).tobytes()


def test_a_tensor_that_wants_gradients_says_what_to_do(backend):
    torch = pytest.importorskip("torch")
    with pytest.raises(RuntimeError, match="detach"):
        backend.asarray(torch.ones(2, 2, requires_grad=True))


# ---- what lies on a GPU, asked for on the CPU ----
@pytest.mark.parametrize("way", arrays.TO_HOST)
@pytest.mark.parametrize("protocol", ["__cuda_array_interface__", "__dlpack_device__"])
def test_an_array_on_a_gpu_is_fetched(way, protocol):
    """CuPy's, PyTorch's and Numba's own ways; np.asarray alone would raise."""
    a, fetched = np.arange(6.0).reshape(2, 3), []

    def fetch():
        fetched.append(way)
        return a

    given = {"__cuda_array_interface__": {}, "__dlpack_device__": lambda: (arrays.KDL_CUDA, 0)}
    foreign = types.SimpleNamespace(**{protocol: given[protocol], way: fetch})
    for name in ("numpy", "numba"):
        backend = get_backend(name, dtype="float32")
        assert_close(backend.asarray(foreign), a, np.float32, ulps=0)
    assert fetched == [way, way]


# ---- once in, never out: counted on a CuPy that refuses NumPy arrays ----
@pytest.fixture
def device(dtype, compiler):
    return DeviceBackend(dtype)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda o: o.id)
def test_no_operation_moves_anything(device, operation):
    """Neither in nor out; results are the device's. (`to_numpy` and a bool are ways out.)"""
    arguments = operation.arguments(device.dtype, 33, 5)
    moved = {
        name: device.asarray(value, value.dtype) if isinstance(value, np.ndarray) else value
        for name, value in arguments.items()
    }
    device.xp.reset()
    results = as_tuple(getattr(device, operation.name)(**moved))
    assert device.xp.copied_in == []
    assert device.xp.copied_out == ([(33, 5)] if operation.name == "to_numpy" else [])
    if operation.name not in ("to_numpy", "all_finite"):
        assert all(isinstance(a, DeviceArray) for a in results)


def test_a_numpy_array_given_to_a_layer_is_copied_once(device):
    rng = np.random.RandomState(1)
    with use_backend(device):
        dense, relu = Layer_Dense(3, 4), Activation_ReLU()
    x, dy = rng.randn(7, 3), rng.randn(7, 4)
    device.xp.reset()
    hidden = relu.forward(dense.forward(x))
    assert device.xp.copied_in == [(7, 3)]
    dense.backward(relu.backward(dy))
    assert device.xp.copied_in == [(7, 3), (7, 4)]
    on_device = device.asarray(x)
    device.xp.reset()
    relu.forward(dense.forward(on_device))
    dense.backward(relu.backward(hidden))
    assert (device.xp.copied_in, device.xp.copied_out) == ([], [])
    found = (dense.inputs, dense.output, dense.dinputs, dense.dweights, relu.output, dense.weights)
    assert all(isinstance(a, DeviceArray) for a in found)


def test_training_by_hand_moves_nothing_but_labels_that_are_checked(device):
    """The book's loop on arrays of the device: the same numbers as the specification's."""
    runs = []
    for backend in (device, NumpyBackend(device.dtype)):
        np.random.seed(2)
        with use_backend(backend):
            first, relu, second = Layer_Dense(2, 8), Activation_ReLU(), Layer_Dense(8, 3)
            last = Activation_Softmax_Loss_CategoricalCrossentropy()
            adam = Optimizer_Adam(0.05)
        x, t = backend.spiral(20, 3, 4)
        if backend is device:
            device.xp.reset()
        for _ in range(3):
            loss = last.forward(second.forward(relu.forward(first.forward(x))), t)
            first.backward(relu.backward(second.backward(last.backward(last.output, t))))
            adam.pre_update_params()
            for layer in (first, second):
                adam.update_params(layer)
            adam.post_update_params()
        if backend is device:
            assert device.xp.copied_in == []
            assert set(device.xp.copied_out) <= {t.shape}
            assert isinstance(loss, DeviceArray)
        runs.append([backend.to_numpy(a) for a in (first.weights, second.weights, last.output)])
    for ours, theirs in zip(*runs, strict=True):
        assert_close(ours, theirs, device.dtype, ulps=256, magnitude=np.abs(theirs) + 0.05)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_fake_is_as_strict_as_cupy(dtype):
    xp = DeviceBackend(dtype).xp
    a, host = xp.asarray(np.ones(3)), np.ones(3)
    for mix in (
        lambda: a + host,
        lambda: host * a,
        lambda: xp.dot(a, host),
        lambda: np.dot(a, host),
    ):
        with pytest.raises(TypeError, match="NumPy array where CuPy's is expected"):
            mix()
    with pytest.raises(ValueError, match="cannot be used for fill"):
        a[:] = host
    assert isinstance(a + 1, DeviceArray)
    assert isinstance(a.sum(), DeviceArray)
