"""Data that come block by block: a batch may be larger than any memory.

`Model.train`, `evaluate` and `validation_data` take, in place of arrays, a source of blocks:
pairs (X, y) of some rows each, or all of them (X, y, sample_weight), whose rows add up to `samples`
in every pass. A source is
    Blocks(...)            around a function, a list of pairs, or an iterator
    an object of yours     with `samples` and `__iter__`, which begins a new pass each time,
                           and where checkpoints are written `fingerprint()`
    a function             without arguments that returns an iterator: its rows are counted
                           in a pass of their own
    Rows(...)              around a function that makes any rows: what ranks can divide

A pass is one epoch, in the order given: mix the data first where classes come one after the
other and a step does not take all. Every pass must give the same rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from .. import checks
from ..backend import Backend, get_backend
from ..backend.tables import is_table
from .spread import Spread

BLOCK = 1 << 18  # rows of a block of `spiral_blocks`, and of a pass over `Rows`


class Blocks:
    """A source of blocks.

    X (n, features) and y are arrays as `Model.train` takes them, of any n from 1 up.

    Parameters
    ----------
    source : callable, iterable or iterator
        A function that returns an iterator of (X, y), called for every pass; or what gives a new
        one when it is iterated over, as a list of such pairs and a DataLoader of PyTorch do; or
        an iterator, which is used up after one pass.
    samples : int, optional
        Rows of a pass; None: counted in a pass of its own before training.
    fingerprint : dict, list, number or str, optional
        What tells these data from others, for checkpoints.

    Raises
    ------
    TypeError
        For another source.
    ValueError
        For an iterator without `samples`.
    """

    def __init__(self, source: Any, samples: int | None = None, *, fingerprint: Any = None):
        if not callable(source) and not hasattr(source, "__iter__"):
            raise TypeError(
                f"Blocks: got {type(source).__name__}, expected a function that returns an "
                "iterator of blocks (X, y), or a list of them"
            )
        if samples is None and runs_out(source):
            raise ValueError(f"Blocks: {_used_once(source, 'source')}")
        self.source = source
        self.samples = None if samples is None else checks.positive_int(samples, "Blocks samples")
        self._fingerprint = fingerprint

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        """A pass: for an iterator, the same one each time."""
        return iter(self.source() if callable(self.source) else self.source)

    def __repr__(self) -> str:
        return f"<Blocks of {self.samples or 'uncounted'} samples from {_name(self.source)}>"

    def fingerprint(self) -> Any:
        """What a checkpoint keeps of these data.

        Returns
        -------
        dict, list, number or str
            As given, else where the data come from.
        """
        return self._fingerprint or {"source": _name(self.source)}


class Rows:
    """A source of which any rows can be had, in any order: ranks make their own each.

    X (stop - start, features) and y are arrays as `Model.train` takes them.

    Parameters
    ----------
    make : callable
        A function make(start, stop) that returns (X, y) of the rows start to stop - 1, the same
        whenever and wherever it is called: read from files, say, or drawn by a generator that
        counts.
    samples : int
        How many rows there are.
    fingerprint : dict, list, number or str, optional
        What tells these data from others, for checkpoints.

    Raises
    ------
    TypeError, ValueError
        For another `make`, and for `samples` that are not positive and whole.
    """

    def __init__(self, make: Callable[[int, int], Any], samples: int, *, fingerprint: Any = None):
        if not callable(make):
            raise TypeError(
                f"Rows: got {type(make).__name__}, expected a function make(start, stop) that "
                "returns (X, y) of these rows; where X and y are arrays, give them to train"
            )
        self.make, self.samples = make, checks.positive_int(samples, "Rows samples")
        self._fingerprint = fingerprint

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        """A pass over all rows, in blocks."""
        for start in range(0, self.samples, BLOCK):
            yield self.make(start, min(start + BLOCK, self.samples))

    def __repr__(self) -> str:
        return f"<Rows of {self.samples} samples from {_name(self.make)}>"

    def fingerprint(self) -> Any:
        """What a checkpoint keeps of these data.

        Returns
        -------
        dict, list, number or str
            As given, else where the data come from.
        """
        return self._fingerprint or {"source": _name(self.make)}


def spiral_rows(samples: int, classes: int, *, seed: int = 0, spread: int | None = None) -> Rows:
    """The points of `spiral_data(samples, classes, seed=seed)`, any rows of them.

    They are made on the default backend when they are asked for.

    Parameters
    ----------
    samples : int
        Points of a class.
    classes : int
        Arms.
    seed : int
        As in `spiral_data`.
    spread : int, optional
        None: classes come one after the other, for steps over all samples. A number: in an order
        of which each batch of so many rows is an even sample of all classes.

    Returns
    -------
    Rows
        Of samples * classes rows.

    Raises
    ------
    TypeError, ValueError
        For numbers that are not positive and whole.
    """
    samples = checks.positive_int(samples, "samples")
    classes, seed = checks.positive_int(classes, "classes"), checks.seed(seed, "seed")
    backend, rows = get_backend(), samples * classes
    described: dict[str, Any] = {"spiral": [samples, classes], "seed": seed}
    if spread is None:

        def make(start: int, stop: int) -> tuple[Any, Any]:
            return backend.spiral(samples, classes, seed, start, stop)
    else:
        order = Spread(rows, checks.positive_int(spread, "spread"))
        described["strata"] = order.strata

        def make(start: int, stop: int) -> tuple[Any, Any]:
            return _joined(
                backend,
                [
                    backend.spiral(samples, classes, seed, part.start, part.stop, part.step)
                    for part in order.parts(start, stop)
                ],
            )

    make.__qualname__ = "spiral_rows"  # in place of a name with <locals>, in repr
    return Rows(make, rows, fingerprint=described)


def _joined(backend: Backend, parts: list[tuple[Any, Any]]) -> tuple[Any, Any]:
    """Points and labels of all parts, one after the other."""
    if len(parts) == 1:
        return parts[0]
    rows = sum(len(y) for _, y in parts)
    points, labels = backend.zeros((rows, 2)), backend.zeros((rows,), np.int32)
    first = 0
    for X, y in parts:
        here = slice(first, first + len(y))
        points[here], labels[here] = X, y
        first = here.stop
    return points, labels


def spiral_blocks(samples: int, classes: int, *, seed: int = 0, block: int = BLOCK) -> Blocks:
    """The points of `spiral_data(samples, classes, seed=seed)`, `block` rows at a time.

    They are made when their turn comes, on the default backend: any number of them takes
    the memory of one block. Classes come one after the other: for steps over all samples.

    Parameters
    ----------
    samples : int
        Points of a class.
    classes : int
        Arms.
    seed : int
        As in `spiral_data`.
    block : int
        Rows of a block.

    Returns
    -------
    Blocks
        Of samples * classes rows.

    Raises
    ------
    TypeError, ValueError
        For numbers that are not positive and whole.
    """
    samples = checks.positive_int(samples, "samples")
    classes = checks.positive_int(classes, "classes")
    seed, block = checks.seed(seed, "seed"), checks.positive_int(block, "block")
    backend, rows = get_backend(), samples * classes

    def made() -> Iterator[tuple[Any, Any]]:
        for start in range(0, rows, block):
            yield backend.spiral(samples, classes, seed, start, min(start + block, rows))

    described = {"spiral": [samples, classes], "seed": seed, "block": block}
    made.__qualname__ = "spiral_blocks"
    return Blocks(made, rows, fingerprint=described)


def is_source(x: Any) -> bool:
    """Whether `x` gives blocks: it is no array, no table and no list."""
    if hasattr(x, "dtype") or isinstance(x, type) or is_table(x):
        return False
    iterates = hasattr(x, "__iter__") and (hasattr(x, "samples") or hasattr(x, "__next__"))
    return callable(x) or iterates


def as_source(x: Any, name: str) -> Any:
    """`x` itself where it has `samples` and `__iter__`, else `Blocks` around it.

    Raises ValueError, with the argument's `name`, for an iterator.
    """
    if hasattr(x, "samples") and hasattr(x, "__iter__"):
        return x
    if runs_out(x):
        raise ValueError(_used_once(x, name))
    return Blocks(x)


def _used_once(x: Any, name: str) -> str:
    return (
        f"got a {type(x).__name__}, which can be used once, and no samples; give samples=N, its "
        "rows, or a function that returns a new iterator. Where all of it fits into memory use "
        f"Blocks(list({name})) for batches, X, y = zip(*{name}) for single samples"
    )


def given_parts(value: Any, name: str) -> tuple[Any, Any, Any]:
    """Data, targets and weights of `value`, a tuple or list of two or three; without weights None.

    Raises TypeError for anything else.
    """
    kind = type(value).__name__
    if isinstance(value, (tuple, list)):
        if len(value) in (2, 3):
            return value[0], value[1], value[2] if len(value) == 3 else None
        kind = f"a {kind} of {len(value)}"
    raise TypeError(f"{name}: got {kind}, expected a pair (X, y), or (X, y, sample_weight)")


def targets_inside(x: Any, name: str) -> str:
    """What to do with an `x` that is no source but holds its targets; "" for what does not.

    name  of the argument that `x` was
    """
    kind = type(x).__name__
    buffer = hasattr(x, "tobytes")  # of numbers: an array.array, a memoryview
    if is_table(x) or isinstance(x, (dict, str)) or hasattr(x, "dtype") or buffer:
        return ""
    if isinstance(x, Sequence):  # lists, tuples, deques
        return {
            "batches": f"got a {kind} of batches (X, y), which go in Blocks: use Blocks({name})",
            "samples": f"got a {kind} of single samples (x, y): use X, y = zip(*{name})",
        }.get(holds_pairs(x), "")
    if _is_torch_dataset(x) or (hasattr(x, "__getitem__") and not hasattr(x, "__iter__")):
        remedy = f"use Blocks(torch.utils.data.DataLoader({name}, batch_size=1024))"
        if hasattr(x, "__getitem__") and hasattr(x, "__len__"):
            remedy += f", or X, y = zip(*[{name}[i] for i in range(len({name}))])"
        return f"got a {kind}, which gives single samples (x, y): {remedy}"
    if hasattr(x, "__iter__"):  # a DataLoader of PyTorch, and its like
        return f"got a {kind}; what gives batches (X, y) goes in Blocks: use Blocks({name})"
    return ""


def holds_pairs(x: Any) -> str:
    """Whether a list holds "batches" (X, y) or single "samples" (x, y); "" for others."""
    if not len(x) or not all(isinstance(pair, (tuple, list)) and len(pair) == 2 for pair in x):
        return ""
    if all(_axes(data) >= 2 for data, _ in x):
        return "batches"
    return "samples" if all(_axes(data) and not _axes(target) for data, target in x) else ""


def _axes(x: Any) -> int:
    """The axes of an array or of nested lists, told by their first elements."""
    if hasattr(x, "shape"):
        return len(x.shape)
    return 1 + (_axes(x[0]) if len(x) else 0) if isinstance(x, (list, tuple)) else 0


def _is_torch_dataset(x: Any) -> bool:
    """PyTorch's own class, told by its name: nothing is imported."""
    return any(
        c.__name__ == "Dataset" and c.__module__.startswith("torch.") for c in type(x).__mro__
    )


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
