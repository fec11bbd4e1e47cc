"""Sources of blocks: what is refused, and that a step which is not finished changes nothing."""

import numpy as np
import pytest
from blocks_networks import (
    LABELS,
    POINTS,
    VALUES,
    N,
    assert_same,
    classifier,
    cut,
    regression,
    source,
    state,
)

import nnfs_gpu as ng
from nnfs_gpu import targets
from nnfs_gpu.data.sources import Blocks, spiral_blocks

QUIET = {"print_every": None}


def broken(change, at=2):
    blocks = cut(POINTS, LABELS, (200,))  # 200, 200, 200, 100
    X, y = blocks[at]
    blocks[at : at + 1] = change(X, y)
    return Blocks(lambda: iter(blocks), N)


MISTAKES = {
    "ends early": (lambda X, y: [], "the blocks ended after 500 rows, expected 700 in every pass"),
    "too many": (lambda X, y: [(X, y), (X, y)], "the blocks have more than 700 rows, expected 700"),
    "short labels": (lambda X, y: [(X, y[:-1])], "rows 400 to 599: .*got 199 labels for 200"),
    "narrow": (lambda X, y: [(X[:, :3], y)], r"rows 400 to 599: got shape \(200, 3\), expected"),
    "flat": (lambda X, y: [(X[:, 0], y)], r"rows 400 to 599: got shape \(200,\), expected"),
    "empty": (lambda X, y: [(X[:0], y[:0]), (X, y)], r"got an empty batch of shape \(0, 4\)"),
    "range": (lambda X, y: [(X, y + 1)], "rows 400 to 599: labels: got values from 1 to 3"),
    "NaN labels": (lambda X, y: [(X, np.where(y, np.nan, y))], "labels: got dtype float64"),
    "no pair": (lambda X, y: [X], r"the block at row 400: got ndarray, expected a pair \(X, y\)"),
    "no rows": (lambda X, y: [(1.0, 2)], "the block at row 400: got no rows, .* X is 1.0"),
    "text": (lambda X, y: [(X.astype("U"), y)], "array of real numbers expected, got dtype <U32"),
}


@pytest.mark.parametrize("name", MISTAKES)
@pytest.mark.parametrize("engine", ["layers", "fused"])
def test_a_step_that_fails_changes_nothing(name, engine):
    ng.use_backend("numba")
    change, message = MISTAKES[name]
    model = classifier()
    before = [a.copy() for pair in model.get_parameters() for a in pair]
    with pytest.raises((TypeError, ValueError), match=message):
        model.train(broken(change), engine=engine, **QUIET)
    after = [a for pair in model.get_parameters() for a in pair]
    for a, b in zip(after, before, strict=True):
        np.testing.assert_array_equal(a, b)
    assert (model.optimizer.iterations, model.loss.accumulated_count) == (0, 0)
    model.train(source(), engine=engine, **QUIET)  # and nothing is in the way of the next run
    expected = classifier()
    expected.train(source(), engine=engine, **QUIET)
    assert_same(state(model), state(expected), 0)


def test_the_steps_before_stay():
    ng.use_backend("numpy")
    model, expected = classifier(), classifier()
    with pytest.raises(ValueError, match="ended after 500 rows"):
        model.train(broken(lambda X, y: []), batch_size=200, **QUIET)
    rows = np.r_[:400]
    expected.train(POINTS[rows], LABELS[rows], batch_size=200, **QUIET)
    assert model.optimizer.iterations == 2
    found, wanted = (
        {k: v for k, v in state(m).items() if ".d" not in k} for m in (model, expected)
    )
    assert_same(found, wanted, 0)


def test_nan_in_late_blocks():
    ng.use_backend("numpy")
    X, values = POINTS.copy(), VALUES.copy()
    X[650, 1] = values[651, 0] = np.nan
    with pytest.raises(ValueError, match=r"rows 600 to 699: got NaN or infinity in 1 place"):
        classifier().train(source(X, sizes=(200,)), check_finite=True, **QUIET)
    with pytest.raises(ValueError, match=r"rows 600 to 699: targets: got NaN"):
        regression().train(source(y=values, sizes=(200,)), **QUIET)


def test_labels_are_looked_at_once(monkeypatch):
    """In the first epoch; in later ones a block of another kind is looked at again."""
    seen, check = [], targets._check_indices

    def count(y, classes):
        seen.append(len(y))
        check(y, classes)

    monkeypatch.setattr(targets, "_check_indices", count)
    ng.use_backend("numpy")
    classifier().train(source(sizes=(200,)), epochs=5, **QUIET)
    assert seen == [200, 200, 200, 100]
    epochs = iter((LABELS, LABELS.astype(np.float64)))
    given = Blocks(lambda: iter(cut(POINTS, next(epochs), (300,))), N)
    with pytest.raises(TypeError, match="labels: got dtype float64"):
        classifier().train(given, epochs=2, **QUIET)
    rows = iter((N, N, 500))
    given = Blocks(lambda: iter(cut(POINTS[: (n := next(rows))], LABELS[:n], (300,))), N)
    with pytest.raises(ValueError, match="ended after 500 rows"):
        classifier().train(given, epochs=3, **QUIET)


def test_bad_arguments():
    ng.use_backend("numpy")
    model = classifier()
    with pytest.raises(TypeError, match=r"train: got blocks and y; .*leave it out"):
        model.train(source(), LABELS)
    with pytest.raises(TypeError, match="train: got X without y; only a source"):
        model.train(POINTS)
    with pytest.raises(TypeError, match="evaluate: got X without y"):
        model.evaluate(POINTS)
    with pytest.raises(ValueError, match="shuffle: blocks come in their own order; mix"):
        model.train(source(), shuffle=True)
    with pytest.raises(ValueError, match="train: got no blocks, expected pairs"):
        model.train(lambda: iter(()))
    with pytest.raises(TypeError, match="Blocks: got int, expected a function that returns"):
        Blocks(5)
    for samples in (0, -1, 1.5):
        with pytest.raises((TypeError, ValueError), match="Blocks samples: got"):
            Blocks([], samples)
    for bad in ({"block": 0}, {"seed": -1}):
        with pytest.raises(ValueError, match="got"):
            spiral_blocks(5, 3, **bad)
    assert repr(Blocks([], 5)) == "<Blocks of 5 samples from list>"
