"""Every refusal of data says which argument, what came, what was expected, and what to do;
and who does that trains. `remedies_followed.py` is the reader.
"""

import copy
import re

import numpy as np
import pytest
from remedies_followed import follow, network

import nnfs_gpu as ng

RNG = np.random.default_rng(0)
X = RNG.normal(size=(30, 2))
Y = np.arange(30) % 3
WORDS = np.array(["ant", "bee", "cat"])[Y]
MASK = np.arange(30) == 4
PAIRS = [(X[:10], Y[:10]), (X[10:], Y[10:])]

# name: (X, y, what the message must hold)
CASES = {
    # labels
    "words": (X, WORDS, r"labels: got dtype <U3 .* np.unique\(y, return_inverse=True\)\[1\]"),
    "words in a list": (X, WORDS.tolist(), "labels: got dtype <U3"),
    "words as objects": (X, WORDS.astype(object), "labels: got dtype object"),
    "words and numbers": (X, np.where(Y > 0, WORDS.astype(object), 7), "labels: got dtype object"),
    "words in a column": (X, WORDS.reshape(-1, 1), "labels: got dtype <U3"),
    "numbers as text": (X, Y.astype("U"), "labels: got dtype <U"),
    "whole floats": (X, Y * 1.0, r"labels: got dtype float64 .* use y.astype\('int32'\)"),
    "whole floats in a list": (X, (Y * 1.0).tolist(), "labels: got dtype float64"),
    "floats from 1": (X, Y + 1.0, "labels: got dtype float64"),
    "NaN": (X, np.where(MASK, np.nan, Y), "labels: got dtype float64 .* 1 of them missing"),
    "infinity": (X, np.where(MASK, np.inf, Y), "labels: got dtype float64"),
    "NaN in lists": (X.tolist(), np.where(MASK, np.nan, Y).tolist(), "labels: got dtype float64"),
    "None": (X, np.where(MASK, None, Y), "labels: got dtype object .* 1 of them missing"),
    "missing word": (X, np.where(MASK, None, WORDS.astype(object)), "1 of them missing"),
    "from 1": (X, Y + 1, "labels: got values from 1 to 3, expected 0 to 2 .* use y - 1"),
    "from 1 in a list": (X, (Y + 1).tolist(), "labels: got values from 1 to 3"),
    "from 1, unsigned": (X, (Y + 1).astype("u1"), "labels: got values from 1 to 3"),
    "negative": (X, Y - 1, "labels: got values from -1 to 1, expected 0 to 2"),
    "tens": (X, Y * 10, "labels: got values from 0 to 20, expected 0 to 2"),
    "bools": (X, Y > 1, "labels: got dtype bool"),
    "integers as objects": (X, Y.astype(object), "labels: got dtype object"),
    "column": (X, Y.reshape(-1, 1), r"labels: got shape \(30, 1\).*use y.reshape\(-1\)"),
    "column of floats": (X, Y.reshape(-1, 1) * 1.0, r"labels: got shape \(30, 1\)"),
    "column from 1": (X, Y.reshape(-1, 1) + 1, r"labels: got shape \(30, 1\)"),
    "column in a list": (X, Y.reshape(-1, 1).tolist(), r"labels: got shape \(30, 1\)"),
    "complex labels": (X, Y * (1 + 0j), "labels: got dtype complex128"),
    "dates as labels": (X, Y.astype("M8[D]"), "labels: got dtype datetime64"),
    "narrow one-hot": (X, np.eye(2)[Y % 2], r"labels: got shape \(30, 2\), expected \(N, 3\)"),
    "row": (X, Y.reshape(1, -1), r"labels: got shape \(1, 30\), expected \(N, 3\)"),
    "column of columns": (X, Y.reshape(-1, 1, 1), r"labels: got shape \(30, 1, 1\), expected"),
    "one-hot with an axis more": (X, np.eye(3)[Y][..., None], r"labels: got shape \(30, 3, 1\)"),
    "complex rows": (X, np.eye(3)[Y] * (1 + 0j), "labels: got dtype complex128"),
    "one-hot in lists with NaN": (
        X.tolist(),
        np.where(MASK[:, None], np.nan, np.eye(3)[Y]).tolist(),
        "labels: row 4 is",
    ),
    "turned one-hot": (X, np.eye(3)[Y].T, r"labels: got shape \(3, 30\), expected \(N, 3\)"),
    "percent": (X, np.eye(3)[Y] * 100, "labels: row 0 is .* expected probabilities"),
    "counts": (X, np.eye(3)[Y] * 2 + 1, "labels: row 0 is .* expected probabilities"),
    "scores": (X, np.eye(3)[Y] - 0.5, "labels: row 0 is"),
    "one-hot with NaN": (X, np.where(MASK[:, None], np.nan, np.eye(3)[Y]), "labels: row 4 is"),
    "row without a class": (X, np.eye(3)[Y] * ~MASK[:, None], "labels: row 4 is"),
    "rows of text": (X, np.eye(3)[Y].astype("U3"), "labels: got dtype <U3"),
    "fewer": (X, Y[:20], "labels: got 20 labels for 30 samples"),
    "more": (X[:20], Y, "labels: got 30 labels for 20 samples"),
    "masked labels": (X, np.ma.array(Y, mask=MASK), r"y: got a masked .* use y.filled\(0\)"),
    # data
    "one sample": (X[0], Y[:1], r"got shape \(2,\), expected \(samples, features\).*reshape"),
    "one sample in a list": (X[0].tolist(), Y[:1], r"got shape \(2,\)"),
    "turned": (X.T, Y, r"got shape \(2, 30\), expected \(samples, 2\).* use X.T"),
    "pictures": (X.reshape(30, 2, 1), Y, r"use X.reshape\(len\(X\), -1\)"),
    "pictures of a channel": (X.reshape(30, 1, 2, 1), Y, r"got shape \(30, 1, 2, 1\)"),
    "pictures in lists": (X.reshape(30, 2, 1).tolist(), Y, r"got shape \(30, 2, 1\)"),
    "swapped": (Y, X, r"got X of shape \(30,\) and y of shape \(30, 2\).* use X, y = y, X"),
    "swapped lists": (Y.tolist(), X.tolist(), "got X of shape"),
    "swapped one-hot": (np.eye(3)[Y], X, r"got X of shape \(30, 3\)"),
    "masked": (np.ma.array(X, mask=X > 1), Y, r"X: got a masked array with \d.* X.filled\(0\)"),
    "mask of nothing": (np.ma.array(X), Y, "X: got a masked array with 0"),
    "text": (X.astype("U"), Y, "X: .*real numbers expected, got dtype <U32"),
    "text in lists": (X.astype("U").tolist(), Y, "X: .*real numbers expected, got dtype <U"),
    "words in lists": (np.c_[X[:, 0].astype("U"), WORDS].tolist(), Y, r"'ant' at \(0, 1\)"),
    "complex in lists": ((X * 1j).tolist(), Y, "X: .*real numbers expected, got dtype complex"),
    "dates in lists": ([[np.datetime64(1, "D")] * 2] * 30, Y, "X: .*got dtype datetime64"),
    "a word": (np.c_[X[:, 0].astype("U"), WORDS], Y, r"'ant' at \(0, 1\)"),
    "objects": (X.astype(object), Y, "X: .*real numbers expected, got dtype object"),
    "complex": (X * (1 + 1j), Y, "X: .*real numbers expected, got dtype complex128"),
    "dates": ((X * 1e9).astype("M8[s]"), Y, "X: .*real numbers expected, got dtype datetime64"),
    "spans": ((X * 1e9).astype("m8[s]"), Y, "X: .*real numbers expected, got dtype timedelta64"),
    "ragged": ([*X[:29].tolist(), [1.0]], Y.tolist(), "X: got rows of different.* row 29 has 1"),
    "ragged first": ([[1.0], *X[1:].tolist()], Y.tolist(), "different lengths: row 0 has 1"),
    "no row": ([*X[:29].tolist(), 5.0], Y.tolist(), "different lengths: row 29 is no row"),
    "rows as objects": (np.array([*map(list, X), None], object)[:30], Y, "got dtype object"),
    "pair of all": ((X, Y), None, "got X without y.* use X, y = X"),
    "samples": (list(zip(X, Y, strict=True)), None, r"list of single samples .* X, y = zip"),
    "batches": (PAIRS, None, r"list of batches \(X, y\).* use Blocks\(X\)"),
    "batches as lists": ([list(pair) for pair in PAIRS], None, r"use Blocks\(X\)"),
    "zip of samples": (lambda: zip(X, Y, strict=True), None, r"a zip, .*X, y = zip\(\*X\)"),
    "zip of batches": (lambda: zip(*zip(*PAIRS, strict=True), strict=True), None, "a zip, which"),
    "generator": (lambda: (pair for pair in PAIRS), None, r"generator, .*Blocks\(list\(X\)\)"),
}


@pytest.fixture(autouse=True)
def _numpy():
    ng.use_backend("numpy")


def made(name):
    """X and y of a case; iterators anew, arrays as copies: a remedy may write into them."""
    x, y, message = CASES[name]
    return x() if callable(x) else copy.copy(x), copy.copy(y), message


@pytest.mark.parametrize("name", CASES)
def test_a_remedy_that_is_followed_works(name):
    x, y, message = made(name)
    model = network()
    with pytest.raises((TypeError, ValueError), match=f"(?s)^train: .*{message}") as refused:
        model.train(x, y, print_every=None)
    text = str(refused.value)
    assert model.optimizer.iterations == 0
    x, y, _ = made(name)
    if name == "zip of samples":  # of two remedies in one line the second
        text = text.split("for batches, ")[1].replace("X, y =", "use X, y =")
    found = follow(text, X=x, y=y)
    model.train(found["X"], found["y"], print_every=None)
    assert model.optimizer.iterations == 1
    with pytest.raises((TypeError, ValueError), match=f"(?s)^evaluate: .*{message[:8]}"):
        model.evaluate(*made(name)[:2], verbose=False)
    model.evaluate(found["X"], found["y"], verbose=False)


@pytest.mark.parametrize("name", [n for n, (_, y, _) in CASES.items() if y is not None])
def test_validation_data_are_refused_alike(name):
    x, y, message = made(name)
    with pytest.raises((TypeError, ValueError), match=f"(?s)^validation_data: .*{message}"):
        network().train(X, Y, validation_data=(x, y), print_every=None)


DATA = ("one sample", "turned", "pictures", "masked", "text", "objects", "complex", "dates")


@pytest.mark.parametrize("name", DATA)
def test_predict_says_the_same(name):
    x, _, message = made(name)
    with pytest.raises((TypeError, ValueError), match=f"(?s)^predict: .*{message}") as refused:
        network().predict(x)
    assert network().predict(follow(str(refused.value), X=x)["X"]).shape[1] == 3


# ---- networks of another size ----
@pytest.mark.parametrize(
    ("x", "y", "sizes"),
    [
        (X, np.eye(5)[Y], (2, 5)),
        (X, np.arange(30) % 5, (2, 5)),
        (np.zeros((30, 4)), Y, (4, 3)),
        (np.zeros((30, 28, 28)), Y, (784, 3)),
    ],
)
def test_a_network_as_the_message_wants_it_takes_the_data(x, y, sizes):
    with pytest.raises(ValueError, match=r"got .*expected") as refused:
        network().train(x, y, print_every=None)
    text = str(refused.value)
    inputs = re.search(r"begin with Layer_Dense\((\d+), ...\)", text)
    outputs = re.search(r"end with Layer_Dense\(..., (\d+)\)", text)
    found = int(inputs[1]) if inputs else 2, int(outputs[1]) if outputs else 3
    assert found == sizes
    if "use X" in text:
        x = follow(text, X=x)["X"]
    network(*found).train(x, y, print_every=None)
