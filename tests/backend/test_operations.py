"""Every operation gives the numbers of its formula, on every backend, in float32 and float64.

The formulas (operation_oracles.py) run against the numpy backend in float64 too, which validates
the specification itself; on large arrays that specification is then the oracle. What happens at
the edges is proved family by family in test_operations_*.py.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest
from helpers import assert_close, run, summing
from operation_oracles import ORACLES, in_float64

from nnfs_gpu import get_backend
from nnfs_gpu.selftest.operations import OPERATIONS

# N and C around what loops are cut and unrolled by: 1, 2 to 4, the warp, the tile of 256.
SHAPES = (
    (1, 1),
    (1, 3),
    (7, 1),
    (3, 2),
    (255, 3),
    (256, 4),
    (257, 5),
    (1000, 10),
    (3, 31),
    (5, 32),
    (7, 33),
    (257, 100),
    (3, 1025),
)


def compare(operation, backend, n, c, arguments, expected):
    actual = run(backend, operation, arguments)
    assert len(actual) == len(expected) == len(operation.result) + len(operation.writes)
    stated = (*operation.result, *(dtype_of(arguments[name]) for name in operation.writes))
    for k, (result, want, dtype) in enumerate(zip(actual, expected, stated, strict=True)):
        if dtype == "python bool":
            assert result is bool(want.value)
            continue
        dtype = backend.dtype if dtype in ("same", "own") else dtype
        assert_close(
            result,
            want.value,
            dtype,
            ulps=want.ulps,
            magnitude=want.magnitude,
            what=f"{operation.id} {n}x{c}, result {k}",
        )


def dtype_of(written):
    """Words stay what they are, in every backend."""
    return "same" if written.dtype.kind == "f" else written.dtype


def test_every_operation_has_an_oracle():
    assert {operation.name for operation in OPERATIONS} == set(ORACLES)


@functools.cache
def expected_results(operation, dtype, n, c):
    """(arguments, what the formula gives): once for all backends. Nobody writes into them."""
    arguments = operation.arguments(dtype, n, c)
    return arguments, ORACLES[operation.name](dtype, **in_float64(arguments))


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda o: o.id)
def test_formula(backend, operation):
    """At every shape; a failure names it."""
    for n, c in SHAPES:
        if operation.name == "softmax_jacobian" and n * c * c > 10**6:
            n = max(1, 10**5 // (c * c))
        compare(operation, backend, n, c, *expected_results(operation, backend.dtype, n, c))


# ---- large arrays: several threads, several chunks ----
LARGE = (
    "linear_backward",
    "relu_backward",
    "sigmoid_forward",
    "tanh_forward",
    "softmax_forward",
    "softmax_backward",
    "cross_entropy_forward-sparse",
    "cross_entropy_backward-sparse",
    "softmax_cross_entropy_backward-sparse",
    "regularization_loss",
    "adam_step",
    "argmax",
    "mean-floats",
    "sum-floats",
)


@functools.cache
def large_arguments(identity, n, c):
    operation = next(o for o in OPERATIONS if o.id == identity)
    arguments = operation.arguments("float32", n, c)
    specification = get_backend("numpy", dtype="float64", precise_dot=False, book_random=False)
    return operation, arguments, run(specification, operation, in_float64(arguments))


@pytest.mark.parametrize("shape", [(350_003, 3), (105_001, 10)], ids=lambda s: f"{s[0]}x{s[1]}")
@pytest.mark.parametrize("identity", LARGE)
def test_large_arrays_against_the_specification(backend_name, identity, shape):
    """Above 2^20 elements, where work is shared among threads, and no multiple of a chunk."""
    backend = get_backend(backend_name, dtype="float32", precise_dot=False, book_random=False)
    operation, arguments, expected = large_arguments(identity, *shape)
    for actual, want in zip(run(backend, operation, arguments), expected, strict=True):
        size, sums = np.abs(want).max(), want.size < shape[0] and identity != "argmax"
        assert_close(
            actual,
            want,
            np.float32 if actual.dtype.kind == "f" and identity != "sum-floats" else actual.dtype,
            # Coarser than test_formula, which knows each formula's terms: a row that a thread
            # has missed or mixed up is what must show here. (Softmax's backward has differences
            # of numbers up to 5, of which a last digit is 4.8e-7.)
            ulps=summing(shape[0]) if sums else 32 if identity == "softmax_backward" else 16,
            magnitude=size + 1 if sums else np.abs(want) + 0.1 * size,
            what=identity,
        )


def test_sums_of_a_million_numbers_are_accurate(backend):
    """A running float32 sum of these would be off by about 1e-4."""
    a = np.random.RandomState(0).rand(10**6).astype(backend.dtype)
    total = math.fsum(a.tolist())
    bound = 1e-6 if backend.dtype == np.float32 else 1e-13
    moved = backend.asarray(a)
    assert abs(float(backend.sum(moved)) - total) <= bound * total
    assert abs(float(backend.mean(moved)) * 10**6 - total) <= bound * total
    penalty = float(backend.regularization_loss(moved, 1.0, 0.0))
    assert abs(penalty - total) <= bound * total


# ---- shapes ----
@pytest.mark.parametrize("shape", [(24,), (2, 3, 4), (1, 24)], ids=str)
@pytest.mark.parametrize(
    "identity",
    [
        "relu_forward",
        "relu_backward",
        "leaky_relu_forward",
        "leaky_relu_backward",
        "sigmoid_forward",
        "sigmoid_backward",
        "tanh_forward",
        "tanh_backward",
        "dropout_forward",
        "multiply",
        "regularization_loss",
        "regularization_step",
        "sgd_step",
        "momentum_step",
        "adagrad_step",
        "rmsprop_step",
        "adam_step",
        "adamw_step",
        "threshold",
        "equal",
        "close",
        "mean-floats",
        "sum-floats",
        "sum-int32",
        "copy",
    ],
)
def test_element_wise_operations_take_any_shape(backend, identity, shape):
    operation = next(o for o in OPERATIONS if o.id == identity)
    arguments = operation.arguments(backend.dtype, 6, 4)
    reshaped = {
        name: value.reshape(shape) if isinstance(value, np.ndarray) else value
        for name, value in arguments.items()
    }
    expected = run(backend, operation, arguments)
    for actual, want in zip(run(backend, operation, reshaped), expected, strict=True):
        assert np.shape(actual) == (shape if np.shape(want) else ())
        np.testing.assert_array_equal(np.reshape(actual, -1), np.reshape(want, -1))
