"""`Model.to_onnx`: another runtime computes what `predict` computes, from whole files alone.

onnxruntime runs every activation and every end of a network in both dtypes; what cannot be written
is refused and leaves no file.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from helpers import assert_close, summing
from networks import ACTIVATIONS, ENDS, dense_model, dropout, model_of

from nnfs_gpu import (
    Activation_LeakyReLU,
    Activation_Linear,
    Activation_ReLU,
    Activation_Softmax,
    Layer_Dense,
    Layer_Dropout,
    Model,
    use_backend,
)
from nnfs_gpu.files import onnx_file
from nnfs_gpu.tables.preprocessing import Preprocessing
from nnfs_gpu.tables.reading import read_table

for package in ("onnx", "onnxruntime"):
    if importlib.util.find_spec(package) is None:
        assert not os.environ.get("CI"), f"CI must have {package}: it is in the extra `test`"
onnx = pytest.importorskip("onnx", reason="onnx is not installed")
runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")


@pytest.fixture(autouse=True)
def _numpy():
    use_backend("numpy", dtype="float32", precise_dot=False, book_random=False)


def session(path):
    """The network in the file, as onnxruntime runs it on a CPU."""
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    return runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def outputs(path, X):
    return session(path).run(None, {"X": X})[0]


def metadata(path):
    return {one.key: one.value for one in onnx.load(path).metadata_props}


def rows(dtype, count=9, features=4):
    """Data with zeros, large and small numbers."""
    X = np.random.RandomState(3).randn(count, features)
    X[0], X[-1] = 0.0, [30.0, -30.0, 1e-30, -100.0][:features]
    return X.astype(dtype)


# ---- the same numbers ----
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_another_runtime_computes_the_same(activation, end, dtype, tmp_path):
    use_backend("numpy", dtype=dtype)
    loss, last, accuracy = ENDS[end]
    model = dense_model(
        *(4, 7, 6, 3),
        hidden=(ACTIVATIONS[activation], dropout(0.3, seed=1)),
        last=last,
        loss=loss(),
        accuracy=accuracy(),
    )
    model.set_parameters([(100 * w, b + 0.1) for w, b in model.get_parameters()])
    model.to_onnx(tmp_path / "model.onnx")
    X = rows(dtype)
    expected = model.predict(X)
    terms = sum(w.shape[0] for w, _ in model.get_parameters())
    assert_close(
        outputs(tmp_path / "model.onnx", X),
        expected,
        dtype,
        ulps=summing(terms),
        magnitude=_magnitude(model, X),
        what=f"{activation}, {end}",
    )


def _magnitude(model, X):
    """What is added up in the last product, and at least 1: the size of a probability."""
    values = np.abs(X).astype(np.float64)
    for w, b in model.get_parameters():
        values = values @ np.abs(w) + np.abs(b)
    return np.maximum(values, 1)


def test_a_slope_of_leaky_relu_keeps_its_digits(tmp_path):
    """0.1 as a float32 is 0.10000000149."""
    use_backend("numpy", dtype="float64")
    model = model_of(Activation_LeakyReLU(0.1), Layer_Dense(1, 1), Activation_Linear())
    model.set_parameters([([[1.0]], [[0.0]])])
    model.to_onnx(tmp_path / "m.onnx")
    assert outputs(tmp_path / "m.onnx", np.array([[-1.0], [2.0]])).tolist() == [[-0.1], [2.0]]


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_after_training_on_any_number_of_rows(backend, tmp_path):
    use_backend(backend)
    model = dense_model(2, 16, 3, hidden=(Activation_ReLU, dropout(0.1, seed=2)))
    X = np.random.RandomState(0).randn(60, 2).astype(np.float32)
    model.train(X, np.arange(60) % 3, epochs=5, batch_size=20, print_every=None)
    model.to_onnx(tmp_path / "m.onnx")
    ran = session(tmp_path / "m.onnx")
    assert [one.shape for one in ran.get_inputs()] == [["N", 2]]
    assert [one.shape for one in ran.get_outputs()] == [["N", 3]]
    for count in (1, 2, 59):
        found = ran.run(["output"], {"X": X[:count]})[0]
        assert_close(found, np.asarray(model.predict(X[:count])), "float32", magnitude=1.0)


def test_a_network_of_nothing_but_what_is_left_out(tmp_path):
    model = Model()
    for layer in (Layer_Dropout(0.5), Activation_Linear()):
        model.add(layer)
    model.finalize()
    model.to_onnx(tmp_path / "m.onnx")
    X = rows(np.float32)
    np.testing.assert_array_equal(outputs(tmp_path / "m.onnx", X), X)


def test_without_loss_and_optimizer(tmp_path):
    model = Model()
    for layer in (Layer_Dense(2, 3), Activation_Softmax()):
        model.add(layer)
    with pytest.raises(RuntimeError, match=r"Model\.to_onnx: call finalize\(\)"):
        model.to_onnx(tmp_path / "m.onnx")
    model.finalize()
    model.to_onnx(tmp_path / "m.onnx")
    assert_close(
        outputs(tmp_path / "m.onnx", rows(np.float32, features=2)),
        model.predict(rows(np.float32, features=2)),
        "float32",
    )


# ---- the file ----
def test_the_file_says_what_it_is(tmp_path):
    model = dense_model(4, 5, 3)
    model.to_onnx(tmp_path / "m.onnx", class_names=np.array(["setosa", "versicolor", "ž"]))
    written = onnx.load(tmp_path / "m.onnx")
    assert [node.op_type for node in written.graph.node] == ["Gemm", "Relu", "Gemm", "Softmax"]
    assert written.opset_import[0].version == 16
    found = metadata(tmp_path / "m.onnx")
    assert json.loads(found["class_names"]) == ["setosa", "versicolor", "ž"]
    assert found["nnfs_gpu_version"]
    assert json.loads(
        session(tmp_path / "m.onnx").get_modelmeta().custom_metadata_map["class_names"]
    )
    model.to_onnx(tmp_path / "plain.onnx")
    assert metadata(tmp_path / "plain.onnx").keys() == {"nnfs_gpu_version"}


def test_a_model_of_a_table_tells_its_classes_and_how_its_columns_were_prepared(tmp_path):
    (tmp_path / "table.csv").write_text("size,colour,kind\n1,red,a\n3,blue,b\n5,red,b\n")
    made = Preprocessing.fit(read_table(tmp_path / "table.csv"), "kind")
    model = dense_model(3, 4, 2)
    model.preprocessing = made
    model.to_onnx(tmp_path / "m.onnx")
    found = metadata(tmp_path / "m.onnx")
    assert json.loads(found["class_names"]) == ["a", "b"]
    size, colour = json.loads(found["preprocessing"])["features"]
    assert (size["name"], size["mean"]) == ("size", 3.0)
    assert colour["categories"] == ["blue", "red"]
    model.to_onnx(tmp_path / "m.onnx", class_names=["one", "two"])
    assert json.loads(metadata(tmp_path / "m.onnx")["class_names"]) == ["one", "two"]


def test_equal_models_give_equal_bytes(tmp_path):
    for name in ("a", "b"):
        dense_model(4, 5, 3).to_onnx(tmp_path / name, class_names=[1, 2, 3])
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "m.onnx"
    dense_model(4, 5, 3).to_onnx(path)
    before = path.read_bytes()

    def full(_file):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left on device"):
        dense_model(4, 5, 3, seed=2).to_onnx(path)
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["m.onnx"]


def test_a_folder_that_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such folder; make it first"):
        dense_model(4, 5, 3).to_onnx(tmp_path / "nowhere" / "m.onnx")


# ---- what is refused ----
class LayerOfTheBook:
    def forward(self, inputs, training):
        self.output = inputs

    def backward(self, dvalues):
        self.dinputs = dvalues


class DoubledReLU(Activation_ReLU):
    def forward(self, inputs, training=True):
        self.output = 2 * super().forward(inputs, training)
        return self.output


class NamedDense(Layer_Dense):
    """Computes what ours computes."""


@pytest.mark.parametrize("own", [LayerOfTheBook, DoubledReLU])
def test_layers_of_the_users_own_are_refused(own, tmp_path):
    model = model_of(Layer_Dense(4, 3), own(), Layer_Dense(3, 2), Activation_Softmax())
    message = rf"layer 1 is a {own.__name__} of your own, expected Layer_Dense, .*no operator"
    with pytest.raises(TypeError, match=message):
        model.to_onnx(tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_subclass_that_computes_what_ours_computes_is_written(tmp_path):
    model = model_of(NamedDense(4, 3), Activation_Softmax())
    model.to_onnx(tmp_path / "m.onnx")
    X = rows(np.float32)
    assert_close(outputs(tmp_path / "m.onnx", X), model.predict(X), "float32", ulps=8, magnitude=1)


@pytest.mark.parametrize(
    ("names", "error", "message"),
    [
        (["a", "b"], ValueError, "got 2 names, expected 3, one for each output"),
        (["a", "b", "a"], ValueError, "got 'a' twice"),
        ("abc", TypeError, "got 'abc', expected a list"),
        (3, TypeError, "got 3, expected a list"),
        ([1.5, 2.0, 3.0], TypeError, "got 1.5, expected texts or whole numbers"),
        ([None, "a", "b"], TypeError, "got None"),
    ],
)
def test_bad_names_are_refused(names, error, message, tmp_path):
    with pytest.raises(error, match=f"^class_names: {message}"):
        dense_model(4, 5, 3).to_onnx(tmp_path / "m.onnx", class_names=names)
    assert list(tmp_path.iterdir()) == []


def test_more_than_a_file_holds(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_file, "MOST_BYTES", 2**20 + 100)
    with pytest.raises(ValueError, match=r"got \d+ bytes .* less than 2 GiB.*use Model\.save"):
        dense_model(4, 5, 3).to_onnx(tmp_path / "m.onnx")


def test_missing_onnx_is_an_error_with_a_remedy(tmp_path):
    code = (
        "import sys; sys.modules['onnx'] = None\n"
        "from nnfs_gpu import *\n"
        "model = Model(); model.add(Layer_Dense(2, 3)); model.finalize()\n"
        f"try:\n    model.to_onnx({str(tmp_path / 'm.onnx')!r})\n"
        "except ImportError as error:\n    print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"NNFS_GPU_BACKEND": "numpy"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert 'pip install "nnfs-gpu[onnx]"' in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_every_layer_of_the_package_has_its_operator():
    """A class that is added to the vocabulary of files is not forgotten here."""
    from nnfs_gpu.files.vocabulary import PARTS

    kinds = {
        part.make for name, part in PARTS.items() if name.startswith(("Layer_", "Activation_"))
    }
    kinds = {kind for kind in kinds if kind.__module__.startswith("nnfs_gpu.")}
    assert kinds <= onnx_file.OPERATORS.keys()
    assert len(kinds) >= 8
