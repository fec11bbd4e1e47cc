"""`Model.explain`: what training would do, in words; and which optimizer objects `set` takes."""

import numpy as np
import pytest
from networks import model_of

import nnfs_gpu as nnfs
from nnfs_gpu import use_backend


def model(*layers, optimizer=None):
    layers = (nnfs.Layer_Dense(2, 64), *layers, nnfs.Layer_Dense(64, 3))
    return model_of(*layers, nnfs.Activation_Softmax(), optimizer=optimizer)


def test_plan_operations_bytes_and_engine(capsys):
    use_backend("numba")
    model(nnfs.Activation_ReLU(), nnfs.Layer_Dropout(0.1)).explain()
    text = capsys.readouterr().out
    # 2 * (2 * 64 + 64 * 3) forward, as much again for dw, and 2 * 64 * 3 for dx of the second
    assert "2-64-3" in text
    assert "1,664 operations" in text
    assert "12 bytes fused" in text  # two float32 numbers and an int32 label
    assert "dropout keeps 0.9" in text
    assert "the CPU's fused step" in text


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_the_reason_where_nothing_is_fused(backend, capsys):
    use_backend(backend)
    network = model(nnfs.Activation_Softmax()) if backend == "numba" else model()
    network.explain()
    text = capsys.readouterr().out
    reason = "softmax inside" if backend == "numba" else "'numpy' has no fused step"
    assert reason in text
    with pytest.raises(ValueError, match=reason):
        network.train(np.zeros((3, 2)), [0, 1, 2], engine="fused", print_every=None)


@pytest.mark.parametrize("wrong", [nnfs.Optimizer_Adam, "adam", nnfs.Activation_ReLU()])
def test_what_is_no_optimizer_is_refused(wrong):
    with pytest.raises(TypeError, match=r"Model.set: got the optimizer .*Optimizer_Adam\(\)"):
        nnfs.Model().set(optimizer=wrong)
