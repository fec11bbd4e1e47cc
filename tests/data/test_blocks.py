"""Sources of blocks: the same steps as on whole arrays, on every backend and engine.

Then: how many blocks and of which sizes does not matter, what a source may be, what is refused
and that a step which is not finished changes nothing.
"""

import itertools

import numpy as np
import pytest
from blocks_networks import (
    LABELS,
    POINTS,
    VALUES,
    YES,
    N,
    assert_same,
    classifier,
    cut,
    regression,
    source,
    state,
    yes_or_no,
)

import nnfs_gpu as ng
from nnfs_gpu.data.sources import Blocks, spiral_blocks

PENALTY = {"weight_regularizer_l2": 0.02, "weight_regularizer_l1": 1e-3, "bias_regularizer_l2": 0.1}
EYE = np.eye(3)
NETWORKS = {
    "classes": (classifier, LABELS),
    "soft": (classifier, 0.9 * EYE[LABELS] + 0.1 * EYE[(LABELS + 1) % 3]),
    "squares": (regression, VALUES),
    "absolute": (lambda **a: regression(ng.Loss_MeanAbsoluteError(), **a), VALUES),
    "yes or no": (yes_or_no, YES),
}
QUIET = {"print_every": None}


def trained(make, X, y=None, **arguments):
    model = make()
    history = model.train(X, y, **QUIET | arguments)
    return state(model), history.history


def one_step(make, y, engine):
    """(in blocks, as a whole): state and history of one step over all samples."""
    blocks = trained(make, source(y=y), engine=engine)
    return blocks, trained(make, POINTS, y, engine=engine)


# ---- the same step ----
@pytest.mark.parametrize("name", NETWORKS)
def test_one_step_in_blocks_is_the_step_over_all(backend_name, name):
    ng.use_backend(backend_name, dtype="float64")
    make, y = NETWORKS[name]
    for engine, factors in itertools.product(("layers", "auto"), ({}, PENALTY)):
        blocks, whole = one_step(lambda factors=factors: make(**factors), y, engine)
        assert_same(blocks[0], whole[0], 1e-12)
        assert_same(blocks[1], whole[1], 1e-12)


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: ng.Optimizer_SGD(0.1, decay=0.1),
        lambda: ng.Optimizer_SGD(0.1, momentum=0.9),
        lambda: ng.Optimizer_Adagrad(0.1),
        lambda: ng.Optimizer_RMSprop(0.01),
    ],
)
@pytest.mark.parametrize("engine", ["layers", "fused"])
def test_every_optimizer(optimizer, engine):
    ng.use_backend("numba", dtype="float64")
    blocks, whole = one_step(lambda: classifier(optimizer=optimizer(), **PENALTY), LABELS, engine)
    assert_same(blocks[0], whole[0], 1e-12)


def test_float32(backend_name):
    ng.use_backend(backend_name, dtype="float32")
    for engine in ("layers", "auto"):
        blocks, whole = one_step(lambda: classifier(**PENALTY), LABELS, engine)
        gradients = [
            {k: v for k, v in s.items() if "dw" in k or "db" in k} for s, _ in (blocks, whole)
        ]
        assert_same(*gradients, 1e-5)
        assert_same(blocks[1], whole[1], 1e-5)


def test_fused_dropout_has_the_masks_of_the_whole_batch():
    ng.use_backend("numba", dtype="float64")
    blocks, whole = one_step(lambda: classifier(dropout=0.3), LABELS, "fused")
    assert_same(blocks[0], whole[0], 1e-12)


@pytest.mark.parametrize("engine", ["layers", "fused"])
@pytest.mark.parametrize(
    ("sizes", "batch_size"),
    [
        *itertools.product(
            [(1,), (7,), (N - 1,), (N,), (64, 65), (3, 200)],
            [None, 50, 128, 333, N - 1, N, 10 * N],
        ),
        ((7,), 1),  # 700 steps of one sample: once is enough
    ],
)
def test_batches_and_blocks_of_any_size(sizes, batch_size, engine):
    """Batches go across blocks, and blocks across batches: the samples are the same."""
    ng.use_backend("numba", dtype="float64")
    arguments = {"batch_size": batch_size, "epochs": 2, "engine": engine}
    rule = {"optimizer": ng.Optimizer_SGD(0.05)}
    blocks = trained(lambda: classifier(**rule), source(sizes=sizes), **arguments)
    whole = trained(lambda: classifier(**rule), POINTS, LABELS, **arguments)
    assert_same(blocks[0], whole[0], 1e-9)
    assert_same(blocks[1], whole[1], 1e-9)


def test_small_blocks_of_a_narrow_model_are_cut_again(monkeypatch):
    """Blocks larger than what the layers' arrays may take are handed over in pieces."""
    ng.use_backend("numpy", dtype="float64")
    monkeypatch.setattr("nnfs_gpu.data.blockwise.block_rows", lambda model: 33)
    blocks = trained(classifier, source(sizes=(N,)), engine="layers")
    monkeypatch.undo()
    assert_same(blocks[0], trained(classifier, POINTS, LABELS, engine="layers")[0], 1e-12)


# ---- what a source may be ----
class Mine:
    samples = N

    def __iter__(self):
        yield from cut(POINTS, LABELS, (100, 37))


def made():
    return iter(cut(POINTS, LABELS, (100, 37)))


def test_kinds_of_sources():
    ng.use_backend("numpy")
    expected = trained(classifier, source(sizes=(100, 37)), epochs=3, batch_size=64)
    lists = [(x.tolist(), y.tolist()) for x, y in cut(POINTS, LABELS, (100, 37))]
    for given in (Mine(), made, Blocks(made), Blocks(made, N), Blocks(lists)):
        found = trained(classifier, given, epochs=3, batch_size=64)
        assert_same(found[0], expected[0], 0)
        assert_same(found[1], expected[1], 0)
    assert Blocks(made).samples is None


def test_a_generator_serves_one_epoch():
    ng.use_backend("numpy")
    once = trained(classifier, Blocks(made(), N))
    assert_same(once[0], trained(classifier, made)[0], 0)
    with pytest.raises(ValueError, match=r"epochs: got 2, but these blocks can be used once; give"):
        trained(classifier, Blocks(made(), N), epochs=2)
    with pytest.raises(ValueError, match="which can be used once, and no samples; give samples=N"):
        trained(classifier, made())
    arguments = {"epochs": 2, "validation_data": Blocks(made(), N)}
    with pytest.raises(ValueError, match="epochs: got 2, but these blocks"):
        trained(classifier, POINTS, LABELS, **arguments)
    with pytest.raises(ValueError, match=r"wants to see all targets first.*used once"):
        trained(regression, Blocks(iter(cut(POINTS, VALUES, (50,))), N))


@pytest.mark.parametrize("block", [1, 1000, 7, 10**6])
def test_spiral_blocks_are_the_spiral(backend, block):
    ng.use_backend(backend)
    blocks = list(spiral_blocks(50, 3, seed=5, block=max(block, 40)))
    X, y = ng.spiral_data(50, 3, seed=5)
    to_numpy = backend.to_numpy
    np.testing.assert_array_equal(np.concatenate([to_numpy(x) for x, _ in blocks]), to_numpy(X))
    np.testing.assert_array_equal(np.concatenate([to_numpy(t) for _, t in blocks]), to_numpy(y))
    assert all(x.shape[0] <= max(block, 40) for x, _ in blocks)


def test_evaluation_and_validation(backend_name):
    ng.use_backend(backend_name, dtype="float64")
    for name, (make, y) in NETWORKS.items():
        model, whole = make(), make()
        given, data = source(y=y), (POINTS, y)
        found = model.train(given, epochs=2, validation_data=given, engine="layers", **QUIET)
        wanted = whole.train(*data, epochs=2, validation_data=data, engine="layers", **QUIET)
        assert_same(found.history, wanted.history, 1e-9)
        for batch_size in (None, 64):
            found = model.evaluate(given, batch_size=batch_size, verbose=False)
            wanted = whole.evaluate(*data, batch_size=batch_size, verbose=False)
            assert found == pytest.approx(wanted, rel=1e-9), name


# ---- what is refused, and what a failed step leaves ----
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
    from nnfs_gpu import checks

    seen, check = [], checks._check_indices

    def count(y, classes):
        seen.append(len(y))
        check(y, classes)

    monkeypatch.setattr(checks, "_check_indices", count)
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
