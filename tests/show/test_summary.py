"""A model in a line, as a table, in a notebook: whole or being built, also with own layers."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pytest
from networks import dense_model, model_of

import nnfs_gpu as n
from nnfs_gpu.show.summary import MOST_ROWS


@pytest.fixture(autouse=True)
def _numpy():
    with n.use_backend("numpy", dtype="float32"):
        yield


def text_of(model) -> str:
    found = []
    assert model.summary(print_fn=found.append) is None
    (text,) = found
    return text


class Layer_Convolved:  # noqa: N801 - in the book's style
    """Weights of four axes: nobody knows what it gives, or what a subclass calls it: <b>."""

    def __init__(self):
        self.weights, self.biases = np.ones((3, 1, 2, 2)), np.zeros(3)

    def forward(self, inputs, training):
        self.output = inputs

    def backward(self, dvalues):
        self.dinputs, self.dweights, self.dbiases = dvalues, self.weights, self.biases


def test_a_line_says_what_it_is():
    model = dense_model(2, 64, 3)
    assert repr(model) == "Model(2-64-3, ReLU, Softmax, float32, numpy; 387 parameters)"
    deep = model_of(
        n.Layer_Dense(1, 8),
        n.Activation_Tanh(),
        n.Layer_Dropout(0.1),
        n.Layer_Dense(8, 8),
        n.Activation_Tanh(),
        n.Layer_Dense(8, 1),
        n.Activation_Linear(),
    )
    assert repr(deep) == "Model(1-8-8-1, Tanh, Dropout, Linear, float32, numpy; 97 parameters)"


def test_a_model_that_is_being_built():
    model = n.Model()
    assert repr(model) == "Model(no layers)"
    assert "engine" in text_of(model)
    model.add(n.Layer_Dense(1, 1))
    assert repr(model) == "Model(1-1, float32, numpy; 2 parameters, not finalized)"
    assert "known when there is a loss and an optimizer" in text_of(model)
    model.set(loss=n.Loss_MeanSquaredError(), optimizer=n.Optimizer_SGD())
    assert "known after finalize()" in text_of(model)
    model.add(n.Activation_Linear())
    model.finalize()
    assert "not finalized" not in repr(model)
    model.add(n.Activation_Linear())
    assert "not finalized" in repr(model)


def test_the_summary_has_every_layer_with_its_sizes():
    model = model_of(
        n.Layer_Dense(2, 64, weight_regularizer_l2=5e-4),
        n.Activation_ReLU(),
        n.Layer_Dropout(0.25, seed=3),
        n.Layer_Dense(64, 3),
        n.Activation_Softmax(),
        optimizer=n.Optimizer_Adam(0.05),
    )
    text = text_of(model)
    assert re.search(r"0 +Layer_Dense\(2, 64\) +\(N, 64\) +192 +768 bytes +L2 of weights", text)
    assert re.search(r"2 +Layer_Dropout\(0.25\) +\(N, 64\)\s*\n", text)
    assert re.search(r"3 +Layer_Dense\(64, 3\) +\(N, 3\) +195 +780 bytes\s*\n", text)
    assert re.search(r"parameters +387 parameters, 1.5 KiB of float32", text)
    assert re.search(r"engine +layer by layer: the backend 'numpy' has no fused step", text)
    assert re.search(r"optimizer +Optimizer_Adam\(learning_rate=0.05\)", text)
    assert "optimizer state" not in text
    model.train(np.zeros((4, 2)), [0, 1, 2, 0], print_every=None)
    assert re.search(r"optimizer state +3.0 KiB", text_of(model))  # two arrays a parameter


def test_without_a_penalty_there_is_no_column_for_it():
    assert "regularization" not in text_of(dense_model(2, 3))


def test_the_engine_is_the_one_that_trains(capsys):
    with n.use_backend("numba"):
        model = dense_model(2, 64, 3)
    engine = text_of(model).splitlines()[-1].split(maxsplit=1)[1]
    model.explain()
    assert capsys.readouterr().out.splitlines()[-1] == engine


def test_own_layers_are_shown_as_far_as_they_are_known():
    model = n.Model()
    for layer in (Layer_Convolved(), n.Activation_ReLU(), n.Layer_Dense(4, 2)):
        model.add(layer)
    assert (
        repr(model) == "Model(4-2, Convolved, ReLU, float32, numpy; 25 parameters, not finalized)"
    )
    text = text_of(model)
    assert re.search(r"0 +Layer_Convolved +\(N, \?\) +15 +120 bytes", text)
    assert re.search(r"1 +Activation_ReLU\(\) +\(N, \?\)", text)
    assert re.search(r"2 +Layer_Dense\(4, 2\) +\(N, 2\)", text)


def test_it_prints_where_nothing_takes_the_text(capsys):
    assert dense_model(2, 3).summary() is None
    out = capsys.readouterr().out
    assert out.splitlines()[0] == "Model(2-3, Softmax, float32, numpy; 9 parameters)"
    assert "\x1b" not in out


def test_what_takes_the_text_is_a_function():
    with pytest.raises(TypeError, match="summary: got print_fn 3, expected a function"):
        dense_model(2, 3).summary(print_fn=3)


# ---- notebooks ----
class _Cells(HTMLParser):
    """Texts of the cells, row by row; every tag that is opened is closed."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.open, self.tags = [], [], set()
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


def test_html_shows_the_same_and_escapes_names():
    hostile = type("Layer_<script>alert(1)</script>", (Layer_Convolved,), {})
    model = n.Model()
    for layer in (hostile(), n.Layer_Dense(2, 64, weight_regularizer_l1=0.1)):
        model.add(layer)
    cells = _Cells(model._repr_html_())
    assert "script" not in cells.tags
    header, first, second = cells.rows
    assert header[1:] == ["layer", "output", "parameters", "bytes", "regularization"]
    assert first[1] == "Layer_<script>alert(1)</script>"
    assert second[1:] == ["Layer_Dense(2, 64)", "(N, 64)", "192", "768 bytes", "L1 of weights 0.1"]
    assert "color" not in model._repr_html_()  # the page's own, light or dark


def test_html_of_very_many_layers_and_of_none():
    model = dense_model(*[4] * 40)
    rows = _Cells(model._repr_html_()).rows
    layers = len(model.layers)
    assert len(rows) == 1 + MOST_ROWS + 1
    assert rows[MOST_ROWS // 2 + 1][1] == f"{layers - MOST_ROWS} more"
    assert rows[-1][0] == str(layers - 1)
    assert _Cells(n.Model()._repr_html_()).rows == []
