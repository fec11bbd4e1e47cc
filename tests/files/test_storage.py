"""Model files: bit-exact, the same on every backend, readable by any safetensors reader."""

import numpy as np
import pytest
from helpers import DTYPES
from model_files import X, Y, architecture, bits, build, metadata, refused, rewrite
from safetensors.numpy import load_file

from nnfs_gpu import (
    Accuracy_Categorical,
    Activation_Softmax,
    Layer_Dense,
    Loss_CategoricalCrossentropy,
    Model,
    Optimizer_Adagrad,
    Optimizer_Adam,
    Optimizer_RMSprop,
    Optimizer_SGD,
    get_backend,
    use_backend,
)
from nnfs_gpu.files.tensor_file import seal

pytestmark = pytest.mark.default_backend


# ---- round trip ----


def test_round_trip_is_bit_exact(backend, tmp_path):
    model = build()
    model.save(tmp_path / "m")
    loaded = Model.load(tmp_path / "m")
    assert bits(loaded) == bits(model)
    assert loaded.backend is loaded.layers[0].backend is backend
    np.testing.assert_array_equal(*(backend.to_numpy(m.predict(X)) for m in (model, loaded)))
    assert loaded.evaluate(X, Y, verbose=False) == model.evaluate(X, Y, verbose=False)


@pytest.mark.parametrize("other", ["numpy", "numba"])
@pytest.mark.parametrize("default", DTYPES)
def test_a_file_of_one_backend_is_read_by_another(backend, tmp_path, other, default):
    """Both ways, in the file's dtype, whatever the reader's default dtype is."""
    for writer, reader in ((backend.name, other), (other, backend.name)):
        use_backend(writer, dtype=backend.dtype)
        model = build()
        model.save(tmp_path / "m")
        use_backend(reader, dtype=default)
        before = get_backend()
        loaded = Model.load(tmp_path / "m")
        assert get_backend() is before
        assert (loaded.backend.name, loaded.backend.dtype) == (reader, backend.dtype)
        assert {part.backend for part in (*loaded.layers, loaded.loss, loaded.accuracy)} == {
            loaded.backend
        }
        assert bits(loaded) == bits(model)
        predicted, expected = (m.backend.to_numpy(m.predict(X)) for m in (loaded, model))
        np.testing.assert_allclose(predicted, expected, rtol=1e-5)


@pytest.mark.parametrize(
    "optimizer",
    [
        Optimizer_SGD(0.5, 1e-3, 0.9),
        Optimizer_Adagrad(0.4, 1e-3, 1e-6),
        Optimizer_RMSprop(0.02, 1e-5, 1e-6, 0.95),
        Optimizer_Adam(0.05, 5e-7, 1e-8, 0.8, 0.99),
    ],
    ids=lambda optimizer: type(optimizer).__name__,
)
def test_every_part_comes_back_with_its_arguments(backend, tmp_path, optimizer):
    model = build(optimizer)
    model.save(tmp_path / "m")
    loaded = Model.load(tmp_path / "m")
    assert type(loaded.optimizer) is type(optimizer)
    assert vars(loaded.optimizer) == vars(optimizer)
    assert (optimizer.iterations, optimizer.current_learning_rate) != (0, optimizer.learning_rate)
    assert [type(layer) for layer in loaded.layers] == [type(layer) for layer in model.layers]
    assert type(loaded.loss) is Loss_CategoricalCrossentropy
    assert type(loaded.accuracy) is Accuracy_Categorical
    dense = loaded.layers[0]
    assert (dense.weight_regularizer_l1, dense.weight_regularizer_l2) == (1e-4, 5e-4)
    assert (dense.bias_regularizer_l1, dense.bias_regularizer_l2) == (1e-5, 2e-5)


def test_a_model_without_parts_and_without_parameters(backend, tmp_path):
    model = Model()
    model.add(Activation_Softmax())
    model.save(tmp_path / "m")  # not finalized: a file holds what has been added
    loaded = Model.load(tmp_path / "m")
    assert (loaded.loss, loaded.optimizer, loaded.accuracy) == (None, None, None)
    np.testing.assert_allclose(backend.to_numpy(loaded.predict([[0.0, 0.0]])), [[0.5, 0.5]])


def test_save_of_300_classes_and_one_neuron(backend, tmp_path):
    model = Model()
    model.add(Layer_Dense(1, 1))
    model.add(Layer_Dense(1, 300))
    model.save(tmp_path / "m")
    assert bits(Model.load(tmp_path / "m")) == bits(model)


@pytest.mark.parametrize("number", [np.float32(0.25), np.float64(0.25), np.int64(1)], ids=repr)
def test_numpy_numbers_are_saved(backend, tmp_path, number):
    build(Optimizer_Adam(number)).save(tmp_path / "m")
    assert Model.load(tmp_path / "m").optimizer.learning_rate == number


# ---- what stands in the file ----


def test_any_safetensors_reader_reads_it(backend, tmp_path):
    model = build()
    model.save(tmp_path / "m")
    tensors = load_file(tmp_path / "m")
    arrays = ("weights", "biases")
    arrays += ("weight_momentums", "weight_cache", "bias_momentums", "bias_cache")
    assert set(tensors) == {f"{number}.{name}" for number in (0, 2) for name in arrays}
    for number in (0, 2):
        for name in arrays:
            values = tensors[f"{number}.{name}"]
            assert values.dtype == backend.dtype
            held = backend.to_numpy(getattr(model.layers[number], name))
            np.testing.assert_array_equal(values, held)
    assert metadata(tmp_path / "m").keys() == {"nnfs_gpu"}
    document = architecture(tmp_path / "m")
    assert document.pop("sha256") == seal(document, tensors)
    assert document == {
        "format_version": 2,
        "kind": "model",
        "random": None,
        "state": {
            "layers": [{}, {}, {}, {}],
            "loss": {},
            "optimizer": {
                "iterations": 3,
                "current_learning_rate": model.optimizer.current_learning_rate,
            },
            "accuracy": {},
        },
        "dtype": backend.dtype.name,
        "layers": [
            {
                "class": "Layer_Dense",
                "n_inputs": 2,
                "n_neurons": 4,
                "weight_regularizer_l1": 1e-4,
                "weight_regularizer_l2": 5e-4,
                "bias_regularizer_l1": 1e-5,
                "bias_regularizer_l2": 2e-5,
            },
            {"class": "Activation_ReLU"},
            {
                "class": "Layer_Dense",
                "n_inputs": 4,
                "n_neurons": 3,
                "weight_regularizer_l1": 0,
                "weight_regularizer_l2": 0,
                "bias_regularizer_l1": 0,
                "bias_regularizer_l2": 0,
            },
            {"class": "Activation_Softmax"},
        ],
        "loss": {"class": "Loss_CategoricalCrossentropy"},
        "optimizer": {
            "class": "Optimizer_Adam",
            "learning_rate": 0.05,
            "decay": 5e-7,
            "epsilon": 1e-8,
            "beta_1": 0.8,
            "beta_2": 0.99,
        },
        "accuracy": {"class": "Accuracy_Categorical", "binary": False},
    }
    content = (tmp_path / "m").read_bytes()
    assert b"pickle" not in content
    assert b"__main__" not in content


def test_the_same_model_gives_the_same_bytes(backend, tmp_path):
    for name in "ab":
        build().save(tmp_path / name)
        build().save_parameters(tmp_path / f"{name} parameters")
    Model.load(tmp_path / "a").save(tmp_path / "again")
    whole = (tmp_path / "a").read_bytes()
    assert whole == (tmp_path / "b").read_bytes() == (tmp_path / "again").read_bytes()
    parameters = (tmp_path / "a parameters").read_bytes()
    assert parameters == (tmp_path / "b parameters").read_bytes() != whole


def test_load_draws_no_random_numbers(tmp_path):
    use_backend("numpy")
    file = tmp_path / "m"
    build().save(file)
    np.random.seed(9)
    np.random.randn()  # leaves half a pair behind: the whole state counts
    before = np.random.get_state(legacy=False)
    Model.load(file)
    np.testing.assert_equal(np.random.get_state(legacy=False), before)
    rewrite(file, document=architecture(file) | {"loss": {"class": "Unknown"}})
    refused(file)
    np.testing.assert_equal(np.random.get_state(legacy=False), before)
