"""One hidden layer between few inputs and few outputs: the fused step by masked sums.

It gives the gradients of the layers in float64, whatever the numbers of units and samples, far
from 0 and among infinities, and the same bits on processors of other register lengths.
"""

import os
import subprocess
import sys

import numpy as np
import pytest
from fused_state import (
    assert_gradients,
    backend_of,
    copy_state,
    gradients,
    layer_steps,
    trained,
)
from networks import Network
from processes import MODULES

from nnfs_gpu import fused
from nnfs_gpu.kernels.fused_cpu import tables as k
from nnfs_gpu.training.engines import LayerSteps

SHAPES = [  # every limit on inputs and outputs, and units that fill no register
    (Network((2, 64, 3)), 300),
    (Network((2, 1, 3)), 1),
    (Network((2, 3, 3), soft=True), 15),
    (Network((1, 4, 5)), 16),
    (Network((3, 17, 3)), 17),
    (Network((7, 5, 2)), 513),
    (Network((1, 100, 2), l1=0.001, l2=0.002), 1025),
    (Network((1, 33, 1), loss="squared_error"), 511),
    (Network((3, 20, 2), loss="absolute_error"), 512),
    (Network((2, 12, 2), loss="binary_cross_entropy"), 20_000),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("network", "n"), SHAPES, ids=lambda v: getattr(v, "widths", v))
def test_gradients_are_those_of_the_layers(network, n, dtype):
    model = network.model(backend_of(dtype))
    engine = fused.engine(model)
    assert engine.plan.narrow
    X, y = network.data(model, n)
    reference, steps = layer_steps(network, backend_of("float64"))
    copy_state(model, reference)
    measured = engine.step(X, y)
    assert engine.layout.head[k.NARROW]
    wanted = steps.step(*network.data_of(reference, X, y))
    np.testing.assert_allclose(measured, [float(v) for v in wanted], rtol=2e-6, atol=1e-7)
    assert_gradients(model, gradients(reference), dtype)


@pytest.mark.parametrize(
    "network",
    [
        Network((2, 8, 3), activation="sigmoid"),
        Network((2, 8, 3), keep=0.5),
        Network((2, 8, 8, 3)),
        Network((3, 8, 4)),
        Network((2, 8, 1)),  # a softmax of one score
    ],
    ids=str,
)
def test_other_networks_go_the_other_way(network):
    model = network.model(backend_of("float32"))
    engine = fused.engine(model)
    assert engine.plan.narrow is None
    engine.compile()
    assert not engine.layout.head[k.NARROW]


def random_step(mean, dtype, spoil=None):
    """A step of 2-40-3 on data around `mean`, fused in `dtype` and by layers in float64."""
    rng = np.random.RandomState(3)
    X = np.float32(rng.randn(900, 2) + mean)
    if spoil is not None:
        X[700, 1] = spoil
    y = rng.randint(0, 3, 900)
    network, models = Network((2, 40, 3)), []
    weights = [np.float32(rng.randn(*shape)) for shape in ((2, 40), (1, 40), (40, 3), (1, 3))]
    for kind in (dtype, "float64"):
        model = network.model(backend_of(kind))
        for layer, at in zip(model.trainable_layers, (0, 2), strict=True):
            layer.set_parameters(weights[at], weights[at + 1])
        models.append(model)
    model, reference = models
    with np.errstate(all="ignore"):
        measured = fused.engine(model).step(*network.data_of(model, X, y))
        wanted = LayerSteps(reference).step(*network.data_of(reference, X, y))
    return model, measured, reference, [float(v) for v in wanted]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("mean", [0, 10, -1000])
def test_data_far_from_0_keep_their_digits(mean, dtype):
    model, measured, reference, wanted = random_step(mean, dtype)
    np.testing.assert_allclose(measured, wanted, rtol=1e-6)
    tolerance = 1e-6 if dtype == "float32" else 1e-13
    for got, want in zip(gradients(model), gradients(reference), strict=True):
        assert np.abs(got - want).max() <= tolerance * np.abs(want).max()


@pytest.mark.parametrize("spoil", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_stays_none(spoil):
    model, measured, reference, wanted = random_step(0, "float32", spoil)
    assert np.isnan(measured[0]) == np.isnan(wanted[0])
    for got, want in zip(gradients(model), gradients(reference), strict=True):
        np.testing.assert_array_equal(np.isfinite(got), np.isfinite(want))


def test_infinity_behind_gates_that_are_shut():
    """Its product with a gradient of 0 is no number, as by layers."""
    found = []
    for make in (fused.engine, LayerSteps):
        model = Network((1, 4, 2)).model(backend_of("float32"))
        model.trainable_layers[0].weights = -np.ones((1, 4), np.float32)
        X, y = model.checked_data(
            np.float32([[1], [np.inf], [-2]]), np.array([0, 1, 1]), "test", False
        )
        with np.errstate(all="ignore"):
            loss = float(make(model).step(X, y)[0])
        found.append([np.isfinite(a) for a in gradients(model)] + [np.isfinite(loss)])
    for got, want in zip(*found, strict=True):
        np.testing.assert_array_equal(got, want)


BITS = """
import hashlib
import numpy as np
from fused_state import trained
from networks import Network
from test_fused_narrow import SHAPES
digest = hashlib.sha256()
for (network, n), dtype in zip(SHAPES[3:8], ("float32", "float64") * 3):
    measured, arrays = trained(network, n, steps=2, dtype=dtype)
    digest.update(np.array(measured).tobytes())
    for a in arrays:
        digest.update(a.tobytes())
print(digest.hexdigest())
"""
AVX2 = "+sse,+sse2,+sse3,+ssse3,+sse4.1,+sse4.2,+avx,+avx2,+fma,+bmi,+bmi2,+popcnt,+f16c,+lzcnt"


def test_bits_do_not_depend_on_the_registers():
    """A processor without registers of masks computes the gates again."""
    digests = set()
    for cpu in ({}, {"NUMBA_CPU_NAME": "x86-64-v3", "NUMBA_CPU_FEATURES": AVX2}):
        run = subprocess.run(
            [sys.executable, "-c", BITS],
            env=os.environ | {"PYTHONPATH": MODULES} | cpu,
            capture_output=True,
            text=True,
        )
        assert run.returncode == 0, run.stderr
        digests.add(run.stdout)
    assert len(digests) == 1


@pytest.mark.parametrize("n", [300, 20_000])
def test_bits_do_not_depend_on_what_ran_before(n):
    """A workspace that was used for other data gives the same step."""
    network = Network((2, 64, 3))
    model = network.model(backend_of("float32"))
    engine = fused.engine(model)
    X, y = network.data(model, n)
    spoiled = X.copy()
    spoiled[:] = np.nan
    engine.step(spoiled, y)
    network.set_parameters(model, network.seed)
    model.optimizer.iterations = 0
    for layer in model.trainable_layers:
        for name in ("weight_momentums", "weight_cache", "bias_momentums", "bias_cache"):
            getattr(layer, name)[:] = 0
    measured = engine.step(X, y)
    fresh, arrays = trained(network, n, steps=1)
    assert measured == fresh[0]
    for layer, at in zip(model.trainable_layers, (0, 2), strict=True):
        np.testing.assert_array_equal(layer.weights, arrays[at])
        np.testing.assert_array_equal(layer.biases, arrays[at + 1])


COMPILED = """
import sys
import numpy as np
from fused_state import backend_of
from networks import Network
from nnfs_gpu import fused
from nnfs_gpu.kernels.fused_cpu import group, narrow, samples

network = Network(tuple(int(width) for width in sys.argv[1:]))
model = network.model(backend_of("float32"))
X, y = network.data(model, 40)
engine = fused.engine(model)
kernels = group.group, narrow.narrow_group, samples.gather
compiled = lambda: print(*(len(kernel.overloads) for kernel in kernels))
engine.step(X, y)
compiled()
engine.sweep(X, y, 0, 20, 2, np.arange(40)[::-1].copy())
compiled()
"""


@pytest.mark.parametrize(
    ("widths", "first", "shuffled"),
    [((2, 8, 3), "0 1 0", "0 1 1"), ((2, 8, 8, 3), "1 0 0", "1 0 1")],
)
def test_a_network_compiles_only_what_it_calls(widths, first, shuffled, tmp_path):
    """With an empty cache: each way through a group alone, and the order where there is one."""
    for _ in range(2):  # compiled, then found again
        run = subprocess.run(
            [sys.executable, "-c", COMPILED, *map(str, widths)],
            env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": MODULES},
            capture_output=True,
            text=True,
        )
        assert run.returncode == 0, run.stderr
        assert run.stdout.splitlines() == [first, shuffled]
    kept = {path.name.split("-")[0] for path in tmp_path.rglob("*.nbi")}
    assert ("fused_cpu.group.group" in kept, "fused_cpu.narrow.narrow_group" in kept) == (
        first[0] == "1",
        first[2] == "1",
    )
