"""docs/links.py finds what leads nowhere in a site, and what would be loaded from elsewhere."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

PATH = Path(__file__).resolve().parents[2] / "docs" / "links.py"
spec = importlib.util.spec_from_file_location("site_links", PATH)
links = importlib.util.module_from_spec(spec)
spec.loader.exec_module(links)


@pytest.fixture
def site(tmp_path):
    """Two pages, and a picture."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "picture one.svg").write_text("<svg/>")
    (tmp_path / "index.html").write_text(
        '<h1 id="top">A</h1><a href="sub/page.html#part">p</a> <a href="#top">t</a> '
        '<img src="picture%20one.svg"> <a href="https://example.org/not/tried">e</a> '
        '<a href="mailto:a@example.org">m</a> <a>none</a> <img src="data:image/png;base64,AA">'
    )
    (tmp_path / "sub" / "page.html").write_text(
        '<h2 id="part">P</h2><a href="../index.html#">i</a>'
    )
    return tmp_path


def test_a_site_without_mistakes(site, capsys):
    assert list(links.mistakes(site)) == []
    assert links.main(str(site)) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("element", "said"),
    [
        ('<a href="gone.html">x</a>', "index.html: gone.html is not there"),
        ('<a href="sub/page.html#no">x</a>', "index.html: sub/page.html#no has no such anchor"),
        ('<a href="#no">x</a>', "index.html: #no has no such anchor"),
        ('<img src="gone.png">', "index.html: gone.png is not there"),
        ('<a href="sub/">x</a>', "index.html: sub/ is not there"),
        (
            '<script src="https://cdn.example.org/a.js"></script>',
            "index.html: loads https://cdn.example.org/a.js from elsewhere",
        ),
        (
            '<link rel="stylesheet" href="//cdn.example.org/a.css">',
            "index.html: loads //cdn.example.org/a.css from elsewhere",
        ),
    ],
)
def test_a_mistake_is_said(site, capsys, element, said):
    page = site / "index.html"
    page.write_text(page.read_text() + element)
    assert list(links.mistakes(site)) == [said]
    assert links.main(str(site)) == 1
    assert said in capsys.readouterr().err


def test_templates_of_the_theme_are_no_pages(site):
    (site / "_static").mkdir()
    (site / "_static" / "macros.html").write_text('<script src="{{ pathto() }}"></script>')
    assert list(links.mistakes(site)) == []


def test_a_folder_without_a_site_is_refused(tmp_path, capsys):
    assert links.main(str(tmp_path)) == 1
    assert "holds no site: build it with make docs" in capsys.readouterr().err
