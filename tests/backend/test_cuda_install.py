"""What the extras cuda12 and cuda13 install, and whether every file of CUDA is found and loads.

Proves, without a driver: the extras resolve on each Python to a set that holds every library the
GPU backends call (where a package index answers); the finder names each file or why it is not
there, on folders of paper and on the wheels of this environment; and with those wheels, the
libraries load, answer their version, and compile and link a kernel.
"""

from __future__ import annotations

import ctypes
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import types
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata

import numpy as np
import pytest
from processes import ROOT

from nnfs_gpu.backend.cuda import libraries as cuda_libraries
from nnfs_gpu.backend.cuda.libraries import LIBRARIES, find_libraries
from nnfs_gpu.cli import info as cli_info

# ---- what the extras resolve to ----
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
    "optional-dependencies"
]
UV = shutil.which("uv")
PYTHONS = ("3.11", "3.12", "3.13")
PIP = {(13, "3.12")}  # pip takes ten seconds and more for each, uv less than one


def resolved(requirements, python):
    """{package: version} that would be installed on Linux; None where no index answers."""
    if UV:
        command = [UV, "pip", "compile", "--quiet", "--no-header", "--no-annotate", "-"]
        command += ["--python", sys.executable, "--no-python-downloads"]
        command += ["--python-version", python, "--python-platform", "x86_64-manylinux_2_28"]
        done = run(command, "\n".join(requirements))
        found = re.findall(r"^([\w.-]+)==(\S+)", done.stdout, re.MULTILINE)
    else:
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--report", "-"]
        command += ["--ignore-installed", "--target", "nowhere", "--only-binary", ":all:"]
        command += ["--python-version", python, "--retries", "0", "--timeout", "10"]
        command += [a for n in (17, 27, 28, 34) for a in ("--platform", f"manylinux_2_{n}_x86_64")]
        done = run([*command, "--platform", "manylinux2014_x86_64", *requirements])
        report = json.loads(done.stdout)["install"] if done.returncode == 0 else []
        found = [(one["metadata"]["name"], one["metadata"]["version"]) for one in report]
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in found} or None


def run(command, text=None):
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def sets():
    """What each extra installs on each Python, all asked at once: the answers are waited for."""
    if resolved(["numpy"], "3.12") is None:
        pytest.skip("no package index answers")
    cases = list(itertools.product((12, 13), PYTHONS))
    if not UV and not os.environ.get("NNFS_GPU_ALL_INSTALLS"):
        cases = sorted(PIP)
    with ThreadPoolExecutor() as pool:
        found = pool.map(lambda c: resolved([*EXTRAS[f"cuda{c[0]}"], "numba>=0.60"], c[1]), cases)
        return dict(zip(cases, found, strict=True))


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("major", [12, 13])
def test_the_extras_install_a_complete_set(sets, major, python):
    if (major, python) not in sets:
        pytest.skip("slow with pip: install uv, or set NNFS_GPU_ALL_INSTALLS=1")
    found = sets[major, python]
    assert found is not None
    wanted = {library.wheels[major] for library in LIBRARIES}
    assert wanted | {f"cupy-cuda{major}x", "numba-cuda", "cuda-pathfinder"} <= set(found)
    numpy = tuple(int(part) for part in found["numpy"].split(".")[:2])
    assert (2, 0) <= numpy < (2, 5)
    other = {package for library in LIBRARIES for package in library.wheels.values()} - wanted
    assert not other & set(found), "libraries of the other CUDA"


def test_every_library_has_a_wheel_for_each_extra():
    majors = {12, 13}
    assert {f"cuda{major}" for major in majors} <= set(EXTRAS)
    for library in LIBRARIES:
        assert set(library.wheels) == majors
        assert set(library.users) <= {"cupy", "numba-cuda"}


# ---- the finder, on folders of paper ----
FILES = {
    "nvrtc": "lib/libnvrtc.so.13",
    "libnvrtc-builtins": "lib/libnvrtc-builtins.so.13.5",
    "cuda_fp16.h": "include/cuda_fp16.h",
    "cublasLt": "lib/libcublasLt.so.13",
    "cublas": "lib/libcublas.so.13",
    "nvvm": "nvvm/lib64/libnvvm.so.4",
    "libdevice": "nvvm/libdevice/libdevice.10.bc",
    "nvJitLink": "lib/libnvJitLink.so.13",
}


def pathfinder(root):
    """cuda-pathfinder on the folder `root`: what it does where a file is missing, too."""

    def load(name):
        path = root / FILES[name]
        if not path.exists():
            raise RuntimeError(
                f'Failure finding "{path.name}": No such file\nand a list of folders'
            )
        if path.read_text() == "broken":
            raise OSError(f"{path.name}: invalid ELF header")
        return types.SimpleNamespace(abs_path=str(path))

    def bitcode(name):
        assert name == "device"
        path = root / FILES["libdevice"]
        if not path.exists():
            raise RuntimeError('Failure finding "libdevice.10.bc": CUDA_HOME not set')
        return str(path)

    def headers(name):
        assert name == "cudart"
        return str(root / "include") if (root / "include").exists() else None

    return types.SimpleNamespace(
        load_nvidia_dynamic_lib=load, find_bitcode_lib=bitcode, find_nvidia_header_directory=headers
    )


@pytest.fixture
def wheels(tmp_path, monkeypatch):
    """Folders as wheels for CUDA 13 make them, with every file in its place."""
    root = tmp_path / "site-packages" / "nvidia" / "cu13"
    for name in FILES.values():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("here")
    cuda = types.ModuleType("cuda")
    cuda.pathfinder = pathfinder(root)
    monkeypatch.setitem(sys.modules, "cuda", cuda)
    monkeypatch.setattr(cuda_libraries.metadata, "version", lambda name: f"13.5 of {name}")
    return root


def test_every_file_is_found_with_the_version_of_its_wheel(wheels):
    found = list(find_libraries())
    assert [one.library for one in found] == list(LIBRARIES)
    for one in found:
        assert one.path == str(wheels / FILES[one.library.name])
        assert one.problem is None
        assert one.version == f"13.5 of {one.library.wheels[13]}"


LOADED = [library.name for library in LIBRARIES if library.kind == "library"]


@pytest.mark.parametrize(
    ("name", "how"), [*((name, "absent") for name in FILES), *((name, "broken") for name in LOADED)]
)
def test_what_is_missing_is_named_in_a_line(wheels, name, how):
    if how == "absent":
        (wheels / FILES[name]).unlink()
    else:
        (wheels / FILES[name]).write_text("broken")
    found = {one.library.name: one for one in find_libraries()}
    assert found[name].path is None
    assert found[name].problem
    assert "\n" not in found[name].problem
    lost = {other for other, one in found.items() if one.path is None}
    beside = {one.name for one in LIBRARIES if one.kind == f"beside {name}"}
    assert lost == {name} | beside


def test_a_file_of_a_toolkit_has_no_wheels_version(wheels, monkeypatch, tmp_path):
    toolkit = tmp_path / "cuda-13.0"
    wheels.rename(toolkit)
    monkeypatch.setattr(sys.modules["cuda"], "pathfinder", pathfinder(toolkit))
    assert {(one.version, one.problem) for one in find_libraries()} == {(None, None)}


def test_without_the_pathfinder_that_is_the_reason(monkeypatch):
    monkeypatch.setitem(sys.modules, "cuda", None)
    for one in find_libraries():
        assert one.path is None
        assert "cuda-pathfinder" in one.problem


def test_info_lists_what_is_there_and_what_to_install(wheels, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "250")
    (wheels / FILES["cublas"]).unlink()
    assert cli_info.run(None) == 0
    text = capsys.readouterr().out
    for library in LIBRARIES:
        assert library.name in text
    assert "missing (products of matrices): pip install nvidia-cublas" in text
    assert cli_info.run("-") == 0
    found = json.loads(capsys.readouterr().out)["cuda_libraries"]
    assert found["nvrtc"]["path"] == str(wheels / FILES["nvrtc"])
    assert found["cublas"]["path"] is None
    assert "libcublas" in found["cublas"]["problem"]
    assert found["cublas"]["needed_by"] == ["cupy", "numba-cuda"]


# ---- the wheels of this environment ----
@pytest.fixture(scope="module")
def installed():
    """What is found here; skipped where the CUDA wheels are not installed."""
    major = next((m for m in (13, 12) if has(f"cupy-cuda{m}x")), None)
    missing = {one.wheels[major] for one in LIBRARIES if not has(one.wheels[major])} if major else 0
    if major is None or missing:
        pytest.skip(f"not installed: {', '.join(sorted(missing or ['CuPy']))}")
    return {one.library.name: one for one in find_libraries()}


def has(package):
    try:
        return bool(metadata.version(package))
    except metadata.PackageNotFoundError:
        return False


@pytest.mark.parametrize("name", FILES)
def test_the_installed_file_is_found_and_loads(installed, name):
    one = installed[name]
    assert one.problem is None
    assert one.version, "not of a wheel"


def test_the_installed_libraries_answer(installed):
    """NVRTC and cuBLAS say their version; CuPy's own modules load on them. No driver."""
    import cupy

    major, minor = ctypes.c_int(), ctypes.c_int()
    nvrtc = ctypes.CDLL(installed["nvrtc"].path)
    assert nvrtc.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor)) == 0
    assert cupy.cuda.nvrtc.getVersion() == (major.value, minor.value)
    size = ctypes.c_size_t
    lt = ctypes.CDLL(installed["cublasLt"].path)
    lt.cublasLtGetVersion.restype = size
    assert lt.cublasLtGetVersion() // 10_000 == major.value
    assert hasattr(cupy.cuda.cublas, "sgemm")
    version = ctypes.c_int()
    cublas = ctypes.CDLL(installed["cublas"].path)
    assert cublas.cublasGetProperty(0, ctypes.byref(version)) == 0
    assert version.value == major.value


def test_the_installed_compiler_of_numba_makes_a_kernel(installed):
    """NVVM with libdevice to PTX, and nvJitLink to machine code: in a process of its own."""
    if np.lib.NumpyVersion(np.__version__) >= "2.5.0":
        pytest.skip(f"numba-cuda does not know NumPy {np.__version__}")
    code = """
import math, warnings
from numba import cuda, types, float32
from numba.cuda import dispatcher

def kernel(x, y):
    i = cuda.grid(1)
    if i < x.size:
        y[i] = math.exp(x[i])

class Device:
    compute_capability = (9, 0)

dispatcher.get_current_device = Device
ptx, _ = cuda.compile_ptx(kernel, types.void(float32[::1], float32[::1]), cc=(9, 0))
from cuda.core import Linker, LinkerOptions, ObjectCode
linker = Linker(ObjectCode.from_ptx(ptx.encode()), options=LinkerOptions(arch="sm_90"))
print(bytes(linker.link("cubin").code)[:4])
"""
    done = run([sys.executable, "-c", code])
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == repr(b"\x7fELF")
