"""Files for the tests of storage."""

from __future__ import annotations

import pytest
from model_files import build

from nnfs_gpu import use_backend


@pytest.fixture
def file(tmp_path):
    """A file that a float32 NumPy model wrote."""
    use_backend("numpy", dtype="float32")
    path = tmp_path / "model.safetensors"
    build().save(path)
    return path
