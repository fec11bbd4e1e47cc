"""A model in one line, as a table for terminals, and as HTML for notebooks.

`Model` calls `line`, `print_summary` and `html`. A model may be unfinished or hold layers of the
user's own: what is not known is "?", and nothing here raises.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from .. import fused
from ..network.network import Network
from ..own.parts import is_trainable, ours
from ..parameters import REGULARIZERS, factors, parameters_of, penalties
from ..reprs import described

if TYPE_CHECKING:
    from rich.table import Table

WIDTH = 100  # columns of the text that is not for a terminal
MOST_ROWS = 24  # of the table in a notebook, where a model is shown unasked
UNKNOWN = "?"
LEFT_OUT = (*REGULARIZERS, "seed")  # these have a column; that one would fill it


# ---- what is known ----
@dataclass(frozen=True)
class Row:
    """A layer: texts for people, and what its parameters are and take."""

    layer: str
    output: str
    parameters: int
    bytes: int
    regularization: str


def rows(model: Network) -> Iterator[Row]:
    """The layers in their order."""
    width: int | None = None
    for layer in model.layers:
        width = _width_behind(layer, width)
        held = [one.values for one in parameters_of(layer) if one.values is not None]
        yield Row(
            described(layer, but=LEFT_OUT) if ours(layer, "__repr__") else type(layer).__name__,
            f"(N, {UNKNOWN if width is None else width})",
            sum(int(getattr(values, "size", 0)) for values in held),
            sum(int(getattr(values, "nbytes", 0)) for values in held),
            ", ".join(penalties(factors(layer))),
        )


def _sizes(layer: Any) -> tuple[int, int] | None:
    """(inputs, outputs) of a layer of weights; None where it does not say so."""
    sizes: Any = getattr(layer, "n_inputs", None), getattr(layer, "n_neurons", None)
    if not all(isinstance(size, int) for size in sizes):
        sizes = getattr(getattr(layer, "weights", None), "shape", ())
    return (int(sizes[0]), int(sizes[1])) if len(sizes) == 2 else None


def _width_behind(layer: Any, width: int | None) -> int | None:
    """Columns of the layer's output, for so many of its input."""
    sizes = _sizes(layer)
    if sizes is not None:
        return sizes[1]
    return width if ours(layer, "forward") else None


def line(model: Network) -> str:
    """Such as Model(2-64-3, ReLU, Softmax, float32, numba; 387 parameters)."""
    name = type(model).__name__
    if not model.layers:
        return f"{name}(no layers)"
    widths: list[int] = []
    others: dict[str, None] = {}
    for layer in model.layers:
        sizes = _sizes(layer)
        if sizes is None:
            kind = type(layer).__name__
            others[kind.removeprefix("Activation_").removeprefix("Layer_")] = None
        else:
            widths += sizes if not widths else sizes[1:]
    words = ["-".join(map(str, widths))] if widths else []
    words += [*others, model.backend.dtype.name, model.backend.name]
    count = _count(sum(row.parameters for row in rows(model)))
    return f"{name}({', '.join(words)}; {count}{'' if model.finalized else ', not finalized'})"


def _count(parameters: int) -> str:
    return f"{parameters:,} parameter{'' if parameters == 1 else 's'}"


def facts(model: Network) -> dict[str, str]:
    """What is said below the layers, by its name."""
    sizes = [row.bytes for row in rows(model)]
    count = _count(sum(row.parameters for row in rows(model)))
    trainable = [layer for layer in model.layers if is_trainable(layer)]
    kept = sum(
        int(array.nbytes)
        for layer in trainable
        for one in parameters_of(layer)
        for array in one.state.values()
    )
    found = {"parameters": f"{count}, {_bytes(sum(sizes))} of {model.backend.dtype.name}"}
    if kept:
        found["optimizer state"] = _bytes(kept)
    for what in ("loss", "optimizer", "accuracy"):
        part = getattr(model, what)
        found[what] = "not set" if part is None else _name(part)
    found["backend"] = f"{model.backend.name} ({model.backend.version()})"
    found["engine"] = _engine(model)
    return found


def _name(part: Any) -> str:
    return repr(part) if ours(part, "__repr__") else type(part).__name__


def _engine(model: Network) -> str:
    """What `train` would do a step with, and why."""
    missing = [what for what in ("loss", "optimizer") if getattr(model, what) is None]
    if missing:
        return f"known when there is a {' and an '.join(missing)}"
    if not model.finalized:
        return "known after finalize()"
    return fused.chosen(model)


def _bytes(count: int) -> str:
    """1536 as "1.5 KiB"."""
    size, unit = float(count), "bytes"
    for larger in ("KiB", "MiB", "GiB"):
        if size < 1024:
            break
        size, unit = size / 1024, larger
    return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"


# ---- for people ----
def print_summary(model: Network, print_fn: Callable[[str], Any] | None) -> None:
    """Print the table, or call `print_fn` with its text."""
    from rich.console import Console

    if print_fn is not None and not callable(print_fn):
        raise TypeError(
            f"summary: got print_fn {print_fn!r}, expected a function of a text, such as print"
        )
    if print_fn is not None:
        file = io.StringIO()
        _print(Console(file=file, width=WIDTH, **_PLAIN), model)
        print_fn(file.getvalue())
        return
    console = Console(**_PLAIN)
    if not (console.is_terminal or console.is_jupyter):
        console.width = WIDTH
    _print(console, model)


_PLAIN: dict[str, Any] = {"highlight": False, "emoji": False, "markup": False}


def _print(console: Any, model: Network) -> None:
    """All in one piece, which a notebook shows as one; long lines stay whole."""
    from rich.console import Group
    from rich.text import Text

    known = facts(model)
    width = max(map(len, known))
    below = "\n".join(f"{name:{width}}  {value}" for name, value in known.items())
    texts = [Text(text, no_wrap=True, overflow="ignore") for text in (line(model), below)]
    layers: list[Any] = ["", _table(model), ""] if model.layers else []
    console.print(Group(texts[0], *layers, texts[1]), crop=False)


def _table(model: Network) -> Table:
    from rich import box
    from rich.table import Table

    found = list(rows(model))
    penalized = any(row.regularization for row in found)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("")
    widest = max((len(row.layer) for row in found), default=0)
    table.add_column("layer", overflow="fold", min_width=min(widest, 48))
    table.add_column("output")
    for name in ("parameters", "bytes"):
        table.add_column(name, justify="right")
    if penalized:
        table.add_column("regularization")
    for number, row in enumerate(found):
        table.add_row(str(number), *_cells(row, penalized))
    return table


def _cells(row: Row, penalized: bool) -> list[str]:
    """The texts of a line of the table, but for its number."""
    sizes = [f"{row.parameters:,}", _bytes(row.bytes)] if row.parameters else ["", ""]
    return [row.layer, row.output, *sizes, *([row.regularization] if penalized else [])]


def html(model: Network) -> str:
    """A small table in the page's own colours, without the layers in the middle of very many."""
    found = list(rows(model))
    penalized = any(row.regularization for row in found)
    names = ["", "layer", "output", "parameters", "bytes"]
    names += ["regularization"] if penalized else []
    lines = [[str(number), *_cells(row, penalized)] for number, row in enumerate(found)]
    if len(lines) > MOST_ROWS:
        half = MOST_ROWS // 2
        gap = ["...", f"{len(lines) - 2 * half} more", *[""] * (len(names) - 2)]
        lines = [*lines[:half], gap, *lines[-half:]]
    body = "".join(f"<tr>{_html_cells('td', cells)}</tr>" for cells in lines)
    engine = escape(facts(model)["engine"])
    return (
        f"<div><code>{escape(line(model))}</code>"
        + (f"<table><thead><tr>{_html_cells('th', names)}</tr></thead>" if lines else "")
        + (f"<tbody>{body}</tbody></table>" if lines else "")
        + f"<small>engine: {engine}</small></div>"
    )


def _html_cells(tag: str, cells: list[str]) -> str:
    """Texts to the left, numbers to the right."""
    sides = ["right", "left", "left", "right", "right", "left"]
    return "".join(
        f'<{tag} style="text-align:{side}">{escape(cell)}</{tag}>'
        for side, cell in zip(sides, cells, strict=False)
    )
