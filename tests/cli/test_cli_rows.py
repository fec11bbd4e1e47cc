"""`nnfs-gpu predict` reads what programs and spreadsheets write; `--resume` wants its folder."""

import os
import subprocess
import sys

import numpy as np
import pytest
from cli_runs import run, trained_once

from nnfs_gpu.cli.errors import InputError
from nnfs_gpu.cli.rows import read_rows

ROWS = [[0.5, -2.0], [1e-3, 4.0]]
READ = {
    "plain": "0.5,-2\n1e-3,4\n",
    "no last line end": "0.5,-2\n1e-3,4",
    "header": "x,y\n0.5,-2\n1e-3,4\n",
    "header with a number in a name": "x1,y1\n0.5,-2\n1e-3,4\n",
    "quotes": '"x","y"\n"0.5","-2"\n"1e-3","4"\n',
    "quotes and blanks": '"x", "y"\n 0.5 , "-2"\n"1e-3" ,4\n',
    "separators in a quoted header": '"x; in m","y, in m"\n0.5,-2\n1e-3,4\n',
    "a line end in a quoted header": '"x\nin m","y"\n0.5,-2\n1e-3,4\n',
    "semicolons": "x;y\n0.5;-2\n1e-3;4\n",
    "quoted semicolons": '"0.5";"-2"\n"1e-3";"4"\n',
    "tabs": "x\ty\n0.5\t-2\n1e-3\t4\n",
    "Excel's first line": "sep=;\nx;y\n0.5;-2\n1e-3;4\n",
    "title and comments": "Points of Monday\n\n# metres, metres\nx,y\n0.5,-2\n1e-3,4\n",
    "blank lines": "\n\nx,y\n\n0.5,-2\n  \n1e-3,4\n\n",
    "empty rows at the end": "x;y\n0.5;-2\n1e-3;4\n;\n;\n",
    "line ends of Windows": "x,y\r\n0.5,-2\r\n\r\n1e-3,4\r\n",
    "line ends of old Macs": "x,y\r0.5,-2\r1e-3,4\r",
    "a mark": "\ufeffx,y\n0.5,-2\n1e-3,4\n",
    "a mark and quotes": '\ufeff"0.5","-2"\n"1e-3","4"\n',
}


def given(folder, content):
    """A file with that content."""
    path = folder / "rows.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


@pytest.mark.parametrize("name", READ)
def test_csv_of_many_programs(tmp_path, name):
    rows = read_rows(given(tmp_path, READ[name]), "rows.csv")
    assert rows.dtype == np.float64
    np.testing.assert_array_equal(rows, ROWS)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "latin-1", "cp1252"])
def test_other_encodings(tmp_path, encoding):
    text = "größe,länge\n0.5,-2\n1e-3,4\n"
    text = text if not encoding.endswith("e") else "\ufeff" + text
    rows = read_rows(given(tmp_path, text.encode(encoding)), "rows.csv")
    np.testing.assert_array_equal(rows, ROWS)


REFUSED = {
    "decimal commas": ("0,5;-2\n", r"line 1: got '0,5', expected a number: a decimal comma; write"),
    "... after a header": ("x;y\n1;2\n3;4,25\n", r"line 3: got '4,25', .*a decimal comma"),
    "... in quotes": ('"0,5","-2,0"\n', r"line 1: got '0,5', .*a decimal comma"),
    "... between tabs": ("x\ty\n0,5\t-2\n", r"line 2: got '0,5', .*a decimal comma"),
    "... and thousands": ("1.234,5;2\n", r"got '1.234,5', .*a decimal comma"),
    "blanks": ("0.5 -2\n", r"line 1: got '0.5 -2', expected a number: several; put commas"),
    "words": ("x,y\n1,2\n3,four\n", r"line 3: got 'four', expected a number$"),
    "missing first": ("NA,NA\n1,2\n", "line 1: got 'NA', expected a number"),
    "missing after a header": ("x,y\nNA,\n1,2\n", "line 2: got 'NA', expected a number"),
    "two headers": ("x,y\nm,m\n1,2\n", "line 2: got 'm', expected a number"),
    "a gap": ("1,2\n,\n3,4\n", "line 2: got '', expected a number"),
    "too many": ("x,y\n1,2\n\n3,4,5\n", "line 4: got 3 numbers, expected 2 as in the lines before"),
    "too few": ("x;y\n1;2\n3\n1;2\n", "line 3: got 1 numbers, expected 2"),
    "only a header": ('"x","y"\n\n', "has a header but no rows of numbers"),
    "nothing": ("\n \n", "is empty, expected rows of numbers"),
    "nothing but separators": (";;\n;;\n", "has a header but no rows"),
    "no text": (b"\xff\x00\x12\x00", "neither CSV text nor"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_named_with_its_line(tmp_path, name):
    content, message = REFUSED[name]
    with pytest.raises(InputError, match=f"^rows.csv(, |: ).*{message}"):
        read_rows(given(tmp_path, content), "rows.csv")


def test_many_rows_and_one_bad_among_them(tmp_path):
    rows = np.random.default_rng(0).normal(size=(3000, 3))
    lines = [";".join(f'"{value!r}"' for value in row) for row in rows.tolist()]
    path = given(tmp_path, "\r\n".join(["a;b;c", *lines]))
    np.testing.assert_array_equal(read_rows(path, "rows.csv"), rows)
    lines[2000] = "1;2;x"
    with pytest.raises(InputError, match=r"rows.csv, line 2002: got 'x'"):
        read_rows(given(tmp_path, "\n".join(["a;b;c", *lines])), "rows.csv")


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
            r"4 features do not fit 2; if commas stand for decimal points, write points",
        ),
        ("1,2\nnan,3\n", "NaN or infinity in 1 place(s), the first at index (1, 0), row 2"),
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
