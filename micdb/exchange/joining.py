"""Rows of another catalog join ours: what is known is recognised, what is unknown comes, nothing is lost."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Table

from micdb.catalog import bulk
from micdb.catalog.rows import id_list, text_list
from micdb.catalog.tables import object_
from micdb.exchange import conflicts
from micdb.exchange.receiver import Receiver
from micdb.exchange.report import Disagreement, Imported
from micdb.exchange.shape import KEYED, Shape, reference
from micdb.exchange.stubs import is_stub
from micdb.exchange.supply import Supply

Row = Mapping[str, Any]
_STANDING = "retired_at"  # whether a value still stands is for whoever said it: the last word holds


class Merge:
    """One catalog while it joins another.

    Parameters
    ----------
    supply
        Theirs.
    receiver
        Where ours is written to.
    policy
        Which of two versions of a row stays current: ``ours``, ``theirs``, ``newest`` or ``fail``.
    report
        Where everything is told.

    Attributes
    ----------
    keys
        By table, our key of each of their rows.
    """

    def __init__(self, supply: Supply, receiver: Receiver, policy: str, report: Imported) -> None:
        self.supply, self.receiver, self.policy, self.report = supply, receiver, policy, report
        self.keys: dict[str, dict[int, int]] = defaultdict(dict)

    def theirs(self, table: Table, *where: sa.ColumnElement[bool]) -> list[dict[str, Any]]:
        """Return their rows in the order of their keys."""
        query = sa.select(table).where(*where).order_by(*table.primary_key.columns)
        return [dict(row) for row in self.supply.connection.execute(query).mappings()]

    def of(self, column: sa.ColumnElement[Any], keys: Iterable[int]) -> sa.ColumnElement[bool]:
        """Return the condition that a column of theirs has one of these keys."""
        return column.in_(sa.select(id_list(self.supply.connection, keys).c.id))

    def translated(self, table: Table, row: Row) -> dict[str, Any]:
        """Return one of their rows with our keys; micrograph files are a matter of their own."""
        made = {}
        for column in table.columns:
            value, target = row[column.name], reference(column)
            if target is object_:
                value = None
            elif target is not None and target is not table and value is not None:
                value = self.keys[target.name][value]
            made[column.name] = value
        if "source" in table.c:
            made["source"] = self.supply.name
        return made

    def join(self, write: Connection, shape: Shape, rows: Sequence[Row]) -> list[Row]:
        """Let rows join a table; return those that were unknown.

        Parameters
        ----------
        write
            A write transaction.
        shape
            The table.
        rows
            Their rows; what they refer to has joined already.
        """
        ours = self.found(write, shape, rows)
        fresh = [row for row in rows if row["pk"] not in ours]
        self.insert(write, shape.table, [self.translated(shape.table, row) for row in fresh])
        self.learn(write, shape.table, fresh)
        for row in rows:
            held = ours.get(row["pk"])
            if held is not None:
                self.keys[shape.table.name][row["pk"]] = held["pk"]
                self.compare(write, shape, held, row)
        return fresh

    def found(self, write: Connection, shape: Shape, rows: Sequence[Row]) -> dict[int, Row]:
        """Return our row for each of their keys, where there is one: by uid, then by what names it."""
        table = shape.table
        listed = text_list(write, [row["uid"] for row in rows])
        known = write.execute(sa.select(table).where(table.c.uid.in_(sa.select(listed.c.value)))).mappings()
        by_uid: dict[str, Row] = {row["uid"]: dict(row) for row in known}
        found = {row["pk"]: by_uid[row["uid"]] for row in rows if row["uid"] in by_uid}
        left = [row for row in rows if row["pk"] not in found]
        return found | self._by_name(write, shape, left) if shape.natural and left else found

    def _by_name(self, write: Connection, shape: Shape, rows: Sequence[Row]) -> dict[int, Row]:
        table, natural = shape.table, shape.natural
        called = {row["pk"]: self._named(table, natural, row) for row in rows}
        required = [natural.index(name) for name in shape.required or natural[:1]]
        called = {pk: name for pk, name in called.items() if all(name[at] is not None for at in required)}
        first, column = {name[0] for name in called.values()}, table.c[natural[0]]
        listed: sa.FromClause
        if column.foreign_keys:
            listed = id_list(write, first)
            wanted = column.in_(sa.select(listed.c.id))
        else:
            listed = text_list(write, first)
            wanted = column.in_(sa.select(listed.c.value))
        held = {
            tuple(row[name] for name in natural): dict(row)
            for row in write.execute(sa.select(table).where(wanted)).mappings()
        }
        return {pk: held[name] for pk, name in called.items() if name in held}

    def _named(self, table: Table, natural: Sequence[str], row: Row) -> tuple[Any, ...]:
        """Return what names a row, references as our keys."""
        name = []
        for column in natural:
            value, target = row[column], reference(table.c[column])
            name.append(value if target is None or value is None else self.keys[target.name][value])
        return tuple(name)

    def insert(self, write: Connection, table: Table, rows: Sequence[Row]) -> None:
        """Insert rows that have our keys."""
        if not rows:
            return
        names = [column.name for column in table.columns if column.name in rows[0] and column.name != "pk"]
        bulk.insert(write, table, names, ([row[name] for name in names] for row in rows))
        self.report.added[table.name] += len(rows)

    def learn(self, write: Connection, table: Table, rows: Sequence[Row]) -> None:
        """Remember the keys that their rows have here, by uid."""
        if not rows:
            return
        listed = text_list(write, [row["uid"] for row in rows])
        query = sa.select(table.c.uid, table.c.pk).where(table.c.uid.in_(sa.select(listed.c.value)))
        ours = {row.uid: row.pk for row in write.execute(query)}
        self.keys[table.name].update({row["pk"]: ours[row["uid"]] for row in rows})

    def join_keyed(self, write: Connection, table: Table, rows: Sequence[Row]) -> None:
        """Let rows without a uid join: those whose key is not here yet."""
        if not rows:
            return
        names = KEYED[table.name]
        column = table.c[names[0]]
        made = [self.translated(table, row) for row in rows]
        first = {row[names[0]] for row in made}
        if column.foreign_keys:
            wanted = column.in_(sa.select(id_list(write, first).c.id))
        else:
            wanted = column.in_(sa.select(text_list(write, first).c.value))
        held = {
            tuple(row) for row in write.execute(sa.select(*(table.c[name] for name in names)).where(wanted))
        }
        fresh: dict[tuple[Any, ...], Row] = {}
        for row in made:
            name = tuple(row[one] for one in names)
            if name not in held:
                fresh.setdefault(name, row)
        self.insert(write, table, list(fresh.values()))
        self.report.known[table.name] += len(rows) - len(fresh)

    def compare(
        self, write: Connection, shape: Shape, ours: Row, theirs: Row, *, only: Sequence[str] | None = None
    ) -> None:
        """Compare two versions of a row: what is unknown here is filled, what differs is a conflict.

        Parameters
        ----------
        write
            A write transaction.
        shape
            The table.
        ours, theirs
            The versions, each with the keys of its database.
        only
            Columns that can be a conflict; the others are filled at most. None for all.
        """
        self.report.known[shape.table.name] += 1
        if is_stub(theirs):
            return
        made, blank = self.translated(shape.table, theirs), is_stub(ours)
        fill = self._standing(ours, theirs)
        differing: dict[str, tuple[Any, Any]] = {}
        for column in shape.content:
            name = column.name
            if ours[name] == made[name] or made[name] is None or name == _STANDING:
                continue
            if ours[name] is None or blank:
                fill[name] = made[name]
            elif only is None or name in only:
                differing[name] = (ours[name], made[name])
        if fill:
            self._update(write, shape.table, fill, (ours, theirs))
            self.report.filled[shape.table.name] += 1
        if differing:
            self._settle(write, shape, ours, theirs, differing)

    def _settle(
        self, write: Connection, shape: Shape, ours: Row, theirs: Row, differing: dict[str, tuple[Any, Any]]
    ) -> None:
        """Decide which version stays current, and keep the other."""
        table = shape.table
        kept = conflicts.choose(self.policy, conflicts.moment(ours), conflicts.moment(theirs))
        sides = [{**ours, **{name: pair[side] for name, pair in differing.items()}} for side in (0, 1)]
        here, there = (conflicts.named(write, table, side) for side in sides)
        outer = {name: name if name in here else name.removesuffix("_pk") + "_uid" for name in differing}
        shown = {outer[name]: (here[outer[name]], there[outer[name]]) for name in differing}
        found = Disagreement(table.name, ours["uid"], shown, kept)
        revision = there if kept == "ours" else here
        conflicts.keep(write, self.report, found, policy=self.policy, revision=revision)
        if kept == "theirs":
            self._update(write, table, {name: pair[1] for name, pair in differing.items()}, (ours, theirs))

    @staticmethod
    def _standing(ours: Row, theirs: Row) -> dict[str, Any]:
        """Return what becomes of a value that stands on one side only."""
        if _STANDING not in ours or (ours[_STANDING] is None) == (theirs[_STANDING] is None):
            return {}
        later = conflicts.moment(theirs) > conflicts.moment(ours)
        return {_STANDING: theirs[_STANDING]} if later else {}

    @staticmethod
    def _update(write: Connection, table: Table, values: Mapping[str, Any], sides: tuple[Row, Row]) -> None:
        """Change our row; it was changed when the later version was, since an import is no change."""
        changed = {}
        if "changed_at" in table.c:
            changed["changed_at"] = max(side["changed_at"] or "" for side in sides) or None
        write.execute(table.update().where(table.c.pk == sides[0]["pk"]).values(**values, **changed))


def received_key(uid: str) -> str:
    """Return the natural key of a value that came from elsewhere: it is only the same as itself."""
    return hashlib.sha256(f"received|{uid}".encode()).hexdigest()
