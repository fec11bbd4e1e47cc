"""Which backends the suite runs over here: the others are skipped, each with its reason."""

from __future__ import annotations

import pytest
from helpers import BACKENDS, EMULATED, MUST_WORK, status_of


@pytest.mark.parametrize("name", [*BACKENDS, EMULATED])
def test_backend_is_part_of_this_run(name):
    status = status_of(name)
    if name in MUST_WORK:
        assert status.usable, f"{status.reason}; {status.remedy}"
    if not status.usable:
        pytest.skip(f"{name}: {status.reason}; {status.remedy}")
