"""Backends of two devices are two backends, and the caller's current device decides which.

On the strict stand-in for CuPy with two devices. That kernels go to that device and to the caller's
stream, and that arrays of another are refused there, is test_cuda_launch.py's.
"""

from __future__ import annotations

import numpy as np
import pytest
from device_arrays import DeviceArray
from fake_cupy import DeviceBackend, FakeCupy
from paper import PaperBackend

import nnfs_gpu.backend as selection
from nnfs_gpu import Layer_Dense, get_backend, use_backend
from nnfs_gpu.backend.numpy_backend import NumpyBackend


@pytest.fixture
def two_devices(monkeypatch, fresh):
    """A function that makes the device of that number the caller's current one."""
    current = [0]

    class Cupy(FakeCupy):
        def __init__(self):
            super().__init__()
            self.cuda.Device = lambda: type("Device", (), {"id": current[0]})

        def asarray(self, a, dtype=None):
            if isinstance(a, DeviceArray) and a.data.device_id != current[0]:
                return DeviceArray(a.inside.copy(), current[0])
            return super().asarray(a, dtype)

    class Backend(DeviceBackend):
        def _runtime(self):
            return Cupy(), super()._runtime()[1]

        @classmethod
        def version(cls):
            return "on paper"

    monkeypatch.setitem(globals(), "TwoDevices", Backend)
    monkeypatch.setitem(selection._MODULES, "cupy", (__name__, "TwoDevices"))
    return lambda number: current.__setitem__(0, number)


def test_backends_of_two_devices_are_two(two_devices):
    first = get_backend("cupy")
    assert get_backend("cupy") is first
    two_devices(1)
    second = get_backend("cupy")
    assert second is not first
    assert (first.device_number, second.device_number) == (0, 1)
    assert get_backend("cupy", dtype="float64") is not second
    two_devices(0)
    assert get_backend("cupy") is first


def test_layers_are_made_on_the_callers_current_device(two_devices):
    """The default backend follows, with its settings."""
    with use_backend("cupy", dtype="float64", precise_dot=True):
        first = Layer_Dense(2, 3).backend
        two_devices(1)
        second = Layer_Dense(2, 3).backend
        assert (first.device_number, second.device_number) == (0, 1)
        assert (second.dtype, second.precise_dot) == (np.float64, True)
        assert Layer_Dense(2, 3).backend is second
        assert isinstance(Layer_Dense(2, 3).weights, DeviceArray)


def test_an_array_of_another_device_is_moved_to_the_current_one(two_devices):
    backend = get_backend("cupy")
    here, there = DeviceArray(np.ones(3, "f4"), 0), DeviceArray(np.ones(3, "f4"), 1)
    assert np.shares_memory(backend.asarray(here).inside, here.inside)
    moved = backend.asarray(there)
    assert moved.data.device_id == 0
    np.testing.assert_array_equal(moved.get(), there.get())


def test_a_backend_without_a_device_is_one_everywhere():
    assert NumpyBackend().device_number is None
    assert get_backend("numpy") is get_backend("numpy")
    assert PaperBackend("float32").device_number == 0
