"""Labels that cannot be right never pass: each gives one error that says what to do.

Proves `Labels`, the door through which losses and `Model` take
targets: class indices of any integer type, one-hot and soft rows pass unchanged; floats,
columns, values out of range, rows that are no probabilities, and foreign kinds do not.
"""

import numpy as np
import pytest

from nnfs_gpu import (
    Activation_Softmax_Loss_CategoricalCrossentropy,
    Labels,
    Loss_CategoricalCrossentropy,
)

INTEGERS = ["uint8", "int8", "uint16", "int16", "int32", "uint32", "int64", "uint64"]

# labels of 3 samples and 3 classes, the error, and what the message must say: what was got,
# what was expected, and where one thing would help, that
BAD = {
    "float indices": (
        np.array([0.0, 1.0, 2.0]),
        TypeError,
        r"got dtype float64 of shape \(3,\), expected whole numbers 0 to 2: .*astype\('int32'\)",
    ),
    "bool indices": (np.array([True, False, True]), TypeError, r"got dtype bool.*expected whole"),
    "column": (
        np.array([[0], [1], [2]]),
        ValueError,
        r"got shape \(3, 1\), expected \(N, 3\).*shape \(N,\).*reshape\(-1\)",
    ),
    "float column": (np.array([[0.0], [1.0], [2.0]]), ValueError, r"got shape \(3, 1\).*reshape"),
    "row": (np.array([[0, 1, 2, 0]]), ValueError, r"got shape \(1, 4\), expected \(N, 3\)"),
    "negative": (np.array([0, -1, 2]), ValueError, r"got values from -1 to 2, expected 0 to 2"),
    "too large": (np.array([0, 1, 3]), ValueError, r"got values from 0 to 3, expected 0 to 2"),
    "counted from 1": (np.array([1, 2, 3]), ValueError, r"from 1 to 3, expected 0 to 2 for 3"),
    "huge": (np.array([0, 1, 2**63], np.uint64), ValueError, r"to 9223372036854775808, expected"),
    "wraps to 0 in int32": (np.array([0, 1, 2**32]), ValueError, r"to 4294967296, expected 0 to 2"),
    "sum above 1": (
        np.array([[1, 0, 0], [0, 1, 1], [0, 0, 1]]),
        ValueError,
        r"row 1 is \[0, 1, 1\] with sum 2, expected probabilities.*sum 1",
    ),
    "sum below 1": (np.eye(3) * 0.99, ValueError, r"row 0 .*sum 0.99, expected probabilities"),
    "all zero": (np.zeros((3, 3)), ValueError, r"row 0 is \[0.0, 0.0, 0.0\] with sum 0, expected"),
    "sums to 1 with a negative": (
        np.array([[1.0, 0, 0], [1.5, -0.5, 0], [0, 0, 1]]),
        ValueError,
        r"row 1 is \[1.5, -0.5, 0.0\] with sum 1, expected probabilities of 0 to 1",
    ),
    "scores": (np.array([[2.0, -3, 1], [0, 0, 9], [1, 1, 1]]), ValueError, r"row 0 .*sum 0"),
    "percent": (np.eye(3) * 100, ValueError, r"sum 100, expected probabilities"),
    "NaN in a row": (
        np.array([[1.0, 0, 0], [0, 1, 0], [np.nan, 0, 1]]),
        ValueError,
        r"row 2 is \[nan, 0.0, 1.0\] with sum nan, expected probabilities",
    ),
    "infinity in a row": (np.array([[1.0, 0, 0], [np.inf, 0, 0], [0, 0, 1]]), ValueError, r"row 1"),
    "other width": (np.eye(4)[:3], ValueError, r"got shape \(3, 4\), expected \(N, 3\)"),
    "strings": (np.array(["a", "b", "c"]), TypeError, r"got dtype <U1.*expected whole numbers"),
    "numbers as text": (["0", "1", "2"], TypeError, r"got dtype <U1.*expected whole numbers"),
    "string rows": (np.array([["1", "0", "0"]] * 3), TypeError, r"got dtype <U1, expected one-hot"),
    "complex": (np.array([0j, 1, 2]), TypeError, r"got dtype complex128.*expected whole"),
    "complex rows": (np.eye(3) * (1 + 0j), TypeError, r"got dtype complex128, expected one-hot"),
    "objects": (np.array([0, None, 2], object), TypeError, r"got dtype object.*expected whole"),
    "integers as objects": (np.array([0, 1, 2], object), TypeError, r"got dtype object"),
    "None": (None, ValueError, r"got shape \(\), expected \(N,\) class indices or \(N, 3\)"),
    "scalar": (1, ValueError, r"got shape \(\), expected \(N,\) class indices or \(N, 3\) one-hot"),
    "three axes": (np.zeros((3, 3, 1)), ValueError, r"got shape \(3, 3, 1\), expected \(N,\)"),
    "empty": (np.array([], np.int32), ValueError, r"got an empty array, expected one label"),
    "empty rows": (np.zeros((0, 3)), ValueError, r"got an empty array of shape \(0, 3\), expected"),
    "empty list": ([], TypeError, r"got dtype float64 of shape \(0,\), expected whole numbers"),
    "too few": (np.array([0, 1]), ValueError, r"got 2 labels for 3 samples"),
    "too many": (np.array([0, 1, 2, 0]), ValueError, r"got 4 labels for 3 samples"),
    "too few rows": (np.eye(3)[:2], ValueError, r"got 2 labels for 3 samples"),
}

P = np.array([[0.7, 0.1, 0.2], [0.1, 0.5, 0.4], [0.02, 0.9, 0.08]])


pytestmark = pytest.mark.default_backend


@pytest.mark.parametrize("case", BAD)
def test_bad_labels_raise_one_clear_error(backend, case):
    y, error, message = BAD[case]
    with pytest.raises(error, match="^labels: .*" + message):
        Labels(y, 3, backend, samples=3)


@pytest.mark.parametrize("case", BAD)
def test_losses_check_their_labels(backend, case):
    y, error, message = BAD[case]
    loss = Loss_CategoricalCrossentropy()
    for call in (loss.forward, loss.calculate, loss.backward):
        with pytest.raises(error, match=message):
            call(P, y)
    combined = Activation_Softmax_Loss_CategoricalCrossentropy()
    for call in (combined.forward, combined.backward):
        with pytest.raises(error, match=message):
            call(P, y)


def test_opposite_infinities_in_a_row(backend):
    with pytest.raises(ValueError, match=r"row 0 .* expected probabilities"):
        Labels([[np.inf, -np.inf, 1.0]], 3, backend)


def test_a_rejected_label_leaves_the_loss_as_it_was(backend):
    loss = Loss_CategoricalCrossentropy()
    before = float(loss.calculate(P, [0, 1, 1]))
    with pytest.raises(ValueError, match="labels"):
        loss.calculate(P, [0, 1, 3])
    assert float(loss.calculate_accumulated()) == pytest.approx(before, rel=1e-6)
    assert loss.accumulated_count == 3


@pytest.mark.parametrize("given", INTEGERS)
def test_every_integer_type_is_a_class_index(backend, given):
    labels = Labels(np.array([2, 0, 1], given), 3, backend)
    values = backend.to_numpy(labels.values)
    assert values.dtype == np.int32
    assert values.tolist() == [2, 0, 1]
    assert (len(labels), labels.classes) == (3, 3)


def test_lists_are_class_indices(backend):
    assert backend.to_numpy(Labels([2, 0, 1], 3, backend).values).tolist() == [2, 0, 1]


@pytest.mark.parametrize("given", [*INTEGERS, "bool", "float16", "float32", "float64"])
def test_one_hot_rows_of_any_number_type_keep_their_values(backend, given):
    labels = Labels(np.eye(3)[[2, 0, 1]].astype(given), 3, backend)
    values = backend.to_numpy(labels.values)
    assert values.dtype == backend.dtype
    np.testing.assert_array_equal(values, np.eye(3)[[2, 0, 1]])


def test_soft_labels_keep_their_values(backend):
    soft = np.array([[0.9, 0.05, 0.05], [0.2, 0.2, 0.6], [1 / 3, 1 / 3, 1 / 3]])
    values = backend.to_numpy(Labels(soft, 3, backend).values)
    np.testing.assert_array_equal(values, soft.astype(backend.dtype))


def test_half_precision_soft_labels_pass(backend):
    soft = np.random.RandomState(0).dirichlet(np.ones(10), 200).astype(np.float16)
    assert np.abs(soft.sum(axis=1, dtype=np.float64) - 1).max() > 1e-5  # not exactly 1
    assert len(Labels(soft, 10, backend)) == 200


@pytest.mark.parametrize("given", ["int16", "uint16", "int32", "int64"])
def test_more_than_255_classes(backend, given):
    y = np.arange(300).astype(given)
    assert backend.to_numpy(Labels(y, 300, backend).values).tolist() == list(range(300))
    with pytest.raises(ValueError, match="from 0 to 299, expected 0 to 298 for 299 classes"):
        Labels(y, 299, backend)
    p = np.full((300, 300), 1 / 300)
    p[np.arange(300), y] = 0.5
    losses = backend.to_numpy(Loss_CategoricalCrossentropy().forward(p, y))
    np.testing.assert_allclose(losses, np.log(2), rtol=1e-6)


def test_one_class(backend):
    assert backend.to_numpy(Labels([0, 0], 1, backend).values).tolist() == [0, 0]
    assert backend.to_numpy(Labels([[1.0], [1.0]], 1, backend).values).shape == (2, 1)
    with pytest.raises(ValueError, match="from 0 to 1, expected 0 to 0 for 1 classes"):
        Labels([0, 1], 1, backend)
    with pytest.raises(ValueError, match="sum 0, expected"):  # a column of indices
        Labels([[0], [0]], 1, backend)


def test_slices_are_labels_of_the_same_classes(backend):
    labels = Labels([0, 1, 2, 1, 0], 3, backend)
    part = labels[1:4]
    assert isinstance(part, Labels)
    assert (len(part), part.classes) == (3, 3)
    assert backend.to_numpy(part.values).tolist() == [1, 2, 1]
    assert len(labels[4:8]) == 1  # the last, partial batch
    rows = Labels(np.eye(3), 3, backend)[1:]
    np.testing.assert_array_equal(backend.to_numpy(rows.values), np.eye(3)[1:])


def test_checked_labels_are_taken_as_they_are_where_they_fit(backend):
    loss = Loss_CategoricalCrossentropy()
    y = Labels([0, 1, 1], 3, backend)
    raw = backend.to_numpy(loss.forward(P, [0, 1, 1]))
    np.testing.assert_array_equal(backend.to_numpy(loss.forward(P, y)), raw)
    with pytest.raises(ValueError, match="got 2 of 3 classes, expected 3 of 3"):
        loss.forward(P, y[:2])
    with pytest.raises(ValueError, match="got 3 of 4 classes, expected 3 of 3"):
        loss.forward(P, Labels([0, 1, 1], 4, backend))


@pytest.mark.parametrize("y", [[0, 1, 1], [[1, 0, 0], [0, 1, 0], [0, 1, 0]]])
def test_sparse_and_one_hot_labels_mean_the_same(backend, y):
    loss, combined = (
        Loss_CategoricalCrossentropy(),
        Activation_Softmax_Loss_CategoricalCrossentropy(),
    )
    np.testing.assert_allclose(
        backend.to_numpy(loss.forward(P, y)), -np.log([0.7, 0.5, 0.9]), rtol=1e-6
    )
    np.testing.assert_allclose(
        backend.to_numpy(combined.backward(P, y)),
        (P - np.eye(3)[[0, 1, 1]]) / 3,
        rtol=1e-5,
        atol=1e-8,
    )


def test_labels_do_not_change_what_they_were_made_of(backend):
    for y in (np.array([0, 1, 2], np.int64), np.array([0, 1, 2], np.int32), np.eye(3)):
        before = y.copy()
        loss = Loss_CategoricalCrossentropy()
        loss.calculate(P, y)
        loss.backward(P, y)
        np.testing.assert_array_equal(y, before)


def test_labels_of_a_noncontiguous_view(backend):
    table = np.arange(12).reshape(6, 2) % 3
    column = table[:, 1]
    assert not column.flags.c_contiguous
    values = backend.to_numpy(Labels(column, 3, backend).values)
    assert values.tolist() == column.tolist()
