"""The order of the samples in an epoch: an array, or beyond 100 million a cipher of row numbers.

Every number here comes from fixed seeds, so no bound is crossed by chance. `deviation` says by how
many standard deviations a chi-square of uniform counts is larger than its mean.
"""

import numpy as np
import pytest
from networks import dense_model

import nnfs_gpu as ng
from nnfs_gpu.backend import philox
from nnfs_gpu.data import order as orders
from nnfs_gpu.data.order import MOST, Cipher, order_of

AWKWARD = [1, 2, 3, 4, 5, 6, 7, 31, 32, 33, 97, 1023, 1024, 1025, 10_007, 65_535, 65_536, 65_537]
FAR = 4.0  # standard deviations: of a uniform count, one in 30,000 is as far


def deviation(counts):
    """Of `counts`, all of which are expected to be equal."""
    expected = counts.sum() / counts.size
    squares = ((counts - expected) ** 2 / expected).sum()
    return (squares - (counts.size - 1)) / np.sqrt(2 * (counts.size - 1))


# ---- which of the two ----
def test_the_array_is_numpys_permutation(monkeypatch):
    """The bits of runs that were shuffled before: a change here changes results."""
    found = order_of(1000, 2**64 - 1, 7)
    assert (found.dtype, found.shape) == (np.int64, (1000,))
    same = np.random.Generator(np.random.PCG64([2**64 - 1, 7])).permutation(1000)
    np.testing.assert_array_equal(found, same)
    monkeypatch.setattr(orders, "ARRAY", 100)
    assert isinstance(order_of(100, 1, 2), np.ndarray)
    assert isinstance(order_of(101, 1, 2), Cipher)


def test_the_cipher_has_the_same_bits_for_ever():
    assert Cipher(11, 0, 1)[:].tolist() == [2, 3, 6, 4, 9, 5, 0, 8, 1, 10, 7]
    assert Cipher(10**12, 5, 3)[10**11 : 10**11 + 4].tolist() == [
        307249937161,
        907102543162,
        785728912666,
        58405108796,
    ]


def plainly(place, n, seed, epoch):
    """The head of data/order.py, for one number."""
    left = next(k for k in range(1, n + 1) if k * k >= n)
    right = -(-n // left)

    def moved_by(number, half, size):
        first = (number << 40) + 2 * half
        low, high = (int(w) for w in philox.words(np, first, 2, seed, philox.STREAM_ORDER, epoch))
        return (low + (high << 32)) % size

    while True:
        a, b = divmod(place, right)
        for number in range(0, 8, 2):
            a = (a + moved_by(number, b, left)) % left
            b = (b + moved_by(number + 1, a, right)) % right
        place = a * right + b
        if place < n:
            return place


@pytest.mark.parametrize("n", [1, 2, 11, 90, 257])
def test_the_cipher_is_its_formula(n):
    expected = [plainly(place, n, 2**40 + 1, 3) for place in range(n)]
    assert Cipher(n, 2**40 + 1, 3)[:].tolist() == expected


# ---- a bijection, any part of it ----
@pytest.mark.parametrize("n", AWKWARD)
def test_every_row_once(n):
    for seed, epoch in ((0, 1), (2**64 - 1, 2**32 - 1)):
        order = Cipher(n, seed, epoch)
        rows = order[:]
        assert (len(order), order.shape, order.dtype) == (n, (n,), rows.dtype)
        assert rows.dtype == np.int64
        np.testing.assert_array_equal(np.sort(rows), np.arange(n))
        np.testing.assert_array_equal(np.asarray(order), rows)


@pytest.mark.parametrize("n", [1, 31, 1025, 65_537])
def test_parts_are_those_of_the_whole(n):
    order = Cipher(n, 9, 4)
    whole = order[:]
    for rows in (
        slice(0, 1),
        slice(n // 2, n // 2),
        slice(n // 3, n // 2 + 1),
        slice(n - 1, None),
        slice(n // 2, 10 * n),
        slice(-3, None),
        slice(None, None, 7),
    ):
        np.testing.assert_array_equal(order[rows], whole[rows])
    pieces = [order[start : start + 1000] for start in range(0, n, 1000)]
    np.testing.assert_array_equal(np.concatenate(pieces), whole)


@pytest.mark.parametrize("n", [10**8 + 1, 10**10, 2**40 - 1, MOST])
def test_very_many_samples(n):
    """Parts of an order that could not be held: no row twice, none outside."""
    order = Cipher(n, 3, 1)
    places = (0, n // 3, n - 5000)
    rows = np.concatenate([order[place : place + 5000] for place in places])
    assert len(np.unique(rows)) == 15_000
    assert (rows.min() >= 0, rows.max() < n) == (True, True)
    assert deviation(np.bincount(rows * 100 // n, minlength=100)) < FAR


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 0, 1), "order: got 0 samples, expected 1 to 17,592,186,044,416"),
        ((MOST + 1, 0, 1), "order: got 17592186044417 samples"),
        ((5, 2**64, 1), "seed: got 18446744073709551616"),
        ((5, 0, 2**32), "call: got 4294967296"),
    ],
)
def test_what_is_too_large(arguments, message):
    with pytest.raises(ValueError, match=message):
        Cipher(*arguments)


# ---- as random as it should be ----
def test_other_seeds_and_epochs_are_other_orders():
    """Two random orders of n have one place in common, on average; ten is far too many."""
    one = Cipher(10_007, 1, 1)[:]
    for seed, epoch in ((2, 1), (1, 2), (1 + 2**32, 1), (1, 2**31), (0, 0)):
        other = Cipher(10_007, seed, epoch)[:]
        assert (one == other).sum() < 10, (seed, epoch)
        assert abs(np.corrcoef(one, other)[0, 1]) < FAR / 100, (seed, epoch)


@pytest.mark.parametrize("n", [3, 7, 31, 100])
def test_every_place_gets_every_row_as_often(n):
    """Over epochs: counts of (place, row), which are those of uniform permutations."""
    epochs = 40 * n
    counts = np.zeros((n, n))
    for epoch in range(epochs):
        counts[np.arange(n), Cipher(n, 5, epoch)[:]] += 1
    assert deviation(counts) < FAR
    assert deviation(counts[0]) < FAR


def test_neighbours_have_nothing_in_common():
    """Steps from one row to the next, and to the one `sqrt(n)` later, are as likely as any."""
    n = 1_000_003
    rows = Cipher(n, 11, 2)[:]
    side = Cipher(n, 11, 2).right
    for far in (1, 2, side - 1, side, side + 1, 2 * side):
        steps = (rows[far:] - rows[:-far]) % n
        assert deviation(np.bincount(steps * 1000 // n, minlength=1000)) < FAR, far
        assert deviation(np.bincount(steps % 997, minlength=997)) < FAR, far
        # No step comes again and again, as with a period it would: Poisson with mean 1.
        assert np.bincount(steps).max() < 13, far
    assert abs(np.corrcoef(rows[:-1], rows[1:])[0, 1]) < FAR / np.sqrt(n)
    # Within a part of the order, the rows come from everywhere.
    assert deviation(np.bincount(rows[: n // 100] * 100 // n, minlength=100)) < FAR


# ---- in training ----
def test_training_in_the_order_of_a_cipher(monkeypatch, backend_name, tmp_path):
    """Arrays, in sweeps and step by step, and memory maps: the same batches."""
    monkeypatch.setattr(orders, "ARRAY", 10)
    ng.use_backend(backend_name)
    X, y = np.random.RandomState(0).randn(60, 2), np.arange(60) % 3
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    arguments = {"epochs": 2, "batch_size": 16, "shuffle": True, "seed": 4, "print_every": None}
    found = []
    for data, callbacks in ((X, ()), (X, [ng.Callback()]), (mapped, ())):
        model = dense_model(2, 5, 3)
        history = model.train(data, y, callbacks=callbacks, **arguments)
        found.append((history.history, [a.tolist() for a in model.get_parameters()[0]]))
    by_hand = dense_model(2, 5, 3)
    for epoch in (1, 2):
        rows = Cipher(60, 4, epoch)[:]
        by_hand.train(X[rows], y[rows], **arguments | {"epochs": 1, "shuffle": False})
    found.append((found[0][0], [a.tolist() for a in by_hand.get_parameters()[0]]))
    assert all(one == found[0] for one in found[1:])
