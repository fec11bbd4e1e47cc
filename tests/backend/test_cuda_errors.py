"""A device that has no memory left, or that is lost, is one error with what to do about it.

Proves: what CuPy raises comes out of every operation and of every engine in our words, with the
bytes that were asked for and the original as its cause; errors that are not CUDA's stay as they
are.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from device_arrays import DeviceArray
from fake_cupy import DeviceBackend, FakeCupy
from fused_cuda_networks import NETS

from nnfs_gpu.backend.cuda.errors import LOST, DeviceError, DeviceMemoryError, in_words, reported
from nnfs_gpu.backend.cupy_backend import CupyBackend
from nnfs_gpu.backend.numba_cuda_backend import NumbaCudaBackend
from nnfs_gpu.backend.numpy_backend import NumpyBackend
from nnfs_gpu.cli import errors as cli_errors
from nnfs_gpu.fused import make_plan
from nnfs_gpu.fused.cuda import build as cuda_build
from nnfs_gpu.fused.cuda.engine import KernelSteps
from nnfs_gpu.fused.tiles import TiledSteps
from nnfs_gpu.selftest.operations import OPERATIONS


# ---- CuPy's errors, by their names and what they hold ----
class OutOfMemoryError(MemoryError):
    """cupy.cuda.memory's."""

    def __init__(self, size=123_456_789_012):
        super().__init__(f"Out of memory allocating {size:,} bytes (allocated so far: 0 bytes).")


class CUDARuntimeError(RuntimeError):
    def __init__(self, status, text="cudaErrorIllegalAddress: an illegal memory access"):
        super().__init__(text)
        self.status = status


class CUDADriverError(CUDARuntimeError):
    pass


class CUBLASError(CUDARuntimeError):
    pass


class CudaAPIError(RuntimeError):
    """Numba's."""

    def __init__(self, code, text):
        super().__init__(f"[{code}] {text}")
        self.code = code


NO_MEMORY = (
    OutOfMemoryError(),
    CUDARuntimeError(2, "cudaErrorMemoryAllocation: out of memory"),
    CUDADriverError(2, "CUDA_ERROR_OUT_OF_MEMORY: out of memory"),
    CUBLASError(3, "CUBLAS_STATUS_ALLOC_FAILED"),
    CudaAPIError(2, "Call to cuMemAlloc results in CUDA_ERROR_OUT_OF_MEMORY"),
)


@pytest.mark.parametrize("error", NO_MEMORY, ids=lambda e: type(e).__name__)
def test_no_memory_says_what_was_asked_for_and_what_to_do(error):
    found = in_words(error)
    assert type(found) is DeviceMemoryError
    for part in (str(error).rstrip("."), "smaller batch_size", "nvidia-smi"):
        assert part in str(found)


@pytest.mark.parametrize("kind", [CUDARuntimeError, CUDADriverError])
@pytest.mark.parametrize("status", sorted(LOST))
def test_a_lost_device_says_that_the_process_must_start_anew(kind, status):
    found = in_words(kind(status))
    assert type(found) is DeviceError
    for part in ("does not work any more", "illegal memory access", "Start the program anew"):
        assert part in str(found)


def test_numbas_errors_are_the_same_to_us():
    assert "does not work any more" in str(in_words(CudaAPIError(700, "an illegal access")))
    assert "refused a call ([1] invalid" in str(in_words(CudaAPIError(1, "invalid value")))


@pytest.mark.parametrize("error", [CUDARuntimeError(1), CUDADriverError(1), CUBLASError(13)])
def test_another_refusal_says_how_to_look_for_the_cause(error):
    found = in_words(error)
    assert type(found) is DeviceError
    assert "nnfs-gpu info" in str(found)
    assert "does not work any more" not in str(found)


@pytest.mark.parametrize(
    "error", [ValueError("x"), RuntimeError("x"), MemoryError("host"), KeyError()]
)
def test_other_errors_are_not_touched(error):
    assert in_words(error) is None


def test_the_installed_cupys_errors_are_known():
    """Their classes, and that they hold a `status`; needs no device."""
    cupy = pytest.importorskip("cupy")
    memory = cupy.cuda.memory.OutOfMemoryError(123_456, 7, 0)
    assert type(in_words(memory)) is DeviceMemoryError
    assert "123,456 bytes" in str(in_words(memory))
    runtime = cupy.cuda.runtime.CUDARuntimeError
    assert type(in_words(runtime(2))) is DeviceMemoryError
    assert "does not work any more" in str(in_words(runtime(700)))
    assert cupy.cuda.driver.CUDADriverError.__name__ == "CUDADriverError"


# ---- through every operation and engine ----
@pytest.fixture
def dtype():
    return np.dtype(np.float32)


class Failing(FakeCupy):
    """A device whose memory or kernels fail once `error` is set."""

    def __init__(self):
        super().__init__()
        self.error = None
        self.cuda.runtime.memGetInfo = lambda: (1_000_000, 9_000_000)

    def __getattr__(self, name):
        function = super().__getattr__(name)
        if isinstance(function, type) or not callable(function):
            return function

        def call(*arguments, **options):
            if self.error is not None:
                raise self.error
            return function(*arguments, **options)

        return call

    def asarray(self, a, dtype=None):
        if self.error is not None:
            raise self.error
        return super().asarray(a, dtype)


class FailingBackend(DeviceBackend):
    def _runtime(self):
        return Failing(), super()._runtime()[1]


COMPUTING = [o for o in OPERATIONS if o.name not in ("to_numpy", "synchronize")]


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize("operation", COMPUTING, ids=lambda o: o.id)
def test_every_operation_reports(operation, dtype, monkeypatch):
    device = FailingBackend(dtype)
    arguments = {
        name: device.asarray(value, value.dtype) if isinstance(value, np.ndarray) else value
        for name, value in operation.arguments(dtype, 33, 5).items()
    }
    if operation.name == "asarray":
        arguments = {"x": np.ones(3)}
    error = device.xp.error = device.calls.launcher.fails = OutOfMemoryError(4_321)
    for name in ("__array_ufunc__", "sum", "mean"):  # CuPy's arrays allocate, too
        monkeypatch.setattr(DeviceArray, name, lambda *a, **k: (_ for _ in ()).throw(error))
    with pytest.raises(DeviceMemoryError, match="allocating 4,321 bytes") as caught:
        getattr(device, operation.name)(**arguments)
    assert caught.value.__cause__ is error


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize("make", [KernelSteps, TiledSteps])
def test_engines_report(make, dtype):
    device = FailingBackend(dtype)
    model = NETS["the book's"].model(device)
    X, y = NETS["the book's"].data(model)
    small = cuda_build.Device(processors=3, shared=99 * 1024, dynamic=False)
    arguments = (model, make_plan(model), *([small] if make is KernelSteps else []))
    engine = make(*arguments)
    engine.step(X, y)
    device.xp.error = device.calls.launcher.fails = CUDARuntimeError(719)
    for work in (
        lambda: engine.step(X, y),
        lambda: engine.run(X, y, 3),
        lambda: engine.accumulate(X, y, X.shape[0]),
        *([lambda: make(*arguments)] if make is KernelSteps else []),
    ):
        with pytest.raises(DeviceError, match="does not work any more"):
            work()


@pytest.mark.parametrize("cls", [CupyBackend, NumbaCudaBackend])
def test_no_operation_is_forgotten(cls):
    for name in dir(NumpyBackend):
        member = getattr(cls, name)
        if not name.startswith("_") and callable(member) and name not in ("version", "xp"):
            assert hasattr(member, "__wrapped__"), name


def test_the_specification_is_not_changed_by_it():
    assert not hasattr(NumpyBackend.relu_forward, "__wrapped__")


def test_what_a_method_returns_and_raises_otherwise_stays():
    @reported
    class Works:
        def half(self, x):
            return 1 / x

    assert Works().half(2) == 0.5
    with pytest.raises(ZeroDivisionError):
        Works().half(0)


@pytest.mark.parametrize("error", [NO_MEMORY[0], CUDARuntimeError(700)], ids=["memory", "lost"])
def test_commands_end_with_what_to_do(error, monkeypatch, capsys):
    """Not with "this should not happen", nor with advice for the host's memory."""

    def fail(*arguments, **options):
        raise in_words(error) from error

    monkeypatch.setattr(cli_errors.signal, "signal", lambda *arguments: None)
    assert cli_errors.run_command(SimpleNamespace(main=fail), []) == 1
    assert capsys.readouterr().err == f"error: {in_words(error)}\n"
