"""The job table: plan, claim, hand back. Every change is one short transaction."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from secrets import token_hex

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from micdb.catalog.engine import reading, writing
from micdb.catalog.results import run_item
from micdb.catalog.rows import id_list
from micdb.catalog.tables import micrograph

LEASE = timedelta(minutes=15)  # a worker renews by claiming its next batch; one batch takes seconds


@dataclass(frozen=True, slots=True)
class Progress:
    """Items of a run, of the images asked for, by status."""

    done: int = 0
    refused: int = 0
    failed: int = 0
    waiting: int = 0
    claimed: int = 0

    @property
    def total(self) -> int:
        """All items."""
        return self.done + self.refused + self.failed + self.waiting + self.claimed

    @property
    def finished(self) -> int:
        """Items with an answer."""
        return self.done + self.refused + self.failed


def plan(connection: Connection, run_pk: int, images: Sequence[int] | None) -> int:
    """Add a pending item for every live image (of `images`) that the run has not seen; return how many.

    Images whose pixels are deferred are left out: they are seen once their pixels have come.
    """
    wanted = sa.select(sa.literal(run_pk), micrograph.c.pk, sa.literal("pending"), sa.literal(0)).where(
        micrograph.c.deleted_at.is_(None),
        micrograph.c.object_pk.is_not(None),
        ~sa.exists().where(run_item.c.run_pk == run_pk, run_item.c.micrograph_pk == micrograph.c.pk),
    )
    if images is not None:
        wanted = wanted.where(micrograph.c.pk.in_(sa.select(id_list(connection, images).c.id)))
    columns = ["run_pk", "micrograph_pk", "status", "attempt"]
    insert = run_item.insert().from_select(columns, wanted).execution_options(preserve_rowcount=True)
    return connection.execute(insert).rowcount


def claim(engine: Engine, run_pk: int, *, worker: str, limit: int, images: Sequence[int] | None) -> list[int]:
    """Claim up to `limit` items in one atomic statement; return their images in order."""
    moment = datetime.now(UTC)
    with writing(engine) as connection:
        free = (
            sa.select(run_item.c.micrograph_pk)
            .where(run_item.c.run_pk == run_pk, _free(_stamp(moment)))
            .order_by(run_item.c.micrograph_pk)
            .limit(limit)
        )
        if images is not None:
            free = free.where(run_item.c.micrograph_pk.in_(sa.select(id_list(connection, images).c.id)))
        statement = (
            run_item.update()
            .where(run_item.c.run_pk == run_pk, run_item.c.micrograph_pk.in_(free))
            .values(
                status="claimed",
                worker=worker,
                lease_until=_stamp(moment + LEASE),
                attempt=run_item.c.attempt + 1,
            )
            .returning(run_item.c.micrograph_pk)
        )
        return sorted(connection.execute(statement).scalars())


def hand_back(engine: Engine, run_pk: int, worker: str) -> None:
    """Free every item a worker still holds."""
    with writing(engine) as connection:
        _free_claims(connection, run_pk, [worker])


def free_dead_claims(engine: Engine, run_pk: int) -> None:
    """Free what nobody works on: expired claims, and at once those of dead workers of this machine."""
    with writing(engine) as connection:
        expired = run_item.c.lease_until < _stamp(datetime.now(UTC))
        holders = connection.execute(
            sa.select(run_item.c.worker, sa.func.max(sa.case((expired, 1), else_=0)))
            .where(run_item.c.run_pk == run_pk, run_item.c.status == "claimed")
            .group_by(run_item.c.worker)
        ).all()
        dead = [worker for worker, late in holders if late or not alive(worker)]
        _free_claims(connection, run_pk, dead)


def progress(engine: Engine, run_pk: int, images: Sequence[int] | None) -> Progress:
    """Count the items of a run by status."""
    with reading(engine) as connection:
        query = sa.select(run_item.c.status, sa.func.count()).where(run_item.c.run_pk == run_pk)
        if images is not None:
            query = query.where(run_item.c.micrograph_pk.in_(sa.select(id_list(connection, images).c.id)))
        counts = {status: int(n) for status, n in connection.execute(query.group_by(run_item.c.status))}
    return Progress(
        done=counts.get("done", 0),
        refused=counts.get("refused", 0),
        failed=counts.get("failed", 0),
        waiting=counts.get("pending", 0),
        claimed=counts.get("claimed", 0),
    )


def identity() -> str:
    """Return a new ``host:pid:start:token``; the start time tells a reused pid apart, the token a thread."""
    return f"{socket.gethostname()}:{os.getpid()}:{_start_time(os.getpid())}:{token_hex(4)}"


def alive(worker: str) -> bool:
    """Return False only when `worker` ran on this machine and is certainly gone."""
    host, pid, start, _ = worker.rsplit(":", 3)
    if host != socket.gethostname():
        return True
    return _start_time(int(pid)) == start and start != "gone"


def _start_time(pid: int) -> str:
    try:  # proc(5): state is field 3 of /proc/PID/stat, start time field 22; the command may hold spaces
        state, *fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        # A killed process whose parent never asks for its exit code stays as a zombie.
        return "gone" if state in "ZX" else fields[18]
    except OSError:
        pass
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return "gone"
    except PermissionError:
        return "0"
    return "0"


def _free(moment: str) -> sa.ColumnElement[bool]:
    expired = sa.and_(run_item.c.status == "claimed", run_item.c.lease_until < moment)
    return sa.or_(run_item.c.status == "pending", expired)


def _free_claims(connection: Connection, run_pk: int, workers: Sequence[str]) -> None:
    for worker in workers:
        connection.execute(
            run_item.update()
            .where(run_item.c.run_pk == run_pk, run_item.c.status == "claimed", run_item.c.worker == worker)
            .values(status="pending", worker=None, lease_until=None)
        )


def _stamp(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
