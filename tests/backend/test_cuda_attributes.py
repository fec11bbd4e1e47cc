"""Everything that the package asks of CuPy and of numba.cuda is there, with the arguments it gives.

The lists come from the source (cuda_attributes.py), the answers from the installed libraries,
which need no device for it. And the stand-in for CuPy's arrays refuses what CuPy's own refuse:
each case is tried on both.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys

import cuda_attributes as listed
import numpy as np
import pytest
from cuda_attributes import ROOT, UNKNOWN, Use, array_attributes, uses, uses_in
from device_arrays import DeviceArray, DeviceModule

PACKAGE = ROOT / "nnfs_gpu"
FILES = sorted(
    {
        *(PACKAGE / "backend").glob("*.py"),
        *(PACKAGE / "backend" / "cuda").glob("*.py"),
        *(PACKAGE / "backend" / "numba_cuda").glob("*.py"),
        *(PACKAGE / "fused" / "cuda").glob("*.py"),
        PACKAGE / "fused" / "tiles.py",
        PACKAGE / "selftest" / "timing.py",
        *(ROOT / "bench" / "gpu_check").glob("*.py"),
        *(ROOT / "bench").glob("cases*.py"),
        ROOT / "bench" / "spot_check.py",
        ROOT / "bench" / "suites" / "limits.py",
    }
)
KERNELS = sorted((ROOT / "kernels" / "numba_cuda").glob("*.py"))
# Compiled without a signature: the arguments are those of CuPy's documentation.
NO_SIGNATURE = {"cupy.cuda.Function()", "cupy.cuda.Device", "cupy.cuda.Module", "cupy.RawModule"}


@pytest.fixture(scope="module")
def cupy():
    """The real one. CI has it, without a device."""
    try:
        import cupy
    except ImportError as error:
        problem = f"CuPy is not installed ({error}): pip install 'nnfs-gpu[compile]'"
        pytest.fail(problem) if os.environ.get("CI") else pytest.skip(problem)
    return cupy


def all_uses(files, root):
    return [use for file in files for use in uses(file) if use.path.split(".")[0] == root]


# ---- the lists ----
def test_the_list_has_what_we_know_of():
    paths = {use.path for use in all_uses(FILES, "cupy")}
    known = {
        *("cupy.cuda.nvrtc.compileProgram", "cupy.cuda.Module().load", "cupy.cuda.Function().ptr"),
        *("cupy.cuda.driver.funcSetAttribute", "cupy.cuda.runtime.deviceGetAttribute"),
        *("cupy.cuda.Stream().begin_capture", "cupy.cuda.Graph().launch", "cupy.ndarray().view"),
        *("cupy.cuda.MemoryPointer().copy_from_host_async", "cupy.cuda.Event().record"),
        *("cupy.cuda.Device().compute_capability", "cupy.cuda.PinnedMemoryPointer().ptr"),
        *("cupy.from_dlpack", "cupy.cuda.Stream().wait_event"),
    }
    assert known <= paths
    assert len(paths) > 60


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("xp.emtpy(3)", "emtpy"),
        ("cupy.cuda.runtime.getDeviceNumber()", "getDeviceNumber"),
        ("xp.cuda.Stream(blocking=True)", "blocking"),
        ("s = xp.cuda.Stream()\ns.wait(3)", "wait"),
        ("cupy.cuda.get_current_stream().address", "address"),
        ("self.xp.empty(3, np.float32, 'C', 'on host')", "too many"),
        ("nvrtc.compileProgram(program)", "missing options"),
        ("cupy.cuda.runtime.deviceGetAttribute(1, 0, 3)", "too many arguments: 3"),
        ("xp.maximum(a, b, where=c)", "where"),
        ("memory = xp.empty(3)\nmemory.data.copy_from_host(p)", "missing size"),
    ],
)
def test_what_is_not_there_is_found(cupy, line, problem):
    found = [use.problem() for use in uses_in(line, "x", "x.py")]
    assert any(problem in one for one in found), found


# ---- against the installed libraries ----
def test_cupy_has_every_attribute_and_takes_every_argument(cupy):
    found = {use: use.problem() for use in all_uses(FILES, "cupy")}
    assert not [problem for problem in found.values() if problem not in ("", UNKNOWN)]
    assert {use.path for use, problem in found.items() if problem == UNKNOWN} <= NO_SIGNATURE


def test_cupys_arrays_have_what_is_asked_of_arrays(cupy):
    flags = {f"flags.{name}" for name in dir(on_host(cupy, np.zeros(1)).flags)}
    known = set(dir(cupy.ndarray)) | flags
    for name in listed.ON_ARRAYS:
        lacking = {use for use in array_attributes(PACKAGE / f"{name}.py") if use[0] not in known}
        assert not lacking


def test_numba_cuda_has_every_attribute():
    pytest.importorskip("numba.cuda")
    found = all_uses([*FILES, *KERNELS], "numba")
    assert len({use.path for use in found}) > 5
    # Inside kernels, calls mean what Numba's compiler makes of them: test_numba_cuda.py.
    on_host = [u for u in found if u.positional is None or not u.place.startswith("kernels")]
    problems = [use.problem() for use in on_host]
    assert not [problem for problem in problems if problem]


def test_no_device_is_named_by_its_number():
    """The caller's current device, and CUDA_VISIBLE_DEVICES, say where work goes."""
    for file in PACKAGE.rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        assert "CUDA_VISIBLE_DEVICES" not in text or "environ[" not in text, file
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                named = node.func.attr in ("Device", "getDeviceProperties", "select_device")
                fixed = any(isinstance(a, ast.Constant) for a in node.args)
                assert not (named and fixed), f"{file}:{node.lineno}"
                assert node.func.attr not in ("setDevice", "set_device"), f"{file}:{node.lineno}"


# ---- what CuPy's arrays refuse, ours refuse ----
def on_host(cupy, a):
    """A CuPy array over the host's memory: good enough to be refused."""
    memory = cupy.cuda.UnownedMemory(a.ctypes.data, a.nbytes, a, 0)
    return cupy.ndarray(a.shape, a.dtype, memptr=cupy.cuda.MemoryPointer(memory, 0))


def _assign(place, value):
    def assign(a, b, xp):
        a[place] = b[value] if value is not None else b

    return assign


def _into_numpy(a, b, xp):
    b[...] = a


REFUSED = {
    "np.asarray": lambda a, b, xp: np.asarray(a),
    "np.ascontiguousarray": lambda a, b, xp: np.ascontiguousarray(a),
    "np.float32": lambda a, b, xp: np.float32(a[0, 0]),
    "into a NumPy array": _into_numpy,
    "a[...] = NumPy": _assign(..., None),
    "a[:] = NumPy": _assign(slice(None), None),
    "a[0] = NumPy": _assign(0, 0),
    "np.dot": lambda a, b, xp: np.dot(a, b.T),
    "xp.dot": lambda a, b, xp: xp.dot(a, b.T),
    "a.dot": lambda a, b, xp: a.dot(b.T),
    "a @ NumPy": lambda a, b, xp: a @ b.T,
    "NumPy @ a": lambda a, b, xp: b.T @ a,
    "xp.stack": lambda a, b, xp: xp.stack([a, b]),
    "sum into NumPy": lambda a, b, xp: a.sum(out=b),
    "index of a NumPy array": lambda a, b, xp: b[a],
    "index of a list": lambda a, b, xp: [1, 2][a[0, 0]],
    "range": lambda a, b, xp: range(a[0, 0]),
    "hash": lambda a, b, xp: {a: 1},
    "round": lambda a, b, xp: round(a[0, 0]),
    "truth of many": lambda a, b, xp: bool(a),
    "iteration over none": lambda a, b, xp: list(a[0, 0]),
    "length of none": lambda a, b, xp: len(a[0, 0]),
    "flags.writeable": lambda a, b, xp: a.flags.writeable,
    "setflags": lambda a, b, xp: a.setflags(write=False),
    "ctypes": lambda a, b, xp: a.ctypes,
    "__array_interface__": lambda a, b, xp: a.__array_interface__,
    "mean where": lambda a, b, xp: a.mean(where=True),
    "sum initial": lambda a, b, xp: a.sum(initial=0),
    "np.sum where": lambda a, b, xp: np.sum(a, where=True),
    "ufunc where": lambda a, b, xp: np.exp(a, where=True),
}


# CuPy 13 asks for the current stream first and complains of the missing driver there; NumPy 2
# complains of its `__array__`.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("name", REFUSED)
def test_the_stand_in_refuses_what_cupy_refuses(name, cupy):
    errors = []
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    for array, xp in ((on_host(cupy, values), cupy), (DeviceArray(values), DeviceModule())):
        with pytest.raises((TypeError, ValueError, AttributeError)) as caught:
            REFUSED[name](array, np.ones((2, 3), np.float32), xp)
        errors.append(caught.type)
    assert errors[0] is errors[1]


def test_importing_cupy_is_left_to_those_who_need_it(cupy):
    """Where it is installed without a driver, too: `auto` goes on, and says why."""
    program = (
        "import sys, nnfs_gpu; assert 'cupy' not in sys.modules; "
        "status = nnfs_gpu.available_backends()['cupy']; "
        "print(status.usable, nnfs_gpu.get_backend().name)"
    )
    found = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env={k: v for k, v in os.environ.items() if k != "NNFS_GPU_BACKEND"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert found in (["False", "numba"], ["True", "cupy"])


def test_use_is_hashable_and_says_where():
    assert Use("cupy.nothing", "here:1").problem().startswith("here:1: cupy.nothing")
