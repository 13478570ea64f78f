"""One worker: claim a batch, compute, publish, until nothing is left. Killed anywhere, it loses nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from micdb.catalog import bulk
from micdb.catalog.results import defect, part, rollup, run_item
from micdb.populate import jobs
from micdb.populate.answers import Answer, ask, gather
from micdb.populate.extractor import Extraction, Extractor
from micdb.populate.facts import CATALOGUED
from micdb.populate.pictures import load_pictures
from micdb.provenance import now, uuid7
from micdb.publish import Staged, discard, publish, seal, stage
from micdb.records import Refusal
from micdb.store.files import part_path
from micdb.store.parts import write_part

ROWS = {"defects": defect}  # where the rows of catalogued tables go
BATCH = 32  # images a worker claims, and one part holds


class LostClaimError(Exception):
    """The lease ran out and another worker took an item: this batch is thrown away and runs again."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker needs to know of a run."""

    root: Path
    run_pk: int
    extractor: Extractor
    images: Sequence[int] | None
    batch: int = BATCH
    worker: str = field(default_factory=jobs.identity)


def work(engine: Engine, job: Job, proceed: Callable[[], bool]) -> int:
    """Work until no item is free; return how many items were answered.

    Parameters
    ----------
    engine
        The catalog.
    job
        The run.
    proceed
        Asked before each batch; the worker stops when it says no.

    Raises
    ------
    ContractError
        The extractor raised or broke its contract; what it held is handed back.
    """
    answered = 0
    while proceed():
        claimed = jobs.claim(engine, job.run_pk, worker=job.worker, limit=job.batch, images=job.images)
        if not claimed:
            break
        try:
            answered += _work_batch(engine, job, claimed)
        except LostClaimError:
            jobs.hand_back(engine, job.run_pk, job.worker)  # the items of the batch that were not taken
        except BaseException:
            jobs.hand_back(engine, job.run_pk, job.worker)
            raise
    return answered


def _work_batch(engine: Engine, job: Job, images: Sequence[int]) -> int:
    answers = list(ask(job.extractor, load_pictures(engine, job.root, images)))
    gathered = gather(job.extractor, answers, run_pk=job.run_pk)
    tables = {name: table for name, table in gathered.items() if name not in CATALOGUED}
    staged: dict[str, Staged] = {}
    with ExitStack() as unpublished:
        for name, table in tables.items():
            path = stage(job.root, ".parquet")
            unpublished.callback(discard, job.root, [path])
            write_part(path, table)
            staged[name] = seal(path, partial(_part_target, name))
        unpublished.pop_all()

    def commit(connection: Connection, objects: Mapping[str, int]) -> int:
        finished = _finish(connection, job, answers)  # first: what another has answered must not be added
        for name, file in staged.items():
            _add_part(connection, job.run_pk, name, tables[name], objects[file.sha256])
        for name in gathered.keys() & CATALOGUED.keys():
            _add_rows(connection, ROWS[name], gathered[name])
        _add_rollups(connection, job.run_pk, answers)
        return finished

    return publish(engine, job.root, list(staged.values()), commit)


def _part_target(table: str, _sha256: str) -> str:
    return part_path(table, uuid7())


def _add_part(connection: Connection, run_pk: int, name: str, table: pa.Table, object_pk: int) -> None:
    images = table.column("image").to_numpy()
    connection.execute(
        part.insert(),
        {
            "uid": uuid7(),
            "run_pk": run_pk,
            "object_pk": object_pk,
            "table_name": name,
            "rows": table.num_rows,
            "min_image": int(images.min()),
            "max_image": int(images.max()),
        },
    )


def _add_rows(connection: Connection, target: sa.Table, table: pa.Table) -> None:
    names = {"run": "run_pk", "image": "micrograph_pk"}
    columns = ["uid", *(names.get(name, name) for name in table.column_names)]
    rows = ((uuid7(), *row.values()) for row in table.to_pylist())
    bulk.insert(connection, target, columns, rows)


def _add_rollups(connection: Connection, run_pk: int, answers: Sequence[Answer]) -> None:
    rows = (
        (run_pk, answer.image, name, value, unit)
        for answer in answers
        if isinstance(answer.result, Extraction)
        for name, (value, unit) in answer.result.rollups.items()
    )
    bulk.insert(connection, rollup, ("run_pk", "micrograph_pk", "name", "value", "unit"), rows)


def _finish(connection: Connection, job: Job, answers: Sequence[Answer]) -> int:
    """Mark the items answered; a claim lost to another worker makes the whole batch void."""
    statement = run_item.update().where(
        run_item.c.run_pk == job.run_pk,
        run_item.c.micrograph_pk == sa.bindparam("image"),
        run_item.c.status == "claimed",
        run_item.c.worker == job.worker,
    )
    moment = now()
    for answer in answers:
        refused = isinstance(answer.result, Refusal)
        outcome = statement.values(
            status="refused" if refused else "done",
            reason=answer.result.reason if isinstance(answer.result, Refusal) else None,
            seconds=answer.seconds,
            finished_at=moment,
            worker=None,
            lease_until=None,
        )
        if connection.execute(outcome, {"image": answer.image}).rowcount != 1:
            raise LostClaimError(answer.image)
    return len(answers)
