"""The network inside an estimator: built from one seed, queried, and turned into bytes and back.

Nothing here needs scikit-learn. Layers take the default backend and draw from NumPy's global
stream when they are constructed, and keep their last output; estimators may be used in several
threads. So one lock guards all of it, and the default and the stream are put back: nothing
of this is seen outside.
"""

from __future__ import annotations

import inspect
import tempfile
import threading
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from .. import checks
from ..backend import Backend, get_backend, use_backend
from ..fused import vocabulary
from ..layers import Layer_Dense, Layer_Dropout
from ..model import Model

Array = Any

# What can be chosen by name: an activation, by scikit-learn's names, too; of an optimizer, the rule
# that its class has without further settings.
ACTIVATIONS = {
    **{name: one for name, one in vocabulary.ACTIVATIONS.items() if name != "linear"},
    "logistic": vocabulary.ACTIVATIONS["sigmoid"],
    "identity": vocabulary.ACTIVATIONS["linear"],
}
OPTIMIZERS = {name: one.make for name, one in vocabulary.OPTIMIZERS.items() if one.when is None}
RULE_SETTINGS = ("momentum", "beta_1", "beta_2", "epsilon")  # given to the rules that have them
PREDICT_ROWS = 4096  # rows predicted at once: bounds the memory that activations take

_lock = threading.RLock()


def choice(value: Any, choices: dict[str, Any], name: str) -> Any:
    """What `choices` has for `value`. Raises ValueError with the names for any other."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name}: got {value!r}, expected one of {', '.join(choices)}")
    return choices[value]


def backend_for(name: Any, dtype: Any) -> Backend:
    """The backend called `name` (None: the default one's name) in `dtype`.

    With settings that `nnfs_gpu.init()` does not change: a fit depends on its estimator alone.
    Raises TypeError for what is no name, else as `get_backend`.
    """
    if name is not None and not isinstance(name, str):
        raise TypeError(f"backend: got {name!r}, expected a name or None")
    with _lock:  # while another thread builds, its backend is the default
        name = name or get_backend().name
        return get_backend(name, dtype=dtype, precise_dot=False, book_random=False)


def build(
    backend: Backend, widths: Sequence[int], seed: int, end: str, settings: dict[str, Any]
) -> Model:
    """The finalized network with its first weights, all random numbers from `seed`.

    widths    (inputs, hidden ..., outputs), at least two
    end       the loss by its name in the vocabulary, which has an output activation and an accuracy
    settings  activation, dropout, solver, learning_rate_init, decay, momentum, beta_1, beta_2,
              epsilon of an estimator
    Raises ValueError or TypeError for a setting that cannot be used.
    """
    activation = choice(settings["activation"], ACTIVATIONS, "activation")
    rate = checks.fraction(settings["dropout"], "dropout")
    rng = np.random.RandomState(seed)

    def dense(n: int, m: int, gain: float) -> Layer_Dense:
        layer = Layer_Dense(n, m)
        layer.weights = (rng.randn(n, m) * np.sqrt(gain / n)).astype(backend.dtype)
        return layer

    with _lock, use_backend(backend):
        state = np.random.get_state()  # layers draw weights, replaced above: leave no trace
        try:
            model = Model()
            for n, m in pairwise(widths[:-1]):
                model.add(dense(n, m, activation.gain))
                model.add(activation.make())
                if rate:
                    model.add(Layer_Dropout(rate, seed=int(rng.randint(2**31 - 1))))
            model.add(dense(widths[-2], widths[-1], 1.0))
            known = vocabulary.LOSSES[end]
            model.add(known.output())
            accuracy = vocabulary.accuracy_for(end)
            model.set(loss=known.make(), optimizer=_optimizer(settings), accuracy=accuracy)
            model.finalize()
        finally:
            np.random.set_state(state)
    return model


def set_penalties(model: Model, settings: dict[str, Any], samples: float) -> None:
    """The factors of the penalties on weights, for steps over so many samples.

    Raises ValueError for a setting that cannot be used.
    """
    l1, alpha = (checks.not_negative(settings[name], name) for name in ("l1", "alpha"))
    l2 = settings["l2"]
    l2 = alpha / (2 * samples) if l2 is None else checks.not_negative(l2, "l2")
    for layer in model.trainable_layers:
        layer.weight_regularizer_l1, layer.weight_regularizer_l2 = l1, l2


def _optimizer(settings: dict[str, Any]) -> Any:
    make = settings["solver"]
    given = {"learning_rate": settings["learning_rate_init"], "decay": settings["decay"]}
    given = {name: value for name, value in given.items() if value is not None}
    if not callable(make):
        make = choice(make, OPTIMIZERS, "solver")
        given |= {name: settings[name] for name in RULE_SETTINGS}
    taken = inspect.signature(make).parameters.values()
    if not any(one.kind is one.VAR_KEYWORD for one in taken):
        names = {one.name for one in taken}
        given = {name: value for name, value in given.items() if name in names}
    made = make(**given)
    if isinstance(made, type) or not hasattr(made, "update_params"):
        raise TypeError(f"solver: {make!r} made {made!r}, expected an optimizer object")
    return made


def predict(model: Model, X: np.ndarray) -> np.ndarray:
    """Outputs of the last layer for X (N, inputs), on the host."""
    with _lock:
        return model.backend.to_numpy(model.predict(X, batch_size=PREDICT_ROWS))


def to_bytes(model: Model) -> bytes:
    """The content of the model's file, which holds its training state, too.

    Raises TypeError for an optimizer of a class that a file cannot name.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "model")
        model.save(file)
        return file.read_bytes()


def from_bytes(data: bytes, backend: Backend) -> Model:
    """The model that `to_bytes` got, on `backend`, in the dtype that it had."""
    with tempfile.TemporaryDirectory() as folder, _lock, use_backend(backend):
        file = Path(folder, "model")
        file.write_bytes(data)
        return Model.load(file)
