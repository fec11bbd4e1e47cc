"""The rules that `backend/protocol.py` states for every operation hold on every backend.

Proves, over the table `helpers.OPERATIONS`: the same operations with the same signatures and
no others; overrides one level deep; arguments left as they are, except those that a step
writes; the same bits for the same call, with any number of threads; dtypes as stated; results
that share memory with nothing; the same numbers from arrays of any memory layout.
"""

from __future__ import annotations

import inspect
import threading

import numpy as np
import pytest
from helpers import EMULATED, as_tuple, assert_close, run, summing, to_backend
from operation_table import OPERATIONS

from nnfs_gpu import get_backend
from nnfs_gpu.backend import protocol
from nnfs_gpu.backend.numpy_backend import NumpyBackend

PROTOCOL = {
    name: function
    for name, function in vars(protocol.Backend).items()
    if inspect.isfunction(function) and not name.startswith("_")
}
# Attributes of a backend that are no operations.
SETTINGS = {"name", "dtype", "precise_dot", "book_random", "xp", "version"}
# These may hand back what they were given.
MAY_ALIAS = {"asarray", "to_numpy"}

each_operation = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda o: o.id)


def parameters_of(function):
    """(name, kind, default) of every parameter; annotations do not count."""
    found = inspect.signature(function).parameters.values()
    return [(p.name, p.kind, p.default) for p in found]


# ---- the classes ----
def test_protocol_is_not_empty_and_table_covers_it():
    assert len(PROTOCOL) >= 35
    assert {operation.name for operation in OPERATIONS} == set(PROTOCOL)


def test_table_uses_the_names_of_the_protocol():
    for operation in OPERATIONS:
        names = [name for name, _, _ in parameters_of(PROTOCOL[operation.name])][1:]
        given = list(operation.arguments("float32", 3, 3))
        assert set(given) <= set(names), operation.id
        assert set(operation.writes) <= set(given), operation.id


def test_signatures_equal_the_protocol(backend_name):
    backend = type(get_backend(backend_name))
    for name, function in PROTOCOL.items():
        assert hasattr(backend, name), f"{backend_name} has no {name}"
        assert parameters_of(getattr(backend, name)) == parameters_of(function), name


def test_version_says_what_does_the_work(backend_name):
    """Of the class, so that it can be asked before one is made."""
    assert isinstance(vars(protocol.Backend)["version"], classmethod)
    made = get_backend(backend_name)
    assert made.version() == type(made).version()
    assert len(made.version()) > 5


def test_no_public_operation_that_the_protocol_lacks(backend_name):
    backend = get_backend(backend_name)
    public = {name for name in dir(backend) if not name.startswith("_")}
    assert public - set(PROTOCOL) == SETTINGS


def test_overrides_are_one_level_deep(backend_name):
    backend = type(get_backend(backend_name))
    if backend_name == EMULATED:
        backend = backend.__base__  # it changes where kernels run, and no operation
        assert backend.__bases__ == (NumpyBackend,)
        return
    if backend_name == "numpy":
        assert backend is NumpyBackend
        assert backend.__bases__ == (object,)
    else:
        assert backend.__bases__ == (NumpyBackend,)
    assert backend.name == backend_name


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
def bits(value):
    """What distinguishes two values bit by bit: dtype, shape, bytes."""
    if isinstance(value, np.ndarray | np.generic):
        return value.dtype.str, value.shape, value.tobytes()
    return value


def host(backend, value):
    """An array or a scalar of the backend as NumPy's; anything else as it is."""
    return np.array(backend.to_numpy(value)) if hasattr(value, "dtype") else value


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
        large = backend.asarray(np.full((13, 11), 123.0), backend.dtype)
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


# ---- threads ----
@pytest.fixture
def threads(monkeypatch):
    """A function that sets the number of threads of even small launches; counts the shares.

    Numba allows no more threads than the machine has cores, so what `launch` asks is replaced.
    """
    import numba

    from nnfs_gpu.backend import launch

    shares = []
    pool = launch._get_pool()

    class Counting:
        def submit(self, *task):
            shares.append(task[0])
            return pool.submit(*task)

    def use(count):
        shares.clear()
        monkeypatch.setattr(numba, "get_num_threads", lambda: count)
        return shares

    monkeypatch.setattr(launch, "WORK_PER_THREAD", 64)
    monkeypatch.setattr(launch, "_get_pool", Counting)
    return use


# As the specification: what is no kernel of the numba backend, or counts without one.
UNTHREADED = {
    "asarray",
    "to_numpy",
    "zeros",
    "copy",
    "synchronize",
    "all_finite",
    "linear_forward",
    "threshold",
    "equal",
    "close",
    "sum-bools",
    "mean-bools",
}


@each_operation
def test_number_of_threads_does_not_change_bits(threads, dtype, operation):
    backend = get_backend("numba", dtype=dtype)
    arguments = operation.arguments(dtype, 20_011, 3)
    shares = threads(1)
    expected = [bits(value) for value in run(backend, operation, arguments)]
    assert shares == []
    for count in (2, 3, 7):
        shares = threads(count)
        assert [bits(value) for value in run(backend, operation, arguments)] == expected, count
        if operation.id not in UNTHREADED:
            assert shares


def test_work_is_shared_out_whole_and_thread_count_is_respected(monkeypatch):
    """Ranges cover all rows once; numba.set_num_threads(1) keeps all on the calling thread."""
    import numba

    from nnfs_gpu.backend import launch

    seen = []

    def kernel(start, stop, *arguments):
        seen.append((int(start), int(stop), threading.get_ident()))

    def ranges(rows, work):
        seen.clear()
        launch.launch(kernel, rows, (), (np.zeros(1),), work=work)
        return [(start, stop) for start, stop, _ in sorted(seen)]

    large = 100 * launch.WORK_PER_THREAD
    before = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        assert ranges(1000, large) == [(0, 1000)]
        assert {thread for *_, thread in seen} == {threading.get_ident()}
    finally:
        numba.set_num_threads(before)
    monkeypatch.setattr(numba, "get_num_threads", lambda: 3)
    assert ranges(1000, large) == [(0, 333), (333, 666), (666, 1000)]
    assert ranges(2, large) == [(0, 1), (1, 2)]
    assert ranges(1000, 10) == [(0, 1000)]


def test_an_error_in_a_thread_reaches_the_caller(monkeypatch):
    import numba

    from nnfs_gpu.backend import launch

    def kernel(start, stop, *arguments):
        if start > 0:
            raise ZeroDivisionError

    monkeypatch.setattr(numba, "get_num_threads", lambda: 3)
    with pytest.raises(ZeroDivisionError):
        launch.launch(kernel, 1000, (), (np.zeros(1),), work=100 * launch.WORK_PER_THREAD)


def test_numba_runs_its_kernels():
    """The numba backend is not the specification under another name."""
    from nnfs_gpu.kernels import losses, softmax

    from nnfs_gpu.backend.numba_backend import NumbaBackend

    compiled = {
        name: getattr(module, kernel)
        for module, kernel, name in (
            (softmax, "softmax_forward", "softmax_forward"),
            (softmax, "softmax_backward", "softmax_backward"),
            (losses, "cross_entropy_forward", "cross_entropy_forward"),
        )
    }
    backend = get_backend("numba", dtype="float32")
    for operation in OPERATIONS:
        if operation.name in compiled and operation.variant in ("", "sparse"):
            assert operation.name in vars(NumbaBackend)
            run(backend, operation, operation.arguments("float32", 8, 3))
            assert compiled[operation.name].signatures, operation.name
