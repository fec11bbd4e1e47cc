"""Compile what runs on this machine will need, before they need it: for images and for CI.

Kernels are compiled when they are first called and then kept on disk. `warm_up` calls them: every
operation of a backend once, by the table of the cross-check, and a step of small networks that
have between them every loss, optimizer and activation of the fused engines.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from .. import fused
from ..accuracy import Accuracy_Categorical
from ..activations import Activation_ReLU, Activation_Softmax
from ..backend import Backend, get_backend, use_backend
from ..fused import vocabulary
from ..fused.plan import MOST_PRODUCTS
from ..layers import Layer_Dense, Layer_Dropout
from ..losses import Loss_CategoricalCrossentropy
from ..model import Model
from ..optimizers import Optimizer_Adam
from ..training import divergence
from .operations import OPERATIONS

Done = tuple[str, str, float]  # dtype, what was compiled or loaded, and the seconds that it took

SAMPLES = 4
CLASSES = Loss_CategoricalCrossentropy, Activation_Softmax, Accuracy_Categorical


def warm_up(backend: str, dtypes: tuple[str, ...]) -> Iterator[Done]:
    """Do it, part by part. Raises what `get_backend` raises for a backend that does not work."""
    for dtype in dtypes:
        made = get_backend(backend, dtype=dtype, precise_dot=False, book_random=False)
        parts: dict[str, Callable[[Any], None]] = {"operations": _operations}
        if made.name in fused.ENGINES:
            parts |= {"fused step": _deep, "fused step of one narrow layer": _narrow}
        for name, part in parts.items():
            begin = time.perf_counter()
            with np.errstate(all="ignore"), divergence.reported_by_caller(), use_backend(made):
                part(made)
                made.synchronize()
            yield dtype, name, time.perf_counter() - begin


def _operations(backend: Backend) -> None:
    for line in OPERATIONS:
        line.run(backend, line.arguments(backend.dtype, SAMPLES, 3))


def _deep(_: Any) -> None:
    """Losses, optimizers, hidden activations, dropout: each in one network at least."""
    hidden: list[Callable[[], Any]] = [known.make for known in vocabulary.ACTIVATIONS.values()]
    ends = [
        (known.make, known.output, partial(vocabulary.accuracy_for, name))
        for name, known in vocabulary.LOSSES.items()
    ]
    rules = [
        known.make(**({known.when: 0.9} if known.when else {}))
        for known in vocabulary.OPTIMIZERS.values()
    ]
    for number in range(max(len(hidden), len(ends), len(rules))):
        between = [hidden[number % len(hidden)](), Layer_Dropout(0.5, seed=0)]
        layers = [Layer_Dense(2, 5), *between, Layer_Dense(5, 3)]
        _step(layers, *ends[number % len(ends)], rules[number % len(rules)])
    soft = np.full((SAMPLES, 3), 1 / 3)
    _step([Layer_Dense(2, 5), hidden[-1](), Layer_Dense(5, 3)], *CLASSES, Optimizer_Adam(), soft)


def _narrow(_: Any) -> None:
    """One hidden layer: there is a function for each number of inputs and of outputs."""
    for inputs in range(1, MOST_PRODUCTS):
        for classes in range(2, MOST_PRODUCTS // (inputs + 1) + 2):
            layers = [Layer_Dense(inputs, 4), Activation_ReLU(), Layer_Dense(4, classes)]
            _step(layers, *CLASSES, Optimizer_Adam())


def _step(
    layers: list[Any], loss: Any, output: Any, accuracy: Any, optimizer: Any, y: Any = None
) -> None:
    """Fused steps of the network over a few samples, in an order: that is a kernel, too."""
    model = Model()
    for layer in (*layers, output()):
        model.add(layer)
    model.set(loss=loss(), optimizer=optimizer, accuracy=accuracy())
    model.finalize()
    rng = np.random.default_rng(0)
    if y is None:
        classes = layers[-1].n_neurons
        y = rng.integers(0, 2, (SAMPLES, classes)).astype(float)
        if output is Activation_Softmax:
            y = np.arange(SAMPLES) % classes
    X = rng.standard_normal((SAMPLES, layers[0].n_inputs))
    model.train(X, y, batch_size=SAMPLES // 2, shuffle=True, print_every=None, engine="fused")
