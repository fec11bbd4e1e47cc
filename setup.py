"""An editable install that type checkers can follow, and a README for other pages.

All else stands in pyproject.toml. The package lies in two folders of the repository, nnfs_gpu/ and
kernels/, and setuptools makes such a package editable by an import hook, which mypy and pyright do
not run: they would not find nnfs_gpu at all. Through two links in the repository, src/nnfs_gpu and
nnfs_gpu/kernels, it lies in one folder, and an editable install is a path. Where links were not
checked out (Windows, as Git sets it up), it is the import hook. Wheels and sdists take the folders
themselves.

The README links to files beside it, and a page of a package index has none beside it. Where
pyproject.toml says what the repository's address is, such links lead there.
"""

import re
import tomllib
from pathlib import Path

from setuptools import setup
from setuptools.command.editable_wheel import editable_wheel

ROOT = Path(__file__).parent
LINKED = ROOT / "src" / "nnfs_gpu" / "kernels" / "__init__.py"

# To a file beside the README: a picture of Markdown or the end of a link, or one of HTML.
BESIDE = r"(?![a-z]+:|[#/])"
MARKDOWN = re.compile(rf"(!\[[^\[\]]*\]|\])\({BESIDE}([^)\s]+)")
HTML = re.compile(rf'\b(src|srcset|href)="{BESIDE}([^"\s]+)')
CODE = re.compile(r"(^```.*?^```$|`[^`\n]+`)", re.MULTILINE | re.DOTALL)


class EditableWheel(editable_wheel):
    """The package lies in src/, where links were checked out."""

    def finalize_options(self) -> None:
        """Set the folder before setuptools looks for the packages."""
        if LINKED.is_file():
            self.distribution.package_dir = {"": "src"}
        super().finalize_options()


def readme() -> str:
    """README.md, with links to the repository's address where pyproject.toml has one."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    with open(ROOT / "pyproject.toml", "rb") as file:
        home = tomllib.load(file)["project"].get("urls", {}).get("Repository")
    if home is None:
        return text
    return "".join(
        part if CODE.fullmatch(part) else absolute(part, home.rstrip("/"))
        for part in CODE.split(text)
    )


def absolute(text: str, home: str) -> str:
    """Links to files as the pages that a forge has of them, pictures as the files themselves."""

    def markdown(found: re.Match[str]) -> str:
        words, path = found.groups()
        return f"{words}({home}/{'raw' if words[0] == '!' else 'blob'}/HEAD/{path}"

    def html(found: re.Match[str]) -> str:
        name, path = found.groups()
        return f'{name}="{home}/{"blob" if name == "href" else "raw"}/HEAD/{path}'

    return HTML.sub(html, MARKDOWN.sub(markdown, text))


setup(
    cmdclass={"editable_wheel": EditableWheel},
    long_description=readme(),
    long_description_content_type="text/markdown",
)
