"""Fixtures of the tests of backends."""

from __future__ import annotations

import pytest

from nnfs_gpu.backend.cpu.workers import Workers


@pytest.fixture(scope="module")
def pool():
    """Three threads for all tests of a file: what one test leaves behind, the next would find."""
    return Workers(3)
