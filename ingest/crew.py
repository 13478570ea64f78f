"""Worker processes that prepare files: all cores read, one process writes the catalog.

A worker is a fresh interpreter on a socket, not a fork and not a `multiprocessing` process: a fork copies
threads and locks, and spawned processes import the user's script a second time. It gives a sign of life
after every frame. One that falls silent or dies, because a damaged file sent a C library into an endless
loop or over the edge, is replaced, and its file is refused with the reason: the others go on.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import URL, Engine

from micdb.catalog.engine import open_engine, reading
from micdb.errors import DamagedFileError, MicdbError
from micdb.ingest import commit
from micdb.ingest.arrival import Arrival, Beat, Known, prepare
from micdb.ingest.sniff import quiet
from micdb.store.staging import leftovers

PATIENCE = 60.0  # [s] a worker that gives no sign of life this long is taken for lost
AHEAD = 8  # files handed to each worker before it asks: it must not wait while the catalog is written
BEAT = 1.0  # [s] between signs of life

Outcome = Arrival | MicdbError


class Task(NamedTuple):
    """A file to prepare.

    Parameters
    ----------
    path
        Where its bytes lie.
    defer
        Whether its pixels are left for later.
    unpacked
        Whether it came out of an archive.
    outcome
        What became of it, where nothing is to be done.
    """

    path: Path
    defer: bool = False
    unpacked: bool = False
    outcome: Outcome | None = None


@contextmanager
def preparing(
    engine: Engine, root: Path, tasks: Iterable[Task], *, count: int
) -> Iterator[Iterator[Outcome]]:
    """Yield an iterator of what became of each file, in the order of `tasks`.

    What is staged must be published before the context ends: workers clear their staging folders then.

    Parameters
    ----------
    engine, root
        The catalog and its folder.
    tasks
        Files; may be a generator, which is read a little ahead.
    count
        Worker processes; 1 reads in this process.
    """
    if count > 1:
        with _Crew(engine.url, root, count) as crew:
            yield crew.outcomes(iter(tasks))
    else:
        known = partial(look_up, engine)
        with quiet():
            yield (task.outcome or _attempt(root, task, known) for task in tasks)


def look_up(engine: Engine, sha256: str) -> Known:
    """Return what the database has of a file with those bytes."""
    with reading(engine) as connection:
        return commit.known(connection, sha256)


def _attempt(root: Path, task: Task, known: Callable[[str], Known], beat: Beat = lambda: None) -> Outcome:
    try:
        return prepare(root, task.path, defer=task.defer, unpacked=task.unpacked, known=known, beat=beat)
    except MicdbError as error:
        return error


@dataclass(slots=True)
class _Worker:
    process: subprocess.Popen[bytes]
    pipe: Connection
    waiting: deque[tuple[int, Task]] = field(default_factory=deque)  # the first is being read
    heard: float = 0.0  # [s, monotonic] last sign of life


class _Crew:
    """The workers of one ingest."""

    def __init__(self, catalog: URL, root: Path, count: int) -> None:
        self._catalog, self._root = catalog, root
        self._count = count
        self._workers: list[_Worker] = []  # hired when there is work: known files need none
        self._done: dict[int, Outcome | Exception] = {}
        self._lost = False  # a worker died, and could not clear its staging folder

    def __enter__(self) -> _Crew:
        return self

    def __exit__(self, *_error: object) -> None:
        for worker in self._workers:
            worker.pipe.close()  # a worker ends, and clears its staging folder, when nobody listens
        for worker in self._workers:
            try:
                worker.process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
                self._lost = True
        if self._lost:
            list(leftovers(self._root, remove=True))

    def outcomes(self, tasks: Iterator[Task]) -> Iterator[Outcome]:
        handed, told, over = 0, 0, False
        limit = 2 * AHEAD * self._count  # outcomes kept because an earlier file takes long
        while True:
            while not over and handed - told < limit and self._has_room():
                task = next(tasks, None)
                if task is None:
                    over = True
                elif task.outcome is not None:
                    self._done[handed] = task.outcome
                    handed += 1
                else:
                    self._hand(self._least_busy(), handed, task)
                    handed += 1
            while told in self._done:
                outcome = self._done.pop(told)
                if not isinstance(outcome, Outcome):
                    raise outcome  # a bug, or a full disk: not this file's fault
                yield outcome
                told += 1
            if over and told == handed:
                return
            self._listen()

    def _has_room(self) -> bool:
        if len(self._workers) < self._count:
            return True
        return any(len(worker.waiting) < AHEAD for worker in self._workers)

    def _least_busy(self) -> _Worker:
        if len(self._workers) < self._count and all(worker.waiting for worker in self._workers):
            self._workers.append(self._hire())
        return min(self._workers, key=lambda worker: len(worker.waiting))

    def _hand(self, worker: _Worker, number: int, task: Task) -> None:
        if not worker.waiting:
            worker.heard = time.monotonic()
        worker.waiting.append((number, task))
        with suppress(BrokenPipeError):  # it died: `_listen` will find out
            worker.pipe.send(task)

    def _listen(self) -> None:
        busy = [worker for worker in self._workers if worker.waiting]
        ready = wait([worker.pipe for worker in busy], timeout=BEAT)
        for worker in busy:
            if worker.pipe in ready:
                self._hear(worker)
            elif time.monotonic() - worker.heard > PATIENCE:
                worker.process.kill()
                self._replace(worker, f"reading it gave no sign of life for {PATIENCE:.0f} s and was ended")

    def _hear(self, worker: _Worker) -> None:
        try:
            said = worker.pipe.recv()
        except (EOFError, OSError):
            code = worker.process.wait()
            how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
            self._replace(worker, f"reading it ended the process that read it ({how})")
            return
        worker.heard = time.monotonic()
        if said is None:
            return
        number, _ = worker.waiting.popleft()
        self._done[number] = said

    def _replace(self, worker: _Worker, reason: str) -> None:
        """Refuse the file a lost worker was at, and hand the others it had to a new one."""
        number, task = worker.waiting.popleft()
        self._done[number] = DamagedFileError(task.path, f"{reason}; the file is most likely damaged")
        self._lost = True
        worker.pipe.close()
        worker.process.wait()
        fresh = self._hire()
        self._workers[self._workers.index(worker)] = fresh
        for number, task in worker.waiting:
            self._hand(fresh, number, task)

    def _hire(self) -> _Worker:
        here, there = socket.socketpair()
        with there:
            code = "from micdb.ingest.crew import serve; serve()"
            command = [sys.executable, "-c", code, str(there.fileno())]
            process = subprocess.Popen(  # noqa: S603 (our own interpreter and module)
                command, pass_fds=[there.fileno()], stdin=subprocess.DEVNULL
            )
        pipe = Connection(here.detach())
        pipe.send((self._catalog, self._root))
        return _Worker(process, pipe, heard=time.monotonic())


def serve() -> None:
    """Run a worker: prepare what the socket named on the command line asks for, until it closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent has it too, and ends its workers
    pipe = Connection(int(sys.argv[1]))
    with suppress(EOFError, BrokenPipeError, ConnectionResetError), quiet():
        catalog, root = pipe.recv()
        known = partial(look_up, open_engine(catalog))
        beat = _Beat(pipe)
        while True:
            task = pipe.recv()
            try:
                outcome: Outcome | Exception = _attempt(root, task, known, beat)
            except (BrokenPipeError, ConnectionResetError):
                raise
            except Exception as error:
                outcome = error
            pipe.send(outcome)


class _Beat:
    """Tells the parent, not too often, that this worker is alive; ends it when there is no parent."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe, self._last, self._parent = pipe, time.monotonic(), os.getppid()

    def __call__(self) -> None:
        if time.monotonic() - self._last > BEAT:
            self._last = time.monotonic()
            self._pipe.send(None)
