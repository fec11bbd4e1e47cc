"""What a model keeps of its table: inputs against formulas, answers, columns by name, refusals."""

from __future__ import annotations

import json

import numpy as np
import pytest
from table_sources import read, refusal, stream

from nnfs_gpu import images
from nnfs_gpu.tables import encoding
from nnfs_gpu.tables.missing import complete_rows
from nnfs_gpu.tables.preprocessing import Preprocessing
from nnfs_gpu.tables.reading import read_table
from nnfs_gpu.tables.split import split_rows
from nnfs_gpu.tables.target import task_of

TABLE = "size,colour,kind\n1,red,u\n2,blue,v\n3,red,u\n6,green,w\n7,blue,v\n"


def fitted(content=TABLE, target="kind", ignore=(), text=(), **options):
    """The preprocessing of a table."""
    table = read(content, text=text, ignore=ignore, target=target)
    return Preprocessing.fit(table, target, **options)


def refused(content, target="kind", **options):
    return refusal(fitted, content, target, **options)


# ---- inputs ----
def test_inputs_are_standardized_numbers_and_a_column_for_each_text():
    training = np.array([0, 1, 3])
    made = fitted(training=training)
    values = np.array([1.0, 2, 3, 6, 7])
    expected = (values - values[training].mean()) / values[training].std()
    X = made.inputs(read(TABLE, text=["kind"]))
    assert X.dtype == np.float64
    np.testing.assert_allclose(X[:, 0], expected, rtol=1e-15)
    colours = [[0, 0, 1], [1, 0, 0], [0, 0, 1], [0, 1, 0], [1, 0, 0]]  # blue, green, red
    assert X[:, 1:].tolist() == colours
    assert (made.width, made.outputs, made.classes) == (4, 3, ("u", "v", "w"))
    assert made.targets(read(TABLE)).tolist() == [0, 1, 0, 2, 1]
    assert made.inputs(read(TABLE), dtype=np.float32).dtype == np.float32


def test_many_rows_come_block_by_block(monkeypatch):
    made = fitted()
    whole = made.inputs(read(TABLE))
    monkeypatch.setattr(encoding, "BLOCK", 2)
    assert made.inputs(read(TABLE)).tobytes() == whole.tobytes()


def test_a_constant_column_is_zero_and_pictures_are_standardized_as_a_whole(tmp_path):
    made = fitted("a,b,kind\n5,1,u\n5,2,v\n5,3,u\n")
    assert made.inputs([[5, 2]])[0, 0] == 0
    X, y = images.draw_shapes(3, 2, size=8)
    X[:, 0, 0] = 0
    images.save_images(tmp_path / "shapes", X, y, X, y)
    table = read_table(tmp_path / "shapes")
    made = Preprocessing.fit(table, "class", training=np.arange(4))
    flat = X.reshape(6, 64).astype(np.float64)
    expected = (flat - flat[:4].mean()) / flat[:4].std()
    np.testing.assert_allclose(made.inputs(table), expected, rtol=1e-12)
    assert made.inputs(X[:2]).tobytes() == made.inputs(table)[:2].tobytes()
    assert "got pictures of 9 x 7 pixels, expected 8 x 8" in refusal(
        made.inputs, np.zeros((1, 7, 9), np.uint8)
    ) or "expected 64" in refusal(made.inputs, np.zeros((1, 7, 9), np.uint8))


def test_a_pixel_may_be_the_target():
    pictures = np.array([[[0, 5], [1, 6]], [[1, 7], [1, 6]], [[0, 2], [3, 6]]])
    file = stream(b"")
    np.save(file, pictures)
    file.seek(0)
    made = Preprocessing.fit(read_table(file), "1")
    assert (made.width, made.classes) == (3, ("0", "1"))
    assert Preprocessing.construct(made.describe()).width == 3


@pytest.mark.parametrize("values", ["1e308,x,u\n-1e308,y,v\n1e308,x,u\n"])
def test_numbers_too_large_to_be_standardized(values):
    assert "too large to be standardized" in refused("size,colour,kind\n" + values)


# ---- missing, infinite, unknown ----
GAPS = "size,colour,kind\n1,red,u\n,blue,v\n3,,u\n6,red,w\n7,blue,v\n?,red,w\n9,blue,u\n"


def test_missing_cells_are_refused_dropped_or_the_mean():
    assert (
        "line 3, column 'size': is missing (empty, ?, NA or NaN); 3 cells are; fill it in, or say "
        'what is to happen: missing="drop" leaves such rows out, missing="mean"'
    ) in refused(GAPS)
    table = read(GAPS, text=["kind"])
    complete = complete_rows(table)
    assert complete.lines.tolist() == [2, 5, 6, 8]
    mean = Preprocessing.fit(table, "kind", missing="mean")
    X = mean.inputs(table)
    assert X[[1, 5], 0].tolist() == [0, 0]
    assert X[2, 1:].tolist() == [0, 0]
    assert np.mean([1, 3, 6, 7, 9]) == mean.features[0].mean
    drop = Preprocessing.fit(complete, "kind", missing="drop")
    assert drop.complete(table).lines.tolist() == [2, 5, 6, 8]
    assert mean.complete(table) is table
    assert "line 3, column 'size': is missing" in refusal(drop.inputs, table)
    assert "misses a cell in every row" in refusal(complete_rows, read("a,b\n1,\n,2\n"))
    assert "column 'size': holds nothing; leave it out" in refused(
        "size,kind\n,u\n,v\n,u\n", missing="mean"
    )


def test_a_missing_target_is_never_a_mean():
    content = "size,kind\n1,u\n2,\n3,v\n4,u\n"
    made = fitted(content, missing="mean")
    assert "line 3, column 'kind': has no target; fill it in, or leave such rows out" in refusal(
        made.targets, read(content)
    )


def test_infinity_and_words_where_numbers_were():
    assert "line 3, column 'size': got inf, or a number beyond what 64 bits hold" in refused(
        "size,kind\n1,u\n1e400,v\n3,u\n"
    )
    made = fitted()
    assert "row 2, column 'size': got 'large', expected a number" in refusal(
        made.inputs, {"size": [1, "large"], "colour": ["red", "red"]}
    )
    assert (
        "line 2, column 'size': got 'large', expected a number in a column of numbers"
        in refusal(made.read, stream("colour,size\nred,large\n"))
    )


def test_unknown_texts_are_refused_or_zero():
    made = fitted()
    assert (
        "row 2, column 'colour': got 'pink', which the training table does not have; it has "
        "'blue', 'green', 'red'; unknown=\"zero\" takes it for none of them"
    ) in refusal(made.inputs, [[1, "red"], [2, "pink"]])
    assert made.inputs([[2, "pink"]], unknown="zero")[0, 1:].tolist() == [0, 0, 0]
    assert "unknown: got 'mean', expected one of refuse, zero" in refusal(
        made.inputs, [[1, "red"]], unknown="mean"
    )


def test_columns_of_too_many_texts_are_named():
    rows = [f"{i},n{i},u{i % 2}" for i in range(30)]
    content = "\n".join(["size,name,kind", *rows])
    assert (
        "column 'name': got 30 different texts in 30 rows, such as 'n0'; expected at most 100, "
        'which rows share; leave it out with ignore="name"'
    ) in refused(content)
    shared = "\n".join(["size,name,kind", *rows, *rows])
    assert "or give most_categories=30" in refused(shared, most_categories=29)
    assert fitted(shared, most_categories=30).width == 31
    dates = "\n".join(["day,kind", *(f"2024-01-{d:02},{'uv'[d % 2]}" for d in range(1, 29))])
    assert "or write dates as numbers: the year, the month" in refused(dates)


# ---- targets ----
TASKS = [
    ("a b a b", "classification", ("a", "b")),
    ("1 2 1 2", "classification", ("1", "2")),
    ("10 9 10 9", "classification", ("9", "10")),
    ("1.0 2.0 2.0 1", "classification", ("1", "2")),
    ("a 1 1 a", "classification", ("1", "a")),
    ("01 02 01 02", "classification", ("01", "02")),
    ("True False False True", "classification", ("False", "True")),
    ("100000000000000000001 100000000000000000002 100000000000000000001 7", "classification",
     ("7", "100000000000000000001", "100000000000000000002")),
    ("1.5 2 3 4", "regression", None),
    (" ".join(map(str, range(21))), "regression", None),
]  # fmt: skip


@pytest.mark.parametrize(("cells", "task", "classes"), TASKS)
def test_the_task_is_that_of_the_target(cells, task, classes):
    content = "x,y\n" + "".join(f"{i},{cell}\n" for i, cell in enumerate(cells.split()))
    table = read(content, text=["y"])
    assert task_of(table, "y") == task
    assert Preprocessing.fit(table, "y").classes == classes


def test_numbers_are_answered_in_their_own_unit():
    content = "x,y\n" + "".join(f"{i},{cell}\n" for i, cell in enumerate([100.5, 200, 330, 410]))
    made = fitted(content, "y", training=np.array([0, 1, 2]))
    y = np.array([100.5, 200, 330, 410])
    mean, std = y[:3].mean(), y[:3].std()
    targets = made.targets(read(content))
    np.testing.assert_allclose(targets, ((y - mean) / std)[:, None], rtol=1e-14)
    np.testing.assert_allclose(made.answers(targets.astype(np.float32)), y, rtol=1e-6)
    measures = made.target.measures(0.25, targets)
    assert measures["rmse"] == pytest.approx(0.5 * std)
    assert measures["r2"] == pytest.approx(1 - 0.25 / targets.var())
    assert made.target.measures(0.25, targets[:1])["r2"] is None
    assert made.outputs == 1
    assert fitted(content, "y", task="regression").task == "regression"


def test_targets_with_a_decimal_comma():
    content = "x;y\n" + "".join(f"{i};{i},5\n" for i in range(4))
    assert "line 2, column 'y': got '0,5', expected a number: a decimal comma; write" in refusal(
        read, content, target="y"
    )
    table = read(content, target="y", decimal=",")
    made = Preprocessing.fit(table, "y")
    assert (made.task, made.target.mean) == ("regression", 2.0)
    again = made.read(stream(content), decimal=",")
    assert made.targets(again).tolist() == made.targets(table).tolist()
    assert read(content, text="y").columns["y"].categories[0] == "0,5"  # a name: told so


def test_targets_that_cannot_be_learned():
    assert "column 'kind': got one class, 'u', expected at least two" in refused(
        "a,kind\n1,u\n2,u\n"
    )
    assert "got 3 classes in 3 rows, such as 'u': nothing can be learned" in refused(
        "a,kind\n1,u\n2,v\n3,w\n"
    )
    numbers = "a,kind\n1,1\n2,2\n3,3\n4,1\n"
    assert fitted(numbers, task="regression").outputs == 1
    assert "got 5 in all training rows" in refused("a,kind\n1,5\n2,5\n", task="regression")
    assert (
        "line 3, column 'kind': got 'x', expected a number; correct it, or give task="
        in refused("a,kind\n1,5\n2,x\n3,7\n", task="regression")
    )
    assert "line 2, column 'kind': got inf" in refused("a,kind\n1,inf\n2,3.5\n", task="regression")
    assert "has one column, the target 'kind', expected features" in refused("kind\nu\nv\nu\n")
    assert "task: got 'clustering', expected one of" in refused(TABLE, task="clustering")
    assert "has no column 'kinds'; did you mean 'kind'?" in refusal(
        Preprocessing.fit, read(TABLE), "kinds"
    )
    made = fitted()
    assert (
        "row 1, column 'kind': got the class 'x', which the training rows do not have"
        in refusal(made.targets, {"size": [1], "colour": ["red"], "kind": ["x"]})
    )
    assert "has no column 'kind', the target" in refusal(
        made.targets, {"size": [1], "colour": ["red"]}
    )


# ---- columns by name ----
def test_columns_come_in_any_order_and_the_target_may_be_there():
    made = fitted("size,id,colour,kind\n1,a,red,u\n2,b,blue,v\n3,c,red,u\n", ignore=["id"])
    expected = made.inputs([[2, "blue"]]).tolist()
    for content in (
        "colour,size\nblue,2\n",
        "kind,colour,size\n,blue,2\n",
        "id,colour,size\nz,blue,2\n",
        "2,blue\n",
        "2,z,blue,v\n",
    ):
        assert made.inputs(made.read(stream(content))).tolist() == expected, content
    assert "has no column 'size', which the model needs; did you mean 'siez'?" in refusal(
        made.read, stream("colour,siez\nblue,2\n")
    )
    assert "has the column 'weight', which the model does not know; leave it out" in refusal(
        made.read, stream("colour,size,weight\nblue,2,3\n")
    )
    assert made.read(stream("colour,size,weight\nblue,2,3\n"), ignore=["weight"]).names
    assert "got 3 columns without names, expected 2, 'size', 'colour', or 4 with 'kind'" in refusal(
        made.read, stream("2,blue,3\n")
    )
    assert "where these are no names but a first row, give header=False" in refusal(
        made.read, stream("red,blue\nblue,red\n")
    )
    assert "has no column 'colour'" in refusal(made.inputs, {"size": [1]})


def test_tables_without_names_are_known_by_their_places():
    made = fitted("1,2,u\n3,4,v\n5,6,u\n", "3")
    assert (made.header, made.classes) == (False, ("u", "v"))
    assert made.inputs(made.read(stream("p,q\n3,4\n"))).tolist() == [[0, 0]]
    assert made.inputs(made.read(stream("3,4,v\n"))).tolist() == [[0, 0]]


def test_codes_written_with_digits_stay_texts():
    made = fitted("zip,kind\n01,u\n2,v\n01,u\n", text=["zip"])
    assert made.inputs(made.read(stream("zip\n2\n"))).tolist() == [[0, 1]]
    assert made.inputs({"zip": [2, "01"]}).tolist() == [[0, 1], [1, 0]]


# ---- in files ----
@pytest.mark.parametrize(
    ("content", "target"), [(TABLE, "kind"), (TABLE.replace("kind", "y"), "size"), (GAPS, "kind")]
)
def test_what_a_file_keeps_makes_the_same_inputs_and_answers(content, target):
    made = fitted(content, target, missing="mean", task="regression" if target == "size" else None)
    stored = json.loads(json.dumps(made.describe()))
    again = Preprocessing.construct(stored)
    table = read(content)
    assert again.describe() == made.describe()
    assert again.inputs(table).tobytes() == made.inputs(table).tobytes()
    outputs = np.random.default_rng(0).normal(size=(4, made.outputs)).astype(np.float32)
    assert again.answers(outputs).tolist() == made.answers(outputs).tolist()
    with pytest.raises(ValueError, match="got outputs of shape"):
        again.answers(np.ones((2, made.outputs + 1)))


def changed(stored, path, value):
    """The document with another value at a place."""
    *places, last = path
    part = stored
    for place in places:
        part = part[place]
    if value is None:
        del part[last]
    else:
        part[last] = value
    return stored


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("features",), None),
        (("features", 0, "mean"), float("nan")),
        (("features", 0, "std"), 0),
        (("features", 0, "std"), True),
        (("features", 0, "name"), 3),
        (("features", 0, "name"), "colour"),
        (("features", 1, "categories"), []),
        (("features", 1, "categories"), ["a", "a"]),
        (("features", 1, "categories"), "red"),
        (("target", "classes"), ["u"]),
        (("target", "name"), "size"),
        (("columns", 0), ["size"]),
        (("columns", 0), ["other", "number"]),
        (("columns", 0), ["size", "ignore"]),
        (("columns", 0), ["size", "picture"]),
        (("header",), 1),
        (("missing",), "guess"),
    ],
)
def test_made_up_documents_are_refused(path, value):
    stored = changed(json.loads(json.dumps(fitted().describe())), path, value)
    with pytest.raises((TypeError, ValueError, LookupError)):
        Preprocessing.construct(stored)


# ---- splits ----
@pytest.mark.parametrize("share", [0.05, 0.2, 0.5, 0.9])
def test_a_split_keeps_every_class_on_both_sides(share):
    classes = np.repeat([0, 1, 2, 3], [100, 40, 2, 1])[np.random.default_rng(0).permutation(143)]
    training, validation = split_rows(143, share, 3, classes)
    assert sorted([*training, *validation]) == list(range(143))
    for number, count in enumerate([100, 40, 2, 1]):
        aside = int((classes[validation] == number).sum())
        assert aside == (0 if count == 1 else min(max(round(share * count), 1), count - 1))
    again = split_rows(143, share, 3, classes)
    assert again[1].tolist() == validation.tolist()
    assert split_rows(143, share, 4, classes)[1].tolist() != validation.tolist()


def test_a_split_of_numbers_and_splits_that_there_are_not():
    training, validation = split_rows(10, 0.3, 0)
    assert (len(training), len(validation)) == (7, 3)
    assert "none to validate on" in refusal(split_rows, 1, 0.5, 0)
    assert "none to validate on" in refusal(split_rows, 3, 0.5, 0, np.arange(3))
    for share in (0, 1, -0.5, float("nan")):
        assert "expected a number between 0 and 1" in refusal(split_rows, 9, share, 0)
