"""What is timed: every operation, with its arguments, its bytes and PyTorch's counterpart.

Used by bench/suites/ops.py on the CPU and by bench/gpu_check/speed.py on a device. Bytes are
counted in elements of 4 by the operation's definition:
each input is read once, each output written once; a bool is a quarter of an element.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nnfs_gpu.selftest.operations import Line

from .cases_torch import (
    Arguments,
    Peer,
    by,
    fused_cross_entropy,
    linear_relu_backward,
    not_compared,
    optimizer,
)

PERIOD = 999_983  # random numbers, repeated to fill a buffer
WIDTH = 64  # outputs of the dense layer


def filled(xp: Any, block: np.ndarray, size: int) -> Any:
    """A new flat array of `size` with `block` over and over."""
    a, block = xp.empty(size, block.dtype), xp.asarray(block)
    for start in range(0, size, block.size):
        part = a[start : start + block.size]
        part[...] = block[: part.size]
    return a


class Buffers:
    """Sets of random arrays that the cases take their arguments from in turn."""

    def __init__(self, backend: Any, size: int, sets: int = 2):
        self.backend, self.size, self.sets = backend, size, sets
        rng = np.random.default_rng(1)

        def array(draw: Callable[..., np.ndarray]) -> Any:
            return filled(backend.xp, draw(min(PERIOD, size), np.float32), size)

        self._normal = [[array(rng.standard_normal) for _ in range(3)] for _ in range(sets)]
        self._positive = [array(rng.random) for _ in range(sets)]

    def take(self, kind: str, number: int, n: int, c: int) -> Any:
        """An array of set `number`: "0", "1", "2" normal, "+" from 0 to 1, "p", "s" rows of
        probabilities, all (n, c); "t" labels; of a dense layer "w", "b" and "g", the upstream
        gradient."""
        if kind == "t":
            labels = np.random.default_rng(number).integers(0, c, min(n, PERIOD), dtype=np.int32)
            return filled(self.backend.xp, labels, n)
        if kind in "ps":
            return self.backend.softmax_forward(self.take(str("sp".index(kind)), number, n, c))
        rows = {"w": c, "b": 1}.get(kind, n)
        columns = WIDTH if kind in "wbg" else c
        flat = self._positive[number] if kind == "+" else self._normal[number][_NORMAL[kind]]
        return flat[: rows * columns].reshape(rows, columns)


_NORMAL = {"0": 0, "1": 1, "2": 2, "w": 1, "b": 1, "g": 2}


@dataclass(frozen=True)
class Case:
    """An operation as it is timed.

    name        the operation's; a word after a comma tells variants apart
    arrays      "name=kind ..." of `Buffers.take`
    moved       elements moved by definition, of (n, c)
    at          classes at which it is timed; None: all that are asked for
    rows        n of (elements, c)
    written     arguments that it writes
    divided     results, by number, that are divided by the number of rows
    whole       results are sums over all rows: all of them are compared, not the ends
    positional  results depend on their place in the array: the beginning is compared
    peers       PyTorch's contenders by name
    """

    name: str
    arrays: str
    moved: Callable[[int, int], float]
    scalars: Arguments = field(default_factory=dict)
    at: tuple[int, ...] | None = (1_000,)
    rows: Callable[[int, int], int] = lambda elements, c: max(1, elements // c)
    written: tuple[str, ...] = ()
    divided: tuple[int, ...] = ()
    whole: bool = False
    positional: bool = False
    peers: dict[str, Peer] = field(default_factory=dict)

    @property
    def operation(self) -> str:
        return self.name.split(",")[0]

    def arguments(self, buffers: Buffers, number: int, n: int, c: int) -> Arguments:
        """Keyword arguments from one set of buffers."""
        if self.operation == "random_words":
            return {"count": n * c, "seed": 5, "stream": 0}
        if self.operation == "spiral":
            return {"samples": n * c, "classes": 1, "seed": 5}
        pairs = (pair.split("=") for pair in self.arrays.split())
        arrays = {name: buffers.take(kind, number, n, c) for name, kind in pairs}
        for name in self.written:  # the next case wants the buffers as they were
            arrays[name] = buffers.backend.copy(arrays[name])
        return arrays | self.scalars

    def run(self, backend: Any, arguments: Arguments) -> Any:
        return getattr(backend, self.operation)(**arguments)

    def exact(self, oracle: Any, arguments: Arguments, n: int, c: int) -> list[Any]:
        """What `run` gives, then what it has written, by the specification, for n rows."""
        few = {"random_words": {"count": n * c}, "spiral": {"stop": n}}.get(self.operation, {})
        line = Line(self.operation, "", lambda *shape: {}, written=self.written)
        return line.run(oracle, arguments | few)


# ---- the table: what the goals are about comes first ----
_RATE = {"rate": 1e-3, "epsilon": 1e-7}  # a step is seen, and a thousand stay finite
_L = {"l1": 1e-3, "l2": 1e-3}
_SOFT, _SPARSE, _TWO = "p=p t=s", "p=p t=t", "y=0 t=1"


def _matrices(count: float, vectors: float = 0) -> Callable[[int, int], float]:
    return lambda n, c: count * n * c + vectors * n


CASES: tuple[Case, ...] = (
    Case(
        *("softmax_backward", "dy=0 y=p", _matrices(3)),
        at=None,
        peers=by(lambda torch, a: torch._softmax_backward_data(a.dy, a.y, 1, torch.float32)),
    ),
    Case(
        *("softmax_cross_entropy", "x=0 t=t", _matrices(2, 2)),
        at=None,
        divided=(1,),
        peers={"torch": fused_cross_entropy},
    ),
    Case(
        *("softmax_forward", "x=0", _matrices(2)),
        at=None,
        peers=by(lambda torch, a: torch.softmax(a.x, 1)),
    ),
    Case(
        *("adam_step", "w=0 dw=1 m=2 cache=+", _matrices(7)),
        scalars={**_RATE, "beta_1": 0.9, "beta_2": 0.999, "step": 3},
        written=("w", "m", "cache"),
        peers={
            "torch": optimizer("Adam", fused=True),
            "torch foreach": optimizer("Adam", foreach=True),
        },
    ),
    Case("cross_entropy_forward", _SPARSE, _matrices(0, 3), at=None),
    Case("cross_entropy_backward", _SPARSE, _matrices(1, 2), at=None, divided=(0,)),
    Case("softmax_cross_entropy_backward", _SPARSE, _matrices(2, 1), at=None, divided=(0,)),
    Case("cross_entropy_forward, soft", _SOFT, _matrices(2, 1), at=None),
    Case("cross_entropy_backward, soft", _SOFT, _matrices(3), divided=(0,)),
    Case("softmax_cross_entropy_backward, soft", _SOFT, _matrices(3), divided=(0,)),
    Case("softmax_cross_entropy, soft", "x=0 t=p", _matrices(3, 1), divided=(1,)),
    Case("binary_cross_entropy_forward", "p=p t=+", _matrices(2, 1), at=None),
    Case("binary_cross_entropy_backward", "p=p t=+", _matrices(3), divided=(0,)),
    *(
        case
        for name in ("squared_error", "absolute_error")
        for case in (
            Case(f"{name}_forward", _TWO, _matrices(2, 1), at=None),
            Case(f"{name}_backward", _TWO, _matrices(3), divided=(0,)),
        )
    ),
    Case(
        *("argmax", "x=0", _matrices(1, 1)),
        at=None,
        peers=by(lambda torch, a: a.x.argmax(1)),
    ),
    Case(
        *("linear_forward", "x=0 w=w b=b", lambda n, c: n * (c + WIDTH)),
        at=(WIDTH,),
        peers=by(lambda torch, a: torch.addmm(a.b, a.x, a.w)),
    ),
    Case(
        *("linear_backward", "dy=g x=0 w=w", lambda n, c: n * (2 * c + WIDTH)),
        at=(WIDTH,),
        whole=True,
        peers=by(lambda torch, a: (a.dy @ a.w.T, a.x.T @ a.dy, a.dy.sum(0, keepdim=True))),
    ),
    Case(
        *("linear_relu_forward", "x=0 w=w b=b", lambda n, c: n * (c + WIDTH)),
        at=(WIDTH,),
        peers=by(lambda torch, a: torch.relu_(torch.addmm(a.b, a.x, a.w))),
    ),
    Case(
        *("linear_relu_backward", "dy=g x=0 w=w y=0", lambda n, c: n * (2 * c + 2 * WIDTH)),
        at=(WIDTH,),
        whole=True,
        peers=by(linear_relu_backward),
    ),
    Case(
        *("relu_forward", "x=0", _matrices(2)),
        peers=by(lambda torch, a: torch.relu(a.x)),
    ),
    Case(
        *("relu_backward", "dy=0 x=1", _matrices(3)),
        peers=by(lambda torch, a: torch.ops.aten.threshold_backward(a.dy, a.x, 0)),
    ),
    Case(
        *("sigmoid_forward", "x=0", _matrices(2)),
        peers=by(lambda torch, a: torch.sigmoid(a.x)),
    ),
    Case(
        *("sigmoid_backward", "dy=0 y=+", _matrices(3)),
        peers=by(lambda torch, a: torch.ops.aten.sigmoid_backward(a.dy, a.y)),
    ),
    Case("multiply", "a=0 b=1", _matrices(3), peers=by(lambda torch, a: a.a * a.b)),
    Case(
        *("dropout_forward", "x=0", _matrices(3)),
        scalars={"keep": 0.8, "seed": 3, "call": 1},
        positional=True,
        peers=by(lambda torch, a: not_compared(torch.native_dropout(a.x, 0.2, True))),
    ),
    Case("regularization_loss", "w=0", _matrices(1), scalars=_L, whole=True),
    Case("regularization_step", "dw=0 w=1", _matrices(3), scalars=_L, written=("dw",)),
    Case(
        *("sgd_step", "w=0 dw=1", _matrices(3)),
        scalars={"rate": 1e-3},
        written=("w",),
        peers={"torch": optimizer("SGD", fused=True)},
    ),
    Case(
        *("momentum_step", "w=0 dw=1 m=2", _matrices(5)),
        scalars={"rate": 1e-3, "momentum": 0.9},
        written=("w", "m"),
        peers={"torch": optimizer("SGD", momentum=0.9, fused=True)},
    ),
    Case(
        *("adagrad_step", "w=0 dw=1 cache=+", _matrices(5)),
        scalars=_RATE,
        written=("w", "cache"),
        peers={"torch": optimizer("Adagrad", foreach=True)},
    ),
    Case(
        *("rmsprop_step", "w=0 dw=1 cache=+", _matrices(5)),
        scalars={**_RATE, "rho": 0.9},
        written=("w", "cache"),
        peers={"torch": optimizer("RMSprop", foreach=True)},
    ),
    Case("mean", "a=+", _matrices(1), whole=True, peers=by(lambda torch, a: a.a.mean())),
    Case(
        *("sum", "a=+", _matrices(1)),
        whole=True,
        peers=by(lambda torch, a: a.a.sum(dtype=torch.float64)),
    ),
    Case("threshold", "x=0", _matrices(2), scalars={"limit": 0.5}),
    Case("equal", "a=0 b=1", _matrices(2.25)),
    Case("close", "a=0 b=1", _matrices(2.25), scalars={"tolerance": 0.5}),
    Case("random_words", "", _matrices(1), positional=True),
    Case(
        "spiral", "", lambda n, c: 3 * n, at=(1,), rows=lambda size, c: size // 3, positional=True
    ),
    Case(
        *("softmax_jacobian", "y=p", lambda n, c: n * c * c + n * c),
        at=(3, 100),
        rows=lambda elements, c: max(1, elements // c**2),
    ),
)
