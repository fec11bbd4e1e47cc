"""Model files keep how rows of a table become inputs; what is not this network's is refused."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from networks import dense_model

from nnfs_gpu import Model, ModelFileError, Preprocessing, use_backend
from nnfs_gpu.files import model_file, tensor_file
from nnfs_gpu.tables.arrays import of_columns
from nnfs_gpu.tables.naming import Declared

COLUMNS = {
    "size": [1.5, 2.5, 4.0, 3.0],
    "colour": ["red", "blue", "red", "red"],
    "kind": list("uvuv"),
}


@pytest.fixture
def model():
    """A network for the two columns, with their preprocessing."""
    use_backend("numpy", dtype="float32")
    made = dense_model(3, 2)
    made.preprocessing = Preprocessing.fit(of_columns(COLUMNS, "t", Declared()), "kind")
    return made


def test_a_file_keeps_it_and_a_model_without_one_has_the_same_bytes_as_before(model, tmp_path):
    model.save(tmp_path / "with")
    loaded = Model.load(tmp_path / "with")
    rows = [[2.0, "blue"], [3.5, "red"]]
    inputs = model.preprocessing.inputs(rows)
    assert loaded.preprocessing.inputs(rows).tobytes() == inputs.tobytes()
    answers = loaded.preprocessing.answers(loaded.predict(inputs))
    assert answers.tolist() == model.preprocessing.answers(model.predict(inputs)).tolist()
    model.preprocessing = None
    assert "preprocessing" not in model_file.contents(model)[0]
    model.save(tmp_path / "without")
    assert Model.load(tmp_path / "without").preprocessing is None
    model.load_parameters(tmp_path / "with")  # its parameters alone


def test_another_network_s_is_refused(model, tmp_path):
    for network in (dense_model(4, 2), dense_model(3, 3)):
        network.preprocessing = model.preprocessing
        with pytest.raises(ValueError, match="it has 3 inputs and 2 outputs, expected "):
            network.save(tmp_path / "m")
    model.preprocessing = {"features": []}
    with pytest.raises(TypeError, match="got dict, expected a Preprocessing"):
        model.save(tmp_path / "m")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda stored: stored["features"].pop(),
        lambda stored: stored["target"]["classes"].append("w"),
        lambda stored: stored["features"][0].update(std=-1.0),
        lambda stored: stored.pop("columns"),
        lambda stored: stored.clear(),
    ],
)
def test_a_made_up_document_is_refused_and_nothing_is_loaded(model, tmp_path, change):
    document, tensors = model_file.contents(model)
    document = copy.deepcopy(document)
    change(document["preprocessing"])
    tensor_file.write(tmp_path / "m", document, tensors)
    state = np.random.get_state()[1].tobytes()
    with pytest.raises(ModelFileError, match="m: its architecture cannot be built: "):
        Model.load(tmp_path / "m")
    assert np.random.get_state()[1].tobytes() == state
