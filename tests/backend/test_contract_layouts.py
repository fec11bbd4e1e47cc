"""Arrays of any memory layout give the same numbers, and arrays that do not fit are refused."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import as_tuple, assert_close, bits, host, run, summing, to_backend

from nnfs_gpu.backend.numpy_backend import NumpyBackend
from nnfs_gpu.selftest.operations import OPERATIONS

each_operation = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda o: o.id)


# ---- memory layouts ----
def transposed(backend, a):
    return backend.asarray(np.ascontiguousarray(a.T), a.dtype).T


def strided(backend, a):
    """Every second element of an array whose other elements are poison."""
    poison = 77 if a.dtype.kind in "iu" else a.dtype.kind == "b" or np.nan
    large = np.full([2 * size + 1 for size in a.shape], poison, a.dtype)
    view = (slice(1, None, 2),) * a.ndim
    large[view] = a
    return backend.asarray(large, a.dtype)[view]


def negative(backend, a):
    view = (slice(None, None, -1),) * a.ndim
    return backend.asarray(np.ascontiguousarray(a[view]), a.dtype)[view]


@pytest.mark.parametrize("layout", [transposed, strided, negative])
@each_operation
def test_any_memory_layout_gives_the_same_numbers(backend, operation, layout):
    n, c = 37, 5
    arguments = operation.arguments(backend.dtype, n, c)
    arrays = [name for name, value in arguments.items() if isinstance(value, np.ndarray)]
    expected = run(backend, operation, arguments)
    # All arrays in the other layout, then each one alone beside contiguous ones.
    for changed in (arrays, *([name] for name in arrays if len(arrays) > 1)):
        moved = to_backend(backend, arguments)
        for name in changed:
            moved[name] = layout(backend, arguments[name])
            if arguments[name].ndim == 2 and arguments[name].shape[0] > 1:
                assert not moved[name].flags.c_contiguous
        results = as_tuple(getattr(backend, operation.name)(**moved))
        actual = [*results, *(moved[name] for name in operation.writes)]
        for got, want in zip(actual, expected, strict=True):
            if isinstance(want, np.ndarray | np.generic):
                # Another layout may add in another order: the terms' size bounds the rounding.
                magnitude = np.abs(want).max()
                if want.shape == ():
                    magnitude = np.abs(next(iter(arguments.values()))).sum()
                assert_close(
                    host(backend, got),
                    np.asarray(want),
                    want.dtype,
                    ulps=summing(n),
                    magnitude=magnitude,
                    what=f"{changed} {layout.__name__}",
                )
            else:
                assert got == want


@each_operation
def test_a_step_writes_into_the_view_and_nothing_beside_it(backend, operation):
    arguments = operation.arguments(backend.dtype, 6, 5)
    for name in operation.writes:
        moved = to_backend(backend, arguments)
        large = backend.asarray(np.full((13, 11), 123.0), arguments[name].dtype)
        large[1::2, 1::2] = moved[name]
        moved[name] = large[1::2, 1::2]
        getattr(backend, operation.name)(**moved)
        after = np.array(backend.to_numpy(large))
        assert (after[1::2, 1::2] != arguments[name]).any(), f"{name}: the result is lost"
        after[1::2, 1::2] = 123.0
        assert (after == 123.0).all(), f"{name}: written beside the view"


@pytest.mark.parametrize("name", ["linear_backward", "softmax_forward", "relu_backward", "sum"])
def test_read_only_arguments_are_accepted(backend, name):
    operation = next(o for o in OPERATIONS if o.name == name)
    arguments = operation.arguments(backend.dtype, 33, 5)
    expected = run(backend, operation, arguments)
    moved = to_backend(backend, arguments)
    for value in moved.values():
        if isinstance(value, np.ndarray):
            value.flags.writeable = False
    results = as_tuple(getattr(backend, name)(**moved))
    assert [bits(host(backend, a)) for a in results] == [bits(a) for a in expected]


# ---- shapes that do not fit ----
@each_operation
def test_arrays_that_do_not_fit_are_refused(backend, operation):
    """Never numbers from beside an array: too few rows raise, as array code does.

    A single row is refused too, or means what it means in the specification. (The short arrays
    are views, so that a backend without the check stays inside their memory here.)
    """
    n, c = 64, 5
    arguments = operation.arguments(backend.dtype, n, c)
    tall = [name for name, value in arguments.items() if np.shape(value)[:1] == (n,)]
    if len(tall) < 2:
        return
    method = getattr(backend, operation.name)
    for name in tall:
        for rows in (n - 1, n // 2):
            moved = to_backend(backend, arguments)
            moved[name] = moved[name][:rows]
            with pytest.raises((ValueError, IndexError)):
                method(**moved)
        moved = to_backend(backend, arguments)
        moved[name] = moved[name][:1]
        try:
            results = [host(backend, a) for a in as_tuple(method(**moved))]
        except (ValueError, IndexError):
            continue
        specification = NumpyBackend(backend.dtype)
        expected = to_backend(specification, arguments)
        expected[name] = expected[name][:1]
        wanted = as_tuple(getattr(specification, operation.name)(**expected))
        results += [host(backend, moved[written]) for written in operation.writes]
        wanted += tuple(expected[written] for written in operation.writes)
        for result, want in zip(results, wanted, strict=True):
            assert_close(result, want, want.dtype, magnitude=np.abs(want) + 4, what=name)
