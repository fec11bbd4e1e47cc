"""Estimators for scikit-learn: a network of this package behind `fit`, `predict` and `score`.

    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    classifier = make_pipeline(StandardScaler(), NNFSClassifier((64, 64), random_state=0))
    classifier.fit(X, y).predict_proba(X)

Both keep scikit-learn's contract (its `check_estimator` passes; see FLOAT32_CHECKS for the one
reservation), so that pipelines, searches, cross-validation, cloning and pickling work. This
module needs scikit-learn 1.6 or newer: pip install "nnfs-gpu[sklearn]".

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

from typing import Any, Self

import numpy as np

from .base import Call, EstimatorBase, Task
from .build import choice
from .settings import ClassifierSettings, RegressorSettings, Settings, described

# After estimator_base, which says what to install where scikit-learn is missing.
# isort: split
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils import check_array, column_or_1d
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import validate_data

Array = Any

# Checks that float64 passes and float32 need not: pass these as `expected_failed_checks`. They
# want a row's prediction to 1e-7, whatever other rows are predicted or trained with, which is below
# what float32 resolves: BLAS adds in another order where a row stands elsewhere in a product.
FLOAT32_CHECKS = dict.fromkeys(
    (
        "check_methods_subset_invariance",
        "check_methods_sample_order_invariance",
        "check_sample_weight_equivalence_on_dense_data",
    ),
    "float32 rounding: products of another shape differ in the last bits",
)

LOSSES = {name: name for name in ("squared_error", "absolute_error")}  # of a regression


@described(Settings, EstimatorBase)
class NNFSClassifier(ClassifierSettings, ClassifierMixin, EstimatorBase):
    """A network with a softmax output, trained on categorical cross-entropy.

    Where y has a column of 0 and 1 for each label, of which any may hold, the outputs are sigmoids
    and the loss is binary cross-entropy. A fit that goes on from another knows the classes of the
    first one only.

    Parameters
    ----------
    class_weight : dict or "balanced", optional
        What samples of a class count, {class: number}, classes not named 1; "balanced": N / (K
        times the samples of the class), of K classes. Multiplied by the sample's own weight. For
        labels also a list with one for each.

    Attributes
    ----------
    classes_ : array of shape (classes,)
        The sorted classes, or the numbers of the labels.
    """

    _score_curve = "val_accuracy"

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """One pass over X and y, from where the last fit ended.

        Parameters
        ----------
        X : array or table of shape (N, features)
            Some of the data.
        y : array of shape (N,) or (N, labels)
            Their classes, or 0 and 1 for each label.
        classes : array of shape (classes,), optional
            All that will ever come; needed in the first call, but for labels.
        sample_weight : array of shape (N,), optional
            What each sample counts.

        Returns
        -------
        NNFSClassifier
            Itself.

        Raises
        ------
        ValueError, TypeError
            As `fit` does, and for missing or other classes.
        """
        return self._fit(X, y, sample_weight, "partial_fit", True, classes)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    def _validated(self, X: Any, y: Any, dtype: np.dtype, reset: bool) -> tuple[Array, Array]:
        X, y = validate_data(self, X, y, dtype=dtype, reset=reset, multi_output=True)
        y = y.toarray() if hasattr(y, "toarray") else y  # a sparse table of labels
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        if y.ndim == 2 and not _are_labels(y):
            found = [str(value) for value in np.unique(y)[:8]]
            raise ValueError(
                f"y: got shape {y.shape} and values {', '.join(found)}, expected the class of each "
                "sample, (N,), or 0 and 1 for each label, (N, labels); for several targets of "
                "several classes use sklearn.multioutput.MultiOutputClassifier"
            )
        return X, y

    def _task(self, y: Array, call: Call) -> Task:
        if call.again and (y.ndim == 2) != (self.out_activation_ == "logistic"):
            got, expected = ("labels", "classes") if y.ndim == 2 else ("classes", "labels")
            raise ValueError(f"{call.what}: got {got}, expected {expected}, as in the first fit")
        if y.ndim == 2:
            learned = {"classes_": np.arange(y.shape[1])}
            return Task(y.astype(np.float64), y.shape[1], "binary_cross_entropy", learned)
        known = self._known(y, call)
        unknown = np.setdiff1d(y, known)
        if unknown.size:
            raise ValueError(
                f"{call.what}: got the new class(es) {unknown.tolist()[:8]}, expected only "
                f"{known.tolist()[:8]}, those of the first fit"
            )
        learned = {"classes_": known}
        return Task(np.searchsorted(known, y), len(known), "softmax_cross_entropy", learned)

    def _known(self, y: Array, call: Call) -> Array:
        """All classes, sorted."""
        given = None if call.classes is None else np.unique(np.asarray(call.classes))
        if call.again:
            if given is not None and not np.array_equal(given, self.classes_):
                raise ValueError(
                    f"{call.what}: got classes {given.tolist()[:8]}, expected "
                    f"{self.classes_.tolist()[:8]}, those of the first call"
                )
            return self.classes_
        if call.what == "partial_fit" and given is None:
            raise ValueError(
                "partial_fit: the first call needs classes, all that will ever come: "
                "classes=np.unique(y) of all y"
            )
        return np.unique(y) if given is None else given

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities of the classes, or of each label.

        Parameters
        ----------
        X : array or table of shape (N, features)
            Data.

        Returns
        -------
        array of shape (N, classes)
            In the order of classes_ and in the network's dtype.
        """
        return self._outputs(X)

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Logarithms of `predict_proba`.

        Parameters
        ----------
        X : array or table of shape (N, features)
            Data.

        Returns
        -------
        array of shape (N, classes)
            -inf where a probability is 0.
        """
        with np.errstate(divide="ignore"):
            logarithms: np.ndarray = np.log(self._outputs(X))
        return logarithms

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class of each row, or for each label whether it holds.

        Parameters
        ----------
        X : array or table of shape (N, features)
            Data.

        Returns
        -------
        array of shape (N,) or (N, labels)
            Some of classes_, or 0 and 1.
        """
        outputs = self._outputs(X)
        if self.out_activation_ == "logistic":
            return (outputs > 0.5).astype(np.int64)
        found: np.ndarray = self.classes_[np.argmax(outputs, axis=1)]
        return found


def _are_labels(y: Array) -> bool:
    """Whether it is a table of 0 and 1."""
    return type_of_target(y) == "multilabel-indicator" and bool(np.isin(y, (0, 1)).all())


@described(Settings, EstimatorBase)
class NNFSRegressor(RegressorSettings, RegressorMixin, EstimatorBase):
    """A network with a linear output, trained on squared or absolute error.

    Targets are standardized inside, by the mean and the spread of those of the first fit.

    Parameters
    ----------
    loss : {"squared_error", "absolute_error"}
        Of the standardized targets; by the second outliers weigh less.

    Attributes
    ----------
    y_mean_, y_scale_ : array of shape (targets,)
        Predictions are the outputs of model_ * y_scale_ + y_mean_, in float64.
    """

    _score_curve = "val_loss"

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """One pass over X and y, from where the last fit ended.

        Parameters
        ----------
        X : array or table of shape (N, features)
            Some of the data.
        y : array of shape (N,) or (N, targets)
            Their targets.
        sample_weight : array of shape (N,), optional
            What each sample counts.

        Returns
        -------
        NNFSRegressor
            Itself.

        Raises
        ------
        ValueError, TypeError
            As `fit` does.
        """
        return self._fit(X, y, sample_weight, "partial_fit", True)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _validated(self, X: Any, y: Any, dtype: np.dtype, reset: bool) -> tuple[Array, Array]:
        X, y = validate_data(
            self, X, y, dtype=dtype, reset=reset, multi_output=True, y_numeric=True
        )
        return X, check_array(y, dtype=np.float64, ensure_2d=False, input_name="y")

    def _task(self, y: Array, call: Call) -> Task:
        columns = y.reshape(len(y), -1)
        if call.again:
            mean, scale = self.y_mean_, self.y_scale_
        else:
            with np.errstate(over="ignore", invalid="ignore"):  # refused below
                mean = np.average(columns, axis=0, weights=call.weights)
                spread = np.average((columns - mean) ** 2, axis=0, weights=call.weights)
                scale = np.sqrt(spread)
            if not np.isfinite(scale).all():
                raise ValueError("y: got targets whose spread overflows float64; scale them down")
            # What is left of equal targets after rounding is no spread.
            scale[scale <= 1e-12 * np.abs(mean)] = 1
        learned = {"y_mean_": mean, "y_scale_": scale, "_flat": y.ndim == 1}
        outputs = columns.shape[1]
        if outputs == len(mean):  # else refused by the check for a warm start
            columns = (columns - mean) / scale
        return Task(columns, outputs, choice(call.settings["loss"], LOSSES, "loss"), learned)

    def predict(self, X: Any) -> np.ndarray:
        """Predicted targets.

        Parameters
        ----------
        X : array or table of shape (N, features)
            Data.

        Returns
        -------
        array of shape (N,) or (N, targets)
            As y was in fit, in float64.
        """
        values: np.ndarray = self._outputs(X) * self.y_scale_ + self.y_mean_
        return values[:, 0] if self._flat else values
