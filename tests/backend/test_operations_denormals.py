"""Float32 numbers below 1.2e-38 keep their values on every backend, the GPU's included.

CuPy compiles every kernel with `-ftz=true`, which makes them 0; ours are compiled by
`cuda_compile`, whose options the emulator follows. Proves: no operation that is defined for
denormal numbers loses them; and that the emulated device would lose them with CuPy's option.
"""

from __future__ import annotations

import numpy as np
import pytest
from emulation.backend import EmulatedCupyBackend
from helpers import assert_close, run

from nnfs_gpu.backend.cuda import compile as cuda_compile
from nnfs_gpu.selftest.operations import OPERATIONS

TINY = 1e-40  # denormal: a multiple of 1.4e-45


def f32(*rows):
    return np.array(rows, np.float32)


def row(*values):
    return f32(values)


CASES = {  # operation and arguments: (what it gives or writes, units of the last place)
    "relu_forward": ({"x": row(TINY, -TINY, 3 * TINY)}, row(TINY, 0, 3 * TINY), 0),
    "relu_backward": ({"dy": row(TINY, 1, 1), "x": row(1, TINY, -TINY)}, row(TINY, 1, 0), 0),
    "leaky_relu_forward": (
        {"x": row(TINY, -TINY, -4 * TINY), "slope": 0.5},
        row(TINY, -TINY / 2, -2 * TINY),
        1,
    ),
    "leaky_relu_backward": (
        {"dy": row(TINY, TINY), "x": row(1, -TINY), "slope": 2.0},
        row(TINY, 2 * TINY),
        1,
    ),
    "sigmoid_forward": ({"x": row(-95, -100)}, row(np.exp(-95.0), np.exp(-100.0)), 4),
    "sigmoid_backward": ({"dy": row(TINY, 1), "y": row(0.5, TINY)}, row(TINY / 4, TINY), 1),
    "tanh_forward": ({"x": row(TINY, -TINY, 1e-20)}, row(TINY, -TINY, 1e-20), 2),
    "tanh_backward": ({"dy": row(TINY, 1), "y": row(0, TINY)}, row(TINY, 1), 1),
    "multiply": ({"a": row(1e-20, TINY), "b": row(1e-20, 2)}, row(TINY, 2 * TINY), 1),
    "threshold": ({"x": row(TINY, -TINY, 0), "limit": 0.0}, np.int32([[1, 0, 0]]), 0),
    "argmax": ({"x": f32((0, TINY, 0), (-TINY, -2 * TINY, -1))}, np.int32([1, 0]), 0),
    "softmax_forward": ({"x": row(0, -95)}, row(1, np.exp(-95.0)), 4),
    "softmax_backward": ({"dy": row(TINY, -TINY), "y": row(0.5, 0.5)}, row(TINY / 2, -TINY / 2), 2),
    "linear_forward": ({"x": row(0, 0), "w": f32((0,), (0,)), "b": row(TINY)}, row(TINY), 0),
    "linear_relu_forward": ({"x": row(0, 0), "w": f32((0,), (0,)), "b": row(TINY)}, row(TINY), 0),
    "squared_error_backward": ({"y": row(2 * TINY), "t": row(TINY)}, row(2 * TINY), 1),
    "sum": ({"a": row(TINY, TINY)}, np.float64(2 * float(np.float32(TINY))), 1),
    "mean": ({"a": row(TINY, 3 * TINY)}, np.float32(2 * TINY), 1),
    "sgd_step": ({"w": row(2 * TINY, 1), "dw": row(TINY, 0), "rate": 1.0}, row(TINY, 1), 1),
    "momentum_step": (
        {"w": row(0), "dw": row(TINY), "m": row(4 * TINY), "rate": 1.0, "momentum": 0.5},
        row(TINY),
        2,
    ),
    "regularization_step": (
        {"dw": row(TINY), "w": row(TINY), "l1": 0.0, "l2": 1.0},
        row(3 * TINY),
        2,
    ),
}
BY_NAME = {operation.name: operation for operation in OPERATIONS}


def first_result(backend, name):
    arguments, expected, ulps = CASES[name]
    return run(backend, BY_NAME[name], arguments)[0], expected, ulps


@pytest.fixture
def dtype():
    return np.dtype(np.float32)


@pytest.mark.parametrize("name", CASES)
def test_denormals_stay(backend, name):
    found, expected, ulps = first_result(backend, name)
    assert_close(found, expected, expected.dtype, ulps=ulps, what=name)


@pytest.mark.parametrize("name", CASES)
def test_the_emulated_device_would_lose_them_with_cupys_option(name, compiler, monkeypatch):
    """So the test above can fail: what it looks at is what the options say."""
    backend = EmulatedCupyBackend("float32")
    monkeypatch.setattr(cuda_compile, "NUMBERS", ("--ftz=true",))
    found, expected, ulps = first_result(backend, name)
    with pytest.raises(AssertionError, match=r"differ|Arrays are not equal"):
        assert_close(found, expected, expected.dtype, ulps=ulps, what=name)
