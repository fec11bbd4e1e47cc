"""Weights that cannot be: what is said, and that nothing has changed."""

import numpy as np
import pytest
from model_programs import X, Y, network
from networks import Network
from weighted_runs import COPIES, GIVEN, assert_like, memory_maps, repeated

import nnfs_gpu as ng
from nnfs_gpu import use_backend

pytestmark = pytest.mark.default_backend


# ---- bad input ----
@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones(49), r"train: got sample_weight of shape \(49,\), expected \(50,\), a number a"),
        (np.ones((50, 1)), r"shape \(50, 1\), expected \(50,\).*use sample_weight.reshape\(-1\)"),
        (1.0, r"got sample_weight of shape \((1,)?\), expected \(50,\)"),
        (-np.ones(50), "got sample_weight -1.0 at index 0, expected finite numbers of at least 0"),
        (np.r_[np.ones(49), np.nan], "got sample_weight nan at index 49"),
        (np.r_[np.inf, np.ones(49)], "got sample_weight inf at index 0"),
        (np.zeros(50), "all weights of the samples are 0"),
        (["a"] * 50, "train.*: sample_weight: array of real numbers"),
    ],
)
@pytest.mark.parametrize("mapped", [False, True])
def test_weights_that_are_none_are_refused_before_the_first_step(
    weights, message, mapped, tmp_path
):
    maps = memory_maps(tmp_path)
    use_backend("numpy")
    model, data = network(), maps[:2] if mapped else (X, Y)
    with pytest.raises((TypeError, ValueError), match=message):
        model.train(*data, sample_weight=weights, **GIVEN)
    assert model.optimizer.iterations == 0
    with pytest.raises((TypeError, ValueError), match=message.replace("train", "evaluate")):
        model.evaluate(*data, sample_weight=weights)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({3: 1.0}, "class_weight: got the class 3, expected .*classes 0 to 2"),
        ({-1: 1.0}, "got the class -1"),
        ({"a": 1.0}, "got the class 'a'"),
        ({True: 1.0}, "got the class True"),
        ({1: -1.0}, r"class_weight\[1\]: got -1.0, expected a number of at least 0"),
        ({1: np.nan}, r"class_weight\[1\]: got nan"),
        ({0: 0, 1: 0, 2: 0}, "all weights of the samples are 0"),
        ({0: 1e300}, r"sample_weight times class_weight is infinite; divide"),
        ([1, 2, 3], r"class_weight: got \[1, 2, 3\].*use dict\(enumerate\(class_weight\)\)"),
        ("even", "class_weight: got 'even', expected"),
        (3, "class_weight: got 3, expected"),
    ],
)
def test_classes_that_there_are_not(weights, message):
    use_backend("numpy")
    model = network()
    with pytest.raises((TypeError, ValueError), match=message):
        model.train(X, Y, class_weight=weights, sample_weight=np.full(50, 1e300), **GIVEN)
    assert model.optimizer.iterations == 0


@pytest.mark.parametrize("loss", ["squared_error", "binary_cross_entropy"])
def test_numbers_are_no_classes(loss):
    use_backend("numpy")
    made = Network((3, 5, 2), loss=loss)
    model = made.model(ng.get_backend())
    data, y = made.data(model, 20)
    with pytest.raises(ValueError, match="2 outputs are no classes; give sample_weight"):
        model.train(data, y.values, class_weight={0: 2}, **GIVEN)


def test_blocks_hold_their_weights():
    use_backend("numpy")
    model = network()
    with pytest.raises(TypeError, match=r"got blocks and sample_weight.*\(X, y, sample_weight\)"):
        model.train(ng.Blocks([(X, Y)]), sample_weight=COPIES, **GIVEN)
    mixed = ng.Blocks(lambda: iter([(X, Y, COPIES), (X, Y)]), 100)
    with pytest.raises(TypeError, match="got a pair after blocks of the other kind"):
        model.train(mixed, **GIVEN)
    for weights, message in ((COPIES[:9], "shape"), (-COPIES, "at least 0"), (COPIES * 0, "all")):
        source = ng.Blocks(lambda weights=weights: iter([(X, Y, weights)]), 50)
        with pytest.raises(ValueError, match=message):
            model.train(source, batch_size=25, **GIVEN)
    tiny = ng.Blocks([(X, Y, COPIES * 1e-9)])
    with pytest.raises(ValueError, match=r"e-09 at index \d+, expected 0, or numbers from 1e-06"):
        model.train(tiny, **GIVEN)
    assert model.optimizer.iterations <= 2
    with pytest.raises(TypeError, match=r"a tuple of 4, expected a pair \(X, y\), or"):
        model.train(X, Y, validation_data=(X, Y, COPIES, 1), **GIVEN)


# ---- losses of the user's own ----
def own_loss(**attributes):
    class Mine(ng.Loss):
        def forward(self, y_pred, y_true):
            return ((y_pred - y_true) ** 2).sum(axis=1)

        def backward(self, dvalues, y_true):
            self.dinputs = 2 * (dvalues - y_true) / len(dvalues)

    for name, value in attributes.items():
        setattr(Mine, name, value)
    return Mine()


def regression(loss):
    made = Network((2, 5, 3), activation="tanh", loss="squared_error")
    model = made.model(ng.get_backend())
    model.set(loss=loss)
    model.finalize()
    return model


def test_an_own_loss_says_that_it_takes_weights():
    use_backend("numpy", dtype="float64")
    targets = np.random.RandomState(0).randn(50, 3)
    model = regression(own_loss())
    for given in ({"sample_weight": COPIES}, {"validation_data": (X, targets, COPIES)}):
        with pytest.raises(TypeError, match=r"Mine does not say.*sample_weights = True into the c"):
            model.train(X, targets, **given, **GIVEN)
    with pytest.raises(TypeError, match="Mine does not say"):
        model.train(ng.Blocks([(X, targets, COPIES)]), **GIVEN)
    assert model.optimizer.iterations == 0
    model, expected = (regression(own_loss(sample_weights=True)) for _ in range(2))
    history = model.train(X, targets, sample_weight=COPIES, **GIVEN)
    wanted = expected.train(*repeated(X, targets), **GIVEN)
    assert history["loss"] == pytest.approx(wanted["loss"], rel=1e-12)
    assert_like(model, expected, 1e-12)


# ---- engines that take none ----
def test_fused_steps_without_weights_leave_them_to_the_layers(monkeypatch, capsys):
    """As those of a GPU: chosen by name they say so, and blocks that come later are refused."""
    use_backend("numba")
    model, layers = network(), network()
    model.explain()
    assert "weights" not in capsys.readouterr().out
    monkeypatch.setattr("nnfs_gpu.fused.cpu.engine.FusedSteps.weights", False)
    model.explain()
    assert "samples with weights train layer by layer" in capsys.readouterr().out
    model.train(X, Y, sample_weight=COPIES, **GIVEN)
    layers.train(X, Y, sample_weight=COPIES, engine="layers", **GIVEN)
    assert_like(model, layers, 0)
    with pytest.raises(ng.fused.CannotFuse, match="numba take no weights of samples; use engine="):
        model.train(X, Y, sample_weight=COPIES, engine="fused", **GIVEN)
    source = ng.Blocks([(X, Y, COPIES)], 50)  # known when it comes
    with pytest.raises(ValueError, match=r"numba do not take; use engine='layers'"):
        model.train(source, **GIVEN)
    assert model.optimizer.iterations == 1
    model.train(source, engine="layers", **GIVEN)
