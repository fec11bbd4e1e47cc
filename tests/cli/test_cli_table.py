"""`nnfs-gpu train --data`, `evaluate --data` and `predict` on tables: the real command."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from cli_runs import assert_png, in_one_process, run

from nnfs_gpu import Model, images, use_backend
from nnfs_gpu.tables.reading import read_table

FAST = ("--backend", "numpy", "--no-plot")


def flowers(rows=120, seed=0):
    """Lines of a table with two sizes, a colour that helps, and three kinds."""
    rng = np.random.default_rng(seed)
    lines = ["length,colour,width,kind"]
    for row in range(rows):
        kind = row % 3
        length, width = rng.normal((2.0 * kind, 5.0 - kind), 0.5)
        colour = ("red", "white", "blue")[kind if rng.uniform() < 0.8 else rng.integers(3)]
        lines.append(f"{length:.3f},{colour},{width:.3f},{('ash', 'birch', 'cedar')[kind]}")
    return lines


def prices(rows=200, seed=0):
    """Lines of a table whose target is a number of thousands."""
    x = np.random.default_rng(seed).uniform(-2, 2, (rows, 2))
    y = 250_000 + 40_000 * x[:, 0] - 25_000 * x[:, 1] ** 2
    return ["a,b,price", *(f"{a:.4f},{b:.4f},{c:.2f}" for (a, b), c in zip(x, y, strict=True))]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with tables, and the folders of models that were trained on them."""
    base = tmp_path_factory.mktemp("tables")
    (base / "flowers.csv").write_text("\n".join(flowers()) + "\n")
    (base / "fresh.csv").write_text("\n".join(flowers(90, seed=1)) + "\n")
    (base / "prices.csv").write_text("\n".join(prices()) + "\n")
    plane = [",".join(line.split(",")[::2] + line.split(",")[3:]) for line in flowers()]
    (base / "plane.csv").write_text("\n".join(plane) + "\n")
    X, y = images.draw_shapes(20, 3, size=8)
    images.save_images(base / "shapes", X, y, *images.draw_shapes(4, 3, size=8, seed=1))
    commands = (
        ("--data", "flowers.csv", "--target", "kind", "--backend", "numpy"),
        ("--data", "prices.csv", "--target", "price", "--epochs", "60", *FAST, "--json", "-"),
        ("--data", "plane.csv", "--target", "kind", "--epochs", "5", "--backend", "numpy"),
        ("--data", "shapes", *FAST),
    )
    with ThreadPoolExecutor(2) as pool:
        runs = list(pool.map(lambda one: run("train", *one, cwd=base), commands))
    for done in runs:
        assert done.returncode == 0, done.stderr
    return base, runs


def metrics(base, name):
    return json.loads((base / "runs" / name / "metrics.json").read_text())


# ---- train ----
def test_train_says_what_it_understood_and_writes_files(trained):
    base, (done, *_) = trained
    lines = done.stdout.splitlines()
    assert lines[0].startswith("training 5-64-64-3 on 96 rows of flowers.csv with adam")
    assert lines[1] == "3 features as 5 inputs; 24 rows to validate on"
    assert lines[2] == "kind: 3 classes: ash, birch, cedar"
    found = metrics(base, "flowers")
    assert found["classes"] == ["ash", "birch", "cedar"]
    assert found["rows"] == {"training": 96, "validation": 24}
    assert found["baseline_accuracy"] == pytest.approx(1 / 3)
    assert found["validation_accuracy"] > 0.85
    assert (found["task"], found["target"]) == ("classification", "kind")
    assert "bayes_limit" not in found
    config = found["config"]
    assert (config["data"], config["target"], config["epochs"]) == ("flowers.csv", "kind", 100)
    assert (config["batch_size"], config["learning_rate"]) == (32, 0.001)
    assert_png(base / "runs" / "flowers" / "curves.png")
    assert not (base / "runs" / "flowers" / "decision.png").exists()
    assert f" {found['validation_accuracy']:.4f} " in done.stdout


def test_two_numbers_have_a_picture_of_decisions(trained):
    base, _ = trained
    assert_png(base / "runs" / "plane" / "decision.png")


def test_a_number_is_learned_in_its_unit(trained):
    base, (_, done, *_) = trained
    found = json.loads(done.stdout)
    assert found == metrics(base, "prices")
    assert found["task"] == "regression"
    assert found["validation_r2"] > 0.9
    y = read_table(base / "prices.csv").columns["price"].values
    assert 0 < found["validation_rmse"] < 0.3 * y.std()
    assert "train_accuracy" not in found
    assert "validation R2" in done.stderr
    assert "accuracy" not in done.stderr


def test_the_half_for_testing_of_a_folder_is_what_is_validated_on(trained):
    base, runs = trained
    found = metrics(base, "shapes")
    assert found["rows"] == {"training": 60, "validation": 12}
    assert found["classes"] == ["0", "1", "2"]
    assert "1 feature as 64 inputs" in runs[3].stdout


def test_the_same_seed_gives_the_same_files_and_another_another_split(trained, tmp_path):
    base, _ = trained
    shutil.copy(base / "flowers.csv", tmp_path / "again.csv")
    one = ("train", "--data", tmp_path / "again.csv", "--target", "kind", "--epochs", 3, *FAST)
    seeds = {"a": 0, "b": 0, "c": 1}
    commands = [(*one, "--out", tmp_path / name, "--seed", n) for name, n in seeds.items()]
    for code, said in in_one_process(commands, tmp_path):
        assert code == 0, said
    a, b, c = ((tmp_path / name / "model.safetensors").read_bytes() for name in "abc")
    assert a == b != c


# ---- evaluate and predict ----
def test_evaluate_takes_other_kinds_of_files_in_any_order(trained, tmp_path):
    base, _ = trained
    rows = list(csv.DictReader(io.StringIO((base / "fresh.csv").read_text())))
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    numbers = {name: columns[name].astype(np.float64) for name in ("width", "length")}
    np.savez(tmp_path / "fresh.npz", **columns | numbers)
    semicolons = "\n".join(
        ";".join(
            [
                row["kind"],
                row["width"].replace(".", ","),
                row["length"].replace(".", ","),
                row["colour"],
            ]
        )
        for row in rows
    )
    (tmp_path / "fresh.txt").write_text("kind;width;length;colour\n" + semicolons)
    evaluate = ("evaluate", base / "runs" / "flowers", "--json")
    found = in_one_process(
        [
            (*evaluate, tmp_path / "0", "--data", base / "fresh.csv"),
            (*evaluate, tmp_path / "1", "--data", tmp_path / "fresh.npz"),
            (*evaluate, tmp_path / "2", "--data", tmp_path / "fresh.txt", "--decimal", "comma"),
        ],
        tmp_path,
    )
    assert [code for code, _ in found] == [0, 0, 0], found
    results = [json.loads((tmp_path / name).read_text()) for name in "012"]
    for one in results:
        assert one["rows"] == 90
        assert one["accuracy"] > 0.85
        assert one["accuracy"] == results[0]["accuracy"]
        assert one["loss"] == pytest.approx(results[0]["loss"], rel=1e-6)


def test_predict_answers_with_names_and_probabilities(trained):
    base, _ = trained
    model, fresh = base / "runs" / "flowers", base / "fresh.csv"
    with use_backend("numpy"):
        loaded = Model.load(model / "model.safetensors")
        made = loaded.preprocessing
        expected = loaded.predict(made.inputs(made.read(fresh)))
    lines = fresh.read_text().splitlines()
    bare = "\n".join(",".join(line.split(",")[:3]) for line in lines[1:])
    plain = run("predict", model, fresh, "--backend", "numpy")
    piped = run("predict", model, "--probabilities", "--backend", "numpy", stdin=bare.encode())
    assert (plain.returncode, piped.returncode) == (0, 0), plain.stderr + piped.stderr
    answers = made.answers(expected).tolist()
    assert plain.stdout.splitlines() == ["kind", *answers]
    header, *rows = csv.reader(io.StringIO(piped.stdout))
    assert header == ["kind", "p_ash", "p_birch", "p_cedar"]
    assert [row[0] for row in rows] == answers
    found = np.array([row[1:] for row in rows]).astype(np.float32)
    np.testing.assert_array_equal(found, expected.astype(np.float32))


def test_predict_of_numbers_and_of_pictures(trained):
    base, _ = trained
    prices_of = run("predict", base / "runs" / "prices", base / "prices.csv", "--backend", "numpy")
    header, *found = prices_of.stdout.splitlines()
    assert header == "price"
    y = read_table(base / "prices.csv").columns["price"].values
    errors = np.array(found, float) - y
    r2 = 1 - (errors**2).mean() / y.var()
    assert r2 > 0.9
    folder = base / "shapes" / "test" / "1"
    pictures = run("predict", base / "runs" / "shapes", folder, "--backend", "numpy")
    header, *found = csv.reader(io.StringIO(pictures.stdout))
    assert header == ["file", "class"]
    assert [row[0] for row in found] == [str(folder / f"000{n}.png") for n in range(4)]
    assert {row[1] for row in found} <= {"0", "1", "2"}


# ---- going on ----
def test_resume_compares_the_rows_and_may_find_them_elsewhere(tmp_path):
    table, moved = tmp_path / "one.csv", tmp_path / "two.csv"
    table.write_text("\n".join(flowers(60)))
    moved.write_text("\n".join(flowers(60)))
    whole, half = tmp_path / "whole", tmp_path / "half"
    begin = ("train", "--data", table, "--target", "kind", *FAST)
    for code, said in in_one_process(
        [(*begin, "--epochs", 6, "--out", whole), (*begin, "--epochs", 3, "--out", half)], tmp_path
    ):
        assert code == 0, said
    other = tmp_path / "other"
    shutil.copytree(half, other)
    shutil.copytree(half, tmp_path / "third")
    table.write_text(table.read_text().replace("0", "1"))
    (code, said), *refused = in_one_process(
        [
            ("train", "--resume", half, "--epochs", 6, "--no-plot", "--data", moved),
            ("train", "--resume", tmp_path / "third", "--epochs", 6),
            ("train", "--resume", other, "--target", "colour"),
            ("train", "--resume", other, "--samples", 5),
            ("train", "--resume", other, "--data", tmp_path / "none.csv"),
        ],
        tmp_path,
    )
    assert code == 0, said
    models = [(folder / "model.safetensors").read_bytes() for folder in (whole, half)]
    assert models[0] == models[1]
    messages = ("is of another run: ", "--target colour: the run in", "--samples: the run in")
    for (code, said), message in zip(refused, (*messages, "no such file or folder"), strict=True):
        assert (code, len(said.splitlines())) == (2, 1)
        assert message in said


# ---- refused ----
BAD = {
    "no target": ("train --data {t}", "--target: missing; which column of"),
    "another target": ("train --data {t} --target Kinds", "did you mean 'kind'?"),
    "no file": ("train --data {dir}/none.csv", "none.csv: no such file or folder"),
    "spirals": ("train --data {t} --samples 5", "--samples: the rows are those of --data"),
    "no table": ("train --target kind", "--target: give a table with --data FILE"),
    "two validations": (
        "train --data {t} --validation-data {t} --validation-split 0.5",
        "--validation-data and --validation-split: expected one of them",
    ),
    "split": ("train --data {t} --target kind --validation-split 1.5", "got 1.5, expected"),
    "one class": ("train --data {dir}/one.csv --target b", "got one class, '2'"),
    "missing": ("train --data {dir}/gap.csv --target b", "--missing drop leaves such rows out"),
    "words": ("train --data {dir}/word.csv --target b", "line 3, column 'a': got 'x', expected"),
    "names of numbers": ("train --data {dir}/word.csv --target b", "or give --text a where"),
    "index": ("train --data {dir}/index.csv --target b", "or give --ignore 'unnamed 1'"),
    "commas": ("train --data {dir}/comma.csv --target b", "or give --decimal ,"),
    "separator": ("train --data {t} --target kind --separator ;;", "expected one character"),
    "task": ("train --data {t} --target kind --task clustering", "regression"),
    "regression of words": (
        "train --data {t} --target kind --task regression",
        "line 2, column 'kind': got 'ash', expected a number; correct it, or give --task",
    ),
    "evaluate without rows": ("evaluate {m}", "--data: missing; "),
    "evaluate on spirals": ("evaluate {m} --data {t} --samples 5", "--samples: is of spirals"),
    "predict without a column": ("predict {m} {dir}/few.csv", "has no column 'colour', which the"),
    "predict with one more": ("predict {m} {dir}/more.csv", "leave it out with --ignore height"),
    "predict the unknown": ("predict {m} {dir}/pink.csv --output {dir}/o.csv", "--unknown zero"),
    "probabilities": ("predict {p} {t} --probabilities", "'price' is a number, and has no classes"),
    "predict a gap": ("predict {m} {dir}/void.csv --output {dir}/o.csv", "line 2, column 'width'"),
}  # fmt: skip


@pytest.fixture(scope="module")
def bad_runs(trained, tmp_path_factory):
    """All of `BAD`: (exit code, stderr) of each."""
    base, folder = trained[0], tmp_path_factory.mktemp("bad")
    for name, text in {
        "one": "a,b\n1,2\n3,2\n",
        "gap": "a,b\n1,2\n,3\n4,2\n",
        "word": "a,b\n1,2\nx,3\n4,2\n",
        "index": ",a,b\n0,1,2\n1,3,4\n2,5,2\n",
        "comma": "a;b\n0,5;2\n1,5;3\n2,5;2\n",
        "few": "length,width\n1,2\n",
        "more": "length,width,colour,height\n1,2,red,3\n",
        "pink": "length,width,colour\n1,2,pink\n",
        "void": "length,width,colour\n1,,red\n",
    }.items():
        (folder / f"{name}.csv").write_text(text)
    before = sorted(os.listdir(folder))

    models = {"m": base / "runs" / "flowers", "p": base / "runs" / "prices"}
    places = {"t": base / "flowers.csv", "dir": folder, **models}
    commands = [[p.format(**places) for p in arguments.split()] for arguments, _ in BAD.values()]
    runs = in_one_process(commands, folder)
    assert sorted(os.listdir(folder)) == before
    return dict(zip(BAD, runs, strict=True))


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line_and_leaves_nothing(bad_runs, name):
    code, said = bad_runs[name]
    assert code == 2, said
    assert len(said.splitlines()) == 1
    assert said.startswith("error: ")
    assert BAD[name][1] in said
    assert "should not happen" not in said


def test_what_the_options_of_refusals_say_helps(trained, tmp_path):
    """The remedies, as they stand in the errors."""
    base, _ = trained
    lines = flowers(60)
    lines[5] = lines[5].replace(",red,", ",,").replace(",white,", ",,").replace(",blue,", ",,")
    (tmp_path / "gaps.csv").write_text("\n".join(lines))
    (tmp_path / "pink.csv").write_text("length,width,colour,height\n1,2,pink,7\n")
    begin = ("train", "--data", tmp_path / "gaps.csv", "--target", "kind", "--epochs", 2, *FAST)
    for code, said in in_one_process(
        [
            (*begin, "--missing", "drop", "--out", tmp_path / "drop"),
            (*begin, "--missing", "mean", "--out", tmp_path / "mean"),
            (
                *("predict", base / "runs" / "flowers", tmp_path / "pink.csv", "--ignore"),
                *("height", "--unknown", "zero", "--output", tmp_path / "answers"),
            ),
        ],
        tmp_path,
    ):
        assert code == 0, said
    found = [
        json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("drop", "mean")
    ]
    assert [(sum(one["rows"].values()), one["dropped"]) for one in found] == [(59, 1), (60, 0)]
    assert len((tmp_path / "answers").read_text().splitlines()) == 2
