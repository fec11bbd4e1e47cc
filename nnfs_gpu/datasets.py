"""The data sets of the `nnfs` package, with its formulas, and the call that makes them repeat.

Without a seed the points come from NumPy's global stream in the package's order, so that the
book's numbers appear. With a seed they come from a counter-based generator, in parallel and
equal on every backend: tens of millions of points in seconds.
Points have the default backend's dtype, labels are int32; both are its arrays.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from . import checks
from .backend import Backend, get_backend, use_backend

Array = Any

# spiral: class c lies at angle TURN c + TURN r + NOISE g for a radius r in [0, 1], g normal
TURN, NOISE = 10.0, 0.5


def init(
    dot_precision_workaround: bool = True,
    default_dtype: str = "float32",
    random_seed: int | None = 0,
) -> None:
    """The `nnfs` package's call at the top of a book program, without patching NumPy.

    From here on, dropout masks come from NumPy's global stream too, in the book's order.

    Parameters
    ----------
    dot_precision_workaround : bool
        Sum matrix products in float64 and round once, as the package does: printed numbers
        repeat. False is faster.
    default_dtype : {"float32", "float64"}
        Of layers and data made from here on.
    random_seed : int, optional
        Given to np.random.seed; None leaves the stream where it is.

    Raises
    ------
    ValueError
        For another dtype or a bad seed.
    """
    backend = get_backend(
        get_backend().name,
        dtype=default_dtype,
        precise_dot=bool(dot_precision_workaround),
        book_random=True,
    )
    if random_seed is not None:
        np.random.seed(random_seed)  # refuses a bad seed before anything has changed
    use_backend(backend)


def spiral_data(samples: int, classes: int, *, seed: int | None = None) -> tuple[Array, Array]:
    """Interleaved spirals: `samples` points for each of `classes` arms.

    One class comes after the other, not shuffled.
    Class c: r = linspace(0, 1, samples); t = linspace(4c, 4(c + 1), samples) + 0.2 normal;
    point (r sin 2.5t, r cos 2.5t). Formula: package `nnfs` 0.5.1, after CS231n, Stanford.

    Parameters
    ----------
    samples : int
        Points of a class.
    classes : int
        Arms.
    seed : int, optional
        None: NumPy's global stream, in the package's order, one class at a time. A number:
        Philox, the same points on every backend (to rounding) whatever the number of threads.

    Returns
    -------
    X : array of shape (samples * classes, 2)
        Points, in the default backend's dtype.
    y : array of shape (samples * classes,)
        Labels, int32.

    Raises
    ------
    TypeError, ValueError
        For samples or classes that are not positive integers.
    """
    samples = checks.positive_int(samples, "samples")
    classes = checks.positive_int(classes, "classes")
    backend = get_backend()
    if seed is not None:
        return backend.spiral(samples, classes, seed)
    points = np.zeros((samples * classes, 2), backend.dtype)
    for c in range(classes):
        r = np.linspace(0.0, 1, samples)
        t = np.linspace(c * 4, (c + 1) * 4, samples) + _normal(backend, samples) * 0.2
        rows = slice(samples * c, samples * (c + 1))
        points[rows] = np.c_[r * np.sin(t * 2.5), r * np.cos(t * 2.5)]
    return backend.asarray(points), _class_blocks(backend, samples, classes)


def vertical_data(samples: int, classes: int) -> tuple[Array, Array]:
    """Clouds beside each other: `samples` points for each of `classes`.

    Class c is normal with deviation 0.1 around (c / 3, 0.5), drawn from NumPy's global
    stream, first coordinate first. Formula: package `nnfs` 0.5.1.

    Parameters
    ----------
    samples : int
        Points of a class.
    classes : int
        Clouds.

    Returns
    -------
    X : array of shape (samples * classes, 2)
        Points, in the default backend's dtype.
    y : array of shape (samples * classes,)
        Labels, int32.

    Raises
    ------
    TypeError, ValueError
        For samples or classes that are not positive integers.
    """
    samples = checks.positive_int(samples, "samples")
    classes = checks.positive_int(classes, "classes")
    backend = get_backend()
    points = np.zeros((samples * classes, 2), backend.dtype)
    for c in range(classes):
        rows = slice(samples * c, samples * (c + 1))
        first = _normal(backend, samples) * 0.1 + c / 3
        points[rows] = np.c_[first, _normal(backend, samples) * 0.1 + 0.5]
    return backend.asarray(points), _class_blocks(backend, samples, classes)


def sine_data(samples: int = 1000) -> tuple[Array, Array]:
    """One period of a sine, y = sin(2 pi X).

    Parameters
    ----------
    samples : int
        How many points.

    Returns
    -------
    X : array of shape (samples, 1)
        From 0 to below 1, in the default backend's dtype.
    y : array of shape (samples, 1)
        Their sines.

    Raises
    ------
    TypeError, ValueError
        For samples that are not a positive integer.
    """
    samples = checks.positive_int(samples, "samples")
    backend = get_backend()
    x = np.arange(samples).reshape(-1, 1) / samples
    return backend.asarray(x), backend.asarray(np.sin(2 * np.pi * x))


def spiral_bayes_limit(classes: int) -> float:
    """The best accuracy that any classifier can reach on `spiral_data` of `classes` arms.

    At radius r the angle of class c is normal with deviation NOISE around TURN c + TURN r,
    and all classes are equally likely, so the best guess is the class whose centre is
    nearest on the circle, whatever r is. Class by class, the accuracy is the normal mass
    between the midpoints to its two neighbours, wrapped around the circle::

        sum_k Phi((right + 2 pi k) / NOISE) - Phi((-left + 2 pi k) / NOISE)

    and the limit is its mean over the classes: 0.9098 for 3.

    Parameters
    ----------
    classes : int
        Arms of the spiral.

    Returns
    -------
    float
        An accuracy, from 0 to 1.
    """
    classes = checks.positive_int(classes, "classes")
    if classes == 1:
        return 1.0
    circle = 2 * math.pi
    centres = sorted((TURN * c) % circle for c in range(classes))
    total = 0.0
    for i, centre in enumerate(centres):
        left = (centre - centres[i - 1]) % circle / 2
        right = (centres[(i + 1) % classes] - centre) % circle / 2
        for k in range(-2, 3):  # 2 turns are 25 deviations: the rest is 0 in float64
            turn = circle * k
            total += _phi((right + turn) / NOISE) - _phi((-left + turn) / NOISE)
    return total / classes


def _phi(z: float) -> float:
    return 0.5 * math.erfc(-z / math.sqrt(2))


def _normal(backend: Backend, count: int) -> np.ndarray:
    return np.random.randn(count).astype(backend.dtype)


def _class_blocks(backend: Backend, samples: int, classes: int) -> Array:
    return backend.asarray(np.repeat(np.arange(classes), samples), np.int32)
