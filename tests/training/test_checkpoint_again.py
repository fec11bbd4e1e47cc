"""Training the same model again in its checkpoint's folder, and what a checkpoint may hold.

A run that was never stopped grows too, in the same process and with the same objects; NumPy's
numbers are numbers; a made-up checkpoint is refused as a damaged one is.
"""

import numpy as np
import pytest
from model_files import architecture, rewrite
from model_programs import X, Y, network, parameters
from networks import dense_model

from nnfs_gpu import (
    Activation_Linear,
    Activation_ReLU,
    Activation_Softmax,
    Callback,
    Layer_Dense,
    Layer_Dropout,
    Model,
    Optimizer_SGD,
    use_backend,
)
from nnfs_gpu.files.tensor_file import ModelFileError
from nnfs_gpu.training.checkpoint import FILE, CheckpointError

SETTINGS = {"print_every": None, "batch_size": 16, "shuffle": True}


pytestmark = pytest.mark.default_backend


def with_dropout(seed=None):
    np.random.seed(3)
    layers = Layer_Dense(2, 8), Activation_ReLU(), Layer_Dropout(0.3, seed=seed)
    return network(*layers, Layer_Dense(8, 3), Activation_Softmax())


def assert_equal(a, b):
    for one, other in zip(parameters(a), parameters(b), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("seed", [None, 7])
def test_the_same_model_goes_on_with_more_epochs(backend, tmp_path, seed):
    whole, model = with_dropout(seed), with_dropout(seed)
    np.random.seed(4)  # what a drawn seed of dropout comes from
    whole.train(X, Y, epochs=4, **SETTINGS)
    np.random.seed(4)
    model.train(X, Y, epochs=2, checkpoint=tmp_path, **SETTINGS)
    model.train(X, Y, epochs=3, checkpoint=tmp_path, **SETTINGS)
    anew = with_dropout(seed)  # the program started again
    anew.train(X, Y, epochs=4, checkpoint=tmp_path, **SETTINGS)
    assert_equal(anew, whole)


def test_a_model_loaded_from_its_checkpoint_goes_on(backend, tmp_path):
    with_dropout().train(X, Y, epochs=2, checkpoint=tmp_path, **SETTINGS)
    model = Model.load(tmp_path / FILE)
    history = model.train(X, Y, epochs=3, checkpoint=tmp_path, **SETTINGS)
    assert history.epoch == [1, 2, 3]


def test_another_dropout_seed_is_another_run(tmp_path):
    use_backend("numpy")
    with_dropout(7).train(X, Y, epochs=1, checkpoint=tmp_path, **SETTINGS)
    with pytest.raises(CheckpointError, match=r"layers\.2\.seed was 7, is now 8"):
        with_dropout(8).train(X, Y, epochs=2, checkpoint=tmp_path, **SETTINGS)


class Own(Callback):
    """A callback that keeps NumPy's numbers."""

    def settings(self):
        return {"factor": np.float32(0.5), "places": (np.int64(1), 2)}

    def get_state(self):
        return {"best": np.float64(0.25), "seen": np.arange(3), "on": np.bool_(True)}

    def set_state(self, state):
        self.state = state


def test_numpys_numbers_in_settings_and_callbacks(tmp_path):
    use_backend("numpy")
    settings = SETTINGS | {"checkpoint": tmp_path, "batch_size": np.int32(16)}
    network().train(X, Y, epochs=1, callbacks=[Own()], **settings)
    again = Own()
    network().train(X, Y, epochs=2, callbacks=[again], **settings)
    assert again.state.pop("seen").tolist() == [0, 1, 2]
    assert again.state == {"best": 0.25, "on": True}


def test_a_state_that_no_file_can_hold(tmp_path):
    use_backend("numpy")
    own = Own()
    own.get_state = lambda: {"best": object()}
    with pytest.raises(TypeError, match=r"a model file cannot hold <object .*expected numbers, "):
        network().train(X, Y, checkpoint=tmp_path, callbacks=[own], **SETTINGS)


@pytest.mark.parametrize(
    "change",
    [
        {"training": None},
        {"training": {}},
        {"state": None},
        ("settings", []),
        ("settings", {"layers": None}),
        ("epochs_done", "1"),
        ("epochs_done", -1),
        ("steps_done", 10**9),
        ("steps_done", None),
        ("accumulated", []),
        ("callbacks", [{}, {}]),
    ],
    ids=repr,
)
def test_a_checkpoint_that_somebody_made_up(tmp_path, change):
    use_backend("numpy")
    network().train(X, Y, checkpoint=tmp_path, **SETTINGS)
    document = architecture(tmp_path / FILE)
    if isinstance(change, dict):
        document |= change
    else:
        document["training"][change[0]] = change[1]
    rewrite(tmp_path / FILE, document=document)
    with pytest.raises((ModelFileError, CheckpointError), match=rf"^{tmp_path / FILE}"):
        network().train(X, Y, epochs=3, checkpoint=tmp_path, **SETTINGS)


def test_a_made_up_checkpoint_without_a_precision_gets_the_one_of_the_data(tmp_path):
    use_backend("numpy")

    def trained(epochs, checkpoint=None):
        model = dense_model(2, 1, last=Activation_Linear, optimizer=Optimizer_SGD())
        model.train(X, X[:, :1], epochs=epochs, checkpoint=checkpoint, **SETTINGS)
        return model

    whole = trained(1, tmp_path)
    document = architecture(tmp_path / FILE)
    document["state"]["accuracy"]["precision"] = None
    rewrite(tmp_path / FILE, document=document)
    assert trained(2, tmp_path).accuracy.precision == whole.accuracy.precision
