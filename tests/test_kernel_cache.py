"""Compiled kernels on disk are used again if and only if nothing they are made of has changed."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

KERNELS = Path(__file__).resolve().parent.parent / "kernels"
CALLER = """
from .common import jit
from .callee import FACTOR, change

@jit
def kernel(x):
    return change(x) * FACTOR
"""
CALLEE = """
from .common import jit
FACTOR = {factor}

@jit
def change(x):
    return x + {step}
"""


@pytest.fixture
def package(tmp_path):
    """A folder of kernels of our own, with what the project's are compiled by."""
    folder = tmp_path / "some_kernels"
    folder.mkdir()
    for name in ("common", "cache", "compiler", "elementary", "vectors"):
        (folder / f"{name}.py").write_bytes((KERNELS / f"{name}.py").read_bytes())
    (folder / "__init__.py").touch()
    (folder / "caller.py").write_text(CALLER)
    (folder / "callee.py").write_text(CALLEE.format(factor=10, step=1))
    return folder


def run(package: Path, program: str) -> list[str]:
    """What `program` prints, in a process of its own that sees the package."""
    environment = os.environ | {"NUMBA_CACHE_DIR": str(package.parent / "cache")}
    program = "from some_kernels.caller import kernel\n" + textwrap.dedent(program)
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=package.parent,
        env=environment,
        text=True,
        capture_output=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


ONCE = "print(kernel(2.0), sum(kernel.stats.cache_misses.values()))"


def test_code_is_compiled_once(package):
    assert run(package, ONCE) == ["30.0", "1"]
    assert run(package, ONCE) == ["30.0", "0"]


@pytest.mark.parametrize(("factor", "step", "expected"), [(7, 1, "21.0"), (10, 5, "70.0")])
def test_a_change_in_another_file_is_seen(package, factor, step, expected):
    """Numba's own cache looks at caller.py alone, and would run the old code."""
    run(package, ONCE)
    (package / "callee.py").write_text(CALLEE.format(factor=factor, step=step))
    callee = package / "callee.py"
    os.utime(callee, ns=(0, callee.stat().st_mtime_ns + 1_000_000))  # a coarse clock
    assert run(package, ONCE) == [expected, "1"]
    assert run(package, ONCE) == [expected, "0"]
    folder = next((package.parent / "cache").iterdir())
    assert len(list(folder.glob("caller.kernel-*.nbc"))) == 1  # the old file is gone


def test_two_signatures_saved_at_once_keep_their_code(package):
    """Both writers have read the index before either writes: they must not share a file."""
    program = """
        from some_kernels import cache
        cache.KernelFiles._load_index = lambda self: {}
        kernel(2.0), kernel(2)
    """
    run(package, program)
    # The index of the last writer is there; the other signature is compiled again.
    answers = run(package, "print(kernel(2.5), kernel(2))")
    assert answers == ["35.0", "30"]
