"""The sums of a batch under way, which every engine gives and takes in the same form.

Proves, for the layers, the fused step of the CPU and both engines of the GPU (emulated): what
`summed` gives is the gradient of the losses of the rows so far over all rows, without penalties;
two engines that have half of the rows each and exchange their sums end like one that had all, both
with the same bits; and what does not fit is refused.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from emulation.emulator import COMPILER
from fused_cuda_networks import NETS, assert_near, emulated_model, net, state

from nnfs_gpu import get_backend
from nnfs_gpu.fused import engine as cpu_engine, make_plan
from nnfs_gpu.fused.cuda.engine import KernelSteps
from nnfs_gpu.fused.tiles import TiledSteps
from nnfs_gpu.training.engines import LayerSteps

NAMES = [
    *("the book's", "narrow, sigmoid and binary", "narrow, linear and absolute", "soft labels"),
    *("three layers", "penalties alone"),
]
ALL = NETS | {
    "three layers": net(5, 33, 17, 2, loss="squared_error", optimizer="rmsprop", l1=1e-2),
    "penalties alone": net(3, 4, optimizer="sgd", l1=0.1),
}
NEAR = {"float32": 2e-5, "float64": 1e-11}


def on_numpy(of, dtype):
    return of.model(get_backend("numpy", dtype=dtype, precise_dot=False, book_random=False))


def on_numba(of, dtype):
    return of.model(get_backend("numba", dtype=dtype, precise_dot=False, book_random=False))


def tiled(model):
    return TiledSteps(model, make_plan(model), tile=9)


def kernel(model):
    return KernelSteps(model, make_plan(model))


ENGINES = {
    "layers": (on_numpy, LayerSteps),
    "the CPU's": (on_numba, cpu_engine),
    "the GPU's kernel": (emulated_model, kernel),
    "tiles": (emulated_model, tiled),
}


@pytest.fixture(params=ENGINES)
def made(request):
    """(model, engine) for a network and a dtype."""
    if COMPILER is None and request.param in ("the GPU's kernel", "tiles"):
        pytest.skip("g++ compiles the kernels for the CPU")
    model_of, engine_of = ENGINES[request.param]

    def make(of, dtype):
        model = model_of(of, dtype)
        return model, engine_of(model)

    return make


def expected(name, dtype, first, last):
    """Gradients, losses and right answers of these rows: the book's passes, without a penalty."""
    of = ALL[name]
    model = on_numpy(replace(of, l1=0.0), "float64")
    X, y = of.data(model)
    rows = slice(first, last)
    output = model.forward(X[rows])
    losses = model.loss.forward(output, y[rows])
    right = model.accuracy.compare(model.output_layer_activation.predictions(output), y[rows])
    model.backward(output, y[rows])
    share = (last - first) / of.rows
    pairs = [(share * one.dweights, share * one.dbiases) for one in model.trainable_layers]
    return pairs, losses.sum(), right.sum(), last - first, right.size


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NAMES)
def test_the_sums_are_those_of_the_rows_so_far(made, name, dtype):
    model, engine = made(ALL[name], dtype)
    X, y = ALL[name].data(model)
    n = len(X)
    for first, last in ((0, 19), (19, 43)):
        engine.accumulate(X[first:last], y[first:last], n)
    found, wanted = engine.summed(), expected(name, dtype, 0, 43)
    assert (found.rows, found.compared) == wanted[3:]
    for pair, others in zip(found.gradients, wanted[0], strict=True):
        for values, other in zip(pair, others, strict=True):
            assert (values.dtype, values.shape) == (np.float64, other.shape)
            np.testing.assert_allclose(values, other, atol=NEAR[dtype] * abs(other).max())
    np.testing.assert_allclose(float(found.losses), wanted[1], rtol=NEAR[dtype])
    assert float(found.right) == wanted[2]
    found.gradients[0][0][:] = 7  # the caller's own
    np.testing.assert_allclose(
        engine.summed().gradients[0][0], wanted[0][0][0], atol=NEAR[dtype] * 10
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NAMES)
def test_two_that_exchange_their_sums_end_like_one(made, name, dtype):
    whole, alone = made(ALL[name], dtype)
    two = [made(ALL[name], dtype) for _ in range(2)]
    X, y = ALL[name].data(whole)
    n, half = len(X), 31
    for _ in range(2):
        alone.accumulate(X, y, n)
        measured = [float(one) for one in alone.finish()]
        for (model, engine), rows in zip(two, (slice(0, half), slice(half, n)), strict=True):
            own_X, own_y = ALL[name].data(model)
            engine.accumulate(own_X[rows], own_y[rows], n)
        sums = [engine.summed() for _, engine in two]
        total = sums[0]
        for pair, more in zip(total.gradients, sums[1].gradients, strict=True):
            for values, others in zip(pair, more, strict=True):
                values += others
        total.losses, total.right = total.losses + sums[1].losses, total.right + sums[1].right
        total.rows, total.compared = n, total.compared + sums[1].compared
        for _, engine in two:
            engine.replace(total)
            again = [float(one) for one in engine.finish()]
            np.testing.assert_allclose(again, measured, rtol=10 * NEAR[dtype])
    states = [state(model) for model, _ in two]
    for key in states[0]:
        np.testing.assert_array_equal(states[0][key], states[1][key])
    assert_near(states[0], state(whole), 100 * NEAR[dtype])
    assert two[0][0].loss.accumulated_count == whole.loss.accumulated_count
    assert two[0][0].accuracy.accumulated_count == whole.accuracy.accumulated_count


def test_what_does_not_fit_is_refused(made):
    of = ALL["the book's"]
    model, engine = made(of, "float32")
    X, y = of.data(model)
    with pytest.raises(RuntimeError, match="summed: no batch is under way; call accumulate"):
        engine.summed()
    engine.accumulate(X[:20], y[:20], len(X))
    sums = engine.summed()
    sums.rows = len(X) + 1
    with pytest.raises(ValueError, match="replace: got 301 rows, expected at most 300"):
        engine.replace(sums)
    sums.rows = len(X)
    engine.replace(sums)
    engine.finish()
    with pytest.raises(RuntimeError, match="replace: no batch is under way"):
        engine.replace(sums)
