"""Weights of data in files and blocks, and in checkpoints."""

import numpy as np
import pytest
from model_programs import X, Y, network, parameters
from weighted_runs import COPIES, ENGINES, GIVEN, assert_like, memory_maps, tolerance

import nnfs_gpu as ng
from nnfs_gpu import use_backend

pytestmark = pytest.mark.default_backend


# ---- data larger than memory ----
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", ["maps", "map and array", "blocks", "rows"])
@pytest.mark.parametrize("shuffle", [False, True])
def test_every_kind_of_data_trains_as_arrays_do(
    backend, engine, kind, shuffle, monkeypatch, tmp_path
):
    maps = memory_maps(tmp_path)
    monkeypatch.setattr("nnfs_gpu.data.blockwise.block_rows", lambda model: 11)
    if shuffle and kind in ("blocks", "rows"):
        pytest.skip("come in their own order")
    W = COPIES * 0.5
    data = {
        "maps": (maps[0], maps[1]),
        "map and array": (maps[0], Y),
        "blocks": (
            ng.Blocks([(X[k : k + 9], Y[k : k + 9], W[k : k + 9]) for k in range(0, 50, 9)]),
        ),
        "rows": (ng.Rows(lambda a, b: (X[a:b], Y[a:b], W[a:b]), 50),),
    }[kind]
    weights = {"maps": maps[2], "map and array": W}.get(kind)
    given = {"class_weight": {1: 2.5}, "epochs": 2, "batch_size": 20, "shuffle": shuffle} | GIVEN
    model, expected = network(), network()
    history = model.train(*data, sample_weight=weights, engine=engine, **given)
    wanted = expected.train(X, Y, sample_weight=W, engine=engine, **given)
    np.testing.assert_allclose(history["loss"], wanted["loss"], rtol=tolerance(backend))
    assert_like(model, expected, tolerance(backend) * 10)


@pytest.mark.parametrize("kind", ["map", "blocks"])
def test_balanced_of_data_in_blocks(backend, kind, tmp_path):
    maps = memory_maps(tmp_path)
    data = (
        (maps[0], maps[1]) if kind == "map" else (ng.Blocks([(X[:20], Y[:20]), (X[20:], Y[20:])]),)
    )
    model, expected = network(), network()
    model.train(*data, class_weight="balanced", **GIVEN)
    expected.train(X, Y, class_weight="balanced", **GIVEN)
    assert_like(model, expected, tolerance(backend))
    once = ng.Blocks(iter([(X, Y)]), 50)
    with pytest.raises(ValueError, match="class_weight wants to see all targets first"):
        model.train(once, class_weight="balanced", **GIVEN)


# ---- resumed ----
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("every", [None, 1])
def test_a_resumed_run_ends_with_the_same_bits(backend, engine, every, tmp_path):
    class Fall(ng.Callback):
        def on_train_batch_end(self, batch, logs):
            if logs["epoch"] == 2 and batch == 1:
                raise KeyboardInterrupt

    def run(folder, *callbacks, **other):
        model = network()
        given = {"sample_weight": COPIES, "class_weight": {0: 0.3}} | other
        history = model.train(
            X,
            Y,
            epochs=3,
            batch_size=16,
            engine=engine,
            callbacks=callbacks,
            checkpoint=tmp_path / folder,
            checkpoint_every=every,
            **given,
            **GIVEN,
        )
        return parameters(model), history.history

    expected, curve = run("whole")
    with pytest.raises(KeyboardInterrupt):
        run("broken", Fall())
    for other in ({"sample_weight": COPIES + 1}, {"class_weight": None}, {"sample_weight": None}):
        with pytest.raises(ng.CheckpointError, match="weights"):
            run("broken", **other)
    found, again = run("broken")
    assert again == curve
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_checkpoint_knows_the_weights_of_files_and_of_classes(tmp_path):
    maps = memory_maps(tmp_path)
    use_backend("numpy")

    def run(folder, *data, **weights):
        network().train(*data, checkpoint=tmp_path / folder, **weights, **GIVEN)

    run("maps", *maps[:2], sample_weight=maps[2])
    run("maps", *maps[:2], sample_weight=maps[2])
    with pytest.raises(ng.CheckpointError, match="weights"):
        run("maps", *maps[:2], sample_weight=np.asarray(maps[2]) + 1)
    blocks = ng.Blocks([(X, Y)])
    run("blocks", blocks, class_weight={0: 2})
    with pytest.raises(ng.CheckpointError, match="weights"):
        run("blocks", blocks, class_weight={0: 3})
