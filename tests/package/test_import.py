"""`import nnfs_gpu` is quiet, quick and leaves no trace; and NumPy alone is enough to work.

Proves, each time in a new process, that importing prints nothing, loads neither a compiler nor
a plotting library nor the command line's tools, and changes no state of NumPy; that every
public name exists; and that with everything but NumPy and safetensors missing the numpy
backend trains, saves, loads and predicts.
"""

import json
import os
import subprocess
import sys

import pytest

import nnfs_gpu

HEAVY = (
    "numba",
    "llvmlite",
    "matplotlib",
    "cupy",
    "typer",
    "click",
    "rich",
    "torch",
    "jax",
    "mpi4py",
)


def run(code, *options, **environment):
    """Standard output of `code` in a new process that must succeed and be quiet otherwise."""
    clean = {key: value for key, value in os.environ.items() if key != "NNFS_GPU_BACKEND"}
    done = subprocess.run(
        [sys.executable, *options, "-c", code],
        env=clean | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.fixture(scope="module")
def imported():
    """What a new process sees before and after `import nnfs_gpu`."""
    return json.loads(
        run(
            """
import io, json, logging, os, signal, sys, threading, warnings
import numpy as np

def state():
    random = np.random.get_state(legacy=False)
    return {
        "random": [random["state"]["key"].tolist(), random["state"]["pos"], random["gauss"]],
        "errors": np.geterr(),
        "print": repr(np.get_printoptions()),
        "filters": repr(warnings.filters),
        "handlers": repr([logging.getLogger().handlers, logging.getLogger("nnfs_gpu").handlers]),
        "level": logging.getLogger("nnfs_gpu").level,
        "environment": dict(os.environ),
        "signals": repr([signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]),
        "threads": threading.active_count(),
        "path": sys.path,
        "functions": [id(f) for f in (np.dot, np.zeros, np.random.randn, np.random.seed)],
        "recursion": sys.getrecursionlimit(),
    }

before, out = state(), sys.stdout
sys.stdout = io.StringIO()
import nnfs_gpu
printed, sys.stdout = sys.stdout.getvalue(), out
print(json.dumps({
    "printed": printed, "before": before, "after": state(), "modules": sorted(sys.modules)
}))
""",
            "-W",
            "error",
        )
    )


def test_import_prints_nothing(imported):
    assert imported["printed"] == ""


def test_import_loads_nothing_heavy(imported):
    loaded = {name.split(".")[0] for name in imported["modules"]}
    assert not loaded & set(HEAVY)
    backends = {name for name in imported["modules"] if name.startswith("nnfs_gpu.backend.")}
    assert "nnfs_gpu.backend.numba_backend" not in backends
    assert not [name for name in imported["modules"] if name.startswith("nnfs_gpu.kernels")]
    assert not [name for name in imported["modules"] if name.startswith("nnfs_gpu.cli.app")]


@pytest.mark.parametrize(
    "what",
    [
        *("random", "errors", "print", "filters", "handlers", "level"),
        *("environment", "signals", "threads", "path", "functions", "recursion"),
    ],
)
def test_import_changes_no_state(imported, what):
    assert imported["before"][what] == imported["after"][what]


def test_every_public_name_exists_once():
    assert len(set(nnfs_gpu.__all__)) == len(nnfs_gpu.__all__)
    assert sorted(nnfs_gpu.__all__) == nnfs_gpu.__all__
    for name in nnfs_gpu.__all__:
        assert getattr(nnfs_gpu, name) is not None
    public = {name for name, value in vars(nnfs_gpu).items() if name[0] != "_" and callable(value)}
    assert public <= set(nnfs_gpu.__all__)


def test_every_public_class_and_function_says_what_it_is():
    missing = []
    for name in nnfs_gpu.__all__:
        value = getattr(nnfs_gpu, name)
        if callable(value):
            public = [f"{name}.{m}" for m, f in vars(value).items() if m[0] != "_" and callable(f)]
            missing += [
                one
                for one in (name, *public)
                if not (eval(one, vars(nnfs_gpu)).__doc__ or "").strip()
            ]
    assert missing == []


def test_the_books_names_are_there():
    expected = {
        *("Layer_Dense", "Layer_Input", "Activation_ReLU", "Activation_Softmax"),
        *("Loss", "Loss_CategoricalCrossentropy"),
        "Activation_Softmax_Loss_CategoricalCrossentropy",
        *("Optimizer_SGD", "Optimizer_Adagrad", "Optimizer_RMSprop", "Optimizer_Adam"),
        *("Accuracy", "Accuracy_Categorical", "Model"),
        *("init", "spiral_data", "vertical_data", "sine_data"),
    }
    assert expected <= set(nnfs_gpu.__all__)
    from nnfs_gpu import datasets

    assert datasets.spiral_data is nnfs_gpu.spiral_data
    assert datasets.vertical_data is nnfs_gpu.vertical_data
    assert datasets.sine_data is nnfs_gpu.sine_data


BLOCK = f"""
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {HEAVY!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocked())
"""


def test_numpy_alone_is_enough(tmp_path):
    """From data to a saved model and back with Numba and all tools missing."""
    lines = run(
        BLOCK
        + """
from nnfs_gpu import *
import nnfs_gpu
usable = [status.name for status in nnfs_gpu.available_backends().values() if status.usable]
print(nnfs_gpu.get_backend().name, usable)
X, y = spiral_data(200, 3, seed=1)
model = Model()
for layer in (Layer_Dense(2, 16), Activation_ReLU(), Layer_Dense(16, 3), Activation_Softmax()):
    model.add(layer)
model.set(
    loss=Loss_CategoricalCrossentropy(),
    optimizer=Optimizer_Adam(0.05),
    accuracy=Accuracy_Categorical(),
)
model.finalize()
model.train(X, y, epochs=2, batch_size=100, print_every=None, validation_data=(X, y))
model.save("model")
again = Model.load("model")
print((model.predict(X) == again.predict(X)).all())
print(again.evaluate(X, y, verbose=False) == model.evaluate(X, y, verbose=False))
""".replace('"model"', repr(str(tmp_path / "model"))),
        "-W",
        "error",
    ).splitlines()
    assert lines == ["numpy ['numpy']", "True", "True"]


def test_import_does_not_read_the_choice():
    """A wrong NNFS_GPU_BACKEND is reported by what needs a backend, not by the import."""
    assert run("import nnfs_gpu; print(nnfs_gpu.__version__)", NNFS_GPU_BACKEND="nonsense").split()


def test_optimized_mode_keeps_the_checks():
    """`python -O` drops assert statements: no check may be one."""
    code = """
import numpy as np, nnfs_gpu as n
n.use_backend("numpy")
loss, wrong = n.Loss_CategoricalCrossentropy(), 0
for call in (
    lambda: loss.forward(np.eye(2), [0, 2]),
    lambda: loss.forward(np.eye(2), [0.0, 1.0]),
    lambda: n.Layer_Dense(0, 1),
    lambda: n.Layer_Dense(2, 1).forward(np.eye(3)),
    lambda: n.spiral_data(0, 3),
    lambda: n.Optimizer_SGD(-1),
    lambda: n.Model().finalize(),
):
    try:
        call()
    except (TypeError, ValueError):
        wrong += 1
print(wrong)
"""
    assert run(code, "-O") == "7\n"
