"""What a package index shows of the package: its README, classifiers, address; and how to cite it.

The README links to files beside it. Where pyproject.toml names the repository's address, a wheel
and an sdist carry it with links that lead there; else as it stands.
"""

from __future__ import annotations

import importlib.util
import os
import re
import tomllib
import zipfile
from email.parser import BytesParser

import pytest
from built_package import ROOT, build, copy_of_project

import nnfs_gpu

HOME = "https://forge.example/them/nnfs_gpu"
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

for package in ("trove_classifiers", "yaml"):
    if importlib.util.find_spec(package) is None:
        assert not os.environ.get("CI"), f"CI must have {package}: it is in the extra `test`"


def shown(wheel):
    """The metadata in a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(one for one in archive.namelist() if one.endswith(".dist-info/METADATA"))
        return BytesParser().parsebytes(archive.read(name))


def beside(text):
    """What links and pictures outside of code lead to, where that is a file beside the README."""
    text = re.sub(r"^```.*?^```$|`[^`\n]+`", "", text, flags=re.MULTILINE | re.DOTALL)
    found = re.findall(r"\]\(([^)\s]+)", text)
    found += re.findall(r'\b(?:src|srcset|href)="([^"\s]+)', text)
    return [one for one in found if not re.match(r"[a-z]+:|[#/]", one)]


@pytest.fixture(scope="module")
def at_home(tmp_path_factory):
    """Metadata of a wheel of a project that says where it lives."""
    folder = tmp_path_factory.mktemp("home")
    project = copy_of_project(folder / "copy")
    settings = project / "pyproject.toml"
    text = settings.read_text(encoding="utf-8")
    table = f'[project.urls]\nRepository = "{HOME}/"\n\n[project.scripts]'
    assert PROJECT.get("urls") is None, "there is a home now: this test need not invent one"
    settings.write_text(text.replace("[project.scripts]", table, 1), encoding="utf-8")
    readme = project / "README.md"
    odd = (
        "\n[![drawn](bench/results/decision.png)](docs/ranks.md#slurm)\n"
        '<img src="bench/results/decision.png" alt="[drawn]"> <a href="CONTRIBUTING.md">how</a>\n'
        "`layers[0](X)`, [a part](#in-twenty-lines), [elsewhere](https://example.org/a.md)\n"
        "```python\nmodel.layers[0](X)\n```\n"
    )
    readme.write_text(README + odd, encoding="utf-8")
    return shown(build(project, folder / "out", "wheel")), odd


def test_links_and_pictures_lead_home(at_home):
    metadata, _ = at_home
    text = metadata.get_payload(decode=True).decode()
    assert metadata["Description-Content-Type"].startswith("text/markdown")
    assert beside(README) != []
    assert beside(text) == []
    for path in beside(README):
        folder = "raw" if path.endswith((".png", ".gif", ".svg")) else "blob"
        assert f"{HOME}/{folder}/HEAD/{path}" in text
    assert f"[![drawn]({HOME}/raw/HEAD/bench/results/decision.png)]" in text
    assert f"]({HOME}/blob/HEAD/docs/ranks.md#slurm)" in text
    assert f'src="{HOME}/raw/HEAD/bench/results/decision.png"' in text
    assert f'href="{HOME}/blob/HEAD/CONTRIBUTING.md"' in text


def test_nothing_else_of_the_readme_changes(at_home):
    metadata, odd = at_home
    text = metadata.get_payload(decode=True).decode()
    back = re.sub(rf"{HOME}/(raw|blob)/HEAD/", "", text)
    assert back.strip() == (README + odd).strip()


def test_without_a_home_it_is_shown_as_it_stands(tmp_path):
    metadata = shown(build(copy_of_project(tmp_path / "copy"), tmp_path / "out", "wheel"))
    assert metadata.get_payload(decode=True).decode().strip() == README.strip()
    assert metadata["Project-URL"] is None


def test_classifiers_are_known_and_say_what_is_tested():
    known = pytest.importorskip("trove_classifiers").classifiers
    stated = PROJECT["classifiers"]
    assert [one for one in stated if one not in known] == []
    assert stated == sorted(set(stated))
    assert not [one for one in stated if one.startswith("License ::")]  # `license` says it
    versions = re.findall(r"^Programming Language :: Python :: 3\.(\d+)$", "\n".join(stated), re.M)
    assert f">=3.{min(map(int, versions))}" == PROJECT["requires-python"]


def test_the_citation_is_of_this_package_and_of_the_book():
    yaml = pytest.importorskip("yaml")
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= cited.keys()  # that the format asks for
    assert (cited["title"], str(cited["version"])) == ("nnfs_gpu", nnfs_gpu.__version__)
    assert cited["license"] == PROJECT["license"]
    (book,) = cited["references"]
    assert (book["type"], book["title"]) == ("book", "Neural Networks from Scratch in Python")
    assert [one["family-names"] for one in book["authors"]] == ["Kinsley", "Kukieła"]
