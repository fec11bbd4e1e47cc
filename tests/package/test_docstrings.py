"""Docstrings of the public names: numpydoc's sections, which match the signatures.

Public is what docs/api/ shows, and it shows all that `from nnfs_gpu import *` brings. Checks of
numpydoc that are not in `KEPT` ask for what the house style has otherwise, or leaves out:

    SS02, SS05   a summary may begin with a formula or an array's name, and describes
    SS03         it may end with a colon's list or a question
    SS06         it may need two lines
    ES01, SA01, SA04, EX01
                 no section is asked for that would only fill the page
    PR05         a type may end with a full stop inside it: "array of shape (N, I)."
    GL01, GL02   the text begins behind the quotes
    YD01, RT02   asked of what we do not have

The book's methods are described once, in the class whose children override them or, for
activations, at the head of their page: what overrides says what is its own.
"""

from __future__ import annotations

import inspect
import pydoc
import re

import pytest
from built_package import ROOT

import nnfs_gpu

validate = pytest.importorskip("numpydoc.validate").validate

KEPT = {
    *("GL03", "GL06", "GL07", "GL08", "GL09", "GL10", "SS01", "SS04"),
    *("PR01", "PR02", "PR03", "PR04", "PR06", "PR07", "PR08", "PR09", "PR10"),
    *("RT01", "RT03", "RT04", "RT05"),
}
SECTIONS = {"PR01", "RT01"}  # that the parameters, and the result, are described
BOOKS = {
    "forward",
    "backward",
    "predictions",
}  # described in the books of activations.md, losses.md
DIRECTIVE = re.compile(
    r"^\.\. auto(class|function|exception):: (?P<name>[\w.]+)\n(?P<options>(   :.*\n)*)", re.M
)
PAGES = ROOT / "docs" / "api"
PROTOCOL = "nnfs_gpu.backend.Backend"  # a formula and shapes for each, by rules that all share


def directives() -> dict[str, set[str]]:
    """The names that the pages show; to each its members that are left out."""
    found = {}
    for page in sorted(PAGES.glob("*.md")):
        for one in DIRECTIVE.finditer(page.read_text(encoding="utf-8")):
            left_out = re.search(r":exclude-members: (.*)", one["options"])
            found[one["name"]] = set(left_out[1].split(", ")) if left_out else set()
    return found


SHOWN = directives()


def documented() -> list[tuple[str, str]]:
    """(the page's name, numpydoc's name) of all functions, classes and methods of ours shown."""
    found = []
    for name, left_out in SHOWN.items():
        if name == PROTOCOL:
            continue
        one = pydoc.locate(name)
        found.append((name, f"{one.__module__}.{one.__qualname__}"))
        for base in inspect.getmro(one) if inspect.isclass(one) else ():
            if base.__module__.startswith("nnfs_gpu"):
                found += [
                    (f"{name}.{method}", f"{base.__module__}.{base.__qualname__}.{method}")
                    for method, value in vars(base).items()
                    if not (method.startswith("_") or method in left_out) and is_code(value)
                ]
    return sorted({path: shown for shown, path in found}.items())


def is_code(value: object) -> bool:
    """Whether a class's attribute is a method or a property."""
    return inspect.isfunction(value) or isinstance(value, (property, classmethod, staticmethod))


def overrides(path: str) -> bool:
    """Whether a method is one that a base of its class describes, or one of the book's."""
    owner, _, method = path.rpartition(".")
    kind = pydoc.locate(owner)
    if not inspect.isclass(kind):
        return False
    return method in BOOKS or any(method in vars(base) for base in kind.__mro__[1:-1])


def faults(path: str) -> list[str]:
    """What numpydoc says of one docstring and we ask for."""
    excused = SECTIONS if overrides(path) else set()
    return [
        f"{code} {text}"
        for code, text in validate(path)["errors"]
        if code in KEPT - excused and "'*arguments'" not in text  # of Part.__new__, which refuses
    ]


def test_every_public_name_is_in_the_reference():
    shown = [pydoc.locate(name) for name in SHOWN]
    missing = [name for name in nnfs_gpu.__all__ if getattr(nnfs_gpu, name) not in shown]
    assert missing == ["__version__"]


@pytest.mark.parametrize(("path", "shown"), documented())
def test_docstrings_have_their_sections(path, shown):
    assert faults(path) == [], shown


def test_a_parameter_without_a_word_is_found(tmp_path, monkeypatch):
    program = tmp_path / "bad_docstrings.py"
    program.write_text(
        'def doubled(x, y):\n    """Twice as much.\n\n    Parameters\n    ----------\n'
        '    z : int\n        A number.\n    """\n    return 2 * x\n',
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(tmp_path)
    found = " ".join(faults("bad_docstrings.doubled"))
    assert {code for code in KEPT if code in found} == {"PR01", "PR02", "RT01"}
