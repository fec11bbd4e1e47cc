"""Random words are those of Philox4x32-10, the published ones, on every backend.

Proves: the Random123 distribution's known answers, for the array code and for the kernel; any
seed, stream, call and position against Philox in Python integers (itself checked against the
known answers); words that look uniform and independent; clear errors for numbers that do not
fit. Where the position cannot be chosen (`random_words` begins at word 0) the functions behind
it are asked.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from helpers import philox_block, philox_words, usable_backends

from nnfs_gpu import get_backend, spiral_data, use_backend
from nnfs_gpu.backend import philox

# kat_vectors of Random123 1.14, "philox4x32 10": counter, key, result.
KNOWN_ANSWERS = [
    (
        (0x00000000, 0x00000000, 0x00000000, 0x00000000),
        (0x00000000, 0x00000000),
        (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8),
    ),
    (
        (0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF),
        (0xFFFFFFFF, 0xFFFFFFFF),
        (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
    ),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]
each_answer = pytest.mark.parametrize(
    ("counter", "key", "expected"), KNOWN_ANSWERS, ids=["zeros", "ones", "pi"]
)


@pytest.fixture
def backend(backend_name):
    return get_backend(backend_name, dtype="float32")


def words_of(backend, *arguments):
    words = np.array(backend.to_numpy(backend.random_words(*arguments)))
    assert words.dtype == np.uint32
    return words


# ---- known answers ----
@each_answer
def test_reference_gives_the_known_answers(counter, key, expected):
    assert tuple(philox_block(counter, key)) == expected


@each_answer
def test_array_code_gives_the_known_answers(counter, key, expected):
    """Counter (position low, position high, call, stream), key (seed low, seed high)."""
    position = counter[0] | counter[1] << 32
    if position == 2**64 - 1:
        pytest.skip("words() takes the position of a word: the last block's end exceeds 2^64")
    seed = key[0] | key[1] << 32
    words = philox.words(np, 4 * position, 4, seed, counter[3], counter[2])
    assert tuple(words.tolist()) == expected


@each_answer
def test_kernel_gives_the_known_answers(counter, key, expected):
    from nnfs_gpu.kernels.cpu.philox import philox_block as kernel

    position, seed = counter[0] | counter[1] << 32, key[0] | key[1] << 32
    words = kernel(*(np.uint64(z) for z in (position, seed, counter[3], counter[2])))
    assert tuple(int(word) for word in words) == expected


def test_backend_gives_the_known_answer(backend):
    """The one that begins at word 0."""
    assert tuple(words_of(backend, 4, 0, 0, 0).tolist()) == KNOWN_ANSWERS[0][2]


# ---- against Philox in Python integers ----
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 8, 1000])
@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1, 2**32, 0x299F31D0A4093822, 2**64 - 1])
def test_words_of_any_seed_and_count(backend, seed, count):
    words = words_of(backend, count, seed, 2, 7)
    np.testing.assert_array_equal(words, philox_words(0, count, seed, 2, 7))


@pytest.mark.parametrize(("stream", "call"), [(0, 0), (1, 2**32 - 1), (2**32 - 1, 1), (5, 6)])
def test_words_of_any_stream_and_call(backend, stream, call):
    words = words_of(backend, 9, 77, stream, call)
    np.testing.assert_array_equal(words, philox_words(0, 9, 77, stream, call))


@pytest.mark.parametrize("first", [0, 1, 2, 3, 4, 5, 4 * 2**32 - 6, 2**40 + 3])
@pytest.mark.parametrize("count", [1, 2, 7, 12])
def test_array_code_begins_at_any_word(first, count):
    """Also where the position's upper half begins to count."""
    words = philox.words(np, first, count, 3, 2, 1)
    np.testing.assert_array_equal(words, philox_words(first, count, 3, 2, 1))


def test_no_words(backend):
    assert words_of(backend, 0, 1, 2, 3).shape == (0,)


@pytest.mark.parametrize("kind", [np.int64, np.uint64, np.int32, np.uint8])
def test_numpys_whole_numbers_are_seeds(backend, kind):
    expected = philox_words(0, 8, 5, 0)
    np.testing.assert_array_equal(words_of(backend, 8, kind(5), 0), expected)


@pytest.mark.parametrize("kind", [np.int64, np.int32])
def test_numpys_whole_numbers_are_whole_numbers(backend, kind):
    """As they come out of np.arange and shapes: for counts, streams, calls, ranges of rows."""
    expected = philox_words(0, 8, 5, 2, 3)
    np.testing.assert_array_equal(words_of(backend, kind(8), 5, kind(2), kind(3)), expected)
    x = backend.asarray(np.ones(8))
    one = backend.to_numpy(backend.dropout_forward(x, 0.5, 5, 3)[1])
    other = backend.to_numpy(backend.dropout_forward(x, 0.5, kind(5), kind(3))[1])
    np.testing.assert_array_equal(one, other)
    for whole, given in zip(
        backend.spiral(7, 3, 5, 1, 9),
        backend.spiral(*(kind(z) for z in (7, 3, 5, 1, 9))),
        strict=True,
    ):
        np.testing.assert_array_equal(backend.to_numpy(whole), backend.to_numpy(given))


def test_a_million_words_are_the_same_everywhere():
    """Every backend, and the same as the beginning and the end made on their own."""
    made = [words_of(get_backend(name), 2**20 + 3, 2**63 + 1, 0, 9) for name in usable_backends()]
    for words in made:
        np.testing.assert_array_equal(words, made[0])
    np.testing.assert_array_equal(made[0][:40], philox_words(0, 40, 2**63 + 1, 0, 9))
    np.testing.assert_array_equal(made[0][-41:], philox_words(2**20 - 38, 41, 2**63 + 1, 0, 9))


# ---- do they look random ----
def test_words_are_uniform_and_uncorrelated(backend):
    """Deterministic, and within five standard deviations of what chance would give."""
    n = 2**18
    u = words_of(backend, n, 2024, 0) / 2.0**32
    assert abs(u.mean() - 1 / 2) < 5 * math.sqrt(1 / 12 / n)
    assert abs(u.var() - 1 / 12) < 5 * math.sqrt(1 / 180 / n)
    counts = np.bincount((u * 256).astype(int), minlength=256)
    chi_squared = ((counts - n / 256) ** 2 / (n / 256)).sum()
    assert abs(chi_squared - 255) < 5 * math.sqrt(2 * 255)
    for lag in (1, 2, 3, 4, 5):
        assert abs(np.corrcoef(u[:-lag], u[lag:])[0, 1]) < 5 / math.sqrt(n)
    bits = np.unpackbits(words_of(backend, n, 2024, 0).view(np.uint8).reshape(n, 4), axis=1)
    assert np.abs(bits.mean(axis=0) - 0.5).max() < 5 * math.sqrt(0.25 / n)


def test_every_part_of_the_counter_and_the_key_counts(backend):
    """Words of other seeds, streams and calls are unrelated to these."""
    n = 4096
    one = words_of(backend, n, 1, 1, 1)
    for other in ((2, 1, 1), (1 + 2**32, 1, 1), (1, 2, 1), (1, 1, 2), (1, 2**31, 1), (1, 1, 2**31)):
        words = words_of(backend, n, *other)
        assert (words == one).sum() <= 1, other
        correlation = np.corrcoef(words.astype(float), one.astype(float))[0, 1]
        assert abs(correlation) < 5 / math.sqrt(n), other


def test_streams_keep_the_uses_apart():
    streams = (philox.STREAM_PLAIN, philox.STREAM_DROPOUT, philox.STREAM_SPIRAL)
    assert (*streams, philox.STREAM_ORDER) == (0, 1, 2, 3)


# ---- numbers that do not fit ----
@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ((4, -1, 0, 0), "seed"),
        ((4, 2**64, 0, 0), "seed"),
        ((4, 0, -1, 0), "stream"),
        ((4, 0, 2**32, 0), "stream"),
        ((4, 0, 0, -1), "call"),
        ((4, 0, 0, 2**32), "call"),
    ],
)
def test_numbers_out_of_range_are_refused(backend, arguments, name):
    with pytest.raises(ValueError, match=rf"{name}: got -?\d+, expected 0 to 2\^\d+ - 1"):
        backend.random_words(*arguments)


@pytest.mark.parametrize("seed", [1.5, "1", None, [1]])
def test_seeds_that_are_no_whole_numbers_are_refused(backend, seed):
    with pytest.raises((TypeError, ValueError)):
        backend.random_words(4, seed, 0)


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_spiral_refuses_seeds_that_do_not_fit(backend, seed):
    with pytest.raises(ValueError, match="seed: got"):
        backend.spiral(10, 3, seed)
    with use_backend(backend), pytest.raises(ValueError, match="seed: got"):
        spiral_data(10, 3, seed=seed)


@pytest.mark.parametrize(("start", "stop"), [(4, 9), (-1, 3), (5, 4), (7, 7)])
def test_spiral_has_no_rows_beside_its_own(backend, start, stop):
    """A row past the end would get a class that does not exist."""
    with pytest.raises(ValueError, match=rf"got rows {start} to {stop}, expected .* 0 to 6"):
        backend.spiral(3, 2, 1, start, stop)
    assert len(backend.spiral(3, 2, 1, 6, 6)[1]) == 0
