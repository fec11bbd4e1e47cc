"""A user's program type-checks against the package, as a wheel and as an editable install.

A checker runs no import hooks: it reads site-packages and the paths in its .pth files. Both are
laid out here as an installer does it, and mypy (and basedpyright, where it is installed) reads
them as a user's would.
"""

import json
import os
import subprocess
import sys
import venv
from importlib.util import find_spec
from pathlib import Path

import pytest
from built_package import LINKS, ROOT, build, copy_of_project, unpack

PROGRAM = Path(__file__).parent / "typed_program.py"
MISTAKES = [
    number
    for number, line in enumerate(PROGRAM.read_text(encoding="utf-8").splitlines(), 1)
    if line.endswith("# mistake")
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Copies, installations and mypy's cache of this module."""
    return tmp_path_factory.mktemp("typing")


@pytest.fixture(scope="module", params=["wheel", "editable"])
def python(request, folder):
    """The Python of an environment where the package is installed, and NumPy."""
    if request.param == "editable" and not all((ROOT / link).is_dir() for link in LINKS):
        pytest.skip(
            "an editable install is a path where the links are, in a checkout: see setup.py"
        )
    place = folder / request.param
    project = copy_of_project(place / "project")
    venv.create(place / "env", symlinks=os.name == "posix")
    (site,) = (place / "env").glob("**/site-packages")
    unpack(build(project, place / "out", request.param), site)
    numpy = Path(find_spec("numpy").origin).parent
    (site / "numpy").symlink_to(numpy)  # and not its neighbours, of which nnfs_gpu may be one
    return place / "env" / ("bin/python" if os.name == "posix" else "Scripts/python.exe")


def lines_with_errors(text: str) -> list[int]:
    """Of mypy's output, "program.py:12: error: ..."; nothing else may be wrong."""
    found = [line.split(":")[:3] for line in text.splitlines() if ": error:" in line]
    assert {name for name, _, _ in found} <= {PROGRAM.name}, text
    return [int(number) for _, number, _ in found]


@pytest.mark.parametrize("options", [(), ("--strict",)], ids=["default", "strict"])
def test_mypy_knows_the_package(python, folder, options):
    pytest.importorskip("mypy", reason="mypy checks the program")
    arguments = [
        "--python-executable",
        str(python),
        "--cache-dir",
        str(folder / f"cache{len(options)}"),
    ]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file=", *arguments, *options, str(PROGRAM)],
        cwd=PROGRAM.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert lines_with_errors(done.stdout) == MISTAKES, done.stdout + done.stderr


def test_pyright_knows_the_package(python):
    pytest.importorskip("basedpyright", reason="basedpyright checks the program")
    settings = python.parent / "pyrightconfig.json"  # as pyright itself has them
    settings.write_text('{"typeCheckingMode": "standard"}')
    arguments = ["--outputjson", "--level", "error", "--pythonpath", str(python), str(PROGRAM)]
    done = subprocess.run(
        [sys.executable, "-m", "basedpyright", *arguments],
        cwd=python.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    found = json.loads(done.stdout)["generalDiagnostics"]
    assert [one["range"]["start"]["line"] + 1 for one in found] == MISTAKES, done.stdout


def test_without_links_an_editable_install_is_the_import_hook(tmp_path):
    """Git on Windows checks out links as text files: what is imported is the same."""
    project = copy_of_project(tmp_path / "project", links=False)
    site = unpack(build(project, tmp_path / "out", "editable"), tmp_path / "site")
    numpy = str(Path(find_spec("numpy").origin).parent.parent)
    code = (
        "import site, sys\n"
        "site.addsitedir(sys.argv[1])\n"
        "sys.path.append(sys.argv[2])\n"
        "import nnfs_gpu.kernels as k; print(k.__file__)"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-P", "-c", code, str(site), numpy],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(project / "kernels" / "__init__.py")
