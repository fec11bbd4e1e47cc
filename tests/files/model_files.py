"""Model files for the tests of storage: made, opened, changed and sealed again."""

import json

import numpy as np
import pytest
from networks import dense_model
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from nnfs_gpu import (
    Model,
    Optimizer_Adam,
    get_backend,
)
from nnfs_gpu.files.tensor_file import ModelFileError, seal

X = np.random.RandomState(4).randn(20, 2)
Y = np.arange(20) % 3


def build(optimizer=None):
    """A trained 2-4-3 classifier, so that no parameter is a round number."""
    model = dense_model(
        *(2, 4, 3),
        optimizer=optimizer or Optimizer_Adam(0.05, 5e-7, 1e-8, 0.8, 0.99),
        seed=6,
        weight_regularizer_l1=1e-4,
        weight_regularizer_l2=5e-4,
        bias_regularizer_l1=1e-5,
        bias_regularizer_l2=2e-5,
    )
    model.train(X, Y, epochs=3, print_every=None)
    return model


def bits(model):
    """The bytes of all parameters."""
    to_numpy = model.backend.to_numpy
    return [to_numpy(a).tobytes() for pair in model.get_parameters() for a in pair]


def metadata(path):
    """The text entries of a safetensors file."""
    with safe_open(path, framework="numpy") as opened:
        return opened.metadata()


def architecture(path):
    """The JSON of a file."""
    return json.loads(metadata(path)["nnfs_gpu"])


def rewrite(path, *, tensors=None, document=None, sealed=True):
    """Write `path` anew with other tensors or another document (text: as it is)."""
    tensors = load_file(path) if tensors is None else tensors
    document = architecture(path) if document is None else document
    if not isinstance(document, str):
        if sealed and isinstance(document, dict):
            document = document | {"sha256": seal(document, tensors)}
        document = json.dumps(document)
    save_file(tensors, path, {"nnfs_gpu": document})


def refused(path, message=None, load=Model.load):
    """Loading raises ModelFileError that names the file; nothing global has changed."""
    before, stream = get_backend(), np.random.get_state(legacy=False)
    with pytest.raises(ModelFileError, match=message) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    assert get_backend() is before
    np.testing.assert_equal(np.random.get_state(legacy=False), stream)
