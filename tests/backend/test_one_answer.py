"""One answer: the same bits from the CPU's kernels, CUDA C++ and Numba CUDA.

Proves for every operation that promises it (`Operation.bits`), in float32 and float64, at awkward
shapes and with awkward numbers: numba, cupy (its kernels run by g++, nothing contracted) and
numba-cuda (in Numba's simulator) give the same bits for the same arguments, but for those of NaN.
So do 50 steps of training whose products are exact in any order.
What calls a BLAS is named here, and of it the bias gradients are promised. The rules are in
docs/decisions/one-answer.md.
"""

from __future__ import annotations

import functools

import exact_products
import numpy as np
import pytest
from awkward import CASES, SHAPES, SIMULATED, digests
from emulation.backend import EmulatedCupyBackend
from helpers import DTYPES
from processes import program_output, simulator_started

from nnfs_gpu import get_backend
from nnfs_gpu.backend.numba_backend import NumbaBackend
from nnfs_gpu.backend.powers import power
from nnfs_gpu.kernels.cpu import optimizers
from nnfs_gpu.selftest.crosscheck import compare
from nnfs_gpu.selftest.operations import OPERATIONS, PRODUCT, SAME

pytestmark = [
    pytest.mark.usefixtures("compiler"),
    pytest.mark.skipif(
        not NumbaBackend.one_answer,
        reason="no fused multiply-add here: the CPU has bits of its own",
    ),
]

PRODUCTS = {
    *("linear_forward", "linear_backward", "linear_relu_forward", "linear_relu_backward"),
}


def promised(bits):
    return [name for name, (kind, _) in CASES.items() if kind == bits]


@functools.cache
def found(kind, dtype):
    backend = get_backend("numba", dtype=dtype) if kind == "numba" else EmulatedCupyBackend(dtype)
    return digests(backend, SHAPES)


@pytest.fixture(scope="module")
def simulated(request):
    return program_output(simulator_started(request.config))


def test_every_operation_is_promised_or_a_product():
    assert set(promised(PRODUCT)) == PRODUCTS
    assert len(promised(SAME)) == len(CASES) - len(PRODUCTS)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", promised(SAME))
def test_numba_and_cuda_cpp_have_the_same_bits(name, dtype):
    assert found("emulated", dtype)[name] == found("numba", dtype)[name]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", promised(SAME))
def test_numba_and_numba_cuda_have_the_same_bits(simulated, name, dtype):
    assert simulated["digests"][dtype][name] == small(dtype)[name]


@functools.cache
def small(dtype):
    return digests(get_backend("numba", dtype=dtype), SIMULATED)


# ---- training ----
@functools.cache
def trained(dtype, network):
    return exact_products.train(get_backend("numba", dtype=dtype), network)


@pytest.mark.parametrize("network", exact_products.NETWORKS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_50_steps_whose_products_are_exact_are_those_of_cuda_cpp(dtype, network):
    found = exact_products.train(EmulatedCupyBackend(dtype), network)
    assert found == trained(dtype, network)


def test_50_steps_whose_products_are_exact_are_those_of_numba_cuda(simulated):
    assert simulated["trained"] == trained("float32", "two layers")


def test_a_product_that_is_rounded_is_noticed():
    a = np.array([[2.0**20, 1.0]], np.float32)
    with pytest.raises(AssertionError, match="sums that are rounded"):
        exact_products.check_exact(a, a.T, a @ a.T)


# ---- what the harness itself has to notice ----
def test_a_single_bit_is_noticed():
    class Off(EmulatedCupyBackend):
        def tanh_backward(self, dy, y):
            dx = super().tanh_backward(dy, y)
            dx.flat[-1] = np.nextafter(dx.flat[-1], dx.dtype.type(np.inf))
            return dx

    assert digests(Off("float32"), ((3, 3),))["tanh_backward"] != small_of("tanh_backward")
    (line,) = [one for one in OPERATIONS if one.name == "tanh_backward"]
    for one in compare(line, Off("float32"), get_backend("numba")):
        assert (one.promised, one.same_bits, one.passed) == (True, False, False)
        assert one.units <= one.bound, "but for the promise it would pass"


def small_of(name):
    return digests(get_backend("numba", dtype="float32"), ((3, 3),))[name]


def test_powers_are_the_compiled_ones():
    """Adam's corrections: by Python on the host of a GPU, compiled on the CPU."""
    rng = np.random.default_rng(0)
    for _ in range(3000):
        x = float(rng.choice([0.0, 0.5, 0.9, 0.999, 1.0, rng.random()]))
        n = int(10 ** rng.uniform(0, 6))
        assert 1 - power(x, n) == 1 - optimizers.power(x, n), (x, n)
