"""What pages of docs/ show works: their programs run as they stand there, and print what they say.

Blocks of `python` of a page are one program, run from top to bottom in a new folder. A block of
`text` is what the block before it prints.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec

import pytest
from built_package import ROOT

PAGES = {  # and the packages that they need
    "backends.md": (),
    "estimators.md": ("sklearn",),
    "extending.md": (),
    "files.md": (),
    "onnx.md": ("onnx", "onnxruntime"),
    "scale.md": (),
    "start.md": (),
    "your-data.md": ("sklearn",),
}
BLOCK = re.compile(r"^```(python|sh|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MARK = "---- the next block ----"


def blocks(page):
    """(program, what it prints or None), as they come."""
    found = BLOCK.findall((ROOT / "docs" / page).read_text(encoding="utf-8"))
    after = [*found[1:], ("", "")]
    return [
        (text, then if kind_then == "text" else None)
        for (kind, text), (kind_then, then) in zip(found, after, strict=True)
        if kind == "python"
    ]


@pytest.mark.parametrize("page", PAGES)
def test_programs_print_what_the_page_says(page, tmp_path):
    missing = [name for name in PAGES[page] if find_spec(name) is None]
    if missing:
        assert not os.environ.get("CI"), f"CI must have {missing}: they are in the extra `test`"
        pytest.skip(f"{missing} not installed")
    shown = blocks(page)
    assert any(prints for _, prints in shown)
    program = f"\nprint({MARK!r})\n".join(text for text, _ in shown)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=tmp_path,
        env=os.environ | {"NNFS_GPU_BACKEND": "numpy", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    printed = done.stdout.split(f"{MARK}\n")
    for (text, expected), got in zip(shown, printed, strict=True):
        if expected is not None:
            assert got == expected, text
