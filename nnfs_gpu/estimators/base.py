"""What NNFSClassifier and NNFSRegressor share: settings, training, prediction, pickling.

scikit-learn's contract, in short: the constructor stores its arguments as they are; `fit`
checks them, learns, and sets attributes whose names end in "_"; random numbers come from
`random_state` alone. See `nnfs_gpu.estimators` for the two classes and their settings.
"""

from __future__ import annotations

import logging
from typing import Any, Self

import numpy as np

try:
    from sklearn.base import BaseEstimator
    from sklearn.model_selection import train_test_split
    from sklearn.utils import check_random_state
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    raise ImportError(
        "NNFSClassifier and NNFSRegressor need scikit-learn 1.6 or newer: pip install "
        '"nnfs-gpu[sklearn]"'
    ) from error

from .. import checks
from ..backend import Backend, BackendUnavailableError, remedies
from ..model import Model
from ..training import divergence
from ..training.early_stopping import EarlyStopping
from .build import backend_for, build, from_bytes, predict, to_bytes

Array = Any
logger = logging.getLogger("nnfs_gpu")

# What makes the network and its optimizer: must stay as it was for a warm start.
NETWORK = (
    *("hidden", "activation", "dropout", "l1", "l2", "loss", "optimizer", "learning_rate"),
    *("decay", "backend", "dtype"),
)


def check_split(samples: int, share: float, classes: Array | None) -> None:
    """ValueError where `share` of the samples cannot be set aside with some of each class.

    classes  those of the samples, in whole numbers; None for a regression
    """
    fewest = 1  # on both sides of the split
    if classes is not None:
        _, counts = np.unique(classes, return_counts=True)
        fewest = len(counts)
        if counts.min() < 2:
            raise ValueError(
                f"validation_fraction: got a class of {counts.min()} sample, expected at least 2, "
                "to train on and to validate on; leave such classes out, or do without: "
                "early_stopping=False"
            )
    aside = int(np.ceil(share * samples))
    if fewest <= aside <= samples - fewest:
        return
    remedy = "give more samples"
    if 2 * fewest <= samples:
        count = min(max(aside, fewest), samples - fewest)
        rounded = round(count / samples, 3)
        exact = np.ceil(rounded * samples) == count
        remedy = f"use validation_fraction={rounded if exact else (count - 0.25) / samples:.6g}"
    least = "one of each class" if classes is not None else "one"
    raise ValueError(
        f"validation_fraction: got {share:g} of {samples} sample(s), {aside} to validate on and "
        f"{samples - aside} to train on, expected at least {least} for both; {remedy}, or do "
        "without: early_stopping=False"
    )


def not_masked(**given: Any) -> None:
    """TypeError for a masked array, whose mask scikit-learn would drop without a word."""
    for name, values in given.items():
        if isinstance(values, np.ma.MaskedArray):
            raise TypeError(remedies.masked(values, name))


class EstimatorBase(BaseEstimator):
    """Settings, training, prediction, pickling; see `nnfs_gpu.estimators` for the settings."""

    _monitor: str  # what early stopping looks at
    model_: Model

    def __init__(
        self,
        hidden: Any = (64,),
        *,
        activation: str = "relu",
        dropout: float = 0.0,
        l1: float = 0.0,
        l2: float = 0.0,
        optimizer: Any = "adam",
        learning_rate: float | None = None,
        decay: float | None = None,
        epochs: int = 200,
        batch_size: int | None = 32,
        shuffle: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        tol: float = 1e-4,
        warm_start: bool = False,
        backend: str | None = None,
        dtype: Any = "float32",
        random_state: Any = None,
        verbose: bool = False,
    ):
        self.hidden = hidden
        self.activation = activation
        self.dropout = dropout
        self.l1 = l1
        self.l2 = l2
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.decay = decay
        self.epochs = epochs
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.warm_start = warm_start
        self.backend = backend
        self.dtype = dtype
        self.random_state = random_state
        self.verbose = verbose

    # ---- fit ----
    def fit(self, X: Any, y: Any) -> Self:
        """Train on X (N, features) and targets y; returns self.

        Raises ValueError or TypeError for settings or data that cannot be used, and ValueError
        where training diverges.
        """
        rng = check_random_state(self.random_state)
        init_seed, split_seed, shuffle_seed = (int(s) for s in rng.randint(2**31 - 1, size=3))
        again = bool(self.warm_start) and hasattr(self, "model_")
        settings, backend = self._network_settings(), backend_for(self.backend, self.dtype)
        callbacks = self._callbacks()
        not_masked(X=X, y=y)
        X, y = self._validated(X, y, backend.dtype, reset=not again)
        targets, outputs, learned = self._targets(y, again)
        if again:
            self._check_same_network(settings, outputs)
            model = self.model_
        else:
            widths = (X.shape[1], *settings["hidden"], outputs)
            model = build(backend, widths, init_seed, self._ends, settings)
        held_out = None
        if self.early_stopping:
            X, targets, held_out = self._split(X, targets, split_seed)
        curves = self._train(model, X, targets, held_out, callbacks, shuffle_seed)
        for name, value in learned.items():
            setattr(self, name, value)
        self.model_, self._network = model, settings
        self.history_, self.loss_curve_ = curves, curves["loss"]
        self.n_iter_ = len(self.loss_curve_)
        return self

    def _validated(self, X: Any, y: Any, dtype: np.dtype, reset: bool) -> tuple[Array, Array]:
        """Data in `dtype` and targets, checked by scikit-learn."""
        raise NotImplementedError

    def _targets(self, y: Array, again: bool) -> tuple[Array, int, dict[str, Any]]:
        """Targets for the network, its number of outputs, and attributes that fit sets."""
        raise NotImplementedError

    def _ends(self) -> tuple[Any, Any, Any]:
        """Output activation, loss and accuracy, new ones."""
        raise NotImplementedError

    # ---- what fit is made of ----
    def _network_settings(self) -> dict[str, Any]:
        """The settings that make the network; `hidden` as a tuple of widths."""
        settings = {name: getattr(self, name) for name in NETWORK if hasattr(self, name)}
        hidden = settings["hidden"]
        hidden = (hidden,) if isinstance(hidden, (int, np.integer)) else hidden
        if isinstance(hidden, str) or not hasattr(hidden, "__len__"):
            raise TypeError(f"hidden: got {hidden!r}, expected a tuple of layer widths")
        return settings | {"hidden": tuple(checks.positive_int(n, "hidden") for n in hidden)}

    def _check_same_network(self, settings: dict[str, Any], outputs: int) -> None:
        changed = [name for name, value in settings.items() if value != self._network[name]]
        if changed:
            raise ValueError(
                f"warm_start: {', '.join(changed)} changed since the last fit, but the same "
                "network is to go on; put it back, or fit with warm_start=False"
            )
        had = self.model_.get_parameters()[-1][0].shape[1]
        if outputs != had:
            raise ValueError(f"warm_start: got {outputs} target(s) a sample, expected {had}")

    def _callbacks(self) -> list[Any]:
        patience = checks.positive_int(self.n_iter_no_change, "n_iter_no_change")
        tol = checks.not_negative(self.tol, "tol")
        stop = EarlyStopping(self._monitor, patience, min_delta=tol, restore_best=True)
        return [stop] if self.early_stopping else []

    def _split(self, X: Array, targets: Array, seed: int) -> tuple[Array, Array, Any]:
        """Data to train on, and (X, targets) to validate on."""
        share = checks.fraction(self.validation_fraction, "validation_fraction")
        if share == 0:
            raise ValueError("validation_fraction: got 0, expected a number above 0 and below 1")
        stratify = targets if targets.ndim == 1 else None
        check_split(len(targets), share, stratify)
        X, X_val, targets, val = train_test_split(
            X, targets, test_size=share, random_state=seed, stratify=stratify
        )
        return X, targets, (X_val, val)

    def _train(
        self, model: Model, X: Array, targets: Array, held_out: Any, callbacks: Any, seed: int
    ) -> dict[str, np.ndarray]:
        """Train `model`; returns what was measured, one number an epoch."""
        with divergence.reported_by_caller():  # below
            history = model.train(
                X,
                targets,
                epochs=self.epochs,
                batch_size=self.batch_size,
                print_every=100 if self.verbose else None,
                validation_data=held_out,
                callbacks=callbacks,
                shuffle=bool(self.shuffle),
                seed=seed,
            )
        curves = {name: np.array(values) for name, values in history.history.items()}
        finite = np.isfinite(curves["loss"])
        if not finite.all() or not divergence.finite_parameters(model):
            what = "the loss of" if not finite.all() else "a weight after"
            epoch = np.argmin(finite) + 1 if not finite.all() else len(finite)
            raise ValueError(
                f"training diverged: {what} epoch {epoch} is not finite; "
                "take a lower learning_rate, or scale the features (StandardScaler)"
            )
        return curves

    # ---- using ----
    def _outputs(self, X: Any) -> np.ndarray:
        """Outputs of the network for X, in its dtype."""
        check_is_fitted(self, "model_")
        not_masked(X=X)
        X = validate_data(self, X, dtype=self.model_.backend.dtype, reset=False)
        return predict(self.model_, X)

    @property
    def coefs_(self) -> list[np.ndarray]:
        """Weights (I, O) of the dense layers."""
        return [self.model_.backend.to_numpy(w).copy() for w, _ in self.model_.get_parameters()]

    @property
    def intercepts_(self) -> list[np.ndarray]:
        """Biases (O,) of the dense layers."""
        to_numpy = self.model_.backend.to_numpy
        return [to_numpy(b).ravel().copy() for _, b in self.model_.get_parameters()]

    # ---- pickling: the network goes as the bytes of a model file ----
    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        if "model_" in state:
            state["model_"] = to_bytes(state["model_"])
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "model_" in state:
            self.model_ = from_bytes(state["model_"], self._usable_backend())

    def _usable_backend(self) -> Backend:
        """The backend that was asked for, or what this machine has instead of it."""
        try:
            return backend_for(self.backend, self.dtype)
        except BackendUnavailableError as error:
            logger.warning("%s; the fitted network goes to the default backend", error)
            return backend_for(None, self.dtype)
