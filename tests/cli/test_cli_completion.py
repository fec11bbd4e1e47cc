"""`nnfs-gpu --install-completion` and `--show-completion`: shells complete commands and options."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cli_runs import ENVIRONMENT, run

BESIDE = Path(sys.executable).parent  # where nnfs-gpu lies, as a shell finds it
# Typer asks which shell has called; so, it takes a name instead.
NAMED = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}


def bash(program: str, home: Path) -> subprocess.CompletedProcess:
    """A program of bash in which `nnfs-gpu` is found."""
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    path = os.pathsep.join([str(BESIDE), os.environ["PATH"]])
    return subprocess.run(
        ["bash", "--norc", "-c", program],
        env=ENVIRONMENT | {"PATH": path, "HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    ("shell", "begins"),
    [
        ("bash", "_nnfs_gpu_completion() {"),
        ("zsh", "#compdef nnfs-gpu"),
        ("fish", "complete --command nnfs-gpu"),
    ],
)
def test_a_script_for_each_shell(shell, begins):
    done = run("--show-completion", shell, env=NAMED)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(begins)
    assert f"_NNFS_GPU_COMPLETE=complete_{shell}" in done.stdout


def test_bash_completes_commands_options_and_values(tmp_path):
    """With the script that it is shown: which shell it is was found out."""
    done = bash(
        'eval "$(nnfs-gpu --show-completion)"\n'
        "complete -p nnfs-gpu\n"
        "complete_words() { COMP_WORDS=(nnfs-gpu $1); COMP_CWORD=$2\n"
        '_nnfs_gpu_completion nnfs-gpu; echo "${COMPREPLY[@]}"; }\n'
        "complete_words cro 1\n"
        "complete_words 'train --optimi' 2\n"
        "complete_words 'train --optimizer ad' 3\n",
        tmp_path,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "complete -o default -F _nnfs_gpu_completion nnfs-gpu",
        "crosscheck",
        "--optimizer",
        "adagrad adam adamw",
    ]


def test_installed_once_however_often(tmp_path):
    (tmp_path / ".bashrc").write_text("# mine\n")
    for _ in range(2):
        done = bash("nnfs-gpu --install-completion; exit $?", tmp_path)
        assert done.returncode == 0, done.stderr
        assert "bash completion installed in" in " ".join(done.stdout.split())
    lines = (tmp_path / ".bashrc").read_text().splitlines()
    script = tmp_path / ".bash_completions" / "nnfs-gpu.sh"
    assert [line for line in lines if line] == ["# mine", f"source '{script}'"]
    assert "_nnfs_gpu_completion" in script.read_text()
