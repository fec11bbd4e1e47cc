"""The numba-cuda backend's way to a device, with CuPy and Numba's driver replaced.

Proves: arguments reach the kernels converted, on CuPy's stream, without synchronization; and where
the backend cannot work, it says why, stage by stage.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
import types
import warnings

import numpy as np
import pytest
from processes import ROOT

from nnfs_gpu.backend.cuda import probe as cuda_probe
from nnfs_gpu.backend.driver import UnavailableError
from nnfs_gpu.backend.numba_cuda import launch as launching
from nnfs_gpu.backend.numba_cuda_backend import NumbaCudaBackend


# ---- the launch ----
class DeviceArray:
    """What a launch asks of a CuPy array."""

    def __init__(self, a, device=0):
        self.a, self.dtype, self.shape = a, a.dtype, a.shape
        self.flags = types.SimpleNamespace(c_contiguous=a.flags.c_contiguous)
        self.data = types.SimpleNamespace(device_id=device)
        self.__cuda_array_interface__ = a.__array_interface__

    def copy(self, order):
        return DeviceArray(self.a.copy(order))


class Kernel:
    """Records how it is started; warns of every new grid, as Numba does of small ones."""

    def __init__(self):
        self.grids, self.calls = [], []

    def __getitem__(self, grid):
        warnings.warn("Grid size 1 will likely result in under-utilization", stacklevel=2)
        self.grids.append(grid)
        return lambda *arguments: self.calls.append((grid, arguments))


@pytest.fixture
def device(monkeypatch):
    """The launch as on the current GPU, 0; CuPy's stream is at address 7."""
    stream = types.SimpleNamespace(ptr=7, device=0)
    runtime = types.SimpleNamespace(getDevice=lambda: stream.device)
    cuda = types.SimpleNamespace(get_current_stream=lambda: stream, runtime=runtime)
    cupy = types.SimpleNamespace(cuda=cuda)
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setattr(launching, "SIMULATOR", False)
    fake = types.SimpleNamespace(
        as_cuda_array=lambda a, sync: ("no wait" if not sync else "waits", a.a),
        external_stream=lambda address: f"stream {address}",
    )
    monkeypatch.setattr(launching, "cuda", fake)
    launching._configured.cache_clear()
    yield stream
    launching._configured.cache_clear()


def test_launch_converts_arguments_and_uses_cupys_stream(device):
    kernel, x, y = Kernel(), np.ones((2, 3), np.float32), np.zeros(2, np.float32)
    scalars = (1e-7, np.float64(0.5), 7, np.int64(8))
    arrays = (DeviceArray(x.T),), (DeviceArray(y),)
    for _ in range(2):
        launching.launch_cuda(kernel, 5, 64, *arrays, scalars, shared=256)
    assert kernel.grids == [(5, 64, "stream 7", 256)], "configured once, without a warning"
    (_, arguments), again = kernel.calls
    assert again[0] == kernel.grids[0]
    (waits, given), *numbers, (_, result) = arguments
    assert waits == "no wait"
    assert given.flags.c_contiguous
    np.testing.assert_array_equal(given, x.T)
    assert result is y
    assert [type(v) for v in numbers] == [np.float32, np.float32, np.uint64, np.uint64]
    device.ptr = 0  # the default stream has no address
    launching.launch_cuda(kernel, 5, 64, *arrays)
    assert kernel.grids[1] == (5, 64, 0, 0)


def test_the_default_streams_of_two_devices_are_two(device):
    """Both are at address 0: a launch that is kept for one must not go to the other."""
    device.ptr, kernel = 0, Kernel()
    for number in (0, 1, 0):
        device.device = number
        out = DeviceArray(np.zeros(4, np.float32), number)
        launching.launch_cuda(kernel, 1, 32, (), (out,))
    assert len(kernel.grids) == 2
    with pytest.raises(ValueError, match=r"lies on device 1, and device 0 is the current one"):
        launching.launch_cuda(kernel, 1, 32, (), (DeviceArray(np.zeros(4, np.float32), 1),))


def test_launch_refuses_what_a_kernel_cannot_take(device):
    kernel, on_device = Kernel(), DeviceArray(np.zeros(4, np.float32))
    with pytest.raises(TypeError, match="expected an array on the GPU"):
        launching.launch_cuda(kernel, 1, 32, (np.zeros(4, np.float32),), (on_device,))
    with pytest.raises(ValueError, match="not contiguous"):
        launching.launch_cuda(kernel, 1, 32, (), (DeviceArray(np.zeros((4, 2))[:, 0]),))
    with pytest.raises(TypeError, match="float32 and float64"):
        launching.launch_cuda(kernel, 1, 32, (on_device, DeviceArray(np.zeros(4))), (on_device,))
    with pytest.raises(ValueError, match="a grid of 2147483648 blocks"):
        launching.launch_cuda(kernel, 2**31, 32, (), (on_device,))
    launching.launch_cuda(kernel, 0, 32, (), (on_device,))
    assert kernel.calls == []


# ---- where it cannot work ----
def unavailable():
    with pytest.raises(UnavailableError) as caught:
        NumbaCudaBackend.version()
    return str(caught.value), caught.value.remedy


def test_says_what_is_missing_stage_by_stage(device, monkeypatch):
    monkeypatch.setattr(cuda_probe, "installed_wheels", list)
    monkeypatch.setattr(cuda_probe, "cuda_driver", lambda: (None, "no CUDA driver: nowhere"))
    reason, remedy = unavailable()
    assert "numba-cuda is not installed" in reason
    assert "pip install" in remedy
    assert "NUMBA_ENABLE_CUDASIM=1" in remedy
    launching.cuda.implementation = "NVIDIA"
    launching._compile.cache_clear()
    reason, remedy = unavailable()  # this numba-cuda has no compiler
    assert f"does not work beside NumPy {np.__version__}" in reason
    assert "AttributeError" in reason
    assert "'numba-cuda[cu13]>=0.30.4' 'numpy<2.5'" in remedy
    monkeypatch.setattr(launching, "_compile", lambda: None)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "cupy", None)
        reason, remedy = unavailable()
        assert "CuPy is not installed" in reason
        assert "pip install" in remedy
        with pytest.raises(UnavailableError, match="CuPy is not installed"):
            NumbaCudaBackend()
    sys.modules["cupy"].__version__ = "14.2"
    reason, remedy = unavailable()
    assert reason == "no CUDA driver: nowhere"
    assert "install the NVIDIA driver" in remedy
    assert "NUMBA_ENABLE_CUDASIM=1" in remedy
    monkeypatch.setattr(cuda_probe, "what_works", lambda: "cupy 14.2, CUDA 13.0, a GPU")
    monkeypatch.setattr(launching.metadata, "version", lambda name: "0.30.4")
    launching._run.cache_clear()
    reason, remedy = unavailable()  # this CuPy has no arrays
    assert "a small kernel does not run: AttributeError" in reason
    assert "CUDA 13.0" in remedy
    monkeypatch.setattr(launching, "_run", lambda: None)
    assert NumbaCudaBackend.version() == "numba-cuda 0.30.4, cupy 14.2, CUDA 13.0, a GPU"


# A package `numba_cuda` of paper stands in the place of `numba.cuda`: what loads it finds this.
MISFITS = {
    "a name that NumPy has no longer": (
        "raise AttributeError(\"module 'numpy' has no attribute 'row_stack'\")",
        "AttributeError: module 'numpy' has no attribute 'row_stack'",
    ),
    "a package that is gone": (
        "import cuda_core_that_is_gone",
        "ModuleNotFoundError: No module named 'cuda_core_that_is_gone'",
    ),
    "a deprecation, under -W error": (
        "import warnings; warnings.warn('of timedelta64', DeprecationWarning)\n"
        "raise AttributeError('row_stack')",
        "AttributeError: row_stack",
    ),
}
PROGRAM = """
import importlib.abc, importlib.util, sys, json

class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path, target=None):
        return importlib.util.spec_from_loader(name, self) if name == "numba.cuda" else None
    def exec_module(self, module):
        exec(CODE)

CODE = sys.argv[1]
sys.meta_path.insert(0, Finder())
import nnfs_gpu
found = nnfs_gpu.available_backends()
status = found["numba-cuda"]
assert status == nnfs_gpu.available_backends()["numba-cuda"]
print(json.dumps([status.reason, status.remedy, found["numba"].usable, found["cupy"].reason]))
"""


@pytest.mark.parametrize("name", MISFITS)
def test_numba_cuda_that_does_not_load_names_numpy_and_the_remedy(name):
    """In a program that takes warnings for errors, and no other backend suffers."""
    code, expected = MISFITS[name]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM, code],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    reason, remedy, numba_works, cupy = json.loads(done.stdout)
    assert reason.startswith("numba-cuda ")
    assert f"does not work beside NumPy {np.__version__}" in reason
    assert reason.endswith(expected)
    assert "driver" not in reason
    assert "'numpy<2.5'" in remedy
    assert numba_works
    assert "numpy" not in cupy.lower()


def test_the_remedy_is_the_pair_of_the_extras():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for major in (12, 13):
        extra = project["optional-dependencies"][f"cuda{major}"]
        remedy = launching._misfit(ValueError("no")).remedy.replace("cu13", f"cu{major}")
        wanted = dict(re.findall(r"'([\w-]+)(?:\[\w+\])?([<>=.\d]+)'", remedy))
        assert set(wanted) == {"numba-cuda", "numpy"}
        for package, limit in wanted.items():
            assert any(t.startswith(package) and t.endswith(limit) for t in extra), (package, limit)


def test_simulator_is_named_and_needs_numpy_2(monkeypatch):
    monkeypatch.setattr(launching, "SIMULATOR", True)
    assert "CUDA simulator, no GPU" in NumbaCudaBackend.version()
    monkeypatch.setattr(launching.np, "__version__", "1.26.4")
    reason, remedy = unavailable()
    assert "NumPy 1.26.4" in reason
    assert "upgrade" in remedy
