"""Tables as bytes with a name, and what reading or fitting one says where it refuses."""

from __future__ import annotations

import io

import pytest

from nnfs_gpu.tables.reading import read_table
from nnfs_gpu.tables.table import TableError


def stream(content, name="t.csv"):
    """An open file of that name."""
    file = io.BytesIO(content.encode() if isinstance(content, str) else content)
    file.name = name
    return file


def read(content, **options):
    """The table in text or bytes."""
    return read_table(stream(content), **options)


def refusal(act, *arguments, **options):
    """What the TableError says."""
    with pytest.raises(TableError) as caught:
        act(*arguments, **options)
    return str(caught.value)
