"""How Sphinx makes the site of docs/: `make docs` reads this, and nothing else does.

Pages are MyST Markdown; notebooks are Markdown, too, and executed at every build in which the
package or they have changed. The site loads nothing from elsewhere: formulas become MathML, which
browsers draw by themselves, and fonts and scripts come with the theme.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import re
import sys
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path.insert(0, str(HERE / "_extensions"))

version = release = re.search(  # what the package says, without importing it twice
    r'"([\d.]+)"', (ROOT / "nnfs_gpu" / "_version.py").read_text(encoding="utf-8")
)[1]
project = "nnfs_gpu"
author = "The authors of nnfs_gpu"

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
    "mathml",
    "plain_docstrings",
]
exclude_patterns = ["_extensions", "_static", "notebooks/data"]
nitpicky = True
default_role = "literal"  # what docstrings have between back quotes is code

# ---- pages ----
myst_enable_extensions = ["attrs_block", "attrs_inline", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
html_math_renderer = "mathml"
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

# ---- notebooks ----
# Executed in an empty folder, and kept until a notebook or the package changes.
nb_execution_mode = "cache"
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_execution_timeout = 300  # seconds a cell
nb_merge_streams = True
nb_ipywidgets_js = {}  # would come from elsewhere
nb_kernel_rgx_aliases = {".*": "python3"}  # the kernel of this environment


def _sources() -> str:
    """A digest of what notebooks run: the package and the helpers of the notebooks."""
    digest = hashlib.sha256()
    for folder in (ROOT / "nnfs_gpu", ROOT / "kernels", HERE / "notebooks"):
        for path in sorted(folder.rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


nb_execution_cache_path = str(ROOT / "build" / "notebooks" / _sources())
# Notebooks import their helpers from docs/notebooks/, and find this environment's commands.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
os.environ["COLUMNS"] = "76"  # fit beside two sidebars
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(HERE / "notebooks"), *filter(None, [os.environ.get("PYTHONPATH")])]
)

# ---- API reference ----
autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints = "none"  # the docstrings say types, and shapes
autosummary_generate = False
numpydoc_show_class_members = False
toc_object_entries_show_parents = "hide"

# ---- HTML ----
html_theme = "pydata_sphinx_theme"
html_title = "nnfs_gpu"
html_favicon = "_static/icon.svg"
html_logo = "_static/icon.svg"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_sidebars = {"index": [], "start": []}
html_copy_source = False
html_show_sourcelink = False
html_context = {"default_mode": "auto"}  # the system's, light or dark
html_theme_options = {
    "logo": {"text": "nnfs_gpu"},
    "header_links_before_dropdown": 8,
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "footer_start": [],
    "footer_end": ["theme-version"],
    "secondary_sidebar_items": {"**": ["page-toc"], "speed": [], "speed-rows": []},
}
pygments_style = "default"


def _with_decisions(app: Sphinx, name: str, source: list[str]) -> None:
    """The decisions' own page lists them in a table, for readers of the repository, too."""
    if name == "decisions/README":
        source[0] += "\n```{toctree}\n:hidden:\n:glob:\n\n*\n```\n"


def _signature(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, signature: str, returns: str
) -> tuple[str, str] | None:
    """Of a class that of its `__init__`: Sphinx would show that of `Part.__new__`."""
    if what != "class":
        return None
    if obj.__init__ is object.__init__ or getattr(obj, "_is_protocol", False):
        return "()", ""
    shown = inspect.signature(obj.__init__)
    parameters = [
        one.replace(annotation=one.empty)
        for name, one in shown.parameters.items()
        if name != "self"
    ]
    return str(inspect.Signature(parameters)), ""


def _skip(
    app: Sphinx, what: str, name: str, obj: object, skip: bool, options: object
) -> bool | None:
    """What scikit-learn adds for its metadata routing; its text links to scikit-learn's site."""
    return True if re.fullmatch(r"set_\w+_request", name) else None


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-skip-member", _skip)
    app.connect("source-read", _with_decisions)
    app.connect("autodoc-process-signature", _signature)
