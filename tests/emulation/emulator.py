"""Runs the kernels of kernels/*.cu on the CPU, from their own source text.

`Emulator.launch` takes what the GPU's launch takes. A kernel file is compiled once for each
set of definitions by g++ behind `shim.h`, with a small C function beside every kernel that
unpacks its arguments; libraries are kept in a folder named after their source.
Definitions, and whether float32 denormals are flushed to 0, come from `cuda_compile.options`,
which the GPU's compiler gets. Arrays are copied between guards: bytes of NaN, then memory that
must not be touched. A kernel that writes outside fails, one that reads outside fails or gets NaN.
Arguments are checked against the kernel's parameters, which the GPU's launch cannot do.
"""

from __future__ import annotations

import ctypes
import hashlib
import mmap
import os
import re
import shutil
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from nnfs_gpu.backend.cuda import compile as cuda_compile, source as cuda_source

HERE = Path(__file__).resolve().parent
CACHE = HERE.parent.parent / ".numba_cache" / "cuda"
GUARD = 1024  # bytes before every array, at least
COMPILER = shutil.which("g++")
LIBC = ctypes.CDLL(None)

# What a launch may pass for a kernel's parameter, beside `real`.
ELEMENTS = {
    "int": ("int32",),
    "unsigned": ("uint32",),
    "unsigned char": ("uint8", "bool"),
    "double": ("float64",),
    "index_t": ("int64",),
}
SCALARS = {
    "index_t": ctypes.c_longlong,
    "word64": ctypes.c_ulonglong,
    "word32": ctypes.c_uint,
    "double": ctypes.c_double,
}

_KERNEL = re.compile(
    r'extern\s+"C"\s+__global__\s+void\s*(?:__launch_bounds__\s*\([^)]*\))?\s*(\w+)\s*\(([^)]*)\)',
    re.DOTALL,
)


class EmulationError(AssertionError):
    """A kernel did what a GPU leaves undefined: a divergent barrier, a write out of bounds."""


class Emulator:
    """The GPU's launch, on the CPU.

    sources    kernel files of your own: their text by name
    backwards  blocks, warps and lanes run last first: a result that differs misses a barrier
    """

    def __init__(self, sources: dict[str, str] | None = None, *, backwards: bool = False) -> None:
        self.backwards = backwards
        self._sources = dict(sources or {})
        self._kernels: dict[str, dict[str, list[str]]] = {}
        self._libraries: dict[tuple, ctypes.CDLL] = {}

    def launch(
        self,
        file: str,
        kernel: str,
        grid: int | tuple[int, ...],
        block: int | tuple[int, ...],
        arguments: list[Any],
        dtype: Any,
        **definitions: Any,
    ) -> None:
        """Run `kernel` of `file`.cu (or of a source of your own).

        Arrays are NumPy's, contiguous; ints become 64-bit integers and floats `dtype`; NumPy's
        uint32, uint64 and float64 scalars stay as they are.
        """
        dtype = np.dtype(dtype)
        if file not in self._kernels:
            self._kernels[file] = kernels_of(self._text(file))
        types = self._kernels[file][kernel]
        if len(types) != len(arguments):
            raise TypeError(f"{kernel}: {len(types)} parameters, {len(arguments)} arguments")
        options = cuda_compile.options(dtype, "sm_90", definitions)
        library = self._library(file, options)
        library.shim_run_backwards(int(self.backwards))
        library.shim_flush_denormals(int(dtype == np.float32 and "--ftz=true" in options))
        run = getattr(library, f"run_{kernel}")
        run.restype = ctypes.c_char_p
        guarded: list[_Guarded | None] = []
        values = []
        for number, (kind, a) in enumerate(zip(types, arguments, strict=True)):
            guard = _Guarded(a) if isinstance(a, np.ndarray) else None
            value = guard.pointer if guard else _scalar(a, dtype)
            _check(f"{kernel}, argument {number}", kind, a, value, dtype)
            guarded.append(guard)
            values.append(value)
        sizes = ((ctypes.c_uint * 3)(*_three(size)) for size in (grid, block))
        problem = (run(*sizes, *values) or b"").decode()
        for number, (guard, a) in enumerate(zip(guarded, arguments, strict=True)):
            if guard is None:
                continue
            if guard.holds(problem):
                problem += f", beside argument {number}"
            if not guard.intact():
                problem = problem or f"argument {number} was written out of bounds"
            if a.flags.writeable:
                a[...] = guard.array
        if problem:
            raise EmulationError(f"{kernel}: {problem}")

    def prepare(self, *launch: Any, **definitions: Any) -> Prepared:
        """What `launch` would run, to be run again and again."""
        return Prepared(self, launch, definitions)

    def _text(self, file: str) -> str:
        if file not in self._sources:
            self._sources[file] = cuda_source.text(f"{file}.cu")
        return self._sources[file]

    def _library(self, file: str, options: tuple[str, ...]) -> ctypes.CDLL:
        definitions = tuple(option[2:] for option in options if option.startswith("-D"))
        key = (file, *sorted(definitions))
        if key not in self._libraries:
            self._libraries[key] = _compile(file, self._text(file), definitions)
        return self._libraries[key]


class Prepared:
    """`Prepared` of backend/cuda/launch.py for the emulator."""

    def __init__(self, emulator: Emulator, launch: tuple[Any, ...], definitions: dict[str, Any]):
        file, kernel, grid, block, arguments, dtype = launch
        self._run = partial(emulator.launch, file, kernel, grid, block)
        self._arguments, self._dtype, self._definitions = list(arguments), dtype, definitions

    def put(self, first: int, *arguments: Any) -> None:
        """Other arguments from place `first` on."""
        self._arguments[first : first + len(arguments)] = arguments

    def __call__(self) -> None:
        self._run(self._arguments, self._dtype, **self._definitions)


class _Guarded:
    """A copy of an array with guards around it, at the same place within 16 bytes."""

    def __init__(self, a: np.ndarray):
        assert a.flags.c_contiguous, "kernels take contiguous arrays"
        page = mmap.PAGESIZE
        size = -(-(GUARD + a.nbytes + 16) // page) * page
        self._map = mmap.mmap(-1, size + 2 * page)
        self._address = ctypes.addressof(ctypes.c_char.from_buffer(self._map))
        for first in (self._address, self._address + page + size):
            if LIBC.mprotect(ctypes.c_void_p(first), ctypes.c_size_t(page), 0):
                raise OSError("mprotect failed")
        self._memory = np.frombuffer(self._map, np.uint8)[page : page + size]
        self._memory[:] = 0xFF
        first = size - a.nbytes
        first -= (first - a.ctypes.data) % 16
        self._first, self._end = first, first + a.nbytes
        self.array = self._memory[first : self._end].view(a.dtype).reshape(a.shape)
        self.array[...] = a
        self.pointer = ctypes.c_void_p(self._address + page + first)

    def intact(self) -> bool:
        """True when no guard byte has changed."""
        before, after = self._memory[: self._first], self._memory[self._end :]
        return bool((before == 255).all() and (after == 255).all())

    def holds(self, problem: str) -> bool:
        """True when a problem's address lies in this memory."""
        found = re.search(r"at address (\d+)", problem)
        return found is not None and 0 <= int(found[1]) - self._address < len(self._map)


def kernels_in(file: str) -> dict[str, list[str]]:
    """Kernel names of `file`.cu and the C types of their parameters."""
    return kernels_of(cuda_source.file(f"{file}.cu").read_text(encoding="utf-8"))


def kernels_of(text: str) -> dict[str, list[str]]:
    """The same of a source text."""
    found = {}
    for name, parameters in _KERNEL.findall(text):
        types = []
        for parameter in parameters.split(","):
            words = parameter.replace("*", " * ").replace("__restrict__", " ").split()
            types.append(" ".join(words[:-1]))
        found[name] = types
    return found


def _compile(file: str, text: str, definitions: tuple[str, ...]) -> ctypes.CDLL:
    """`definitions` as a compiler takes them after -D: NAME=value."""
    parts = [(HERE / "shim.h").read_text()]
    parts += [f"#define {one.replace('=', ' ', 1)}" for one in sorted(definitions)]
    parts += [cuda_source.text("common.cuh")]
    parts += [f'#line 1 "{file}.cu"', text]
    parts += [_wrapper(name, types) for name, types in kernels_of(text).items()]
    source = "\n".join(parts)
    digest = hashlib.sha256(source.encode()).hexdigest()[:20]
    library = CACHE / f"{file}_{digest}.so"
    if not library.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        temporary = library.with_suffix(f".{os.getpid()}.{id(source)}.tmp")
        options = "-x c++ -std=c++17 -O1 -shared -fPIC -w -ffp-contract=off -fno-stack-protector"
        command = [COMPILER, *options.split(), "-o", str(temporary), "-"]
        result = subprocess.run(command, input=source, text=True, capture_output=True, check=False)
        if result.returncode:
            raise EmulationError(f"{file}.cu does not compile for the CPU:\n{result.stderr[:4000]}")
        temporary.replace(library)
    return ctypes.CDLL(str(library))


def _wrapper(name: str, types: list[str]) -> str:
    """A C function that runs the kernel on a grid, with the kernel's own parameter types."""
    fields = " ".join(f"{kind} a{i};" for i, kind in enumerate(types))
    parameters = ", ".join(f"{kind} a{i}" for i, kind in enumerate(types))
    names = ", ".join(f"a{i}" for i in range(len(types)))
    members = ", ".join(f"p->a{i}" for i in range(len(types)))
    return f"""
struct arguments_of_{name} {{ {fields} }};
extern "C" const char* run_{name}(const unsigned* grid, const unsigned* block, {parameters}) {{
  arguments_of_{name} packed{{{names}}};
  return shim::run_grid({{grid[0], grid[1], grid[2]}}, {{block[0], block[1], block[2]}},
    [](void* q) {{ auto* p = (arguments_of_{name}*)q; {name}({members}); }}, &packed);
}}"""


def _scalar(value: Any, dtype: np.dtype) -> Any:
    if isinstance(value, np.uint64):
        return ctypes.c_ulonglong(int(value))
    if isinstance(value, np.uint32):
        return ctypes.c_uint(int(value))
    if isinstance(value, np.float64):
        return ctypes.c_double(float(value))
    if isinstance(value, (int, np.integer)):
        return ctypes.c_longlong(int(value))
    return (ctypes.c_float if dtype == np.float32 else ctypes.c_double)(float(value))


def _check(what: str, kind: str, given: Any, value: Any, dtype: np.dtype) -> None:
    """TypeError where an argument is not of the C type `kind`: on a GPU nobody would notice."""
    is_array = kind.endswith("*")
    element = kind.removesuffix("*").removeprefix("const ").strip()
    if is_array:
        found = given.dtype.name if isinstance(given, np.ndarray) else type(given).__name__
        fits = found in {"real": (dtype.name,), **ELEMENTS}[element]
    else:
        found = type(value).__name__
        real = ctypes.c_float if dtype == np.float32 else ctypes.c_double
        fits = type(value) is {"real": real, **SCALARS}[element]
    if not fits:
        raise TypeError(f"{what}: got {found} for {kind!r}")


def _three(size: int | tuple[int, ...]) -> tuple[int, ...]:
    size = (size,) if isinstance(size, int) else tuple(size)
    return size + (1,) * (3 - len(size))
