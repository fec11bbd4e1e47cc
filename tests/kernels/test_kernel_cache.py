"""Compiled kernels on disk are used again if and only if nothing they are made of has changed.

And nothing that stands there, or cannot be written there, stops a run or changes its numbers.
"""

from __future__ import annotations

import logging
import os
import pickle
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from nnfs_gpu.kernels.cpu import cache

KERNELS = Path(__file__).resolve().parents[2] / "kernels"
CALLER = """
from .common import jit, pointer
from .callee import FACTOR, change

@jit
def kernel(x):
    return change(x) * FACTOR

@pointer
def pointed(x):
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
    folder = tmp_path / "some_kernels" / "cpu"
    folder.mkdir(parents=True)
    for name in ("common", "cache", "compiler", "elementary", "vectors"):
        (folder / f"{name}.py").write_bytes((KERNELS / "cpu" / f"{name}.py").read_bytes())
    for init in (folder.parent, folder):
        (init / "__init__.py").touch()
    (folder / "caller.py").write_text(CALLER)
    (folder / "callee.py").write_text(CALLEE.format(factor=10, step=1))
    return folder.parent


def start(package: Path, program: str, **environment: str) -> subprocess.Popen:
    """A process of its own that sees the package and runs `program`."""
    environment = {"NUMBA_CACHE_DIR": str(package.parent / "cache")} | environment
    program = "from some_kernels.cpu.caller import kernel, pointed\n" + textwrap.dedent(program)
    return subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=package.parent,
        env=os.environ | environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def ended(process: subprocess.Popen) -> tuple[list[str], str]:
    """The words that it prints, and what it says on standard error."""
    out, err = process.communicate()
    assert process.returncode == 0, err
    return out.split(), err


def run(package: Path, program: str, **environment: str) -> list[str]:
    """What `program` prints; nothing else is said."""
    words, said = ended(start(package, program, **environment))
    assert said == ""
    return words


ONCE = "print(kernel(2.0), sum(kernel.stats.cache_misses.values()))"
BOTH = """
import ctypes, numba
address = pointed.address(numba.float64)
function = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)(address)
results = kernel(2.0), function(3.0)
print(*results, *(sum(one.stats.cache_misses.values()) for one in (kernel, pointed)))
"""


def files_of(package: Path) -> list[Path]:
    """The files of the kernels: an index and a signature each."""
    found = sorted(next((package.parent / "cache").iterdir()).iterdir())
    assert found
    return found


# ---- used again, or not ----
def test_code_is_compiled_once(package):
    assert run(package, ONCE) == ["30.0", "1"]
    assert run(package, ONCE) == ["30.0", "0"]


@pytest.mark.parametrize(("factor", "step", "expected"), [(7, 1, "21.0"), (10, 5, "70.0")])
def test_a_change_in_another_file_is_seen(package, factor, step, expected):
    """Numba's own cache looks at caller.py alone, and would run the old code."""
    run(package, ONCE)
    (package / "cpu" / "callee.py").write_text(CALLEE.format(factor=factor, step=step))
    assert run(package, ONCE) == [expected, "1"]
    assert run(package, ONCE) == [expected, "0"]
    folder = next((package.parent / "cache").iterdir())
    assert len(list(folder.glob("cpu.caller.kernel-*.nbc"))) == 1  # the old file is gone


def test_a_package_that_is_installed_anew_finds_its_code(package):
    """The same files, of another time, as in every run of CI."""
    assert run(package, ONCE) == ["30.0", "1"]
    for file in package.rglob("*.py"):
        os.utime(file, ns=(0, file.stat().st_mtime_ns + 10**12))
    assert run(package, ONCE) == ["30.0", "0"]


def test_two_signatures_saved_at_once_keep_their_code(package):
    """Both writers have read the index before either writes: they must not share a file."""
    program = """
        from some_kernels.cpu import cache
        cache.KernelFiles._load_index = lambda self: {}
        kernel(2.0), kernel(2)
    """
    run(package, program)
    # The index of the last writer is there; the other signature is compiled again.
    answers = run(package, "print(kernel(2.5), kernel(2))")
    assert answers == ["35.0", "30"]


def test_two_processes_that_compile_at_once(package):
    both = [start(package, BOTH) for _ in range(2)]
    for process in both:
        words, said = ended(process)
        assert (words[:2], said) == (["30.0", "40.0"], "")
    assert run(package, BOTH) == ["30.0", "40.0", "0", "0"]


def test_a_callee_is_nothing_that_python_can_call(package):
    program = """
        try:
            kernel.callee(2.0)
        except TypeError as error:
            print(error)
    """
    assert " ".join(run(package, program)) == "kernel: called from Python, expected a kernel"


# ---- damaged files ----
def _half(content):
    return content[: len(content) // 2]


DAMAGE = {
    "empty": lambda content: b"",
    "cut off": _half,
    "without its end": lambda content: content[:-1],
    "a byte changed": lambda content: _half(content) + b"?" + content[len(content) // 2 + 1 :],
    "longer": lambda content: content + b"\0",
    "text": lambda content: b"no kernel\n",
    "another pickle": lambda content: pickle.dumps({"key": "no kernel"}),
    "a pickle that fails": lambda content: b"cno_such_module\nname\n.",
}
each_damage = pytest.mark.parametrize("damage", DAMAGE)


@each_damage
@pytest.mark.parametrize("suffix", [".nbi", ".nbc"], ids=["index", "code"])
def test_a_damaged_file_is_like_none_and_is_replaced(tmp_path, caplog, damage, suffix):
    cache.warn_once.cache_clear()
    files = cache.KernelFiles(tmp_path, "a.kernel-1", "state")
    files.save("key", b"code" * 100)
    assert files.load("key") == b"code" * 100
    (path,) = tmp_path.glob(f"*{suffix}")
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    with caplog.at_level(logging.WARNING):
        assert files.load("key") is None
        assert files.load("key") is None
    assert [record.getMessage().count(str(tmp_path)) for record in caplog.records] == [1]
    files.save("key", b"other")
    assert files.load("key") == b"other"
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("damage", ["empty", "a byte changed"])
def test_a_run_compiles_what_is_damaged_anew(package, damage):
    run(package, BOTH)
    for path in files_of(package):
        path.write_bytes(DAMAGE[damage](path.read_bytes()))
    words, said = ended(start(package, BOTH))
    assert words == ["30.0", "40.0", "1", "1"]
    assert said.count("\n") == 1
    assert str(package.parent / "cache") in said
    assert run(package, BOTH) == ["30.0", "40.0", "0", "0"]


def test_the_files_of_another_state_are_replaced(tmp_path):
    """An update of Numba or of a kernel; both states must not stay."""
    old = cache.KernelFiles(tmp_path, "a.kernel-1", "old")
    new = cache.KernelFiles(tmp_path, "a.kernel-1", "new")
    old.save("key", b"old")
    assert new.load("key") is None
    new.save("key", b"new")
    assert (new.load("key"), old.load("key")) == (b"new", None)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("setting", ["NUMBA_OPT=0", "NUMBA_BOUNDSCHECK=1", "NUMBA_DEBUGINFO=1"])
def test_a_run_that_debugs_leaves_its_kernels_to_its_like(package, setting):
    debugging = dict([setting.split("=")])
    assert run(package, ONCE, **debugging) == ["30.0", "1"]
    assert run(package, ONCE) == ["30.0", "1"]
    assert run(package, ONCE) == ["30.0", "0"]
    assert run(package, ONCE, **debugging) == ["30.0", "0"]


def test_the_state_names_what_compiles(monkeypatch):
    cache.stamp.cache_clear()
    before = cache.stamp()
    for module in (cache.numba, cache.llvmlite):
        monkeypatch.setattr(module, "__version__", "0.0")
        cache.stamp.cache_clear()
        assert cache.stamp() != before
        monkeypatch.undo()
    cache.stamp.cache_clear()
    assert cache.stamp() == before


# ---- folders that cannot be written ----
def test_a_folder_that_cannot_be_made_is_named_once(package):
    """The cache lies where a file stands."""
    (package.parent / "cache").touch()
    words, said = ended(start(package, BOTH))
    assert words == ["30.0", "40.0", "1", "1"]
    assert said.count(str(package.parent / "cache")) == 1
    assert (package.parent / "cache").read_bytes() == b""


@pytest.mark.skipif(os.name != "posix", reason="limits of a process")
def test_a_full_disk_is_named_once_and_leaves_nothing_behind(package):
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))"
    words, said = ended(start(package, limit + BOTH, PYTHONDONTWRITEBYTECODE="1"))
    assert words == ["30.0", "40.0", "1", "1"]
    assert said.count(str(package.parent / "cache")) == 1
    assert list(next((package.parent / "cache").iterdir()).iterdir()) == []


def test_without_a_folder_of_the_user_s_choice_the_next_one_is_written_and_read(package):
    """__pycache__ cannot be written, as in an installation of another user's: nothing is said."""
    (package / "__pycache__").touch()
    home = {"NUMBA_CACHE_DIR": "", "XDG_CACHE_HOME": str(package.parent / "home")}
    assert run(package, ONCE, **home) == ["30.0", "1"]
    assert run(package, ONCE, **home) == ["30.0", "0"]


def test_a_folder_that_can_only_be_read_is_read(package):
    """As in an image: what was compiled when it was built is there for all users."""
    unset = {"NUMBA_CACHE_DIR": "", "XDG_CACHE_HOME": str(package.parent / "home")}
    run(package, ONCE, **unset)
    refuse = """
        from some_kernels.cpu import cache
        def refuse(self, path, value):
            raise PermissionError(13, "Permission denied")
        cache.KernelFiles._write = refuse
    """
    assert run(package, textwrap.dedent(refuse) + ONCE, **unset) == ["30.0", "0"]
