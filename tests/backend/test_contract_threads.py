"""Work is shared among threads whole, and their number does not change a bit of the result."""

from __future__ import annotations

import threading
from itertools import pairwise

import numpy as np
import pytest
from helpers import bits, run

from nnfs_gpu import get_backend
from nnfs_gpu.selftest.operations import OPERATIONS

each_operation = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda o: o.id)


# ---- threads ----
@pytest.fixture
def threads(monkeypatch):
    """A function that sets the number of threads of even small launches; counts the shares.

    Numba allows no more threads than the machine has cores, so what `launch` asks is replaced.
    """
    import numba

    from nnfs_gpu.backend.cpu import launch
    from nnfs_gpu.backend.cpu.workers import Workers

    shares = []
    share = Workers.fork_join

    def counting(self, task, count):
        shares.append(task)
        share(self, task, count)

    def use(count):
        shares.clear()
        monkeypatch.setattr(numba, "get_num_threads", lambda: count)
        return shares

    monkeypatch.setattr(launch, "WORK_PER_THREAD", 64)
    monkeypatch.setattr(Workers, "fork_join", counting)
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
    "exact_add",
    "exact_value",
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

    from nnfs_gpu.backend.cpu import launch

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
    for rows in (1000, 7, 2):
        found = ranges(rows, large)
        assert found[0][0] == 0
        assert found[-1][1] == rows
        assert all(before == start < stop for (_, before), (start, stop) in pairwise(found))
        assert len(found) >= min(rows, 6)
        sizes = [stop - start for start, stop in found[:-1]]
        assert sizes == sorted(sizes, reverse=True)
    assert ranges(1000, 10) == [(0, 1000)]


def test_an_error_in_a_thread_reaches_the_caller(monkeypatch):
    import numba

    from nnfs_gpu.backend.cpu import launch

    def kernel(start, stop, *arguments):
        if start > 0:
            raise ZeroDivisionError

    monkeypatch.setattr(numba, "get_num_threads", lambda: 3)
    with pytest.raises(ZeroDivisionError):
        launch.launch(kernel, 1000, (), (np.zeros(1),), work=100 * launch.WORK_PER_THREAD)


def test_numba_runs_its_kernels():
    """The numba backend is not the specification under another name."""
    from nnfs_gpu.backend.kernel_backend import KernelBackend
    from nnfs_gpu.backend.numba_backend import NumbaBackend
    from nnfs_gpu.kernels.cpu import losses, softmax

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
            assert operation.name in vars(KernelBackend)
            assert operation.name in NumbaBackend._kernels
            run(backend, operation, operation.arguments("float32", 8, 3))
            assert compiled[operation.name].signatures, operation.name
