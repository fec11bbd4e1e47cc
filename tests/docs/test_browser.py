"""The site in a real browser: start page, a notebook, a page of the reference, the search.

At the width of a phone and of a desk, in light and dark: nothing is wider than the screen, every
picture is there, the console has no error, and no request leaves the machine. How it looks, people
judge: `make docs-check` runs this on the whole site and leaves screenshots in build/screenshots.
Here it is a small site of some of its pages, with the same settings. Skipped without Chromium,
without Playwright (extra `browser`) and without Sphinx (extra `docs`).
"""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

playwright = pytest.importorskip("playwright.sync_api")
for needed in ("sphinx", "myst_nb", "numpydoc", "pydata_sphinx_theme", "latex2mathml"):
    pytest.importorskip(needed)

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
BUILT = os.environ.get("NNFS_GPU_SITE")  # of `make docs-check`
SCREENSHOTS = ROOT / "build" / "screenshots"

# What the small site has of docs/, and a notebook of its own.
PARTS = ("conf.py", "_extensions", "_static", "pictures", "index.md", "scale.md", "api/layers.md")
NOTEBOOK = r"""---
file_format: mystnb
kernelspec:
  name: python3
---
# A notebook

A formula on its own, longer than a phone is wide,

$$\sigma(z) = \frac{1}{1 + e^{-z}}, \qquad \sum_{k=1}^{K} w_k x_k + b_k = \log p(y | x_1, x_2)$$

and $x^2$ in a sentence.

```{code-cell} python
print("printed " * 20)
```

```{code-cell} python
from IPython.display import Image
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

figure = Figure(figsize=(8, 3))
FigureCanvasAgg(figure).print_png("wide.png")
Image("wide.png", width=800, height=300)
```

| a | table | of | many | columns | wider | than | a | phone |
|---|--:|--:|--:|--:|--:|--:|--:|--:|
| 2-512-512-3 | 1,000,000 | 1,000,000 | 1,000,000 | 1,000,000 | 1,000,000 | 1,000,000 | 1 | 2 |
"""
PAGES = {
    "start": "index.html",
    "tile": "scale.html",
    "notebook": "notebooks/chapter17.html",
    "reference": "api/layers.html",
    "search": "search.html?q=dropout",
}
SCREENS = {"phone": (390, 844), "desk": (1280, 900)}

# What is wider than the screen and does not scroll by itself; what is no picture, or a squeezed
# one; what is drawn and not on the screen.
TOO_WIDE = """[...document.querySelectorAll('article *, header *')].filter(one => {
    const box = one.getBoundingClientRect(), scrolls = /auto|scroll|hidden|clip/;
    if (!box.width || box.right <= window.innerWidth + 1) return false;
    for (let up = one.parentElement; up && up.tagName != 'ARTICLE'; up = up.parentElement)
        if (scrolls.test(getComputedStyle(up).overflowX)) return false;
    return true;
}).map(one => one.outerHTML.slice(0, 80))"""
NO_PICTURE = "[...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src)"
OUT_OF_SHAPE = """[...document.querySelectorAll('.cell_output img')].filter(one => {
    const box = one.getBoundingClientRect();
    const ratio = box.width * one.naturalHeight / (box.height * one.naturalWidth);
    return one.naturalWidth && Math.abs(ratio - 1) > 0.05;
}).length"""
OUTSIDE = """[...document.querySelectorAll('.drawn')].filter(one => {
    const box = one.getBoundingClientRect();
    return box.left < 0 || box.right > window.innerWidth || !box.width;
}).length"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The built site."""
    if BUILT:
        assert (Path(BUILT) / "index.html").is_file(), f"{BUILT} holds no site: make docs"
        return Path(BUILT)
    made = tmp_path_factory.mktemp("site")
    (made / "nnfs_gpu").mkdir()
    shutil.copy(ROOT / "nnfs_gpu" / "_version.py", made / "nnfs_gpu")
    for part in PARTS:
        source, target = ROOT / "docs" / part, made / "docs" / part
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
    (made / "docs" / "notebooks").mkdir()
    (made / "docs" / "notebooks" / "chapter17.md").write_text(NOTEBOOK)
    command = [sys.executable, "-m", "sphinx", "-q", "-b", "html", "docs", "built"]
    done = subprocess.run(
        command, cwd=made, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return made / "built"


@pytest.fixture(scope="module")
def address(folder):
    """Where the site is served, on this machine alone."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))
    )
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def browser():
    """Chromium, without a window."""
    with playwright.sync_playwright() as play:
        program = CHROMIUM or play.chromium.executable_path
        if not Path(program).exists():
            pytest.skip(
                "no Chromium here: apt-get install chromium, or playwright install chromium"
            )
        started = play.chromium.launch(executable_path=program)
        yield started
        started.close()


@pytest.fixture
def page(browser, address, request):
    """An empty page, and what it has said and asked for."""
    screen, scheme = request.param
    width, height = SCREENS[screen]
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, base_url=address
    )
    one = context.new_page()
    one.said, one.asked = [], []
    one.on("console", lambda message: message.type == "error" and one.said.append(message.text))
    one.on("pageerror", lambda error: one.said.append(str(error)))
    one.on("request", lambda asked: one.asked.append(asked.url))
    one.on("response", lambda got: got.status >= 400 and one.said.append(f"{got.status} {got.url}"))
    yield one
    context.close()


def screens():
    return [(screen, scheme) for screen in SCREENS for scheme in ("light", "dark")]


@pytest.mark.parametrize("page", screens(), indirect=True, ids="-".join)
@pytest.mark.parametrize("name", PAGES)
def test_pages_fit_and_ask_for_nothing_elsewhere(page, name, address, request):
    page.goto(PAGES[name])
    if name == "search":
        page.wait_for_selector("#search-results li")
        found = page.locator("#search-results li a").evaluate_all("all => all.map(a => a.href)")
        assert any("api/layers.html" in one for one in found)
    if name == "notebook":
        assert page.locator(".cell_output img").count() > 0
    page.wait_for_load_state("networkidle")
    screen, scheme = request.node.callspec.params["page"]
    if BUILT:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=SCREENSHOTS / f"{name}-{screen}-{scheme}.png", full_page=True)
    assert page.locator("h1").first.is_visible()
    assert page.evaluate("document.documentElement.dataset.theme") == scheme
    assert page.evaluate(TOO_WIDE) == []
    assert page.evaluate(NO_PICTURE) == []
    assert page.evaluate(OUT_OF_SHAPE) == 0
    assert page.evaluate(OUTSIDE) == 0
    assert page.said == []
    elsewhere = [one for one in page.asked if not one.startswith((address, "data:"))]
    assert page.asked
    assert elsewhere == []


@pytest.mark.parametrize("page", [("desk", "light")], indirect=True, ids="-".join)
def test_pictures_follow_the_switch_of_the_site(page):
    """Drawn pictures have the colours of the theme that a reader has chosen, not the system's."""
    page.goto(PAGES["start"])
    ink = "getComputedStyle(document.querySelector('.drawn text')).fill"
    before = page.evaluate(ink)
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    assert page.evaluate(ink) != before


@pytest.mark.parametrize("page", [("phone", "light")], indirect=True, ids="-".join)
def test_what_is_wrong_is_seen(page, address):
    """A page with a wide line, a missing picture, and a script from elsewhere."""
    page.goto(PAGES["start"])
    page.evaluate(
        """() => {
        const made = document.createElement('div');
        made.innerHTML = '<div style="width: 2000px">wide</div><img src="gone.png">';
        document.querySelector('article').append(made);
        console.error('an error');
        fetch('http://127.0.0.1:9/elsewhere').catch(() => {});
    }"""
    )
    page.wait_for_load_state("networkidle")
    assert ">wide<" in " ".join(page.evaluate(TOO_WIDE))
    assert [one.rpartition("/")[2] for one in page.evaluate(NO_PICTURE)] == ["gone.png"]
    assert "an error" in page.said
    assert [one for one in page.asked if not one.startswith(address)] != []
