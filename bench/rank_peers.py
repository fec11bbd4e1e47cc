"""PyTorch and JAX over processes, as their guides write it: what suite `ranks` compares with.

Imported by rank_worker.py in processes of these kinds alone. Where they find each other stands in
the variables that torchrun sets: RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT. Both add float32 by
Gloo. A rank has rows n rank // size to n (rank + 1) // size of the batch.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from .trainers import Jax, Parameters, Trainer

TIMEOUT = 60  # seconds that a process waits for the others


def _number(variable: str) -> int:
    return int(os.environ[variable])


def _rows(samples: int, rank: int, size: int) -> slice:
    return slice(samples * rank // size, samples * (rank + 1) // size)


# ---- PyTorch ----
class OverTorch:
    """A process of a group of PyTorch's; see `rank_worker.Member`."""

    def __init__(self) -> None:
        import torch
        import torch.distributed as dist

        torch.set_num_threads(1)
        dist.init_process_group("gloo", timeout=datetime.timedelta(seconds=TIMEOUT))
        self._torch, self._dist = torch, dist
        self.rank, self.meet, self.leave = dist.get_rank(), dist.barrier, dist.destroy_process_group

    def trainer(self, *given: Any) -> Trainer:
        """See `rank_worker.Member`."""
        return TorchShared(*given, torch=self._torch, dist=self._dist)

    def sum(self, a: np.ndarray) -> None:
        """See `rank_worker.Member`."""
        self._dist.all_reduce(self._torch.from_numpy(a))


class TorchShared:
    """DistributedDataParallel, which averages the ranks' gradients while backward runs."""

    def __init__(
        self,
        parameters: Parameters,
        X: np.ndarray,
        y: np.ndarray,
        optimizer: str,
        rate: float,
        *,
        torch: Any,
        dist: Any,
    ):
        self._torch, self._dist = torch, dist
        size, rows = dist.get_world_size(), _rows(len(X), dist.get_rank(), dist.get_world_size())
        self._X, self._y = torch.from_numpy(X[rows].copy()), torch.from_numpy(y[rows]).long()
        self._weight = len(self._X) * size / len(X)  # of this rank's mean in that of all
        layers: list[Any] = []
        for w, b in parameters:
            linear = torch.nn.Linear(*w.shape)
            linear.load_state_dict({"weight": torch.tensor(w.T), "bias": torch.tensor(b[0])})
            layers += [linear, torch.nn.ReLU()]
        self._module = torch.nn.Sequential(*layers[:-1])
        self._shared = torch.nn.parallel.DistributedDataParallel(self._module)
        made = torch.optim.Adam if optimizer == "adam" else torch.optim.SGD
        settings = {"eps": 1e-7} if optimizer == "adam" else {}
        self._optimizer = made(self._module.parameters(), lr=rate, fused=True, **settings)
        self._last: Any = None

    def run(self, steps: int) -> None:
        """See `trainers.Trainer`."""
        for _ in range(steps):
            self._optimizer.zero_grad(set_to_none=True)
            loss = self._torch.nn.functional.cross_entropy(self._shared(self._X), self._y)
            if self._weight != 1:
                loss = loss * self._weight
            loss.backward()
            self._optimizer.step()
        self._last = loss.detach()

    def loss(self) -> float:
        """See `trainers.Trainer`; all ranks call it."""
        total = self._last.clone()
        self._dist.all_reduce(total)
        return float(total / self._dist.get_world_size())

    def parameters(self) -> Parameters:
        """See `trainers.Trainer`."""
        found = [a.detach().numpy().copy() for a in self._module.parameters()]
        return [(w.T, b[None]) for w, b in zip(found[::2], found[1::2], strict=True)]


# ---- JAX ----
class OverJax:
    """A process of a group of JAX's; see `rank_worker.Member`."""

    def __init__(self) -> None:
        import jax

        # JAX has no variable for the number of its threads: it looks at the cores it may use.
        self.rank = _number("RANK")
        if hasattr(os, "sched_setaffinity"):
            cores = sorted(os.sched_getaffinity(0))
            os.sched_setaffinity(0, {cores[self.rank % len(cores)]})
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        jax.distributed.initialize(
            f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}",
            _number("WORLD_SIZE"),
            self.rank,
            initialization_timeout=TIMEOUT,
        )
        self._jax, self.leave = jax, jax.distributed.shutdown

    def trainer(self, *given: Any) -> Trainer:
        """See `rank_worker.Member`."""
        return JaxShared(*given, jax=self._jax)

    def meet(self) -> None:
        """See `rank_worker.Member`."""
        from jax.experimental.multihost_utils import sync_global_devices

        sync_global_devices("meet")

    def sum(self, a: np.ndarray) -> None:
        """See `rank_worker.Member`. JAX has no sum in place, and no int64 unless it is told."""
        raise NotImplementedError("JAX adds up arrays inside of its compiled functions")


class JaxShared(Jax):
    """The jitted step of `Jax`, over arrays that lie on all processes: XLA shares it out."""

    def __init__(self, parameters: Parameters, X: np.ndarray, *given: Any, jax: Any):
        super().__init__(parameters, X, *given, jax=jax)
        from jax.sharding import Mesh, NamedSharding, PartitionSpec

        mesh = Mesh(np.array(jax.devices()), ("ranks",))
        whole, shared = (NamedSharding(mesh, PartitionSpec(*axis)) for axis in ((), ("ranks",)))
        rows = _rows(len(X), jax.process_index(), jax.process_count())

        def on_all(a: Any) -> Any:
            return jax.make_array_from_process_local_data(whole, np.asarray(a), a.shape)

        def by_rows(a: Any) -> Any:
            return jax.make_array_from_process_local_data(shared, np.asarray(a)[rows], a.shape)

        self._state = jax.tree.map(on_all, self._state)
        self._X, self._y = by_rows(self._X), by_rows(self._y)


MEMBERS: dict[str, Callable[[], Any]] = {"torch": OverTorch, "jax": OverJax}
