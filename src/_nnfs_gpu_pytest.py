"""pytest's plugin of nnfs_gpu: the option `--nnfs-backend` and the fixture `nnfs_backend`.

pytest imports this whenever it starts, also in projects that have nothing to do with nnfs_gpu. So
it lies beside the package and not in it, and imports nothing of it before a test asks for the
fixture. The user's page is docs/ci.md.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

FIXTURE, OPTION, VARIABLE = "nnfs_backend", "--nnfs-backend", "NNFS_GPU_BACKEND"
ALL = "all"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Called by pytest."""
    parser.getgroup("nnfs_gpu").addoption(
        OPTION,
        metavar="NAME,...",
        action="append",
        default=[],
        help="backends that tests with the fixture nnfs_backend of nnfs_gpu run on; all: those "
        "that work here. Without it: NNFS_GPU_BACKEND, else all",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Called by pytest for each test: one with the fixture runs once on every backend."""
    if FIXTURE in metafunc.fixturenames and not _parametrized(metafunc):
        metafunc.parametrize(FIXTURE, _names(metafunc.config), indirect=True)


@pytest.fixture
def nnfs_backend(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A backend of nnfs_gpu, the default one while the test runs: in float32, with no settings of
    `nnfs_gpu.init()`.

    Fails with nnfs_gpu's BackendUnavailableError where one that was asked for cannot work here.
    """
    from nnfs_gpu import use_backend

    settings = {"dtype": "float32", "precise_dot": False, "book_random": False}
    with use_backend(request.param, **settings) as backend:
        yield backend


def _parametrized(metafunc: pytest.Metafunc) -> bool:
    """Whether the test itself says on which backends it runs."""
    for mark in metafunc.definition.iter_markers("parametrize"):
        names = mark.args[0] if mark.args else mark.kwargs.get("argnames", ())
        names = names.replace(",", " ").split() if isinstance(names, str) else names
        if FIXTURE in names:
            return True
    return False


def _names(config: pytest.Config) -> list[str]:
    """The names asked for. Raises UsageError for others than nnfs_gpu knows."""
    from nnfs_gpu import available_backends

    given, where = ",".join(config.getoption(OPTION)), OPTION
    if not given:
        given, where = os.environ.get(VARIABLE) or ALL, VARIABLE
    names = list(dict.fromkeys(name.strip() for name in given.split(",")))
    found = available_backends()
    if names == [ALL]:
        return [name for name, status in found.items() if status.usable]
    unknown = [name for name in names if name not in ("auto", *found)]
    if unknown:
        raise pytest.UsageError(
            f"{where}: got {unknown[0]!r}, expected {ALL}, or of auto, {', '.join(found)}, with "
            "commas between"
        )
    return names
