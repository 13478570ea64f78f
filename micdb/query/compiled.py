"""What a frame compiles to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Select

from micdb.query.big_tables import NESTED
from micdb.query.crossing import Later
from micdb.query.elements import Element
from micdb.query.facts.session import Session
from micdb.query.relation import Relation
from micdb.query.supplies import images_of
from micdb.query.vocabulary import Pins


@dataclass(frozen=True, slots=True)
class Compiled:
    """What a frame compiles to.

    Parameters
    ----------
    relation
        The rows.
    notes
        One line for each step that ran outside the statement, for ``explain()``.
    pins
        Runs that stand for an analysis instead of its current one.
    at
        Where its statements run: the catalog's connection or, for what needs big tables, DuckDB.
    before
        The rows as they were in the catalog, if some of their columns are still there.
    picked
        The same rows before what their limit leaves is looked up; None for `relation`.
    """

    relation: Relation
    notes: tuple[str, ...]
    pins: Pins
    at: Connection | Session
    before: Relation | None = None
    picked: Relation | None = None

    def select(self) -> Select[Any]:
        """Return the statement with the visible columns."""
        return self.relation.select(_called(element, name) for name, element in self.relation.columns.items())

    def later(self) -> dict[str, str]:
        """Return the visible columns that are still in the catalog, and what they are called there."""
        columns = self.relation.columns.items()
        return {name: one.type.name for name, one in columns if isinstance(one.type, Later)}

    def images(self) -> Select[Any]:
        """Return the statement with the micrographs' local keys, in order."""
        return images_of(self.relation)

    def nested(self) -> dict[str, Element]:
        """Return the nested columns of rows in Parquet parts, which expressions cannot speak of."""
        extra = self.relation.extra.items()
        return {name.removeprefix(NESTED): element for name, element in extra if name.startswith(NESTED)}

    def count(self) -> Select[Any]:
        """Return the statement that counts the rows."""
        # However many rows are taken, how many they are does not depend on their order.
        one = replace(self.picked or self.relation, columns={}, extra={}, order=(), key=())
        rows = one.select([sa.literal(1).label("one")])
        return sa.select(sa.func.count()).select_from(rows.subquery())


def _called(element: Element, name: str) -> Element:
    """Return an element under a name; a column that has it already needs no label."""
    return element if isinstance(element, sa.Column) and element.name == name else element.label(name)
