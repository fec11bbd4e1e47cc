"""From a kernel's text to its start: options, the code on disk, devices and streams, on paper.

Proves: the code is that of the device at hand, and is compiled once for all processes; a cache
that is damaged, of another compiler or cannot be written costs a compilation and no more; a
launch goes to the caller's device and stream, and an array of another device is refused.
"""

from __future__ import annotations

import os
import stat

import numpy as np
import paper_cuda
import pytest

from nnfs_gpu.backend.cuda import cache as cuda_cache, compile as cuda_compile
from nnfs_gpu.backend.cuda.source import source
from nnfs_gpu.backend.driver import UnavailableError

F32 = np.dtype(np.float32)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """CuPy's folder of kernels, for this test."""
    monkeypatch.setenv("CUPY_CACHE_DIR", str(tmp_path))
    monkeypatch.delenv("CUPY_CACHE_IN_MEMORY", raising=False)
    return tmp_path / "nnfs_gpu"


@pytest.fixture
def nvrtc():
    return paper_cuda.Nvrtc()


def code(nvrtc, capability=90, dtype=F32, **definitions):
    return cuda_compile.code_for(nvrtc, "elementwise", dtype, capability, definitions)


# ---- options ----
def test_options_name_all_that_decides_the_numbers():
    found = cuda_compile.options(F32, "sm_90", {"C": 3, "WIDTHS": "2,64,3"})
    assert found == (
        *("--std=c++17", "--gpu-architecture=sm_90", "--ftz=false", "--prec-div=true"),
        *("--prec-sqrt=true", "--fmad=false", "-DREAL=float", "-DC=3", "-DWIDTHS=2,64,3"),
    )
    assert "-DREAL=double" in cuda_compile.options(np.dtype(np.float64), "sm_90", {})


@pytest.mark.parametrize(
    ("capability", "known", "expected"),
    [
        (90, (75, 90, 120), "sm_90"),
        (86, (75, 80, 86), "sm_86"),
        (121, (75, 90, 120), "compute_120"),  # newer than the compiler: the driver goes on
        (89, (120, 80, 75), "compute_80"),
        (130, [75, 80, 90], "compute_90"),
    ],
)
def test_the_architecture_is_the_devices(capability, known, expected):
    assert cuda_compile.architecture_for(capability, known) == expected


def test_a_device_older_than_the_compiler_is_named():
    with pytest.raises(UnavailableError, match=r"capability 6\.1, .* knows 7\.5 and") as caught:
        cuda_compile.architecture_for(61, (75, 90))
    assert "cuda12" in caught.value.remedy


def test_machine_code_where_it_can_be_and_ptx_where_not(nvrtc):
    assert code(nvrtc).startswith(b"cubin of")
    assert code(nvrtc, 130).startswith(b"// build 1\nPTX of")


def test_a_text_that_does_not_compile_says_where(nvrtc):
    with pytest.raises(RuntimeError, match=r"x\.cu does not compile .*6.*--ftz=false.*\n.*line 3"):
        cuda_compile.compiled(nvrtc, "x.cu", "syntax error", cuda_compile.NUMBERS)
    assert list(nvrtc.programs.values()) == [None], "the program is given back"


# ---- on disk ----
def test_code_is_compiled_once_and_read_in_the_next_process(nvrtc, folder):
    first = code(nvrtc)
    assert len(list(folder.iterdir())) == 1
    other = paper_cuda.Nvrtc()
    assert code(other) == first
    assert other.compiled == []


def test_whatever_code_is_made_of_makes_other_code(nvrtc, folder, monkeypatch):
    code(nvrtc)
    makers = [
        lambda: code(nvrtc, C=3),
        lambda: code(nvrtc, dtype=np.dtype(np.float64)),
        lambda: code(nvrtc, 75),
        lambda: code(paper_cuda.Nvrtc(build="build 2")),
    ]
    for number, make in enumerate(makers, 2):
        make()
        assert len(list(folder.iterdir())) == number
    monkeypatch.setattr(cuda_compile, "NUMBERS", ("--ftz=false",))
    code(nvrtc)
    monkeypatch.setattr(cuda_compile, "source", lambda file: source(file) + "\n// changed")
    code(nvrtc)
    assert len(list(folder.iterdir())) == len(makers) + 3


@pytest.mark.parametrize("damage", [b"", b"short", None])
def test_a_damaged_file_is_made_again(nvrtc, folder, damage):
    whole = code(nvrtc)
    (file,) = folder.iterdir()
    good = file.read_bytes()
    file.write_bytes(good[:-1] + b"?" if damage is None else damage)
    assert code(nvrtc) == whole
    assert len(nvrtc.compiled) == 2
    assert file.read_bytes() == good
    assert [one.name for one in folder.iterdir()] == [file.name], "nothing is left behind"


def test_a_folder_that_cannot_be_written_costs_a_compilation(nvrtc, tmp_path, monkeypatch):
    blocked = tmp_path / "a file"
    blocked.write_text("in the way")
    monkeypatch.setenv("CUPY_CACHE_DIR", str(blocked))
    assert code(nvrtc) == code(nvrtc)
    assert len(nvrtc.compiled) == 2


@pytest.mark.skipif(os.name == "nt" or os.getuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_costs_a_compilation(nvrtc, tmp_path):
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    assert code(nvrtc) == code(nvrtc)


def test_cupys_settings_of_its_cache_count(nvrtc, folder, monkeypatch, tmp_path):
    monkeypatch.setenv("CUPY_CACHE_IN_MEMORY", "1")
    code(nvrtc)
    assert not folder.exists()
    monkeypatch.delenv("CUPY_CACHE_IN_MEMORY")
    monkeypatch.delenv("CUPY_CACHE_DIR")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    cuda_cache.save("key", b"code")
    assert (tmp_path / "home" / ".cupy" / "kernel_cache" / "nnfs_gpu").is_dir()


# ---- the launch ----
@pytest.fixture
def cupy():
    return paper_cuda.Paper()


@pytest.fixture
def launcher(monkeypatch, cupy):
    return paper_cuda.launching(monkeypatch, cupy).CudaLauncher()


def launch(launcher, *arguments, kernel="relu_forward", **definitions):
    launcher.launch("elementwise", kernel, (2,), 64, arguments, F32, **definitions)


def test_a_launch_goes_to_the_callers_device_and_stream(cupy, launcher):
    places = [(0, "stream"), (1, "another"), (0, "another")]
    for cupy.current, cupy.stream in places:
        launch(launcher, paper_cuda.Array(device=cupy.current), 3, 0.5)
    assert [record[1:3] for record in cupy.launched] == places
    assert [(device, one.decode()[:8]) for device, one in cupy.loaded] == [
        (0, "cubin of"),
        (1, "cubin of"),
    ]
    assert b"sm_90" in cupy.loaded[0][1]
    assert b"sm_120" in cupy.loaded[1][1]
    name, *_, grid, block, arguments, shared = cupy.launched[0]
    assert (name, grid, block, shared) == ("relu_forward", (2,), (64,), 0)
    assert [type(a) for a in arguments] == [paper_cuda.Array, np.int64, np.float32]


def test_a_file_is_loaded_once_for_all_of_its_kernels(cupy, launcher):
    for kernel in ("relu_forward", "relu_backward", "relu_forward"):
        launch(launcher, kernel=kernel)
    launch(launcher, C=3)
    assert len(cupy.loaded) == 2
    assert launcher.launched == {("elementwise", "relu_forward"), ("elementwise", "relu_backward")}


def test_shared_memory_is_asked_for(cupy, launcher):
    launch(launcher, SHARED=65_536)
    assert cupy.shared == [(8, 65_536)]
    assert cupy.launched[0][-1] == 65_536


def test_arrays_that_a_kernel_cannot_take_are_refused(cupy, launcher):
    refused = {
        "lies on device 1, and device 0 is the current one": paper_cuda.Array(device=1),
        "is not contiguous": paper_cuda.Array(contiguous=False),
    }
    for message, array in refused.items():
        with pytest.raises(ValueError, match=message):
            launch(launcher, array)
    with pytest.raises(TypeError, match="got a ndarray, expected an array on the GPU"):
        launch(launcher, np.zeros(4, np.float32))
    assert cupy.launched == []


def test_what_was_prepared_for_one_device_does_not_start_on_another(cupy, launcher):
    made = launcher.prepare("elementwise", "relu_forward", (1,), 64, (paper_cuda.Array(),), F32)
    made()
    cupy.current = 1
    with pytest.raises(ValueError, match=r"for device 0 was started while device 1"):
        made()
    with pytest.raises(ValueError, match=r"lies on device 1"):
        made.put(0, paper_cuda.Array(device=1))
    cupy.current = 0
    made()
    assert len(cupy.launched) == 2
