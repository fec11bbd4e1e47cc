"""The text of a CUDA C++ kernel as a compiler gets it: a single one, with all that it includes.

`common.cuh` stands in front of every kernel, and a line `#include "name.cuh"` is replaced by that
file: CuPy's cache of compiled kernels does not look into included files, and would
run old code after a change in one. Used by `cuda_launch` and by the tests that compile kernels;
needs neither CuPy nor a GPU.
"""

from __future__ import annotations

import re
from importlib import resources
from importlib.resources.abc import Traversable

FOLDERS = "cuda", "fused_cuda"  # of kernels/; no name stands in both
_INCLUDE = re.compile(r'#include "(\w+\.cuh)"$')


def source(stem: str) -> str:
    """The text of the kernels in `stem`.cu with what all kernels share in front of it."""
    return f"{text('common.cuh')}\n{text(f'{stem}.cu')}"


def text(name: str) -> str:
    """The file `name` with its includes in their places; messages name files and lines."""
    lines = [f'#line 1 "{name}"']
    for number, line in enumerate(file(name).read_text(encoding="utf-8").splitlines(), 1):
        included = _INCLUDE.match(line)
        lines += [text(included[1]), f'#line {number + 1} "{name}"'] if included else [line]
    return "\n".join(lines)


def file(name: str) -> Traversable:
    """The file `name`, in whichever folder of CUDA C++ it lies."""
    return resources.files("nnfs_gpu.kernels").joinpath(folder(name), name)


def folder(name: str) -> str:
    """The folder that the file `name` lies in, or would lie in: one of FOLDERS."""
    kernels = resources.files("nnfs_gpu.kernels")
    return next((one for one in FOLDERS if kernels.joinpath(one, name).is_file()), FOLDERS[0])
