"""Files for the tests of storage."""

from __future__ import annotations

import pytest
from model_files import build, to_format_1

from nnfs_gpu import use_backend


@pytest.fixture
def second(tmp_path):
    """A file that a float32 NumPy model wrote, format 2."""
    use_backend("numpy", dtype="float32")
    path = tmp_path / "model.safetensors"
    build().save(path)
    return path


@pytest.fixture
def first(second):
    """The same in format 1."""
    to_format_1(second)
    return second


@pytest.fixture(params=["first", "second"])
def file(request):
    """Both formats: what is wrong in either is an error."""
    return request.getfixturevalue(request.param)
