"""The files of CUDA that the GPU backends need beside the driver, and where they are found.

`LIBRARIES` is the list; `nnfs-gpu info` shows it. Found and loaded by NVIDIA's cuda-pathfinder,
which CuPy and numba-cuda ask too: what it finds is what they use. Nothing here needs a driver.

CuPy's programs are compiled when they are first called, so NVRTC and the headers belong to
every array operation, not only to our kernels. No code of ours calls cuFFT, cuRAND,
cuSOLVER or cuSPARSE, which CuPy's wheel brings, too; the CUDA runtime is linked into CuPy.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

PATHFINDER = "cuda-pathfinder"


@dataclass(frozen=True)
class Library:
    """A file that something of ours needs.

    name   as cuda-pathfinder knows it, or the file's beginning
    kind   "library", "header", "bitcode", or "beside X": in the folder of library X
    users  the backends that need it
    does   what for
    wheels the packages that bring it, by CUDA's major version
    """

    name: str
    kind: str
    users: tuple[str, ...]
    does: str
    wheels: dict[int, str]


@dataclass(frozen=True)
class Found:
    """`path` of the file, or `problem`: why it was not found or does not load."""

    library: Library
    path: str | None
    version: str | None  # of the wheel that it lies in
    problem: str | None


_BOTH = ("cupy", "numba-cuda")
_NVRTC = {12: "nvidia-cuda-nvrtc-cu12", 13: "nvidia-cuda-nvrtc"}
_CUBLAS = {12: "nvidia-cublas-cu12", 13: "nvidia-cublas"}
_NVVM = {12: "nvidia-cuda-nvcc-cu12", 13: "nvidia-nvvm"}
_CUDART = {12: "nvidia-cuda-runtime-cu12", 13: "nvidia-cuda-runtime"}
_NVJITLINK = {12: "nvidia-nvjitlink-cu12", 13: "nvidia-nvjitlink"}

USERS = (*_BOTH, PATHFINDER)  # packages of which one has to be there for a library to be used

LIBRARIES: tuple[Library, ...] = (
    Library("nvrtc", "library", _BOTH, "compiles kernels, ours and CuPy's", _NVRTC),
    Library("libnvrtc-builtins", "beside nvrtc", _BOTH, "what NVRTC includes by itself", _NVRTC),
    Library("cuda_fp16.h", "header", ("cupy",), "CuPy's kernels on float16", _CUDART),
    Library("cublasLt", "library", _BOTH, "what cuBLAS computes with", _CUBLAS),
    Library("cublas", "library", _BOTH, "products of matrices", _CUBLAS),
    Library("nvvm", "library", ("numba-cuda",), "compiles Numba's kernels", _NVVM),
    Library("libdevice", "bitcode", ("numba-cuda",), "exp, log and sine in them", _NVVM),
    Library("nvJitLink", "library", ("numba-cuda",), "links them", _NVJITLINK),
)


# All that `cupy-cuda13x[ctk]` and `numba-cuda[cu13]` bring.
_PARTS = (
    *("cublas", "cuda-cccl", "cuda-nvcc", "cuda-nvrtc", "cuda-runtime", "cufft", "curand"),
    *("cusolver", "cusparse", "nvjitlink", "nvvm"),
)


def installed_libraries(major: int) -> list[str]:
    """The installed wheels that hold libraries of CUDA `major`: CUDA 12's say so in their names."""
    ending = "-cu12" if major == 12 else ""
    found = []
    for part in _PARTS:
        name = f"nvidia-{part}{ending}"
        try:
            metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
        found.append(name)
    return found


def find_libraries() -> Iterator[Found]:
    """Each of `LIBRARIES`, loaded where it is a library."""
    try:
        from cuda import pathfinder
    except ImportError:
        for library in LIBRARIES:
            yield Found(library, None, None, f"{PATHFINDER}, which looks for it, is not installed")
        return
    places: dict[str, Path] = {}
    for library in LIBRARIES:
        try:
            path = places[library.name] = _find(pathfinder, library, places)
        except (RuntimeError, OSError) as error:  # not there; there and broken
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            yield Found(library, None, None, reason)
            continue
        yield Found(library, str(path), _version(library, path), None)


def _find(pathfinder: Any, library: Library, places: dict[str, Path]) -> Path:
    """Its file; RuntimeError or OSError where there is none or it does not load."""
    if library.kind == "library":
        return Path(pathfinder.load_nvidia_dynamic_lib(library.name).abs_path)
    if library.kind == "bitcode":
        return Path(pathfinder.find_bitcode_lib("device"))
    if library.kind == "header":
        folder = pathfinder.find_nvidia_header_directory("cudart")
        path = Path(folder or "", library.name)
        if folder is None or not path.is_file():
            raise RuntimeError(f"no {library.name} in {folder or 'any folder of headers'}")
        return path
    neighbour = library.kind.removeprefix("beside ")
    if neighbour not in places:
        raise RuntimeError(f"lies beside {neighbour}, which was not found")
    files = sorted(places[neighbour].parent.glob(f"{library.name}*"))
    if not files:
        raise RuntimeError(f"no {library.name}* in {places[neighbour].parent}")
    return files[-1]


def _version(library: Library, path: Path) -> str | None:
    """Of the wheel whose folder holds the file; None for a file of a CUDA toolkit."""
    if "nvidia" not in path.parts:
        return None
    major = 13 if "cu13" in path.parts else 12
    try:
        return metadata.version(library.wheels[major])
    except metadata.PackageNotFoundError:
        return None
