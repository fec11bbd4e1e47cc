"""The history as a picture, a table and a file."""

from __future__ import annotations

import csv
import math
import os

import numpy as np
import pytest
from networks import dense_model, model_of

import nnfs_gpu as n
from nnfs_gpu import History, use_backend


@pytest.fixture(autouse=True)
def _numpy():
    with use_backend("numpy", dtype="float32"):
        yield


def history_of(epochs, **curves) -> History:
    history = History()
    history.epoch = list(range(1, epochs + 1))
    history.history = curves
    return history


def lines_of(figure):
    """By panel: the labels of the lines, and their points."""
    return {
        axes.get_title(loc="left"): {
            line.get_label().split()[0]: line.get_ydata().tolist()
            for line in axes.lines
            if not line.get_label().startswith("_")
        }
        for axes in figure.axes
    }


# ---- plot ----
def test_plot_draws_the_curves_of_a_run():
    model = dense_model(2, 3)
    X, y = n.spiral_data(20, 3, seed=0)
    history = model.train(X, y, epochs=6, print_every=None, validation_data=(X, y))
    found = lines_of(history.plot(limit=0.9))
    assert found["Loss"] == {"training": history["loss"], "validation": history["val_loss"]}
    assert found["Accuracy"]["validation"] == history["val_accuracy"]


def test_plot_of_one_epoch_of_a_regression_without_validation():
    model = model_of(n.Layer_Dense(1, 1), n.Activation_Linear())
    history = model.train([[0.0], [1.0]], [0.0, 1.0], print_every=None)
    figure = history.plot()
    assert lines_of(figure)["Loss"] == {"training": history["loss"]}
    figure._repr_png_()


@pytest.mark.parametrize(
    "curves",
    [
        {"loss": [math.nan, math.inf, 1.0], "accuracy": [0.0, 0.5, 0.5]},
        {"loss": [math.nan] * 3, "accuracy": [0.0] * 3},
        {"loss": [2.0, 1.0, 0.5]},
        {},
    ],
)
def test_plot_takes_whatever_was_measured(curves):
    figure = history_of(3, **curves).plot(limit=0.5)
    assert set(lines_of(figure)["Loss"]) == ({"training"} if "loss" in curves else set())
    figure._repr_png_()


def test_plot_before_the_first_epoch_says_so():
    figure = History().plot()
    assert [axes.texts[0].get_text() for axes in figure.axes] == ["no epoch was finished"] * 2


@pytest.mark.parametrize("limit", ["0.9", math.nan, -1])
def test_a_limit_is_a_number(limit):
    with pytest.raises(ValueError, match="limit"):
        history_of(1, loss=[1.0]).plot(limit=limit)


# ---- tables ----
def test_to_dict_is_a_copy_with_the_epochs():
    history = history_of(2, loss=[1.0, 0.5])
    table = history.to_dict()
    assert table == {"epoch": [1, 2], "loss": [1.0, 0.5]}
    table["loss"].append(0.0)
    assert history["loss"] == [1.0, 0.5]


def test_to_csv_keeps_every_digit(tmp_path):
    path = tmp_path / "curve.csv"
    history = history_of(3, loss=[1 / 3, math.nan, math.inf], accuracy=[0.1, 1.0, 1e-30])
    history.to_csv(path)
    with open(path, newline="") as file:
        names, *rows = csv.reader(file)
    assert names == ["epoch", "loss", "accuracy"]
    assert [int(row[0]) for row in rows] == [1, 2, 3]
    np.testing.assert_array_equal([float(row[1]) for row in rows], history["loss"])
    assert [float(row[2]) for row in rows] == history["accuracy"]
    History().to_csv(path)
    assert path.read_text() == "epoch\n"


def test_to_csv_writes_whole_files_or_none(tmp_path, monkeypatch):
    path = tmp_path / "curve.csv"
    history_of(1, loss=[1.0]).to_csv(path)
    before = path.read_text()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        history_of(2, loss=[1.0, 0.5]).to_csv(path)
    assert [one.name for one in tmp_path.iterdir()] == ["curve.csv"]
    assert path.read_text() == before
    with pytest.raises(IsADirectoryError, match="give the name of a file"):
        history_of(1, loss=[1.0]).to_csv(tmp_path)


def test_to_frame_is_a_table_by_epoch():
    pandas = pytest.importorskip("pandas")
    frame = history_of(2, loss=[1.0, 0.5]).to_frame()
    assert isinstance(frame, pandas.DataFrame)
    assert frame.index.tolist() == [1, 2]
    assert frame["loss"].tolist() == [1.0, 0.5]


def test_to_frame_without_pandas_says_what_to_do(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(ImportError, match=r"needs pandas; pip install pandas, or use to_dict\(\)"):
        History().to_frame()
