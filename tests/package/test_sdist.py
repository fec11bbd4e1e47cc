"""An sdist is the repository: all that people wrote, so that it can be built, tested and measured.

Built as pip and uv build it, without the network. The two links of a checkout are not in it: they
are there for editable installs (setup.py), and an archive for every system has none.
"""

from __future__ import annotations

import shutil
import subprocess
import tarfile

import pytest
from built_package import LINKS, ROOT, build

MADE = {"PKG-INFO", "setup.cfg"}  # by setuptools, as is what lies in *.egg-info


def written():
    """What people wrote, as Git knows it: tracked, or new and not ignored."""
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("no Git checkout: nothing says which files people wrote")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return {name for name in listed.split("\0") if name and (ROOT / name).is_file()} - {*LINKS}


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    """What was written, and the names in an sdist that is built from a copy of it."""
    names, folder = written(), tmp_path_factory.mktemp("sdist")
    for name in names:
        (folder / "copy" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / "copy" / name)
    with tarfile.open(build(folder / "copy", folder / "out", "sdist")) as archive:
        files = {member.name.partition("/")[2] for member in archive if member.isfile()}
    return names, files


def test_an_sdist_holds_what_people_wrote_and_nothing_else(sdist):
    names, files = sdist
    held = {name for name in files if ".egg-info/" not in name} - MADE
    assert held == names


def test_an_sdist_holds_documents_and_what_its_tests_need(sdist):
    _, files = sdist
    for name in (
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "docs/decisions/README.md",
        "docs/decisions/threads.md",
        "Makefile",
        "bench/__main__.py",
        "bench/results/train_cpu.json",
        "tests/conftest.py",
        "tests/helpers.py",
        "tests/networks.py",
        "tests/emulation/shim.h",
    ):
        assert name in files
