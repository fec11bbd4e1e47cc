"""Compilations are heard of: those of our kernels, by Numba and by NVRTC, and only where the code
was not on disk. (What is said of it: tests/show/test_display.py.)
"""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from nnfs_gpu.backend import compiling
from nnfs_gpu.backend.cuda import cache, compile as cuda_compile

PROGRAM = """
import numba, numpy as np
from nnfs_gpu.backend import compiling, get_backend
backend, told = get_backend("numba"), []
stop = compiling.listen(lambda: told.append(compiling.seconds()))
numba.njit(lambda a: a + 1)(1)  # a function of the user's own
print(len(told))
backend.relu_forward(np.ones((2, 2), np.float32))
print(len(told), compiling.seconds() > 0)
stop()
backend.relu_forward(np.ones((2, 2)))
print(len(told))
"""


def test_numba_compiles_a_kernel_once_on_a_machine(tmp_path):
    found = [
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        for _ in range(2)
    ]
    assert found == [["0", "1", "True", "1"], ["0", "0", "False", "0"]]


@pytest.mark.parametrize("kept", [None, b"code"])
def test_nvrtc_is_heard_where_nothing_is_on_disk(monkeypatch, kept):
    class Nvrtc:
        @staticmethod
        def getSupportedArchs():  # noqa: N802 - CuPy's name
            return [90]

    told, within = [], []

    def compiled(*_):
        within.append(len(told))
        return b"code", ""

    monkeypatch.setattr(cuda_compile, "compiled", compiled)
    monkeypatch.setattr(cuda_compile, "compiler_build", lambda _: "one")
    monkeypatch.setattr(cache, "load", lambda _: kept)
    monkeypatch.setattr(cache, "save", lambda *_: None)
    stop = compiling.listen(lambda: told.append(None))
    code = cuda_compile.code_for(Nvrtc, "elementwise", np.dtype(np.float32), 90, {})
    stop()
    stop()  # once more does nothing
    assert code == b"code"
    assert (len(told), within) == ((0, []) if kept else (1, [1]))
