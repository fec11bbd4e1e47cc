"""The book's pickles, written by a program with the book's classes, are read exactly."""

import contextlib
import pickle
import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import assert_close
from model_files import bits, build, refused
from networks import dense_model

from nnfs_gpu import Layer_Dense, Model, use_backend
from nnfs_gpu.files.model_file import ModelFileError

PROGRAM = Path(__file__).with_name("book_like_program.py")


def run_program(folder, protocol=pickle.DEFAULT_PROTOCOL, kind="classes", spelling=str):
    """Run it as __main__; the .model, the .parms, and what the model computes.

    spelling  what its classes are called, from the book's names
    """
    given = {"FOLDER": folder, "PROTOCOL": protocol, "KIND": kind, "SPELLING": spelling}
    runpy.run_path(str(PROGRAM), given, run_name="__main__")
    with np.load(folder / "expected.npz") as file:
        expected = dict(file)
    return folder / "program.model", folder / "program.parms", expected


# ---- the book's files ----
@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize("kind", ["classes", "regression", "float64"])
def test_a_model_of_the_book_s_program(tmp_path, backend_name, protocol, kind):
    path, _, expected = run_program(tmp_path, protocol, kind)
    assert b"__main__" in path.read_bytes()
    use_backend(backend_name, dtype="float32")
    model = Model.load(path)
    assert model.backend.dtype == ("float64" if kind == "float64" else "float32")
    got = model.backend.to_numpy(model.predict(expected["X"]))
    want = expected["output"]
    assert_close(got, want, model.backend.dtype, ulps=16, magnitude=np.abs(want).max())
    optimizer = model.optimizer
    assert (optimizer.iterations, type(optimizer).__name__) == (20, "Optimizer_Adam")
    assert optimizer.current_learning_rate < optimizer.learning_rate
    for layer in model.trainable_layers:
        for name in ("weight_momentums", "weight_cache", "bias_momentums", "bias_cache"):
            assert getattr(layer, name).dtype == model.backend.dtype
            assert np.any(model.backend.to_numpy(getattr(layer, name)) != 0)
    if kind == "regression":
        assert model.accuracy.precision == pytest.approx(np.sin(expected["X"][:, 0]).std() / 250)
    else:
        assert model.layers[2].rate == 0.9
        assert model.layers[0].weight_regularizer_l2 == 5e-4
    model.save(tmp_path / "ours")
    assert bits(Model.load(tmp_path / "ours")) == bits(model)


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_parameters_of_the_book_s_program(tmp_path, protocol):
    path, parameters, _ = run_program(tmp_path, protocol)
    use_backend("numpy", dtype="float32")
    model, other = Model.load(path), Model.load(path)
    for layer in other.trainable_layers:
        layer.weights = np.zeros(layer.weights.shape)
    other.load_parameters(parameters)
    assert bits(other) == bits(model)
    refused(parameters, "holds 'parameters', expected a model")


def test_parameters_of_another_shape_or_dtype_change_nothing(tmp_path):
    _, parameters, _ = run_program(tmp_path)
    use_backend("numpy", dtype="float32")
    model = build()
    before = bits(model)
    refused(parameters, r"holds weights .*\(2, 6\).* needs \(2, 4\)", model.load_parameters)
    assert bits(model) == before
    use_backend("numpy", dtype="float64")
    model = Model()
    model.add(Layer_Dense(2, 6))
    model.add(Layer_Dense(6, 3))
    refused(parameters, "float32.* needs .*float64", model.load_parameters)


@pytest.mark.parametrize("name", ["program.model", "program.parms"])
def test_every_truncation_and_many_flipped_bits(tmp_path, name):
    """An error or, where a number or a text has changed, a model: never anything else."""
    run_program(tmp_path)
    use_backend("numpy", dtype="float32")
    path = tmp_path / name
    whole, model = path.read_bytes(), build()
    load = Model.load if name.endswith("model") else model.load_parameters
    for length in [*range(2, 40), *range(40, len(whole), 61)]:
        path.write_bytes(whole[:length])
        refused(path, load=load)
    rng = np.random.RandomState(0)
    for _ in range(400):
        damaged = bytearray(whole)
        damaged[rng.randint(len(whole))] ^= 1 << rng.randint(8)
        path.write_bytes(damaged)
        with contextlib.suppress(ModelFileError):
            load(path)


def model_with(tmp_path, change):
    """The program's model with something changed in its pickle, by Python's own reader."""
    path, _, _ = run_program(tmp_path)
    namespace = runpy.run_path(str(PROGRAM), {}, run_name="classes")
    fake = type(sys)("__main__")
    fake.__dict__.update(namespace)
    for value in vars(fake).values():
        if isinstance(value, type) and value.__module__ == "classes":
            value.__module__ = "__main__"
    real, sys.modules["__main__"] = sys.modules["__main__"], fake
    try:
        model = pickle.loads(path.read_bytes())
        change(model)
        path.write_bytes(pickle.dumps(model))
    finally:
        sys.modules["__main__"] = real
    return path


def nan_rate(model):
    model.optimizer.learning_rate = float("nan")


def one_layer_often(model):
    model.layers = [model.layers[0]] * 1000


def weights_in_three_dimensions(model):
    model.layers[0].weights = np.zeros((2, 6, 1), np.float32)


def cache_of_another_shape(model):
    model.layers[0].weight_cache = np.zeros((6, 2), np.float32)


def layers_that_do_not_fit(model):
    model.layers[0].weights = np.zeros((2, 5), np.float32)


def loss_as_optimizer(model):
    model.optimizer = model.loss


def layers_that_are_none(model):
    model.layers[1] = None


@pytest.mark.parametrize(
    "change",
    [
        nan_rate,
        one_layer_often,
        weights_in_three_dimensions,
        cache_of_another_shape,
        layers_that_do_not_fit,
        loss_as_optimizer,
        layers_that_are_none,
        lambda model: model.__dict__.pop("layers"),
        lambda model: setattr(model, "layers", {}),
        lambda model: setattr(model.optimizer, "iterations", -1),
        lambda model: setattr(model.optimizer, "decay", [1]),
        lambda model: setattr(model.layers[2], "rate", 2.0),
        lambda model: model.layers[2].__dict__.pop("rate"),
    ],
)
def test_a_model_that_cannot_be_built(tmp_path, change):
    use_backend("numpy")
    refused(model_with(tmp_path, change))


def test_a_model_changed_by_nothing_loads(tmp_path):
    use_backend("numpy")
    assert Model.load(model_with(tmp_path, lambda model: None)).optimizer.iterations == 20


# ---- classes by other names ----
SPELLINGS = {
    "no underscores": lambda name: name.replace("_", ""),
    "small": str.lower,
    "snake": lambda name: re.sub("(?<=[a-z])(?=[A-Z])", "_", name).lower(),
    "capitals": str.upper,
    "one capital": lambda name: name.capitalize(),
}


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize("kind", ["classes", "regression"])
def test_classes_that_differ_in_capitals_and_underscores(tmp_path, spelling, protocol, kind):
    path, _, expected = run_program(tmp_path, protocol, kind, spelling)
    assert b"Layer_Dense" not in path.read_bytes()
    use_backend("numpy", dtype="float32")
    model = Model.load(path)
    assert type(model.layers[0]) is Layer_Dense
    np.testing.assert_allclose(model.predict(expected["X"]), expected["output"], atol=1e-5)
    assert model.optimizer.iterations == 20


OTHERS = {
    "Activation_ReLU": "LeakyReLU",
    "Loss_CategoricalCrossentropy": "Huber",
    "Layer_Dense": "MyDense",
    "Model": "Network",
    "Optimizer_Adam": "Lion",
}


@pytest.mark.parametrize("kept", [*OTHERS, None])
def test_other_classes_are_named_and_the_remedies_work(tmp_path, kept):
    """All names in one message; its line, run where the classes are, gives the weights."""
    others = OTHERS if kept is None else {kept: OTHERS[kept]}
    path, parameters, _ = run_program(tmp_path, spelling=lambda name: others.get(name, name))
    use_backend("numpy", dtype="float32")
    with pytest.raises(ModelFileError) as caught:
        Model.load(path)
    message = str(caught.value)
    assert "\n" not in message
    named = message.partition("does not have: ")[2].partition(";")[0].split(", ")
    assert sorted(named) == sorted(f"__main__.{name}" for name in others.values())
    assert "nothing in it was run" in message
    assert repr(str(parameters)) in message
    model = build_like_the_program()
    refused(path, "does not have: __main__", model.load_parameters)
    model.load_parameters(parameters)  # the first remedy: the program's own .parms
    before = bits(model)
    parameters.unlink()
    line = message.partition("writes it: ")[2]
    as_the_program(lambda name: others.get(name, name), line)
    model = build_like_the_program()
    assert bits(model) != before
    model.load_parameters(parameters)  # the second: what the line has written
    assert bits(model) == before


def test_the_dtype_of_foreign_weights_has_a_line_of_its_own(tmp_path):
    _, parameters, _ = run_program(tmp_path, kind="float64")
    use_backend("numpy", dtype="float32")
    with pytest.raises(ModelFileError, match=r"same layers and dtype: use_backend") as caught:
        build_like_the_program().load_parameters(parameters)
    line = re.search(r"use_backend\(.*?\)", str(caught.value)).group()
    exec(line, {"use_backend": use_backend})
    build_like_the_program().load_parameters(parameters)


def build_like_the_program():
    """The network of the book-like program, of our own parts."""
    return dense_model(2, 6, 3)


def as_the_program(spelling, line):
    """Run a line in a process of the program's: its classes are in __main__."""
    fake = type(sys)("__main__")
    fake.__dict__.update(renamed(runpy.run_path(str(PROGRAM), {}, run_name="classes"), spelling))
    real, sys.modules["__main__"] = sys.modules["__main__"], fake
    try:
        exec(line, vars(fake))
    finally:
        sys.modules["__main__"] = real


def renamed(namespace, spelling):
    """The program's classes in __main__, by their other names."""
    classes = [one for one in namespace.values() if isinstance(one, type)]
    for one in classes:
        one.__module__, one.__name__ = "__main__", spelling(one.__name__)
        one.__qualname__ = one.__name__
    return {one.__name__: one for one in classes}


def test_names_that_are_called_or_lie_about_are_told_as_before(tmp_path):
    """A class of which there is no object is no model's; a call is none of ours."""
    use_backend("numpy")
    for value, message in (
        ([np.random.RandomState] * 3, "it holds the name numpy.random.mtrand.RandomState;"),
        ([np.random.RandomState(1)] * 3, "it holds the name numpy.random._pickle"),
    ):
        (tmp_path / "file").write_bytes(pickle.dumps(value, 4))
        refused(tmp_path / "file", message)
