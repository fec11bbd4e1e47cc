"""Numbers as people write them, and the points that the command draws, held or made anew."""

from __future__ import annotations

import numpy as np
import pytest
import typer
from cli_runs import run, trained_once

import nnfs_gpu as ng
from nnfs_gpu.cli import points
from nnfs_gpu.cli.config import Config
from nnfs_gpu.cli.options import whole_number
from nnfs_gpu.cli.table_use import Reading
from nnfs_gpu.cli.use import Fresh, evaluate

CONFIG = Config(700, 3, (8,), 2, 230, "adam", 0.01, 0.001, "numba", "float32", 5)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1", 1),
        ("1e9", 10**9),
        ("2.5e6", 2_500_000),
        ("1_000_000", 1_000_000),
        ("1E3", 1000),
        ("70.0", 70),
        (100_000, 100_000),
    ],
)
def test_whole_numbers(text, number):
    assert whole_number(text) == number
    assert type(whole_number(text)) is int


@pytest.mark.parametrize(
    "text", ["1.5", "1e-3", "0", "-1", "1e10", "1e400", "nan", "inf", "", "a", "1,000", "2.50e0"]
)
def test_other_numbers_are_refused(text):
    with pytest.raises(typer.BadParameter, match="expected a whole number from 1 to 1,000,000,000"):
        whole_number(text)


@pytest.fixture
def few(monkeypatch):
    """A limit that small data are above, and samples that are small beside it."""
    ng.use_backend("numba", dtype="float32")
    monkeypatch.setattr(points, "HELD", 1000)
    monkeypatch.setattr(points, "SAMPLED", (100, 300))


def test_up_to_the_limit_points_are_held(few, monkeypatch):
    monkeypatch.setattr(points, "HELD", 2100)
    X, y = points.training_points(CONFIG)
    assert points.step_size(CONFIG) == 230
    everything = ng.spiral_data(700, 3, seed=5)
    mixed = np.random.default_rng(5).permutation(2100)
    assert X.tobytes() == everything[0][mixed].tobytes()
    assert y.tobytes() == everything[1][mixed].tobytes()
    some, of = points.some_of(CONFIG, (X, y))
    assert (some.tobytes(), of.tobytes()) == (X[:300].tobytes(), y[:300].tobytes())


@pytest.mark.usefixtures("few")
def test_beyond_it_they_are_made():
    (rows,) = points.training_points(CONFIG)
    assert rows.samples == 2100
    X, _ = ng.spiral_data(700, 3, seed=5)
    step = points.step_size(CONFIG)
    assert step == 210  # each of ten
    found = [rows.make(start, start + step) for start in range(0, 2100, step)]
    made = np.concatenate([x for x, _ in found])
    assert sorted(map(bytes, made)) == sorted(map(bytes, X))
    assert [np.bincount(labels).tolist() for _, labels in found] == [[70, 70, 70]] * 10
    some, of = points.some_of(CONFIG, (rows,))
    assert some.tobytes() == X[::7].tobytes()
    assert np.bincount(of).tolist() == [100, 100, 100]
    validation, _ = points.validation_points(CONFIG)
    assert validation.tobytes() == ng.spiral_data(100, 3, seed=6)[0].tobytes()


def test_evaluation_of_points_that_are_made(tmp_path_factory, monkeypatch, capsysbinary):
    folder, _, _ = trained_once(tmp_path_factory)
    held = run("evaluate", folder, "--samples", "2e4", "--json", "-", "--backend", "numba")
    monkeypatch.setattr(points, "HELD", 50_000)
    monkeypatch.setattr(points.datasets, "spiral_data", None)
    reading = Reading((), "refuse", None, ".", None, None)
    assert evaluate(folder, Fresh(20_000, 2**33), None, reading, set(), "numba", "-") == 0
    assert capsysbinary.readouterr().out.decode() == held.stdout
