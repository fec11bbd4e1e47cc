"""Dropout: masks, their random numbers, and what backward does with them.

The mask of a training pass is a function of (seed, calls, element), equal on every backend and
equal to the specification's; after `init()` it is the book's binomial draw. Defects B6 (stale or
missing mask) and B8 (float64 mask) of the book are gone.
"""

import numpy as np
import pytest

from nnfs_gpu import Layer_Dropout, get_backend, init, use_backend

pytestmark = pytest.mark.default_backend


def ones(backend, shape=(50, 20)):
    return backend.asarray(np.ones(shape))


def test_training_zeroes_the_share_and_keeps_the_mean(backend):
    layer = Layer_Dropout(0.3, seed=7)
    output = backend.to_numpy(layer.forward(ones(backend, (400, 100)), True))
    assert layer.rate == 0.7  # the share kept, as in the book
    assert set(np.unique(output)) == {0, output.max()}
    assert output.max() == pytest.approx(1 / 0.7, rel=1e-6)
    # 40,000 draws: the share of zeros has a deviation of sqrt(.3 * .7 / 40000) = .0023
    assert (output == 0).mean() == pytest.approx(0.3, abs=0.0115)
    assert output.dtype == backend.dtype == layer.binary_mask.dtype


def test_mask_is_the_specification_s(backend):
    x = np.random.RandomState(0).randn(33, 7)
    layer, spec = Layer_Dropout(0.25, seed=2**63 + 5), get_backend("numpy", dtype=backend.dtype)
    for call in range(3):
        layer.forward(x)
        _, mask = spec.dropout_forward(spec.asarray(x), 0.75, 2**63 + 5, call)
        np.testing.assert_array_equal(backend.to_numpy(layer.binary_mask), mask)
        np.testing.assert_array_equal(backend.to_numpy(layer.output), spec.asarray(x) * mask)
    assert layer.calls == 3


def test_every_call_has_a_mask_of_its_own_and_a_seed_repeats_them(backend):
    first, again, other = (Layer_Dropout(0.5, seed=s) for s in (1, 1, 2))
    a = [backend.to_numpy(first.forward(ones(backend))) for _ in range(2)]
    b = [backend.to_numpy(again.forward(ones(backend))) for _ in range(2)]
    assert (a[0] != a[1]).any()
    np.testing.assert_array_equal(a, b)
    assert (backend.to_numpy(other.forward(ones(backend))) != a[0]).any()


def test_without_a_seed_numpy_s_stream_decides(backend):
    outputs = []
    for _ in range(2):
        np.random.seed(3)
        layer = Layer_Dropout(0.5)
        assert layer.seed is None  # drawn when it is needed: weights come first in the stream
        outputs.append(backend.to_numpy(layer.forward(ones(backend))))
    np.testing.assert_array_equal(*outputs)
    two = Layer_Dropout(0.5)
    assert (backend.to_numpy(two.forward(ones(backend))) != outputs[0]).any()


def test_backward_multiplies_by_the_same_mask(backend):
    rng = np.random.RandomState(1)
    layer = Layer_Dropout(0.4, seed=0)
    layer.forward(rng.randn(9, 5))
    dvalues = backend.asarray(rng.randn(9, 5))
    dinputs = layer.backward(dvalues)
    assert dinputs is layer.dinputs
    expected = backend.to_numpy(dvalues) * backend.to_numpy(layer.binary_mask)
    np.testing.assert_array_equal(backend.to_numpy(dinputs), expected)


def test_without_training_nothing_is_dropped_and_no_call_is_counted(backend):
    x = backend.asarray(np.random.RandomState(0).randn(6, 4))
    layer = Layer_Dropout(0.9, seed=0)
    layer.forward(x)
    output = layer.forward(x, training=False)
    np.testing.assert_array_equal(backend.to_numpy(output), backend.to_numpy(x))
    assert layer.calls == 1
    # The book multiplies by the mask of the last training pass here, or raises (B6).
    np.testing.assert_array_equal(backend.to_numpy(layer.backward(x)), backend.to_numpy(x))


def test_rate_0_keeps_everything(backend):
    layer = Layer_Dropout(0, seed=0)
    np.testing.assert_array_equal(backend.to_numpy(layer.forward(ones(backend))), 1)


def test_after_init_the_masks_are_the_book_s(backend_name):
    use_backend(backend_name)
    init()
    layer = Layer_Dropout(0.1)
    np.random.seed(11)
    drawn = [np.random.binomial(1, 1 - 0.1, size=(30, 8)) / (1 - 0.1) for _ in range(2)]
    np.random.seed(11)
    for mask in drawn:
        layer.forward(np.ones((30, 8)))
        got = layer.backend.to_numpy(layer.binary_mask)
        np.testing.assert_array_equal(got, mask.astype(np.float32))
        assert got.dtype == np.float32  # the book's is float64 and upcasts the network (B8)


@pytest.mark.parametrize("rate", [1, 1.0, -0.1, 2, float("nan"), "0.5", None])
def test_rates_outside_0_to_1_are_refused(rate):
    with pytest.raises(ValueError, match=r"Layer_Dropout rate: got .* from 0 to below 1"):
        Layer_Dropout(rate)


@pytest.mark.parametrize(
    ("seed", "error"), [(-1, ValueError), (2**64, ValueError), (0.5, TypeError), (True, TypeError)]
)
def test_bad_seeds_are_refused(seed, error):
    with pytest.raises(error, match="Layer_Dropout seed"):
        Layer_Dropout(0.5, seed=seed)


def test_backward_before_forward_and_a_wrong_shape():
    layer = Layer_Dropout(0.5, seed=0)
    with pytest.raises(RuntimeError, match="before forward"):
        layer.backward(np.ones((2, 2)))
    layer.forward(np.ones((2, 2)))
    with pytest.raises(ValueError, match=r"\(2, 3\).*\(2, 2\)"):
        layer.backward(np.ones((2, 3)))
