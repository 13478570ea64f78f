"""Results of another catalog join ours with their run: what is computed there is not computed again here.

The unit is the answer of one run for one image. One that is unknown here comes whole: roll-ups, rows of
parts, defects with all that was said of them. It is claimed first, as a worker claims it, so that nobody
computes it meanwhile. Of an answer that both have, ours stays; only what people said of it can be new.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy import Connection

from micdb.catalog import bulk
from micdb.catalog import results as r
from micdb.catalog.rows import id_list
from micdb.errors import StoreError
from micdb.exchange.histories import Histories
from micdb.exchange.joining import Merge, Row
from micdb.exchange.outgoing import grouped, renamed
from micdb.exchange.receiver import Incoming, Keys, Rehearsal
from micdb.exchange.shape import FINISHED
from micdb.populate import jobs
from micdb.provenance import now, uuid7
from micdb.store.files import part_path
from micdb.store.parts import IMAGE, write_part

BATCH = 512  # answers of one transaction, whose rows of one table make one part
LEASE = timedelta(hours=1)  # of a claim: longer than any batch takes

item = r.run_item.c


def join_results(merge: Merge) -> None:
    """Let all answers join, run by run and batch by batch."""
    worker = jobs.identity()
    for run_pk in sorted(merge.keys["run"]):
        query = sa.select(item.micrograph_pk).where(item.run_pk == run_pk, item.status.in_(FINISHED))
        images = merge.supply.connection.execute(query.order_by(item.micrograph_pk)).scalars().all()
        parts = merge.supply.part_tables(run_pk)
        for some in grouped(images, BATCH):
            _Batch(merge, run_pk, some, worker=worker).join(parts)


class _Batch:
    """Answers of one run for a few images while they join."""

    def __init__(self, merge: Merge, run_pk: int, images: Sequence[int], *, worker: str) -> None:
        self.merge, self.theirs_run, self.worker = merge, run_pk, worker
        self.run = merge.keys["run"][run_pk]
        self.images: dict[int, int] = {}  # theirs by ours; of two that are one image here the first counts
        for pk in images:
            self.images.setdefault(merge.keys["micrograph"][pk], pk)
        self.items = {
            row["micrograph_pk"]: row
            for row in merge.theirs(r.run_item, item.run_pk == run_pk, merge.of(item.micrograph_pk, images))
        }

    def join(self, parts: Mapping[str, Sequence[sa.Row[Any]]]) -> None:
        receiver = self.merge.receiver
        fresh = receiver.write((), lambda write, _: self._claim(write))
        tables = {} if isinstance(receiver, Rehearsal) or not fresh else self._tables(parts, fresh)
        files = [self._incoming(name, table) for name, table in tables.items()]
        finish = partial(self._finish, fresh=fresh, tables=tables)
        receiver.write(files, finish)

    def _claim(self, write: Connection) -> list[int]:
        """Claim the answers that nobody here has or is computing; return our keys of their images."""
        listed = sa.select(id_list(write, self.images).c.id)
        mine = (item.run_pk == self.run, item.micrograph_pk.in_(listed))
        held = {row.micrograph_pk: row for row in write.execute(sa.select(r.run_item).where(*mine))}
        fresh = [pk for pk in self.images if pk not in held or _is_free(held[pk])]
        again = [pk for pk in fresh if pk in held]
        if again:
            gone = item.micrograph_pk.in_(sa.select(id_list(write, again).c.id))
            write.execute(r.run_item.delete().where(item.run_pk == self.run, gone))
        lease = (datetime.now(UTC) + LEASE).isoformat(timespec="microseconds").replace("+00:00", "Z")
        claim = {"run_pk": self.run, "status": "claimed", "worker": self.worker, "lease_until": lease}
        if fresh:
            rows = [{**claim, "micrograph_pk": pk, "attempt": 0} for pk in fresh]
            write.execute(r.run_item.insert(), rows)
        busy = sum(row.status not in FINISHED for pk, row in held.items() if pk not in fresh)
        if busy:
            self.merge.report.left_out.append(f"{busy} answers of run {self.run} are being computed here now")
        self.merge.report.known["run_item"] += len(self.images) - len(fresh)
        return fresh

    def _tables(
        self, parts: Mapping[str, Sequence[sa.Row[Any]]], fresh: Sequence[int]
    ) -> dict[str, pa.Table]:
        """Return the rows of parts with our keys, by table."""
        ours = {self.images[pk]: pk for pk in fresh}
        found = {}
        for name, held in sorted(parts.items()):
            rows = self.merge.supply.part_rows(held, sorted(ours))
            if rows is not None:
                found[name] = renamed(rows, ours, {self.theirs_run: self.run}, pa.int64())
        return found

    @staticmethod
    def _incoming(name: str, table: pa.Table) -> Incoming:
        def fill(path: Path) -> None:
            write_part(path, table)

        return Incoming(fill, ".parquet", lambda _: part_path(name, uuid7()))

    def _finish(
        self, write: Connection, keys: Keys, *, fresh: Sequence[int], tables: Mapping[str, pa.Table]
    ) -> None:
        merge = self.merge
        self._give_answers(write, fresh)
        theirs = [self.images[pk] for pk in fresh]
        rolled = merge.theirs(
            r.rollup, r.rollup.c.run_pk == self.theirs_run, merge.of(r.rollup.c.micrograph_pk, theirs)
        )
        merge.insert(write, r.rollup, [merge.translated(r.rollup, row) for row in rolled])
        for number, (name, table) in enumerate(tables.items()):
            low, high = table[IMAGE].to_numpy().min(), table[IMAGE].to_numpy().max()
            row = {
                "uid": uuid7(), "run_pk": self.run, "object_pk": keys(number), "table_name": name,
                "rows": table.num_rows, "min_image": int(low), "max_image": int(high),
            }  # fmt: skip
            bulk.insert(write, r.part, list(row), [tuple(row.values())])  # a file here, no row of theirs
        Histories(merge, write).join(self.theirs_run, self.images, set(fresh))

    def _give_answers(self, write: Connection, fresh: Sequence[int]) -> None:
        """Make what was claimed an answer; raises where another worker took it meanwhile."""
        held = write.execute(
            r.run_item.delete()
            .where(item.run_pk == self.run, item.worker == self.worker)
            .where(item.micrograph_pk.in_(sa.select(id_list(write, fresh).c.id)))
            .returning(item.micrograph_pk)
        )
        if len(held.all()) != len(fresh):
            raise StoreError(
                "another worker took an answer while it was imported; run the same command again"
            )
        rows: list[Row] = []
        for pk in fresh:
            told = self.items[self.images[pk]]
            rows.append(
                {**told, "run_pk": self.run, "micrograph_pk": pk, "worker": None, "lease_until": None}
            )
        self.merge.insert(write, r.run_item, rows)


def _is_free(row: sa.Row[Any]) -> bool:
    """Return whether nobody has, or works on, an answer."""
    if row.status in FINISHED:
        return False
    if row.status == "pending" or row.worker is None:
        return True
    expired = row.lease_until is None or row.lease_until < now()
    return expired or not jobs.alive(row.worker)
