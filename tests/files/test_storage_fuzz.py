"""Damaged and made-up files, a few hundred of them; and a resume that fails at any place.

One error each, in one line that names the file, and nothing has changed: file_fuzz.py says how.
NNFS_GPU_FUZZ=20000 runs as many.
"""

import os
import random
import sys

import numpy as np
import pytest
from file_fuzz import callbacks, case, network, originals, snapshot, train

from nnfs_gpu import EarlyStopping, use_backend
from nnfs_gpu.files.tensor_file import ModelFileError
from nnfs_gpu.training.checkpoint import FILE
from nnfs_gpu.training.loop import Training

CASES = int(os.environ.get("NNFS_GPU_FUZZ", "400"))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return originals(tmp_path_factory.mktemp("originals"))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # numbers of another dtype, made up
def test_damaged_files(files, tmp_path):
    rng = random.Random(17)
    refused = [case(rng, files, tmp_path / "case") for _ in range(CASES)]
    assert 0.7 * CASES < sum(refused) < CASES  # some changes are none, or another valid number


# ---- a resume that fails at any place ----
class Interrupt:
    """Raises KeyboardInterrupt at the `number`th line of this package under Training._begin."""

    def __init__(self, number):
        self.left = number

    def __call__(self, frame, event, argument):
        if self.left is not None and self._inside(frame) and event == "line":
            self.left -= 1
            if self.left < 0:
                self.left = None
                raise KeyboardInterrupt
        return self

    def _inside(self, frame):
        """`rollback.py` and the folder's lock aside: what they do is what is tested."""
        name = frame.f_code.co_filename
        if not name.startswith(PACKAGE) or name.endswith(("rollback.py", "folder_lock.py")):
            return False
        while frame is not None and frame.f_code is not Training._begin.__code__:
            frame = frame.f_back
        return frame is not None


PACKAGE = os.path.dirname(sys.modules["nnfs_gpu"].__file__)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # a file, unclosed
@pytest.mark.parametrize("offset", range(int(os.environ.get("NNFS_GPU_INTERRUPTS", "4"))))
def test_ctrl_c_at_any_line_of_a_resume(files, tmp_path, offset):
    """Every 11th line, from another one each time: as before, or resumed, and the next run goes."""
    use_backend("numpy", dtype="float32")
    (tmp_path / FILE).write_bytes(files["checkpoint False"])
    whole = network(seed=7)
    train(whole, callbacks=(others := callbacks()), epochs=1)
    interrupts = 0
    for number in range(offset, 10_000, 11):
        before = snapshot(tmp_path, whole, others)
        tracer, old = Interrupt(number), sys.gettrace()
        sys.settrace(tracer)
        try:
            train(whole, tmp_path, others)
        except KeyboardInterrupt:
            interrupts += 1
        finally:
            sys.settrace(old)
        if tracer.left is not None:
            break  # the whole of it has been gone through
        for a, b in zip(before, snapshot(tmp_path, whole, others), strict=True):
            assert a == b, number
    assert interrupts > 10
    assert whole.optimizer.iterations == 9


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt, RuntimeError])
@pytest.mark.parametrize("place", ["copy", "set_attributes", "set_state", "callback"])
def test_a_failure_in_the_middle_of_a_resume(files, tmp_path, monkeypatch, error, place):
    """As where the device has no memory left for the third layer."""
    use_backend("numpy", dtype="float32")
    (tmp_path / FILE).write_bytes(files["checkpoint False"])
    model, others = network(seed=7), callbacks()
    train(model, callbacks=others, epochs=1)
    before, calls = snapshot(tmp_path, model, others), iter(range(99))

    def broken(*arguments, real=None):
        if next(calls) == {"copy": 9, "set_attributes": 6, "set_state": 0, "callback": 0}[place]:
            raise error("broken")
        return real(*arguments)

    owner, name = {
        "copy": (type(model.backend), "copy"),
        "set_attributes": (sys.modules["nnfs_gpu.files.vocabulary"], "set_attributes"),
        "set_state": (np.random, "set_state"),
        "callback": (type(others[1]), "set_state"),
    }[place]
    real = getattr(owner, name)
    monkeypatch.setattr(owner, name, lambda *arguments: broken(*arguments, real=real))
    with pytest.raises(error, match="broken"):
        train(model, tmp_path, others)
    monkeypatch.undo()
    for a, b in zip(before, snapshot(tmp_path, model, others), strict=True):
        assert a == b
    train(model, tmp_path, others)
    assert model.optimizer.iterations == 9


def test_a_state_that_a_callback_cannot_take_says_whose_it_is(files, tmp_path):
    use_backend("numpy", dtype="float32")
    (tmp_path / FILE).write_bytes(files["checkpoint False"])
    early, own = callbacks()
    own.set_state = lambda state: state["nothing"]
    with pytest.raises(
        ModelFileError, match=r"holds a state that Own cannot take: KeyError 'nothing'"
    ):
        train(network(seed=7), tmp_path, [early, own])


@pytest.mark.parametrize("number", [10**400, -(10**400), True, None, "0.5", [0.5]], ids=type)
def test_a_best_loss_that_is_no_number(number):
    early = EarlyStopping("loss")
    early.model, before = network(), dict(vars(early))
    state = early.get_state() | {"best": number}
    with pytest.raises((TypeError, OverflowError)):
        early.set_state(state)
    del early.model
    assert {name: repr(v) for name, v in vars(early).items()} == {
        name: repr(v) for name, v in before.items() if name != "model"
    }
