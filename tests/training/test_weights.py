"""sample_weight and class_weight in training: a whole number counts as so many copies."""

import numpy as np
import pytest
from helpers import assert_close
from model_programs import X_VAL, Y_VAL, X, Y, network, parameters
from networks import ENDS, Network
from weighted_runs import COPIES, ENGINES, GIVEN, assert_like, memory_maps, repeated, tolerance

import nnfs_gpu as ng
from nnfs_gpu.data.order import order_of

pytestmark = pytest.mark.default_backend


# ---- against repeated samples ----
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("loss", ENDS)
@pytest.mark.parametrize("soft", [False, True])
def test_a_step_is_that_of_repeated_samples(backend, engine, loss, soft):
    """Gradients, losses and penalties of every loss; accuracies alone are not weighted."""
    if soft and loss != "softmax_cross_entropy":
        pytest.skip("has one kind of targets")
    made = Network((3, 9, 4), activation="tanh", loss=loss, l1=1e-3, l2=1e-2, soft=soft)
    model, expected = made.model(backend), made.model(backend)
    X, y = made.data(model, 50)
    made.data(expected, 50)
    X, y = backend.to_numpy(X), backend.to_numpy(y.values)
    copies = np.random.RandomState(3).randint(0, 4, 50)
    history = model.train(X, y, sample_weight=copies, engine=engine, **GIVEN)
    wanted = expected.train(*repeated(X, y, copies=copies), engine=engine, **GIVEN)
    for mine, theirs in zip(model.trainable_layers, expected.trainable_layers, strict=True):
        for name in ("dweights", "dbiases"):
            found, right = getattr(mine, name), getattr(theirs, name)
            assert_close(found, right, backend.dtype, ulps=64, magnitude=np.abs(right).max())
    for name in ("loss", "data_loss", "reg_loss"):
        np.testing.assert_allclose(history[name], wanted[name], rtol=tolerance(backend))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("shuffle", [False, True])
def test_batches_have_the_weights_of_their_samples(backend, engine, shuffle):
    """Each batch is divided by its own sum of weights; the last one is short."""
    model, expected = network(), network()
    weights = COPIES * 0.5
    history = model.train(
        X,
        Y,
        sample_weight=weights,
        epochs=3,
        batch_size=16,
        shuffle=shuffle,
        seed=6,
        engine=engine,
        **GIVEN,
    )
    for epoch in range(1, 4):
        order = np.asarray(order_of(50, 6, epoch)) if shuffle else np.arange(50)
        losses = 0.0
        for start in range(0, 50, 16):
            rows = order[start : start + 16]
            found = expected.train(*repeated(X[rows], Y[rows], copies=COPIES[rows]), **GIVEN)
            losses += found["loss"][0] * COPIES[rows].sum()
        assert history["loss"][epoch - 1] == pytest.approx(losses / COPIES.sum(), rel=1e-5)
    assert_like(model, expected, tolerance(backend) * 10)


@pytest.mark.parametrize("engine", ENGINES)
def test_weights_of_one_change_no_bit_and_their_scale_does_not_count(backend, engine):
    models = [network(weight_regularizer_l2=0.02) for _ in range(3)]
    given = {"epochs": 3, "batch_size": 16, "engine": engine} | GIVEN
    plain = models[0].train(X, Y, **given)
    ones = models[1].train(X, Y, sample_weight=np.ones(50), **given)
    eights = models[2].train(X, Y, sample_weight=[8] * 50, **given)
    for model, history in ((models[1], ones), (models[2], eights)):
        for a, b in zip(parameters(model), parameters(models[0]), strict=True):
            np.testing.assert_array_equal(a, b)
        assert history.history == plain.history


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("scale", [1e-300, 1e-30, 1e30, 1e300])
def test_weights_of_any_size_have_all_their_digits(backend, engine, scale, tmp_path):
    """Sums have a smallest and a largest number; weights are scaled to lie between."""
    maps = memory_maps(tmp_path)
    model, mapped, expected = network(), network(), network()
    given = {"epochs": 2, "batch_size": 20, "engine": engine} | GIVEN
    wanted = expected.train(X, Y, sample_weight=COPIES, **given)
    for one, data in ((model, (X, Y)), (mapped, maps[:2])):
        history = one.train(*data, sample_weight=COPIES * scale, **given)
        np.testing.assert_allclose(history["loss"], wanted["loss"], rtol=tolerance(backend))
        assert_like(one, expected, tolerance(backend))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_weight_of_0_leaves_a_sample_out(backend, engine):
    model, expected = network(), network()
    keep = np.arange(50) % 3 > 0
    model.train(X, Y, sample_weight=keep, epochs=3, engine=engine, **GIVEN)  # bools are 0 and 1
    expected.train(X[keep], Y[keep], epochs=3, engine=engine, **GIVEN)
    assert_like(model, expected, tolerance(backend))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_batch_of_weight_0_has_no_gradient_but_the_penalty(backend, engine):
    factors = {"weight_regularizer_l2": 0.25, "bias_regularizer_l2": 0.25}
    model = network(optimizer=ng.Optimizer_SGD(0.5), **factors)
    before = parameters(model)
    weights = np.where(np.arange(50) < 25, 0.0, 1.0)
    losses = []

    class Look(ng.Callback):
        wants_loss = True

        def on_train_batch_end(self, batch, logs):
            losses.append(logs["data_loss"])
            if batch == 0:
                self.model.stop_training = True

    given = {"batch_size": 25, "engine": engine} | GIVEN
    model.train(X, Y, sample_weight=weights, callbacks=[Look()], **given)
    w, b, *others = parameters(model)
    for a, old in zip((w, b), before[:2], strict=True):  # p -= 0.5 * 2 * 0.25 p
        np.testing.assert_allclose(a, 0.75 * old, rtol=1e-6)
    for a, old in zip(others, before[2:], strict=True):
        np.testing.assert_array_equal(a, old)
    assert losses == [0.0]
    assert model.optimizer.iterations == 1
    whole = network(optimizer=ng.Optimizer_SGD(0.5), **factors)
    history = whole.train(X, Y, sample_weight=weights, **given)
    again = network(optimizer=ng.Optimizer_SGD(0.5), **factors)
    again.set_parameters([(w, b), tuple(others)])
    expected = again.train(X[25:], Y[25:], engine=engine, **GIVEN)
    np.testing.assert_allclose(history["data_loss"], expected["data_loss"], rtol=1e-6)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_batch_in_blocks_is_the_batch(backend, engine):
    """Blocks of weight 0 at its begin, in its middle and at its end."""
    weights = np.where((np.arange(50) // 10) % 2 == 0, 0.0, np.arange(50) / 7.0)
    whole, blocks = (network(weight_regularizer_l2=0.02) for _ in range(2))
    given = {"epochs": 3, "engine": engine} | GIVEN
    expected = whole.train(X, Y, sample_weight=weights, **given)
    source = ng.Blocks(
        lambda: ((X[k : k + 10], Y[k : k + 10], weights[k : k + 10]) for k in range(0, 50, 10)), 50
    )
    history = blocks.train(source, **given)
    np.testing.assert_allclose(history["loss"], expected["loss"], rtol=tolerance(backend))
    assert history["accuracy"] == expected["accuracy"]
    assert_like(blocks, whole, tolerance(backend))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_batch_in_blocks_of_weight_0_has_the_penalty_alone(backend, engine):
    def blocks():
        for k in range(0, 50, 10):
            yield X[k : k + 10], Y[k : k + 10], np.where(np.arange(k, k + 10) < 30, 0.0, 1.0)

    model = network(optimizer=ng.Optimizer_SGD(0.5), weight_regularizer_l2=0.25)
    expected = network(optimizer=ng.Optimizer_SGD(0.5), weight_regularizer_l2=0.25)
    model.train(ng.Blocks(blocks, 50), batch_size=30, engine=engine, **GIVEN)
    expected.trainable_layers[0].weights = expected.trainable_layers[0].weights * 0.75
    expected.train(X[30:], Y[30:], engine=engine, **GIVEN)
    assert_like(model, expected, tolerance(backend))


def test_the_accuracy_counts_all_samples_alike(backend):
    model, plain = network(), network()
    measured = model.evaluate(X, Y, sample_weight=COPIES, verbose=False)
    assert measured["accuracy"] == plain.evaluate(X, Y, verbose=False)["accuracy"]
    expected = plain.evaluate(*repeated(X, Y), verbose=False)
    assert measured["loss"] == pytest.approx(expected["loss"], rel=tolerance(backend))
    small = model.evaluate(X, Y, sample_weight=COPIES, batch_size=7, verbose=False)
    assert small["loss"] == pytest.approx(measured["loss"], rel=tolerance(backend))
    history = model.train(X, Y, sample_weight=COPIES, **GIVEN)
    assert history["accuracy"] == plain.train(X, Y, **GIVEN)["accuracy"]


def test_validation_data_have_weights_of_their_own(backend):
    copies = np.arange(len(X_VAL)) % 3
    model, expected = network(), network()
    weighted, again = (X_VAL, Y_VAL, copies), tuple(repeated(X_VAL, Y_VAL, copies=copies))
    given = {"sample_weight": COPIES, "epochs": 2} | GIVEN
    history = model.train(X, Y, validation_data=weighted, **given)
    wanted = expected.train(X, Y, validation_data=again, **given)
    np.testing.assert_allclose(history["val_loss"], wanted["val_loss"], rtol=tolerance(backend))
    source = ng.Blocks(lambda: [weighted], len(X_VAL))
    of_blocks = network().train(X, Y, validation_data=source, **given)
    np.testing.assert_allclose(history["val_loss"], of_blocks["val_loss"], rtol=tolerance(backend))


# ---- classes ----
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("rows", [False, True], ids=["classes", "one-hot"])
def test_classes_have_the_weights_of_their_samples(backend, engine, rows):
    table = np.array([0.5, 1.0, 4.0])
    targets = np.eye(3)[Y] if rows else Y
    model, expected = network(), network()
    given = {"epochs": 2, "batch_size": 16, "engine": engine} | GIVEN
    model.train(X, targets, class_weight={0: 0.5, np.int64(2): np.float32(4)}, **given)
    expected.train(X, targets, sample_weight=table[Y], **given)
    assert_like(model, expected, 0)
    model, expected = network(), network()
    model.train(X, targets, class_weight={0: 0.5, 2: 4}, sample_weight=COPIES, **given)
    expected.train(X, targets, sample_weight=table[Y] * COPIES, **given)
    assert_like(model, expected, 0)


def test_balanced_is_what_scikit_learn_says(backend):
    utils = pytest.importorskip("sklearn.utils.class_weight")
    labels = np.where(Y == 2, 0, Y)  # one class is missing
    weights = utils.compute_sample_weight("balanced", labels)
    model, expected = network(), network()
    model.train(X, labels, class_weight="balanced", **GIVEN)
    expected.train(X, labels, sample_weight=weights, **GIVEN)
    assert_like(model, expected, tolerance(backend) / 100)


def test_answers_of_yes_and_no_are_two_classes(backend):
    made = Network((2, 6, 1), loss="binary_cross_entropy")
    answers = (Y > 0) * 1
    for targets in (answers, answers.reshape(-1, 1)):
        model, expected = made.model(backend), made.model(backend)
        model.train(X, targets, class_weight={1: 3}, **GIVEN)
        expected.train(X, targets, sample_weight=np.where(answers, 3.0, 1.0), **GIVEN)
        assert_like(model, expected, 0)
