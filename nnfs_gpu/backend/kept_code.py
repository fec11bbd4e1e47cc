"""Where the backends keep compiled kernels on disk. For reports and for `nnfs-gpu warmup`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


def cache_folders(name: str) -> list[Path]:
    """Of the backend called `name`, in the order they are tried; [] where it keeps none."""
    return _FOLDERS.get(name, list)()


def _of_numba() -> list[Path]:
    from ..kernels.fused_cpu.step import train

    return [Path(files.folder) for files in train._cache.folders]


def _of_cupy() -> list[Path]:
    from .cuda import cache as cuda_cache

    folder = cuda_cache.folder()
    return [] if folder is None else [folder]


_FOLDERS: dict[str, Callable[[], list[Path]]] = {
    "numba": _of_numba,
    "numba-cuda": _of_numba,
    "cupy": _of_cupy,
}
