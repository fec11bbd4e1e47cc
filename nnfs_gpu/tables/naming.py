"""What the columns of a source are called and declared to be, before their cells are read.

A `Naming` is asked by every reader: `Declared` has the user's own words, `Expected` those of a
model's preprocessing, whose columns may come in another order, or without names in the old one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from .cells import TARGET
from .table import TableError, closest, listed, shown

IGNORE = "ignore"  # a column that is not read
Named = list[tuple[str, str | None]]  # name, and "text", "number", TARGET, IGNORE or None


class Naming(Protocol):
    """Names and kinds of columns."""

    def known(self, name: str) -> bool:
        """Whether it is a column's name: where a row has one, it is a header."""

    def kind(self, name: str) -> str | None:
        """What the column is declared to be."""

    def named(self, names: Sequence[str], header: bool, source: str) -> Named:
        """Name and kind of each column of a source. Raises TableError where they do not fit."""


class Declared:
    """The user's words: each column keeps its name.

    target  the column that is to be learned
    """

    def __init__(
        self,
        text: Iterable[str] = (),
        number: Iterable[str] = (),
        ignore: Iterable[str] = (),
        target: str | None = None,
    ):
        self.kinds: dict[str, str] = {}
        for kind, names in (("text", text), ("number", number), (IGNORE, ignore)):
            for name in (names,) if isinstance(names, str) else names:
                if self.kinds.setdefault(name, kind) != kind:
                    raise TableError(
                        f"column {shown(name)}: got {self.kinds[name]} and {kind}, expected one"
                    )
        if target is not None and self.kinds.setdefault(target, TARGET) == IGNORE:
            raise TableError(f"column {shown(target)}: got ignore, expected the target to be read")
        self._found: list[str] = []

    def known(self, name: str) -> bool:
        """Whether the user has named it."""
        return name in self.kinds

    def kind(self, name: str) -> str | None:
        """As declared; None: by its cells."""
        return self.kinds.get(name)

    def named(self, names: Sequence[str], header: bool, source: str) -> Named:
        """Every column under its own name."""
        del header, source  # which others need
        self._found = list(names)
        return [(name, self.kinds.get(name)) for name in names]

    def check(self, names: Iterable[str], source: str) -> None:
        """TableError where a declared column is neither among `names` nor was left out."""
        found = list(dict.fromkeys((*self._found, *names)))
        for name in self.kinds:
            if name not in found:
                one = '; where several stand in it, give separator, such as separator="space"'
                raise TableError(
                    f"{source}: has no column {shown(name)}{closest(name, found)}"
                    + (one if len(found) == 1 else "")
                )


class Expected:
    """Columns as those that a preprocessing was fitted to.

    columns  all of them in the order of then, with their kinds
    target   the one among them that is to be learned; it may be missing now, as ignored ones may
    header   whether they have names of their own
    ignore   more names to leave out now
    """

    def __init__(
        self, columns: Mapping[str, str], target: str, header: bool, ignore: Iterable[str] = ()
    ):
        self.columns = {**columns, target: TARGET}
        self.target, self.header = target, header
        self.ignore = {ignore} if isinstance(ignore, str) else set(ignore)
        self.features = [
            name for name, kind in columns.items() if name != target and kind != IGNORE
        ]

    def known(self, name: str) -> bool:
        """Whether it is a column of then."""
        return self.header and name in self.columns

    def kind(self, name: str) -> str | None:
        """What it was."""
        return self.columns.get(name)

    def named(self, names: Sequence[str], header: bool, source: str) -> Named:
        """By name where both have names, else by place. Raises TableError, naming columns."""
        if not (header and self.header):
            return self._by_place(names, source)
        for name in self.features:
            if name not in names or name in self.ignore:
                raise TableError(
                    f"{source}: has no column {shown(name)}, which the model needs"
                    f"{closest(name, names)}{self._no_names(names)}"
                )
        extra = [name for name in names if name not in self.columns and name not in self.ignore]
        if extra:
            raise TableError(
                f"{source}: has the column {shown(extra[0])}, which the model does not know; leave "
                f'it out with ignore="{extra[0]}", where it is not one of {listed(self.features)}'
            )
        return [(n, IGNORE if n in self.ignore else self.columns[n]) for n in names]

    def _no_names(self, names: Sequence[str]) -> str:
        if any(map(self.known, names)):
            return ""
        return "; where these are no names but a first row, give header=False"

    def _by_place(self, names: Sequence[str], source: str) -> Named:
        """Of the features alone, or of all columns."""
        for expected in (self.features, list(self.columns)):
            if len(expected) == len(names):
                return [(name, self.columns[name]) for name in expected]
        also = f", or {len(self.columns)} with {shown(self.target)}"
        raise TableError(
            f"{source}: got {len(names)} columns without names, expected {len(self.features)}, "
            f"{listed(self.features)}{also if len(self.columns) > len(self.features) else ''}"
        )
