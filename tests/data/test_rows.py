"""Rows that a function makes: the steps of the same arrays, from any batch on; what is refused."""

import numpy as np
import pytest
from blocks_networks import LABELS, POINTS, VALUES, N, assert_same, classifier, regression, state
from interruptions import Fall

import nnfs_gpu as ng
from nnfs_gpu.training.checkpoint import CheckpointError

QUIET = {"print_every": None}


def rows(X=POINTS, y=LABELS, asked=None, **named):
    """`Rows` of arrays; what it is asked for goes into the list `asked`."""

    def make(start, stop):
        if asked is not None:
            asked.append((start, stop))
        return X[start:stop], y[start:stop]

    return ng.Rows(make, len(X), **named)


def trained(make, X, y=None, **arguments):
    model = make()
    history = model.train(X, y, **QUIET | arguments)
    return state(model), history.history


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of 64 rows, as of wide networks; groups of samples, which blocks do not cut, of 32."""
    monkeypatch.setattr("nnfs_gpu.data.blockwise.block_rows", lambda model: 64)
    monkeypatch.setattr("nnfs_gpu.fused.cpu.groups.Groups.samples", lambda self, n: 32)


# ---- the same numbers ----
@pytest.mark.parametrize("batch_size", [None, 64, 90, N])
def test_equal_bits_where_a_batch_fits_a_block(backend, batch_size):
    ng.use_backend(backend)
    arguments = {"epochs": 2, "batch_size": batch_size, "callbacks": [ng.Callback()]}
    expected = trained(classifier, POINTS, LABELS, **arguments)
    found = trained(classifier, rows(), **arguments)
    assert_same(found[0], expected[0], 0)
    assert_same(found[1], expected[1], 0)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("batch_size", [None, 50, 300])
def test_the_bits_of_a_memory_map(backend_name, batch_size, tmp_path):
    """Blocks are cut as of maps, in steps, evaluation and validation."""
    ng.use_backend(backend_name, dtype="float64")
    np.save(tmp_path / "X.npy", POINTS)
    X = np.load(tmp_path / "X.npy", mmap_mode="r")
    for make, y in ((classifier, LABELS), (regression, VALUES)):
        arguments = {"epochs": 2, "batch_size": batch_size}
        given = rows(y=y)
        found = trained(make, given, validation_data=given, **arguments)
        expected = trained(make, X, y, validation_data=(X, y), **arguments)
        assert_same(found[0], expected[0], 0)
        assert_same(found[1], expected[1], 0)
        model = make()
        model.train(given, **QUIET)  # a regression's accuracy sees the targets
        measured = model.evaluate(given, batch_size=batch_size, verbose=False)
        assert measured == model.evaluate(X, y, batch_size=batch_size, verbose=False)


@pytest.mark.usefixtures("small_blocks")
def test_what_is_made():
    """Each row once a pass, of regressions once more for the accuracy; nothing is made ahead."""
    ng.use_backend("numpy")
    asked = []
    trained(classifier, rows(asked=asked), batch_size=100, epochs=2)
    once = []
    for batch in range(0, N, 100):
        once += [(batch, batch + 64), (batch + 64, batch + 100)]
    assert asked == 2 * once
    asked.clear()
    trained(regression, rows(y=VALUES, asked=asked))
    whole = [(start, min(start + 64, N)) for start in range(0, N, 64)]
    assert asked == 2 * whole


@pytest.mark.parametrize("shape", [(50, 3), (1, 1), (1000, 4)])
def test_the_rows_of_the_spiral(backend, shape):
    ng.use_backend(backend)
    samples, classes = shape
    given, n = ng.spiral_rows(samples, classes, seed=5), samples * classes
    assert given.samples == n
    X, y = (backend.to_numpy(a) for a in ng.spiral_data(samples, classes, seed=5))
    for start, stop in ((0, n), (n - 1, n), (n // 3, n // 2 + 1)):
        points, labels = given.make(start, stop)
        np.testing.assert_array_equal(backend.to_numpy(points), X[start:stop])
        np.testing.assert_array_equal(backend.to_numpy(labels), y[start:stop])


def test_a_pass_over_all_rows(monkeypatch):
    """As any source: what takes blocks takes them, too."""
    monkeypatch.setattr("nnfs_gpu.data.sources.BLOCK", 300)
    found = list(rows())
    assert [len(x) for x, _ in found] == [300, 300, 100]
    np.testing.assert_array_equal(np.concatenate([y for _, y in found]), LABELS)


# ---- checkpoints ----
@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("engine", ["layers", "fused"])
def test_a_run_that_goes_on_makes_nothing_twice(tmp_path, engine):
    ng.use_backend("numba")
    arguments = {"epochs": 2, "batch_size": 130, "engine": engine} | QUIET
    whole = classifier(dropout=0.1)
    expected = whole.train(rows(), **arguments)
    folder = {"checkpoint": tmp_path / "run", "checkpoint_every": 1}
    with pytest.raises(KeyboardInterrupt):
        classifier(dropout=0.1).train(rows(), callbacks=[Fall(4)], **folder, **arguments)
    model, asked = classifier(dropout=0.1), []
    history = model.train(rows(asked=asked), **folder, **arguments)
    assert history.history == expected.history
    assert_same(state(model), state(whole), 0)
    first = asked[0][0]
    assert (first % 130, first > 0) == (0, True)
    assert asked[: asked.index((0, 64))] == [
        (start, min(start + 64, batch + 130, N))
        for batch in range(first, N, 130)
        for start in range(batch, min(batch + 130, N), 64)
    ]


def test_other_data_are_refused(tmp_path):
    ng.use_backend("numpy")
    named = {"fingerprint": {"file": "a"}}
    mine = {"checkpoint": tmp_path / "mine", **QUIET}
    classifier().train(rows(**named), **mine)
    with pytest.raises(CheckpointError, match=r"X.blocks of.file was 'a', is now 'b'"):
        classifier().train(rows(fingerprint={"file": "b"}), **mine)
    with pytest.raises(CheckpointError, match=r"X.samples was 700, is now 699"):
        classifier().train(rows(POINTS[1:], LABELS[1:], **named), **mine)
    two, spiral = {"inputs": 2}, {"checkpoint": tmp_path / "spiral", **QUIET}
    classifier(**two).train(ng.spiral_rows(50, 3, seed=1), **spiral)
    with pytest.raises(CheckpointError, match=r"X.blocks of.seed was 1, is now 2"):
        classifier(**two).train(ng.spiral_rows(50, 3, seed=2), **spiral)
    assert rows().fingerprint() == {"source": f"{__name__}.rows.<locals>.make"}


# ---- what is refused ----
def given(change):
    return ng.Rows(lambda start, stop: change(POINTS[start:stop], LABELS[start:stop]), N)


MISTAKES = {
    "too few": (lambda X, y: (X[1:], y[1:]), r"train: make\(0, 64\) gave 63 rows, expected 64: ro"),
    "too many": (lambda X, y: (POINTS, LABELS), r"make\(0, 64\) gave 700 rows, expected 64: rows"),
    "short labels": (lambda X, y: (X, y[:-1]), "rows 0 to 63: .*got 63 labels for 64"),
    "narrow": (lambda X, y: (X[:, :3], y), r"rows 0 to 63: got shape \(64, 3\), expected"),
    "none": (lambda X, y: (X[:0], y[:0]), r"got an empty batch of shape \(0, 4\)"),
    "range": (lambda X, y: (X, y + 1), "rows 0 to 63: labels: got values from 1 to 3"),
    "no pair": (lambda X, y: X, r"train, the block at row 0: got ndarray, expected a pair \(X, y"),
    "nothing": (lambda X, y: None, "the block at row 0: got NoneType, expected a pair"),
    "text": (lambda X, y: (X.astype("U"), y), "array of real numbers expected, got dtype <U32"),
    "NaN": (lambda X, y: (X * np.nan, y), r"train, rows 0 to 63: got NaN or infinity in 256 place"),
}


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("name", MISTAKES)
@pytest.mark.parametrize("engine", ["layers", "fused"])
def test_a_step_that_fails_changes_nothing(name, engine):
    ng.use_backend("numba")
    change, message = MISTAKES[name]
    model = classifier()
    before = [a.copy() for pair in model.get_parameters() for a in pair]
    with pytest.raises((TypeError, ValueError), match=message):
        model.train(given(change), engine=engine, check_finite=True, **QUIET)
    after = [a for pair in model.get_parameters() for a in pair]
    for a, b in zip(after, before, strict=True):
        np.testing.assert_array_equal(a, b)
    assert (model.optimizer.iterations, model.loss.accumulated_count) == (0, 0)


@pytest.mark.usefixtures("small_blocks")
def test_rows_that_change_between_passes():
    """Labels on the host are looked at again in every pass, as those of other sources."""
    ng.use_backend("numpy")
    asked = []
    changed = LABELS.copy()
    data = rows(y=changed, asked=asked)

    class Change(ng.Callback):
        def on_epoch_end(self, epoch, logs):
            changed[500] = 7

    with pytest.raises(ValueError, match="rows 448 to 511: labels: got values from 0 to 7"):
        classifier().train(data, epochs=2, callbacks=[Change()], **QUIET)
    assert asked[-1] == (448, 512)


def test_bad_arguments():
    ng.use_backend("numpy")
    with pytest.raises(TypeError, match=r"Rows: got ndarray, expected a function make\(start, st"):
        ng.Rows(POINTS, N)
    for samples, error in ((0, ValueError), (-1, ValueError), (1.5, TypeError), (True, TypeError)):
        with pytest.raises(error, match="Rows samples: got"):
            ng.Rows(lambda start, stop: None, samples)
    for bad in ((0, 3), (5, 0), (1.5, 3)):
        with pytest.raises((TypeError, ValueError), match="got"):
            ng.spiral_rows(*bad)
    with pytest.raises(ValueError, match="seed: got -1"):
        ng.spiral_rows(5, 3, seed=-1)
    model = classifier()
    with pytest.raises(ValueError, match="shuffle: blocks come in their own order; mix"):
        model.train(rows(), shuffle=True)
    with pytest.raises(TypeError, match=r"train: got blocks and y; .*leave it out"):
        model.train(rows(), LABELS)
    with pytest.raises(TypeError, match="predict: got a Rows, expected an array X"):
        model.predict(rows())
    assert repr(ng.Rows(test_bad_arguments, 5)) == (
        f"<Rows of 5 samples from {__name__}.test_bad_arguments>"
    )
