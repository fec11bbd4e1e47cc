"""Arrays that do not fit are refused before a kernel runs, which would read beside them.

Proves, on every backend: a vector of N numbers is not taken for N rows, whatever its dtype, but
where an operation reads class indices; and that whole numbers are not taken for real ones.
"""

from __future__ import annotations

import numpy as np
import pytest
from helpers import as_tuple, to_backend

from nnfs_gpu.selftest.operations import OPERATIONS

N, C = 64, 5
MATRICES = [
    operation
    for operation in OPERATIONS
    if sum(np.shape(v) == (N, C) for v in operation.arguments("float32", N, C).values()) > 1
    and operation.name not in ("equal", "close")  # these compare what can be compared
]


FLAT = [o for o in MATRICES if o.name.endswith(("_step", "multiply", "squared_error_backward"))]


@pytest.mark.parametrize("operation", MATRICES, ids=lambda o: o.id)
def test_a_vector_is_not_a_matrix(backend, operation):
    """The short arrays begin a larger memory, so that a backend without the check fails gently."""
    refuse_vectors(backend, operation, backend.dtype)


@pytest.mark.parametrize("operation", FLAT, ids=lambda o: o.id)
def test_a_vector_of_whole_numbers_is_no_matrix_where_there_are_no_classes(backend, operation):
    refuse_vectors(backend, operation, np.dtype(np.int32))


def refuse_vectors(backend, operation, dtype):
    arguments = operation.arguments(backend.dtype, N, C)
    for name, value in arguments.items():
        if np.shape(value) == (N, C):
            moved = to_backend(backend, arguments)
            moved[name] = backend.asarray(np.ones(N * C, dtype), dtype)[:N]
            with pytest.raises((ValueError, IndexError, TypeError)):
                getattr(backend, operation.name)(**moved)


@pytest.mark.parametrize(
    "operation", [o for o in MATRICES if not o.writes], ids=lambda operation: operation.id
)
def test_whole_numbers_are_real_numbers_or_refused(backend, operation):
    """A kernel on a GPU would read their bits as another number."""
    arguments = operation.arguments(backend.dtype, N, C)
    name = [name for name, value in arguments.items() if np.shape(value) == (N, C)][-1]
    arguments[name] = (8 * arguments[name]).astype(np.int32)
    floats = arguments | {name: arguments[name].astype(backend.dtype)}
    try:
        found = getattr(backend, operation.name)(**to_backend(backend, arguments))
    except (TypeError, ValueError):
        return
    wanted = getattr(backend, operation.name)(**to_backend(backend, floats))
    for a, b in zip(as_tuple(found), as_tuple(wanted), strict=True):
        np.testing.assert_allclose(backend.to_numpy(a), backend.to_numpy(b), 1e-5, 1e-6)
