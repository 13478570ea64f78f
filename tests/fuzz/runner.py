"""Hands mutants to processes, watches these, and counts what became of each."""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from tests.fuzz.seeds import ROOT, Seed

WALL = 60.0  # [s] for one file: the limit that counts is processor time, which a busy machine cannot stretch
BATCH = 16  # files brought into one database: enough for two workers
SHARE = 33  # one mutant in so many goes through a whole ingest too
BOMBS = 4  # bombs are mutated once in so many rounds: most of them are slow, and lame when damaged
SERVED = 500  # questions after which a process is replaced
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


class Job(NamedTuple):
    """Mutants, by seed and number, to be read one by one or brought into a database together."""

    mutants: tuple[tuple[str, int], ...]
    ingest: bool = False

    def __str__(self) -> str:
        return " ".join(f"{name}:{number}" for name, number in self.mutants)


@dataclass
class Row:
    """What became of the mutants of one format."""

    mutants: int = 0
    scans: int = 0
    refused: int = 0
    offset: int = 0
    failures: int = 0
    seconds: float = 0.0
    bytes: int = 0

    def add(self, answer: dict[str, Any]) -> None:
        """Count one answer."""
        self.mutants += 1
        self.scans += answer["outcome"] == "scans"
        self.refused += answer["outcome"] == "refused"
        self.offset += bool(answer.get("offset"))
        self.failures += answer["outcome"] == "failure"
        self.seconds = max(self.seconds, answer.get("seconds", 0.0))
        self.bytes = max(self.bytes, answer.get("bytes", 0))


@dataclass
class Tally:
    """All that was found."""

    rows: defaultdict[str, Row] = field(default_factory=lambda: defaultdict(Row))
    formats: dict[str, str] = field(default_factory=dict)  # seed -> format of its sound file
    readers: Counter[str] = field(default_factory=Counter)  # reader -> seeds of our own making it reads
    failures: list[tuple[Job, str]] = field(default_factory=list)
    ingested: int = 0  # mutants that went through a whole ingest
    images: int = 0

    def add(self, job: Job, answer: dict[str, Any]) -> None:
        """Count one answer."""
        if answer["outcome"] == "failure":
            self.failures.append((job, answer["reason"]))
        if job.ingest:
            self.ingested += len(job.mutants)
            self.images += answer.get("images", 0)
            return
        ((name, number),) = job.mutants
        if number == 0:
            kind = answer.get("format")
            sound = answer["outcome"] == "scans"
            self.formats[name] = "no reader" if kind is None else kind if sound else f"{kind}, no image"
            if answer.get("reader") and name.startswith("made/"):
                self.readers[answer["reader"]] += 1
        if name.startswith("bomb/"):
            self.rows["bombs"].add(answer)
        elif number:
            self.rows[self.formats.get(name, "no reader")].add(answer)

    def total(self) -> Row:
        """Return the sum of all rows."""
        whole = Row()
        for row in self.rows.values():
            for name in ("mutants", "scans", "refused", "offset", "failures"):
                setattr(whole, name, getattr(whole, name) + getattr(row, name))
            whole.seconds, whole.bytes = max(whole.seconds, row.seconds), max(whole.bytes, row.bytes)
        return whole

    def table(self) -> str:
        """Return a Markdown table, a row per format."""
        lines = [
            "| format | mutants | scans | refused | with offset | failures | slowest [s] | peak [MB] |",
            "|---|---|---|---|---|---|---|---|",
        ]
        for name, row in [*sorted(self.rows.items()), ("all", self.total())]:
            lines.append(
                f"| {name} | {row.mutants} | {row.scans} | {row.refused} | {row.offset} | {row.failures} "
                f"| {row.seconds:.2f} | {row.bytes / 1e6:.0f} |"
            )
        return "\n".join(lines)


class _Process:
    """One process under test; it is started when there is something to ask, and again after it died."""

    def __init__(self, seeds: Path, work: Path) -> None:
        self._seeds, self.work = seeds, work
        self._served = 0
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, job: Job) -> dict[str, Any]:
        """Return the answer; a process that dies or falls silent is a failure of the job."""
        if self._process is None or self._served >= SERVED:
            self.end()
            self._start()
        process = self._process
        assert process and process.stdin and process.stdout
        self._served += 1
        wall = WALL * (len(job.mutants) if job.ingest else 1)
        with suppress(BrokenPipeError):
            process.stdin.write(json.dumps({"mutants": job.mutants, "ingest": job.ingest}).encode() + b"\n")
            process.stdin.flush()
        ready, _, _ = select.select([process.stdout], [], [], wall)
        line = process.stdout.readline() if ready else b""
        if line:
            answer: dict[str, Any] = json.loads(line)
            return answer
        if ready:
            code = process.wait()
            how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
            reason = (
                "it took more than 10 s of processor time"
                if code == -signal.SIGXCPU
                else f"it ended by {how}"
            )
        else:
            reason = f"it gave no answer for {wall:.0f} s"
        self.end()
        return {"outcome": "failure", "reason": f"{reason}\n{self._said()}"}

    def end(self) -> None:
        """Stop the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _start(self) -> None:
        self.work.mkdir(parents=True, exist_ok=True)
        environment = os.environ | dict.fromkeys(_THREADS, "1")
        command = [sys.executable, "-m", "tests.fuzz.child", str(self._seeds), str(self.work)]
        with (self.work / "stderr").open("wb") as errors:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
            )
        self._served = 0

    def _said(self) -> str:
        return (self.work / "stderr").read_text(errors="replace")[-4000:]


class Runner:
    """A fuzz run.

    Parameters
    ----------
    seeds
        What is mutated.
    folder
        Where the seeds lie, and where the processes work.
    failed
        Where files that failed are kept.
    """

    def __init__(self, seeds: list[Seed], folder: Path, failed: Path) -> None:
        self._seeds, self._folder, self._failed = seeds, folder, failed
        self._guard = threading.Lock()
        self.tally = Tally()
        self.verbose = False
        self._answers = 0

    def run(self, jobs: Iterator[Job], *, processes: int, until: float | None = None) -> Tally:
        """Do the jobs, in order; mutants only until a moment [s, monotonic], if one is given."""
        with ThreadPoolExecutor(processes) as pool:
            working = [
                pool.submit(self._work, jobs, self._folder / f"work {number}", until)
                for number in range(processes)
            ]
            for work in working:
                work.result()  # an error of our own ends the run
        return self.tally

    def _work(self, jobs: Iterator[Job], work: Path, until: float | None) -> None:
        process = _Process(self._folder, work)
        try:
            while True:
                with self._guard:
                    job = next(jobs, None)
                if job is None or (until and job.mutants[0][1] and time.monotonic() > until):
                    return
                answer = process.ask(job)
                with self._guard:
                    self.tally.add(job, answer)
                    self._answers += 1
                    if self._answers % 1000 == 0:
                        failures = len(self.tally.failures)
                        print(f"{self._answers} answers, {failures} failures", file=sys.stderr, flush=True)
                    if self.verbose:
                        print(f"{job}  {json.dumps(answer)}")
                    if answer["outcome"] == "failure":
                        self._keep(job, answer["reason"], work)
        finally:
            process.end()

    def _keep(self, job: Job, reason: str, work: Path) -> None:
        name = "ingest" if job.ingest else re.sub(r"[^\w.-]+", "_", str(job))
        place = self._failed / f"{len(self.tally.failures):03d} {name}"
        place.mkdir(parents=True, exist_ok=True)
        if (work / "current").is_dir():
            shutil.copytree(work / "current", place, dirs_exist_ok=True)
        (place / "REASON.txt").write_text(f"{job}\n{reason}\n")
        print(f"FAILURE {job}\n{reason}\nkept in {place}\n", file=sys.stderr, flush=True)


def jobs(seeds: list[Seed], count: int | None) -> Iterator[Job]:
    """Yield every sound seed, then mutants in rounds over all seeds; `count` mutants, or for ever."""
    yield from (Job(((seed.name, 0),)) for seed in seeds)
    batch: list[tuple[str, int]] = []
    done, number = 0, 0
    while count is None or done < count:
        number += 1
        for place, seed in enumerate(seeds):
            if done == count:
                break
            if seed.name.startswith("bomb/") and number % BOMBS:
                continue
            done += 1
            yield Job(((seed.name, number),))
            if (number + place) % SHARE == 0:
                batch.append((seed.name, number))
            if len(batch) == BATCH:
                yield Job(tuple(batch), ingest=True)
                batch = []
    if batch:
        yield Job(tuple(batch), ingest=True)
