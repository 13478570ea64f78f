"""Fill derived tables: compute what is missing, with as many processes as asked, and resume always."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import URL, Engine

from micdb.catalog.engine import open_engine, reading, writing
from micdb.catalog.results import run_item
from micdb.catalog.rows import id_list
from micdb.errors import MicdbError, UsageError
from micdb.populate import jobs
from micdb.populate.extractor import extractors
from micdb.populate.runs import open_run
from micdb.populate.worker import BATCH, Job, work

_TOLD = 5  # reasons of refusals that are shown
POLL = 0.2  # [s] between looks at the job table while workers run
Watcher = Callable[[str, jobs.Progress], None]


@dataclass(frozen=True, slots=True, repr=False)
class Populated:
    """What one extractor did.

    Parameters
    ----------
    extractor, run
        Registered name, and the run's uid.
    added
        Images that had no answer before this call.
    progress
        Items of the run among the images asked for, by status, afterwards.
    refusals
        Reason to number of images, most frequent first.
    """

    extractor: str
    run: str
    added: int
    progress: jobs.Progress
    refusals: Mapping[str, int]

    def __repr__(self) -> str:
        state = self.progress
        told = f"{self.extractor}: {state.done} done, {state.refused} refused, {self.added} of them new now"
        lines = [f"{told}; {state.failed} failed" if state.failed else told]
        lines += [f"  refused {number}: {reason}" for reason, number in list(self.refusals.items())[:_TOLD]]
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        return asdict(self)


def populate(
    engine: Engine,
    root: Path,
    name: str,
    *,
    parameters: Mapping[str, Any] | None = None,
    images: Sequence[int] | None = None,
    workers: int = 1,
    watch: Watcher | None = None,
) -> Populated:
    """Run one extractor over the images that have no answer from it yet.

    Parameters
    ----------
    engine, root
        Catalog and database folder.
    name
        Registered extractor.
    parameters
        Overrides of the card's defaults; other parameters are another run.
    images
        ``micrograph.pk`` to restrict to; None for all.
    workers
        Local processes; 1 computes in this process, 0 takes one per processor. With more than one, a
        script must call this below ``if __name__ == "__main__":``: every worker imports the script.
    watch
        Called with the extractor's name and the progress, now and then.

    Raises
    ------
    RegistryError, UsageError
        Unknown extractor or parameter, negative `workers`.
    ContractError
        The extractor has a bug; finished batches are kept and the rest can be resumed.
    """
    if workers < 0:
        raise UsageError(f"workers is {workers}; it must be 0 (one per processor) or more")
    extractor = extractors().get(name)(**(parameters or {}))
    with writing(engine) as connection:
        opened = open_run(connection, extractor)
        added = jobs.plan(connection, opened.pk, images)
    jobs.free_dead_claims(engine, opened.pk)
    job = Job(root, opened.pk, extractor, images)
    while (waiting := _waiting(engine, job)) is not None:
        # starting a process takes about a second: not for less than a batch each
        count = min(workers or os.cpu_count() or 1, -(-waiting // BATCH))
        if count > 1:
            _work_in_processes(engine, job, count, watch)
        else:
            _work_here(engine, job, watch)
    final = jobs.progress(engine, opened.pk, images)
    if watch:
        watch(name, final)
    return Populated(name, opened.uid, added, final, _refusals(engine, opened.pk, images))


def _waiting(engine: Engine, job: Job) -> int | None:
    """Return how many items are free, once others have answered theirs; None when all are answered."""
    while True:
        state = jobs.progress(engine, job.run_pk, job.images)
        if state.waiting or not state.claimed:
            return state.waiting or None
        time.sleep(POLL)
        jobs.free_dead_claims(engine, job.run_pk)


def _work_here(engine: Engine, job: Job, watch: Watcher | None) -> None:
    from threadpoolctl import threadpool_limits

    def proceed() -> bool:
        if watch:
            watch(job.extractor.card.name, jobs.progress(engine, job.run_pk, job.images))
        return True

    with threadpool_limits(limits=1):
        work(engine, job, proceed)


def _work_in_processes(engine: Engine, job: Job, count: int, watch: Watcher | None) -> None:
    """Run `count` workers; spawn, not fork: forked copies of threads and SQLite handles deadlock."""
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    pipes = [context.Pipe(duplex=False) for _ in range(count)]
    said = (os.getpid(), stop)
    # Plain processes, not a pool: the workers of a pool wait for ever when their parent is killed.
    workers = [context.Process(target=_process, args=(engine.url, job, *said, end)) for _, end in pipes]
    try:
        with _interrupts_held():
            for worker in workers:
                worker.start()
        while running := [worker.sentinel for worker in workers if worker.is_alive()]:
            wait(running, timeout=POLL)
            if any(worker.exitcode for worker in workers):
                stop.set()  # what one has found wrong the others need not find again
            if watch:
                watch(job.extractor.card.name, jobs.progress(engine, job.run_pk, job.images))
    finally:
        stop.set()
        for worker in workers:
            if worker.pid is not None:
                worker.join()
    for error, _ in pipes:
        if error.poll():
            raise error.recv()
    codes = [worker.exitcode for worker in workers if worker.exitcode]
    if codes:
        raise UsageError(
            f"{len(codes)} of {count} worker processes of {job.extractor.card.name!r} died "
            f"(exit code {codes[0]}; -9 is most often lack of memory); what was finished is kept: "
            "run the same again with fewer workers; in a script, call populate below "
            "if __name__ == '__main__', because every worker imports the script"
        )


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hold SIGINT back; processes started meanwhile do so as well, until they are ready to end quietly."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _process(catalog: URL, job: Job, parent: int, stop: Event, trouble: Connection) -> None:
    from threadpoolctl import threadpool_limits

    engine = open_engine(catalog)

    def proceed() -> bool:
        # A worker whose parent was killed must not go on writing behind the next command's back.
        return os.getppid() == parent and not stop.is_set()

    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        with threadpool_limits(limits=1):  # processes share the processors already
            work(engine, replace(job, worker=jobs.identity()), proceed)
    except MicdbError as error:
        trouble.send(error)
        sys.exit(1)
    except KeyboardInterrupt:  # the parent has it too, and tells the user
        pass
    finally:
        engine.dispose()


def _refusals(engine: Engine, run_pk: int, images: Sequence[int] | None) -> dict[str, int]:
    with reading(engine) as connection:
        query = sa.select(run_item.c.reason).where(
            run_item.c.run_pk == run_pk, run_item.c.status == "refused"
        )
        if images is not None:
            query = query.where(run_item.c.micrograph_pk.in_(sa.select(id_list(connection, images).c.id)))
        return dict(Counter(connection.execute(query).scalars()).most_common())
