"""Files that are no models, or damaged: one ModelFileError each, and nothing has changed."""

import json
import os
import struct

import numpy as np
import pytest
from model_files import architecture, refused, rewrite
from safetensors.numpy import load_file, save_file

from nnfs_gpu import (
    Model,
    use_backend,
)


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


def flipped(file, step):
    """The file with one bit of its header flipped, at every `step`th place in turn."""
    whole = file.read_bytes()
    size = struct.unpack("<Q", whole[:8])[0]
    rng = np.random.RandomState(1)
    for position in [*range(8), *range(8, 8 + size, step)]:
        damaged = bytearray(whole)
        damaged[position] ^= 1 << rng.randint(8)
        file.write_bytes(damaged)
        yield whole, position


def test_every_flipped_bit_in_a_header_is_refused(file):
    """The seal covers the architecture, too: no number changes without a word."""
    padding = len(file.read_bytes()) and file.read_bytes().index(b" ", 8 + 1)
    for whole, position in flipped(file, 2):
        assert position < padding or whole[position : position + 1] == b" "
        refused(file)


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
    """More of them: test_book_files.py."""
    import pickle

    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "executed"),))

    (tmp_path / "m").write_bytes(pickle.dumps(Trap()))
    refused(tmp_path / "m", r"it holds the name posix.mkdir; nothing in it was run")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("metadata", [None, {}, {"format": "pt"}, {"nnfs": "{}"}])
def test_files_of_others(file, metadata):
    save_file(load_file(file), file, metadata)
    refused(file, "got the metadata .*, expected 'nnfs_gpu', as in a file that nnfs_gpu wrote")


@pytest.mark.parametrize("version", [1, 3, "2", None, [2]], ids=repr)
def test_a_document_of_another_version(file, version):
    rewrite(file, document=architecture(file) | {"format_version": version})
    refused(file, "got format version .*, expected 2; a newer nnfs_gpu may read it")


@pytest.mark.parametrize("kind", ["parameters", "optimizer", None, 2], ids=repr)
def test_a_document_of_another_kind(file, kind):
    rewrite(file, document=architecture(file) | {"kind": kind})
    refused(file, "holds .*, expected a model; use Model.load_parameters")


def test_an_altered_document_is_refused(file):
    document = architecture(file)
    document["optimizer"]["learning_rate"] = 0.5
    rewrite(file, document=document, sealed=False)
    refused(file, "was altered or damaged: its checksum differs")
    rewrite(
        file, document={key: document[key] for key in document if key != "sha256"}, sealed=False
    )
    refused(file, "was altered")


@pytest.mark.parametrize("text", ["", "{", "not json", "[1, 2", "{'a': 1}", "\ufeff{}"])
def test_architecture_that_is_not_json(file, text):
    rewrite(file, document=text)
    refused(file, "its architecture cannot be read")


@pytest.mark.parametrize("value", [[], None, 5, "text", {}, True, float("nan")], ids=repr)
def test_architecture_of_another_form(file, value):
    rewrite(file, document=json.dumps(value))
    refused(file)


def test_architecture_nested_too_deep(file):
    rewrite(file, document="[" * 100_000)
    refused(file, "its architecture cannot be read")


def test_files_that_are_not_there(tmp_path):
    use_backend("numpy")
    for path in (tmp_path / "none", tmp_path / "no" / "folder", str(tmp_path / "text")):
        with pytest.raises(FileNotFoundError, match=f"{path}: no such model file"):
            Model.load(path)
    with pytest.raises(FileNotFoundError, match=f"{tmp_path}: is a folder, expected a model"):
        Model.load(tmp_path)


@pytest.mark.parametrize("size", [float("inf"), float("nan"), -(10**7), 1.5, "4", None, True])
def test_sizes_that_are_none(file, size):
    """Two sizes whose numbers of weights cancel must not make room for the first either."""
    document = architecture(file)
    document["layers"] = [
        {"class": "Layer_Dense", "n_inputs": 10**7, "n_neurons": 10**7},
        {"class": "Layer_Dense", "n_inputs": size, "n_neurons": 10**7},
    ]
    rewrite(file, document=document)
    refused(file, "its architecture cannot be built: n_inputs: got ")
