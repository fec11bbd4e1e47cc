"""What samples count: `sample_weight` and `class_weight`, checked, on the targets they belong to.

`held.data_of` makes one `Weighting` of what a call was given, and every kind of data asks it for
targets with their weights (`targets.Targets.weights`), which losses and engines read.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from .. import checks
from ..backend.arrays import plain, prefixed, waits
from ..losses import Loss_BinaryCrossentropy, Loss_CategoricalCrossentropy
from ..network.checks import width_out
from ..network.network import Network, loss_of
from ..targets import Targets

Array = Any

NAME = "sample_weight"


class Weighting:
    """The weights of a call, for data of `model`.

    sample_weight  (N,) numbers, or None: all 1. Data in blocks have theirs in the blocks
    class_weight   {class: number}, others 1; "balanced": N / (K times the samples of the class),
                   of the K classes that there are, as scikit-learn has it; or None: all 1

    The weight of a sample is the product of both. Raises TypeError, with `what` in front, for a
    loss of the user's own that takes no weights.
    """

    def __init__(
        self, model: Network, what: str, sample_weight: Any = None, class_weight: Any = None
    ):
        self.model, self.backend, self.what = model, model.backend, what
        self.sample_weight, self.class_weight = sample_weight, class_weight
        self._table: Array | None = None  # of classes
        if self:
            self.check_loss()

    def __bool__(self) -> bool:
        return self.sample_weight is not None or self.class_weight is not None

    def check_loss(self) -> None:
        """Raises TypeError for a loss that cannot be weighted."""
        loss = self.model.loss
        if loss_of(self.model) is not loss and not getattr(loss, "sample_weights", False):
            raise TypeError(
                f"{self.what}: got weights of samples, but {type(loss).__name__} does not say that "
                "it takes them; where its forward gives a loss a sample, and row i of its dinputs "
                "is the derivative of loss i divided by the number of samples, write "
                "sample_weights = True into the class"
            )

    # ---- classes ----
    def count(self, targets: Callable[[], Iterable[np.ndarray]]) -> None:
        """Find the weights of the classes. targets: gives all of them, on the host, block by block.

        Raises TypeError or ValueError for classes that there are not.
        """
        if self.class_weight is None:
            return
        classes = self._classes()
        if isinstance(self.class_weight, str) and self.class_weight == "balanced":
            counts = np.zeros(classes, np.int64)
            for y in targets():
                counts += np.bincount(self._labels_on_host(y), minlength=classes)
            found = counts.sum() / ((counts > 0).sum() * np.maximum(counts, 1))
        else:
            found = self._given(classes)
        self._table = self.backend.asarray(found)

    def _classes(self) -> int:
        loss, outputs = self.model.loss, width_out(self.model.layers, 0)
        if outputs and isinstance(loss, Loss_CategoricalCrossentropy):
            return outputs
        if outputs == 1 and isinstance(loss, Loss_BinaryCrossentropy):
            return 2
        raise ValueError(
            f"{self.what}: got class_weight, but targets of {type(loss).__name__} for "
            f"{outputs or 'unknown'} outputs are no classes; give sample_weight"
        )

    def _given(self, classes: int) -> np.ndarray:
        given, what = self.class_weight, f"{self.what}: class_weight"
        expected = f'expected {{class: number}} with classes 0 to {classes - 1}, or "balanced"'
        if not hasattr(given, "items"):
            array = not isinstance(given, str) and np.ndim(given) == 1
            remedy = ": use dict(enumerate(class_weight))" if array else ""
            raise TypeError(f"{what}: got {given!r:.80}, {expected}{remedy}")
        found = np.ones(classes)
        for name, weight in given.items():
            whole = isinstance(name, (int, np.integer)) and not isinstance(name, bool)
            if not whole or not 0 <= name < classes:
                raise ValueError(f"{what}: got the class {name!r}, {expected}")
            found[name] = checks.not_negative(weight, f"{what}[{name}]")
        return found

    def _labels_on_host(self, y: np.ndarray) -> np.ndarray:
        """The classes of targets; of rows of probabilities, the most probable ones."""
        if isinstance(self.model.loss, Loss_BinaryCrossentropy):
            return (y.reshape(-1) > 0.5).astype(np.int64)
        return y.argmax(axis=1) if y.ndim == 2 else y

    def _labels(self, y: Array) -> Array:
        """The same where they lie."""
        if isinstance(self.model.loss, Loss_BinaryCrossentropy):
            return self.backend.asarray(y.reshape(-1) > 0.5, np.int32)
        return self.backend.argmax(y) if y.ndim == 2 else y

    def described(self) -> Any:
        """The weights of the classes, for a checkpoint; None where all are 1."""
        return None if self._table is None else self.backend.to_numpy(self._table).tolist()

    # ---- samples ----
    def numbers(self, given: Any, samples: int, where: str, known: bool = False) -> Array:
        """Weights (samples,) on the backend, in its dtype. Raises for what is none.

        known  of an earlier pass: nothing waits for a device, to look at them again
        """
        w = checks.array(self.backend, given, where, NAME)
        self._check_shape(w.shape, samples, where)
        if known and waits(given):
            return w
        host = self.backend.to_numpy(w)
        bad = ~((host >= 0) & (host < np.inf))  # NaN, too
        if bad.any():
            row = int(np.argmax(bad))
            raise ValueError(
                f"{where}: got {NAME} {host[row]} at index {row}, expected finite numbers of at "
                "least 0; 0 leaves a sample out"
            )
        return w

    def on_host(self, samples: int) -> np.ndarray:
        """`sample_weight` as it lies on the host: a memory map is not read."""
        try:
            w = plain(self.sample_weight, NAME)
        except (TypeError, ValueError, RuntimeError) as error:
            raise prefixed(error, self.what) from error
        self._check_shape(w.shape, samples, self.what)
        return w

    @staticmethod
    def _check_shape(shape: tuple[int, ...], samples: int, where: str) -> None:
        if shape != (samples,):
            column = len(shape) > 1 and np.prod(shape) == samples
            remedy = f": use {NAME}.reshape(-1)" if column else ""
            raise ValueError(
                f"{where}: got {NAME} of shape {shape}, expected ({samples},), a number a "
                f"sample{remedy}"
            )

    def on(self, y: Targets, weights: Array | None) -> Targets:
        """`y` with its weights: of its samples, those given here, times those of its classes."""
        if self._table is not None:
            of_classes = self._table[self._labels(y.values)]
            weights = of_classes if weights is None else weights * of_classes
        if weights is None:
            return y
        weighted = copy.copy(y)  # the user may have made `y`
        weighted.weights = weights
        return weighted

    def whole(self, y: Targets) -> Targets:
        """The same for the targets of all samples, with `sample_weight`.

        Raises ValueError where all weights are 0.
        """
        weights = None
        if self.sample_weight is not None:
            weights = self.numbers(self.sample_weight, len(y), self.what)
        self.count(lambda: [self.backend.to_numpy(y.values)])
        weighted = self.on(y, weights)
        self.some(bool(self.backend.to_numpy(weighted.weights).any()))
        return weighted

    def some(self, found: bool) -> None:
        """Raises ValueError where no weight above 0 was `found` in all of the data."""
        if not found:
            raise ValueError(
                f"{self.what}: all weights of the samples are 0, expected one above 0 at least; "
                "leave out sample_weight and class_weight to count all samples alike"
            )
