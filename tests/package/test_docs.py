"""What the documents name is there: files, folders and the targets of links.

A file that is moved or renamed is easily forgotten in a sentence about it.
"""

from __future__ import annotations

import re

import pytest
from built_package import ROOT

FOLDERS = ("nnfs_gpu", "kernels", "bench", "tests", "docs")
DOCUMENTS = sorted(
    str(path.relative_to(ROOT))
    for top in (ROOT, *(ROOT / name for name in FOLDERS))
    for path in (top.glob("*.md") if top == ROOT else top.rglob("*.md"))
    if "results" not in path.parts and not path.is_relative_to(ROOT / "nnfs_gpu" / "kernels")
)
SOURCE = re.compile(r"[\w*-]+\.(py|cu|cuh|h|md|toml)")
PLACE = re.compile(rf"({'|'.join(FOLDERS)})(/[\w.*-]+)+/?")


def named(text: str) -> set[str]:
    """File names and paths between back-ticks; not what belongs to a program of the reader's."""
    inside = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    return {name for name in inside if SOURCE.fullmatch(name) or PLACE.fullmatch(name)}


def is_there(name: str) -> bool:
    """A path from the root of the repository, which may be a pattern; or a file's name alone."""
    if "/" in name:
        return any(ROOT.glob(name.rstrip("/")))
    return any(True for top in FOLDERS for _ in (ROOT / top).rglob(name)) or any(ROOT.glob(name))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_files_that_a_document_names_are_there(document):
    text = (ROOT / document).read_text(encoding="utf-8")
    missing = sorted(name for name in named(text) if not is_there(name))
    assert missing == [], f"{document} names files that are not there"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document):
    path = ROOT / document
    links = re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text(encoding="utf-8"))
    assert [link for link in links if not (path.parent / link).exists()] == []


def test_a_name_that_is_not_there_is_found():
    text = "`kernels/nothing.py`, `nothing.cu`, `tests/no_*.py`; `kernels/README.md`, `model.fit`"
    assert {name for name in named(text) if not is_there(name)} == {
        "kernels/nothing.py",
        "nothing.cu",
        "tests/no_*.py",
    }
