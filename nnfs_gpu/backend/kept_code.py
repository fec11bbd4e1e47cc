"""Where the backends keep compiled kernels on disk, and what those depend on.

For reports and for `nnfs-gpu warmup`.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable
from pathlib import Path


def cache_folders(name: str) -> list[Path]:
    """Of the backend called `name`, in the order they are tried; [] where it keeps none."""
    return _FOLDERS.get(name, list)()


def cpu_key() -> str:
    """What kernels compiled for this processor depend on, as a name for their cache in CI.

    System, Python, Numba and the processor in words; and a digest of the kernels, of what compiles
    them, and of the processor's features.
    """
    import numba
    from numba.core.registry import cpu_target

    from ..kernels.cpu.cache import stamp

    triple, processor, features = cpu_target.target_context.codegen().magic_tuple()
    digest = hashlib.sha256(repr((stamp(), triple, features)).encode()).hexdigest()[:16]
    words = platform.system(), platform.machine(), f"py{platform.python_version()}"
    return "-".join([*words, f"numba{numba.__version__}", processor, digest]).lower()


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
