"""Runs a program of a reader of the book over either library: the book's classes or ours.

The text is the same for both; only the imports before it differ, as docs/book.md promises.
"""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys

import book_parts
import numpy as np
from threadpoolctl import threadpool_limits

IMPORTS = """
import numpy as np
from {library} import *
import {library} as nnfs
from {datasets} import spiral_data
"""
BOOK = {"library": "book_reference", "datasets": "book_reference"}
OURS = {"library": "nnfs_gpu", "datasets": "nnfs_gpu.datasets"}


def run(program, library, **values):
    """(lines printed, the program's variables) of `program` over `library`, BOOK or OURS."""
    text = IMPORTS.format(**library) + program
    for name, value in values.items():
        assert name in text, f"the program has no {name}"
        text = text.replace(name, str(value))
    variables = {"__name__": "__main__"}
    printed = io.StringIO()
    # Small products on many threads wait for one another where other programs run.
    with contextlib.redirect_stdout(printed), threadpool_limits(1, "blas"):
        exec(compile(text, library["library"] + " program", "exec"), variables)
    return printed.getvalue().splitlines(), variables


def run_alone(text, backend_name):
    """What a program prints in a process of its own, its backend chosen from outside alone."""
    finished = subprocess.run(
        [sys.executable, "-W", "error", "-c", text],
        env=os.environ | {"NNFS_GPU_BACKEND": backend_name},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (finished.returncode, finished.stderr) == (0, "")
    return finished.stdout


@contextlib.contextmanager
def noise(seed):
    """Inside, the book's sums are off by what rounding may do to them in float32.

    Products, summed in float64, by up to 1e-7 of the result; sums of columns, whose terms
    cancel, by up to 2e-7 of the terms: row after row, as the book adds 300 of them, chapter 9's
    gradient of `dense2.biases` is off by 1.7e-7 of them.
    """
    dot, column_sum = book_parts.dot, book_parts.column_sum
    random = np.random.RandomState(seed)

    def off(values, size):
        return (values + 1e-7 * size * random.uniform(-1, 1, values.shape)).astype(values.dtype)

    def noisy_dot(a, b):
        product = dot(a, b)
        return off(product, np.abs(product))

    book_parts.dot = noisy_dot
    book_parts.column_sum = lambda a: off(column_sum(a), 2 * column_sum(np.abs(a)))
    try:
        yield
    finally:
        book_parts.dot, book_parts.column_sum = dot, column_sum
