"""What is timed: every operation of selftest/operations.py that has bytes, beside PyTorch's.

Used by bench/suites/ops.py on the CPU and by bench/gpu_check/speed.py on a device. PyTorch's
counterparts stand in bench/cases_torch.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from nnfs_gpu.backend import Backend
from nnfs_gpu.selftest.operations import OPERATIONS, WIDTH, Operation

from .cases_torch import PEERS, Arguments, Peer

PERIOD = 999_983  # random numbers, repeated to fill a buffer
FIRST = (  # what the goals are about
    *("softmax_backward", "softmax_cross_entropy", "softmax_forward", "adam_step"),
    *("cross_entropy_forward", "cross_entropy_backward", "softmax_cross_entropy_backward"),
)


def filled(xp: Any, block: np.ndarray, size: int) -> Any:
    """A new flat array of `size` with `block` over and over."""
    a, block = xp.empty(size, block.dtype), xp.asarray(block)
    for start in range(0, size, block.size):
        part = a[start : start + block.size]
        part[...] = block[: part.size]
    return a


class Buffers:
    """Makes the arguments of cases, `sets` of them, with arrays of about `size` elements."""

    def __init__(self, backend: Backend, size: int, sets: int = 2):
        self.backend, self.size, self.sets = backend, size, sets

    def arguments(self, operation: Operation, number: int, n: int, c: int) -> Arguments:
        """Set `number`, for n rows and c columns: a few rows are drawn and then repeated."""
        rows, xp = min(n, max(1, PERIOD // c)), self.backend.xp
        plain = {"rows": rows, "outputs": WIDTH, "edges": False}
        made = operation.arguments(np.float32, n, c, number, **plain)
        for name, a in made.items():
            if isinstance(a, np.ndarray):
                whole = a.shape if a.shape[0] != rows else (n, *a.shape[1:])
                made[name] = filled(xp, a.reshape(-1), int(np.prod(whole))).reshape(whole)
        return made


@dataclass(frozen=True)
class Case:
    """An operation of the table as it is timed."""

    of: Operation

    @property
    def name(self) -> str:
        """The operation's; "soft" after a comma for targets that are a matrix."""
        return f"{self.of.name}, soft" if self.of.variant == "soft" else self.of.name

    @property
    def operation(self) -> str:
        """Its name as a method of a backend."""
        return self.of.name

    @property
    def peers(self) -> dict[str, Peer]:
        """PyTorch's contenders by name."""
        found = PEERS[self.name]
        return {} if isinstance(found, str) else found

    def moved(self, n: int, c: int) -> float:
        """Elements moved by definition."""
        assert self.of.moved is not None
        return self.of.moved(n, c)

    def run(self, backend: Backend, arguments: Arguments) -> Any:
        """The operation on a backend; what it gives."""
        return getattr(backend, self.operation)(**arguments)

    def exact(self, oracle: Backend, arguments: Arguments, n: int, c: int) -> list[Any]:
        """What `run` gives, then what it has written, by the specification, for n rows."""
        few = {"random_words": {"count": n * c}, "spiral": {"stop": n}}.get(self.operation, {})
        return self.of.run(oracle, arguments | few)


def _place(case: Case) -> int:
    return FIRST.index(case.name) if case.name in FIRST else len(FIRST)


CASES = tuple(
    sorted((Case(operation) for operation in OPERATIONS if operation.moved is not None), key=_place)
)
