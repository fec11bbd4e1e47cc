"""The text of a CUDA C++ kernel as a compiler gets it: one, with everything that it includes.

`common.cuh` stands in front of every kernel, and a line `#include "name.cuh"` is replaced by that
file of kernels/: CuPy's cache of compiled kernels does not look into included files, and would
run old code after a change in one. Used by `cuda_launch` and by the tests that compile kernels;
needs neither CuPy nor a GPU.
"""

from __future__ import annotations

import re
from importlib import resources

_INCLUDE = re.compile(r'#include "(\w+\.cuh)"$')


def source(file: str) -> str:
    """The text of kernels/`file`.cu with what all kernels share in front of it."""
    return f"{text('common.cuh')}\n{text(f'{file}.cu')}"


def text(name: str) -> str:
    """kernels/`name` with its includes in their places; messages name files and lines."""
    lines = [f'#line 1 "{name}"']
    whole = resources.files("nnfs_gpu.kernels").joinpath(name).read_text(encoding="utf-8")
    for number, line in enumerate(whole.splitlines(), 1):
        included = _INCLUDE.match(line)
        lines += [text(included[1]), f'#line {number + 1} "{name}"'] if included else [line]
    return "\n".join(lines)
