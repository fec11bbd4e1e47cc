"""The order of a row's sum: as the decision's page has it, and the same whoever adds the row up.

Proves that the CPU's sums along rows have the bits of the order in Python, row by row and in vector
registers, at every length around what they are cut by; and that the kernels of CUDA C++ for narrow
rows, for rows in registers and for rows that blocks share give the CPU's bits, with several chunks
and more of them than a warp has lanes.
"""

from __future__ import annotations

import numpy as np
import pytest
from emulation.backend import EmulatedCupyBackend
from helpers import DTYPES, bits
from numba import njit

from nnfs_gpu import get_backend
from nnfs_gpu.backend.cuda.softmax_plan import ROW_THREADS, VALUES, kind_for
from nnfs_gpu.backend.numba_backend import NumbaBackend
from nnfs_gpu.kernels.cpu.lane_sums import lane_sums
from nnfs_gpu.kernels.cpu.row_order import CHUNKS, LANES, row_sum
from nnfs_gpu.kernels.cpu.row_vectors import row_operation
from nnfs_gpu.kernels.cpu.softmax import plus_number, plus_product
from nnfs_gpu.kernels.numba_cuda.elementary import exact_fma
from nnfs_gpu.selftest.crosscheck import bits_of

LENGTHS = (
    *range(1, 140),
    255,
    256,
    257,
    289,
    511,
    1000,
    1023,
    1024,
    1025,
    1057,
    2049,
    8200,
    33_000,
)
needs_fma = pytest.mark.skipif(
    not NumbaBackend.one_answer, reason="no fused multiply-add here: the CPU has bits of its own"
)


# ---- the order, as docs/decisions/one-answer.md has it ----
def folded(lanes):
    while len(lanes) > 1:
        half = len(lanes) // 2
        lanes = lanes[:half] + lanes[half:]
    return lanes[0]


def in_lanes(numbers, dtype, add=lambda lanes, numbers: lanes + numbers):
    lanes = np.full(LANES, -0.0, dtype)  # which changes nothing
    for first in range(0, len(numbers), LANES):
        part = numbers[first : first + LANES]
        lanes[: len(part)] = add(lanes[: len(part)], part)
    return folded(lanes)


def ordered(numbers, dtype, **add):
    size = CHUNKS[dtype.itemsize]
    starts = range(0, len(numbers), size)
    sums = [in_lanes(numbers[first : first + size], dtype, **add) for first in starts]
    return sums[0] if len(sums) == 1 else in_lanes(np.array(sums), dtype)


def fused(lanes, pairs):
    return [exact_fma(*pair, lane) for pair, lane in zip(pairs, lanes, strict=True)]


# ---- the CPU's ----
_numbers = lane_sums(lambda emit, a, b: a, precise=False)
_products = lane_sums(lambda emit, a, b: (a, b), precise=False)
_rows = {
    "numbers": row_operation(
        term=lambda emit, a, b: a,
        add=lambda emit, total, a, b: emit.builder.fadd(total, a),
        join=lambda emit, a, b: emit.builder.fadd(a, b),
        neutral=-0.0,
        absent=(-0.0, 0.0),
        last=lambda emit, total: total,
        result=lambda emit, total, a, b: total,
        cached=True,
    ),
    "products": row_operation(
        term=lambda emit, a, b: emit.builder.fmul(a, b),
        add=lambda emit, total, a, b: emit.fma(a, b, total),
        join=lambda emit, a, b: emit.builder.fadd(a, b),
        neutral=-0.0,
        absent=(-0.0, 0.0),
        last=lambda emit, total: total,
        result=lambda emit, total, a, b: total,
    ),
}
_number_rows, _product_rows = _rows["numbers"], _rows["products"]


@njit(nogil=True)
def by_lanes(a, b):
    n = a.shape[1]
    return _numbers((a, b), (), 0, n)[0], _products((a, b), (), 0, n)[0]


@njit(nogil=True)
def by_a_thread(a, b):
    n, nothing = a.shape[1], a.dtype.type(-0.0)
    numbers = row_sum(plus_number, n, 0, (a,), nothing)
    return numbers, row_sum(plus_product, n, 0, (a, b), nothing)


@njit(nogil=True)
def by_registers(a, b, out):
    _number_rows((a, b), out, 0, 1)
    numbers = out[0, 0]
    _product_rows((a, b), out, 0, 1)
    return numbers, out[0, 0]


def terms(c, dtype):
    rng = np.random.RandomState(c)
    a, b = (rng.randn(2, 1, c) * 10.0 ** rng.randint(-3, 4, (2, 1, c))).astype(dtype)
    return a, b


def check(a, b, dtype, products=True):
    c = a.shape[1]
    pairs = list(zip(a[0], b[0], strict=True))
    expected = ordered(a[0], dtype), ordered(pairs, dtype, add=fused) if products else None
    found = [by_lanes(a, b), by_registers(a, b, np.empty_like(a))]
    if c <= CHUNKS[dtype.itemsize]:
        found.append(by_a_thread(a, b))
    for numbers, product in found:
        assert bits(dtype.type(numbers)) == bits(expected[0]), c
        if products:
            assert bits(dtype.type(product)) == bits(expected[1]), c


@needs_fma
def test_sums_of_the_cpu_are_in_the_order_of_the_page(dtype):
    for c in LENGTHS:
        check(*terms(c, dtype), dtype, products=c < 2100)


@needs_fma
def test_the_sign_of_a_zero_is_that_of_the_order(dtype):
    """Zeros of both signs alone, and products that become one of them by rounding."""
    tiny = np.finfo(dtype).smallest_subnormal
    for c in (1, 2, 3, 7, 8, 9, 31, 33, 100, 300, 1025):
        for numbers in ((-0.0,), (0.0,), (0.0, -0.0), (-0.0, tiny, -tiny)):
            a, b = np.random.RandomState(c).choice(numbers, (2, 1, c)).astype(dtype)
            check(a, b, dtype)
            check(-b, a, dtype)


# ---- the GPU's ----
def run(backend, kind, c, soft):
    """All of softmax's results for two rows, by one kind of CUDA kernels where it is named."""
    rng = np.random.RandomState(c)
    x, dy = (5 * rng.randn(2, 2, c)).astype(backend.dtype)
    t = rng.dirichlet(np.ones(c), 2).astype(backend.dtype) if soft else np.array([c - 1, c], "i4")
    if kind is None:
        y = backend.softmax_forward(x)
        return [y, backend.softmax_backward(dy, y), *backend.softmax_cross_entropy(x, t)]
    y, dx, gradient = (np.empty_like(x) for _ in range(3))
    loss, numbers = np.empty(2, x.dtype), (0.5, 1e-7, 1 - 1e-7)
    backend.calls.softmax("softmax_forward", (x,), (y,), kind=kind)
    backend.calls.softmax("softmax_backward", (dy, y), (dx,), kind=kind)
    name = "softmax_cross_entropy_soft" if soft else "softmax_cross_entropy"
    backend.calls.softmax(name, (x,), (t, loss, gradient), numbers, kind=kind)
    return [y, dx, loss, gradient]


@needs_fma
@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize("soft", [False, True], ids=["classes", "soft"])
@pytest.mark.parametrize("name", DTYPES)
def test_every_kind_of_kernel_has_the_bits_of_the_cpu(name, soft):
    """Lengths of each kind, by every kind that can; 33 chunks and more go around the lanes."""
    dtype = np.dtype(name)
    cpu, gpu = get_backend("numba", dtype=name), EmulatedCupyBackend(name)
    chunk, narrow = CHUNKS[dtype.itemsize], VALUES[dtype]
    longest = ROW_THREADS[-1] * narrow
    for c in (1, 3, narrow, narrow + 1, 100, chunk, chunk + 1, 3 * chunk + 5, 34 * chunk + 70):
        kinds = {"wide", kind_for(c, dtype)} | ({"rows"} if c <= longest else set())
        expected = [bits_of(a) for a in run(cpu, None, c, soft)]
        for kind in kinds:
            assert [bits_of(a) for a in run(gpu, kind, c, soft)] == expected, (c, kind)


@needs_fma
@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize("name", DTYPES)
def test_losses_of_long_rows_have_the_bits_of_the_cpu(name):
    cpu, gpu = get_backend("numba", dtype=name), EmulatedCupyBackend(name)
    for c in (7, 8, 63, 64, 300, 1100, 34 * CHUNKS[np.dtype(name).itemsize] + 70):
        rng = np.random.RandomState(c)
        p, t = rng.rand(2, 2, c).astype(name)
        for loss in ("cross_entropy", "binary_cross_entropy", "squared_error", "absolute_error"):
            found, expected = (getattr(b, f"{loss}_forward")(p, t) for b in (gpu, cpu))
            assert bits(found) == bits(expected), (loss, c)
