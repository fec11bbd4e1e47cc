"""Rows to train on and rows to validate on: drawn from a seed, class by class."""

from __future__ import annotations

import numpy as np

from .table import TableError


def split_rows(
    samples: int, share: float, seed: int, classes: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the rows to train on and of those to validate on, each in rising order.

    Parameters
    ----------
    samples : int
        How many rows there are.
    share : float
        Of the rows that are kept for validation, between 0 and 1.
    seed : int
        The same numbers give the same rows.
    classes : array of int, optional
        (N,) class numbers: every class then keeps about the same share, and one row at least to
        train on; where it has two, also one to validate on.

    Returns
    -------
    tuple of two numpy.ndarray
        Rows for training, rows for validation.

    Raises
    ------
    TableError
        Where one side would be empty.
    """
    if not 0 < share < 1:
        raise TableError(f"validation split: got {share:g}, expected a number between 0 and 1")
    rng = np.random.default_rng(seed)
    groups = [np.arange(samples)]
    if classes is not None:
        order = np.argsort(classes, kind="stable")
        _, starts = np.unique(classes[order], return_index=True)
        groups = np.split(order, starts[1:])
    aside = []
    for group in groups:
        count = min(max(round(share * len(group)), 1), len(group) - 1)
        aside.append(rng.permutation(group)[:count])
    validation = np.sort(np.concatenate(aside))
    if not len(validation):
        raise TableError(
            f"validation split: got {share:g} of {samples} row(s), none to validate on; give more "
            "rows, or a table for validation"
        )
    return np.setdiff1d(np.arange(samples), validation), validation
