"""What compute-sanitizer watches: every kernel once, at shapes that reach its edges.

Steps of `make gpu-check`; each takes a notebook and a backend with CuPy arrays. They start the
kernels and compare nothing: the tool sees what they read, write and share.

exercise        every operation and the fused step
exercise_fused  the fused step alone, for a tool that takes long
"""

from __future__ import annotations

import re
from importlib import resources
from typing import Any

from nnfs_gpu.backend.cuda import source as cuda_source
from nnfs_gpu.selftest.operations import OPERATIONS

from . import fused
from .notebook import Notebook

SHAPES = ((1, 1), (257, 3), (100, 33), (7, 1500), (2, 5000))


def exercise(notebook: Notebook, backend: Any) -> None:
    """Every operation and the fused step at small shapes, for compute-sanitizer to watch. No pool:
    memory that is allocated array by array shows a read beside it. cuBLAS, slow, comes last.
    """
    _without_a_pool(backend)
    lines = sorted(OPERATIONS, key=lambda line: line.name.startswith("linear"))
    launched: set[str] = set()
    for dtype in ("float32", "float64"):
        made = type(backend)(dtype)
        for line in lines:
            for n, c in SHAPES:
                what = f"{line.label} {dtype} {n}x{c}"
                if notebook.late(f"the sanitizer from {what} on"):
                    return
                with notebook.attempt(what, made):
                    line.run(made, line.arguments(dtype, n, c))
        fused.exercise(notebook, made)
        launched |= {kernel for _, kernel in made.calls.launcher.launched}
    notebook.add("exercise", kernels=sorted(launched))
    if unused := sorted(kernel_names() - launched):
        notebook.problem(f"kernels that nothing here launches: {', '.join(unused)}")


def exercise_fused(notebook: Notebook, backend: Any) -> None:
    """The fused step alone, for what takes the sanitizer long."""
    _without_a_pool(backend)
    launched: set[str] = set()
    for dtype in ("float32", "float64"):
        made = type(backend)(dtype)
        fused.exercise(notebook, made)
        launched |= {kernel for _, kernel in made.calls.launcher.launched}
    notebook.add("exercise", kernels=sorted(launched))


def _without_a_pool(backend: Any) -> None:
    cuda = getattr(backend.xp, "cuda", None)
    if cuda is not None:
        cuda.set_allocator(None)


def kernel_names() -> set[str]:
    """Of all kernels in CUDA C++."""
    pattern = re.compile(r"__global__ void\s*(?:__launch_bounds__\([^)]*\))?\s*(\w+)\(")
    folders = [resources.files("nnfs_gpu.kernels") / name for name in cuda_source.FOLDERS]
    files = [file for folder in folders for file in folder.iterdir()]
    texts = [file.read_text() for file in files if file.name.endswith(".cu")]
    return {name for text in texts for name in pattern.findall(text)}
