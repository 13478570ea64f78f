"""The rows that belong to a set of images, closed under references: nothing in them points outside."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, ColumnElement, Connection, RowMapping, Table

from micdb.catalog import results as r
from micdb.catalog import tables as t
from micdb.catalog.rows import id_list, text_list
from micdb.exchange.shape import FINISHED, holds

PAGE = 5_000  # rows in memory at a time: some megabytes where a row has vendor metadata

# Tables of a bundle, what others refer to first.
ORDER: tuple[Table, ...] = (
    t.lab, t.person, t.instrument, t.material, t.sample, t.sample_link, t.processing_step, t.property_def,
    t.object_, t.acquisition, t.micrograph, t.frame, t.source, t.property_value,
    r.model, r.run, r.current_run, r.embedding_space, r.run_item, r.rollup, r.defect_motif, r.defect, r.part,
    r.annotation,
)  # fmt: skip


class Selection:
    """Which rows of each table go with some images.

    Parameters
    ----------
    connection
        A reading transaction.
    images
        Local keys of the images.
    level
        One of `micdb.exchange.shape.LEVELS`.
    """

    def __init__(self, connection: Connection, images: Iterable[int], level: str) -> None:
        self._connection, self.level = connection, level
        self.keys: dict[str, set[int]] = {"micrograph": set(images)}
        self._follow_images()
        self._follow_samples()
        if holds(level, "derived"):
            self._follow_results()
        self._follow_people()

    def rows(self, table: Table) -> Iterator[RowMapping]:
        """Yield the rows of a table, page by page from the server, in the order of their keys."""
        condition = self._condition(table)
        if condition is None:
            return
        statement = sa.select(table).where(condition).order_by(*table.primary_key.columns)
        with self._connection.execute(statement.execution_options(yield_per=PAGE)) as result:
            yield from result.mappings()

    def uids(self, table: Table) -> dict[int, str]:
        """Return what the selected rows of a table are called everywhere: uid, or hash of an object."""
        name = table.c.sha256 if table is t.object_ else table.c.uid
        return {row[0]: row[1] for row in self._connection.execute(
            sa.select(table.c.pk, name).where(table.c.pk.in_(self._ids(table.name)))
        )}  # fmt: skip

    def _condition(self, table: Table) -> ColumnElement[bool] | None:
        c = table.c
        if table.name in self.keys:
            return c.pk.in_(self._ids(table.name))
        if table is t.sample_link:
            return c.child_pk.in_(self._ids("sample"))
        if table in (t.frame, t.source):
            return c.micrograph_pk.in_(self._ids("micrograph"))
        if not holds(self.level, "derived"):
            return None
        if table in (r.current_run, r.embedding_space):
            return c.run_pk.in_(self._ids("run"))
        if table is r.run_item:
            return sa.and_(c.status.in_(FINISHED), c.micrograph_pk.in_(self._ids("micrograph")))
        if table is r.rollup:
            finished = sa.exists().where(
                r.run_item.c.run_pk == c.run_pk,
                r.run_item.c.micrograph_pk == c.micrograph_pk,
                r.run_item.c.status.in_(FINISHED),
            )
            return sa.and_(finished, c.micrograph_pk.in_(self._ids("micrograph")))
        return None

    def _follow_images(self) -> None:
        m = t.micrograph.c
        for column in (m.acquisition_pk, m.lab_pk, m.sample_pk, m.instrument_pk, m.person_pk):
            self._add(column, m.pk.in_(self._ids("micrograph")))
        if holds(self.level, "full"):
            self._add(m.object_pk, m.pk.in_(self._ids("micrograph")))

    def _follow_samples(self) -> None:
        link, s, v = t.sample_link.c, t.sample.c, t.property_value.c
        # a value of an image may name a sample that the image does not show
        self._add(v.sample_pk, v.micrograph_pk.in_(self._ids("micrograph")))
        grown = -1
        while grown != len(self.keys["sample"]):  # parents of parents
            grown = len(self.keys["sample"])
            self._add(link.parent_pk, link.child_pk.in_(self._ids("sample")))
        self._add(s.lab_pk, s.pk.in_(self._ids("sample")))
        self._add(s.material_pk, s.pk.in_(self._ids("sample")))
        self._add(t.instrument.c.lab_pk, t.instrument.c.pk.in_(self._ids("instrument")))
        self._add(t.processing_step.c.pk, t.processing_step.c.sample_pk.in_(self._ids("sample")))
        of_sample = sa.and_(v.micrograph_pk.is_(None), v.sample_pk.in_(self._ids("sample")))
        self._add(v.pk, sa.or_(of_sample, v.micrograph_pk.in_(self._ids("micrograph"))))
        self._add(v.property_def_pk, v.pk.in_(self._ids("property_value")))

    def _follow_results(self) -> None:
        item, d = r.run_item.c, r.defect.c
        of_images = item.micrograph_pk.in_(self._ids("micrograph"))
        self._add(item.run_pk, sa.and_(of_images, item.status.in_(FINISHED)))
        self._add(r.run.c.model_pk, r.run.c.pk.in_(self._ids("run")))
        mine = sa.and_(d.micrograph_pk.in_(self._ids("micrograph")), d.run_pk.in_(self._ids("run")))
        self._add(d.pk, mine)
        self._add(d.defect_motif_pk, mine)

    def _follow_people(self) -> None:
        a = r.annotation.c
        for table in (t.micrograph, r.defect):
            if table.name not in self.keys:
                continue
            names = text_list(self._connection, self.uids(table).values())
            spoken = sa.and_(a.target_table == table.name, a.target_uid.in_(sa.select(names.c.value)))
            self._add(a.pk, spoken)
        self._add(a.person_pk, a.pk.in_(self._ids("annotation")))
        motif = r.defect_motif.c
        self._add(motif.person_pk, motif.pk.in_(self._ids("defect_motif")))

    def _add(self, column: Column[Any], condition: ColumnElement[bool]) -> None:
        """Take in the rows that a column refers to, or the rows themselves where it is their key."""
        name = column.table.name if column.name == "pk" else _target(column)
        query = sa.select(column).where(condition, column.is_not(None)).distinct()
        self.keys.setdefault(name, set()).update(self._connection.execute(query).scalars())

    def _ids(self, name: str) -> sa.Select[Any]:
        return sa.select(id_list(self._connection, sorted(self.keys.get(name, ()))).c.id)


def _target(column: Column[Any]) -> str:
    (key,) = column.foreign_keys
    return str(key.column.table.name)
