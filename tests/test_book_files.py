"""The book's pickles, written by a program with the book's classes, are read exactly."""

import contextlib
import pickle
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import assert_close
from model_files import bits, build, refused

from nnfs_gpu import Layer_Dense, Model, use_backend
from nnfs_gpu.storage import ModelFileError

PROGRAM = Path(__file__).with_name("book_like_program.py")


def run_program(folder, protocol=pickle.DEFAULT_PROTOCOL, kind="classes"):
    """Run it as __main__; the .model, the .parms, and what the model computes."""
    given = {"FOLDER": folder, "PROTOCOL": protocol, "KIND": kind}
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
