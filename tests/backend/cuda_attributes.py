"""What the package asks of CuPy and Numba, listed from its source, and looked up in the real ones.

`uses(file)` finds every expression that begins with CuPy (`cupy.cuda.Stream(...)`, `self.xp.empty`,
`xp.cuda.runtime.memGetInfo()`) and follows names, attributes of `self` and the results of
calls. `Use.problem()` says what the installed library lacks: the attribute, or an argument that the
call gives. Signatures of compiled functions are read from the first line of their docstring,
where Cython writes them. Needs no device.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
ON_ARRAYS = (  # files whose unknown variables may be arrays of CuPy
    *("backend/cupy_backend", "backend/numba_cuda_backend", "backend/numpy_backend"),
    *("backend/cuda/calls", "backend/cuda/copies", "backend/cuda/launch"),
    *("backend/numba_cuda/calls", "fused/tiles"),
    *("fused/cuda/buffers", "fused/cuda/data", "fused/cuda/engine"),
)
NAMES = {
    "cupy": "cupy",
    "xp": "cupy",
    "_xp": "cupy",
    "_cuda": "cupy.cuda",
    "nvrtc": "cupy.cuda.nvrtc",
}
IN_FILE = {  # names that mean something else there, most of them parameters
    "cuda/copies": {
        "cuda": "cupy.cuda",
        "current": "cupy.cuda.Stream()",
        "free": "cupy.cuda.Event()",
        "memory": "cupy.ndarray()",
    },
    "cuda/launch": {
        "_function": "cupy.cuda.Function()",
        "function": "cupy.cuda.Function()",
    },
    "numba_cuda/launch": {"cuda": "numba.cuda"},
    "numba_cuda/blocks": {"cuda": "numba.cuda"},
    "numba_cuda/device": {"cuda": "numba.cuda"},
    "numba_cuda/elements": {"cuda": "numba.cuda"},
    "numba_cuda/grids": {"cuda": "numba.cuda"},
    "numba_cuda/rows": {"cuda": "numba.cuda"},
}
OURS = {"to_device"}  # methods of our own that NumPy's arrays happen to have, too
CLASSES = ("Device", "Stream", "Event", "Module")
RESULTS = {
    "cupy.cuda.get_current_stream": "cupy.cuda.Stream()",
    "cupy.cuda.alloc_pinned_memory": "cupy.cuda.PinnedMemoryPointer()",
    "cupy.cuda.Stream().end_capture": "cupy.cuda.Graph()",
    "cupy.cuda.Module().get_function": "cupy.cuda.Function()",
    "cupy.get_default_memory_pool": "cupy.cuda.MemoryPool()",
    "cupy.empty": "cupy.ndarray()",
    "cupy.asarray": "cupy.ndarray()",
    "cupy.ndarray().data": "cupy.cuda.MemoryPointer()",
}
UNKNOWN = "no signature"


@dataclass(frozen=True)
class Use:
    """An attribute that is read, or a call: how many arguments, and which by name."""

    path: str
    place: str
    positional: int | None = None  # None: no call
    named: tuple[str, ...] = ()

    def problem(self) -> str:
        """What the installed library lacks; UNKNOWN where its signature cannot be read."""
        try:
            is_call = self.positional is not None and self.path.endswith("()")
            found = look_up(f"{self.path}.__call__" if is_call else self.path)
        except AttributeError as error:
            return f"{self.place}: {self.path}: {error}"
        if self.positional is None:
            return ""
        wrong = refused(found, self.positional, self.named, "()." in self.path)
        return wrong and (wrong if wrong == UNKNOWN else f"{self.place}: {self.path}: {wrong}")


def look_up(path: str) -> Any:
    """The object at a dotted path; `Class()` stands for an object of the class."""
    names = path.replace("()", "").split(".")
    found = importlib.import_module(names[0])
    for name in names[1:]:
        if inspect.ismodule(found) and not hasattr(found, name):
            try:
                importlib.import_module(f"{found.__name__}.{name}")
            except ImportError:
                raise AttributeError(f"{found.__name__} has no {name}") from None
        if inspect.isclass(found) and found.__name__ == "Stream" and not hasattr(found, name):
            found = found.null  # one that needs no device: its address is made with it
        found = getattr(found, name)
    return found


def refused(found: Any, positional: int, named: tuple[str, ...], method: bool) -> str:
    """Why `found` does not take such arguments, or nothing."""
    if type(found).__name__ == "ufunc" and hasattr(found, "nin"):
        fits = found.nin <= positional <= found.nin + found.nout
        return "" if fits and set(named) <= {"out", "dtype"} else f"got {positional}, {named}"
    if isinstance(found, type) and issubclass(found, np.generic | BaseException):
        return ""
    parameters = signature(found)
    return UNKNOWN if parameters is None else parameters.refuse(positional, named, method)


@dataclass
class Parameters:
    """Names and whether each has a default, `self` left out; those that go by name alone."""

    names: dict[str, bool]
    by_name: dict[str, bool]
    any_number: bool = False  # *args or **kwargs

    def refuse(self, positional: int, named: tuple[str, ...], method: bool) -> str:
        """Why such arguments do not fit, or nothing."""
        names = [name for name in self.names if name != "self" or not method]
        left, known = names[positional:], {*names[positional:], *self.by_name}
        if self.any_number:
            return ""
        if positional > len(names):
            return f"too many arguments: {positional} for ({', '.join(names)})"
        if not set(named) <= known:
            return f"no argument {', '.join(set(named) - known)} among ({', '.join(known)})"
        defaults = self.names | self.by_name
        missing = [n for n in (*left, *self.by_name) if n not in named and not defaults[n]]
        return f"missing {', '.join(missing)}" if missing else ""


def signature(found: Any) -> Parameters | None:
    """From Python, or as Cython writes it at the head of a docstring; None where neither is."""
    if type(found).__name__ == "wrapper_descriptor":  # of every class that is compiled: no names
        return _written(found)
    try:
        given = inspect.signature(found).parameters.values()
    except (ValueError, TypeError):
        return _written(found)
    default = {p.name: p.default is not p.empty for p in given}
    stars = {p.name for p in given if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
    by_name = {p.name for p in given if p.kind is p.KEYWORD_ONLY}
    return Parameters(
        {n: d for n, d in default.items() if n not in by_name | stars},
        {n: default[n] for n in by_name},
        bool(stars),
    )


def _written(found: Any) -> Parameters | None:
    first = (found.__doc__ or "").strip().splitlines()[:1]
    written = re.match(r"[\w.]*?(\w+)\((.*)\)(\s*->.*)?$", first[0]) if first else None
    if written is None:
        return None
    parameters = Parameters({}, {})
    into = parameters.names
    for part in re.split(r",\s*(?![^(\[]*[)\]])", written[2]):
        name, _, default = (text.strip() for text in part.partition("="))
        if name == "*":
            into = parameters.by_name
        elif name.startswith("*"):
            parameters.any_number = True
        elif name and name != "/":
            into[name.split(" ")[-1]] = bool(default)
    return parameters


# ---- from the source ----
def uses(file: Path) -> list[Use]:
    """Every use of CuPy and of numba.cuda in a file of the package."""
    return uses_in(
        file.read_text(encoding="utf-8"),
        f"{file.parent.name}/{file.stem}",
        str(file.relative_to(ROOT)),
    )


def uses_in(text: str, name: str, place: str) -> list[Use]:
    finder = _Finder(NAMES | IN_FILE.get(name, {}), place)
    tree = ast.parse(text)
    finder.look_only = True  # attributes of self may be assigned further down
    finder.visit(tree)
    finder.look_only = False
    finder.visit(tree)
    return finder.found


class _Finder(ast.NodeVisitor):
    def __init__(self, names: dict[str, str], place: str):
        self.names, self.place = names, place
        self.attributes: dict[str, str] = {}  # of self, and of what other functions call `slot`
        self.found: list[Use] = []
        self.look_only = False
        self.locals: dict[str, str] = {}

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        before, self.locals = self.locals, dict(self.locals)
        self.generic_visit(node)
        self.locals = before

    def visit_Assign(self, node: ast.Assign) -> None:
        self.generic_visit(node)
        for target in node.targets:
            pairs = [(target, node.value)]
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                pairs = list(zip(target.elts, node.value.elts, strict=True))
            for left, right in pairs:
                path = self.path(right)
                if path and isinstance(left, ast.Name):
                    self.locals[left.id] = path
                elif path and isinstance(left, ast.Attribute):
                    self.attributes[left.attr] = path

    def visit_Attribute(self, node: ast.Attribute) -> None:
        path = self.path(node)
        if path and "." in path and not path.endswith("()"):
            self.add(path, node)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        path = self.path(node.func)
        starred = any(isinstance(a, ast.Starred) for a in node.args)
        starred |= any(keyword.arg is None for keyword in node.keywords)
        if path and "." in path and not starred:
            self.add(path, node, len(node.args), tuple(k.arg or "" for k in node.keywords))
        self.generic_visit(node)

    def add(self, path: str, node: ast.expr, *call: Any) -> None:
        if not self.look_only:
            self.found.append(Use(path, f"{self.place}:{node.lineno}", *call))

    def path(self, node: ast.expr) -> str | None:
        """The dotted path of an expression, or None for what is not CuPy's."""
        if isinstance(node, ast.Name):
            return self.locals.get(node.id) or self.names.get(node.id)
        if isinstance(node, ast.Attribute):
            base = self.path(node.value)
            if base is None:
                return self.attributes.get(node.attr) or self.names.get(node.attr)
            path = f"{base}.{node.attr}"
            return RESULTS.get(path, path) if "()" in path and path.endswith(".data") else path
        if isinstance(node, ast.Call):
            called = self.path(node.func)
            if called and called.rsplit(".", 1)[-1] in CLASSES and called.startswith("cupy"):
                return f"{called}()"
            return RESULTS.get(called or "")
        if isinstance(node, ast.Subscript):
            base = self.path(node.value)
            return base if base == "cupy.ndarray()" else None
        return None


def array_attributes(file: Path) -> set[tuple[str, str]]:
    """(attribute, place) of what is asked of variables that may be arrays: NumPy has it."""
    found = set()
    tree = ast.parse(file.read_text(encoding="utf-8"))
    known = set(dir(np.ndarray)) - set(dir(object)) - OURS
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in known:
            found.add((node.attr, f"{file.stem}:{node.lineno}"))
        if isinstance(node, ast.Attribute) and getattr(node.value, "attr", "") == "flags":
            found.add((f"flags.{node.attr}", f"{file.stem}:{node.lineno}"))
    return found
