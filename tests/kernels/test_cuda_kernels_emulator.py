"""The emulator of the CUDA kernels notices what a GPU would leave undefined."""

from __future__ import annotations

import numpy as np
import pytest
from emulation.cases import EMULATOR
from emulation.emulator import EmulationError, Emulator

pytestmark = pytest.mark.usefixtures("compiler")


# ---- the emulator notices ----
WRONG = {
    "divergent_barrier": (
        "if (threadIdx.x < 7) __syncthreads(); x[threadIdx.x] = 0;",
        r"divergent barrier: block 0, thread \d+ ended, thread \d+ waits",
    ),
    "two_barriers": (
        "if (threadIdx.x < 32)\n __syncthreads();\n else\n __syncthreads();",
        "divergent barrier: block 0, thread 31 waits at line 2, thread 32 at line 4",
    ),
    "divergent_warp": (
        "if (threadIdx.x % 2) x[threadIdx.x] = __shfl_xor_sync(ALL_LANES, x[threadIdx.x], 1);",
        "divergent warp: block 0, thread 1 waits at line 1 for lane 0",
    ),
    "write_after_the_end": ("x[size + threadIdx.x] = 1;", "out of bounds.* beside argument 0"),
    "write_before_the_start": ("x[-1] = 1;", "argument 0 was written out of bounds"),
    "read_after_the_end": ("x[0] = x[size];", "out of bounds.* beside argument 0"),
    "read_somewhere": ("x[0] = x[size << 30];", "out of bounds: block 0, thread 0"),
}


@pytest.mark.parametrize("name", WRONG)
def test_the_emulator_refuses(name):
    body, problem = WRONG[name]
    source = f'extern "C" __global__ void {name}(real* __restrict__ x, index_t size) {{ {body} }}'
    emulator = Emulator({name: source})
    x = np.arange(64, dtype=np.float32)
    with pytest.raises(EmulationError, match=problem):
        emulator.launch(name, name, 1, 64, [x, x.size], np.float32)


def test_running_backwards_shows_a_missing_barrier():
    body = "__shared__ real s[64]; s[threadIdx.x] = threadIdx.x; BARRIER"
    body += "x[threadIdx.x] = s[(threadIdx.x + 32) % 64];"
    text = f'extern "C" __global__ void race(real* __restrict__ x) {{ {body} }}'
    for barrier, equal in (("", False), ("__syncthreads();", True)):
        results = []
        for backwards in (False, True):
            x = np.zeros(64, np.float32)
            emulator = Emulator({"race": text.replace("BARRIER", barrier)}, backwards=backwards)
            emulator.launch("race", "race", 1, 64, [x], np.float32)
            results.append(x.tobytes())
        assert (results[0] == results[1]) == equal


def test_the_emulator_fills_shared_memory_with_nan():
    body = "__shared__ real s[64]; if (threadIdx.x == 3) s[3] = 1; __syncthreads();"
    body += " x[threadIdx.x] = s[threadIdx.x];"
    source = f'extern "C" __global__ void shared(real* __restrict__ x) {{ {body} }}'
    x = np.zeros(64, np.float32)
    Emulator({"shared": source}).launch("shared", "shared", 3, 64, [x], np.float32)
    assert x[3] == 1
    assert np.isnan(np.delete(x, 3)).all()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ((np.zeros(4), np.zeros(4, np.float32), 4), "argument 0: got float64 for 'const real"),
        ((np.zeros(4, np.float32), np.zeros(4, np.float32), 4.0), "argument 2: got c_float"),
        ((np.zeros(4, np.float32), np.zeros(4, np.float32), np.uint64(4)), "argument 2: got"),
        ((np.zeros(4, np.float32), 4), "3 parameters, 2 arguments"),
        ((np.zeros(4, np.float32), 4, 4), "argument 1: got int for 'real"),
    ],
)
def test_the_emulator_refuses_arguments_of_another_type(arguments, problem):
    with pytest.raises(TypeError, match=problem):
        EMULATOR.launch("elementwise", "relu_forward", 1, 256, list(arguments), np.float32)
