"""Every CUDA kernel, executed on the CPU from its own source text, against the specification.

Proves, without a GPU: the numbers of every kernel in kernels/*.cu in float32 and float64 against
the numpy backend in float64, at awkward shapes; that they do not depend on the grid, nor on where
an array begins; the same bits from the same launch; NaN, infinity, ties, labels out of range and
huge scores; that nothing outside an array is read or written; and that no kernel is without a
test. The cases are in emulation/cases*.py.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from emulation import cases_elements, cases_softmax  # noqa: F401 - they register cases
from emulation.cases import CASES, HIGH, LOW, ORACLE, SETUPS, Gpu, Setup, column_sums, wide
from emulation.cases_sums import SEED, spiral_points
from emulation.emulator import kernels_in
from helpers import assert_close, spiral_error

KERNELS = Path(__file__).resolve().parents[2] / "kernels"


pytestmark = pytest.mark.usefixtures("compiler")


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
    files = sorted((KERNELS / "cuda").glob("*.cu"))  # fused_cuda/ has tests of its own
    found = {f"{f.stem}.{k}" for f in files for k in kernels_in(f.stem)}
    assert named == found
    for file in KERNELS.glob("*/*.cu"):
        assert file.read_text().count("__global__") == len(kernels_in(file.stem)), file.name


# ---- what cases do not reach ----
def test_spiral_rows_beyond_2_to_the_32(dtype):
    """Positions whose upper half counts, and a class with more samples than 32 bits hold."""
    far = ((2**31, 2**32 + 1, 1), (2**33 + 1, 2**34 - 2, 1), (2**31, 5, 2**30 + 1))
    for samples, start, step in far:
        gpu, stop = Gpu(dtype, SETUPS[0]), start + 5 * step
        points, labels = spiral_points(gpu, samples, start, stop, step)
        expected = ORACLE.spiral(samples, 3, SEED, start, stop, step)
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
    found = column_sums(Gpu(dtype, SETUPS[0]), n, c, "reductions", "column_sum", dy)
    assert_close(found, n * wide(dy[0]), dtype, ulps=8)


def test_a_probability_of_nan_is_a_loss_of_nan(dtype):
    """Clipping keeps it; a label out of range gives it, and only in its row."""
    gpu = Gpu(dtype, SETUPS[0])
    p, t = gpu.array([[np.nan, 0.5], [0.5, 0.5], [0.5, 0.5]]), gpu.array([0, 2, 1], np.int32)
    loss = gpu.empty(3)
    gpu.launch("losses", "cross_entropy_forward", 1, p, t, loss, 3, 2, LOW, HIGH)
    assert np.isnan(loss).tolist() == [True, True, False]
