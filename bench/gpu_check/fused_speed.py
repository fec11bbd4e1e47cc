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

from nnfs_gpu.fused import make_plan
from nnfs_gpu.fused.cuda.choose import FusedSteps
from nnfs_gpu.selftest.timing import Clock, Way, clock_of, ratio, time_in_turns

from .fused import NETS, data, gradients, largest_error, name_of, network
from .notebook import Notebook

BATCHES = (300, 30_000, 1_000_000)
COMPILED = ((2, 64, 3),)  # nets that torch.compile gets: it takes its time
PEER_BOUND = 1e-4  # of the largest gradient of a layer: PyTorch adds up in another order
ROUNDS = 5
SECONDS = 0.05  # of a measurement
EPOCHS = 10_001
GOALS = {((2, 64, 3), 1_000_000): 20e9}  # samples a second
BOOK_GOAL = 30.0  # milliseconds
BOOK_ACCURACY = 0.9  # the book's run ends at 0.967

Steps = Callable[[int], Any]  # so many steps


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
    ways = {name: way(clock, call) for name, call in candidates.items()}
    seconds = time_in_turns(ways, rounds=ROUNDS, least=SECONDS)
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


def way(clock: Clock, call: Steps) -> Way:
    """As many steps a call as take about SECONDS; the first ones compile and are not counted."""
    call(3)
    once = clock.seconds(lambda: call(3), 1) / 3
    count = max(3, min(10_000, int(SECONDS / max(once, 1e-9))))
    return Way(lambda: call(count), scale=1 / count, clock=clock)


# ---- PyTorch ----
def find_peers(
    notebook: Notebook, backend: Any, widths: tuple[int, ...], X: Any, y: Any
) -> dict[str, tuple[Steps, list[np.ndarray]]]:
    """PyTorch's step on the same memory from the same parameters, eager and compiled with CUDA
    graphs, each with its gradients; none without it."""
    if not importlib.util.find_spec("torch"):
        return {}
    found = {"torch": peer(backend, widths, X, y, False)}
    if widths in COMPILED:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # its advice on precision is not about us
                found["torch compiled"] = peer(backend, widths, X, y, True)
        except Exception as error:  # no Triton, no compiler: PyTorch's own matter
            notebook.note(f"torch.compile does not work here: {type(error).__name__}")
    return found


def peer(
    backend: Any, widths: tuple[int, ...], X: Any, y: Any, compiled: bool
) -> tuple[Steps, list[np.ndarray]]:
    """Steps with fused Adam, and the gradients of the first, ours in order and shape."""
    import torch

    x, t = torch.from_dlpack(X), torch.from_dlpack(y.values).long()
    parts: list[Any] = []
    for layer in network(backend, widths).trainable_layers:
        linear = torch.nn.Linear(layer.n_inputs, layer.n_neurons)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(np.array(backend.to_numpy(layer.weights)).T))
            linear.bias.zero_()
        parts += [linear, torch.nn.ReLU()]
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

    steps(1)
    first = [p.grad.detach().cpu().numpy() for p in net.parameters()]
    return steps, [a.T if a.ndim == 2 else a[None] for a in first]


# ---- the book's run ----
def fused_book(notebook: Notebook, backend: Any) -> None:
    """Chapter 10's program: 2-64-3, 300 samples, Adam(0.05, decay 5e-7), 10,001 epochs."""
    with notebook.attempt("the book's run", backend):
        X, y = data(backend, 300)
        model = network(backend, (2, 64, 3))
        steps = FusedSteps(model, make_plan(model))
        start = [[a.copy() for a in pair] for pair in model.get_parameters()]

        def run() -> None:
            """From the same parameters every time; the optimizer's state begins at zero."""
            model.set_parameters(start)
            model.optimizer.iterations = 0
            for layer in model.trainable_layers:
                for name in ("weight_momentums", "bias_momentums", "weight_cache", "bias_cache"):
                    setattr(layer, name, None)
            steps.run(X, y, EPOCHS)

        steps.run(X, y, 2)  # compiles
        found = time_in_turns({"ours": Way(run, clock=clock_of(backend))}, rounds=ROUNDS, least=0.0)
        accuracy = float(model.accuracy.calculate_accumulated())
        took = 1e3 * statistics.median(found["ours"])
        notebook.add(
            "fused book", epochs=EPOCHS, milliseconds=took, goal=BOOK_GOAL, accuracy=accuracy
        )
        if not accuracy >= BOOK_ACCURACY:
            notebook.problem(f"the book's run: accuracy {accuracy:.3f}, the book's is 0.967")


# ---- what a step costs the CPU ----
def issued(backend: Any) -> tuple[Callable[[], Any], Callable[[], None]]:
    """A step of the book's network, and its launch alone."""
    X, y = data(backend, 300)
    model = network(backend, (2, 64, 3), 1e-6)
    steps = FusedSteps(model, make_plan(model))
    steps.step(X, y)
    (ready,) = steps._ready.values()

    def step() -> None:
        steps.step(X, y)

    def launch() -> None:
        ready.launch()

    return step, launch
