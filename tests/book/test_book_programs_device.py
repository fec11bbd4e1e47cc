"""The book's programs run where arrays do not turn into NumPy's: on a GPU, by reading its rules.

Every backend whose arrays live elsewhere has to keep `np.argmax(output, axis=1)`,
`np.mean(predictions == y)` and the rest of a program working. Proved without a GPU over
`device_arrays`, whose own manners are tested here too; programs print what they print on the
numpy backend. The CUDA kernels themselves run the same programs through the emulator.
"""

from __future__ import annotations

import importlib
import shutil

import numpy as np
import pytest
from book_runs import BOOK, OURS, run
from device_arrays import DeviceArray
from helpers import EMULATED
from test_book_programs import CASES as LOOPS
from test_book_programs_models import CASES as MODELS

import nnfs_gpu.backend
from nnfs_gpu import images, use_backend
from nnfs_gpu.examples import CHAPTERS


@pytest.fixture(autouse=True)
def device(monkeypatch):
    """The name of the backend, known in this module only."""
    place = ("device_arrays", "DeviceBackend")
    monkeypatch.setitem(nnfs_gpu.backend._MODULES, "device", place)
    return "device"


@pytest.fixture
def places(tmp_path):
    """What programs that read and write files are given."""
    images.save_images(
        tmp_path / "data",
        *images.draw_shapes(8, 3, size=8, seed=1),
        *images.draw_shapes(4, 3, size=8, seed=2),
    )
    images.write_image(tmp_path / "picture.png", images.draw_shapes(1, 3, size=8)[0][1])
    return {"FOLDER": tmp_path / "data", "PICTURE": tmp_path / "picture.png", "PLACE": tmp_path}


# ---- the programs ----
@pytest.mark.parametrize("name", LOOPS)
def test_programs_with_a_loop(device, name):
    program, values = LOOPS[name]
    values = values | {"EPOCHS": 4, "EVERY": 1}
    use_backend("numpy")
    expected, _ = run(program, OURS, **values)
    use_backend(device)
    lines, variables = run(program, OURS, **values)
    assert lines == expected
    assert isinstance(variables["dense1"].weights, DeviceArray)
    assert isinstance(variables["X"], DeviceArray)
    assert isinstance(variables["predictions"], DeviceArray)


@pytest.mark.skipif(shutil.which("g++") is None, reason="g++ compiles the CUDA kernels here")
@pytest.mark.parametrize("name", LOOPS)
def test_programs_with_the_cuda_kernels(monkeypatch, name):
    """The kernels of the cupy backend, executed on the CPU, print the book's three decimals."""
    place = ("emulation.backend", "EmulatedCupyBackend")
    monkeypatch.setitem(nnfs_gpu.backend._MODULES, EMULATED, place)
    program, values = LOOPS[name]
    values = values | {"EPOCHS": 4, "EVERY": 1}
    use_backend(EMULATED)
    assert run(program, OURS, **values)[0] == run(program, BOOK, **values)[0]


@pytest.mark.parametrize("name", MODELS)
def test_programs_with_a_model(device, places, name):
    program, values = MODELS[name]
    values = values | {key: place for key, place in places.items() if key in program}
    use_backend("numpy")
    expected, _ = run(program, OURS, **values | {"EPOCHS": 2})
    use_backend(device)
    lines, variables = run(program, OURS, **values | {"EPOCHS": 2})
    assert lines == expected
    assert isinstance(variables["model"].layers[0].weights, DeviceArray)


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_examples(device, places, capsys, chapter):
    use_backend(device)
    main = importlib.import_module(f"nnfs_gpu.examples.chapter{chapter:02}").main
    folder = {"folder": str(places["FOLDER"])} if chapter >= 19 else {}
    main(epochs=2, **folder)
    assert "nan" not in capsys.readouterr().out


def test_shuffling_and_one_hot_labels(device):
    """Two more things that programs do with data sets."""
    program = """
nnfs.init()
X, y = spiral_data(samples=5, classes=3)
keys = np.array(range(X.shape[0]))
np.random.shuffle(keys)
X = X[keys]
y = y[keys]
print(X[:2], y)
y = np.eye(3)[nnfs.get_backend().to_numpy(y)]
if len(y.shape) == 2:
    y = np.argmax(y, axis=1)
print(y)
"""
    use_backend("numpy")
    expected, _ = run(program, OURS)
    use_backend(device)
    lines, variables = run(program, OURS)
    assert lines == expected
    assert isinstance(variables["X"], DeviceArray)


# ---- the arrays themselves ----
def test_manners_of_device_arrays():
    a = DeviceArray(np.arange(6.0).reshape(2, 3))
    assert isinstance(np.argmax(a, axis=1), DeviceArray)
    assert f"{np.mean(a):.3f}" == "2.500"
    assert isinstance(np.absolute(a - 1) < np.std(a), DeviceArray)
    assert isinstance(a[0, 0], DeviceArray)
    assert a[0, 0].shape == ()
    before = a
    a += 1
    assert a is before
    assert a.get()[0, 0] == 1
    assert isinstance(a[np.array([1, 0])], DeviceArray)


@pytest.mark.parametrize(
    "forbidden",
    [
        lambda a: np.array(a),
        lambda a: np.asarray(a),
        lambda a: a + np.ones((2, 3)),
        lambda a: np.ones((2, 3)) == a,
        lambda a: np.concatenate([a, np.ones((2, 3))]),
        lambda a: a.dot(np.ones((3, 2))),
        lambda a: {1.0: 2}[a[0, 0]],
        lambda a: [1, 2][a[0, 0].astype(int)],
    ],
)
def test_what_device_arrays_refuse(forbidden):
    with pytest.raises(TypeError):
        forbidden(DeviceArray(np.ones((2, 3))))
