"""The fused training step on the device: is it right, is it repeatable, how fast is it?

Steps of `make gpu-check`; each takes a notebook and a backend with CuPy arrays.

fused_right   one step from equal parameters against the step layer by layer in float64: loss,
              accuracy, gradients; twice the same bits; replayed from a CUDA graph the same bits
fused_speed   samples a second of whole training steps, beside PyTorch eager and compiled where
              it is installed, on the same data
fused_book    the book's run: 300 samples, 10,001 epochs of Adam, in milliseconds
"""

from __future__ import annotations

import importlib.util
import statistics
import time
import warnings
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from nnfs_gpu import (
    Accuracy_Categorical,
    Activation_ReLU,
    Activation_Softmax,
    Layer_Dense,
    Loss_CategoricalCrossentropy,
    Model,
    Optimizer_Adam,
    get_backend,
    spiral_data,
    use_backend,
)
from nnfs_gpu.fused import make_plan
from nnfs_gpu.fused.cuda import FusedSteps
from nnfs_gpu.training import LayerSteps

from .gpu_steps import Notebook

NETS = ((2, 64, 3), (2, 128, 3), (2, 64, 64, 3), (2, 128, 128, 3))
BATCHES = (300, 30_000, 1_000_000)
RIGHT = (300, 30_001)  # rows whose gradients are compared
BOUND = 1e-5  # of the largest gradient of a layer
ROUNDS = 5
SECONDS = 0.05  # of device time in a measurement
EPOCHS = 10_001
GOALS = {((2, 64, 3), 1_000_000): 20e9}  # samples a second
BOOK_GOAL = 30.0  # milliseconds


def network(backend: Any, widths: tuple[int, ...], rate: float = 0.05) -> Model:
    """Dense, ReLU, ..., softmax; weights drawn on the host, the same on every backend."""
    rng = np.random.default_rng(0)
    with use_backend(backend):
        model = Model()
        for inputs, outputs in pairwise(widths):
            layer = Layer_Dense(inputs, outputs)
            weights = rng.standard_normal((inputs, outputs)) * np.sqrt(2 / inputs)
            layer.weights = weights.astype(np.float32)
            model.add(layer)
            model.add(Activation_ReLU())
        model.layers[-1] = Activation_Softmax()
        model.set(
            loss=Loss_CategoricalCrossentropy(),
            optimizer=Optimizer_Adam(learning_rate=rate, decay=5e-7),
            accuracy=Accuracy_Categorical(),
        )
        model.finalize()
    return model


def data(backend: Any, rows: int, classes: int = 3) -> tuple[Any, Any]:
    """A spiral of `rows` rows: points and checked labels."""
    with use_backend(backend):
        X, y = spiral_data(-(-rows // classes), classes, seed=1)
        labels = Loss_CategoricalCrossentropy().targets(y[:rows], classes, rows)
    return X[:rows], labels


def name_of(widths: tuple[int, ...]) -> str:
    return "-".join(map(str, widths))


def gradients(model: Model) -> list[np.ndarray]:
    to_numpy = model.backend.to_numpy
    layers = model.trainable_layers
    return [to_numpy(a) for layer in layers for a in (layer.dweights, layer.dbiases)]


# ---- right? ----
def fused_right(notebook: Notebook, backend: Any) -> None:
    """Against float64, twice, and from a graph."""
    for widths in NETS:
        for rows in RIGHT:
            what = f"fused {name_of(widths)}, {rows:,} rows"
            if notebook.late(what):
                return
            with notebook.attempt(what, backend):
                compare(notebook, backend, widths, rows, what)
                repeat(notebook, backend, widths, rows, what)


def compare(
    notebook: Notebook, backend: Any, widths: tuple[int, ...], rows: int, what: str
) -> None:
    """One step against the same step layer by layer in float64 on the CPU."""
    oracle = get_backend("numpy", dtype="float64", precise_dot=False, book_random=False)
    X, y = data(backend, rows)
    model, reference = network(backend, widths), network(oracle, widths)
    measured = [float(v) for v in FusedSteps(model, make_plan(model)).step(X, y)]
    wide = oracle.asarray(backend.to_numpy(X))
    labels = reference.loss.targets(backend.to_numpy(y.values), widths[-1], rows)
    expected = [float(v) for v in LayerSteps(reference).step(wide, labels)]
    errors = [
        float(np.abs(a - b).max() / np.abs(b).max())
        for a, b in zip(gradients(model), gradients(reference), strict=True)
    ]
    notebook.add(
        "fused right",
        net=name_of(widths),
        rows=rows,
        gradient_error=max(errors),
        loss=measured[0],
        expected_loss=expected[0],
    )
    if not max(errors) <= BOUND:
        notebook.problem(f"{what}: gradients differ by {max(errors):.3g}, allowed {BOUND}")
    # A sample whose two largest scores are equal but for rounding may count on one side only.
    if not np.allclose(measured, expected, rtol=BOUND, atol=2 / rows):
        notebook.problem(f"{what}: loss, penalty, accuracy {measured}, expected {expected}")


def repeat(notebook: Notebook, backend: Any, widths: tuple[int, ...], rows: int, what: str) -> None:
    """Three steps twice, and once more as one launch that a CUDA graph replays."""
    X, y = data(backend, rows)
    found = []
    for replayed in (False, False, True) if hasattr(backend.xp, "cuda") else (False, False):
        model = network(backend, widths)
        steps = FusedSteps(model, make_plan(model))
        steps.step(X, y)  # compiles, allocates
        if replayed:
            replay(backend, lambda steps=steps: steps.step(X, y), 2)
        else:
            for _ in range(2):
                steps.step(X, y)
        found.append(b"".join(backend.to_numpy(w).tobytes() for w in flat(model)))
    same = all(bits == found[0] for bits in found)
    notebook.add("fused repeated", net=name_of(widths), rows=rows, times=len(found), same=same)
    if not same:
        notebook.problem(f"{what}: not the same bits in {len(found)} runs")


def flat(model: Model) -> list[Any]:
    return [a for pair in model.get_parameters() for a in pair]


def replay(backend: Any, step: Callable[[], Any], times: int) -> None:
    """Captures `step` on a stream of its own and launches the graph `times` times."""
    cupy = backend.xp
    cupy.cuda.get_current_stream().synchronize()
    with cupy.cuda.Stream(non_blocking=True) as stream:
        stream.begin_capture()
        step()
        graph = stream.end_capture()
        for _ in range(times):
            graph.launch(stream)
        stream.synchronize()


# ---- fast? ----
def fused_speed(notebook: Notebook, backend: Any) -> None:
    """Ours and PyTorch's, round after round; the median over the rounds."""
    for widths in NETS:
        for rows in BATCHES:
            what = f"speed of {name_of(widths)} at {rows:,}"
            if notebook.late(what):
                return
            with notebook.attempt(what, backend):
                measure(notebook, backend, widths, rows)


def measure(notebook: Notebook, backend: Any, widths: tuple[int, ...], rows: int) -> None:
    X, y = data(backend, rows)
    model = network(backend, widths, 1e-3)
    steps = FusedSteps(model, make_plan(model))
    candidates: dict[str, Callable[[int], Any]] = {"ours": lambda n: steps.run(X, y, n)}
    candidates |= find_peers(notebook, widths, X, y)
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    counts = {name: count_for(backend, call) for name, call in candidates.items()}
    for _ in range(ROUNDS):
        for name, call in candidates.items():
            seconds[name].append(timed(backend, call, counts[name]))
    step = {name: statistics.median(each) for name, each in seconds.items()}
    peers = {
        f"times {name}": statistics.median(
            theirs / ours for theirs, ours in zip(seconds[name], seconds["ours"], strict=True)
        )
        for name in candidates
        if name != "ours"
    }
    notebook.add(
        "fused speed",
        net=name_of(widths),
        rows=rows,
        samples_a_second=rows / step["ours"],
        goal=GOALS.get((widths, rows)),
        seconds_a_step=step,
        **peers,
    )


def timed(backend: Any, call: Callable[[int], Any], count: int) -> float:
    """Seconds a step, from the first launch to the end of the last."""
    backend.synchronize()
    start = time.perf_counter()
    call(count)
    backend.synchronize()
    return (time.perf_counter() - start) / count


def count_for(backend: Any, call: Callable[[int], Any]) -> int:
    """Steps that take about SECONDS; the first ones compile and are not counted."""
    timed(backend, call, 3)
    return max(3, min(10_000, int(SECONDS / timed(backend, call, 3))))


def find_peers(
    notebook: Notebook, widths: tuple[int, ...], X: Any, y: Any
) -> dict[str, Callable[[int], Any]]:
    """PyTorch's step on the same memory, eager and compiled with CUDA graphs; none without it."""
    if not importlib.util.find_spec("torch"):
        return {}
    import torch

    x, t = torch.from_dlpack(X), torch.from_dlpack(y.values).long()

    def candidate(compiled: bool) -> Callable[[int], Any]:
        torch.manual_seed(0)
        parts: list[Any] = []
        for inputs, outputs in pairwise(widths):
            parts += [torch.nn.Linear(inputs, outputs), torch.nn.ReLU()]
        net = torch.nn.Sequential(*parts[:-1]).to(x.device)
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, fused=True)

        def loss() -> Any:
            return torch.nn.functional.cross_entropy(net(x), t)

        forward = torch.compile(loss, mode="reduce-overhead") if compiled else loss

        def steps(count: int) -> None:
            for _ in range(count):
                optimizer.zero_grad(set_to_none=True)
                forward().backward()
                optimizer.step()
            torch.cuda.synchronize()

        return steps

    found = {"torch eager": candidate(False)}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its advice on precision is not about us
            compiled = candidate(True)
            compiled(3)
        found["torch compiled"] = compiled
    except Exception as error:  # no Triton, no compiler: PyTorch's own matter
        notebook.note(f"torch.compile does not work here: {type(error).__name__}")
    return found


# ---- the book's run ----
def fused_book(notebook: Notebook, backend: Any) -> None:
    """Chapter 10's program: 2-64-3, 300 samples, Adam(0.05, decay 5e-7), 10,001 epochs."""
    with notebook.attempt("the book's run", backend):
        X, y = data(backend, 300)
        milliseconds, accuracy = [], 0.0
        for _ in range(ROUNDS):
            model = network(backend, (2, 64, 3))
            run = partial(FusedSteps(model, make_plan(model)).run, X, y)
            run(2)  # compiles
            milliseconds.append(1e3 * EPOCHS * timed(backend, run, EPOCHS))
            accuracy = float(model.accuracy.calculate_accumulated())
        took, goal = statistics.median(milliseconds), BOOK_GOAL
        notebook.add("fused book", epochs=EPOCHS, milliseconds=took, goal=goal, accuracy=accuracy)
        if not accuracy >= 0.9:
            notebook.problem(f"the book's run: accuracy {accuracy:.3f}, the book's is 0.967")
