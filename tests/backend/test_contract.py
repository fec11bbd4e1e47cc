"""The rules that `backend/protocol.py` states for every operation hold on every backend.

Proves, over `selftest.operations.OPERATIONS`: the same operations and no others; overrides few
levels deep; arguments left as they are, except those that a step writes; the same bits for the same
call; dtypes as stated; results that share memory with nothing.
Memory layouts: test_contract_layouts.py; threads: test_contract_threads.py.
"""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from helpers import EMULATED, as_tuple, assert_close, bits, host, run, to_backend

from nnfs_gpu import get_backend
from nnfs_gpu.backend import protocol
from nnfs_gpu.backend.kernel_backend import KernelBackend
from nnfs_gpu.backend.numpy_backend import NumpyBackend
from nnfs_gpu.selftest.operations import OPERATIONS

PROTOCOL = {
    name: function
    for name, function in vars(protocol.Backend).items()
    if inspect.isfunction(function) and not name.startswith("_")
}
# Attributes of a backend that are no operations.
SETTINGS = {"name", "dtype", "precise_dot", "book_random", "xp", "version", "device_number"}
SETTINGS |= {"one_answer"}
# These may hand back what they were given.
MAY_ALIAS = {"asarray", "to_numpy"}


each_operation = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda o: o.id)


# ---- the classes ----
def test_protocol_is_not_empty_and_table_covers_it():
    assert len(PROTOCOL) >= 35
    assert {operation.name for operation in OPERATIONS} == set(PROTOCOL)


def test_table_uses_the_names_of_the_protocol():
    for operation in OPERATIONS:
        names = list(inspect.signature(PROTOCOL[operation.name]).parameters)[1:]
        given = list(operation.arguments("float32", 3, 3))
        assert set(given) <= set(names), operation.id
        assert set(operation.writes) <= set(given), operation.id


def test_docstrings_of_the_protocol_show(backend_name):
    """Signatures are mypy's to check: backends are subclasses of the protocol."""
    backend = type(get_backend(backend_name))
    for name, function in PROTOCOL.items():
        found = getattr(backend, name)
        defined = [base for base in backend.__mro__ if name in vars(base)]
        assert defined[0] is not protocol.Backend, f"{backend_name} has no {name}"
        if vars(NumpyBackend)[name].__doc__ is None:
            assert inspect.getdoc(found) == inspect.getdoc(function), name


def test_version_says_what_does_the_work(backend_name):
    """Of the class, so that it can be asked before one is made."""
    assert isinstance(vars(protocol.Backend)["version"], classmethod)
    made = get_backend(backend_name)
    assert made.version() == type(made).version()
    assert len(made.version()) > 5


def test_no_public_operation_that_the_protocol_lacks(backend_name):
    backend = get_backend(backend_name)
    public = {name for name in dir(backend) if not name.startswith("_")}
    launches = {"calls"} if backend_name == EMULATED else set()  # bench starts kernels by it
    assert public - set(PROTOCOL) == SETTINGS | launches


def test_overrides_are_few_levels_deep(backend_name):
    """protocol, specification, what backends with kernels share, the backend: no more."""
    backend = type(get_backend(backend_name))
    if backend_name == EMULATED:
        backend = backend.__base__  # it changes where kernels run, and no operation
    elif backend_name == "numpy":
        assert backend is NumpyBackend
        assert backend.__bases__ == (protocol.Backend,)
        return
    assert backend.__bases__ == (KernelBackend,)
    assert KernelBackend.__bases__ == (NumpyBackend,)
    assert backend_name in (backend.name, EMULATED)


def test_settings_are_what_was_asked_for(backend_name, dtype):
    backend = get_backend(backend_name, dtype=dtype, precise_dot=True, book_random=True)
    assert (backend.name, backend.dtype) == (backend_name, dtype)
    assert backend.precise_dot is True
    assert backend.book_random is True
    again = get_backend(backend_name, dtype=dtype, precise_dot=True, book_random=True)
    assert again is backend
    for changed in ({"precise_dot": False}, {"book_random": False}):
        settings = {"precise_dot": True, "book_random": True} | changed
        other = get_backend(backend_name, dtype=dtype, **settings)
        assert (other.precise_dot, other.book_random) == tuple(settings.values())


# ---- every operation ----
@each_operation
def test_arguments_are_left_as_they_are(backend, operation):
    arguments = operation.arguments(backend.dtype, 33, 5)
    moved = to_backend(backend, arguments)
    getattr(backend, operation.name)(**moved)
    for name, value in arguments.items():
        if name in operation.writes:
            assert bits(host(backend, moved[name])) != bits(value), f"{name} was not written"
        else:
            assert bits(host(backend, moved[name])) == bits(value), f"{name} was changed"


@each_operation
def test_same_call_gives_same_bits_in_new_arrays(backend, operation):
    arguments = operation.arguments(backend.dtype, 257, 5)
    other = operation.arguments(backend.dtype, 257, 5, seed=1)
    method = getattr(backend, operation.name)
    one, two = to_backend(backend, arguments), to_backend(backend, arguments)
    first = as_tuple(method(**one))
    kept = [bits(host(backend, a)) for a in first]
    method(**to_backend(backend, other))  # would overwrite a buffer that is used again
    second = as_tuple(method(**two))
    assert [bits(host(backend, a)) for a in first] == kept
    assert [bits(host(backend, a)) for a in second] == kept
    for name in operation.writes:
        assert bits(host(backend, one[name])) == bits(host(backend, two[name])), name
    if backend.xp is np and operation.name not in MAY_ALIAS:
        results = [a for a in (*first, *second) if isinstance(a, np.ndarray)]
        inputs = [a for a in (*one.values(), *two.values()) if isinstance(a, np.ndarray)]
        for k, result in enumerate(results):
            for array in (*results[:k], *inputs):
                assert not np.shares_memory(result, array)


@each_operation
def test_result_dtypes_are_as_stated(backend, dtype, operation):
    # Operations take the dtype of their arguments; only those that make data take the backend's.
    other = np.dtype("float64" if dtype == np.float32 else "float32")
    for given in (dtype, other):
        results = as_tuple(
            getattr(backend, operation.name)(
                **to_backend(backend, operation.arguments(given, 33, 5))
            )
        )
        assert len(results) == len(operation.result)
        for result, stated in zip(results, operation.result, strict=True):
            if stated == "python bool":
                assert isinstance(result, bool)
            else:
                expected = {"same": given, "own": dtype}.get(stated, stated)
                assert result.dtype == np.dtype(expected), f"{result.dtype} from {given}"


@each_operation
def test_scalars_may_be_whole_numbers(backend, operation):
    """learning_rate=1, l2=1: Python ints and NumPy's own numbers are numbers too."""
    arguments = operation.arguments(backend.dtype, 33, 5)
    floats = [name for name, value in arguments.items() if isinstance(value, float)]
    if "keep" in floats:
        floats = []  # 1 keeps everything: test_operations.py
    for convert in (int, np.float64):
        sizes = {"rate": -2, "l1": 1, "l2": 1}
        whole = arguments | {name: convert(sizes.get(name, 0)) for name in floats}
        whole |= {"epsilon": 1} if "epsilon" in whole else {}
        plain = {k: float(v) if k in floats else v for k, v in whole.items()}
        results, expected = run(backend, operation, whole), run(backend, operation, plain)
        for result, value in zip(results, expected, strict=True):
            if isinstance(value, np.ndarray | np.generic):
                # Terms of size 1 to 4 are added; scalars may round to dtype earlier or later.
                magnitude = np.abs(value) + 4
                assert_close(result, value, value.dtype, magnitude=magnitude, what=convert.__name__)
