"""`nnfs-gpu predict` reads rows of numbers from files and pipes; `--resume` wants its folder."""

import os
import subprocess
import sys

import pytest
from cli_runs import run, trained_once

READ = {
    "plain": "0.5,-2\n1e-3,4\n",
    "quotes": '"x","y"\n"0.5","-2"\n"1e-3","4"\n',
    "semicolons": "x;y\n0.5;-2\n1e-3;4\n",
}


def given(folder, content):
    """A file with that content."""
    path = folder / "rows.csv"
    path.write_text(content)
    return str(path)


# ---- the command ----
@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """See `trained_once`."""
    return trained_once(tmp_path_factory)[0]


def test_the_command_reads_them_all_alike(trained, tmp_path):
    path = given(tmp_path, READ["semicolons"])
    found = [
        run("predict", trained, path, "--backend", "numpy"),
        run("predict", trained, "-", "--backend", "numpy", stdin=READ["quotes"].encode()),
    ]
    assert [done.returncode for done in found] == [0, 0], [done.stderr for done in found]
    assert found[0].stdout == found[1].stdout
    assert len(found[0].stdout.splitlines()) == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "0,5,0,25\n",
            "got 4 columns, expected 2; if commas stand for decimal points, give --decimal comma",
        ),
        ("1,2\nnan,3\n", "line 2, column '1': is missing (empty, ?, NA or NaN); fill it in"),
        ("1,2\n3,inf\n", "line 2, column '2': got inf"),
        ("1e40,2\n3,4\n", "NaN or infinity in 1 place(s), the first at index (0, 0)"),
    ],
)
def test_what_a_model_cannot_take(trained, tmp_path, content, message):
    done = run("predict", trained, given(tmp_path, content), "--backend", "numpy")
    assert done.returncode == 2
    assert message in done.stderr
    assert "use X" not in done.stderr  # what to do with an array is of no use here


@pytest.mark.skipif(os.name != "posix", reason="a shell's <&- closes the descriptor")
@pytest.mark.parametrize(
    ("closed", "code", "message"),
    [
        ("<&-", 2, "error: standard input: is closed; give a file"),
        (">&-", 1, "error: standard output is closed; send it to a file"),
    ],
)
def test_closed_standard_input_and_output(trained, tmp_path, closed, code, message):
    command = f'"$0" -m nnfs_gpu.cli predict "$1" "$2" --backend numpy {closed}'
    source = "-" if closed == "<&-" else given(tmp_path, READ["plain"])
    done = subprocess.run(
        ["sh", "-c", command, sys.executable, str(trained), source],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == code
    assert done.stderr.startswith(message)
    assert len(done.stderr.splitlines()) == 1


def test_resume_of_a_folder_that_does_not_exist(tmp_path):
    (tmp_path / "file").write_text("")
    for name, message in (("a/b", "no such folder; begin a run with --out"), ("file", "is a file")):
        done = run("train", "--resume", tmp_path / name, "--samples", 20, "--epochs", 1)
        assert done.returncode == 2
        assert done.stderr.startswith(f"error: --resume {tmp_path / name}: {message}")
    assert os.listdir(tmp_path) == ["file"]
