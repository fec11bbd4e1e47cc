"""Training over ranks on GPUs, without one: CuPy is strict and of paper, so is NCCL.

Ranks are threads with a device each; kernels run on the CPU, messages go through
`ranks.nccl.Communicator`, what the host tells through the world. Proves: one rank and several end
with the same bits, in full batches, mini-batches, shuffled, with dropout and penalties, by the
fused kernel and by tiles of rows; a message a step.
"""

from __future__ import annotations

import threading

import numpy as np
import pytest
from device_arrays import DeviceArray
from emulation.emulator import Emulator
from fake_cupy import DeviceBackend
from fused_cuda_networks import net, state
from local_world import LocalWorld, on_ranks
from paper_nccl import Paper

from nnfs_gpu.fused.cuda import engine as cuda_engine
from nnfs_gpu.fused.tiles import TiledSteps
from nnfs_gpu.ranks import nccl

pytestmark = pytest.mark.usefixtures("compiler")

NETWORKS = {
    "narrow": net(2, 64, 3, rows=90, l1=1e-3),
    "dropout": net(3, 12, 9, 2, keep=(0.8, 0.5), rows=90, optimizer="rmsprop"),
    "regression": net(2, 12, 2, loss="squared_error", optimizer="momentum", rows=90),
    "tiles of rows": net(5, 140, 9, 3, rows=90),
}
MAKING = threading.Lock()
WORKING = threading.Lock()


@pytest.fixture(autouse=True)
def small_leaves(monkeypatch):
    """And the emulator, whose threads' stacks are the library's, works for one rank at a time.
    Each rank sees one device, as where a launcher has chosen.
    """
    monkeypatch.setattr("nnfs_gpu.training.ranks.choose_device", lambda _: 0)
    monkeypatch.setattr(cuda_engine, "leaf_of", lambda *_: 16)
    monkeypatch.setattr("nnfs_gpu.fused.tiles.LEAST_ROWS", 16)
    monkeypatch.setattr("nnfs_gpu.fused.tiles.L2_BYTES", 0)
    launch = Emulator.launch

    def alone(self, *arguments, **definitions):
        with WORKING:
            launch(self, *arguments, **definitions)

    monkeypatch.setattr(Emulator, "launch", alone)


class DeviceWorld(LocalWorld):
    """Arrays on the device go through NCCL, as `MPIWorld` has them."""

    communicator = None
    messages = 0

    def sum(self, a):
        if isinstance(a, np.ndarray):
            super().sum(a)
            return
        paper = self.common["paper"]
        if self.communicator is None:
            self.communicator = nccl.Communicator(self.rank, self.size, self.broadcast)
        a._device = self.rank
        paper.memory[a.data.ptr] = (self.rank, a.nbytes)
        self.communicator.sum(a)
        self.messages += 1


def trained(monkeypatch, of, size, **settings):
    """State and history of each of `size` ranks, as bytes, and how many messages there were."""
    paper = Paper(size, threading.Barrier(size, timeout=20.0))
    monkeypatch.setattr(nccl, "_libraries", paper.library)

    def program(local):
        threading.current_thread().name = f"rank {local.rank}"
        world = DeviceWorld(local.rank, size, local.common)
        local.common["paper"] = paper
        with MAKING:
            backend = DeviceBackend()
            model = of.model(backend)
            X, y = of.data(model)
        if local.rank:
            model.set_parameters([(0 * w, b + 1) for w, b in model.get_parameters()])
        history = model.train(
            X.get(),
            y.values.get(),
            **{"epochs": 3, "print_every": None, "world": world, "seed": 1} | settings,
        )
        assert all(isinstance(layer.weights, DeviceArray) for layer in model.trainable_layers)
        curves = {name: np.array(curve) for name, curve in history.history.items()}
        found = {name: value.tobytes() for name, value in (state(model) | curves).items()}
        return found, world.messages

    return on_ranks(size, program)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(
    "settings", [{}, {"batch_size": 40}, {"batch_size": 64, "shuffle": True}], ids=str
)
def test_the_same_bits_on_one_rank_and_on_several(monkeypatch, name, settings):
    steps = 3 * -(-90 // settings.get("batch_size", 90))
    ((alone, messages),) = trained(monkeypatch, NETWORKS[name], 1, **settings)
    assert messages == steps
    for size in (2, 3):
        for found, messages in trained(monkeypatch, NETWORKS[name], size, **settings):
            assert [key for key in alone if found[key] != alone[key]] == []
            assert messages == steps


@pytest.mark.parametrize("name", ["narrow", "dropout"])
@pytest.mark.parametrize("settings", [{}, {"batch_size": 40, "shuffle": True}], ids=str)
def test_samples_with_weights(monkeypatch, name, settings):
    """The last batch is one leaf of 10 rows: a rank alone has it."""
    weights = np.random.default_rng(2).random(90) * (np.arange(90) >= 20)
    settings = settings | {"sample_weight": weights}
    ((alone, _),) = trained(monkeypatch, NETWORKS[name], 1, **settings)
    for size in (2, 3):
        for found, _ in trained(monkeypatch, NETWORKS[name], size, **settings):
            assert [key for key in alone if found[key] != alone[key]] == []


def test_wide_networks_go_by_tiles(monkeypatch):
    """Six leaves of 16 rows, three for each rank."""
    found = []
    accumulate = TiledSteps.accumulate
    monkeypatch.setattr(
        TiledSteps, "accumulate", lambda self, *a: found.append(len(a[0])) or accumulate(self, *a)
    )
    of = NETWORKS["tiles of rows"]
    trained(monkeypatch, of, 2, epochs=1)
    assert sorted(found) == [42, 48]
