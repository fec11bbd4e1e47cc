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
