"""A bundle, or another database, joins a database: in whole steps, so that a killed import just goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from micdb.catalog import results as r
from micdb.catalog import tables as t
from micdb.catalog.engine import writing
from micdb.catalog.rows import record
from micdb.exchange.conflicts import check_policy
from micdb.exchange.histories import Histories
from micdb.exchange.images import join_images
from micdb.exchange.joining import Merge, Row, received_key
from micdb.exchange.manifest import Manifest
from micdb.exchange.opened import identity, opened_bundle
from micdb.exchange.outgoing import grouped
from micdb.exchange.receiver import Keys, Receiver, StepwiseReceiver, only_import, rehearsal
from micdb.exchange.report import Imported
from micdb.exchange.results import join_results
from micdb.exchange.shape import (
    DEFINITION,
    INSTRUMENT,
    LAB,
    MATERIAL,
    MODEL,
    MOTIF,
    PERSON,
    RUN,
    SAMPLE,
    STEP,
    VALUE,
)
from micdb.exchange.stubs import is_stub
from micdb.exchange.supply import Supply
from micdb.exchange.vocabulary import Units, in_our_unit, join_vocabulary

BATCH = 2_000  # property values, or images whose drawings are looked at, of one transaction


def import_bundle(
    engine: Engine,
    root: Path,
    path: Path,
    *,
    dry_run: bool = False,
    policy: str = "ours",
    names: Mapping[str, str] | None = None,
) -> Imported:
    """Import a bundle: what is here already is recognised, so that a second import changes nothing.

    Parameters
    ----------
    engine, root
        The database.
    path
        The bundle, a folder or zip file.
    dry_run
        Only say what would happen; everything is taken back.
    policy
        Which version of a row stays current where both have one: ``ours``, ``theirs``, ``newest``, written
        or changed last; or ``fail``: nothing is imported then.
    names
        Our name for one of their materials or properties; it is remembered.

    Raises
    ------
    NotFoundError, ForeignDatabaseError, NewSchemaError, StoreError
        There is no bundle, or a newer micdb wrote it, or it is damaged; see `opened_bundle`.
    UsageError
        The policy is ``fail`` and there is a conflict; a property measures another thing here; or another
        process is importing.
    """
    check_policy(policy)
    with opened_bundle(path) as (supply, manifest), only_import(root):
        if dry_run or policy == "fail":
            with rehearsal(engine) as receiver:
                done = merge_all(supply, receiver, policy=policy, names=names)
            if dry_run:
                done.dry_run = True
                return done
        done = merge_all(supply, StepwiseReceiver(engine, root), policy=policy, names=names)
        _note(engine, done, identity(path), manifest)
    return done


def merge_all(
    supply: Supply, receiver: Receiver, *, policy: str = "ours", names: Mapping[str, str] | None = None
) -> Imported:
    """Let every row of a catalog join another.

    Parameters
    ----------
    supply
        Theirs.
    receiver
        Where ours is written to.
    policy, names
        As for `import_bundle`.
    """
    report = Imported(supply.name)
    merge = Merge(supply, receiver, policy, report)
    converted = receiver.write((), lambda write, _: _join_entities(merge, write, names or {}))
    join_images(merge)
    _join_values(merge, converted)
    join_results(merge)
    _join_drawings(merge)
    return report


def _join_entities(merge: Merge, write: Connection, names: Mapping[str, str]) -> dict[int, Units]:
    """Let everything join that there are few of; return the properties whose unit differs."""
    for shape in (LAB, PERSON, INSTRUMENT):
        merge.join(write, shape, merge.theirs(shape.table))
    join_vocabulary(merge, write, MATERIAL, names)
    merge.join(write, SAMPLE, merge.theirs(t.sample))
    merge.join_keyed(write, t.sample_link, merge.theirs(t.sample_link))
    merge.join(write, STEP, merge.theirs(t.processing_step))
    converted = join_vocabulary(merge, write, DEFINITION, names)
    for shape in (MODEL, RUN, MOTIF):
        merge.join(write, shape, merge.theirs(shape.table))
    for table in (r.embedding_space, r.current_run):
        merge.join_keyed(write, table, merge.theirs(table))
    stubs = (
        (table.name, row["uid"])
        for table in (t.lab, t.person, t.instrument, t.material, t.sample)
        for row in merge.theirs(table)
        if is_stub(row)
    )
    merge.report.stubs += list(stubs)
    return converted


@dataclass(frozen=True, slots=True)
class _Step:
    """Rows that join in one transaction."""

    merge: Merge
    rows: Sequence[Row]

    def join_values(self, write: Connection, _: Keys) -> None:
        self.merge.join(write, VALUE, self.rows)

    def join_drawings(self, write: Connection, _: Keys) -> None:
        Histories(self.merge, write).join_drawings(self.rows)


def _join_values(merge: Merge, converted: Mapping[int, Units]) -> None:
    """Let property values join; two laboratories' values of one property are two measurements."""
    v = t.property_value.c
    keys = merge.supply.connection.execute(sa.select(v.pk).order_by(v.pk)).scalars().all()
    for some in grouped(keys, BATCH):
        rows = []
        for row in merge.theirs(t.property_value, merge.of(v.pk, some)):
            unit = converted.get(row["property_def_pk"])
            made = row if unit is None else in_our_unit(row, unit)
            rows.append({**made, "natural_key": received_key(row["uid"])})
        merge.receiver.write((), _Step(merge, rows).join_values)


def _join_drawings(merge: Merge) -> None:
    a, m = r.annotation.c, t.micrograph.c
    drawn = sa.exists().where(a.target_table == "micrograph", a.target_uid == m.uid)
    query = sa.select(m.pk, m.uid).where(drawn).order_by(m.pk)
    rows = [dict(row) for row in merge.supply.connection.execute(query).mappings()]
    for some in grouped(rows, BATCH):
        merge.receiver.write((), _Step(merge, some).join_drawings)


def _note(engine: Engine, done: Imported, bundle: str, manifest: Manifest) -> None:
    """Write the event of an import, once for each bundle, and whenever one changed something again.

    It marks the times of what came: they are as the other laboratory claims them.
    """
    e = t.event.c
    with writing(engine) as connection:
        told = connection.execute(sa.select(e.detail).where(e.verb == "import", e.entity == "bundle"))
        known = any((detail or {}).get("bundle") == bundle for (detail,) in told)
        if known and not done.changed:
            return
        detail: dict[str, Any] = {
            "bundle": bundle, "source": done.source, "labs": list(manifest.labs), "level": manifest.level,
            "images": manifest.images, "event": manifest.event, "written": manifest.created_at,
            "times": f"as claimed by {done.source}",
        }  # fmt: skip
        record(connection, "import", "bundle", detail=detail)
