"""Tables as text: what programs and spreadsheets write is read, all else is named with its line."""

from __future__ import annotations

import numpy as np
import pytest
from table_sources import read, refusal

from nnfs_gpu.tables.table import Numbers, Texts

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
    "bars": "x|y\n0.5|-2\n1e-3|4\n",
    "Excel's first line": "sep=;\nx;y\n0.5;-2\n1e-3;4\n",
    "title and comments": "Points of Monday\n\n# metres, metres\nx,y\n0.5,-2\n1e-3,4\n",
    "blank lines": "\n\nx,y\n\n0.5,-2\n  \n1e-3,4\n\n",
    "empty rows at the end": "x;y\n0.5;-2\n1e-3;4\n;\n;\n",
    "an empty column at the end": "x,y,\n0.5,-2,\n1e-3,4,\n",
    "line ends of Windows": "x,y\r\n0.5,-2\r\n\r\n1e-3,4\r\n",
    "line ends of old Macs": "x,y\r0.5,-2\r1e-3,4\r",
    "a mark": "\ufeffx,y\n0.5,-2\n1e-3,4\n",
    "a mark and quotes": '\ufeff"0.5","-2"\n"1e-3","4"\n',
}


@pytest.mark.parametrize("name", READ)
def test_csv_of_many_programs(name):
    table = read(READ[name])
    assert np.stack([c.values for c in table.columns.values()], axis=1).tolist() == ROWS
    assert all(c.values.dtype == np.float64 for c in table.columns.values())
    assert table.header == (table.names != ["1", "2"])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
def test_encodings(encoding):
    text = "größe,länge\n0.5,-2\n1e-3,4\n"
    text = text if not encoding.endswith("e") else "\ufeff" + text
    told = encoding if encoding == "cp1252" else None
    assert read(text.encode(encoding), encoding=told).names == ["größe", "länge"]


def test_separator_decimal_and_header_as_they_are_told():
    spaced = read("a b\n1   2\n3 4\n", separator="space")
    assert spaced.columns["b"].values.tolist() == [2, 4]
    german = read("a;b\n0,5;1\n-1,25;2\n", decimal=",")
    assert german.columns["a"].values.tolist() == [0.5, -1.25]
    assert read("1;2\n3;4\n", header=True).names == ["1", "2"]
    assert read("a,b\nc,d\n", header=False).columns["1"].categories == ("a", "c")
    # The first row has a number, and the target's name: it is a header.
    assert read("2019,y\n1,2\n", target="y").names == ["2019", "y"]


def test_lines_are_those_of_the_file():
    text = '# a comment\n\na,b\n"1","x\ny"\n\n2,z\r\n3,"p\r\nq\rr"\n4,s\n'
    assert read(text).lines.tolist() == [4, 7, 8, 11]
    assert read("1,2\n3,4\n").lines.tolist() == [1, 2]


def test_many_rows_and_one_bad_among_them():
    rows = np.random.default_rng(0).normal(size=(9000, 3))
    lines = [";".join(f'"{value!r}"' for value in row) for row in rows.tolist()]
    table = read("\r\n".join(["a;b;c", *lines]))
    np.testing.assert_array_equal(np.stack([c.values for c in table.columns.values()], 1), rows)
    lines[8000] = "1;2;x"
    found = refusal(read, "\n".join(["a;b;c", *lines]))
    assert found.startswith("t.csv, line 8002, column 'c': got 'x', expected a number as in 8,999")


# ---- numbers, texts and what is missing ----
def test_columns_are_numbers_or_texts_by_their_cells():
    table = read(
        "number,text,mostly text,truth,gaps,code\n"
        "1,red,a,True,1,007\n2,blue,b,false,NA,8\n3,red,c,TRUE,?,9\n4,,4,false,,10\n",
        text="code",
    )
    assert table.columns["number"].values.tolist() == [1, 2, 3, 4]
    assert table.columns["text"] == pytest.approx(table.columns["text"])
    texts = table.columns["text"]
    assert (texts.codes.tolist(), texts.categories) == ([0, 1, 0, -1], ("red", "blue"))
    assert table.columns["mostly text"].categories == ("a", "b", "c", "4")
    assert table.columns["truth"].values.tolist() == [1, 0, 1, 0]
    assert table.columns["gaps"].missing().tolist() == [False, True, True, True]
    some = read("x,y\n1,none\n-,-\nnone,NA\n2,minor\n3,null\n")
    assert some.columns["y"].categories == ("none", "-", "minor")
    assert some.columns["x"].missing().tolist() == [False, True, True, False, False]
    assert table.columns["code"].categories == ("007", "8", "9", "10")


def test_a_column_whose_first_words_come_late_is_read_again():
    cells = ["7"] * 5000 + ["seven", "eight"] * 3000
    column = read("\n".join(["a,b", *(f"{cell},1" for cell in cells)])).columns["a"]
    assert isinstance(column, Texts)
    assert [column.categories[code] for code in column.codes] == cells
    few = ["7"] * 6000 + ["seven"]
    assert "line 6002, column 'a': got 'seven'" in refusal(
        read, "\n".join(["a,b", *(f"{cell},1" for cell in few)])
    )
    assert isinstance(
        read("\n".join(["a,b", *(f"{c},1" for c in cells[:5000])])).columns["a"], Numbers
    )


@pytest.mark.parametrize("cell", ["1_000", "１２", "1 000", "2024_01_01", "0x10", "1,5"])
def test_what_python_may_take_for_a_number_and_people_do_not(cell):
    assert f"line 3, column 'b': got '{cell}'" in refusal(read, f'a,b\n1,2\n3,"{cell}"\n5,6\n')


def test_ignored_columns_are_not_looked_at():
    table = read("a,b,c\n1,x,0\n2,3,0\n4,5,0\n", ignore=["b"])
    assert table.names == ["a", "c"]


# ---- refused ----
REFUSED = {
    "decimal commas": (
        "a;b\n0,5;1\n1,5;2\n",
        "line 2, column 'a': got '0,5', expected a number: a "
        'decimal comma; write a decimal point, or give decimal=","',
    ),
    "... and thousands": (
        "a;b\n1.234,5;1\n2;3\n4;5\n",
        "got '1.234,5', expected a number as in 2 ",
    ),
    "blanks between": (
        'a,b\n1,2\n"3 4",5\n6,7\n',
        "got '3 4', expected a number as in 2 other "
        'row(s): several; write a separator between them, or give separator="space"',
    ),
    "a word among numbers": (
        "a,b\n1,2\n3,four\n5,6\n",
        "line 3, column 'b': got 'four', expected a "
        'number as in 2 other row(s): correct it, or give text="b"',
    ),
    "too many": (
        "a,b\n1,2\n\n3,4,5\n",
        "line 4: got 3 cells, expected 2 as in the first row; there is no column for '5'",
    ),
    "too few": (
        "a;b;c\n1;2;3\n4;5\n",
        "line 3: got 2 cells, expected 3 as in the first row; the first "
        "without a cell is column 'c'",
    ),
    "a quote": (
        'a,b,c\n1,"2\n3,4\n',
        "line 2: got 2 cells, expected 3 as in the first row; a quote "
        "that is opened in this line is not closed there",
    ),
    "... in the last column": ('a,b\n1,x\n2,"y\n3,x\n4,y\n', "line 3: a quote that is opened here"),
    "only a header": ('"x","y"\n\n', "has a header and no rows"),
    "nothing": ("\n \n", "is empty"),
    "nothing but separators": (";;\n;;\n", "has no rows"),
    "no text": (b"\xff\x00\x12\x00", "neither CSV text nor"),
    "another encoding": (
        "a,b\n1,2\nß,4\n".encode("cp1252"),
        "line 3: byte 0xdf is no utf-8; save the "
        'file as UTF-8, or give its encoding, for instance encoding="cp1252"',
    ),
    "a name twice": ("a,b,a\n1,2,3\n", "line 1: got the name 'a' for columns 1 and 3"),
    "an index": (
        ",a\n0,5\n1,6\n",
        "column 'unnamed 1': has no name in the header, as where a program "
        'wrote the numbers of the rows; name it, or give ignore="unnamed 1"',
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_named_with_its_place(name):
    content, message = REFUSED[name]
    found = refusal(read, content)
    assert found.startswith("t.csv")
    assert message in found


def test_options_that_no_text_is_written_in():
    assert "separator: got ';;', expected one character" in refusal(read, "a\n", separator=";;")
    assert 'decimal: got \'\', expected "." or ","' in refusal(read, "a\n", decimal="")
    assert "for both" in refusal(read, "a\n", decimal=",", separator=",")
    assert "encoding: got 'klingon'" in refusal(read, "a\n", encoding="klingon")
    assert "has no column 'x'; it has 'a', 'b'" in refusal(read, "a,b\n1,2\n", text=["x"])
    assert "did you mean 'weight'?" in refusal(read, "weight,b\n1,2\n", ignore=["Wieght"])
    assert "column 'a': got text and ignore" in refusal(read, "a\n", text="a", ignore="a")
    assert 'give separator, such as separator="space"' in refusal(read, "a b\n1 2\n", text="b")
