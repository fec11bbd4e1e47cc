"""A process of its own that trains many networks and says what bits came out, as JSON.

    python bits_program.py fused     fused steps first, then layer by layer
    python bits_program.py layers    the other way round, and everything in reverse

Printed: {name of a run: hash of all that it has computed}.
"""

from __future__ import annotations

import hashlib
import json
import sys

import numpy as np
from fused_state import backend_of, gradients, parameters, state
from networks import ENDS, OPTIMIZERS, Network

from nnfs_gpu import fused
from nnfs_gpu.training.engines import LayerSteps

DTYPES = ("float32", "float64")
SHAPES = ((2, 64, 3), (5, 33, 17, 2), (3, 1))


def networks():
    """Every loss, optimizer, activation and shape; not every combination."""
    optimizers = list(OPTIMIZERS)
    for k, loss in enumerate([*ENDS, "soft"]):
        for j, optimizer in enumerate(optimizers):
            widths = SHAPES[(j + k) % 2] if loss != "squared_error" else SHAPES[(j + k) % 3]
            yield Network(
                widths,
                activation=("relu", "sigmoid", "linear")[(j + k) % 3],
                loss="softmax_cross_entropy" if loss == "soft" else loss,
                soft=loss == "soft",
                optimizer=optimizer,
                keep=0.8 if j % 2 else 1.0,
                l1=1e-3 * (j % 2),
                l2=1e-3 * (k % 2),
                seed=j,
            )

    for k, activation in enumerate(("tanh", "leaky_relu")):
        for j, widths in enumerate(SHAPES[:2]):
            yield Network(widths, activation=activation, keep=(1.0, 0.8)[j], seed=k)


def digest(values):
    found = hashlib.sha256()
    for value in values:
        found.update(np.ascontiguousarray(value).tobytes())
    return found.hexdigest()[:16]


def fused_run(network, dtype, n):
    """Steps at once, one by one and in blocks."""
    model = network.model(backend_of(dtype))
    X, y = network.data(model, n)
    engine = fused.engine(model)
    found = [*engine.run(X, y, 5), engine.step(X, y)]
    engine.accumulate(X[: n // 3], y[: n // 3], n)
    engine.accumulate(X[n // 3 :], y[n // 3 :], n)
    found.append(engine.finish())
    return digest(found + parameters(model) + gradients(model) + list(state(model).values()))


def layers_run(network, dtype, n):
    """Steps layer by layer: on this machine alone, as BLAS multiplies."""
    model = network.model(backend_of(dtype))
    X, y = network.data(model, n)
    engine = LayerSteps(model)
    found = [engine.step(X, y) for _ in range(3)]
    return digest(found + parameters(model) + list(state(model).values()))


def main(first):
    runs = [
        (f"{kind} {dtype} {network}", run, network, dtype, n)
        for kind, run, n in (("fused", fused_run, 300), ("layers", layers_run, 70))
        for dtype in DTYPES
        for network in networks()
    ]
    if first == "layers":
        runs.reverse()
    print(json.dumps({name: run(*given) for name, run, *given in runs}))


if __name__ == "__main__":
    main(sys.argv[1])
