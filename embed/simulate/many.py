"""Many simulations from seeds, in worker processes: the order and the bits do not depend on how many."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import islice
from typing import TypeVar

import numpy as np
from threadpoolctl import threadpool_limits

from micdb.errors import UsageError

Made = TypeVar("Made")

_AHEAD = 4  # chunks in work or waiting per process: a slow reader does not fill memory


def simulate_many(
    make: Callable[[int], Made], seeds: Iterable[int], *, processes: int = 1, chunk: int = 16
) -> Iterator[Made]:
    """Yield what a function makes of each seed, in the order of the seeds.

    Parameters
    ----------
    make
        Takes a seed; with more than one process it must be importable, so no lambda.
    seeds
        Any number of them, endless too.
    processes
        Worker processes; 1 works in this one.
    chunk
        Seeds a worker takes at a time.

    Raises
    ------
    UsageError
        For numbers under 1.
    """
    if processes < 1 or chunk < 1:
        raise UsageError(f"processes is {processes} and chunk {chunk}; expected 1 or more of each")
    return _in_turn(make, seeds) if processes == 1 else _spread(make, iter(seeds), processes, chunk)


def seeds_of(seed: int, count: int) -> list[int]:
    """Return `count` seeds that depend on one, distinct and unrelated (numpy's SeedSequence)."""
    return [int(one) for one in np.random.SeedSequence(seed).generate_state(count, np.uint64)]


def _in_turn(make: Callable[[int], Made], seeds: Iterable[int]) -> Iterator[Made]:
    for seed in seeds:
        yield _one_thread(make, [seed])[0]


def _one_thread(make: Callable[[int], Made], seeds: list[int]) -> list[Made]:
    """Return what is made; one BLAS thread, for sums in the same order everywhere."""
    with threadpool_limits(1):
        return [make(seed) for seed in seeds]


def _spread(make: Callable[[int], Made], seeds: Iterator[int], processes: int, chunk: int) -> Iterator[Made]:
    context = multiprocessing.get_context("spawn")  # a fork would copy locks that other threads hold
    waiting: deque[Future[list[Made]]] = deque()
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        try:
            while True:
                while len(waiting) < _AHEAD * processes and (part := list(islice(seeds, chunk))):
                    waiting.append(pool.submit(_one_thread, make, part))
                if not waiting:
                    return
                yield from waiting.popleft().result()
        finally:  # the reader may stop early
            for future in waiting:
                future.cancel()
