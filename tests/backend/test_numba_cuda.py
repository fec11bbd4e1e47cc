"""The numba-cuda backend without a GPU: its kernels run in Numba's simulator and compile to PTX.

Proves: every operation gives its formula's numbers from CUDA grids, with block trees, partial
blocks and labels out of range; every kernel in kernels/numba_cuda/ was launched for it; and
float32 kernels hold no float64 instruction, no atomic, and nothing that drops a NaN. On a machine
with a GPU the whole suite runs on this backend as on the others. The simulator and the compiler
need processes of their own: see simulator/. The launch is in test_numba_cuda_launch.py.
"""

from __future__ import annotations

import pytest
from helpers import DTYPES
from processes import program_output, simulator_started, start_program

from nnfs_gpu.selftest.operations import OPERATIONS

CHECKS = (  # of simulator/checks.py
    "sums_of_several_chunks",
    "column_sums_of_several_groups",
    "nothing_to_add_up",
    "same_bits_in_every_run",
    "labels_out_of_range_give_nan_in_their_row_only",
    "nan_stays_nan",
    "softmax_of_huge_equal_and_infinite_scores",
    "the_books_choices_at_zero",
    "any_memory_layout_gives_the_same_bits",
    "what_does_not_fit_is_refused",
    "random_numbers_are_the_specifications",
    "a_network_trains_as_on_the_specification",
    "versions_of_the_ladders",
)

WHOLE_ARRAYS = {"sums", "penalties", "mean", "penalty"}  # added up in float64, whatever they hold


# ---- in the simulator ----
@pytest.fixture(scope="module")
def simulated(request):
    return program_output(simulator_started(request.config))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda o: o.id)
def test_operation_in_the_simulator(simulated, operation, dtype):
    error = simulated["errors"][f"{operation.id} {dtype}"]
    assert error is None, error


@pytest.mark.parametrize("name", CHECKS)
def test_simulated(simulated, name):
    error = simulated["errors"][name]
    assert error is None, error


def test_every_check_of_the_simulator_has_a_test(simulated):
    tested = {f"{operation.id} {dtype}" for operation in OPERATIONS for dtype in DTYPES}
    assert set(simulated["errors"]) == tested | set(CHECKS)


def test_every_kernel_was_launched(simulated):
    assert len(simulated["kernels"]) > 30
    assert simulated["launched"] == simulated["kernels"]


# ---- compiled ----
@pytest.fixture(scope="module")
def compiled():
    found = program_output(start_program("ptx.py"))
    if "skip" in found:
        pytest.skip(found["skip"])
    return found["kernels"]


def test_every_kernel_compiles(compiled, simulated):
    assert sorted({kernel["name"] for kernel in compiled}) == simulated["kernels"]


def test_float32_kernels_hold_no_float64_instructions(compiled):
    checked = set()
    for kernel in compiled:
        if "float64" not in str(kernel["types"]):  # what sums all elements has float64 results
            assert kernel["float64"] == 0, kernel
            checked.add(kernel["name"])
    assert checked == {kernel["name"] for kernel in compiled} - WHOLE_ARRAYS


def test_kernels_are_deterministic_keep_nan_and_denormals_and_are_exact(compiled):
    unwanted = ("atomics", "lose NaN", "approximate", "flushed denormals")
    for kernel in compiled:
        assert {kernel[name] for name in unwanted} == {0}, kernel


def test_nothing_is_left_to_contract(compiled):
    """The compiler may make one fma of a product and a sum; then the bits are not the CPU's."""
    assert not {kernel["name"] for kernel in compiled if kernel["contracted"]}
