"""The pictures that `draw_shapes` makes: the same for a seed, and of the shapes it names."""

from __future__ import annotations

import numpy as np
import pytest

from nnfs_gpu import images


def test_shapes_repeat_and_leave_numpys_stream_alone():
    before = np.random.get_state()[1].copy()
    X, y = images.draw_shapes(4, 3, size=9, seed=5)
    assert (X.shape, X.dtype, y.dtype) == ((12, 9, 9), "uint8", "int32")
    np.testing.assert_array_equal(y, np.repeat([0, 1, 2], 4))
    np.testing.assert_array_equal(images.draw_shapes(4, 3, size=9, seed=5)[0], X)
    assert (images.draw_shapes(4, 3, size=9, seed=6)[0] != X).any()
    np.testing.assert_array_equal(np.random.get_state()[1], before)


def test_shapes_look_as_they_are_called():
    """The share of bright pixels, mean over many pictures, as areas of the shapes have it."""
    X, y = images.draw_shapes(60, len(images.SHAPES), size=32)
    share = np.array([(X[y == c] > 70).mean() for c in range(len(images.SHAPES))])
    square = share[0]
    expected = {"disc": np.pi / 4, "cross": 0.5775, "triangle": 0.5, "ring": 0.503, "stripes": 0.5}
    for name, area in expected.items():
        assert share[images.SHAPES.index(name)] / square == pytest.approx(area, abs=0.08), name


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ((0,), ValueError, "samples: got 0"),
        ((2.0,), TypeError, "samples: got 2.0"),
        ((2, 0), ValueError, "classes: got 0"),
        ((2, 7), ValueError, "classes: got 7, expected at most 6"),
        ((2, 3, 7), ValueError, "size: got 7 pixels, expected at least 8"),
        ((2, 3, 16, -1), ValueError, "seed: got -1"),
    ],
)
def test_bad_arguments_of_shapes(arguments, error, text):
    names = ("samples", "classes", "size", "seed")
    with pytest.raises(error, match=text):
        images.draw_shapes(**dict(zip(names, arguments, strict=False)))
