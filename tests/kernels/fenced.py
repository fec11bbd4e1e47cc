"""Memory that ends the process when something beside it is touched, and a process to end."""

from __future__ import annotations

import ctypes
import mmap
import os

import numpy as np
import pytest

posix = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and mprotect")


class Fenced:
    """Memory between two pages that end the process when they are read or written."""

    def __init__(self, size):
        page = mmap.PAGESIZE
        inside = -(-size // page) * page
        self.memory = mmap.mmap(-1, inside + 2 * page)
        whole = np.frombuffer(self.memory, np.uint8)
        protect = ctypes.CDLL(None, use_errno=True).mprotect
        for at in (0, page + inside):
            address = ctypes.c_void_p(whole.ctypes.data + at)
            assert protect(address, ctypes.c_size_t(page), 0) == 0
        self.inside = whole[page : page + inside]

    def array(self, values, *, at_end):
        """A copy of `values` that ends, or begins, at the fence."""
        start = self.inside.size - values.nbytes if at_end else 0
        a = self.inside[start : start + values.nbytes].view(values.dtype).reshape(values.shape)
        a[:] = values
        return a


def in_a_child(work):
    """Do `work` in a child, which must live to its end."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
