"""Parameters alone: `save_parameters` and `load_parameters`, checked before anything changes."""

import json

import numpy as np
import pytest
from model_files import architecture, bits, build, refused, rewrite
from safetensors.numpy import load_file

from nnfs_gpu import Activation_Softmax, Layer_Dense, Model, Optimizer_SGD, use_backend

pytestmark = pytest.mark.default_backend


def other():
    """A model of the same form with other parameters."""
    model = build(Optimizer_SGD(3.0))
    for layer in model.trainable_layers:
        layer.weights = np.ones(layer.weights.shape)
    return model


def test_round_trip(backend, tmp_path):
    model = build()
    model.save_parameters(tmp_path / "p")
    assert set(load_file(tmp_path / "p")) == {"0.weights", "0.biases", "2.weights", "2.biases"}
    document = architecture(tmp_path / "p")
    assert (document["kind"], document["dtype"]) == ("parameters", backend.dtype.name)
    loaded = other()
    assert bits(loaded) != bits(model)
    loaded.load_parameters(str(tmp_path / "p"))
    assert bits(loaded) == bits(model)
    loaded.layers[0].weights[:] = 0
    again = other()
    again.load_parameters(tmp_path / "p")
    assert bits(again) == bits(model)


def test_from_a_model_file_and_by_the_order_of_the_layers(backend, tmp_path):
    """The first dense layer takes the first, whatever stands between them."""
    model = build()
    model.save(tmp_path / "m")
    loaded = Model()
    for layer in (Layer_Dense(2, 4), Layer_Dense(4, 3), Activation_Softmax()):
        loaded.add(layer)
    loaded.load_parameters(tmp_path / "m")  # not finalized: the layers are there
    assert bits(loaded) == bits(model)


def test_a_file_of_parameters_is_no_model(tmp_path):
    use_backend("numpy")
    build().save_parameters(tmp_path / "p")
    refused(tmp_path / "p", "holds 'parameters', expected a model; use Model.load_parameters")


def test_from_another_backend(backend_name, dtype, tmp_path):
    for writer, reader in ((backend_name, "numpy"), ("numpy", backend_name)):
        use_backend(writer, dtype=dtype)
        model = build()
        model.save_parameters(tmp_path / "p")
        use_backend(reader, dtype=dtype)
        loaded = other()
        loaded.load_parameters(tmp_path / "p")
        assert bits(loaded) == bits(model)


TENSORS = {
    "missing": lambda t: t.pop("0.biases"),
    "one layer": lambda t: [t.pop("2.weights"), t.pop("2.biases")],
    "one more layer": lambda t: t.update({"4.weights": np.zeros((3, 3), np.float32)}),
    "other names": lambda t: t.update({"weights": t.pop("0.weights")}),
    "no number": lambda t: t.update({"x.weights": t.pop("0.weights")}),
    "transposed": lambda t: t.update({"0.weights": t["0.weights"].T.copy()}),
    "flat": lambda t: t.update({"0.biases": t["0.biases"].reshape(-1)}),
    "float64": lambda t: t.update({"2.weights": t["2.weights"].astype(np.float64)}),
    "none": dict.clear,
}


@pytest.mark.parametrize("change", TENSORS.values(), ids=TENSORS)
def test_what_does_not_fit_changes_nothing(tmp_path, change):
    use_backend("numpy", dtype="float32")
    build().save_parameters(tmp_path / "p")
    tensors = load_file(tmp_path / "p")
    change(tensors)
    rewrite(tmp_path / "p", tensors=tensors)
    model = other()
    before = bits(model)
    refused(
        tmp_path / "p", "holds weights and biases .*, but the model needs", model.load_parameters
    )
    assert bits(model) == before


def test_another_dtype_is_not_converted_without_a_word(tmp_path):
    use_backend("numpy", dtype="float64")
    build().save_parameters(tmp_path / "p")
    use_backend("numpy", dtype="float32")
    model = other()
    refused(tmp_path / "p", r"\(2, 4\) float64.* needs \(2, 4\) float32", model.load_parameters)


@pytest.mark.parametrize("content", [b"", b"\0" * 50, b"text" * 50, json.dumps({}).encode()])
def test_foreign_files(tmp_path, content):
    use_backend("numpy")
    model = other()
    (tmp_path / "p").write_bytes(content)
    refused(tmp_path / "p", "not a readable safetensors file", model.load_parameters)
    with pytest.raises(FileNotFoundError, match="no such model file"):
        model.load_parameters(tmp_path / "none")
