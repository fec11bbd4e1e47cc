"""Pictures of models and of curves: colours where they belong, any data, no state of pyplot."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from cli_runs import assert_png
from networks import dense_model, model_of

import nnfs_gpu as n
from nnfs_gpu import spiral_bayes_limit, spiral_data, use_backend
from nnfs_gpu.show import picture as pictures, regions
from nnfs_gpu.show.regions import View, region_image
from nnfs_gpu.show.style import class_colours


@pytest.fixture(autouse=True)
def _numpy(monkeypatch):
    monkeypatch.setattr(regions, "PIXELS", 40)
    with use_backend("numpy", dtype="float32"):
        yield


def halves(scale=8.0):
    """A network that decides by the sign of x."""
    model = dense_model(2, 2)
    model.layers[0].weights = [[-scale, scale], [0.0, 0.0]]
    return model


def png_of(figure) -> tuple[int, int]:
    data, size = figure._repr_png_()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    return size["width"], size["height"]


# ---- decision regions ----
def test_regions_take_the_colour_of_the_likely_class():
    """Left and right half, paler at the border."""
    image = region_image(halves(), pictures.SPIRAL, 64)
    left, right = image[32, 8, :3], image[32, 55, :3]
    blue, orange = class_colours(2)
    assert np.abs(left - blue).sum() < np.abs(left - orange).sum()
    assert np.abs(right - orange).sum() < np.abs(right - blue).sum()
    assert image[32, 32, :3].min() > max(left.min(), right.min())  # the border is paler
    assert image[0, 0, 3] == 0  # beyond the data: transparent
    assert image[32, 8, 3] == 1


def test_one_sigmoid_is_the_probability_of_class_1():
    model = model_of(n.Layer_Dense(2, 1), n.Activation_Sigmoid())
    model.layers[0].weights = [[8.0], [0.0]]
    view = View(-1, 1, -1, 1)
    assert np.allclose(region_image(model, view, 32), region_image(halves(4), view, 32), atol=1e-5)
    figure = n.picture(model, [[0.0, 1.0], [1.0, 0.0]], [[0], [1]])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["class 0", "class 1"]


@pytest.mark.parametrize(
    "points",
    [
        np.array([[3.0, 1e6]]),
        np.array([[0.0, 0.0], [0.0, 5.0]]),
        np.random.default_rng(0).normal([100, -3], [1e4, 1e-4], (3000, 2)),
    ],
)
def test_the_view_holds_all_points(points):
    labels = np.arange(len(points)) % 2
    figure = n.picture(halves(), points, labels, title="Two halves")
    (axes,) = figure.axes
    assert axes.get_title(loc="left") == "Two halves"
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    assert left < points[:, 0].min() <= points[:, 0].max() < right
    assert bottom < points[:, 1].min() <= points[:, 1].max() < top
    shown = axes.collections[0].get_offsets()
    assert len(shown) == min(len(points), regions.POINTS)
    assert png_of(figure) == (520, 540)


def test_all_forms_of_targets_give_one_picture():
    points, labels = spiral_data(10, 3, seed=0)
    model = dense_model(2, 3)
    found = [
        n.picture(model, points, y).axes[0].collections[0].get_facecolors()
        for y in (labels, np.eye(3)[labels], list(labels))
    ]
    assert (found[0] == found[1]).all()
    assert (found[0] == found[2]).all()


# ---- regressions ----
def test_a_regression_is_a_line_over_its_data():
    model = model_of(n.Layer_Dense(1, 1), n.Activation_Linear())
    model.layers[0].weights, model.layers[0].biases = [[2.0]], [[1.0]]
    figure = n.picture(model, [[0.0], [1.0]], [1.0, 4.0])
    (axes,) = figure.axes
    x, y = axes.lines[0].get_data()
    assert (x[0], x[-1]) == (pytest.approx(-0.05), pytest.approx(1.05))
    assert np.allclose(y, 2 * x + 1, atol=1e-6)
    assert sorted(axes.collections[0].get_offsets().tolist()) == [[0, 1], [1, 4]]
    both = model_of(n.Layer_Dense(1, 2), n.Activation_Linear())
    assert len(n.picture(both, [[0.0], [1.0]], np.eye(2)).axes[0].lines) == 2


# ---- bad input ----
@pytest.mark.parametrize(
    ("widths", "X", "y", "kind", "problem"),
    [
        ((3, 2), np.ones((4, 3)), [0, 1, 0, 1], ValueError, "3 inputs and 2 outputs"),
        ((2, 2), np.ones((4, 2)), [0, 1, 0, 2], ValueError, "picture: labels: got values"),
        ((2, 2), np.ones((4, 3)), [0, 1, 0, 1], ValueError, "picture.*(4, 3)"),
        ((2, 2), [[0.0, np.nan]], [0], ValueError, "picture.*finite"),
        ((2, 2), [["a", "b"]], [0], TypeError, "picture"),
        ((1, 2), np.ones((4, 1)), [0, 1, 0, 1], ValueError, "expected a classifier of 2 inputs"),
    ],
)
def test_what_cannot_be_drawn_is_named(widths, X, y, kind, problem):
    with pytest.raises(kind, match=problem.replace("(", r"\(").replace(")", r"\)")):
        n.picture(dense_model(*widths), X, y)


def test_a_model_that_is_not_ready():
    with pytest.raises(TypeError, match="picture: got a list, expected a Model"):
        n.picture([], [[0.0, 0.0]], [0])
    with pytest.raises(RuntimeError, match="picture: the model has no layers"):
        n.picture(n.Model(), [[0.0, 0.0]], [0])
    model = n.Model()
    model.add(n.Layer_Dense(2, 2))
    with pytest.raises(RuntimeError, match="picture: the model has no loss"):
        n.picture(model, [[0.0, 0.0]], [0])
    model.add(n.Activation_Softmax())
    model.set(loss=n.Loss_CategoricalCrossentropy())
    with pytest.raises(RuntimeError, match=r"call finalize\(\)"):
        n.picture(model, [[0.0, 0.0]], [0])
    several = model_of(n.Layer_Dense(2, 2), n.Activation_Sigmoid())
    with pytest.raises(ValueError, match="2 outputs that ends in Activation_Sigmoid"):
        n.picture(several, [[0.0, 0.0]], [[0, 1]])


# ---- the command's picture ----
@pytest.mark.parametrize(("classes", "epochs"), [(1, 1), (2, 0), (3, 40), (7, 2), (300, 3)])
def test_overview_of_any_number_of_classes_and_epochs(classes, epochs, tmp_path):
    model = dense_model(2, classes)
    points, labels = spiral_data(20, classes, seed=0)
    numbers = [1 / n for n in range(1, epochs + 1)]
    curve = dict.fromkeys(("loss", "accuracy", "val_loss", "val_accuracy"), numbers)
    curve["epoch"] = list(range(1, epochs + 1))
    png = pictures.overview(model, points, labels, curve, spiral_bayes_limit(classes), "Title")
    (tmp_path / "p.png").write_bytes(png)
    assert_png(tmp_path / "p.png")


# ---- no traces ----
def test_nothing_of_pyplot_or_of_the_settings_is_touched():
    """In a process of its own: whether pyplot was imported is seen in sys.modules."""
    code = """
import sys, numpy as np, matplotlib
import nnfs_gpu as n
n.use_backend("numpy")
names = [name for name in matplotlib.rcParamsDefault if name != "backend"]
before = [matplotlib.rcParams[name] for name in names]  # "backend" would import pyplot
model = n.Model()
for layer in (n.Layer_Dense(2, 2), n.Activation_Softmax()):
    model.add(layer)
model.set(loss=n.Loss_CategoricalCrossentropy(), optimizer=n.Optimizer_SGD(),
          accuracy=n.Accuracy_Categorical())
model.finalize()
random = np.random.get_state()[1].tolist()
history = model.train([[0.0, 1.0], [1.0, 0.0]], [0, 1], print_every=None)
history.plot()._repr_png_()
n.picture(model, [[0.0, 1.0], [1.0, 0.0]], [0, 1])._repr_png_()
print("matplotlib.pyplot" in sys.modules, [matplotlib.rcParams[name] for name in names] == before,
      np.random.get_state()[1].tolist() == random)
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["False", "True", "True"]


def test_a_figure_on_a_clear_ground_can_be_read_on_white_and_black():
    figure = n.picture(halves(), [[0.0, 1.0], [1.0, 0.0]], [0, 1])
    assert figure.get_facecolor()[3] == 0

    def luminance(colour):
        linear = np.where(
            colour <= 0.04045,
            np.asarray(colour) / 12.92,
            ((np.asarray(colour) + 0.055) / 1.055) ** 2.4,
        )
        return linear @ [0.2126, 0.7152, 0.0722]

    from matplotlib.colors import to_rgb

    ink = luminance(np.array(to_rgb(figure.axes[0].xaxis.get_ticklabels()[0].get_color())))
    for ground in (1.0, 0.0):
        high, low = max(ink, ground), min(ink, ground)
        assert (high + 0.05) / (low + 0.05) > 4
