"""Samples that a fit sets aside to stop early by: `EstimatorBase` asks for them."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = Any


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
