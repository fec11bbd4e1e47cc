"""NumPy memory maps: the numbers of arrays in memory, without ever holding them there.

Checkpoints of runs over memory maps and over sources stand here, too.
"""

import tracemalloc

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
from interruptions import Fall

import nnfs_gpu as ng
from nnfs_gpu.data import blockwise as data_module
from nnfs_gpu.data.sources import Blocks, spiral_blocks
from nnfs_gpu.training.checkpoint import CheckpointError

QUIET = {"print_every": None}


@pytest.fixture
def mapped(tmp_path):
    """A function that writes an array to a file and maps it, read-only."""

    def write(array):
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.npy"
        np.save(path, array)
        return np.load(path, mmap_mode="r")

    return write


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of 64 rows, as of data that are much larger than memory."""
    monkeypatch.setattr("nnfs_gpu.data.blockwise.block_rows", lambda model: 64)
    monkeypatch.setattr("nnfs_gpu.training.inference.block_rows", lambda model: 64)


def trained(make, X, y=None, **arguments):
    model = make()
    history = model.train(X, y, **QUIET | arguments)
    return state(model), history.history


# ---- the same numbers ----
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("batch_size", [32, 64, None])
def test_equal_bits_where_a_batch_fits_a_block(backend, mapped, batch_size, shuffle):
    ng.use_backend(backend)
    rows = slice(0, 200)
    X, y = POINTS[rows], LABELS[rows]
    arguments = {"epochs": 3, "batch_size": batch_size, "shuffle": shuffle, "seed": 3}
    expected = trained(classifier, X, y, callbacks=[ng.Callback()], **arguments)
    for given in ((mapped(X), mapped(y)), (mapped(X), y), (X, mapped(y))):
        found = trained(classifier, *given, **arguments)
        assert_same(found[0], expected[0], 0)
        assert_same(found[1], expected[1], 0)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("batch_size", [None, 300])
@pytest.mark.parametrize("shuffle", [False, True])
def test_batches_larger_than_a_block(backend_name, mapped, batch_size, shuffle):
    ng.use_backend(backend_name, dtype="float64")
    arguments = {"epochs": 2, "batch_size": batch_size, "shuffle": shuffle}
    for engine, (make, y) in (
        ("layers", (lambda: classifier(weight_regularizer_l2=0.1), LABELS)),
        ("auto", (classifier, np.eye(3)[LABELS])),
        ("auto", (regression, VALUES)),
    ):
        found = trained(make, mapped(POINTS), mapped(y), engine=engine, **arguments)
        expected = trained(make, POINTS, y, engine=engine, **arguments)
        assert_same(found[0], expected[0], 1e-10)
        assert_same(found[1], expected[1], 1e-10)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("kind", ["float16", "float64", "uint8", ">f4", "fortran"])
def test_other_dtypes_and_layouts(mapped, kind):
    ng.use_backend("numba", dtype="float32")
    X = np.asfortranarray(POINTS) if kind == "fortran" else (9 * POINTS).astype("i1")
    X = X if kind == "fortran" else X.astype(kind)
    for labels in (LABELS.astype("u1"), LABELS.astype("i8"), np.eye(3, dtype="?")[LABELS]):
        found = trained(classifier, mapped(X), mapped(labels), batch_size=50)
        assert_same(found[0], trained(classifier, X, labels, batch_size=50)[0], 0)


@pytest.mark.usefixtures("small_blocks")
def test_evaluate_predict_and_validation(backend_name, mapped):
    ng.use_backend(backend_name, dtype="float64")
    X, y = mapped(POINTS), mapped(LABELS)
    model = classifier()
    found = model.train(POINTS, LABELS, validation_data=(X, y), **QUIET).history
    expected = classifier().train(POINTS, LABELS, validation_data=(POINTS, LABELS), **QUIET).history
    assert_same(found, expected, 1e-12)
    for batch_size in (None, 10, 100, 1000):
        measured = model.evaluate(X, y, batch_size=batch_size, verbose=False)
        assert measured == pytest.approx(model.evaluate(POINTS, LABELS, verbose=False), rel=1e-12)
        outputs = model.predict(X, batch_size=batch_size)
        assert (type(outputs), outputs.shape, outputs.dtype) == (np.ndarray, (N, 3), np.float64)
        np.testing.assert_allclose(outputs, model.predict(POINTS), rtol=1e-12)


# ---- memory ----
def test_no_array_as_large_as_the_data(tmp_path):
    """Training, evaluation and prediction hold some blocks: measured where NumPy allocates."""
    rows = 400_000
    X = np.lib.format.open_memmap(tmp_path / "X.npy", "w+", np.float64, (rows, 20))
    y = np.lib.format.open_memmap(tmp_path / "y.npy", "w+", np.int64, (rows,))
    for start in range(0, rows, 50_000):
        X[start : start + 50_000] = np.arange(start, start + 50_000)[:, None] % 7
        y[start : start + 50_000] = np.arange(start, start + 50_000) % 3
    ng.use_backend("numpy")
    model = classifier(inputs=20)
    one_file = X.nbytes  # 64 MB; 32 MB as float32
    for limit, use in (
        (8e6, lambda: model.train(X, y, batch_size=20_000, engine="layers", **QUIET)),
        (8e6, lambda: model.evaluate(X, y, batch_size=20_000, verbose=False)),
        (13e6, lambda: model.predict(X, batch_size=20_000)),  # the outputs: 4.8 MB
    ):
        data_module.BLOCK_BYTES, before = 1 << 21, data_module.BLOCK_BYTES
        tracemalloc.start()
        try:
            use()
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
            data_module.BLOCK_BYTES = before
        assert 5e5 < most < limit < one_file / 4, most


def test_rows_of_a_block():
    """As many as the layers' arrays hold in 256 MiB, from 1,024 to 2^20."""
    ng.use_backend("numpy", dtype="float32")
    assert data_module.block_rows(classifier(inputs=2, hidden=64)) == (256 << 20) // (16 * 133)
    assert data_module.block_rows(classifier(inputs=1, hidden=1)) == 1 << 20
    assert data_module.block_rows(classifier(inputs=20_000, hidden=20)) == 1024


# ---- what is refused ----
@pytest.mark.usefixtures("small_blocks")
def test_bad_maps(mapped):
    ng.use_backend("numpy")
    X, wrong, nan = mapped(POINTS), LABELS.copy(), POINTS.copy()
    wrong[600], nan[600, 2] = 3, np.inf
    for given, message in (
        ((X, mapped(wrong)), "train, rows 576 to 639: labels: got values from 0 to 3"),
        ((X, mapped(LABELS[:-1])), r"got X of shape \(700, 4\) and y of shape \(699,\)"),
        ((X, mapped(LABELS * 1.0)), "train, rows 0 to 63: labels: got dtype float64"),
        ((mapped(POINTS[:, :3]), mapped(LABELS)), r"rows 0 to 63: got shape \(64, 3\), expected"),
        ((mapped(POINTS[:, 0]), LABELS), "one sample is x.reshape"),
        ((mapped(nan), LABELS), r"train, rows 576 to 639: got NaN or infinity"),
        ((X[:0], LABELS[:0]), r"train: got an empty batch of shape \(0, 4\)"),
    ):
        model = classifier()
        start = model.layers[0].weights.copy()
        with pytest.raises((TypeError, ValueError), match=message):
            model.train(*given, check_finite=True, **QUIET)
        np.testing.assert_array_equal(model.layers[0].weights, start)
    with pytest.raises(ValueError, match=r"predict, rows 576 to 639: got NaN"):
        classifier().predict(mapped(nan), check_finite=True)
    with pytest.raises(ValueError, match="predict: got an empty batch"):
        classifier().predict(X[:0])


# ---- checkpoints ----
@pytest.mark.parametrize("kind", ["map", "shuffled map", "source", "spiral"])
@pytest.mark.parametrize("engine", ["layers", "fused"])
@pytest.mark.usefixtures("small_blocks")
def test_resumed_runs_end_with_the_same_bits(tmp_path, mapped, kind, engine):
    ng.use_backend("numba")
    X, y = mapped(POINTS[:, :2]), mapped(LABELS)
    given = {
        "map": ((X, y), {}),
        "shuffled map": ((X, y), {"shuffle": True}),
        "source": ((source(POINTS[:, :2]),), {}),
        "spiral": ((spiral_blocks(200, 3, block=77),), {}),
    }[kind]
    arguments = {"epochs": 3, "batch_size": 130, "engine": engine} | given[1] | QUIET
    make = lambda: classifier(inputs=2, dropout=0.1)  # noqa: E731
    whole = make()
    expected = whole.train(*given[0], **arguments)
    folder = {"checkpoint": tmp_path / "run", "checkpoint_every": 1}
    for steps in (4, 1, 6):
        with pytest.raises(KeyboardInterrupt):
            make().train(*given[0], callbacks=[Fall(steps)], **folder, **arguments)
    model = make()
    history = model.train(*given[0], **folder, **arguments)
    assert history.history == expected.history
    assert_same(state(model), state(whole), 0)


def test_other_data_are_refused(tmp_path, mapped):
    ng.use_backend("numpy")
    classifier().train(mapped(POINTS), LABELS, checkpoint=tmp_path / "maps", **QUIET)
    changed = POINTS.copy()
    changed[699, 3] += 1
    for given, message in (
        ((mapped(changed), LABELS), "X.sha256 was"),
        ((mapped(POINTS), LABELS[::-1].copy()), "y.sha256 was"),
        ((POINTS, LABELS), "X.block was"),
        ((source(),), "X.shape was"),
    ):
        with pytest.raises(CheckpointError, match=message):
            classifier().train(*given, checkpoint=tmp_path / "maps", **QUIET)
    two = {"inputs": 2}
    spiral = {"checkpoint": tmp_path / "spiral", **QUIET}
    classifier(**two).train(spiral_blocks(50, 3, seed=1), **spiral)
    for other, message in (
        (spiral_blocks(50, 3, seed=2), "X.blocks of.seed was 1, is now 2"),
        (spiral_blocks(51, 3, seed=1), "X.samples was 150, is now 153"),
        (Blocks(cut(POINTS[:150, :2], LABELS[:150], (50,)), 150), "blocks of"),
    ):
        with pytest.raises(CheckpointError, match=message):
            classifier(**two).train(other, **spiral)
    named = {"fingerprint": {"file": "a"}}
    mine = {"checkpoint": tmp_path / "mine", **QUIET}
    blocks = cut(POINTS, LABELS, (100,))
    classifier().train(Blocks(blocks, N, **named), **mine)
    with pytest.raises(CheckpointError, match=r"X.blocks of.file was 'a', is now 'b'"):
        classifier().train(Blocks(blocks, N, fingerprint={"file": "b"}), **mine)
