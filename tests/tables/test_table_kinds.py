"""Tables that are no text: arrays, archives, Parquet, folders of pictures, rows of a program."""

from __future__ import annotations

import io
import sys

import numpy as np
import pytest
from table_sources import read, refusal, stream

from nnfs_gpu import images
from nnfs_gpu.tables.arrays import as_texts, of_rows
from nnfs_gpu.tables.naming import Declared
from nnfs_gpu.tables.reading import read_table
from nnfs_gpu.tables.table import Numbers, Table, TableError, Texts


def saved(write, *arguments, **arrays) -> bytes:
    """What `write`, np.save or np.savez, makes of them."""
    file = io.BytesIO()
    write(file, *arguments, **arrays)
    return file.getvalue()


# ---- .npy and .npz ----
def test_npy_matrices_pictures_and_structured_arrays():
    rows = np.arange(6, dtype=np.int64).reshape(3, 2)
    table = read(saved(np.save, rows))
    assert (table.names, table.header, table.lines) == (["1", "2"], False, None)
    assert table.columns["2"].values.tolist() == [1, 3, 5]
    assert table.columns["2"].values.dtype == np.int64
    assert table.place(1) == "row 2"
    pictures = read(saved(np.save, np.zeros((4, 2, 3), np.uint8)))
    assert (pictures.picture, len(pictures.names)) == ((2, 3), 6)
    named = np.array([(1.5, "red"), (2.5, "blue")], [("size", "f8"), ("colour", "U4")])
    table = read(saved(np.save, named))
    assert (table.names, table.columns["colour"].categories) == (
        ["size", "colour"],
        ("red", "blue"),
    )
    words = read(saved(np.save, np.array([["1", "a"], ["2", "b"]])))
    assert [type(column) for column in words.columns.values()] == [Numbers, Texts]


@pytest.mark.parametrize(
    "names", [("X", "y", "X_test", "y_test"), ("x_train", "y_train", "x_test", "y_test")]
)
def test_npz_with_data_targets_and_a_half_for_testing(names):
    arrays = (np.ones((4, 2)), np.array([[3], [1], [3], [1]]), np.zeros((2, 2)), np.array([1, 3]))
    table = read(saved(np.savez, **dict(zip(names, arrays, strict=True))))
    assert (table.names, table.target, len(table), len(table.test)) == (["1", "2", "y"], "y", 4, 2)
    assert table.columns["y"].values.tolist() == [3, 1, 3, 1]
    assert table.test.columns["y"].values.tolist() == [1, 3]


def test_npz_with_columns_and_without_a_target():
    table = read(saved(np.savez, size=np.array([1.0, 2.0]), colour=np.array(["red", "blue"])))
    assert (table.names, table.target, table.header) == (["size", "colour"], None, True)
    assert read(saved(np.savez, X=np.ones((2, 2)))).target is None


def test_damaged_and_foreign_arrays():
    assert "got an array of float64 of shape (3,), expected (rows, columns)" in refusal(
        read, saved(np.save, np.ones(3))
    )
    assert "expected pictures of grey levels" in refusal(
        read, saved(np.save, np.ones((2, 2, 2, 3)))
    )
    assert "a damaged .npy file" in refusal(read, saved(np.save, np.ones((3, 3)))[:-9])
    assert "a damaged .npz file" in refusal(read, saved(np.savez, X=np.ones((3, 3)))[:-30])
    letters = saved(np.save, np.array([["a"], ["b"]]))[:-1] + b"\x7f"
    assert "column '1': holds no text: the file is damaged" in refusal(read, letters)
    objects = saved(np.save, np.array([[{}]], object), allow_pickle=True)
    assert "a damaged .npy file (Object arrays cannot be loaded" in refusal(read, objects)
    assert "got complex numbers" in refusal(read, saved(np.save, np.ones((2, 2), complex)))
    assert "got X with 3 rows and y of shape (2,), expected one target a row, (3,)" in refusal(
        read, saved(np.savez, X=np.ones((3, 2)), y=np.ones(2))
    )
    assert "holds a (2, 2), b (2,), expected the arrays X and y, or columns" in refusal(
        read, saved(np.savez, a=np.ones((2, 2)), b=np.ones(2))
    )
    assert "got 2 values in column 'b' and 3 in column 'a'" in refusal(
        read, saved(np.savez, a=np.ones(3), b=np.ones(2))
    )


# ---- Parquet ----
def test_parquet_numbers_texts_truth_and_what_is_missing():
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = {
        "whole": pyarrow.array([2**60, 2, 3]),
        "gaps": pyarrow.array([1, None, 3]),
        "text": pyarrow.array(["red", None, "blue"]).dictionary_encode(),
        "truth": pyarrow.array([True, False, True]),
        "unread": pyarrow.array([[1], [2], [3]]),
    }
    file = io.BytesIO()
    parquet.write_table(pyarrow.table(columns), file)
    table = read(file.getvalue(), ignore="unread")
    assert table.names == ["whole", "gaps", "text", "truth"]
    assert table.columns["whole"].values.tolist() == [2**60, 2, 3]
    assert table.columns["gaps"].missing().tolist() == [False, True, False]
    assert table.columns["text"].codes.tolist() == [0, -1, 1]
    assert table.columns["truth"].values.astype(int).tolist() == [1, 0, 1]
    assert "a damaged Parquet file" in refusal(read, file.getvalue()[:100])


def test_parquet_without_pyarrow_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert 'needs pyarrow: pip install "nnfs-gpu[parquet]"' in refusal(read, b"PAR1....PAR1")


# ---- folders of pictures ----
def test_folders_with_halves_with_classes_and_without(tmp_path):
    X, y = images.draw_shapes(3, 2, size=8)
    images.save_images(tmp_path / "both", X, y + 4, X[:2], y[:2] + 4)
    table = read_table(tmp_path / "both")
    assert (table.target, table.picture, len(table), len(table.test)) == ("class", (8, 8), 6, 2)
    assert table.columns["class"].categories == ("4", "5")
    assert table.columns["class"].codes.tolist() == y.tolist()
    flat = np.stack([table.columns[str(n + 1)].values for n in range(64)], axis=1)
    np.testing.assert_array_equal(flat, X.reshape(6, 64))
    assert table.place(0) == str(tmp_path / "both" / "train" / "4" / "0000.png")
    assert read_table(tmp_path / "both" / "test").test is None
    plain = read_table(tmp_path / "both" / "train" / "5")
    assert (plain.target, len(plain), "class" in plain.columns) == (None, 3, False)
    (tmp_path / "empty").mkdir()
    with pytest.raises(images.ImageFolderError, match="holds neither class folders nor"):
        read_table(tmp_path / "empty")


# ---- numbers as names ----
@pytest.mark.parametrize(
    ("values", "names"),
    [
        (np.array([2.0, 1.0, np.nan, 2.0]), ("1", "2")),
        (np.array([2**63 - 1, 2**63 - 2]), ("9223372036854775806", "9223372036854775807")),
        (np.array([0.5, 1.0]), ("0.5", "1.0")),
        (np.array([True, False]), ("False", "True")),
    ],
)
def test_numbers_are_named_as_they_are_written(values, names):
    found = as_texts(Numbers(values))
    assert found.categories == names
    assert (found.codes < 0).tolist() == np.isnan(values).tolist()


# ---- rows of a program ----
NAMES = ["size", "colour"]
RAW = [[1.5, "red"], [2.5, "blue"]]


@pytest.mark.parametrize(
    "rows",
    [
        RAW,
        tuple(map(tuple, RAW)),
        [{"colour": "red", "size": 1.5}, {"size": 2.5, "colour": "blue"}],
        {"colour": ["red", "blue"], "size": np.array([1.5, 2.5])},
        np.array(RAW, object),
        np.array(RAW),
    ],
)
def test_raw_rows_of_many_kinds(rows):
    table = of_rows(rows, NAMES, Declared())
    assert table.columns["size"].values.tolist() == [1.5, 2.5]
    assert table.columns["colour"].categories == ("red", "blue")


def test_raw_rows_of_pandas_and_numbers():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"colour": ["red", None], "size": [1, 2]})
    table = of_rows(frame, NAMES, Declared())
    assert table.columns["colour"].codes.tolist() == [0, -1]
    assert table.columns["size"].values.tolist() == [1, 2]
    numbers = of_rows(np.eye(2, dtype=np.float32), ["a", "b"], Declared())
    assert numbers.columns["a"].values.tolist() == [1, 0]


def test_raw_rows_that_are_none():
    def of(rows):
        return refusal(of_rows, rows, NAMES, Declared())

    assert "row 2: got 1 values, expected 2" in of([[1, "a"], [2]])
    assert "got 3 values a row, expected 2: 'size', 'colour'" in of([[1, 2, 3]])
    assert "got 1 values in column 'b' and 2 in column 'a'" in of({"a": [1, 2], "b": [1]})
    assert "has no rows" in of([])
    for rows, message in ((3, "got int"), ("a.csv", "got str"), ([1, 2], r"one row is .row.$")):
        with pytest.raises(TypeError, match=message):
            of_rows(rows, NAMES, Declared())


def test_a_table_of_some_rows_keeps_their_lines():
    table = read("a,b\n1,x\n\n2,y\n3,x\n")
    some = table.rows(np.array([False, True, True]))
    assert (len(some), some.lines.tolist(), some.place(0)) == (2, [4, 5], "line 4")
    assert isinstance(some.error("no", 1, "a"), TableError)
    assert str(some.error("no", 1, "a")) == "t.csv, line 5, column 'a': no"
    assert isinstance(table, Table)
    assert read_table(stream("a\n1\n", "<stdin>")).source == "standard input"
