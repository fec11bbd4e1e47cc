"""Objects that are read in one place and not in another, and remedies that came out wrong."""

from __future__ import annotations

import array
import collections

import numpy as np
import pytest
from remedies_followed import follow, network, regression

from nnfs_gpu import Blocks

X = np.random.RandomState(0).randn(30, 2).astype(np.float32)
Y = np.arange(30) % 3


def mapped(folder):
    np.save(folder / "X.npy", X)
    return np.load(folder / "X.npy", mmap_mode="r")


@pytest.mark.parametrize("kind", [collections.deque, memoryview, collections.UserList])
def test_predict_takes_what_train_takes(kind):
    x = kind(X) if kind is memoryview else kind(X.tolist())
    model = network()
    model.train(x, Y, print_every=None)
    np.testing.assert_array_equal(model.predict(x), model.predict(X))


def test_a_flat_buffer_is_told_its_shape():
    with pytest.raises(ValueError, match=r"predict: got shape \(60,\), expected"):
        network().predict(array.array("d", X.ravel()))


@pytest.mark.parametrize("dtype", [object, str])
def test_numbers_in_a_column_of_another_dtype_stay_these_numbers(dtype):
    pd = pytest.importorskip("pandas")
    table = pd.DataFrame(X, columns=["a", "b"])
    given = table.assign(a=table["a"].astype(dtype))
    with pytest.raises(TypeError, match="X, column 'a'") as refused:
        network().predict(given)
    found = follow(str(refused.value), X=given)["X"]
    np.testing.assert_allclose(found["a"], table["a"], rtol=1e-6)
    network().train(found, Y, print_every=None)


def test_a_number_that_no_float_holds_is_named():
    x = X.tolist()
    x[3][1] = 10**400
    with pytest.raises(TypeError, match=r"train: X.*the value at \(3, 1\) is larger than any"):
        network().train(x, Y, print_every=None)


def test_labels_of_half_precision_overflow_nothing():
    with pytest.raises(TypeError, match="float16") as refused:
        network().train(X, Y.astype(np.float16), print_every=None)
    network().train(X, follow(str(refused.value), y=Y.astype(np.float16))["y"], print_every=None)


@pytest.mark.parametrize("build", [network, regression])
@pytest.mark.parametrize("form", ["generator", "dict"])
def test_one_object_of_many_targets(build, form):
    def given():
        return dict(enumerate(Y)) if form == "dict" else (label for label in Y)

    with pytest.raises((TypeError, ValueError), match=f"got a {form}: use np.array") as refused:
        build().train(X, given(), print_every=None)
    build().train(X, follow(str(refused.value), y=given())["y"], print_every=None)


def test_columns_in_a_dict_become_columns():
    given = {"a": X[:, 0], "b": X[:, 1]}
    with pytest.raises(TypeError, match="got a dict") as refused:
        network().train(given, Y, print_every=None)
    np.testing.assert_array_equal(follow(str(refused.value), X=given)["X"], X)


def test_ragged_targets_leave_with_their_rows():
    y = [[value] for value in Y.tolist()]
    y[4] = [1, 2]
    with pytest.raises(ValueError, match="row 4 has 2 numbers") as refused:
        regression().train(X, y, print_every=None)
    found = follow(str(refused.value), X=X, y=y)
    assert len(found["X"]) == len(found["y"]) == 29
    regression().train(found["X"], found["y"], print_every=None)


LABELS = {
    "words": ["abc"[label] for label in Y],
    "floats": [float(label) for label in Y],
    "column": [[int(label)] for label in Y],
    "row": Y.reshape(1, -1),
    "turned": np.eye(3)[Y].T,
}


@pytest.mark.parametrize("name", LABELS)
def test_labels_beside_a_memory_map_are_refused_as_they_were_given(tmp_path, name):
    x = mapped(tmp_path)
    with pytest.raises((TypeError, ValueError), match=r"^train: labels: ") as refused:
        network().train(x, LABELS[name], print_every=None)
    y = follow(str(refused.value), y=LABELS[name])["y"]
    network().train(x, y, print_every=None)


@pytest.mark.parametrize("name", ["words", "floats", "column"])
def test_labels_in_a_block_are_refused_as_they_were_given(name):
    def blocks(y):
        return Blocks([(X, y)], samples=30)

    with pytest.raises((TypeError, ValueError), match=r"^train, rows 0 to 29: labels") as refused:
        network().train(blocks(LABELS[name]), print_every=None)
    y = follow(str(refused.value), y=LABELS[name])["y"]
    network().train(blocks(y), print_every=None)


def test_a_block_without_rows_names_its_half():
    with pytest.raises(ValueError, match=r"at row 0: got no rows, .*: got a .*iterator: use np"):
        network().train(Blocks([(X, iter(Y))], samples=30), print_every=None)


def test_samples_are_left_out_of_lists_too():
    """X or y may be a list that the other one's mask does not cut."""
    x, y = X.copy(), Y.astype(float)
    x[3, 1], y[4] = np.nan, np.nan
    for given in ((x, Y.tolist()), (X.tolist(), y), (x, tuple(Y.tolist())), (x.tolist(), Y)):
        with pytest.raises((TypeError, ValueError), match="leave those samples out") as refused:
            network().train(*given, print_every=None, check_finite=True)
        found = follow(str(refused.value), X=given[0], y=given[1])
        assert len(found["X"]) == len(found["y"]) == 29
        network().train(found["X"], found["y"], print_every=None, check_finite=True)


@pytest.mark.parametrize("shape", [(30, 3), (30,), (30, 2, 2), (0, 2), (30, 0)])
def test_a_shape_that_does_not_fit_names_the_argument(shape):
    x = np.zeros(shape, np.float32)
    calls = {
        "train": lambda: network().train(x, Y),
        "validation_data": lambda: network().train(X, Y, validation_data=(x, Y)),
        "evaluate": lambda: network().evaluate(x, Y),
        "predict": lambda: network().predict(x),
    }
    for what, call in calls.items():
        with pytest.raises(ValueError, match=rf"^{what}: got .*expected .* in X\b"):
            call()
