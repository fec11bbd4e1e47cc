"""pytest's plugin for projects that use the package: runs of pytest of their own.

Proves that the fixture `nnfs_backend` gives each backend that is asked for as the default one, that
wrong names are refused in a line, and that a start of pytest imports nothing of the package.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest
from built_package import ROOT
from helpers import usable_backends

TESTS = """
import nnfs_gpu

def test_it(nnfs_backend):
    assert nnfs_gpu.get_backend() is nnfs_backend
    assert nnfs_gpu.Layer_Dense(2, 3).backend is nnfs_backend
    assert str(nnfs_backend.dtype) == "float32" and not nnfs_backend.book_random
    nnfs_gpu.init()

def test_another():
    pass
"""


def project(folder, text=TESTS):
    (folder / "test_theirs.py").write_text(textwrap.dedent(text))
    return folder


def ran(folder, *arguments, **variables):
    """One run of pytest in a project of a user's, which has the plugin and no other."""
    paths = os.pathsep.join([str(ROOT), str(ROOT / "src")])
    environment = {key: value for key, value in os.environ.items() if key != "NNFS_GPU_BACKEND"}
    environment |= {"PYTHONPATH": paths, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = [
        sys.executable,
        "-W",
        "error",
        "-m",
        "pytest",
        "-p",
        "_nnfs_gpu_pytest",
        "-W",
        "error",
    ]
    return subprocess.run(
        [*command, "-p", "no:cacheprovider", "-v", *arguments],
        cwd=folder,
        env=environment | variables,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def names(done):
    """The backends that the test ran on, as pytest shows them."""
    lines = [line for line in done.stdout.splitlines() if "::test_it[" in line]
    assert all("PASSED" in line for line in lines), done.stdout
    return [line.partition("[")[2].partition("]")[0] for line in lines]


@pytest.mark.parametrize(
    ("arguments", "variables", "expected"),
    [
        (["--nnfs-backend", "numpy,auto"], {}, ["numpy", "auto"]),
        (["--nnfs-backend=numba", "--nnfs-backend=numpy"], {}, ["numba", "numpy"]),
        ([], {"NNFS_GPU_BACKEND": "numpy"}, ["numpy"]),
        (["--nnfs-backend=all"], {"NNFS_GPU_BACKEND": "numpy"}, None),
        ([], {}, None),
    ],
)
def test_the_backends_that_are_asked_for(arguments, variables, expected, tmp_path):
    done = ran(project(tmp_path), *arguments, **variables)
    assert done.returncode == 0, done.stdout + done.stderr
    assert names(done) == (usable_backends() if expected is None else expected)
    assert "test_another PASSED" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "variables", "where"),
    [
        (["--nnfs-backend=numpy,abacus"], {}, "--nnfs-backend"),
        ([], {"NNFS_GPU_BACKEND": "abacus"}, "NNFS_GPU_BACKEND"),
    ],
)
def test_other_names_are_refused_in_a_line(arguments, variables, where, tmp_path):
    done = ran(project(tmp_path), *arguments, **variables)
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert f"{where}: got 'abacus', expected all, or of auto, cupy, numba-cuda, numba" in said
    assert "Traceback" not in said


def test_one_that_cannot_work_fails_with_the_reason(tmp_path):
    done = ran(project(tmp_path), "--nnfs-backend=numba", NUMBA_DISABLE_JIT="1")
    assert done.returncode == 1
    assert "turned off by NUMBA_DISABLE_JIT=1" in done.stdout


def test_a_test_may_choose_itself(tmp_path):
    text = """
        import pytest

        @pytest.mark.parametrize("nnfs_backend", ["numpy"], indirect=True)
        def test_it(nnfs_backend):
            assert nnfs_backend.name == "numpy"

        @pytest.mark.parametrize("other, nnfs_backend", [(1, "numpy")], indirect=["nnfs_backend"])
        def test_both(nnfs_backend, other):
            assert (nnfs_backend.name, other) == ("numpy", 1)
    """
    done = ran(project(tmp_path, text), "--nnfs-backend=numba")
    assert done.returncode == 0, done.stdout
    assert names(done) == ["numpy"]
    assert "2 passed" in done.stdout


def test_pytest_starts_without_the_package(tmp_path):
    text = """
        import sys

        def test_it():
            loaded = {name.partition(".")[0] for name in sys.modules}
            assert "_nnfs_gpu_pytest" in loaded
            assert not loaded & {"nnfs_gpu", "numpy", "numba"}
    """
    done = ran(project(tmp_path, text))
    assert done.returncode == 0, done.stdout


def test_a_process_that_has_the_package_starts_pytest_without_a_warning():
    """As a notebook does. pytest rewrites asserts of plugins' packages, and would warn."""
    import nnfs_gpu

    assert "PYTEST_DONT_REWRITE" in nnfs_gpu.__doc__
