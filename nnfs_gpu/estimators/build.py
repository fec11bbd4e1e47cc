"""The network inside an estimator: built from one seed, queried, and turned into bytes and back.

Nothing here needs scikit-learn. Layers take the default backend and draw from NumPy's global
stream when they are constructed, and keep their last output; estimators may be used in several
threads. So one lock guards all of it, and the default and the stream are put back: nothing
of this is seen outside.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Sequence
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
Ends = Callable[[], tuple[Any, Any, Any]]  # makes output activation, loss and accuracy

# What can be chosen by name: of an activation between layers, one that is no identity; of an
# optimizer, the rule that its class has without further settings.
ACTIVATIONS = {name: one for name, one in vocabulary.ACTIVATIONS.items() if name != "linear"}
OPTIMIZERS = {name: one.make for name, one in vocabulary.OPTIMIZERS.items() if one.when is None}
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
    backend: Backend, widths: Sequence[int], seed: int, ends: Ends, settings: dict[str, Any]
) -> Model:
    """The finalized network with its first weights, all random numbers from `seed`.

    widths    (inputs, hidden ..., outputs), at least two
    settings  activation, dropout, l1, l2, optimizer, learning_rate, decay of an estimator
    Raises ValueError or TypeError for a setting that cannot be used.
    """
    activation = choice(settings["activation"], ACTIVATIONS, "activation")
    rate = checks.fraction(settings["dropout"], "dropout")
    factors = {
        "weight_regularizer_l1": checks.not_negative(settings["l1"], "l1"),
        "weight_regularizer_l2": checks.not_negative(settings["l2"], "l2"),
    }
    rng = np.random.RandomState(seed)

    def dense(n: int, m: int, gain: float) -> Layer_Dense:
        layer = Layer_Dense(n, m, **factors)
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
            output, loss, accuracy = ends()
            model.add(output)
            model.set(loss=loss, optimizer=_optimizer(settings), accuracy=accuracy)
            model.finalize()
        finally:
            np.random.set_state(state)
    return model


def _optimizer(settings: dict[str, Any]) -> Any:
    make = settings["optimizer"]
    if not callable(make):
        make = choice(make, OPTIMIZERS, "optimizer")
    given = {name: settings[name] for name in ("learning_rate", "decay")}
    made = make(**{name: value for name, value in given.items() if value is not None})
    if isinstance(made, type) or not hasattr(made, "update_params"):
        raise TypeError(f"optimizer: {make!r} made {made!r}, expected an optimizer object")
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
