"""Animations: which epochs have a frame, what it shows, the file, and frames in checkpoints."""

from __future__ import annotations

import io
from itertools import pairwise

import numpy as np
import pytest
from networks import dense_model
from PIL import Image

from nnfs_gpu import use_backend
from nnfs_gpu.show import animation as animations
from nnfs_gpu.show.animation import FRAME, HEIGHT, LAST, MOST, WIDTH, Animation, chosen
from nnfs_gpu.show.regions import View

POINTS, LABELS = np.array([[-0.5, 0.5], [0.5, -0.5]] * 400), np.array([0, 1] * 400)
VIEW = View(-1, 1, -1, 1)


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(animations, "PIXELS", 24)
    with use_backend("numpy", dtype="float32"):
        yield


def halves(scale):
    """A network that decides by the sign of x: class 1 on the right where `scale` is above 0."""
    model = dense_model(2, 2)
    model.layers[0].weights = [[-scale, scale], [0.0, 0.0]]
    return model


def animation(*scales):
    made = Animation(POINTS, LABELS, 2, VIEW)
    for number, scale in enumerate(scales):
        made.add(halves(scale), f"epoch {number}")
    return made


# ---- which epochs ----
@pytest.mark.parametrize("epochs", [1, 2, MOST - 1, MOST])
def test_few_epochs_all_have_a_frame(epochs):
    assert chosen(epochs) == list(range(1, epochs + 1))


@pytest.mark.parametrize("epochs", [MOST + 1, 500, 100_000, 10**9])
def test_many_epochs_share_the_frames_most_of_them_early(epochs):
    found = chosen(epochs)
    assert found[0] == 1
    assert found[-1] == epochs
    assert MOST // 2 < len(found) <= MOST
    steps = [b - a for a, b in pairwise(found)]
    assert min(steps) >= 1
    assert sum(steps[: len(steps) // 2]) < epochs / 2


# ---- frames and the file ----
def test_the_file_has_the_frames_in_their_order():
    gif = Image.open(io.BytesIO(animation(-8, 8, 0).gif()))
    assert (gif.format, gif.size, gif.n_frames) == ("GIF", (WIDTH, HEIGHT), 3)
    assert gif.info["loop"] == 0
    colours, times = [], []
    for number in range(3):
        gif.seek(number)
        times.append(gif.info["duration"])
        pixels = np.asarray(gif.convert("RGB"), int)
        assert (pixels[-1, 0] == 255).all()  # the ground of the page
        colours.append(pixels[HEIGHT - 40, [60, WIDTH - 60]])
    assert times == [FRAME, FRAME, LAST]
    (left, right), (left_after, right_after), (even, _) = colours
    assert left[0] > left[2]  # orange: red before blue
    assert right[2] > right[0]
    assert left_after[2] > left_after[0]
    assert right_after[0] > right_after[2]
    assert np.abs(even - even.mean()).max() < 60  # in doubt


def test_many_points_are_not_all_shown():
    made = animation(1)
    figure, _, title = made._drawn
    assert len(figure.axes[0].collections[0].get_offsets()) == animations.POINTS
    assert title.get_text() == "epoch 0"


def test_nothing_is_no_file():
    with pytest.raises(ValueError, match="without frames"):
        animation().gif()


def test_the_model_and_random_numbers_are_left_alone():
    model = halves(3)
    before = [values.copy() for pair in model.get_parameters() for values in pair]
    random = np.random.get_state()[1].copy()
    Animation(POINTS, LABELS, 2, VIEW).add(model, "")
    for a, b in zip(before, [v for pair in model.get_parameters() for v in pair], strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(np.random.get_state()[1], random)


# ---- checkpoints ----
def test_frames_go_on_after_a_checkpoint():
    whole, first, second = animation(-8, 8), animation(-8), animation()
    second.set_state(first.get_state())
    assert len(second) == 1
    second.add(halves(8), "epoch 1")
    assert second.gif() == whole.gif()
    second.set_state({})  # of a run that had no animation
    assert len(second) == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state | {"frame_sizes": state["frame_sizes"] + 1},
        lambda state: state | {"frame_sizes": np.array([-1, len(state["frames"]) + 1])},
        lambda state: {"frame_sizes": state["frame_sizes"]},
        lambda state: state | {"frames": state["frames"][::-1]},
        lambda state: state | {"frames": np.r_[state["frames"][:400], state["frames"][400:] * 0]},
        lambda state: state | {"frames": "text"},
        lambda state: _state_of(Image.new("RGB", (9, 9))),
    ],
)
def test_other_states_are_refused_and_change_nothing(change):
    made = animation(1)
    with pytest.raises(ValueError, match=r"frame|invalid literal|could not convert"):
        made.set_state(change(made.get_state()))
    assert len(made) == 1


def _state_of(image):
    file = io.BytesIO()
    image.save(file, format="PNG")
    data = np.frombuffer(file.getvalue(), np.uint8)
    return {"frames": data, "frame_sizes": np.array([len(data)])}
