"""Fused CPU steps shared among more threads than cores: networks, and what steps do."""

from __future__ import annotations

import ctypes
import threading

import numpy as np
import pytest
from fused_state import backend_of, gradients, parameters, state
from networks import Network
from worker_meetings import until

from nnfs_gpu import fused
from nnfs_gpu.backend.cpu import workers
from nnfs_gpu.kernels.cpu.waiting import APART
from nnfs_gpu.kernels.fused_cpu import tables as k
from nnfs_gpu.kernels.fused_cpu.step import train

ROLE, TURN = 2, 12  # places among the arguments of `train`
NETWORKS = {
    "narrow": Network((2, 64, 3), keep=0.5),
    "pieces": Network((40, 300, 3), optimizer="momentum", l2=0.001),
    "deep": Network((2, 64, 64, 3), optimizer="adagrad", l1=0.001, soft=True),
    "binary": Network((5, 20, 2), "sigmoid", "binary_cross_entropy", "rmsprop", keep=0.8),
    "values": Network((3, 17, 130, 2), "sigmoid", "squared_error", "sgd", 0.7, 0.001, 0.002),
    "one": Network((7, 1), "linear", "absolute_error", "adam", l2=0.01),
}
each_network = pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)


def present(engine):
    """How many threads follow at the moment."""
    return int(engine.layout.cells[k.PRESENT * APART])


class Sharing:
    """Stands for `train` and `Workers.follow`: has a call wait for all that were called to it.

    threads  how many there shall be
    led      the arguments of the calls that were led
    others   how many followed when each began
    """

    def __init__(self, pool):
        self.pool, self.threads, self.waits = pool, 1, True
        self.called, self.led, self.others = 0, [], []

    def use(self, threads):
        self.threads = threads
        self.led.clear()
        self.others.clear()

    def follow(self, task, threads):
        self.called = min(threads - 1, self.pool.count)
        workers.Workers.follow(self.pool, task, threads)

    def train(self, *given):
        if given[ROLE] == k.LEAD:
            cells = cells_of(given[0])
            called, self.called = self.called, 0
            if self.waits:
                until(lambda: cells[k.PRESENT * APART] >= called, "they do not come")
            self.led.append(given)
            self.others.append(int(cells[k.PRESENT * APART]))
        train(*given)

    def sleep(self):
        """Nobody follows any more."""
        self.pool.sleep()
        until(lambda: len(self.pool._asleep) == len(self.pool._threads), "they stay")


def cells_of(tables):
    """The cells of an engine, by the address of its head."""
    head = np.ctypeslib.as_array((ctypes.c_int64 * k.HEAD_FIELDS).from_address(tables))
    count = k.CELLS_FIELDS * APART
    return np.ctypeslib.as_array((ctypes.c_int64 * count).from_address(int(head[k.CELLS])))


def made(network, n, dtype="float32"):
    """(model, engine, X, y)."""
    model = network.model(backend_of(dtype))
    X, y = network.data(model, n)
    engine = fused.engine(model)
    engine.compile()
    return model, engine, X, y


def everything(model):
    """The bits of all that a step writes for others to see."""
    arrays = parameters(model) + gradients(model) + list(state(model).values())
    sums = model.loss.accumulated_sum, model.accuracy.accumulated_sum
    return [a.tobytes() for a in arrays], sums, model.optimizer.iterations


def blocks(engine, X, y, cuts):
    """A step in blocks that end at `cuts`."""
    n = X.shape[0]
    for start, stop in zip((0, *cuts), (*cuts, n), strict=True):
        engine.accumulate(X[start:stop], y[start:stop], n)
    return engine.finish()


def history(network, n, dtype):
    """What a model and its engine say after steps of every kind."""
    return acts(*made(network, n, dtype))


def acts(model, engine, X, y):
    n, told = X.shape[0], []
    for act in (
        lambda: engine.step(X, y),
        lambda: engine.run(X, y, 6),
        lambda: blocks(engine, X, y, (1, n // 2 + 3, n - 5)),
        lambda: engine.step(X, y),
        lambda: engine.run(X, y, 2),
    ):
        measured = act()
        told.append([np.asarray(value).tobytes() for value in measured])
        told.append(everything(model))
    return told


def at_the_same_time(work, count):
    both = [threading.Thread(target=work, args=(place,)) for place in range(count)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
