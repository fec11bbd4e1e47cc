"""The memory of a step does not grow with its samples: measured in a process of its own."""

import json
import subprocess
import sys

import pytest

CEILING = 40  # MB that a step over 20,000,000 points may take beyond one over 200,000

PROGRAM = """
import json, resource, sys
import numpy as np
import nnfs_gpu as ng
from nnfs_gpu.data.sources import spiral_blocks

engine, small, large = sys.argv[1], *map(int, sys.argv[2:])
ng.use_backend("numba", dtype="float32")

def step(points):
    np.random.seed(0)
    model = ng.Model()
    for layer in (ng.Layer_Dense(2, 8), ng.Activation_ReLU(), ng.Layer_Dense(8, 2)):
        model.add(layer)
    model.add(ng.Activation_Softmax())
    parts = ng.Loss_CategoricalCrossentropy(), ng.Optimizer_SGD(0.5), ng.Accuracy_Categorical()
    model.set(loss=parts[0], optimizer=parts[1], accuracy=parts[2])
    model.finalize()
    blocks = spiral_blocks(points // 2, 2, block=50_000)
    history = model.train(blocks, print_every=None, engine=engine)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return [most / (1 if sys.platform == "darwin" else 1024), *history.last().values()]

print(json.dumps([step(small), step(large)]))
"""


@pytest.mark.parametrize(("engine", "large"), [("fused", 20_000_000), ("layers", 4_000_000)])
def test_memory_of_a_step_in_blocks(engine, large):
    """As arrays the 20,000,000 points and labels would take 240 MB, the 4,000,000 with the
    arrays of the layers 1,200 MB.
    """
    pytest.importorskip("resource", reason="POSIX systems count a process's memory")
    command = [sys.executable, "-c", PROGRAM, engine, "200000", str(large)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    (before, *first), (after, *last) = json.loads(done.stdout)
    assert after - before < CEILING, f"{after - before:.0f} MB more"
    loss, _, _, accuracy, rate = last
    assert loss == pytest.approx(first[0], rel=1e-3)  # the same spiral, with more points
    assert 0.3 < accuracy < 0.7
    assert rate == 0.5
