"""The training loop: simulated batches in, trained network out; the same for the same seed.

Batches are simulated by other processes while the network learns: each comes from a seed of its own, so
neither their number nor their order of arrival changes what is learnt.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np
import numpy.typing as npt
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

Batch = tuple[npt.NDArray[np.float32], ...]
Make = Callable[[int], Batch]


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how fast to learn.

    Parameters
    ----------
    steps
        Number of batches.
    rate
        Highest learning rate of AdamW; it rises over the first twentieth and falls as a cosine to nothing.
    seed
        Of the first weights and of every batch.
    decay
        Weight decay.
    epochs
        How often each batch is shown; ``steps / epochs`` are simulated. After the first time their order is
        drawn anew.
    """

    steps: int
    rate: float = 3e-3
    seed: int = 0
    decay: float = 1e-4
    epochs: int = 1

    def rate_at(self, step: int) -> float:
        """Return the learning rate of a step as a share of `rate`."""
        rise = max(self.steps // 20, 1)
        if step < rise:
            return (step + 1) / rise
        return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(self.steps - rise, 1)))


def train(
    build: Callable[[], nn.Module],
    make: Make,
    loss: Callable[[nn.Module, tuple[Tensor, ...]], Tensor],
    schedule: Schedule,
    *,
    workers: int = 1,
    watch: Callable[[int, float], None] | None = None,
) -> tuple[nn.Module, float]:
    """Train a network.

    Parameters
    ----------
    build
        Makes the untrained network.
    make
        Simulates the batch of a seed, as arrays; a function of a module, for it runs in other processes.
    loss
        Of the network on a batch.
    schedule
        Steps, rate and seed.
    workers
        Processes that simulate; 0 to do so here.
    watch
        Called with the step and the loss, now and then.

    Returns
    -------
    network, seconds
        In evaluation mode, and the processor time of this process [s].
    """
    started = time.process_time()
    torch.manual_seed(schedule.seed)
    network = build()
    optimiser = torch.optim.AdamW(network.parameters(), lr=schedule.rate, weight_decay=schedule.decay)
    rates = torch.optim.lr_scheduler.LambdaLR(optimiser, schedule.rate_at)
    network.train()
    recent: deque[float] = deque(maxlen=100)
    for step, arrays in enumerate(_batches(make, schedule, workers)):
        optimiser.zero_grad(set_to_none=True)
        value = loss(network, tuple(torch.from_numpy(array) for array in arrays))
        value.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        rates.step()
        recent.append(float(value.detach()))
        if watch and (step + 1) % 100 == 0:
            watch(step + 1, float(np.mean(recent)))
    return network.eval(), time.process_time() - started


def _batches(make: Make, schedule: Schedule, workers: int) -> Iterator[Batch]:
    count = math.ceil(schedule.steps / schedule.epochs)
    if schedule.epochs == 1:
        yield from _simulated(make, schedule.seed, count, workers)
        return
    kept: list[Batch] = []
    for one in _simulated(make, schedule.seed, count, workers):
        kept.append(one)
        yield one
    rng = np.random.default_rng(schedule.seed)
    order = np.concatenate([rng.permutation(count) for _ in range(schedule.epochs - 1)])
    for number in order[: schedule.steps - count].tolist():
        yield kept[number]


def _simulated(make: Make, seed: int, count: int, workers: int) -> Iterator[Batch]:
    seeds = np.random.SeedSequence(seed).generate_state(count, np.uint64)
    waiting: deque[int] = deque(int(seed) for seed in seeds)
    if not workers:
        yield from map(make, waiting)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        ahead = deque(
            pool.submit(_alone, make, waiting.popleft()) for _ in range(min(4 * workers, len(waiting)))
        )
        while ahead:
            batch = ahead.popleft().result()
            if waiting:
                ahead.append(pool.submit(_alone, make, waiting.popleft()))
            yield batch


def _alone(make: Make, seed: int) -> Batch:
    """Simulate with one thread: processes share the processors already, and more take three times as long."""
    with threadpool_limits(1):
        return make(seed)
