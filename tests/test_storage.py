"""Model files: bit-exact, readable by any safetensors reader, whole or not at all.

Proves the round trip on every backend and dtype and between them, what stands in the file,
that loading runs nothing of the file's own and draws no random numbers, that every damage to
a file gives one ModelFileError, and that a failed save leaves the old file and nothing else.
"""

import json
import os
import stat
import struct

import numpy as np
import pytest
from helpers import DTYPES
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from nnfs_gpu import (
    Accuracy_Categorical,
    Activation_ReLU,
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
from nnfs_gpu.storage import ModelFileError, write_atomically

X = np.random.RandomState(4).randn(20, 2)
Y = np.arange(20) % 3


@pytest.fixture
def backend(backend):
    """Every backend and dtype in turn, made the default that objects are constructed with."""
    use_backend(backend)
    return backend


def build(optimizer=None):
    """A trained 2-4-3 classifier, so that no parameter is a round number."""
    np.random.seed(6)
    model = Model()
    for layer in (
        Layer_Dense(2, 4, 1e-4, 5e-4, 1e-5, 2e-5),
        Activation_ReLU(),
        Layer_Dense(4, 3),
        Activation_Softmax(),
    ):
        model.add(layer)
    model.set(
        loss=Loss_CategoricalCrossentropy(),
        optimizer=optimizer or Optimizer_Adam(0.05, 5e-7, 1e-8, 0.8, 0.99),
        accuracy=Accuracy_Categorical(),
    )
    model.finalize()
    model.train(X, Y, epochs=3, print_every=None)
    return model


def bits(model):
    to_numpy = model.backend.to_numpy
    return [to_numpy(a).tobytes() for pair in model.get_parameters() for a in pair]


@pytest.fixture
def file(tmp_path):
    """A file that a float32 NumPy model wrote, and its metadata and tensors."""
    use_backend("numpy", dtype="float32")
    path = tmp_path / "model.safetensors"
    build().save(path)
    return path


def metadata(path):
    with safe_open(path, framework="numpy") as opened:
        return opened.metadata()


def rewrite(path, *, tensors=None, **changes):
    """Write `path` anew with other tensors or metadata; None leaves a key out."""
    new = {key: value for key, value in (metadata(path) | changes).items() if value is not None}
    new = {
        key: value if isinstance(value, str) else json.dumps(value) for key, value in new.items()
    }
    tensors = load_file(path) if tensors is None else tensors
    save_file(tensors, path, new or None)


def architecture(path):
    return json.loads(metadata(path)["architecture"])


def refused(path, message=None):
    """Loading raises ModelFileError that names the file; the default backend stays."""
    before = get_backend()
    with pytest.raises(ModelFileError, match=message) as caught:
        Model.load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    assert get_backend() is before


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
    kept = {key: value for key, value in vars(optimizer).items() if key != "iterations"}
    kept["current_learning_rate"] = optimizer.learning_rate
    assert {key: getattr(loaded.optimizer, key) for key in kept} == kept
    assert [type(layer) for layer in loaded.layers] == [type(layer) for layer in model.layers]
    assert type(loaded.loss) is Loss_CategoricalCrossentropy
    assert type(loaded.accuracy) is Accuracy_Categorical
    dense = loaded.layers[0]
    assert (dense.weight_regularizer_l1, dense.weight_regularizer_l2) == (1e-4, 5e-4)
    assert (dense.bias_regularizer_l1, dense.bias_regularizer_l2) == (1e-5, 2e-5)


def test_a_loaded_model_trains_on(backend, tmp_path):
    model = build(Optimizer_SGD(0.3))  # no state beside the parameters
    model.save(tmp_path / "m")
    loaded = Model.load(tmp_path / "m")
    for one in (model, loaded):
        one.train(X, Y, epochs=3, print_every=None)
    assert bits(loaded) == bits(model)
    again = Model.load(tmp_path / "m")
    assert bits(again) != bits(loaded)  # training did not write into the file


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
    assert set(tensors) == {"0.weights", "0.biases", "2.weights", "2.biases"}
    for number in (0, 2):
        for name in ("weights", "biases"):
            values = tensors[f"{number}.{name}"]
            assert values.dtype == backend.dtype
            held = backend.to_numpy(getattr(model.layers[number], name))
            np.testing.assert_array_equal(values, held)
    assert metadata(tmp_path / "m").keys() == {
        "format",
        "format_version",
        "architecture",
        "sha256",
    }
    assert metadata(tmp_path / "m")["format"] == "nnfs_gpu"
    assert architecture(tmp_path / "m") == {
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


def test_the_same_model_gives_the_same_parameters_in_the_file(backend, tmp_path):
    for name in "ab":
        build().save(tmp_path / name)
    a, b = (load_file(tmp_path / name) for name in "ab")
    assert {key: value.tobytes() for key, value in a.items()} == {
        key: value.tobytes() for key, value in b.items()
    }


def test_load_draws_no_random_numbers(file):
    np.random.seed(9)
    np.random.randn()  # leaves half a pair behind: the whole state counts
    before = np.random.get_state(legacy=False)
    Model.load(file)
    np.testing.assert_equal(np.random.get_state(legacy=False), before)
    rewrite(file, architecture=architecture(file) | {"loss": {"class": "Unknown"}})
    refused(file)
    np.testing.assert_equal(np.random.get_state(legacy=False), before)


# ---- files that are no models, or damaged ----


def test_every_truncation_is_refused(file, tmp_path):
    whole = file.read_bytes()
    header = 8 + struct.unpack("<Q", whole[:8])[0]
    lengths = {0, 1, 7, 8, 9, 100, header - 1, header, header + 1, len(whole) - 4, len(whole) - 1}
    for length in sorted(lengths | set(range(0, len(whole), 97))):
        file.write_bytes(whole[:length])
        refused(file, "not a readable safetensors file")


@pytest.mark.parametrize("more", [b"\0", b"more bytes"])
def test_bytes_after_the_end_are_refused(file, more):
    file.write_bytes(file.read_bytes() + more)
    refused(file, "not a readable safetensors file")


def test_a_flipped_bit_in_the_header_is_an_error_or_another_valid_number(file):
    """Whatever bit flips: ModelFileError, or a number of the architecture has changed."""
    whole = file.read_bytes()
    size = struct.unpack("<Q", whole[:8])[0]
    rng = np.random.RandomState(1)
    results = []
    for position in [*range(8), *range(8, 8 + size, 3)]:
        damaged = bytearray(whole)
        damaged[position] ^= 1 << rng.randint(8)
        file.write_bytes(damaged)
        try:
            Model.load(file)
        except ModelFileError:
            results.append("refused")
        else:
            assert whole[position : position + 1] in b"0123456789.e-", whole[position - 9 :][:20]
            results.append("loaded")
    assert results.count("refused") > 0.8 * len(results)


def test_a_flipped_bit_in_a_parameter_is_refused(file):
    whole = bytearray(file.read_bytes())
    whole[-2] ^= 0x40
    file.write_bytes(whole)
    refused(file)


@pytest.mark.parametrize(
    "content",
    [b"", b"\0" * 8, b"\0" * 1000, b"\xff" * 100, b"{}", b"PK\x03\x04", b"not a model\n" * 9],
    ids=["empty", "8 zeros", "zeros", "ones", "json", "zip", "text"],
)
def test_files_of_other_kinds(tmp_path, content):
    use_backend("numpy")
    (tmp_path / "m").write_bytes(content)
    refused(tmp_path / "m", "not a readable safetensors file")


def test_a_pickle_is_not_executed(tmp_path):
    import pickle

    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "executed"),))

    (tmp_path / "m").write_bytes(pickle.dumps(Trap()))
    refused(tmp_path / "m", "not a readable safetensors file")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": None}, "got format None version '1', expected 'nnfs_gpu' version '1'"),
        ({"format": "pt"}, "got format 'pt' version '1', expected 'nnfs_gpu'"),
        ({"format_version": "2"}, "got format 'nnfs_gpu' version '2', expected .* version '1'"),
        ({"format_version": None}, "got format 'nnfs_gpu' version None, expected"),
        ({"architecture": None}, "its architecture cannot be read"),
        ({"format": None, "format_version": None, "architecture": None}, "got format None"),
    ],
)
def test_files_of_others_and_of_other_versions(file, changes, message):
    rewrite(file, **changes)
    refused(file, message)


@pytest.mark.parametrize("text", ["", "{", "not json", "[1, 2", "{'a': 1}", "\ufeff{}"])
def test_architecture_that_is_not_json(file, text):
    rewrite(file, architecture=text)
    refused(file, "its architecture cannot be read")


@pytest.mark.parametrize("value", [[], None, 5, "text", {}, True, float("nan")], ids=repr)
def test_architecture_of_another_form(file, value):
    rewrite(file, architecture=json.dumps(value))
    refused(file, "its architecture cannot be built")


def test_architecture_nested_too_deep(file):
    rewrite(file, architecture="[" * 100_000)
    refused(file, "its architecture cannot be read")


def changed(path, change):
    """The file's architecture after `change` has been done to it."""
    new = architecture(path)
    change(new)
    return new


SOFTMAX = {"class": "Activation_Softmax"}
CHANGES = {
    "no layers": lambda a: a.update(layers=[]),
    "layers null": lambda a: a.update(layers=None),
    "layers text": lambda a: a.update(layers="Layer_Dense"),
    "layers numbers": lambda a: a.update(layers=[1, 2]),
    "layer without class": lambda a: a["layers"][1].pop("class"),
    "class list": lambda a: a["layers"][1].update({"class": ["Activation_ReLU"]}),
    "class null": lambda a: a["layers"][1].update({"class": None}),
    "without layers": lambda a: a.pop("layers"),
    "without loss": lambda a: a.pop("loss"),
    "without optimizer": lambda a: a.pop("optimizer"),
    "without dtype": lambda a: a.pop("dtype"),
    "float16": lambda a: a.update(dtype="float16"),
    "complex": lambda a: a.update(dtype="complex128"),
    "dtype text": lambda a: a.update(dtype="single precision"),
    "dtype number": lambda a: a.update(dtype=32),
    "negative penalty": lambda a: a["layers"][0].update(weight_regularizer_l1=-1),
    "text penalty": lambda a: a["layers"][0].update(weight_regularizer_l1="1"),
    "null penalty": lambda a: a["layers"][0].update(weight_regularizer_l1=None),
    "zero neurons": lambda a: a["layers"][0].update(n_neurons=0),
    "float neurons": lambda a: a["layers"][0].update(n_neurons=4.0),
    "NaN rate": lambda a: a["optimizer"].update(learning_rate=float("nan")),
    "beta 1": lambda a: a["optimizer"].update(beta_1=1),
    "layers do not fit": lambda a: a["layers"][2].update(n_inputs=5),
    "no softmax": lambda a: a["layers"].pop(),
    "without n_inputs": lambda a: a["layers"][0].pop("n_inputs"),
    "optimizer as layer": lambda a: a["layers"].insert(0, a["optimizer"]),
    "beyond any array": lambda a: a["layers"][0].update(n_inputs=10**30),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_architecture_that_cannot_be_built(file, change):
    rewrite(file, architecture=changed(file, change))
    refused(file, "its architecture cannot be built: .")


@pytest.mark.parametrize(
    "name", ["os.system", "eval", "Model", "__import__", "Layer_dense", "", "Optimizer", "object"]
)
@pytest.mark.parametrize("place", ["layers", "loss", "optimizer", "accuracy"])
def test_classes_that_a_file_may_not_name(file, name, place):
    def change(a):
        (a["layers"][1] if place == "layers" else a[place])["class"] = name

    rewrite(file, architecture=changed(file, change))
    refused(file, "its architecture cannot be built: unknown class '" + name)


@pytest.mark.parametrize("place", [0, 1, 2, "loss", "optimizer", "accuracy"])
@pytest.mark.parametrize("name", ["backend", "self", "weights", "forward", "__class__", "cls"])
def test_arguments_that_no_constructor_has(file, place, name):
    def change(a):
        (a["layers"][place] if isinstance(place, int) else a[place])[name] = "x"

    rewrite(file, architecture=changed(file, change))
    refused(file, "its architecture cannot be built: .*argument")


def test_sizes_that_the_file_does_not_hold_are_not_allocated(file):
    rewrite(
        file,
        architecture=changed(
            file, lambda a: a["layers"][0].update(n_inputs=10**6, n_neurons=10**7)
        ),
    )
    refused(file)


@pytest.mark.parametrize("place", ["loss", "optimizer", "accuracy"])
def test_parts_of_another_kind(file, place):
    rewrite(file, architecture=changed(file, lambda a: a.update({place: SOFTMAX})))
    refused(file, "its architecture cannot be built")


def test_architecture_without_a_dtype(file):
    rewrite(file, architecture=changed(file, lambda a: a.update(dtype=None)))
    refused(file, "its architecture cannot be built")


TENSORS = {
    "missing": lambda t: t.pop("0.biases"),
    "more": lambda t: t.update({"4.weights": np.zeros((3, 3), np.float32)}),
    "other name": lambda t: t.update({"weights": t.pop("0.weights")}),
    "name without a number": lambda t: t.update({"x": np.zeros(1, np.float32)}),
    "of an activation": lambda t: t.update({"1.weights": np.zeros((4, 4), np.float32)}),
    "transposed": lambda t: t.update({"0.weights": t["0.weights"].T.copy()}),
    "flat biases": lambda t: t.update({"0.biases": t["0.biases"].reshape(-1)}),
    "wider": lambda t: t.update({"2.weights": np.zeros((4, 4), np.float32)}),
    "empty": lambda t: t.update({"0.weights": np.zeros((2, 0), np.float32)}),
    "none": dict.clear,
}


@pytest.mark.parametrize("change", TENSORS.values(), ids=TENSORS)
def test_parameters_of_another_shape(file, change):
    tensors = load_file(file)
    change(tensors)
    rewrite(file, tensors=tensors)
    refused(file, "holds parameters .*, but its architecture needs .*'0.weights': ..2, 4")


@pytest.mark.parametrize("kind", ["float64", "float16", "int64", "bool"])
def test_parameters_of_another_dtype(file, kind):
    rewrite(file, tensors={key: a.astype(kind) for key, a in load_file(file).items()})
    refused(file, kind)


def test_files_that_are_not_there(tmp_path):
    use_backend("numpy")
    for path in (tmp_path / "none", tmp_path / "no" / "folder", tmp_path, str(tmp_path / "text")):
        with pytest.raises(FileNotFoundError, match=f"{path}: no such model file"):
            Model.load(path)


# ---- saving: whole or not at all ----


def test_text_paths_and_overwriting(file):
    model = Model.load(file)
    model.layers[0].biases = np.ones((1, 4))
    model.save(str(file))
    assert np.asarray(Model.load(str(file)).layers[0].biases).tolist() == [[1, 1, 1, 1]]
    assert os.listdir(file.parent) == [file.name]


@pytest.mark.parametrize("broken", ["replace", "fsync", "fdopen", "chmod"])
def test_a_failed_save_leaves_the_old_file_and_nothing_else(file, monkeypatch, broken):
    model = Model.load(file)
    model.layers[0].biases = np.ones((1, 4))
    before = file.read_bytes()

    def fail(*arguments, **options):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, broken, fail)
    with pytest.raises(OSError, match="no space left"):
        model.save(file)
    monkeypatch.undo()
    assert file.read_bytes() == before
    assert os.listdir(file.parent) == [file.name]
    model.save(file)
    assert file.read_bytes() != before


def test_an_interrupted_save_leaves_the_old_file_and_nothing_else(file, monkeypatch):
    model, before = Model.load(file), file.read_bytes()

    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        model.save(file)
    assert file.read_bytes() == before
    assert os.listdir(file.parent) == [file.name]


def test_folders_that_cannot_be_written(file):
    """Under a file, in no folder, and where a folder stands: root may write elsewhere."""
    model = Model.load(file)
    (file.parent / "folder").mkdir()
    for path, error in (
        (file / "under", NotADirectoryError),
        (file.parent / "none" / "m", FileNotFoundError),
        (file.parent / "folder", IsADirectoryError),
    ):
        with pytest.raises(error):
            model.save(path)
    assert sorted(os.listdir(file.parent)) == ["folder", file.name]
    assert os.listdir(file.parent / "folder") == []


def test_what_is_no_plain_file_is_not_replaced(file):
    model = Model.load(file)
    pipe = file.parent / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OSError, match="pipe"):
        model.save(pipe)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


class Layer_Own(Layer_Dense):  # noqa: N801 - named as the book's
    """A layer that no file can name."""


def test_a_layer_that_a_file_cannot_name_writes_nothing(backend, tmp_path):
    model = Model()
    model.add(Layer_Own(2, 3))
    with pytest.raises(TypeError, match=r"cannot hold a Layer_Own; it can hold Layer_Dense, "):
        model.save(tmp_path / "m")
    model.layers = [type("Layer_Dense", (Layer_Dense,), {})(2, 3)]  # another of the same name
    with pytest.raises(TypeError, match="cannot hold a Layer_Dense"):
        model.save(tmp_path / "m")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_permissions_follow_the_umask(file, umask):
    model = Model.load(file)
    before = os.umask(umask)
    try:
        model.save(file.parent / "new")
        assert os.umask(umask) == umask  # left as it was
    finally:
        os.umask(before)
    assert stat.S_IMODE((file.parent / "new").stat().st_mode) == 0o666 & ~umask


def test_write_atomically_is_seen_whole_by_a_reader(tmp_path, monkeypatch):
    """The old content is there until the new is complete, under its own name."""
    path, seen = tmp_path / "f", []
    write_atomically(path, b"old")
    replace = os.replace

    def watch(source, target):
        with open(source, "rb") as new:
            seen.append((path.read_bytes(), new.read()))
        replace(source, target)

    monkeypatch.setattr(os, "replace", watch)
    write_atomically(path, b"new")
    assert seen == [(b"old", b"new")]
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["f"]


def test_a_path_without_a_folder_is_in_the_current_one(backend, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    build().save("m")
    assert os.listdir() == ["m"]
    assert len(Model.load("m").layers) == 4
