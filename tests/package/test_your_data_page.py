"""The commands that docs/your-data.md shows run as they stand there, on the page's own tables.

`test_pages.py` runs its programs. Of what a command prints the words are compared: processors round
numbers in their own ways.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

import pytest
from built_package import ROOT

PAGE = (ROOT / "docs" / "your-data.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"\d[\d.,]*")


def words(line):
    """A line without its numbers."""
    return " ".join(NUMBER.sub("#", line.replace("│", " ")).split())


@pytest.mark.skipif(os.name != "posix", reason="the page's commands are a shell's")
def test_commands_print_what_the_page_says(tmp_path):
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    environment = os.environ | {"NNFS_GPU_BACKEND": "numpy", "PYTHONPATH": str(ROOT)}
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "nnfs-gpu"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m nnfs_gpu.cli "$@"\n')
    command.chmod(0o755)
    environment["PATH"] = f"{tmp_path / 'bin'}{os.pathsep}{environment['PATH']}"
    assert shutil.which("nnfs-gpu", path=environment["PATH"]) == str(command)
    settings = {"cwd": tmp_path, "env": environment, "capture_output": True, "text": True}
    tables = next(text for kind, text in BLOCKS if kind == "python")
    subprocess.run([sys.executable, "-c", tables], check=True, **settings)
    shown = 0
    for number, (kind, text) in enumerate(BLOCKS):
        if kind != "sh":
            continue
        done = subprocess.run(["sh", "-e", "-c", text], timeout=300, check=False, **settings)
        assert done.returncode == 0, done.stderr
        then, expected = BLOCKS[number + 1]
        if then == "text":
            shown += 1
            printed = {words(line) for line in done.stdout.splitlines()}
            backend = re.compile(r"numba \(numba .*\)")
            for line in expected.splitlines():
                same = words(backend.sub("", line))
                assert line == "..." or any(same in one for one in printed), line
    assert shown == 2
    assert (tmp_path / "answers.csv").read_text().splitlines()[:2] == ["cultivar", "cultivar 1"]
