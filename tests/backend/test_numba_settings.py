"""Numba's settings in the environment: what forbids a backend says so, everything else works.

Numba reads them when it is imported, so each case is a process of its own.
"""

import json
import os
import subprocess
import sys

import numba
import pytest

from nnfs_gpu import Layer_Dense, available_backends, get_backend, use_backend
from nnfs_gpu.backend import BackendUnavailableError

UNSET = {name: value for name, value in os.environ.items() if not name.startswith("N")}

REPORT = """
import io, json, logging, sys
log = io.StringIO()
logging.basicConfig(level="INFO", stream=log)
import nnfs_gpu as n
from nnfs_gpu.backend import BackendUnavailableError

status = n.available_backends()["numba"]
found = {"usable": status.usable, "reason": status.reason, "remedy": status.remedy}
found["auto"] = n.get_backend("auto").name
layer = n.Layer_Dense(2, 3)
layer.backward(layer.forward([[1.0, 2.0]]))
found["log"] = log.getvalue()
try:
    n.use_backend("numba")
    found["error"] = None
except BackendUnavailableError as error:
    found["error"] = str(error)
print("\\n" + json.dumps(found))
"""

COMPUTE = """
import numpy as np, nnfs_gpu as n
backend = n.get_backend("numba", dtype="float32")
y = backend.relu_forward(np.float32([[-1, 2]]))
assert y.tolist() == [[0, 2]]
print(backend.name, n.get_backend("auto").name)
"""


def run(code, *options, **settings):
    """A process in which only `settings` are set, of Numba's and ours."""
    return subprocess.run(
        [sys.executable, *options, "-c", code],
        env=UNSET | settings,
        capture_output=True,
        text=True,
        check=False,
    )


def report(**settings):
    done = run(REPORT, **settings)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


# What is wrong, the setting, and what the reason says.
FORBIDDING = {
    "no compiler": ({"NUMBA_DISABLE_JIT": "1"}, "compiler is turned off by NUMBA_DISABLE_JIT=1 "),
    "no threads": ({"NUMBA_NUM_THREADS": "0"}, "does not start with NUMBA_NUM_THREADS=0 in the"),
    "negative": ({"NUMBA_NUM_THREADS": "-2"}, "does not start with NUMBA_NUM_THREADS=-2 in the"),
    "one of two": (
        {"NUMBA_NUM_THREADS": "0", "NUMBA_OPT": "2"},
        "does not start with NUMBA_NUM_THREADS=0 in the",
    ),
}


@pytest.mark.parametrize("case", FORBIDDING)
def test_auto_passes_numba_over_and_the_reason_names_the_setting(case):
    settings, reason = FORBIDDING[case]
    found = report(**settings)
    assert not found["usable"]
    assert reason in found["reason"]
    assert "\n" not in found["reason"]
    name = next(iter(settings))
    assert f"env -u {name} ..." in found["remedy"]
    assert "pip install" not in found["remedy"]
    assert found["auto"] == "numpy"
    assert f"not numba: {found['reason']}" in found["log"]
    assert found["error"] == (
        f"backend 'numba' cannot be used: {found['reason']}; {found['remedy']}, "
        "or choose another backend"
    )


def test_what_numba_only_warns_of_is_one_line_where_warnings_are_errors():
    done = run(REPORT, "-W", "error", NUMBA_NUM_THREADS="many")
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["reason"].startswith("Numba does not start with NUMBA_NUM_THREADS=many in the ")
    assert "\n" not in found["reason"]
    done = run(COMPUTE, NUMBA_NUM_THREADS="many")  # and otherwise Numba goes on, and warns
    assert done.stdout.split() == ["numba", "numba"], done.stderr
    assert "NUMBA_NUM_THREADS" in done.stderr


@pytest.mark.parametrize(
    "setting",
    [
        "NUMBA_NUM_THREADS=64",
        "NUMBA_BOUNDSCHECK=1",
        "NUMBA_OPT=1",
        "NUMBA_CPU_NAME=generic",
        "NUMBA_ENABLE_CUDASIM=1",
    ],
)
def test_other_settings_work(setting, tmp_path):
    """From an empty cache. (NUMBA_OPT=0 works too; Numba then says of each kernel that it cannot
    keep its code.)"""
    name, value = setting.split("=")
    done = run(COMPUTE, "-W", "error", NUMBA_CACHE_DIR=str(tmp_path), **{name: value})
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["numba", "numba"]


def test_the_simulator_needs_no_compiler():
    """numba-cuda under it is plain Python, which is what NUMBA_DISABLE_JIT asks for."""
    code = (
        "import nnfs_gpu as n; n.use_backend('numba-cuda')\n"
        "layer, soft = n.Layer_Dense(2, 3), n.Activation_Softmax()\n"
        "print(soft.forward(layer.forward([[1, 2]])).shape, soft.backward([[1, 2, 3]]).shape)"
    )
    done = run(code, NUMBA_ENABLE_CUDASIM="1", NUMBA_DISABLE_JIT="1")
    assert done.stdout.split("\n")[0] == "(1, 3) (1, 3)", done.stderr


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("train", "--samples", "20", "--epochs", "1", "--no-plot", "--out", "run"), 0),
        (("info",), 0),
        (("train", "--backend", "numba", "--out", "run"), 2),
        (("bench", "--backend", "numba"), 2),
        (("crosscheck",), 2),
        (("crosscheck", "--backend", "numba"), 2),
    ],
    ids=str,
)
def test_the_command_line_without_the_compiler(arguments, status, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "nnfs_gpu.cli", *arguments],
        env=UNSET | {"NUMBA_DISABLE_JIT": "1", "COLUMNS": "400"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stderr
    words = "Numba's compiler is turned off by NUMBA_DISABLE_JIT=1"
    if status:
        (line,) = done.stderr.splitlines()
        assert line.startswith("error: ")
        assert words in line
    else:
        assert "numpy" in done.stdout
        assert done.stderr == ""


# ---- in this process ----
def test_turned_off_by_the_program_itself(fresh, monkeypatch):
    monkeypatch.delenv("NUMBA_DISABLE_JIT", raising=False)
    with monkeypatch.context() as off:
        off.setattr(numba.config, "DISABLE_JIT", 1)
        assert get_backend("auto").name == "numpy"
        with pytest.raises(BackendUnavailableError, match=r"set numba.config.DISABLE_JIT = 0 "):
            get_backend("numba")
    assert get_backend("numba").name == "numba"


def test_an_estimator_that_asks_for_numba_says_why_not(monkeypatch, fresh):
    sklearn = pytest.importorskip("sklearn", reason="estimators need scikit-learn")
    assert sklearn
    from nnfs_gpu import NNFSClassifier

    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    monkeypatch.setattr(numba.config, "DISABLE_JIT", 1)
    X, y = [[0.0, 1.0], [1.0, 0.0], [0.0, 2.0], [2.0, 0.0]], [0, 1, 0, 1]
    settings = {"max_iter": 1, "n_iter_no_change": float("inf")}
    with pytest.raises(BackendUnavailableError, match=r"turned off by NUMBA_DISABLE_JIT=1"):
        NNFSClassifier(backend="numba", **settings).fit(X, y)
    assert NNFSClassifier(backend="auto", **settings).fit(X, y).predict(X).shape == (4,)


def test_a_layer_made_before_goes_on(fresh, monkeypatch):
    """Kernels that are compiled stay compiled."""
    use_backend("numba")
    layer = Layer_Dense(2, 3)
    monkeypatch.setattr(numba.config, "DISABLE_JIT", 1)
    assert not available_backends()["numba"].usable
    assert layer.forward([[1.0, 2.0]]).shape == (1, 3)
