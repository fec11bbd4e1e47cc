"""Do the links of the built site lead somewhere? `make docs` runs this after Sphinx.

Sphinx checks what pages say; this looks at what was made of it: every page, picture, script and
anchor that a page asks for is in the folder, and nothing that a browser would load is elsewhere.
Links that a reader may follow to other places are not tried: the check needs no network.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADED = {"script": "src", "img": "src", "source": "src", "iframe": "src", "video": "src"}


class Page(HTMLParser):
    """What one page holds: `links` to follow, `loaded` addresses, and its `anchors`."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Called by HTMLParser for every element."""
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag in LOADED and LOADED[tag] in given:
            self.loaded.append(given[LOADED[tag]])
        if tag == "link" and "canonical" not in given.get("rel", ""):
            self.loaded.append(given.get("href", ""))


def mistakes(site: Path) -> Iterator[str]:
    """One sentence for every address of the site that leads nowhere or is loaded from elsewhere."""
    found = [path for path in sorted(site.rglob("*.html")) if "_static" not in path.parts]
    pages = {path: Page(path) for path in found}
    for path, page in pages.items():
        name = path.relative_to(site)
        for address in sorted({*page.links, *page.loaded}):
            parts = urlsplit(address)
            if parts.scheme == "data":
                continue
            if parts.scheme or parts.netloc:
                if address in page.loaded:
                    yield f"{name}: loads {address} from elsewhere"
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.is_file():
                yield f"{name}: {address} is not there"
            elif parts.fragment and target in pages:
                anchors = pages[target].anchors | {"", "top"}
                if unquote(parts.fragment) not in anchors:
                    yield f"{name}: {address} has no such anchor"


def main(folder: str) -> int:
    """Print what is wrong; 1 where something is."""
    site = Path(folder).resolve()
    if not (site / "index.html").is_file():
        print(f"{site} holds no site: build it with make docs", file=sys.stderr)
        return 1
    found = list(mistakes(site))
    for sentence in found:
        print(sentence, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
