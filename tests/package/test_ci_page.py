"""What docs/ci.md and the example workflow show works: commands, exit codes, the test file.

The workflow is read as YAML, and what it runs of `nnfs-gpu` is held against the command line.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys

import pytest
from built_package import ROOT

from nnfs_gpu.cli import app

PAGE = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
WORKFLOW = (ROOT / "docs" / "examples" / "ci.yml").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)

if importlib.util.find_spec("yaml") is None:
    assert not os.environ.get("CI"), "CI must have PyYAML: it is in the extra `test`"
yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")


def block(kind):
    """The page's block of this kind, of which there is one."""
    (found,) = [text for name, text in BLOCKS if name == kind]
    return found


def ran(*arguments, cwd=None, **variables):
    paths = os.pathsep.join([str(ROOT), str(ROOT / "src")])
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": paths, "COLUMNS": "200"} | variables,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


# ---- the workflow ----
@pytest.fixture(scope="module")
def job():
    """The job of the workflow."""
    workflow = yaml.safe_load(WORKFLOW)
    assert workflow[True] == ["push", "pull_request"]  # YAML's `on` is a yes
    (job,) = workflow["jobs"].values()
    return job


def test_the_workflow_is_whole(job):
    assert job["runs-on"] == "ubuntu-latest"
    assert all(("uses" in step) != ("run" in step) for step in job["steps"])
    for step in job["steps"]:
        assert re.fullmatch(r"actions/[\w-]+@v\d+", step.get("uses", "actions/none@v1"))
        assert step.get("if", "").replace("'numba'", "") in ("", "matrix.backend == ")
    assert job["strategy"]["matrix"]["backend"] == ["numpy", "numba"]
    assert job["env"]["NNFS_GPU_BACKEND"] == "${{ matrix.backend }}"
    texts = re.findall(r"\$\{\{ ([^}]+) \}\}", WORKFLOW)
    known = {"github.workspace", "matrix.backend", "matrix.python", "steps.kernels.outputs.key"}
    assert set(texts) == known
    assert {step.get("id") for step in job["steps"]} == {None, "kernels"}


def test_the_cache_is_the_folder_that_kernels_are_kept_in(job):
    (cache,) = [step for step in job["steps"] if "cache@" in step.get("uses", "")]
    folder = job["env"]["NUMBA_CACHE_DIR"].removeprefix("${{ github.workspace }}/")
    assert cache["with"]["path"] == folder
    code = "from nnfs_gpu.backend.kept_code import cache_folders; print(*cache_folders('numba'))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"NUMBA_CACHE_DIR": "/kept", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert [os.path.dirname(path) for path in done.stdout.split()] == ["/kept"]


def commands():
    """Every `nnfs-gpu ...` of the page and the workflow, as words."""
    steps = "\n".join(re.findall(r"run: (.*)", WORKFLOW)) + PAGE
    found = re.findall(r"nnfs-gpu ((?:warmup|crosscheck|train|info)\b[^`\n)]*)", steps)
    return {re.split(r" (?:compiles|while|>>)", text)[0].strip(" '\"") for text in found}


@pytest.mark.parametrize("text", sorted(commands()))
def test_commands_are_those_of_the_command_line(text):
    name, *options = shlex.split(text)
    command = app.typer.main.get_command(app.app).commands[name]
    known = {option for one in command.params for option in one.opts}
    assert {one for one in options if one.startswith("--")} <= known


def test_the_key_looks_as_on_the_page():
    done = ran("nnfs_gpu.cli", *shlex.split(block("sh"))[1:])
    assert done.returncode == 0, done.stderr
    forms = [re.sub(r"[0-9a-f]{16}$", "", text.strip()) for text in (block("text"), done.stdout)]
    assert [text.count("-") for text in forms] == [5, 5]
    assert re.fullmatch(r"[0-9a-f]{16}\n", done.stdout[-17:])


# ---- the page ----
def test_the_test_file_passes_on_a_backend(tmp_path):
    (tmp_path / "test_model.py").write_text(block("python"))
    arguments = ["-W", "error", "-p", "_nnfs_gpu_pytest", "-p", "no:cacheprovider"]
    for option in ([], ["--nnfs-backend=numpy"]):
        done = ran(
            *("pytest", *arguments, *option),
            cwd=tmp_path,
            PYTEST_DISABLE_PLUGIN_AUTOLOAD="1",
            NNFS_GPU_BACKEND="numpy",
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "1 passed" in done.stdout


def test_exit_codes_are_those_of_the_command(tmp_path):
    documented = dict(re.findall(r"^ {4}(\d+) {2,}(.*)$", app.__doc__, re.MULTILINE))
    shown = set(re.findall(r"^\| (\d+(?:, \d+)?) \|", PAGE, re.MULTILINE))
    assert shown == {"0", "1", "2", "130, 143"}
    assert documented.keys() == {"0", "1", "2", "130"}
    for option in (("--backend", "abacus"), ("--backend", "numpy")):
        done = ran("nnfs_gpu.cli", "crosscheck", *option, "--against", "numpy")
        assert done.returncode == 2
        assert done.stderr.startswith("error: ")


def test_the_image_is_made_by_known_words():
    lines = [line.split() for line in block("dockerfile").splitlines()]
    assert [words[0] for words in lines] == ["FROM", "RUN", "ENV", "RUN"]
    assert lines[2][1].startswith("NUMBA_CACHE_DIR=")
