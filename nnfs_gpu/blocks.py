"""Data that come block by block: a batch may be larger than any memory.

`Model.train`, `evaluate` and `validation_data` take, in place of arrays, a source of blocks:
pairs (X, y) of some rows each, whose rows add up to `samples` in every pass. A source is
    Blocks(...)            around a function, a list of pairs, or an iterator
    an object of yours     with `samples` and `__iter__`, which begins a new pass each time,
                           and where checkpoints are written `fingerprint()`
    a function             without arguments that returns an iterator: its rows are counted
                           in a pass of their own

A pass is one epoch, in the order given: mix the data first where classes come one after the
other and a step does not take all. Every pass must give the same rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from . import checks
from .backend import get_backend

BLOCK = 1 << 18  # rows of a block of `spiral_blocks`


class Blocks:
    """A source of blocks.

    source       a function that returns an iterator of (X, y), called for every pass; or a
                 list of such pairs; or an iterator, which is used up after one pass
    samples      rows of a pass; None: counted in a pass of its own before training
    fingerprint  numbers and texts that tell these data from others, for checkpoints

    X (n, features) and y are arrays as `Model.train` takes them, of any n from 1 up. Raises
    TypeError for another source, ValueError for an iterator without `samples`.
    """

    def __init__(self, source: Any, samples: int | None = None, *, fingerprint: Any = None):
        if not callable(source) and not hasattr(source, "__iter__"):
            raise TypeError(
                f"Blocks: got {type(source).__name__}, expected a function that returns an "
                "iterator of blocks (X, y), or a list of them"
            )
        if samples is None and runs_out(source):
            raise ValueError(
                f"Blocks: got a {type(source).__name__}, which can be used once, and no samples; "
                "give samples=N, its rows, or a function that returns a new iterator"
            )
        self.source = source
        self.samples = None if samples is None else checks.positive_int(samples, "Blocks samples")
        self._fingerprint = fingerprint

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        """A pass: for an iterator, the same one each time."""
        return iter(self.source() if callable(self.source) else self.source)

    def __repr__(self) -> str:
        return f"<Blocks of {self.samples or 'uncounted'} samples from {_name(self.source)}>"

    def fingerprint(self) -> Any:
        """What a checkpoint keeps of these data: as given, else where they come from."""
        return self._fingerprint or {"source": _name(self.source)}


def spiral_blocks(samples: int, classes: int, *, seed: int = 0, block: int = BLOCK) -> Blocks:
    """The points of `spiral_data(samples, classes, seed=seed)`, `block` rows at a time.

    They are made when their turn comes, on the default backend: any number of them takes
    the memory of one block. Classes come one after the other: for steps over all samples.
    Raises TypeError or ValueError for numbers that are not positive and whole.
    """
    samples = checks.positive_int(samples, "samples")
    classes = checks.positive_int(classes, "classes")
    seed, block = checks.seed(seed, "seed"), checks.positive_int(block, "block")
    backend, rows = get_backend(), samples * classes

    def made() -> Iterator[tuple[Any, Any]]:
        for start in range(0, rows, block):
            yield backend.spiral(samples, classes, seed, start, min(start + block, rows))

    described = {"spiral": [samples, classes], "seed": seed, "block": block}
    return Blocks(made, rows, fingerprint=described)


def is_source(x: Any) -> bool:
    """Whether `x` gives blocks: it is no array and no list."""
    if hasattr(x, "dtype") or isinstance(x, type):
        return False
    iterates = hasattr(x, "__iter__") and (hasattr(x, "samples") or hasattr(x, "__next__"))
    return callable(x) or iterates


def as_source(x: Any) -> Any:
    """`x` itself where it has `samples` and `__iter__`, else `Blocks` around it."""
    return x if hasattr(x, "samples") and hasattr(x, "__iter__") else Blocks(x)


def runs_out(source: Any) -> bool:
    """Whether one pass uses it up, as with a generator."""
    if isinstance(source, Blocks):
        return runs_out(source.source)
    return not callable(source) and iter(source) is source


def fingerprint_of(source: Any) -> dict[str, Any]:
    """What a checkpoint keeps of a source."""
    own = source.fingerprint() if hasattr(source, "fingerprint") else _name(source)
    return {"samples": source.samples, "blocks of": own}


def _name(source: Any) -> str:
    """Of a function its name, else of its class: the same when the program starts again."""
    named = source if hasattr(source, "__qualname__") else type(source)
    return f"{named.__module__}.{named.__qualname__}" if named is not list else "list"
