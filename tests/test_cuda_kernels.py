"""Every CUDA kernel, executed on the CPU from its own source text, against the specification.

Proves, without a GPU: the numbers of every kernel in kernels/*.cu in float32 and float64 against
the numpy backend in float64, at awkward shapes; that they do not depend on the grid, nor on where
an array begins; the same bits from the same launch; NaN, infinity, ties, labels out of range and
huge scores; that nothing outside an array is read or written; that the emulator notices what a
GPU would leave undefined; and that no kernel is without a test.

A case runs one kernel, or those that belong together, at one shape and returns what to compare.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from emulation.emulator import COMPILER, KERNELS, EmulationError, Emulator, kernels_in
from helpers import assert_close, parameters, philox_words, probabilities, summing

from nnfs_gpu import get_backend
from nnfs_gpu.backend import philox
from nnfs_gpu.backend.numpy_backend import CLIP

LOW, HIGH = CLIP, 1 - CLIP
EMULATOR = Emulator()
INT_MAX, INT_MIN = 2**31 - 1, -(2**31)


@pytest.fixture(autouse=True)
def _compiler():
    if COMPILER is None:
        problem = "g++ is not installed: the CUDA kernels cannot run on the CPU"
        pytest.fail(problem) if os.environ.get("CI") else pytest.skip(problem)


# ---- how a case is run ----
@dataclass(frozen=True)
class Setup:
    """A launch other than the one in a kernel's header, that must give the same numbers."""

    name: str
    blocks: int | None = None  # None: as in the header
    shifts: tuple[int, ...] = (0,)  # elements after a multiple of 16 bytes, array by array
    backwards: bool = False  # blocks, warps and lanes in the opposite order


SETUPS = (
    Setup("as launched"),
    Setup("one block", blocks=1),
    Setup("seven blocks", blocks=7),
    Setup("all arrays shifted", shifts=(1,)),
    Setup("arrays shifted differently", shifts=(0, 1, 3, 2)),
)


@dataclass
class Gpu:
    """What a case needs of a device: arrays of a dtype and launches."""

    dtype: np.dtype
    setup: Setup
    arrays: int = 0

    def array(self, values: Any, dtype: Any = None) -> np.ndarray:
        """A copy in memory that begins where the setup wants it."""
        values = np.asarray(values, self.dtype if dtype is None else dtype)
        shift = self.setup.shifts[self.arrays % len(self.setup.shifts)]
        self.arrays += 1
        memory = np.zeros(values.size + 16, values.dtype)
        first = -memory.ctypes.data % 16 // values.itemsize + shift
        a = memory[first : first + values.size].reshape(values.shape)
        a[...] = values
        return a

    def empty(self, shape: Any, dtype: Any = None) -> np.ndarray:
        """An array of what nobody wrote."""
        return self.array(np.full(shape, 77), dtype)

    def blocks(self, default: int) -> int:
        return max(1, default) if self.setup.blocks is None else self.setup.blocks

    def launch(self, file: str, kernel: str, grid: Any, *arguments: Any, block: int = 256, **defs):
        EMULATOR.backwards = self.setup.backwards
        EMULATOR.launch(file, kernel, grid, block, list(arguments), self.dtype, **defs)

    def flat(self, file: str, kernel: str, size: int, *arguments: Any) -> None:
        """A kernel over elements: 1,024 to a block."""
        self.launch(file, kernel, self.blocks(-(-size // 1024)), *arguments)


@dataclass
class Result:
    """What a kernel gave, and what `assert_close` compares it with."""

    actual: np.ndarray
    expected: Any
    ulps: float = 0.0
    magnitude: Any = None


@dataclass(frozen=True)
class Case:
    run: Callable[[Gpu, np.random.RandomState, int, int], list[Result]]
    shapes: tuple[tuple[int, int], ...]
    setups: tuple[Setup, ...]
    kernels: tuple[str, ...]


SHAPES = ((1, 1), (1, 3), (9, 1), (257, 3), (100, 10), (5, 31), (3, 32), (7, 33), (2, 1025))
CASES: dict[str, Case] = {}


def case(*kernels: str, shapes=SHAPES, setups=SETUPS, name=None):
    """Register a case and the kernels that it runs, "file.kernel" each."""

    def register(run):
        CASES[name or run.__name__] = Case(run, shapes, setups, kernels)
        return run

    return register


ORACLE = get_backend("numpy", dtype="float64", precise_dot=False, book_random=False)


def wide(a: np.ndarray) -> np.ndarray:
    return a.astype(np.float64)


def normal(rng, n, c):
    """Normal numbers, and among them what is not: zeros, NaN, infinities."""
    x = 3 * rng.randn(n, c)
    for value in (0.0, -0.0, np.nan, np.inf, -np.inf):
        x[rng.rand(n, c) < 0.02] = value
    return x


# ---- elementwise.cu ----
@case("elementwise.relu_forward", "elementwise.relu_backward")
def relu(gpu, rng, n, c):
    x, dy = gpu.array(normal(rng, n, c)), gpu.array(normal(rng, n, c))
    y, dx = gpu.empty((n, c)), gpu.empty((n, c))
    gpu.flat("elementwise", "relu_forward", x.size, x, y, x.size)
    gpu.flat("elementwise", "relu_backward", x.size, dy, x, dx, x.size)
    return [Result(y, ORACLE.relu_forward(x)), Result(dx, ORACLE.relu_backward(dy, x))]


@case("elementwise.sigmoid_forward", "elementwise.sigmoid_backward")
def sigmoid(gpu, rng, n, c):
    x, dy = gpu.array(9 * normal(rng, n, c)), gpu.array(rng.randn(n, c))
    y, dx = gpu.empty((n, c)), gpu.empty((n, c))
    gpu.flat("elementwise", "sigmoid_forward", x.size, x, y, x.size)
    gpu.flat("elementwise", "sigmoid_backward", x.size, dy, y, dx, x.size)
    expected = ORACLE.sigmoid_backward(wide(dy), wide(y))
    return [Result(y, ORACLE.sigmoid_forward(wide(x)), 4), Result(dx, expected, 2)]


@case("elementwise.multiply")
def multiply(gpu, rng, n, c):
    a, b, product = gpu.array(normal(rng, n, c)), gpu.array(normal(rng, n, c)), gpu.empty((n, c))
    gpu.flat("elementwise", "multiply", a.size, a, b, product, a.size)
    return [Result(product, a * b)]


@case("elementwise.threshold")
def threshold(gpu, rng, n, c):
    x, y = gpu.array(rng.randint(-2, 3, (n, c)) / 4), gpu.empty((n, c), np.int32)
    x[rng.rand(n, c) < 0.1] = np.nan
    gpu.flat("elementwise", "threshold", x.size, x, y, x.size, 0.25)
    return [Result(y, ORACLE.threshold(x, 0.25))]


# ---- losses.cu ----
def row_blocks(gpu, n, c):
    """Blocks for a kernel that gives a row 1, 8 or 32 threads."""
    return gpu.blocks(-(-n * (1 if c < 8 else 8 if c < 64 else 32) // 256))


def class_probabilities(gpu, rng, n, c):
    p = probabilities(rng, n, c)
    p[rng.rand(n) < 0.1] = np.eye(c)[0]
    p[rng.rand(n, c) < 0.02] = np.nan
    return gpu.array(p)


def class_labels(gpu, rng, n, c):
    """Labels, some of them out of range: just, and so far that an address would be nowhere."""
    t = rng.randint(0, c, n)
    for bad in (-1, c, INT_MAX, INT_MIN):
        t[rng.rand(n) < 0.03] = bad
    if n > 1:
        t[-1] = c
    return gpu.array(t, np.int32)


def clipped(p):
    """In float64, with the limits as the dtype has them: 1 - 1e-7 is another number in float32."""
    return wide(np.clip(p, p.dtype.type(LOW), p.dtype.type(HIGH)))


@case("losses.cross_entropy_forward", "losses.cross_entropy_backward")
def cross_entropy(gpu, rng, n, c):
    p, t = class_probabilities(gpu, rng, n, c), class_labels(gpu, rng, n, c)
    loss, dp = gpu.empty(n), gpu.empty((n, c))
    grid = gpu.blocks(-(-n // 256))
    gpu.launch("losses", "cross_entropy_forward", grid, p, t, loss, n, c, LOW, HIGH)
    gpu.flat("losses", "cross_entropy_backward", p.size, p, t, dp, n, c, LOW)
    return [
        Result(loss, ORACLE.cross_entropy_forward(clipped(p), t), 2),
        Result(dp, ORACLE.cross_entropy_backward(wide(p), t), 2),
    ]


@case("losses.cross_entropy_forward_soft", "losses.cross_entropy_backward_soft")
def cross_entropy_soft(gpu, rng, n, c):
    p, t = class_probabilities(gpu, rng, n, c), gpu.array(probabilities(rng, n, c, 0.5))
    loss, dp = gpu.empty(n), gpu.empty((n, c))
    grid = row_blocks(gpu, n, c)
    gpu.launch("losses", "cross_entropy_forward_soft", grid, p, t, loss, n, c, LOW, HIGH)
    gpu.flat("losses", "cross_entropy_backward_soft", p.size, p, t, dp, n, c, LOW)
    expected = ORACLE.cross_entropy_forward(clipped(p), wide(t))  # terms of one sign
    return [
        Result(loss, expected, summing(c)),
        Result(dp, ORACLE.cross_entropy_backward(wide(p), wide(t)), 3),
    ]


@case("losses.softmax_cross_entropy_backward", "losses.softmax_cross_entropy_backward_soft")
def softmax_cross_entropy_gradient(gpu, rng, n, c):
    p, t = class_probabilities(gpu, rng, n, c), class_labels(gpu, rng, n, c)
    soft = gpu.array(probabilities(rng, n, c, 0.5))
    dx, dx_soft = gpu.empty((n, c)), gpu.empty((n, c))
    gpu.flat("losses", "softmax_cross_entropy_backward", p.size, p, t, dx, n, c)
    gpu.flat("losses", "softmax_cross_entropy_backward_soft", p.size, p, soft, dx_soft, n, c)
    return [
        Result(dx, ORACLE.softmax_cross_entropy_backward(wide(p), t), 2),
        Result(dx_soft, ORACLE.softmax_cross_entropy_backward(wide(p), wide(soft)), 2),
    ]


@case("losses.binary_cross_entropy_forward", "losses.binary_cross_entropy_backward")
def binary_cross_entropy(gpu, rng, n, c):
    values = rng.rand(n, c)
    values[rng.rand(n, c) < 0.1], values[rng.rand(n, c) < 0.1] = 0.0, 1.0
    values[rng.rand(n, c) < 0.02] = np.nan
    p, t = gpu.array(values), gpu.array(np.where(rng.rand(n, c) < 0.2, 0.3, rng.randint(0, 2)))
    loss, dp = gpu.empty(n), gpu.empty((n, c))
    grid = row_blocks(gpu, n, c)
    gpu.launch("losses", "binary_cross_entropy_forward", grid, p, t, loss, n, c, LOW, HIGH)
    gpu.flat("losses", "binary_cross_entropy_backward", p.size, p, t, dp, n, c, LOW, HIGH)
    q, wide_t = clipped(p), wide(t)
    magnitude = (wide_t / q + (1 - wide_t) / (1 - q)) / c / n
    return [
        Result(loss, ORACLE.binary_cross_entropy_forward(q, wide_t), summing(c)),
        Result(dp, ORACLE.binary_cross_entropy_backward(q, wide_t), 4, magnitude),
    ]


@case(
    *("losses.squared_error_forward", "losses.squared_error_backward"),
    *("losses.absolute_error_forward", "losses.absolute_error_backward"),
)
def regression(gpu, rng, n, c):
    y = gpu.array(normal(rng, n, c))
    t = gpu.array(np.where(rng.rand(n, c) < 0.2, y, rng.randn(n, c)))
    results = []
    for name in ("squared_error", "absolute_error"):
        loss, dy = gpu.empty(n), gpu.empty((n, c))
        gpu.launch("losses", f"{name}_forward", row_blocks(gpu, n, c), y, t, loss, n, c)
        gpu.flat("losses", f"{name}_backward", y.size, y, t, dy, n, c)
        expected = getattr(ORACLE, f"{name}_forward")(wide(y), wide(t))
        gradient = getattr(ORACLE, f"{name}_backward")(wide(y), wide(t))
        results += [Result(loss, expected, summing(c)), Result(dy, gradient, 4)]
    return results


# ---- optimizers.cu ----
STEPS = {  # state, the specification's settings, the kernel's scalars
    "sgd_step": ((), {"rate": 0.05}, (0.05,)),
    "momentum_step": (("m",), {"rate": 0.05, "momentum": 0.9}, (0.05, 0.9)),
    "adagrad_step": (("cache",), {"rate": 0.05, "epsilon": 1e-7}, (0.05, 1e-7)),
    "rmsprop_step": (
        ("cache",),
        {"rate": 0.05, "epsilon": 1e-7, "rho": 0.9},
        (0.05, 1e-7, 0.9, 1 - 0.9),
    ),
    "adam_step": (
        ("m", "cache"),
        {"rate": 0.05, "epsilon": 1e-7, "beta_1": 0.9, "beta_2": 0.999, "step": 3},
        (0.05, 1e-7, 0.9, 1 - 0.9, 0.999, 1 - 0.999, 1 - 0.9**3, 1 - 0.999**3),
    ),
}


def optimizer_step(kernel):
    state, settings, scalars = STEPS[kernel]

    def after(arrays):
        result = {name: a.copy() for name, a in arrays.items()}
        getattr(ORACLE, kernel)(**result, **settings)
        return result

    def run(gpu, rng, n, c):
        values = parameters(rng, np.float64, n, c)
        values |= {name: rng.randn(n, c) ** (1 if name == "m" else 2) for name in state}
        arrays = {name: gpu.array(a) for name, a in values.items()}
        before = {name: wide(a) for name, a in arrays.items()}
        gpu.flat("optimizers", kernel, n * c, *arrays.values(), n * c, *scalars)
        # What terms of either sign can add up to bounds the rounding.
        sizes = {name: np.abs(a) for name, a in before.items()} | {"w": np.zeros((n, c))}
        bounds = [after(sizes), after({**sizes, "dw": -sizes["dw"]})]
        results = []
        for name, expected in after(before).items():
            magnitude = np.maximum(*(np.abs(bound[name]) for bound in bounds))
            magnitude += np.abs(before["w"]) if name == "w" else 0
            ulps = 0 if name == "dw" else 6
            results.append(Result(arrays[name], expected, ulps, magnitude))
        return results

    return run


for name in STEPS:
    case(f"optimizers.{name}", name=name)(optimizer_step(name))


@case("optimizers.regularization_step")
def regularization_step(gpu, rng, n, c):
    results = []
    for l1, l2 in ((0.0625, 0.3), (0.0625, 0.0), (0.0, 0.3), (0.0, 0.0)):
        w, dw = gpu.array(normal(rng, n, c)), gpu.array(rng.randn(n, c))
        expected = wide(dw)
        magnitude = np.abs(expected) + l1
        if l2:
            magnitude += 2 * l2 * np.abs(wide(w))
        ORACLE.regularization_step(expected, wide(w), l1, l2)
        gpu.flat("optimizers", "regularization_step", w.size, dw, w, w.size, l1, 2 * l2)
        results.append(Result(dw, expected, 2, magnitude))
    return results


# ---- reductions.cu, dense.cu ----
WIDE_SHAPES = (*SHAPES, (70, 127), (5, 128), (6, 129), (3, 300))


@case("reductions.argmax", shapes=(*SHAPES, (300, 8), (40, 64), (9, 63)))
def argmax(gpu, rng, n, c):
    x, column = gpu.array(rng.randint(-3, 3, (n, c)) / 4), gpu.empty(n, np.int32)
    x[rng.rand(n, c) < 0.5 / c] = np.nan
    x[rng.rand(n, c) < 0.02] = np.inf
    x[rng.rand(n) < 0.1] = -np.inf
    x[rng.rand(n) < 0.1] = np.nan
    gpu.launch("reductions", "argmax", row_blocks(gpu, n, c), x, column, n, c)
    return [Result(column, ORACLE.argmax(x))]


def chunks(gpu, n, c):
    """The grid of a partial column sum: column tiles and chunks of rows."""
    return gpu.blocks(-(-c // 128)), gpu.blocks(1 + n // 64)


def joined(gpu, partial):
    parts, c = partial.shape
    total = gpu.empty(c)
    gpu.launch("reductions", "column_sum_final", gpu.blocks(-(-c // 128)), partial, total, parts, c)
    return total


@case("reductions.column_sum_partial", "reductions.column_sum_final", shapes=WIDE_SHAPES)
def column_sum(gpu, rng, n, c):
    dy, grid = gpu.array(normal(rng, n, c)), chunks(gpu, n, c)
    partial = gpu.empty((grid[1], c))
    gpu.launch("reductions", "column_sum_partial", grid, dy, partial, n, c)
    expected, magnitude = wide(dy).sum(axis=0), np.abs(wide(dy)).sum(axis=0)
    return [Result(joined(gpu, partial), expected, summing(n), magnitude)]


@case("dense.add_bias", "dense.bias_relu_forward", shapes=WIDE_SHAPES)
def bias(gpu, rng, n, c):
    z, b, y = gpu.array(normal(rng, n, c)), gpu.array(rng.randn(1, c)), gpu.empty((n, c))
    gpu.flat("dense", "bias_relu_forward", z.size, z, b, y, n, c)
    expected = z + b
    gpu.flat("dense", "add_bias", z.size, z, b, n, c)
    return [Result(y, ORACLE.relu_forward(expected)), Result(z, expected)]


@case("dense.relu_backward_column_sum", shapes=WIDE_SHAPES)
def relu_backward_column_sum(gpu, rng, n, c):
    y, dy = gpu.array(np.maximum(normal(rng, n, c), 0)), gpu.array(normal(rng, n, c))
    dz, grid = gpu.empty((n, c)), chunks(gpu, n, c)
    partial = gpu.empty((grid[1], c))
    gpu.launch("dense", "relu_backward_column_sum", grid, dy, y, dz, partial, n, c)
    expected = ORACLE.relu_backward(wide(dy), wide(y))
    magnitude = np.abs(expected).sum(axis=0)
    return [
        Result(dz, expected),
        Result(joined(gpu, partial), expected.sum(axis=0), summing(n), magnitude),
    ]


# ---- totals.cu ----
def blocks_of_totals(gpu, size):
    return gpu.blocks(min(1024, -(-size // 4096)))


@case("totals.sum_partial", "totals.sum_final", "totals.mean_final")
def total(gpu, rng, n, c):
    """The sum is float64 whatever the array is."""
    a = gpu.array(rng.randn(n, c) if c % 2 else normal(rng, n, c))
    parts = blocks_of_totals(gpu, a.size)
    partial, sum_, mean = gpu.empty(parts, np.float64), gpu.empty((), np.float64), gpu.empty(())
    gpu.launch("totals", "sum_partial", parts, a, partial, a.size)
    gpu.launch("totals", "sum_final", 1, partial, sum_, parts)
    gpu.launch("totals", "mean_final", 1, partial, mean, parts, a.size)
    magnitude = np.abs(wide(a)).sum()
    return [
        Result(sum_, wide(a).sum(), summing(a.size), magnitude),
        Result(mean, wide(a).sum() / a.size, summing(a.size), magnitude / a.size),
    ]


@case("totals.sum_partial_bool", "totals.sum_final", "totals.mean_final")
def total_of_bools(gpu, rng, n, c):
    a = gpu.array(rng.rand(n, c) < 0.4, np.bool_)
    parts = blocks_of_totals(gpu, a.size)
    partial, sum_, mean = gpu.empty(parts, np.float64), gpu.empty((), np.float64), gpu.empty(())
    gpu.launch("totals", "sum_partial_bool", parts, a.view(np.uint8), partial, a.size)
    gpu.launch("totals", "sum_final", 1, partial, sum_, parts)
    gpu.launch("totals", "mean_final", 1, partial, mean, parts, a.size)
    return [Result(sum_, a.sum(dtype=np.float64)), Result(mean, a.mean(), 1)]


@case("totals.regularization_partial", "totals.regularization_final")
def regularization_loss(gpu, rng, n, c):
    w = gpu.array(rng.randn(n, c) if c % 2 else normal(rng, n, c))
    parts = blocks_of_totals(gpu, w.size)
    absolute, squared = gpu.empty(parts, np.float64), gpu.empty(parts, np.float64)
    loss = gpu.empty(())
    gpu.launch("totals", "regularization_partial", parts, w, absolute, squared, w.size)
    scalars = (parts, np.float64(0.01), np.float64(0.3))
    gpu.launch("totals", "regularization_final", 1, absolute, squared, loss, *scalars)
    return [Result(loss, ORACLE.regularization_loss(wide(w), 0.01, 0.3), summing(w.size))]


# ---- philox.cu ----
SEED = 2**40 + 12345


@case("philox.random_words")
def random_words(gpu, rng, n, c):
    words = gpu.empty(n * c, np.uint32)
    counter = (np.uint64(SEED), np.uint32(2**31 + 5), np.uint32(2**32 - 1))
    gpu.flat("philox", "random_words", words.size, words, words.size, *counter)
    return [Result(words, philox_words(0, n * c, SEED, 2**31 + 5, 2**32 - 1))]


@case("philox.dropout_forward")
def dropout_forward(gpu, rng, n, c):
    """Masks are the numpy backend's, bit for bit, at every rate."""
    results = []
    same = get_backend("numpy", dtype=gpu.dtype, book_random=False)
    for keep in (0.8, 0.3, 1.0, 2**-31):
        x, y, mask = gpu.array(normal(rng, n, c)), gpu.empty((n, c)), gpu.empty((n, c))
        scale = float(1 / gpu.dtype.type(keep))
        counter = (np.uint64(SEED), np.uint32(philox.STREAM_DROPOUT), np.uint32(6))
        scalars = (x.size, scale, np.uint64(round(keep * 2**32)), *counter)
        gpu.flat("philox", "dropout_forward", x.size, x, y, mask, *scalars)
        expected = same.dropout_forward(x, keep, SEED, 6)
        results += [Result(y, expected[0]), Result(mask, expected[1])]
    return results


def spiral_points(gpu, samples, start, stop):
    points, labels = gpu.empty((stop - start, 2)), gpu.empty(stop - start, np.int32)
    scalars = (stop - start, samples, start, np.uint64(SEED), np.uint32(philox.STREAM_SPIRAL))
    gpu.launch("philox", "spiral", gpu.blocks(-(-(stop - start) // 256)), points, labels, *scalars)
    return points, labels


# Of the angle, in units of the last place of 1: what the kernel's header states in float32, the
# specification's own rounding (of 10 c + 10 r) in float64.
def spiral_error(dtype, classes):
    return 1e-6 / 2**-23 if dtype == np.float32 else 4 + 20 * classes


@case("philox.spiral", shapes=((1, 1), (2, 3), (1, 5), (257, 3), (31, 100)))
def spiral(gpu, rng, samples, classes):
    """Whole, and rows in the middle that begin at an odd and at an even one."""
    rows, results = samples * classes, []
    for start, stop in {(0, rows), (rows // 3, rows), (rows // 3 + 1, rows)}:
        points, labels = spiral_points(gpu, samples, start, stop)
        expected = ORACLE.spiral(samples, classes, SEED, start, stop)
        ulps = spiral_error(gpu.dtype, classes)
        results += [Result(points, expected[0], ulps, 1.0), Result(labels, expected[1])]
    return results


# ---- softmax_*.cu: every shape has its own kernel, with a launch of its own ----
FIXED = tuple(setup for setup in SETUPS if setup.blocks is None)


def scores(gpu, rng, n, c):
    """Ordinary ones; huge ones, equal ones and single infinities in some rows."""
    x = 5 * rng.randn(n, c)
    x[rng.rand(n) < 0.2] *= 2000
    x[rng.rand(n) < 0.2] = 1.5
    x[rng.rand(n, c) < 0.1 / c] = -np.inf
    x[rng.rand(n) < 0.05] = np.nan
    return gpu.array(x)


def softmax_results(gpu, c, x, t, y, dy, dx, loss, dx_loss):
    """Forward, backward (of the kernel's own y), and the loss with its gradient."""
    expected = ORACLE.softmax_forward(wide(x))
    gradient = ORACLE.softmax_backward(wide(dy), wide(y))
    size = np.abs(wide(y)) * (np.abs(wide(dy)) + np.abs(wide(y) * wide(dy)).sum(1, keepdims=True))
    p, n = expected, len(x)
    # The rounding of x - max, as large as log y, comes out of exp as a relative error of y; the
    # loss and its gradient pass it on.
    relative = 1 + np.abs(np.log(np.where(p > 0, p, 1)))
    return [
        Result(y, p, summing(c), p * relative + np.finfo(gpu.dtype).tiny),
        Result(dx, gradient, summing(c), size),
        Result(loss, ORACLE.cross_entropy_forward(limited(p, gpu.dtype), t), summing(c), 20.0),
        Result(dx_loss, ORACLE.softmax_cross_entropy_backward(p, t), summing(c), (p + 1) / n),
    ]


def limited(p, dtype):
    return np.clip(p, float(dtype.type(LOW)), float(dtype.type(HIGH)))


def softmax_case(name, file, kernels, shapes, launch, setups=FIXED):
    """A case of the three kernels of one softmax file; `launch` runs them."""

    def run(gpu, rng, n, c):
        x, t = scores(gpu, rng, n, c), class_labels(gpu, rng, n, c)
        dy = gpu.array(rng.randn(n, c) * (1 + np.arange(c)) / c)
        y, dx, loss, dx_loss = (gpu.empty(s) for s in ((n, c), (n, c), n, (n, c)))
        launch(gpu, n, c, x, t, y, dy, dx, loss, dx_loss)
        return softmax_results(gpu, c, x, t, y, dy, dx, loss, dx_loss)

    names = [f"{file}.{kernel}" for kernel in kernels]
    case(*names, shapes=shapes, setups=setups, name=name)(run)


def narrow(gpu, n, c, x, t, y, dy, dx, loss, dx_loss):
    rows = 256 if c <= 8 else 128
    launch = {"block": rows, "C": c}
    grid, scalars = -(-n // rows), (1 / n, LOW, HIGH)
    gpu.launch("softmax_narrow", "softmax_forward_narrow", grid, x, y, n, **launch)
    gpu.launch("softmax_narrow", "softmax_backward_narrow", grid, dy, y, dx, n, **launch)
    arrays = (x, t, loss, dx_loss, n)
    gpu.launch("softmax_narrow", "softmax_cross_entropy_narrow", grid, *arrays, *scalars, **launch)


def rows(threads, items, packed):
    def run(gpu, n, c, x, t, y, dy, dx, loss, dx_loss):
        grid, block = (-(-n // 4), 128) if threads == 32 else (n, threads)
        factor = gpu.dtype.itemsize // 4 if packed else 1  # 16 bytes are half as many doubles
        launch = {"block": block, "THREADS": threads, "ITEMS": items * factor, "PACKED": packed}
        gpu.launch("softmax_rows", "softmax_forward_rows", grid, x, y, n, c, **launch)
        gpu.launch("softmax_rows", "softmax_backward_rows", grid, dy, y, dx, n, c, **launch)
        arguments = (x, t, loss, dx_loss, n, c, 1 / n, LOW, HIGH)
        gpu.launch("softmax_rows", "softmax_cross_entropy_rows", grid, *arguments, **launch)

    return run


def parts(count):
    def run(gpu, n, c, x, t, y, dy, dx, loss, dx_loss):
        grid, shape = (n, count), (n, count)
        largest, total, dot = gpu.empty(shape), gpu.empty(shape), gpu.empty(shape)
        gpu.launch("softmax_wide", "softmax_partial", grid, x, largest, total, c)
        gpu.launch("softmax_wide", "softmax_forward_wide", grid, x, largest, total, y, c)
        gpu.launch("softmax_wide", "softmax_dot_partial", grid, dy, y, dot, c)
        gpu.launch("softmax_wide", "softmax_backward_wide", grid, dy, y, dot, dx, c)
        arguments = (x, largest, total, t, loss, dx_loss, c, 1 / n, LOW, HIGH)
        gpu.launch("softmax_wide", "softmax_cross_entropy_wide", grid, *arguments)

    return run


def three(kind):
    return [f"softmax_{op}_{kind}" for op in ("forward", "backward", "cross_entropy")]


WIDE = [*three("wide"), "softmax_partial", "softmax_dot_partial"]
softmax_case(
    *("softmax of short rows", "softmax_narrow", three("narrow")),
    shapes=((1, 1), (300, 1), (1, 3), (257, 3), (130, 10), (129, 16)),
    launch=narrow,
)
softmax_case(
    *("softmax, a warp a row", "softmax_rows", three("rows")),
    shapes=((1, 33), (9, 33), (5, 64), (6, 40)),
    launch=rows(32, 2, 0),
)
softmax_case(
    *("softmax, a warp a row, packed", "softmax_rows", three("rows")),
    shapes=((1, 132), (9, 200), (6, 256)),
    launch=rows(32, 2, 1),
    setups=SETUPS[:1],
)
softmax_case(
    *("softmax, a block a row", "softmax_rows", three("rows")),
    shapes=((1, 1025), (3, 1500), (2, 2048)),
    launch=rows(128, 16, 0),
)
softmax_case(
    *("softmax, a block a row, packed", "softmax_rows", three("rows")),
    shapes=((1, 4096), (2, 5000)),
    launch=rows(512, 4, 1),
    setups=SETUPS[:1],
)
softmax_case(
    *("softmax, blocks share a row", "softmax_wide", WIDE),
    shapes=((1, 1), (3, 5), (2, 1025), (3, 20000)),
    launch=parts(7),
)
softmax_case(
    *("softmax, a row in one part", "softmax_wide", WIDE),
    shapes=((2, 3), (2, 3001)),
    launch=parts(1),
)


@case("softmax_jacobian.softmax_jacobian", shapes=((1, 1), (9, 1), (5, 3), (3, 33), (1, 60)))
def softmax_jacobian(gpu, rng, n, c):
    y, jacobian = gpu.array(probabilities(rng, n, c)), gpu.empty((n, c, c))
    grid = gpu.blocks(-(-jacobian.size // 1024))
    gpu.launch("softmax_jacobian", "softmax_jacobian", grid, y, jacobian, n, c)
    return [Result(jacobian, ORACLE.softmax_jacobian(wide(y)), 2, wide(y)[:, :, None])]


# ---- the tests over all cases ----
def run(name, dtype, setup, shape):
    gpu = Gpu(np.dtype(dtype), setup)
    with np.errstate(invalid="ignore", divide="ignore"):  # NaN and infinities are meant
        return CASES[name].run(gpu, np.random.RandomState([*shape, 7]), *shape)


@pytest.mark.parametrize("name", CASES)
def test_numbers_at_every_shape_grid_and_alignment(name, dtype):
    for setup in CASES[name].setups:
        for shape in CASES[name].shapes:
            for number, result in enumerate(run(name, dtype, setup, shape)):
                what = f"{name}, {setup.name}, {shape}, result {number}"
                result_dtype = result.actual.dtype
                expected = np.asarray(result.expected).reshape(result.actual.shape)
                kwargs = {"ulps": result.ulps, "magnitude": result.magnitude, "what": what}
                assert_close(result.actual, expected, result_dtype, **kwargs)


@pytest.mark.parametrize("name", CASES)
def test_the_same_launch_gives_the_same_bits(name, dtype):
    """Also where blocks, warps and lanes come in the opposite order: nothing is a race."""
    for shape in CASES[name].shapes:
        first = run(name, dtype, SETUPS[0], shape)
        for setup in (SETUPS[0], Setup("backwards", backwards=True)):
            for one, other in zip(first, run(name, dtype, setup, shape), strict=True):
                assert one.actual.tobytes() == other.actual.tobytes(), (setup.name, shape)


def test_no_kernel_is_without_a_case():
    named = {kernel for each in CASES.values() for kernel in each.kernels}
    found = {f"{f.stem}.{k}" for f in KERNELS.glob("*.cu") for k in kernels_in(f.stem)}
    assert named == found
    for file in KERNELS.glob("*.cu"):
        assert file.read_text().count("__global__") == len(kernels_in(file.stem)), file.name


# ---- what cases do not reach ----
def test_spiral_rows_beyond_2_to_the_32(dtype):
    """Positions whose upper half counts, and a class with more samples than 32 bits hold."""
    for samples, start in ((2**31, 2**32 + 1), (2**33 + 1, 2**34 - 2)):
        gpu = Gpu(dtype, SETUPS[0])
        points, labels = spiral_points(gpu, samples, start, start + 5)
        expected = ORACLE.spiral(samples, 3, SEED, start, start + 5)
        assert_close(points, expected[0], dtype, ulps=spiral_error(dtype, 3), magnitude=1.0)
        assert_close(labels, expected[1], np.int32)


def test_spiral_error_over_many_points(dtype):
    """What the kernel's header states: of some noise, one in a thousand above 3."""
    points, _ = spiral_points(Gpu(dtype, SETUPS[0]), 10_000, 0, 30_000)
    error = np.abs(points - ORACLE.spiral(10_000, 3, SEED)[0]).max()
    assert error < (1e-6 if dtype == np.float32 else 2e-14), error


def test_column_sums_are_accurate_over_many_rows(dtype):
    """Sums of equal numbers, where one running float32 sum would lose four digits."""
    n, c = 40_000, 3
    dy = np.full((n, c), 0.1, dtype)
    gpu = Gpu(dtype, SETUPS[0])
    partial = gpu.empty((8, c))
    gpu.launch("reductions", "column_sum_partial", (1, 8), dy, partial, n, c)
    assert_close(joined(gpu, partial), n * wide(dy[0]), dtype, ulps=8)


def test_a_probability_of_nan_is_a_loss_of_nan(dtype):
    """Clipping keeps it; a label out of range gives it, and only in its row."""
    gpu = Gpu(dtype, SETUPS[0])
    p, t = gpu.array([[np.nan, 0.5], [0.5, 0.5], [0.5, 0.5]]), gpu.array([0, 2, 1], np.int32)
    loss = gpu.empty(3)
    gpu.launch("losses", "cross_entropy_forward", 1, p, t, loss, 3, 2, LOW, HIGH)
    assert np.isnan(loss).tolist() == [True, True, False]


# ---- the emulator notices ----
WRONG = {
    "divergent_barrier": (
        "if (threadIdx.x < 7) __syncthreads(); x[threadIdx.x] = 0;",
        r"divergent barrier: block 0, thread \d+ ended, thread \d+ waits",
    ),
    "two_barriers": (
        "if (threadIdx.x < 32)\n __syncthreads();\n else\n __syncthreads();",
        "divergent barrier: block 0, thread 31 waits at line 2, thread 32 at line 4",
    ),
    "divergent_warp": (
        "if (threadIdx.x % 2) x[threadIdx.x] = __shfl_xor_sync(ALL_LANES, x[threadIdx.x], 1);",
        "divergent warp: block 0, thread 1 waits at line 1 for lane 0",
    ),
    "write_after_the_end": ("x[size + threadIdx.x] = 1;", "out of bounds.* beside argument 0"),
    "write_before_the_start": ("x[-1] = 1;", "argument 0 was written out of bounds"),
    "read_after_the_end": ("x[0] = x[size];", "out of bounds.* beside argument 0"),
    "read_somewhere": ("x[0] = x[size << 30];", "out of bounds: block 0, thread 0"),
}


@pytest.mark.parametrize("name", WRONG)
def test_the_emulator_refuses(name):
    body, problem = WRONG[name]
    source = f'extern "C" __global__ void {name}(real* __restrict__ x, index_t size) {{ {body} }}'
    emulator = Emulator({name: source})
    x = np.arange(64, dtype=np.float32)
    with pytest.raises(EmulationError, match=problem):
        emulator.launch(name, name, 1, 64, [x, x.size], np.float32)


def test_running_backwards_shows_a_missing_barrier():
    body = "__shared__ real s[64]; s[threadIdx.x] = threadIdx.x; BARRIER"
    body += "x[threadIdx.x] = s[(threadIdx.x + 32) % 64];"
    text = f'extern "C" __global__ void race(real* __restrict__ x) {{ {body} }}'
    for barrier, equal in (("", False), ("__syncthreads();", True)):
        results = []
        for backwards in (False, True):
            x = np.zeros(64, np.float32)
            emulator = Emulator({"race": text.replace("BARRIER", barrier)}, backwards=backwards)
            emulator.launch("race", "race", 1, 64, [x], np.float32)
            results.append(x.tobytes())
        assert (results[0] == results[1]) == equal


def test_the_emulator_fills_shared_memory_with_nan():
    body = "__shared__ real s[64]; if (threadIdx.x == 3) s[3] = 1; __syncthreads();"
    body += " x[threadIdx.x] = s[threadIdx.x];"
    source = f'extern "C" __global__ void shared(real* __restrict__ x) {{ {body} }}'
    x = np.zeros(64, np.float32)
    Emulator({"shared": source}).launch("shared", "shared", 3, 64, [x], np.float32)
    assert x[3] == 1
    assert np.isnan(np.delete(x, 3)).all()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ((np.zeros(4), np.zeros(4, np.float32), 4), "argument 0: got float64 for 'const real"),
        ((np.zeros(4, np.float32), np.zeros(4, np.float32), 4.0), "argument 2: got c_float"),
        ((np.zeros(4, np.float32), np.zeros(4, np.float32), np.uint64(4)), "argument 2: got"),
        ((np.zeros(4, np.float32), 4), "3 parameters, 2 arguments"),
        ((np.zeros(4, np.float32), 4, 4), "argument 1: got int for 'real"),
    ],
)
def test_the_emulator_refuses_arguments_of_another_type(arguments, problem):
    with pytest.raises(TypeError, match=problem):
        EMULATOR.launch("elementwise", "relu_forward", 1, 256, list(arguments), np.float32)
