"""Cases of reductions.cu, dense.cu, totals.cu, exact.cu and philox.cu."""

from __future__ import annotations

import numpy as np
from helpers import philox_words, spiral_error, summing

from emulation.cases import (
    LONG_ROWS,
    ORACLE,
    SHAPES,
    WIDE_SHAPES,
    Result,
    case,
    column_sums,
    normal,
    row_blocks,
    wide,
)
from nnfs_gpu import get_backend
from nnfs_gpu.backend import philox

# ---- reductions.cu, dense.cu ----


@case("reductions.argmax", shapes=(*SHAPES, (300, 8), (40, 64), (9, 63)))
def argmax(gpu, rng, n, c):
    x, column = gpu.array(rng.randint(-3, 3, (n, c)) / 4), gpu.empty(n, np.int32)
    x[rng.rand(n, c) < 0.5 / c] = np.nan
    x[rng.rand(n, c) < 0.02] = np.inf
    x[rng.rand(n) < 0.1] = -np.inf
    x[rng.rand(n) < 0.1] = np.nan
    gpu.launch("reductions", "argmax", row_blocks(gpu, n, c), x, column, n, c)
    return [Result(column, ORACLE.argmax(x))]


@case("reductions.column_sum", shapes=LONG_ROWS)
def column_sum(gpu, rng, n, c):
    dy = gpu.array(normal(rng, n, c))
    found = column_sums(gpu, n, c, "reductions", "column_sum", dy)
    expected, magnitude = wide(dy).sum(axis=0), np.abs(wide(dy)).sum(axis=0)
    return [Result(found, expected, summing(n), magnitude)]


@case("dense.add_bias", "dense.bias_relu_forward", shapes=WIDE_SHAPES)
def bias(gpu, rng, n, c):
    z, b, y = gpu.array(normal(rng, n, c)), gpu.array(rng.randn(1, c)), gpu.empty((n, c))
    gpu.flat("dense", "bias_relu_forward", z.size, z, b, y, n, c)
    expected = z + b
    gpu.flat("dense", "add_bias", z.size, z, b, n, c)
    return [Result(y, ORACLE.relu_forward(expected)), Result(z, expected)]


@case("dense.relu_backward_column_sum", shapes=LONG_ROWS)
def relu_backward_column_sum(gpu, rng, n, c):
    y, dy = gpu.array(np.maximum(normal(rng, n, c), 0)), gpu.array(normal(rng, n, c))
    dz = gpu.empty((n, c))
    found = column_sums(gpu, n, c, "dense", "relu_backward_column_sum", dy, y, dz)
    expected = ORACLE.relu_backward(wide(dy), wide(y))
    magnitude = np.abs(expected).sum(axis=0)
    return [
        Result(dz, expected),
        Result(found, expected.sum(axis=0), summing(n), magnitude),
    ]


# ---- totals.cu ----
TOTALS = (*SHAPES, (3, 400), (70, 131))  # chunks of 1,024 elements


def chunk_sums(gpu, kernel, a, count=1):
    sums = [gpu.empty(-(-a.size // 1024), np.float64) for _ in range(count)]
    gpu.launch("totals", kernel, gpu.blocks(-(-sums[0].size // 8)), a, *sums, a.size)
    return sums


@case("totals.sum_partial", "totals.sum_final", "totals.mean_final", shapes=TOTALS)
def total(gpu, rng, n, c):
    """The sum is float64 whatever the array is."""
    a = gpu.array(rng.randn(n, c) if c % 2 else normal(rng, n, c))
    (partial,) = chunk_sums(gpu, "sum_partial", a)
    sum_, mean = gpu.empty((), np.float64), gpu.empty(())
    gpu.launch("totals", "sum_final", 1, partial, sum_, partial.size)
    gpu.launch("totals", "mean_final", 1, partial, mean, partial.size, a.size)
    magnitude = np.abs(wide(a)).sum()
    return [
        Result(sum_, wide(a).sum(), summing(a.size), magnitude),
        Result(mean, wide(a).sum() / a.size, summing(a.size), magnitude / a.size),
    ]


@case("totals.sum_partial_bool", "totals.sum_final", "totals.mean_final")
def total_of_bools(gpu, rng, n, c):
    a = gpu.array(rng.rand(n, c) < 0.4, np.bool_)
    parts = gpu.blocks(min(1024, -(-a.size // 4096)))
    partial, sum_, mean = gpu.empty(parts, np.float64), gpu.empty((), np.float64), gpu.empty(())
    gpu.launch("totals", "sum_partial_bool", parts, a.view(np.uint8), partial, a.size)
    gpu.launch("totals", "sum_final", 1, partial, sum_, parts)
    gpu.launch("totals", "mean_final", 1, partial, mean, parts, a.size)
    return [Result(sum_, a.sum(dtype=np.float64)), Result(mean, a.mean(), 1)]


@case("totals.regularization_partial", "totals.regularization_final", shapes=TOTALS)
def regularization_loss(gpu, rng, n, c):
    w, loss = gpu.array(rng.randn(n, c) if c % 2 else normal(rng, n, c)), gpu.empty(())
    sums = chunk_sums(gpu, "regularization_partial", w, 2)
    scalars = (sums[0].size, np.float64(0.01), np.float64(0.3))
    gpu.launch("totals", "regularization_final", 1, *sums, loss, *scalars)
    return [Result(loss, ORACLE.regularization_loss(wide(w), 0.01, 0.3), summing(w.size))]


# ---- exact.cu ----
@case("exact.exact_add", "exact.exact_value")
def exact(gpu, rng, n, c):
    """Twice, so that what the first has carried is added to; the value of the words."""
    x = gpu.array(normal(rng, n, c) * 2.0 ** rng.randint(-90, 70, (n, c)))
    words = [gpu.array(np.zeros((n, c)), np.int64) for _ in range(3)]
    expected = [np.zeros((n, c), np.int64) for _ in range(3)]
    for _ in range(2):
        gpu.flat("exact", "exact_add", x.size, *words, x, x.size)
        ORACLE.exact_add(*expected, wide(x))
    value = gpu.empty((n, c), np.float64)
    gpu.flat("exact", "exact_value", x.size, *words, value, x.size)
    results = zip(words, expected, strict=True)
    return [*(Result(*pair) for pair in results), Result(value, ORACLE.exact_value(*expected))]


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
        scalars = (x.size, np.uint64(round(keep * 2**32)), scale, *counter)
        gpu.flat("philox", "dropout_forward", x.size, x, y, mask, *scalars)
        expected = same.dropout_forward(x, keep, SEED, 6)
        results += [Result(y, expected[0]), Result(mask, expected[1])]
    return results


def spiral_points(gpu, samples, start, stop, step=1):
    rows = len(range(start, stop, step))
    points, labels = gpu.empty((rows, 2)), gpu.empty(rows, np.int32)
    scalars = (rows, samples, start, step, np.uint64(SEED), np.uint32(philox.STREAM_SPIRAL))
    gpu.launch("philox", "spiral", gpu.blocks(-(-rows // 256)), points, labels, *scalars)
    return points, labels


@case("philox.spiral", shapes=((1, 1), (2, 3), (1, 5), (257, 3), (31, 100)))
def spiral(gpu, rng, samples, classes):
    """Whole, rows in the middle that begin at an odd and at an even one, and some of all."""
    rows, results = samples * classes, []
    third = rows // 3
    for part in {(0, rows, 1), (third, rows, 1), (third + 1, rows, 1), (0, rows, 7), (1, rows, 4)}:
        points, labels = spiral_points(gpu, samples, *part)
        expected = ORACLE.spiral(samples, classes, SEED, *part)
        ulps = spiral_error(gpu.dtype, classes)
        results += [Result(points, expected[0], ulps, 1.0), Result(labels, expected[1])]
    return results
