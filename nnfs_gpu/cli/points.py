"""The points that `nnfs-gpu train` and `evaluate` draw: held in memory, or of very many made anew.

Training points are `spiral_data` of the seed, in mixed order; beyond HELD of them, `spiral_rows`
in an order whose batches are even samples, which every rank makes its share of when the step
comes. Validation points are those of seed + 1, about as many, within `SAMPLED`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import datasets
from ..backend import get_backend
from ..data.sources import spiral_rows
from .config import Config

HELD = 100_000_000  # points: 1.2 GB in float32, and the order in which they are mixed 0.8
# What an accuracy is measured on: its standard error near 0.91 is then from 0.003 to 0.0009.
SAMPLED = (10_000, 100_000)


def training_points(config: Config) -> tuple[Any, ...]:
    """What `Model.train` is given first: (X, y) in mixed order, or a source of rows."""
    if config.points > HELD:
        spread = step_size(config)
        return (spiral_rows(config.samples, config.classes, seed=config.seed, spread=spread),)
    X, y = datasets.spiral_data(config.samples, config.classes, seed=config.seed)
    # The classes come one after the other, and Model.train keeps the order it is given: a
    # batch would hold one class and unlearn the others. Mixed once, each holds them all.
    mixed = np.random.default_rng(config.seed).permutation(config.points)
    rows = get_backend().asarray(mixed, np.int64)
    return X[rows], y[rows]


def step_size(config: Config) -> int:
    """Points in a step: --batch-size, or of points that are made as many in each: of a smaller last
    step some classes would be missing (`Spread`), and it is the last that the model sees.
    """
    if config.points <= HELD:
        return config.batch_size
    return math.ceil(config.points / math.ceil(config.points / config.batch_size))


def some_of(config: Config, training: tuple[Any, ...]) -> tuple[Any, Any]:
    """(X, y) of at most 100,000 training points: a fair sample of all classes."""
    if config.points > HELD:
        step = math.ceil(config.points / SAMPLED[1])
        return get_backend().spiral(config.samples, config.classes, config.seed, step=step)
    X, y = training
    return X[: SAMPLED[1]], y[: SAMPLED[1]]


def validation_points(config: Config) -> tuple[Any, Any]:
    """(X, y) that are not trained on."""
    fresh = min(max(config.points, SAMPLED[0]), SAMPLED[1])
    samples = math.ceil(fresh / config.classes)
    return datasets.spiral_data(samples, config.classes, seed=config.seed + 1)


def fresh_points(samples: int, classes: int, seed: int) -> tuple[Any, ...]:
    """What `Model.evaluate` is given first: (X, y), or a source of rows."""
    if samples * classes > HELD:
        return (spiral_rows(samples, classes, seed=seed),)
    return datasets.spiral_data(samples, classes, seed=seed)
