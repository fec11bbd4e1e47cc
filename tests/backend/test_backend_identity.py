"""Backends are equal where they compute the same; a copy is this process's own."""

from __future__ import annotations

import itertools
import pickle

import pytest
from fake_cupy import DeviceBackend
from helpers import COPIES, plain

import nnfs_gpu as nnfs
from nnfs_gpu import get_backend
from nnfs_gpu.backend.identity import arrays
from nnfs_gpu.backend.numba_backend import NumbaBackend
from nnfs_gpu.backend.numpy_backend import NumpyBackend

SETTINGS = [
    {"dtype": dtype, "precise_dot": precise, "book_random": random}
    for dtype, precise, random in itertools.product(
        ("float32", "float64"), (False, True), (False, True)
    )
]


# ---- equality ----
@pytest.mark.parametrize("kind", [NumpyBackend, NumbaBackend, DeviceBackend])
def test_equal_where_name_dtype_and_settings_are(kind):
    made = [kind(**settings) for settings in SETTINGS]
    again = [kind(**settings) for settings in SETTINGS]
    for (i, a), (j, b) in itertools.product(enumerate(made), enumerate(again)):
        assert (a == b) is (i == j)
        assert (a != b) is (i != j)
    assert len({*made, *again}) == len(SETTINGS)
    assert [hash(a) for a in made] == [hash(b) for b in again]
    assert len({repr(a) for a in made}) == len(SETTINGS)  # a message shows what differs


def test_another_class_or_no_backend_at_all_differs():
    assert NumpyBackend() != NumbaBackend()
    assert NumpyBackend() != "numpy"
    assert NumpyBackend() is not None
    assert (NumpyBackend() == 1) is False


def test_another_device_differs():
    a, b = DeviceBackend(), DeviceBackend()
    assert a == b
    b.device_number = 1
    assert a != b
    assert repr(b) == "<nnfs_gpu backend 'cupy', float32, device 1>"
    assert arrays(a) != arrays(b)


def test_the_words_name_every_setting():
    backend = NumpyBackend("float64", precise_dot=True, book_random=True)
    assert repr(backend) == "<nnfs_gpu backend 'numpy', float64, precise_dot, book_random>"


@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("settings", SETTINGS)
def test_a_copy_is_this_processs_own(backend_name, way, settings):
    backend = get_backend(backend_name, **settings)
    assert COPIES[way](backend) is backend


@pytest.mark.parametrize("way", COPIES)
def test_a_copy_of_one_that_no_name_gives_is_equal(way):
    backend = DeviceBackend("float64", precise_dot=True)
    made = COPIES[way](backend)
    assert made == backend
    assert type(made) is DeviceBackend


def test_a_pickle_of_a_backend_that_cannot_work_here_says_so(monkeypatch):
    plain()
    data = pickle.dumps(get_backend("numba", dtype="float64", precise_dot=True))
    monkeypatch.setattr(nnfs.backend, "_made", {})
    broken = nnfs.backend.BackendStatus("numba", False, "it is not here", "install it")
    monkeypatch.setattr(nnfs.backend, "_probe", lambda name: broken)
    with pytest.raises(nnfs.backend.BackendUnavailableError, match="it is not here; install it"):
        pickle.loads(data)


# ---- messages ----
@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"dtype": "float64"}, r"'numpy', float64>.*'numpy', float32>.*same use_backend.*dtype='f"),
        (
            {"name": "numba", "precise_dot": True},
            r"'numba', float32, precise_dot>.*'numpy', flo",
        ),
    ],
)
def test_a_message_that_names_two_backends_shows_what_differs(other, words):
    with plain(**other):
        layer = nnfs.Layer_Dense(2, 3)
    plain()
    model = nnfs.Model()
    model.add(layer)
    model.add(nnfs.Activation_Softmax())
    with pytest.raises(ValueError, match=words):
        model.finalize()
    remedy = {"name": model.backend.name, "dtype": model.backend.dtype.name}
    with plain(**remedy):
        model.layers[0] = nnfs.Layer_Dense(2, 3)
    model.finalize()
