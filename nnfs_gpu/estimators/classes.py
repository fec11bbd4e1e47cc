"""Estimators for scikit-learn: a network of this package behind `fit`, `predict` and `score`.

    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    classifier = make_pipeline(StandardScaler(), NNFSClassifier((64, 64), random_state=0))
    classifier.fit(X, y).predict_proba(X)

Both keep scikit-learn's contract (its `check_estimator` passes; see FLOAT32_CHECKS for the one
reservation), so that pipelines, searches, cross-validation, cloning and pickling work. This
module needs scikit-learn 1.6 or newer: pip install "nnfs-gpu[sklearn]".

Settings of both, with the names of `sklearn.neural_network.MLPClassifier` where it has them:
    hidden               widths of the hidden layers; () gives a linear model
    activation           of the hidden layers: "relu", "leaky_relu", "sigmoid" or "tanh"
    dropout              share of every hidden layer's outputs to zero in training, in [0, 1)
    l1, l2               factors of the penalty on the weights of all layers (not the biases)
    optimizer            "adam", "adamw", "sgd", "rmsprop", "adagrad", or what makes an optimizer
                         when called: functools.partial(Optimizer_SGD, momentum=0.9)
    learning_rate, decay given to the optimizer; None: its own default
    epochs, batch_size   passes over the data; samples a step (None: all)
    shuffle              take the samples in another order in every epoch
    early_stopping       set `validation_fraction` of the samples aside (of a classifier's
                         classes alike), stop when the score on them has not risen by more than
                         `tol` for `n_iter_no_change` epochs, keep the best weights. A
                         classifier's score is its accuracy, a regressor's the negative loss.
                         Without early stopping all epochs are run, whatever the loss does
    warm_start           fit goes on with the network and the optimizer of the last fit
    backend, dtype       where and in which precision to compute: a name, "float32"/"float64";
                         backend None is the default of `nnfs_gpu.use_backend`
    random_state         an int repeats a fit bit by bit on the same machine; None draws a seed
                         from NumPy's global stream, as everywhere in scikit-learn
    verbose              print the book's lines, every 100 steps

After fit: model_ (the network, an `nnfs_gpu.Model`), n_features_in_, feature_names_in_ (where
X has any), n_iter_ (epochs), loss_curve_ (training loss of each), history_ (a dict of such
curves), coefs_, intercepts_.

What differs from a `Model` built by hand:
* Weights start as randn * sqrt(2 / I) before a ReLU (He et al. 2015, "Delving deep into
  rectifiers", eq. 10), else randn * sqrt(1 / I) (LeCun et al. 1998, "Efficient BackProp",
  eq. 16), and not as the book's 0.01 * randn, with which deep networks hardly start.
* Two classes are two softmax outputs, like any other number of classes. (One sigmoid output
  would compute the same, from the difference of the two scores.) A single class is allowed.
* The targets of a regression are standardized, column by column, before training, and
  predictions scaled back: a network that starts near 0 would need thousands of steps to get
  to the price of a house. Losses are those of the standardized targets. Features are taken as
  they are: put a StandardScaler before, as above.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..accuracy import Accuracy_Categorical, Accuracy_Regression
from ..activations import Activation_Linear, Activation_Softmax
from ..losses import Loss_CategoricalCrossentropy, Loss_MeanAbsoluteError, Loss_MeanSquaredError
from .base import EstimatorBase
from .build import choice

# After estimator_base, which says what to install where scikit-learn is missing.
# isort: split
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils import check_array
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data

Array = Any

# Checks that float64 passes and float32 need not: pass these as `expected_failed_checks`. They
# want a row's prediction to 1e-7, whatever other rows are predicted with it, which is below what
# float32 resolves: BLAS adds in another order where a row stands elsewhere in a product.
FLOAT32_CHECKS = dict.fromkeys(
    ("check_methods_subset_invariance", "check_methods_sample_order_invariance"),
    "float32 rounding: products of another shape differ in the last bits",
)

LOSSES = {"squared_error": Loss_MeanSquaredError, "absolute_error": Loss_MeanAbsoluteError}


class NNFSClassifier(ClassifierMixin, EstimatorBase):
    """A network with a softmax output, trained on categorical cross-entropy.

    y is (N,): numbers or strings, any number of classes. Settings: see the module. After fit
    also classes_, the sorted labels. A warm start knows the classes of the first fit only.
    """

    _monitor = "val_accuracy"

    def _validated(self, X: Any, y: Any, dtype: np.dtype, reset: bool) -> tuple[Array, Array]:
        X, y = validate_data(self, X, y, dtype=dtype, reset=reset)
        check_classification_targets(y)
        return X, y

    def _targets(self, y: Array, again: bool) -> tuple[Array, int, dict[str, Any]]:
        classes = self.classes_ if again else np.unique(y)
        unknown = np.setdiff1d(y, classes)
        if unknown.size:
            raise ValueError(
                f"warm_start: got the new class(es) {unknown.tolist()[:8]}, expected only "
                f"{classes.tolist()[:8]}, those of the first fit"
            )
        return np.searchsorted(classes, y), len(classes), {"classes_": classes}

    def _ends(self) -> tuple[Any, Any, Any]:
        return Activation_Softmax(), Loss_CategoricalCrossentropy(), Accuracy_Categorical()

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities (N, classes), in the order of classes_ and in the network's dtype."""
        return self._outputs(X)

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Logarithms of `predict_proba`; -inf where a probability is 0."""
        with np.errstate(divide="ignore"):
            logarithms: np.ndarray = np.log(self._outputs(X))
        return logarithms

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class of each row, (N,)."""
        outputs = self._outputs(X)
        found: np.ndarray = self.classes_[np.argmax(outputs, axis=1)]
        return found


class NNFSRegressor(RegressorMixin, EstimatorBase):
    """A network with a linear output, trained on squared or absolute error.

    loss  "squared_error", or "absolute_error": outliers weigh less
    y is (N,) or (N, targets). Other settings: see the module. After fit also y_mean_ and
    y_scale_ (targets,): predictions are model_'s outputs * y_scale_ + y_mean_, in float64.
    A warm start keeps them.
    """

    _monitor = "val_loss"

    def __init__(
        self,
        hidden: Any = (64,),
        *,
        loss: str = "squared_error",
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
        super().__init__(
            hidden,
            activation=activation,
            dropout=dropout,
            l1=l1,
            l2=l2,
            optimizer=optimizer,
            learning_rate=learning_rate,
            decay=decay,
            epochs=epochs,
            batch_size=batch_size,
            shuffle=shuffle,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change,
            tol=tol,
            warm_start=warm_start,
            backend=backend,
            dtype=dtype,
            random_state=random_state,
            verbose=verbose,
        )
        self.loss = loss

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _validated(self, X: Any, y: Any, dtype: np.dtype, reset: bool) -> tuple[Array, Array]:
        X, y = validate_data(
            self, X, y, dtype=dtype, reset=reset, multi_output=True, y_numeric=True
        )
        return X, check_array(y, dtype=np.float64, ensure_2d=False, input_name="y")

    def _targets(self, y: Array, again: bool) -> tuple[Array, int, dict[str, Any]]:
        columns = y.reshape(len(y), -1)
        if again:
            mean, scale = self.y_mean_, self.y_scale_
        else:
            with np.errstate(over="ignore", invalid="ignore"):  # refused below
                mean, scale = columns.mean(axis=0), columns.std(axis=0)
            if not np.isfinite(scale).all():
                raise ValueError("y: got targets whose spread overflows float64; scale them down")
            # What is left of equal targets after rounding is no spread.
            scale[scale <= 1e-12 * np.abs(mean)] = 1
        learned = {"y_mean_": mean, "y_scale_": scale, "_flat": y.ndim == 1}
        outputs = columns.shape[1]
        if outputs == len(mean):  # else refused by the check for a warm start
            columns = (columns - mean) / scale
        return columns, outputs, learned

    def _ends(self) -> tuple[Any, Any, Any]:
        loss = choice(self.loss, LOSSES, "loss")
        return Activation_Linear(), loss(), Accuracy_Regression()

    def predict(self, X: Any) -> np.ndarray:
        """Predicted targets, float64, (N,) or (N, targets) as y was in fit."""
        values: np.ndarray = self._outputs(X) * self.y_scale_ + self.y_mean_
        return values[:, 0] if self._flat else values
