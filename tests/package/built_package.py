"""The package as other machines get it: a wheel, an sdist or an editable install, from a copy.

Built by the hooks that pip and uv call, without the network.
"""

import importlib.metadata
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINKS = ("src/nnfs_gpu", "nnfs_gpu/kernels")  # in a checkout; an sdist has none
HOOK = "import setuptools.build_meta as b; b.build_{kind}({out!r})"
NOT_COPIED = (".*", "__pycache__", "*.pyc", "*.egg-info", "build", "dist", "runs", "results")


def copy_of_project(folder: Path, *, links: bool = True) -> Path:
    """Everything that a build reads, in a new folder; without `links`, as Git leaves it where the
    system has none: small text files in their place."""
    shutil.copytree(ROOT, folder, symlinks=True, ignore=shutil.ignore_patterns(*NOT_COPIED))
    for link in () if links else (folder / name for name in LINKS):
        if link.is_symlink():
            target = link.readlink()
            link.unlink()
            link.write_text(str(target))
    return folder


def build(project: Path, out: Path, kind: str) -> Path:
    """The wheel of a "wheel" or "editable" install of `project`, or its "sdist"; skipped without
    setuptools."""
    try:
        version = importlib.metadata.version("setuptools")
    except importlib.metadata.PackageNotFoundError:
        version = "0"
    if int(version.split(".")[0]) < 77:
        pytest.skip(f"building needs setuptools 77 or newer here; found {version}")
    out.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", HOOK.format(kind=kind, out=str(out))],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (path,) = out.iterdir()
    return path


def unpack(wheel: Path, site: Path) -> Path:
    """What an installer does with a wheel of Python files."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    return site
