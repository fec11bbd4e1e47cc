"""What parts of the user's own get, and what becomes of what they give.

Plain arrays: targets in the form in which the user gave them, data and gradients in the model's
dtype. What comes back in any form is weighted and summed as ours is.
"""

from __future__ import annotations

import numpy as np
import own_networks as networks
import own_parts as own
import pytest

from nnfs_gpu import Accuracy, Loss, use_backend

X = networks.X


class Recorder:
    """Wraps a part and writes down what its methods get."""

    def __init__(self, part):
        self.part, self.seen = part, []

    def init(self, y):
        self.seen.append(("init", y))

    def forward(self, y_pred, y_true):
        self.seen.append(("forward", y_true))
        return self.part.forward(y_pred, y_true)

    def backward(self, dvalues, y_true):
        self.seen.append(("backward", y_true))
        self.part.backward(dvalues, y_true)
        self.dinputs = self.part.dinputs


class Comparer:
    def __init__(self):
        self.seen = []

    def init(self, y):
        self.seen.append(y)

    def compare(self, predictions, y):
        self.seen.append(y)
        self.predictions = predictions
        return np.ones(len(y), bool)


FORMS = {  # targets of 60 samples, as a user may give them
    "int64": networks.LABELS,
    "uint8": networks.LABELS.astype(np.uint8),
    "one-hot int": np.eye(3, dtype=np.int64)[networks.LABELS],
    "one-hot float": np.eye(3, dtype=np.float32)[networks.LABELS],
    "one-hot bool": np.eye(3, dtype=bool)[networks.LABELS],
    "list": networks.LABELS.tolist(),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("own_loss", [False, True])
def test_losses_and_accuracies_get_plain_arrays_in_the_form_given(backend_name, form, own_loss):
    use_backend(backend_name, dtype="float32")
    model, accuracy, y = networks.ours(), Comparer(), FORMS[form]
    loss = Recorder(own.Loss_Focal()) if own_loss else model.loss
    model.set(loss=loss, accuracy=accuracy)
    model.finalize()
    model.train(X, y, batch_size=25, print_every=None, validation_data=(X, y))
    given = np.asarray(y)
    seen = accuracy.seen + ([y for _, y in loss.seen] if own_loss else [])
    assert (
        len(seen) == 7 + 9 * own_loss
    )  # init, 3 batches, 3 of validation; their losses, 3 gradients
    for one in seen:
        assert type(one) is np.ndarray
        assert one.dtype == given.dtype
        assert one.shape[1:] == given.shape[1:]
    np.testing.assert_array_equal(accuracy.seen[0], given)
    np.testing.assert_array_equal(np.concatenate(accuracy.seen[1:4]), given)
    assert accuracy.predictions.dtype == np.int32  # what the softmax's `predictions` gives


def test_whole_numbers_of_a_yes_or_no_network_stay_whole(backend_name):
    """Ours computes with float32; an accuracy of one's own gets what was given."""
    use_backend(backend_name, dtype="float32")
    model, y = networks.build("f1")
    model.accuracy = accuracy = Comparer()
    model.train(X, y, print_every=None)
    assert accuracy.seen[0].dtype == y.dtype
    assert accuracy.seen[0].shape == (60, 1)
    np.testing.assert_array_equal(accuracy.seen[1], y)


def test_numbers_come_in_the_models_dtype():
    use_backend("numpy", dtype="float32")
    model, y = networks.build("huber")
    model.loss = loss = Recorder(own.Loss_Huber())
    model.finalize()
    model.train(X, y, print_every=None)
    assert [y.dtype for _, y in loss.seen] == [np.float32] * 2


def test_inputs_and_gradients_come_in_the_models_dtype_and_shape():
    """Also behind a layer that computes in float64."""
    seen = []

    class Layer_Look(own.Activation_Tanh):  # noqa: N801
        def forward(self, inputs, training):
            seen.append((inputs.dtype, inputs.shape, training))
            super().forward(inputs, training)

        def backward(self, dvalues):
            seen.append((dvalues.dtype, dvalues.shape, None))
            super().backward(dvalues)

    use_backend("numpy", dtype="float32")
    np.random.seed(0)
    model = networks.ours()
    model.layers[1:2] = [own.Layer_GaussianNoise(0.1), Layer_Look(), own.Layer_GaussianNoise(0.1)]
    model.finalize()
    model.train(X, networks.LABELS, print_every=None)
    assert seen == [(np.float32, (60, 8), True), (np.float32, (60, 8), None)]


@pytest.mark.parametrize("base", [Loss, object])
def test_a_mean_and_sums_are_made_from_the_losses(base):
    class Loss_Distance(base):  # noqa: N801
        def forward(self, y_pred, y_true):
            return np.abs(y_pred - y_true)  # (N, 1)

        def backward(self, dvalues, y_true):
            return np.sign(dvalues - y_true) / len(dvalues)

    use_backend("numpy", dtype="float64")
    model, y = networks.build("huber")
    model.set(loss=Loss_Distance())
    model.finalize()
    history = model.train(X, y, batch_size=25, print_every=None)
    assert model.loss.accumulated_count == 60
    assert history["data_loss"][0] == pytest.approx(model.loss.accumulated_sum / 60)
    measured = model.evaluate(X, y, verbose=False)
    assert measured["loss"] == pytest.approx(np.abs(model.predict(X) - y).mean())
    assert model.loss.accumulated_count == 60  # an evaluation leaves the epoch's sums alone


def test_one_number_for_a_batch_is_weighted_with_its_rows():
    class Accuracy_Rows(Accuracy):  # noqa: N801
        def compare(self, predictions, y):
            return 1.0 if len(y) == 40 else 0.0

    use_backend("numpy", dtype="float32")
    model, y = networks.build("book")
    model.set(accuracy=Accuracy_Rows())
    model.finalize()
    history = model.train(X, y, batch_size=40, print_every=None)
    assert history["accuracy"] == [pytest.approx(40 / 60)]
    assert model.evaluate(X, y, batch_size=40, verbose=False)["accuracy"] == pytest.approx(40 / 60)


def test_its_own_exception_is_not_masked():
    class Mistake(Exception):  # noqa: N818
        pass

    class Layer_Broken(own.Activation_Tanh):  # noqa: N801
        def forward(self, inputs, training):
            raise Mistake("mine")

    use_backend("numpy", dtype="float32")
    model = networks.ours()
    model.layers.insert(1, Layer_Broken())
    model.finalize()
    with pytest.raises(Mistake, match=r"^mine$"):
        model.train(X, networks.LABELS, print_every=None)
    with pytest.raises(Mistake, match=r"^mine$"):
        model.predict(X)
