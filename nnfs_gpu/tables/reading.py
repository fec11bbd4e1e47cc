"""Reading a table from whatever holds it: a file, a folder of pictures, a stream.

The kind of a file is found in its first bytes, not in its name: CSV and its relatives (`text.py`),
.npy, .npz and Parquet (`arrays.py`). A folder holds pictures in the book's layout, with halves
(train/0/*.png, test/0/*.png) or without (0/*.png); or pictures without classes (*.png).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from .. import images
from .arrays import of_array, read_npy, read_npz, read_parquet
from .naming import Declared, Naming
from .table import Table, TableError, Texts
from .text import Format, read_text

STANDARD_INPUT = "standard input"
LABEL = "class"  # the column that the names of class folders make
# What begins each kind of file; all else is text.
MAGIC = {b"\x93NUMPY": read_npy, b"PK\x03\x04": read_npz, b"PAR1": read_parquet}


def read_table(
    source: Any,
    *,
    text: Iterable[str] = (),
    number: Iterable[str] = (),
    ignore: Iterable[str] = (),
    target: str | None = None,
    separator: str | None = None,
    decimal: str = ".",
    encoding: str | None = None,
    header: bool | None = None,
) -> Table:
    """Read a table: CSV and its relatives, .npy, .npz, Parquet, or a folder of pictures.

    Parameters
    ----------
    source : path or binary file
        A file, a folder, or an open binary file such as sys.stdin.buffer.
    text : str or iterable of str
        Columns that hold texts, even where they are written with digits.
    number : str or iterable of str
        Columns that hold numbers: a word in them is an error.
    ignore : str or iterable of str
        Columns that are left out.
    target : str, optional
        The column that is to be learned: kept as it is written. A header is told by it, too.
    separator : str, optional
        Of a text: a character, or "tab", "space", ...; None: found out.
    decimal : {".", ","}
        What numbers in a text are written with.
    encoding : str, optional
        Of a text; None: UTF-8, or UTF-16 with its mark.
    header : bool, optional
        Whether the first row of a text has names; None: where it has one that is known, or where
        no number is among its cells.

    Returns
    -------
    Table
        Columns of numbers and of texts; `tables/cells.py` says which is which. `test` is the half
        for testing, where the source has two.

    Raises
    ------
    TableError
        For what is no table, with its line and column; what to do is said in arguments of this
        function.
    OSError
        Where the file cannot be read.
    """
    naming = Declared(text, number, ignore, target)
    table = read_as(source, naming, Format(separator, decimal, encoding, header))
    naming.check(table.columns, table.source)
    return table


def read_as(source: Any, naming: Naming, form: Format) -> Table:
    """The table in `source`, with the columns that `naming` says. Raises as `read_table`."""
    if hasattr(source, "read"):
        name = str(getattr(source, "name", "a stream"))
        return _of_bytes(source.read(), STANDARD_INPUT if name == "<stdin>" else name, form, naming)
    path = Path(os.fspath(source))
    if path.is_dir():
        return _pictures(path, naming)
    return _of_bytes(path.read_bytes(), str(path), form, naming)


def _of_bytes(data: bytes, source: str, form: Format, naming: Naming) -> Table:
    if not data or data.isspace():
        raise TableError(f"{source}: is empty, expected a table")
    for magic, read in MAGIC.items():
        if data.startswith(magic):
            return read(data, source, naming)
    return read_text(data, source, form, naming)


# ---- folders of pictures ----
def _pictures(folder: Path, naming: Naming) -> Table:
    """A folder of pictures. Raises ImageFolderError for one that is none."""
    train, test = (folder / split for split in images.SPLITS)
    if train.is_dir():
        table = _half(train, naming)
        return replace(table, test=_half(test, naming)) if test.is_dir() else table
    return _half(folder, naming)


def _half(folder: Path, naming: Naming) -> Table:
    if images.class_folders(folder):
        labels, files = zip(*images.class_files(folder), strict=True)
    else:
        labels, files = (), tuple(images.picture_files(folder))
    if not files:
        raise images.ImageFolderError(
            f"{folder}: holds neither class folders nor .png files; expected "
            f"{folder}/<class number>/*.png"
        )
    table = of_array(images.read_images(files), str(folder), naming)
    table = replace(table, files=list(map(str, files)))
    if not labels:
        return table
    found, codes = np.unique(labels, return_inverse=True)
    column = Texts(codes.astype(np.int32), tuple(map(str, found.tolist())))
    columns = table.columns | {LABEL: column}
    return replace(table, columns=columns, order=(*table.order, LABEL), target=LABEL)
