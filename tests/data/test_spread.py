"""The spread order: every row once, batches that are even samples, the same steps on ranks."""

import numpy as np
import pytest
from blocks_networks import classifier, state
from local_world import on_ranks

import nnfs_gpu as ng
from nnfs_gpu.data.spread import Spread
from nnfs_gpu.training.checkpoint import CheckpointError

SHAPES = [(n, batch) for n in (1, 2, 10, 97, 300) for batch in (1, 2, 7, 64, n, n + 1, 1000)]


def rows_at(order, start, stop):
    return [row for part in order.parts(start, stop) for row in part]


@pytest.mark.parametrize(("n", "batch"), SHAPES)
def test_every_row_once_stratum_by_stratum(n, batch):
    order, strata = Spread(n, batch), -(-n // batch)
    dealt = [row for stratum in range(strata) for row in range(stratum, n, strata)]
    assert sorted(dealt) == list(range(n))
    assert rows_at(order, 0, n) == dealt
    for size in {1, 7, batch, n}:
        parts = [rows_at(order, first, min(first + size, n)) for first in range(0, n, size)]
        assert [row for part in parts for row in part] == dealt
    assert rows_at(order, n, n) == []


def test_parts_are_few_and_far_out_as_near():
    order = Spread(10**14, 10**6)
    (part,) = order.parts(10**13 + 5, 10**13 + 10)
    assert part == range(10**7 + 5 * 10**8, 10**7 + 9 * 10**8 + 1, 10**8)
    for start in range(0, 900, 13):
        assert len(list(Spread(1000, 9).parts(start, start + 9))) <= 3
    for start, stop in ((-1, 5), (5, 4), (0, 1001)):
        with pytest.raises(ValueError, match=f"rows: got {start} to {stop}, expected a range with"):
            list(Spread(1000, 9).parts(start, stop))


@pytest.mark.parametrize("batch", [31, 100, 899, 900])
def test_batches_hold_as_many_of_each_arm(backend, batch):
    """And of each third of an arm: batches that begin in one stratum and end in the next, too."""
    ng.use_backend(backend)
    rows = ng.spiral_rows(300, 3, seed=5, spread=batch)
    for start in range(0, 901 - batch, batch):
        X, y = (backend.to_numpy(a) for a in rows.make(start, start + batch))
        thirds = np.minimum(np.hypot(*X.T.astype(float)) * 3, 2).astype(int)
        counts = np.bincount(3 * y + thirds, minlength=9)
        assert counts.max() - counts.min() <= 3, counts


@pytest.mark.parametrize("spread", [1, 7, 200, 1000])
def test_the_rows_of_the_spiral(backend, spread):
    ng.use_backend(backend)
    X, y = (backend.to_numpy(a) for a in ng.spiral_data(67, 3, seed=5))
    rows = ng.spiral_rows(67, 3, seed=5, spread=spread)
    order = Spread(201, spread)
    for start, stop in ((0, 201), (3, 120), (200, 201), (5, 5)):
        points, labels = rows.make(start, stop)
        here = rows_at(order, start, stop)
        assert backend.to_numpy(points).tobytes() == X[here].tobytes()
        assert backend.to_numpy(labels).tobytes() == y[here].tobytes()
        assert (points.dtype, labels.dtype) == (backend.dtype, np.int32)
    with pytest.raises(ValueError, match="spread: got 0, expected at least 1"):
        ng.spiral_rows(67, 3, spread=0)


@pytest.mark.parametrize("batch_size", [1, 7, 1000, None])
def test_the_same_bits_on_ranks_as_of_arrays(batch_size):
    ng.use_backend("numba", dtype="float32")
    samples = 5 if batch_size == 1 else 700
    spread = batch_size or 3 * samples
    made = [classifier(inputs=2) for _ in range(6)]

    def trained(world, *data):
        model = made.pop()
        arguments = {"epochs": 2, "batch_size": batch_size, "print_every": None}
        history = model.train(*data, world=world, **arguments)
        return {name: a.tobytes() for name, a in state(model).items()}, history.history

    X, y = ng.spiral_data(samples, 3, seed=5)
    order = rows_at(Spread(3 * samples, spread), 0, 3 * samples)
    expected = trained(None, X[order], y[order])
    rows = ng.spiral_rows(samples, 3, seed=5, spread=spread)
    assert trained(None, rows) == expected
    for size in (1, 3):
        assert on_ranks(size, lambda world: trained(world, rows)) == [expected] * size


def test_a_checkpoint_of_another_order_is_refused(tmp_path):
    ng.use_backend("numpy")
    arguments = {"checkpoint": tmp_path, "batch_size": 50, "print_every": None}
    classifier(inputs=2).train(ng.spiral_rows(50, 3, seed=1, spread=50), **arguments)
    with pytest.raises(CheckpointError, match=r"X.blocks of.strata was 3, is now 2"):
        classifier(inputs=2).train(ng.spiral_rows(50, 3, seed=1, spread=80), **arguments)
