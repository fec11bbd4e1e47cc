"""A header is judged before anything that it promises is read, in little memory.

The files here are as long as they promise where the system can make files with holes, so that
nothing but the judgement stands between the header and gigabytes.
"""

import json
import tracemalloc

import numpy as np
import pytest
from file_damage import join, split
from file_fuzz import callbacks, network, originals, train
from model_files import refused

from nnfs_gpu import Callback, use_backend
from nnfs_gpu.files.tensor_file import MOST_HEADER
from nnfs_gpu.training.checkpoint import FILE

GIGABYTES = 8 << 30
LITTLE = 32 << 20  # bytes


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return originals(tmp_path_factory.mktemp("originals"))


@pytest.fixture
def limited():
    """The test must not hold more than `LITTLE` at any moment."""
    tracemalloc.start()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < LITTLE


def refused_everywhere(path, message):
    """By each way to read the file."""
    use_backend("numpy", dtype="float32")
    refused(path, message)
    refused(path, message, network().load_parameters)
    refused(path, message, lambda path: train(network(), path.parent, callbacks()))


def with_length(path, start, length=GIGABYTES):
    with open(path, "wb") as file:
        file.write(start)
        file.truncate(length)


def test_a_length_of_eight_gigabytes(tmp_path, limited):
    path = tmp_path / FILE
    for length in (GIGABYTES - 8, GIGABYTES, 2**63, 2**64 - 1, MOST_HEADER + 1):
        with_length(path, length.to_bytes(8, "little") + b'{"')
        refused_everywhere(path, "promises a header of .* bytes, expected at most 16777216")


def test_a_header_that_the_file_does_not_have(tmp_path, limited):
    path = tmp_path / FILE
    path.write_bytes((10**6).to_bytes(8, "little") + b'{"a":1}')
    refused_everywhere(path, "promises a header of 1000000 bytes, expected 7")
    for length in range(8):
        path.write_bytes(bytes(length))
        refused_everywhere(path, f"it has {length} bytes, expected 8 and a header")


def test_gigabytes_that_no_document_names(files, tmp_path, limited):
    """A tensor that the file has, of a name that the model has not; all offsets are right."""
    path = tmp_path / FILE
    for name in ("0.weights", "x", "5.weights"):
        header, _, rest = split(files["checkpoint False"])
        more = GIGABYTES - GIGABYTES % 4
        header.pop(name, None)
        header[name] = {"dtype": "F32", "shape": [more // 4], "data_offsets": [0, more]}
        data = join(header, rest)
        used = 8 + int.from_bytes(data[:8], "little")
        held = sum(
            e["data_offsets"][1] - e["data_offsets"][0] for k, e in header.items() if k[0] != "_"
        )
        with_length(path, data[:used], used + held)
        refused_everywhere(path, "holds (parameters|weights)|beside them|begins at byte")


def test_layers_of_eight_gigabytes_that_are_another_model_s(files, tmp_path, limited):
    """Whole and consistent, but for another model: parameters and resume look first."""
    path, (header, document, _) = tmp_path / FILE, split(files["checkpoint False"])
    sizes = 2**15, 2**16
    document["layers"][0] |= {"n_inputs": sizes[0], "n_neurons": sizes[1]}
    shapes = {"0.weights": sizes, "0.biases": (1, sizes[1]), "random.key": (624,)}
    shapes |= {"3.weights": (4, 3), "3.biases": (1, 3)}
    new, at = {"__metadata__": header["__metadata__"]}, 0
    for name, shape in shapes.items():
        size = 4 * int(np.prod(shape, dtype=np.int64))
        kind = "U32" if name == "random.key" else "F32"
        new[name] = {"dtype": kind, "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    document["training"]["callbacks"], document["training"]["epochs_done"] = [], 0
    data = join(new, b"", document)
    with_length(path, data, len(data) + at)
    use_backend("numpy", dtype="float32")
    refused(path, r"holds weights .*\(32768, 65536\)", network().load_parameters)
    refused(path, "no whole checkpoint", lambda path: train(network(), tmp_path, callbacks()))


# ---- what a header may not hold ----
HEADERS = {
    "metadata null": lambda h: h.update(__metadata__=None),
    "metadata list": lambda h: h.update(__metadata__=[]),
    "metadata text": lambda h: h.update(__metadata__="nnfs_gpu"),
    "metadata number": lambda h: h.update(__metadata__=10**400),
    "metadata of numbers": lambda h: h["__metadata__"].update(nnfs_gpu=2),
    "metadata of null": lambda h: h["__metadata__"].update(nnfs_gpu=None),
    "entry null": lambda h: h.update({"0.weights": None}),
    "entry list": lambda h: h.update({"0.weights": [1]}),
    "entry without dtype": lambda h: h["0.weights"].pop("dtype"),
    "entry with more": lambda h: h["0.weights"].update(more=1),
    "dtype null": lambda h: h["0.weights"].update(dtype=None),
    "dtype list": lambda h: h["0.weights"].update(dtype=["F32"]),
    "dtype that NumPy lacks": lambda h: h["0.weights"].update(dtype="BF16"),
    "shape text": lambda h: h["0.weights"].update(shape="24"),
    "shape of texts": lambda h: h["0.weights"].update(shape=["2", "4"]),
    "shape true": lambda h: h["0.weights"].update(shape=[True, 8]),
    "shape negative": lambda h: h["0.weights"].update(shape=[-2, -4]),
    "shape fraction": lambda h: h["0.weights"].update(shape=[2.0, 4.0]),
    "shape 1e400": lambda h: h["0.weights"].update(shape=[1e400, 0]),
    "shape NaN": lambda h: h["0.weights"].update(shape=[float("nan")]),
    "shape 10**400": lambda h: h["0.weights"].update(shape=[10**400]),
    "shape 10**400 and 0": lambda h: h["0.weights"].update(shape=[10**400, 0]),
    "shape of 100,000 axes": lambda h: h["0.weights"].update(shape=[2**62] * 10**5),
    "offsets 10**400": lambda h: h["0.weights"].update(data_offsets=[0, 10**400]),
    "offsets null": lambda h: h["0.weights"].update(data_offsets=None),
    "offsets turned": lambda h: h["0.weights"]["data_offsets"].reverse(),
    "offsets overlap": lambda h: h["0.weights"].update(data_offsets=h["0.biases"]["data_offsets"]),
}


@pytest.mark.parametrize("change", HEADERS.values(), ids=HEADERS)
def test_a_header_of_another_form(files, tmp_path, limited, change):
    header, _, rest = split(files["checkpoint False"])
    change(header)
    (tmp_path / FILE).write_bytes(join(header, rest))
    refused_everywhere(tmp_path / FILE, "not a readable safetensors file|as in a file that nnfs")


@pytest.mark.parametrize(
    "text",
    [
        "null",
        "[]",
        '"text"',
        "{",
        "{}",
        '{"__metadata__": {}}',
        "[" * 100_000,
        '{"__metadata__": ' + "[" * 100_000,
        '{"a": ' + "1" * 5000 + "}",
        '{"a": 1, "a": 2}',
        '{"__metadata__": {"nnfs_gpu": "{}", "nnfs_gpu": "{}"}}',
    ],
    ids=lambda text: text[:30],
)
def test_a_header_that_is_no_object(tmp_path, limited, text):
    (tmp_path / FILE).write_bytes(len(text).to_bytes(8, "little") + text.encode())
    refused_everywhere(tmp_path / FILE, "not a readable safetensors file|as in a file that nnfs")


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[:-1] + ', "kind": "model"}',
        lambda text: text.replace('"iterations": 6', '"iterations": 6, "iterations": 7'),
        lambda text: text[:-1] + ', "more": ' + "[" * 5000 + "]" * 5000 + "}",
        lambda text: text[:-1] + ', "more": ' + "1" * 5000 + "}",
    ],
    ids=["twice", "twice inside", "deep", "5,000 digits"],
)
def test_a_document_that_two_readers_could_take_for_two(files, tmp_path, change):
    header, document, rest = split(files["model False"])
    document["state"]["optimizer"]["iterations"] = 6
    text = json.dumps(document)
    assert change(text) != text
    header["__metadata__"] = {"nnfs_gpu": change(text)}
    (tmp_path / "m").write_bytes(join(header, rest))
    use_backend("numpy", dtype="float32")
    refused(tmp_path / "m", "its architecture cannot be read")


# ---- what is written can be read ----
class Long(Callback):
    """Keeps a long list of numbers."""

    def get_state(self):
        return {"numbers": [0.123456789] * (2 << 20)}


def test_a_state_that_makes_the_header_too_long_is_refused_when_it_is_written(tmp_path):
    use_backend("numpy", dtype="float32")
    with pytest.raises(ValueError, match=r"keep long lists .* as NumPy arrays"):
        train(network(), tmp_path / "run", [Long()])
    assert not (tmp_path / "run").exists()
