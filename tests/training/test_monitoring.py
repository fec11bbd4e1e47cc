"""ReduceLROnPlateau and ModelCheckpoint: what they change and write, and that a resume knows it."""

import hashlib

import numpy as np
import pytest
from model_programs import X_VAL, Y_VAL, X, Y, network, parameters

from nnfs_gpu import (
    Callback,
    CheckpointError,
    EarlyStopping,
    Layer_Dense,
    Model,
    ModelCheckpoint,
    Optimizer_Adam,
    Optimizer_SGD,
    ReduceLROnPlateau,
    use_backend,
)

pytestmark = pytest.mark.default_backend

NAN = float("nan")
GIVEN = {"print_every": None, "batch_size": 25}


class Script(Callback):
    """Puts numbers of its own into the logs, before those who come after it; may end training."""

    def __init__(self, name, values, fall=None):
        self.name, self.values, self.fall = name, values, fall

    def on_epoch_end(self, epoch, logs):
        logs[self.name] = self.values[epoch - 1]


class Fall(Callback):
    """Ctrl-C at the end of an epoch, after those who come before it."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_epoch_end(self, epoch, logs):
        if epoch == self.epoch:
            raise KeyboardInterrupt


# ---- the learning rate ----
@pytest.mark.parametrize(
    ("values", "arguments", "halvings"),  # of the rate, after each epoch
    [
        ([5, 4, 3, 2, 1], {"patience": 1}, [0, 0, 0, 0, 0]),
        ([5, 5, 5, 5, 5], {"patience": 1}, [0, 1, 2, 3, 4]),
        ([5, 5, 5, 4, 5], {"patience": 2}, [0, 0, 1, 1, 1]),
        ([5, 5, 5, 5, 5, 5, 5], {"patience": 1, "cooldown": 2}, [0, 1, 1, 2, 2, 3, 3]),
        ([5, 5, 5, 5, 5, 5, 5], {"patience": 2, "cooldown": 1}, [0, 0, 1, 1, 2, 2, 3]),
        ([5, 4.95, 4.9, 4.8, 4.7], {"patience": 1, "min_delta": 0.25}, [0, 1, 2, 3, 3]),
        ([NAN, NAN, 4, NAN, 3], {"patience": 2}, [0, 1, 1, 1, 1]),
        ([1, 2, 3, 4, 5], {"patience": 1, "mode": "max"}, [0, 0, 0, 0, 0]),
        ([5, 5, 5, 5, 5], {"patience": 1, "min_lr": 0.125}, [0, 1, 2, 2, 2]),
    ],
)
def test_the_rate_falls_where_nothing_improves(values, arguments, halvings):
    """The same epochs as Keras's callback lowers it in."""
    use_backend("numpy")
    rates, model = [], network(optimizer=Optimizer_SGD(0.5))
    look = Callback()
    look.on_epoch_end = lambda epoch, logs: rates.append(model.optimizer.learning_rate)
    reduce = ReduceLROnPlateau("loss", factor=0.5, **arguments)
    model.train(X, Y, epochs=len(values), callbacks=[Script("loss", values), reduce, look], **GIVEN)
    assert rates == [0.5 * 0.5**count for count in halvings]


def test_an_accuracy_should_rise():
    use_backend("numpy")
    model = network(optimizer=Optimizer_SGD(0.5))
    script, reduce = Script("accuracy", [0.1, 0.2, 0.3]), ReduceLROnPlateau("accuracy", patience=1)
    model.train(X, Y, epochs=3, callbacks=[script, reduce], **GIVEN)
    assert model.optimizer.learning_rate == 0.5


@pytest.mark.parametrize("engine", ["layers", "auto"])
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_steps_take_the_lower_rate_and_the_decay(backend, engine, decay):
    """Each step has learning_rate / (1 + decay iterations), of the rate of its epoch."""
    reduced, by_hand = (
        network(optimizer=Optimizer_SGD(0.5, decay)),
        network(optimizer=Optimizer_SGD(0.5, decay)),
    )
    script = Script("loss", [3.0] * 4)
    history = reduced.train(
        X,
        Y,
        epochs=4,
        engine=engine,
        callbacks=[script, ReduceLROnPlateau("loss", factor=0.5, patience=1)],
        **GIVEN,
    )
    for epoch in range(4):
        by_hand.optimizer.learning_rate = 0.5 * 0.5 ** max(0, epoch - 1)
        if not decay:
            by_hand.optimizer.current_learning_rate = by_hand.optimizer.learning_rate
        by_hand.train(X, Y, engine=engine, **GIVEN)
    for a, b in zip(parameters(reduced), parameters(by_hand), strict=True):
        np.testing.assert_array_equal(a, b)
    expected = [0.5 * 0.5 ** max(0, e - 1) / (1 + decay * (2 * e + 1)) for e in range(4)]
    np.testing.assert_allclose(history["learning_rate"], expected, rtol=1e-15)


def test_an_optimizer_of_ones_own():
    class Plain:
        learning_rate = 0.5

        def update_params(self, layer):
            layer.weights -= self.learning_rate * layer.dweights

    class Other(Plain):
        learning_rate = property(lambda self: "half")

    use_backend("numpy")
    model, reduce = network(optimizer=Plain()), ReduceLROnPlateau("loss", patience=1)
    model.train(X, Y, epochs=2, callbacks=[Script("loss", [1, 1]), reduce], **GIVEN)
    assert model.optimizer.learning_rate == pytest.approx(0.05)
    with pytest.raises(TypeError, match=r"Other has no number learning_rate; keep"):
        network(optimizer=Other()).train(X, Y, callbacks=[reduce], **GIVEN)


@pytest.mark.parametrize(
    "arguments",
    [
        {"factor": 1.0},
        {"factor": 0},
        {"factor": "half"},
        {"patience": 0},
        {"cooldown": -1},
        {"cooldown": 1.5},
        {"min_lr": -1},
        {"min_delta": NAN},
        {"mode": "down"},
    ],
)
def test_bad_arguments_of_the_rate(arguments):
    with pytest.raises((TypeError, ValueError), match=f"{next(iter(arguments))}: got"):
        ReduceLROnPlateau("loss", **arguments)


# ---- the model's file ----
def test_a_file_an_epoch_has_what_save_writes(backend, tmp_path):
    model, saved = network(), []
    look = Callback()

    def keep(epoch, logs):
        model.save(tmp_path / f"by hand {epoch}")
        saved.append((epoch, logs["val_loss"]))

    look.on_epoch_end = keep
    kept = ModelCheckpoint(tmp_path / "new" / "{epoch:03d}-{val_loss:.3f}.safetensors", every=2)
    given = {"epochs": 5, "validation_data": (X_VAL, Y_VAL), "callbacks": [look, kept]}
    model.train(X, Y, **given, **GIVEN)
    names = {f"{epoch:03d}-{loss:.3f}.safetensors": epoch for epoch, loss in saved if not epoch % 2}
    assert {one.name for one in (tmp_path / "new").iterdir()} == names.keys()
    for name, epoch in names.items():
        written = (tmp_path / "new" / name).read_bytes()
        assert written == (tmp_path / f"by hand {epoch}").read_bytes()
    assert (kept.saved.name, kept.best_epoch) == (list(names)[-1], None)
    assert Model.load(kept.saved).optimizer.iterations == 8


def test_the_best_alone(tmp_path):
    use_backend("numpy")
    model, kept = network(), ModelCheckpoint(tmp_path / "best", "loss", save_best_only=True)
    counts = []
    look = Callback()
    look.on_epoch_end = lambda epoch, logs: counts.append(
        Model.load(kept.saved).optimizer.iterations if kept.saved else 0
    )
    script = Script("loss", [NAN, 5, 6, 5, 4, NAN])
    model.train(X, Y, epochs=6, callbacks=[script, kept, look], **GIVEN)
    assert counts == [0, 4, 4, 4, 10, 10]
    assert (kept.best, kept.best_epoch) == (4, 5)
    assert [one.name for one in tmp_path.iterdir()] == ["best"]  # and nothing half-written


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("{epoch}-{val_loss}", r"filepath: got '.*expected names in braces of epoch, loss.*valid"),
        ("{}", "filepath: got"),
        ("{epoch", "filepath: got"),
        ("{epoch:q}", "filepath: got"),
        ("{loss.real.nothing}", "filepath: got"),
        ("", "is a folder; give the name of a file in it, such as"),
    ],
)
def test_a_path_that_cannot_be(tmp_path, path, message):
    """Said before the first step."""
    use_backend("numpy")
    model = network()
    with pytest.raises((ValueError, IsADirectoryError), match=message):
        model.train(X, Y, callbacks=[ModelCheckpoint(tmp_path / path)], **GIVEN)
    assert model.optimizer.iterations == 0


def test_a_model_that_no_file_can_hold_is_refused_before_the_first_step(tmp_path):
    class Mine(Layer_Dense):
        pass

    use_backend("numpy")
    model = network(Mine(2, 3), *network().layers[-1:])
    with pytest.raises(TypeError, match="a model file cannot hold a Mine"):
        model.train(X, Y, callbacks=[ModelCheckpoint(tmp_path / "a")], **GIVEN)
    assert model.optimizer.iterations == 0


def test_monitors_what_is_measured(tmp_path):
    use_backend("numpy")
    kept = ModelCheckpoint(tmp_path / "a", save_best_only=True)
    with pytest.raises(ValueError, match="ModelCheckpoint monitors 'val_loss', but"):
        network().train(X, Y, callbacks=[kept], **GIVEN)
    with pytest.raises(ValueError, match="ReduceLROnPlateau monitors 'val_loss', but"):
        network().train(X, Y, callbacks=[ReduceLROnPlateau()], **GIVEN)
    with pytest.raises(ValueError, match="every: got 0"):
        ModelCheckpoint("a", every=0)
    with pytest.raises(ValueError, match="mode: got 'best'"):
        EarlyStopping(mode="best")


# ---- resumed ----
def digests(folder):
    return {one.name: hashlib.sha256(one.read_bytes()).hexdigest() for one in folder.iterdir()}


@pytest.mark.parametrize("fall", [1, 3, 5])
@pytest.mark.parametrize("engine", ["layers", "auto"])
def test_a_resumed_run_lowers_and_saves_as_one_that_was_never_interrupted(
    backend, tmp_path, engine, fall
):
    """Ctrl-C after the callbacks of an epoch, before its checkpoint: it is done again."""

    def run(name, *more):
        model = network(optimizer=Optimizer_Adam(0.05, decay=1e-2))
        script = Script("loss", [9, 7, 7, 7, 5, 6, 6, 6])
        reduce = ReduceLROnPlateau("loss", factor=0.5, patience=2, cooldown=1)
        kept = ModelCheckpoint(tmp_path / name / "{epoch}-{loss:.0f}", "loss", save_best_only=True)
        history = model.train(
            X,
            Y,
            epochs=8,
            engine=engine,
            callbacks=[script, reduce, kept, *more],
            checkpoint=tmp_path / f"{name} checkpoint",
            **GIVEN,
        )
        return history, model, reduce, kept

    expected, whole, *_ = run("whole")
    with pytest.raises(KeyboardInterrupt):
        run("broken", Fall(fall))
    for _ in range(2):  # the second finds a finished run
        history, model, reduce, kept = run("broken")
        assert history.history == expected.history
        assert model.optimizer.learning_rate == whole.optimizer.learning_rate == 0.05 / 4
        assert (reduce.best_epoch, kept.best_epoch) == (5, 5)
        for a, b in zip(parameters(model), parameters(whole), strict=True):
            np.testing.assert_array_equal(a, b)
    assert digests(tmp_path / "broken") == digests(tmp_path / "whole")
    assert len(digests(tmp_path / "whole")) == 3


@pytest.mark.parametrize(
    "other",
    [
        ReduceLROnPlateau("loss", factor=0.25),
        ReduceLROnPlateau("loss", cooldown=3),
        ReduceLROnPlateau("accuracy"),
        ReduceLROnPlateau("loss", mode="max"),
    ],
)
def test_a_checkpoint_of_other_settings_is_refused(tmp_path, other):
    use_backend("numpy")
    first = ReduceLROnPlateau("loss")
    network().train(X, Y, callbacks=[first], checkpoint=tmp_path, **GIVEN)
    with pytest.raises(CheckpointError, match=r"callbacks\.0\.\w+ was"):
        network().train(X, Y, callbacks=[other], checkpoint=tmp_path, epochs=2, **GIVEN)


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"wait": -1}, ValueError),
        ({"cooling": 0.5}, TypeError),
        ({"best": True}, TypeError),
        ({"best_epoch": 0}, ValueError),
        ({"more": 1}, ValueError),
    ],
)
def test_a_state_of_another_form_is_refused_whole(change, kind):
    reduce = ReduceLROnPlateau("loss")
    before = dict(vars(reduce))
    with pytest.raises(kind):
        reduce.set_state(reduce.get_state() | {"wait": 3} | change)
    assert vars(reduce) == before or np.isnan(reduce.best)
    assert (reduce.wait, reduce.cooling, reduce.best_epoch) == (0, 0, None)
