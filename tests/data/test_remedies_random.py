"""Data of random kinds, shapes and contents: they train, or one clear error says why not.

NNFS_GPU_FUZZ sets how many; the suite tries few.
"""

import os
import warnings

import numpy as np
from remedies_followed import network, regression

import nnfs_gpu as ng

CASES = int(os.environ.get("NNFS_GPU_FUZZ", "300"))
DTYPES = ("f4", "f8", "f2", "i4", "u1", "?", "U3", "S2", "O", "c8", "M8[D]", "m8[s]", "i8", "u8")
SHAPES = ((), (0,), (1,), (6,), (6, 2), (6, 1), (2, 6), (6, 3), (3, 6), (1, 6), (0, 2), (6, 2, 1))
SHAPES += ((6, 1, 1), (5,), (5, 2), (2,), (3, 3))


def drawn(rng):
    """An array, list or masked array of some dtype and shape, with NaN or None here and there."""
    dtype, shape = rng.choice(DTYPES), SHAPES[rng.integers(len(SHAPES))]
    a = rng.integers(-1, 4, shape).astype("i8")
    if rng.random() < 0.5:
        a = np.abs(a) % 3
    a = np.asarray(a).astype(dtype)
    if dtype in ("f4", "f8", "O") and a.size and rng.random() < 0.3:
        a.flat[0] = (np.nan, np.inf, 0.5)[rng.integers(3)]
    if dtype == "O" and a.size and rng.random() < 0.5:
        a.flat[-1] = (None, "word", [1, 2], 1j)[rng.integers(4)]
    way = rng.random()
    if way < 0.25:
        return a.tolist()
    return np.ma.array(a) if way < 0.3 else a


def refusal(model, X, y):
    """What `train` says of the data, "" where it trains."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "train: |overflow encountered in cast")
        try:
            model.train(X, y, print_every=None)
        except (TypeError, ValueError) as error:
            return str(error)
    return ""


def test_data_of_any_kind():
    ng.use_backend("numpy")
    rng = np.random.default_rng(int(os.environ.get("NNFS_GPU_FUZZ_SEED", "0")))
    models, refused = (network(), regression(), regression(2)), 0
    for _ in range(CASES):
        model = models[rng.integers(3)]
        X = drawn(rng) if rng.random() < 0.5 else rng.normal(size=(6, 2))
        y = drawn(rng)
        before = model.optimizer.iterations
        message = refusal(model, X, y)
        if message:
            refused += 1
            assert message.startswith("train: "), (X, y)
            assert "expected" in message or "without y" in message
        assert model.optimizer.iterations == before + (not message)
        for part in (model.layers[0], model.layers[2]):
            part.weights = np.ones(part.weights.shape)
    assert 0 < refused < CASES
