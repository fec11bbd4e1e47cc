"""What ranks get of each batch: their own rows, and nothing is read or made of others."""

import itertools

import numpy as np
import pytest
from blocks_networks import LABELS, POINTS, N, classifier, source
from test_rows import rows

import nnfs_gpu as ng
from nnfs_gpu.backend.numpy_backend import NumpyBackend
from nnfs_gpu.data.held import data_of
from nnfs_gpu.data.order import Cipher, order_of

BLOCK = 64


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    monkeypatch.setattr("nnfs_gpu.data.blockwise.block_rows", lambda model: BLOCK)


def mapped(tmp_path):
    np.save(tmp_path / "X.npy", POINTS)
    return np.load(tmp_path / "X.npy", mmap_mode="r")


KINDS = {
    "arrays": lambda folder: (POINTS, LABELS),
    "a map": lambda folder: (mapped(folder), LABELS),
    "rows": lambda folder: (rows(), None),
}


def data_for(kind, folder):
    model = classifier()
    return model.backend, data_of(model, *KINDS[kind](folder), "train", False)


def third(number):
    """Of three ranks, the leaves of one; the last gets what is left over."""

    def share(total):
        leaves = -(-total // 10)
        return min(leaves * number // 3 * 10, total), min(leaves * (number + 1) // 3 * 10, total)

    return share


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch_size", [None, 1, 25, 300, N, 10 * N])
def test_three_ranks_have_every_row_once(backend_name, tmp_path, kind, batch_size):
    ng.use_backend(backend_name, dtype="float64")
    backend, data = data_for(kind, tmp_path)
    orders = [None] if kind == "rows" else [None, order_of(N, 1, 2), Cipher(N, 1, 2)]
    size = min(batch_size or N, N)
    for order, first in itertools.product(orders, (0, 1, (N - 1) // size)):
        places = slice(None) if order is None else np.asarray(order)
        X, y = POINTS[places], LABELS[places]
        batches = [
            list(data.shares(batch_size, order, first, third(number), lambda total: 10))
            for number in range(3)
        ]
        for number, batch in enumerate(zip(*batches, strict=True), first):
            start = number * size
            totals = {total for total, _ in batch}
            assert totals == {min(size, N - start)}
            seen = 0
            for _, blocks in batch:
                for row, points, labels in blocks:
                    assert row == seen
                    here = slice(start + row, start + row + len(labels))
                    np.testing.assert_array_equal(backend.to_numpy(points), X[here])
                    np.testing.assert_array_equal(backend.to_numpy(labels.values), y[here])
                    seen += len(labels)
            assert seen == totals.pop()
        assert first + len(batches[0]) == -(-N // size)


@pytest.mark.parametrize("kind", ["a map", "rows"])
@pytest.mark.parametrize(("align", "cuts"), [(10, 60), (64, 64), (63, 63), (1, 64), (100, 100)])
def test_blocks_are_cut_at_whole_leaves(tmp_path, kind, align, cuts):
    """At most 64 rows, where a leaf has not more; the first and the last of a share may be less."""
    ng.use_backend("numpy")
    _, data = data_for(kind, tmp_path)
    share = lambda total: (2 * align, total - 5)  # noqa: E731
    ((total, blocks),) = data.shares(None, None, 0, share, lambda total: align)
    assert total == N
    found = [(row, len(y)) for row, _, y in blocks]
    starts = range(2 * align, N - 5, cuts)
    assert found == [(start, min(cuts, N - 5 - start)) for start in starts]


def test_a_share_that_begins_within_a_leaf(tmp_path):
    """Which no engine asks for: still every row once, and cut where leaves end."""
    ng.use_backend("numpy")
    _, data = data_for("rows", tmp_path)
    ((_, blocks),) = data.shares(None, None, 0, lambda total: (7, 150), lambda total: 10)
    assert [(row, len(y)) for row, _, y in blocks] == [(7, 53), (60, 60), (120, 30)]


@pytest.mark.parametrize("kind", KINDS)
def test_the_alignment_and_the_share_are_of_the_batch(tmp_path, kind):
    """The last batch is smaller: both are asked for its size. A share may be empty."""
    ng.use_backend("numpy")
    _, data = data_for(kind, tmp_path)
    asked = []

    def share(total):
        asked.append(total)
        return (0, 0) if total == 300 else (50, 100)

    found = [
        (total, [(row, len(y)) for row, _, y in blocks])
        for total, blocks in data.shares(300, None, 0, share, lambda total: total // 10)
    ]
    assert asked == [300, 300, 100]
    assert found == [(300, []), (300, []), (100, [(50, 50)])]


def test_nothing_is_made_of_other_rows():
    """Nor before it is asked for; and a batch that is left early does not come after."""
    ng.use_backend("numpy")
    asked = []
    data = data_of(classifier(), rows(asked=asked), None, "train", False)
    share = lambda total: (min(100, total), min(200, total))  # noqa: E731
    batches = data.shares(300, None, 1, share, lambda total: 50)
    total, blocks = next(batches)
    assert (total, asked) == (300, [])
    next(blocks)
    assert asked == [(400, 450)]
    total, blocks = next(batches)
    assert (total, [row for row, _, _ in blocks]) == (100, [])
    assert asked == [(400, 450)]


def test_arrays_gather_their_own_rows_alone(monkeypatch):
    """Of 700 rows a rank that has 10 of each batch moves 10 row numbers a batch."""
    ng.use_backend("numpy")
    data = data_of(classifier(), POINTS, LABELS, "train", False)
    sizes, asarray = [], NumpyBackend.asarray

    def counted(self, x, dtype=None):
        sizes.append(len(x))
        return asarray(self, x, dtype)

    monkeypatch.setattr(NumpyBackend, "asarray", counted)
    order = order_of(N, 0, 1)
    for _, blocks in data.shares(350, order, 0, lambda total: (20, 30), lambda total: 10):
        assert len(list(blocks)) == 1
    assert sizes == [10, 10]


def test_a_whole_pass_of_shares_is_remembered(monkeypatch):
    """Labels are looked at closely once, as in passes over blocks."""
    ng.use_backend("numpy")
    data = data_of(classifier(), rows(), None, "train", False)
    seen, checked = [], type(data)._checked

    def count(self, X, y, start, given=None):
        seen.append(start)
        return checked(self, X, y, start, given)

    monkeypatch.setattr(type(data), "_checked", count)

    def a_pass(first):
        found = data.shares(350, None, first, lambda total: (0, 60), lambda total: 10)
        for _, blocks in found:
            list(blocks)

    a_pass(1)  # of a run that goes on
    a_pass(0)
    assert seen == [350, 0, 350]
    a_pass(0)
    assert seen == [350, 0, 350]


def test_blocks_cannot_be_divided():
    ng.use_backend("numpy")
    for given in (source(), lambda: iter(source())):
        data = data_of(classifier(), given, None, "train", False)
        with pytest.raises(
            TypeError,
            match=r"train: got blocks, .*: ranks cannot divide them; give Rows\(make, samples\), ",
        ):
            data.shares(None, None, 0, lambda total: (0, total), lambda total: 1)
