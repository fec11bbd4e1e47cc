"""Operations along rows in vector registers, called as kernels: any length, any range, any place.

Proves that softmax and its gradient are right for every way that a row is laid into registers,
that a call writes the rows of its range and nothing else and reads nothing outside its arrays,
that a row's bits depend on its numbers alone, and that `row_operation` works in place.
"""

from __future__ import annotations

import numpy as np
import pytest
from fenced import Fenced, in_a_child, posix
from helpers import assert_close, bits, summing
from numba import njit

from nnfs_gpu import get_backend
from nnfs_gpu.kernels.cpu.row_vectors import row_operation
from nnfs_gpu.kernels.cpu.softmax import softmax_backward, softmax_forward

SHORT = range(1, 141)
LONG = (255, 256, 257, 383, 385, 513, 1000, 4097, 70001)
EDGES = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65, 127, 128, 129, 257, 385, 1000, 4097)
ROWS = (1, 2, 3, 7, 31)
MARGIN = 37  # numbers around an array that nobody may write
GUARD = -12345.0

KERNELS = {"forward": (softmax_forward, 1), "backward": (softmax_backward, 2)}
each_kernel = pytest.mark.parametrize("name", KERNELS)


def placed(values, offset=0):
    """(a copy that begins at number MARGIN + offset of a larger array of guards, that array)."""
    flat = np.full(values.size + 2 * MARGIN, GUARD, values.dtype)
    a = np.ndarray(values.shape, values.dtype, flat, (MARGIN + offset) * values.itemsize)
    a[:] = values
    return a, flat


def call(name, inputs, out, start=0, stop=None):
    KERNELS[name][0](np.uint64(start), np.uint64(len(out) if stop is None else stop), *inputs, out)


def arguments(name, rows, c, dtype, seed=0):
    """Scores, or a gradient and the probabilities that belong to it."""
    rng = np.random.RandomState(1000 * c + rows + seed)
    x = 3 * rng.randn(rows, c)
    if name == "forward":
        return [x.astype(dtype)]
    return [rng.randn(rows, c).astype(dtype), forward_oracle(x)[0].astype(dtype)]


def forward_oracle(x):
    """(softmax of the rows in float64, what the error of each number is relative to)."""
    below = x.max(axis=1, keepdims=True) - x
    y = np.exp(-below)
    y /= y.sum(axis=1, keepdims=True)
    return y, y * (2 + below + (y * below).sum(axis=1, keepdims=True))


def backward_oracle(dy, y):
    """(y (dy - sum(y dy)) in float64, what the error of each number is relative to)."""
    dot = (y * dy).sum(axis=1, keepdims=True)
    return y * (dy - dot), y * (np.abs(dy) + (y * np.abs(dy)).sum(axis=1, keepdims=True))


def check_against_oracle(name, rows, c, dtype):
    inputs = arguments(name, rows, c, dtype)
    before = [bits(a) for a in inputs]
    out, flat = placed(np.full((rows, c), np.nan, dtype))
    call(name, inputs, out)
    oracle = forward_oracle if name == "forward" else backward_oracle
    value, magnitude = oracle(*[a.astype(np.float64) for a in inputs])
    what = f"{name} {rows} x {c}"
    assert_close(out, value, dtype, ulps=summing(c), magnitude=magnitude, what=what)
    assert [bits(a) for a in inputs] == before, what
    assert (np.delete(flat, range(MARGIN, MARGIN + out.size)) == GUARD).all(), what


# ---- values ----
@each_kernel
def test_every_length_of_a_row(name, dtype):
    """Against float64; the inputs and what lies around the result stay as they are."""
    for c in SHORT:
        for rows in ROWS:
            check_against_oracle(name, rows, c, dtype)
    for c in LONG:
        for rows in (1, 3) if c > 5000 else ROWS:
            check_against_oracle(name, rows, c, dtype)


def test_equal_and_huge_scores(dtype):
    """Equal scores share 1 alike; where one is far above the rest, it takes all, exactly."""
    for c in (*SHORT, *LONG):
        for score in (0.0, 1e4, -1e30):
            y = np.empty((3, c), dtype)
            call("forward", [np.full((3, c), score, dtype)], y)
            assert len(np.unique(y)) == 1
            assert_close(y, np.full((3, c), 1 / c), dtype, ulps=1)
        places = np.array([0, c // 2, c - 1])
        x = np.full((3, c), -1e30, dtype)
        x[range(3), places] = 1e30
        call("forward", [x], y)
        np.testing.assert_array_equal(y, np.arange(c) == places[:, None])


# ---- which rows, and where ----
@each_kernel
def test_rows_outside_the_range_are_not_written(name, dtype):
    for c in EDGES:
        inputs = arguments(name, 12, c, dtype)
        whole = np.empty((12, c), dtype)
        call(name, inputs, whole)
        for start, stop in ((0, 0), (0, 1), (3, 4), (5, 5), (2, 9), (11, 12), (12, 12)):
            out, flat = placed(np.full((12, c), GUARD, dtype))
            call(name, inputs, out, start, stop)
            inside = slice(MARGIN + start * c, MARGIN + stop * c)
            assert flat[inside].tobytes() == whole[start:stop].tobytes(), (c, start, stop)
            assert (np.delete(flat, inside) == GUARD).all(), (c, start, stop)


@each_kernel
def test_bits_do_not_depend_on_the_cuts_of_a_range(name, dtype):
    rng = np.random.RandomState(5)
    for c in (*SHORT, *LONG[:-1]):
        inputs = arguments(name, 31, c, dtype)
        whole, pieces = np.empty((2, 31, c), dtype)
        call(name, inputs, whole)
        cuts = [0, *sorted(rng.choice(np.arange(1, 31), 6, replace=False)), 31]
        for start, stop in zip(cuts[-2::-1], cuts[:0:-1], strict=True):  # the last one first
            call(name, inputs, pieces, start, stop)
        assert pieces.tobytes() == whole.tobytes(), (c, cuts)


@each_kernel
def test_bits_do_not_depend_on_addresses(name, dtype):
    """Arrays begin anywhere, each elsewhere, and the row stands anywhere among others."""
    for c in EDGES:
        inputs = arguments(name, 9, c, dtype)
        expected = np.empty((9, c), dtype)
        call(name, inputs, expected)
        for offset in (0, 1, 3, 4, 7, 13):
            moved = [placed(a, offset + 5 * k)[0] for k, a in enumerate(inputs)]
            out, _ = placed(np.empty((9, c), dtype), offset - 2)
            call(name, moved, out)
            assert out.tobytes() == expected.tobytes(), (c, offset)
        same = [np.tile(a[4], (9, 1)) for a in inputs]
        call(name, same, out)
        assert out.tobytes() == np.tile(expected[4], (9, 1)).tobytes(), c


@each_kernel
def test_rows_of_no_numbers_write_nothing(name, dtype):
    """What lies around an array of shape (3, 0) stays as it is."""
    inputs = [placed(np.empty((3, 0), dtype))[0] for _ in range(KERNELS[name][1])]
    flat = np.full(2 * MARGIN, GUARD, dtype)
    out = np.ndarray((3, 0), dtype, flat, MARGIN * flat.itemsize)
    assert out.__array_interface__["data"][0] == flat[MARGIN:].ctypes.data
    call(name, inputs, out)
    np.testing.assert_array_equal(flat, GUARD)


@posix
@each_kernel
def test_nothing_outside_the_arrays_is_read(name, dtype):
    """A child works on arrays that end or begin where memory does; a fault would end it."""

    def work():
        room = [Fenced(3 * 4097 * 8) for _ in range(KERNELS[name][1] + 1)]
        for c in (*SHORT, 257, 385, 1000, 4097):
            for at_end in (False, True):
                inputs = arguments(name, 3, c, dtype)
                arrays = [*inputs, np.empty((3, c), dtype)]
                *inputs, out = (
                    fenced.array(a, at_end=at_end) for fenced, a in zip(room, arrays, strict=True)
                )
                call(name, inputs, out)

    in_a_child(work)


# ---- NaN and infinity ----
@each_kernel
def test_nan_stays_in_its_row(name, dtype):
    for c in (*range(1, 20), *EDGES[12:]):
        inputs = arguments(name, 7, c, dtype)
        clean, out = np.empty((2, 7, c), dtype)
        call(name, inputs, clean)
        for bad in range(len(inputs)):
            for at in {0, c // 2, c - 1}:
                dirty = [a.copy() for a in inputs]
                dirty[bad][3, at] = np.nan
                call(name, dirty, out)
                assert np.isnan(out[3]).all(), (c, bad, at)
                others = np.arange(7) != 3
                assert out[others].tobytes() == clean[others].tobytes(), (c, bad, at)


@each_kernel
def test_infinities_are_those_of_numpy(name, dtype):
    """One or two of them anywhere, among numbers and zeros: NaN and infinity where NumPy has it."""
    numpy = get_backend("numpy", dtype=dtype, precise_dot=False, book_random=False)
    rng = np.random.RandomState(3)
    for c in (*range(1, 20), *EDGES[12:]):
        inputs = arguments(name, 16, c, dtype)
        for a in inputs:
            a[rng.rand(16, c) < 0.2] = 0
            for i in range(12):
                a[i, rng.randint(c, size=rng.randint(3))] = rng.choice([-np.inf, np.inf])
        inputs[0][12] = -np.inf
        with np.errstate(invalid="ignore", over="ignore"):
            expected = getattr(numpy, f"softmax_{name}")(*inputs)
        out = np.empty((16, c), dtype)
        call(name, inputs, out)
        for kind in (np.isnan, np.isposinf, np.isneginf):
            np.testing.assert_array_equal(kind(out), kind(expected), f"{c} {kind.__name__}")


# ---- an operation of one's own ----
_add_sum = row_operation(
    term=lambda emit, a, b: emit.builder.fmul(a, b),
    add=lambda emit, total, a, b: emit.fma(a, b, total),
    join=lambda emit, a, b: emit.builder.fadd(a, b),
    neutral=-0.0,
    absent=(-0.0, 0.0),
    last=lambda emit, total: total,
    result=lambda emit, total, a, b: emit.builder.fadd(emit.builder.fadd(a, b), total),
)


@njit(nogil=True)
def add_sum(start, stop, a, b, out):
    """out = a + b + sum(a b), row by row."""
    _add_sum((a, b), out, np.int64(start), np.int64(stop))


@pytest.mark.parametrize("rows", [1, 2, 3, 31])
def test_an_operation_in_place(rows, dtype):
    """out may be the first input: whole numbers, so that every order of the sum is exact."""
    rng = np.random.RandomState(rows)
    for c in (*SHORT, *LONG[:-1]):
        a, b = rng.randint(-4, 5, (2, rows, c)).astype(dtype)
        start, stop = rows // 3, rows - rows // 5
        expected = a.copy()
        total = (a * b).sum(axis=1, keepdims=True)
        expected[start:stop] = (a + b + total)[start:stop]
        (left, flat), (right, other) = placed(a, 1), placed(b, 3)
        add_sum(start, stop, left, right, left)
        np.testing.assert_array_equal(left, expected, f"{rows} x {c}")
        np.testing.assert_array_equal(right, b)
        for around in (flat, other):
            assert (around == GUARD).sum() == 2 * MARGIN
