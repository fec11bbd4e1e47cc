"""What NNFSClassifier and NNFSRegressor share: training, prediction, pickling.

scikit-learn's contract, in short: the constructor stores its arguments as they are; `fit`
checks them, learns, and sets attributes whose names end in "_"; random numbers come from
`random_state` alone. See `classes.py` for the two classes and `settings.py` for their settings.
"""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

try:
    from sklearn.base import BaseEstimator
    from sklearn.exceptions import ConvergenceWarning
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
from .build import backend_for, build, from_bytes, predict, set_penalties, to_bytes
from .schedule import go_on_with, inverse_scaling, one_epoch, stopping
from .settings import NETWORK, Settings, settings_of, steps_of
from .split import check_split
from .weights import weights_of

Array = Any
logger = logging.getLogger("nnfs_gpu")

# scikit-learn's words for what the network ends with, by the name of its loss.
OUT_ACTIVATIONS = {"softmax_cross_entropy": "softmax", "binary_cross_entropy": "logistic"}


@dataclass(frozen=True)
class Call:
    """What was asked for.

    what      "warm_start", or "partial_fit" for one epoch: what goes on with a network
    again     whether it does: with that of the last fit
    settings  as `settings_of` gives them
    classes   all that will come, where they are known before
    weights   what each sample counts, (N,) float64; None: all alike
    """

    what: str
    again: bool
    settings: dict[str, Any]
    classes: Any
    weights: Array


@dataclass(frozen=True)
class Task:
    """What a fit is to learn, as the network gets it.

    targets  class numbers (N,), or (N, outputs)
    outputs  of the network
    end      its loss, by the name in the vocabulary
    learned  attributes that fit sets
    """

    targets: Array
    outputs: int
    end: str
    learned: dict[str, Any]


def not_masked(**given: Any) -> None:
    """TypeError for a masked array, whose mask scikit-learn would drop without a word."""
    for name, values in given.items():
        if isinstance(values, np.ma.MaskedArray):
            raise TypeError(remedies.masked(values, name))


def samples_of_step(settings: dict[str, Any], data: tuple[Array, ...]) -> float:
    """How many samples count in a step, by their weights: those of `data`, if it has any."""
    X, _, *weights = data
    return steps_of(settings, len(X)) * (float(weights[0].mean()) if weights else 1.0)


class EstimatorBase(BaseEstimator, Settings):
    """Training, prediction, pickling.

    Attributes
    ----------
    model_ : Model
        The network.
    n_iter_, t_ : int
        Epochs of the last fit; samples seen by all fits that went on from one another.
    loss_curve_, loss_, best_loss_ : list of float, float, float
        Training loss of each epoch, the last, and the best, with early stopping None.
    validation_scores_, best_validation_score_ : list of float, float
        Of early stopping, else None.
    history_ : dict of str to array
        All curves.
    n_layers_, n_outputs_, out_activation_ : int, int, str
        Of the network, in scikit-learn's words.
    n_features_in_, feature_names_in_ : int, array of str
        Of X, which need not have names.
    """

    _score_curve: str  # what early stopping looks at
    model_: Model
    t_: int
    history_: dict[str, np.ndarray]

    # ---- fit ----
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train a network on X and y.

        Parameters
        ----------
        X : array or table of shape (N, features)
            Data.
        y : array of shape (N,) or (N, outputs)
            Their classes or labels, or their targets.
        sample_weight : array of shape (N,), optional
            What each sample counts: a whole number as much as so many copies of it in its batch.

        Returns
        -------
        estimator
            Itself.

        Raises
        ------
        ValueError, TypeError
            For settings or data that cannot be used, and where training diverges.

        Warns
        -----
        ConvergenceWarning
            Where max_iter ends training before n_iter_no_change and tol do.
        FutureWarning
            For settings by their old names.
        """
        return self._fit(X, y, sample_weight, "warm_start", bool(self.warm_start))

    def _fit(
        self, X: Any, y: Any, sample_weight: Any, what: str, go_on: bool, classes: Any = None
    ) -> Self:
        """Train a network: where there is one and it is to `go_on`, that, else a new one.

        Other arguments as in `Call`.
        """
        rng = check_random_state(self.random_state)
        init_seed, split_seed, shuffle_seed = (int(s) for s in rng.randint(2**31 - 1, size=3))
        again, settings = go_on and hasattr(self, "model_"), settings_of(self)
        if what == "partial_fit":
            one_epoch(settings)
        backend = backend_for(settings["backend"], settings["dtype"])
        not_masked(X=X, y=y, sample_weight=sample_weight)
        X, y = self._validated(X, y, backend.dtype, reset=not again)
        weights = weights_of(settings.get("class_weight"), sample_weight, X, y, what)
        task = self._task(y, Call(what, again, settings, classes, weights))
        network = {name: settings[name] for name in NETWORK if name in settings}
        if again:
            self._check_same_network(network, task, what)
            model, seen, curves = self.model_, self.t_, self.history_
            go_on_with(model.optimizer, settings)
        else:
            widths = (X.shape[1], *settings["hidden_layer_sizes"], task.outputs)
            model = build(backend, widths, init_seed, task.end, settings)
            seen, curves = 0, {}
        data, held_out = self._set_aside(X, task.targets, weights, settings, split_seed)
        set_penalties(model, settings, samples_of_step(settings, data))
        # An order of its own in every epoch of all fits that go on from one another.
        shuffle_seed += len(curves.get("loss", ()))
        found, converged = self._train(model, data, held_out, settings, seen, shuffle_seed)
        for name, value in task.learned.items():
            setattr(self, name, value)
        self.model_, self._network = model, network
        self.n_iter_ = len(found["loss"])
        self.t_ = seen + self.n_iter_ * len(data[0])
        self.history_ = {name: np.append(curves.get(name, []), found[name]) for name in found}
        self.n_outputs_, self.n_layers_ = task.outputs, len(network["hidden_layer_sizes"]) + 2
        self.out_activation_ = OUT_ACTIVATIONS.get(task.end, "identity")
        self._set_curves(settings["early_stopping"])
        if not converged:
            warnings.warn(
                f"max_iter: {self.n_iter_} epochs were not enough to converge; give more, a larger "
                "tol, or n_iter_no_change=float('inf') where so many are wanted",
                ConvergenceWarning,
                stacklevel=3,
            )
        return self

    def _validated(self, X: Any, y: Any, dtype: np.dtype, reset: bool) -> tuple[Array, Array]:
        """Data in `dtype` and targets, checked by scikit-learn."""
        raise NotImplementedError

    def _task(self, y: Array, call: Call) -> Task:
        """What is to be learned."""
        raise NotImplementedError

    def _set_curves(self, early_stopping: bool) -> None:
        """The curves under scikit-learn's names."""
        self.loss_curve_ = self.history_["loss"].tolist()
        self.loss_ = self.loss_curve_[-1]
        self.best_loss_ = self.validation_scores_ = self.best_validation_score_ = None
        if early_stopping:
            scores = self.history_[self._score_curve]
            scores = scores if self._score_curve.endswith("accuracy") else -scores
            self.validation_scores_ = scores.tolist()
            self.best_validation_score_ = max(self.validation_scores_)
        else:
            self.best_loss_ = min(self.loss_curve_)

    # ---- what fit is made of ----
    def _check_same_network(self, network: dict[str, Any], task: Task, what: str) -> None:
        changed = [name for name, value in network.items() if value != self._network[name]]
        if changed:
            raise ValueError(
                f"{what}: {', '.join(changed)} changed since the last fit, but the same "
                "network is to go on; put it back, or fit with warm_start=False"
            )
        if task.outputs != self.n_outputs_:
            raise ValueError(
                f"{what}: got {task.outputs} target(s) a sample, expected {self.n_outputs_}"
            )

    def _set_aside(
        self, X: Array, targets: Array, weights: Any, settings: dict[str, Any], seed: int
    ) -> tuple[tuple[Array, ...], Any]:
        """X, targets and, where there are any, weights to train on; to validate on, or None."""
        data = (X, targets) if weights is None else (X, targets, weights)
        if not settings["early_stopping"]:
            return data, None
        share = checks.fraction(settings["validation_fraction"], "validation_fraction")
        if share == 0:
            raise ValueError("validation_fraction: got 0, expected a number above 0 and below 1")
        stratify = targets if targets.ndim == 1 else None
        check_split(len(targets), share, stratify)
        parts = train_test_split(*data, test_size=share, random_state=seed, stratify=stratify)
        return tuple(parts[::2]), tuple(parts[1::2])

    def _train(
        self,
        model: Model,
        data: tuple[Array, ...],
        held_out: Any,
        settings: dict[str, Any],
        seen: int,
        seed: int,
    ) -> tuple[dict[str, np.ndarray], bool]:
        """Train `model`; what was measured, one number an epoch, and whether that was enough.

        data, held_out  of `_set_aside`
        """
        X, targets, *weights = data
        stop = stopping(settings, self._score_curve)
        schedule = inverse_scaling(settings, seen)
        with divergence.reported_by_caller():  # below
            history = model.train(
                X,
                targets,
                epochs=settings["max_iter"],
                batch_size=steps_of(settings, len(X)),
                print_every=100 if settings["verbose"] else None,
                validation_data=held_out,
                callbacks=[one for one in (schedule, stop) if one is not None],
                shuffle=bool(settings["shuffle"]),
                seed=seed,
                sample_weight=weights[0] if weights else None,
            )
        curves = {name: np.array(values) for name, values in history.history.items()}
        finite = np.isfinite(curves["loss"])
        if not finite.all() or not divergence.finite_parameters(model):
            what = "the loss of" if not finite.all() else "a weight after"
            epoch = np.argmin(finite) + 1 if not finite.all() else len(finite)
            raise ValueError(
                f"training diverged: {what} epoch {epoch} is not finite; take a lower "
                "learning_rate_init, or scale the features (StandardScaler)"
            )
        unending = stop is not None and stop.patience is not None and stop.stopped_epoch is None
        return curves, not unending

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
