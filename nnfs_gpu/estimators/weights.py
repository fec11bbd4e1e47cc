"""What samples count in a fit: `sample_weight` and `class_weight`, as scikit-learn has them.

`EstimatorBase` asks for them and gives them to `Model.train`, by which a weight counts within its
step: the loss of a step is sum w l / sum w.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils import compute_sample_weight
from sklearn.utils.validation import _check_sample_weight

Array = Any


def weights_of(class_weight: Any, sample_weight: Any, X: Array, y: Array, what: str) -> Any:
    """What each sample counts, (N,) float64; None where all count alike.

    y     classes (N,) or labels (N, labels) where there is a class_weight
    what  "partial_fit" where y are not all of them
    Raises ValueError or TypeError for weights that cannot be used.
    """
    weights = None
    if sample_weight is not None:
        weights = _numbers(sample_weight, X)
        if (weights < 0).any():
            raise ValueError(
                f"sample_weight: got {weights.min():g}, expected numbers of at least 0; leave out "
                "samples that are not to count"
            )
    if class_weight is not None:
        if what == "partial_fit" and isinstance(class_weight, str):
            raise ValueError(
                f"partial_fit: got class_weight={class_weight!r}, which needs all samples; give a "
                "dict, as compute_class_weight of scikit-learn makes one of all y"
            )
        if y.ndim == 1 and not isinstance(class_weight, (str, dict)):
            raise TypeError(
                f"class_weight: got {class_weight!r}, expected {{class: number}} or 'balanced'; of "
                "numbers in the order of the classes make dict(zip(classes, numbers))"
            )
        found = compute_sample_weight(class_weight, y)
        weights = found if weights is None else found * weights
    if weights is not None and not weights.any():
        raise ValueError("sample_weight: got zeros alone, expected samples that count")
    return weights


def _numbers(sample_weight: Any, X: Array) -> Array:
    """As scikit-learn takes them: one for each row of X, or one for all."""
    try:
        return _check_sample_weight(sample_weight, X, dtype=np.float64)
    except (TypeError, ValueError) as error:
        if "sample_weight" in str(error):
            raise
        raise type(error)(f"sample_weight: {error}") from error
