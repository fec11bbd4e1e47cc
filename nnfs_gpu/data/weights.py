"""What samples count: `sample_weight` and `class_weight`, checked, on the targets they belong to.

`held.data_of` makes one `Weighting` of what a call was given, and every kind of data asks it for
targets with their weights (`targets.Targets.weights`), which losses and engines read.

What a loss is divided by takes the scale of all weights out of it, and sums of weights have digits
from some 2^62 down to 2^-70 (kernels/fused_cpu/exact.py). So weights are scaled, by a power of two
that makes the largest of all data one from 1 to 2. Of blocks, whose weights come when their turn
does, the weights must lie around 1 as they are.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from .. import checks
from ..backend.arrays import prefixed, to_host, waits
from ..losses import Loss_BinaryCrossentropy, Loss_CategoricalCrossentropy
from ..network.checks import width_out
from ..network.network import Network, loss_of
from ..targets import Targets

Array = Any

NAME = "sample_weight"
LARGEST = 1e6  # of blocks; and 1 / LARGEST the smallest above 0


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
        self._table: np.ndarray | None = None  # of classes
        self._on_backend: Array | None = None  # the same, scaled
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
        self._table = found

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
        return None if self._table is None else self._table.tolist()

    # ---- samples: of data whose rows are known ----
    def checked(self, given: Any, samples: int, where: str) -> np.ndarray:
        """Weights (samples,) on the host, in float64. Raises TypeError or ValueError for others."""
        try:
            w = to_host(given, NAME)
        except (TypeError, ValueError, RuntimeError) as error:
            raise prefixed(error, where) from error
        self.check_shape(w.shape, samples, where)
        bad = ~((w >= 0) & (w < np.inf))  # NaN, too
        if bad.any():
            row = int(np.argmax(bad))
            raise ValueError(
                f"{where}: got {NAME} {w[row]} at index {row}, expected finite numbers of at "
                "least 0; 0 leaves a sample out"
            )
        return w.astype(np.float64)

    def on_host(self, samples: int) -> np.ndarray:
        """`sample_weight` as it lies on the host: a memory map is not read."""
        try:
            w = to_host(self.sample_weight, NAME)
        except (TypeError, ValueError, RuntimeError) as error:
            raise prefixed(error, self.what) from error
        self.check_shape(w.shape, samples, self.what)
        return w

    @staticmethod
    def check_shape(shape: tuple[int, ...], samples: int, where: str) -> None:
        """Raises ValueError where it is not that of a number a sample."""
        if shape != (samples,):
            column = len(shape) > 1 and np.prod(shape) == samples
            remedy = f": use {NAME}.reshape(-1)" if column else ""
            raise ValueError(
                f"{where}: got {NAME} of shape {shape}, expected ({samples},), a number a "
                f"sample{remedy}"
            )

    def products(self, y: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
        """Weights of samples, or 1, times those of their classes; y: the targets on the host."""
        found = np.ones(len(y)) if weights is None else weights
        with np.errstate(over="ignore"):  # `unit` refuses it
            return found if self._table is None else found * self._table[self._labels_on_host(y)]

    def unit(self, largest: float) -> float:
        """The power of two by which all weights are multiplied. Raises ValueError where all of them
        are 0, or the largest is infinite.
        """
        self.some(largest > 0)
        if not np.isfinite(largest):
            raise ValueError(
                f"{self.what}: {NAME} times class_weight is infinite; divide each by its largest"
            )
        return float(np.ldexp(1.0, min(1 - int(np.frexp(largest)[1]), 1023)))

    def carried(self, y: Targets, products: Array, unit: float) -> Targets:
        """`y` with these weights times `unit`, in the backend's dtype."""
        weighted = copy.copy(y)  # the user may have made `y`
        weighted.weights = self.backend.asarray(products * unit)
        return weighted

    def whole(self, y: Targets) -> Targets:
        """The targets of all samples with `sample_weight` and the weights of their classes.

        Raises ValueError where all weights are 0.
        """
        values, weights = self.backend.to_numpy(y.values), None
        if self.sample_weight is not None:
            weights = self.checked(self.sample_weight, len(y), self.what)
        self.count(lambda: [values])
        products = self.products(values, weights)
        return self.carried(y, products, self.unit(float(products.max())))

    def some(self, found: bool) -> None:
        """Raises ValueError where no weight above 0 was `found` in all of the data."""
        if not found:
            raise ValueError(
                f"{self.what}: all weights of the samples are 0, expected one above 0 at least; "
                "leave out sample_weight and class_weight to count all samples alike"
            )

    # ---- samples: of blocks as they come ----
    def of_block(self, y: Targets, given: Any, where: str, known: bool) -> Targets:
        """`y` with the weights given with it, or None, and those of its classes.

        known  rows of an earlier pass: nothing waits for a device, to look at them again
        """
        weights = None
        if given is not None:
            if not (known and waits(given)):
                self._check_around_1(self.checked(given, len(y), where), where)
            weights = self.backend.asarray(given, np.float64)
        if self._table is not None:
            if self._on_backend is None:
                unit = self.unit(float(self._table.max()))
                self._on_backend = self.backend.asarray(self._table * unit, np.float64)
            of_classes = self._on_backend[self._labels(y.values)]
            weights = of_classes if weights is None else weights * of_classes
        if weights is None:
            return y
        return self.carried(y, weights, 1.0)

    @staticmethod
    def _check_around_1(w: np.ndarray, where: str) -> None:
        bad = (w > 0) & ~((w >= 1 / LARGEST) & (w <= LARGEST))
        if bad.any():
            row = int(np.argmax(bad))
            raise ValueError(
                f"{where}: got {NAME} {w[row]:g} at index {row}, expected 0, or numbers from "
                f"{1 / LARGEST:g} to {LARGEST:g} in blocks; divide all by the largest"
            )
