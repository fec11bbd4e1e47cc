"""How fast is the fused training step on the device? Steps of `make gpu-check`.

fused_speed   samples a second of whole training steps, beside PyTorch eager and compiled where
              it is installed, on the same data; nothing is timed whose gradient is not ours
fused_book    the book's run: 300 samples, 10,001 epochs of Adam, in milliseconds

Time as everywhere: nnfs_gpu/selftest/timing.py, in turns, between CUDA events.
"""

from __future__ import annotations

import importlib.util
import statistics
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from nnfs_gpu.backend import Backend
from nnfs_gpu.fused import make_plan
from nnfs_gpu.fused.cuda.choose import FusedSteps
from nnfs_gpu.fused.cuda.engine import KernelSteps
from nnfs_gpu.selftest.timing import Clock, Contender, clock_of, ratio, time_in_turns

from ..trainers import Torch, name_of, parameters, torch_forwards
from .fused import NETS, data, gradients, largest_error, network
from .notebook import Notebook

BATCHES = (300, 30_000, 1_000_000)
COMPILED = ((2, 64, 3),)  # nets that torch.compile gets: it takes its time
PEER_BOUND = 1e-4  # of the largest gradient of a layer: PyTorch adds up in another order
ROUNDS = 5
SECONDS = 0.05  # of a measurement
EPOCHS = 10_001
# Samples a second, of (widths, rows).
GOALS: dict[tuple[tuple[int, ...], int], float] = {((2, 64, 3), 1_000_000): 20e9}
BOOK_GOAL = 30.0  # milliseconds
BOOK_ACCURACY = 0.9  # the book's run ends at 0.967

Steps = Callable[[int], Any]  # so many steps


def fused_speed(notebook: Notebook, backend: Backend) -> None:
    """Ours and PyTorch's, round after round; the median over the rounds."""
    for widths in NETS:
        for rows in BATCHES:
            what = f"speed of {name_of(widths)} at {rows:,}"
            if notebook.late(what):
                return
            with notebook.attempt(what, backend):
                measure(notebook, backend, widths, rows)


def measure(notebook: Notebook, backend: Backend, widths: tuple[int, ...], rows: int) -> None:
    """The step of a network at a batch, beside its peers, whose gradients must be ours."""
    X, y = data(backend, rows)
    model = network(backend, widths, 1e-3)
    steps = FusedSteps(model, make_plan(model))
    steps.step(X, y)
    expected = gradients(model)
    candidates: dict[str, Steps] = {"ours": lambda n: steps.run(X, y, n)}
    for name, (call, found) in find_peers(notebook, backend, widths, X, y).items():
        error = largest_error(found, expected)
        if error <= PEER_BOUND:
            candidates[name] = call
        else:
            what = f"{name}, {name_of(widths)}, {rows:,} rows"
            notebook.problem(f"{what}: its gradient differs from ours by {error:.3g}, not timed")
    clock = clock_of(backend)
    contenders = {name: contender(clock, call) for name, call in candidates.items()}
    seconds = time_in_turns(contenders, rounds=ROUNDS, least=SECONDS)
    step = {name: statistics.median(each) for name, each in seconds.items()}
    notebook.add(
        "fused speed",
        net=name_of(widths),
        rows=rows,
        samples_a_second=rows / step["ours"],
        goal=GOALS.get((widths, rows)),
        seconds_a_step=step,
        faster_than={
            name: ratio(theirs, seconds["ours"])
            for name, theirs in seconds.items()
            if name != "ours"
        },
    )


def contender(clock: Clock, call: Steps) -> Contender:
    """As many steps a call as take about SECONDS; the first ones compile and are not counted."""
    call(3)
    once = clock.seconds(lambda: call(3), 1) / 3
    count = max(3, min(10_000, int(SECONDS / max(once, 1e-9))))
    return Contender(lambda: call(count), scale=1 / count, clock=clock)


# ---- PyTorch ----
def find_peers(
    notebook: Notebook, backend: Backend, widths: tuple[int, ...], X: Any, y: Any
) -> dict[str, tuple[Steps, list[np.ndarray]]]:
    """PyTorch's steps from the same parameters on the same data, eager and compiled with CUDA
    graphs, each with the gradients of its first step; none without it.
    """
    if not importlib.util.find_spec("torch"):
        return {}
    import torch

    device = torch.from_dlpack(X[:1]).device.type
    host = backend.to_numpy(X), backend.to_numpy(y.values)
    found: dict[str, tuple[Steps, list[np.ndarray]]] = {}
    for name, forward in torch_forwards(torch, device).items():
        if name != "torch" and widths not in COMPILED:
            continue
        settings = {"torch": torch, "device": device, "forward": forward}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # its advice on precision is not about us
                trainer = Torch(parameters(widths), *host, "adam", 1e-3, **settings)
                trainer.run(1)
        except Exception as error:  # no Triton, no compiler: PyTorch's own matter
            if name == "torch":
                raise
            notebook.note(f"{name} does not work here: {type(error).__name__}")
            continue
        found[name] = trainer.run, [a for pair in trainer.gradients() for a in pair]
    return found


# ---- the book's run ----
def fused_book(notebook: Notebook, backend: Backend) -> None:
    """Chapter 10's program: 2-64-3, 300 samples, Adam(0.05, decay 5e-7), 10,001 epochs."""
    with notebook.attempt("the book's run", backend):
        X, y = data(backend, 300)
        model = network(backend, (2, 64, 3))
        steps = FusedSteps(model, make_plan(model))
        start = [(w.copy(), b.copy()) for w, b in model.get_parameters()]

        def run() -> None:
            """From the same parameters every time; the optimizer's state begins at zero."""
            model.set_parameters(start)
            model.optimizer.iterations = 0
            for layer in model.trainable_layers:
                for name in ("weight_momentums", "bias_momentums", "weight_cache", "bias_cache"):
                    setattr(layer, name, None)
            steps.run(X, y, EPOCHS)

        steps.run(X, y, 2)  # compiles
        found = time_in_turns(
            {"ours": Contender(run, clock=clock_of(backend))}, rounds=ROUNDS, least=0.0
        )
        accuracy = float(model.accuracy.calculate_accumulated())
        took = 1e3 * statistics.median(found["ours"])
        notebook.add(
            "fused book", epochs=EPOCHS, milliseconds=took, goal=BOOK_GOAL, accuracy=accuracy
        )
        if not accuracy >= BOOK_ACCURACY:
            notebook.problem(f"the book's run: accuracy {accuracy:.3f}, the book's is 0.967")


# ---- what a step costs the CPU ----
def issued(backend: Backend) -> tuple[Callable[[], Any], Callable[[], None]]:
    """A step of the book's network, and its launch alone."""
    X, y = data(backend, 300)
    model = network(backend, (2, 64, 3), 1e-6)
    steps = FusedSteps(model, make_plan(model))
    steps.step(X, y)
    assert isinstance(steps, KernelSteps)  # small enough for it
    (ready,) = steps.ready.values()

    def step() -> None:
        steps.step(X, y)

    def launch() -> None:
        ready.launch()

    return step, launch
