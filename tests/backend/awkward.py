"""Every operation with arguments that make trouble: what test_one_answer.py compares bit by bit.

The simulated backend needs a process of its own (simulator/run.py), so results are compared by
their digests. An operation is one of `OPERATIONS`, or a part of one whose other results are a
BLAS's: the bias gradients.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from nnfs_gpu.selftest.crosscheck import bits_of
from nnfs_gpu.selftest.operations import OPERATIONS, SAME, Operation

# One row, one class, C around what kernels are cut by, rows that no block divides.
SHAPES = ((1, 1), (1, 3), (9, 1), (257, 3), (100, 10), (5, 31), (3, 32), (7, 33), (2, 1025))
SIMULATED = ((1, 1), (9, 1), (5, 3), (3, 31), (2, 32), (2, 33), (1, 1025))  # a thread is a thread
BIASES = ("linear_backward, bias", "linear_relu_backward, bias")
TOTALS = ("regularization_loss", "mean-floats", "sum-floats")
WITHOUT_ARRAYS = {"zeros", "synchronize", "random_words", "spiral"}
# A Jacobian of long rows has more elements than all the rest; asarray gets float64 to convert.
LONGEST = {"softmax_jacobian": 33}
# Several chunks: of rows, short and long ones; of elements.
LARGER = dict.fromkeys(BIASES, ((300, 3), (40, 130)))
LARGER |= dict.fromkeys(TOTALS, ((1, 1500), (1100, 3)))


def arguments(operation: Operation, dtype: Any, n: int, c: int, *, strewn: bool) -> dict[str, Any]:
    """`operation`'s own, or with 0 of both signs, infinities, NaN, denormal and huge numbers among
    them, and labels that are none. A cache stays above 0, a sum of squares, and one-hot one-hot.
    """
    dtype, found = np.dtype(dtype), operation.arguments(dtype, n, c)
    if not strewn:
        return found
    rng, limits = np.random.RandomState([n, c, 99]), np.finfo(dtype)
    sizes = [0.0, np.inf, np.nan, 1e4, limits.max, limits.tiny / 3, limits.smallest_subnormal]
    numbers = np.array([*sizes, *(-size for size in sizes), 1.0, limits.eps], dtype)
    for name, value in found.items():
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "fi":
            continue
        here = rng.rand(*value.shape) < 0.15
        if value.dtype == dtype and not (name == "t" and operation.variant == "one_hot"):
            value[here] = numbers[rng.randint(0, len(numbers), here.sum())]
        elif name == "t" and value.dtype.kind == "i" and n > 1:
            value[here] = np.array([-1, c, 2**31 - 1])[rng.randint(0, 3, here.sum())]
    if "cache" in found:
        found["cache"] = np.abs(found["cache"])
    return found


Case = Callable[[Any, int, int, bool], list[np.ndarray]]


def _whole(operation: Operation) -> Case:
    def run(backend: Any, n: int, c: int, strewn: bool) -> list[np.ndarray]:
        return operation.run(backend, arguments(operation, backend.dtype, n, c, strewn=strewn))

    return run


def _bias_gradient(name: str) -> Case:
    operation = next(one for one in OPERATIONS if one.name == name)

    def run(backend: Any, n: int, c: int, strewn: bool) -> list[np.ndarray]:
        """Of C outputs and three inputs: the other way round than in the table."""
        given = operation.arguments(backend.dtype, n, 3, outputs=c)
        if strewn:
            given["dy"][np.random.RandomState(n).rand(n, c) < 0.02] = np.inf
        return operation.run(backend, given)[2:3]

    return run


CASES: dict[str, tuple[str, Case]] = {o.id: (o.bits, _whole(o)) for o in OPERATIONS} | {
    name: (SAME, _bias_gradient(name.split(",")[0])) for name in BIASES
}


def digests(backend: Any, shapes: Any) -> dict[str, dict[str, str]]:
    """Of every case at each shape, with plain and with strewn arguments."""
    found: dict[str, dict[str, str]] = {}
    with warnings.catch_warnings():  # infinities and NaN are meant; threads of the simulator, too
        warnings.simplefilter("ignore", RuntimeWarning)
        for name, (_, run) in CASES.items():
            operation = name.split("-")[0]
            for n, c in (*shapes, *LARGER.get(name, ())):
                if c > LONGEST.get(operation, c):
                    continue
                for strewn in (False, True)[: 1 if operation in WITHOUT_ARRAYS else 2]:
                    bits = [bits_of(np.asarray(a)) for a in run(backend, n, c, strewn)]
                    digest = hashlib.sha256(repr(bits).encode()).hexdigest()[:20]
                    found.setdefault(name, {})[f"{n}x{c}{' strewn' * strewn}"] = digest
    return found
