"""sample_weight and class_weight in training: a whole number counts as so many copies."""

import numpy as np
import pytest
from helpers import assert_close
from model_programs import X_VAL, Y_VAL, X, Y, network, parameters
from networks import ENDS, Network

import nnfs_gpu as ng
from nnfs_gpu import use_backend
from nnfs_gpu.data.order import order_of

pytestmark = pytest.mark.default_backend

ENGINES = ["layers", "auto"]
GIVEN = {"print_every": None}
COPIES = np.random.RandomState(3).randint(0, 4, len(X))


def repeated(*arrays, copies=COPIES):
    return [np.repeat(a, copies, axis=0) for a in arrays]


def numbers(history, name="loss"):
    return np.array(history[name])


def assert_like(model, expected, rtol):
    for a, b in zip(parameters(model), parameters(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol)


TOLERANCE = {"float32": 2e-5, "float64": 1e-12}


def tolerance(backend):
    return TOLERANCE[backend.dtype.name]


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
def test_weights_of_any_size_have_all_their_digits(backend, engine, scale, files):
    """Sums have a smallest and a largest number; weights are scaled to lie between."""
    model, mapped, expected = network(), network(), network()
    given = {"epochs": 2, "batch_size": 20, "engine": engine} | GIVEN
    wanted = expected.train(X, Y, sample_weight=COPIES, **given)
    for one, data in ((model, (X, Y)), (mapped, files[:2])):
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


# ---- data larger than memory ----
@pytest.fixture
def files(tmp_path):
    """Memory maps of X, Y and the weights."""
    found = []
    for name, values in (("X", X), ("y", Y), ("w", COPIES * 0.5)):
        np.save(tmp_path / f"{name}.npy", values)
        found.append(np.load(tmp_path / f"{name}.npy", mmap_mode="r"))
    return found


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", ["maps", "map and array", "blocks", "rows"])
@pytest.mark.parametrize("shuffle", [False, True])
def test_every_kind_of_data_trains_as_arrays_do(backend, engine, kind, shuffle, files, monkeypatch):
    monkeypatch.setattr("nnfs_gpu.data.blockwise.block_rows", lambda model: 11)
    if shuffle and kind in ("blocks", "rows"):
        pytest.skip("come in their own order")
    W = COPIES * 0.5
    data = {
        "maps": (files[0], files[1]),
        "map and array": (files[0], Y),
        "blocks": (
            ng.Blocks([(X[k : k + 9], Y[k : k + 9], W[k : k + 9]) for k in range(0, 50, 9)]),
        ),
        "rows": (ng.Rows(lambda a, b: (X[a:b], Y[a:b], W[a:b]), 50),),
    }[kind]
    weights = {"maps": files[2], "map and array": W}.get(kind)
    given = {"class_weight": {1: 2.5}, "epochs": 2, "batch_size": 20, "shuffle": shuffle} | GIVEN
    model, expected = network(), network()
    history = model.train(*data, sample_weight=weights, engine=engine, **given)
    wanted = expected.train(X, Y, sample_weight=W, engine=engine, **given)
    np.testing.assert_allclose(history["loss"], wanted["loss"], rtol=tolerance(backend))
    assert_like(model, expected, tolerance(backend) * 10)


@pytest.mark.parametrize("kind", ["map", "blocks"])
def test_balanced_of_data_in_blocks(backend, kind, files):
    data = (
        (files[0], files[1])
        if kind == "map"
        else (ng.Blocks([(X[:20], Y[:20]), (X[20:], Y[20:])]),)
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


def test_a_checkpoint_knows_the_weights_of_files_and_of_classes(tmp_path, files):
    use_backend("numpy")

    def run(folder, *data, **weights):
        network().train(*data, checkpoint=tmp_path / folder, **weights, **GIVEN)

    run("maps", *files[:2], sample_weight=files[2])
    run("maps", *files[:2], sample_weight=files[2])
    with pytest.raises(ng.CheckpointError, match="weights"):
        run("maps", *files[:2], sample_weight=np.asarray(files[2]) + 1)
    blocks = ng.Blocks([(X, Y)])
    run("blocks", blocks, class_weight={0: 2})
    with pytest.raises(ng.CheckpointError, match="weights"):
        run("blocks", blocks, class_weight={0: 3})


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
def test_weights_that_are_none_are_refused_before_the_first_step(weights, message, mapped, files):
    use_backend("numpy")
    model, data = network(), files[:2] if mapped else (X, Y)
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
