"""A select statement in the making: rows, named columns, order and limit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import sqlalchemy as sa
from sqlalchemy import FromClause, Select
from sqlalchemy.types import String

from micdb.query.columns import Source
from micdb.query.dialect import ordered
from micdb.query.elements import Element

Order = tuple[tuple[Element, bool], ...]  # what to order by, and whether downwards


@dataclass(frozen=True, slots=True)
class Relation:
    """Rows with named columns; immutable, every verb returns another.

    Parameters
    ----------
    rows
        Where rows come from.
    columns
        SQL of the visible columns, in order.
    key
        SQL that identifies a row: the default order, and the tie-break of every other one.
    image, sample
        SQL of the micrograph and sample a row belongs to; None where it has none.
    where, order, limit
        Conditions, explicit order, and (start, stop) of the rows wanted.
    extra
        Columns fetched from Parquet parts, by the text of the expression they answer.
    """

    rows: FromClause
    columns: Mapping[str, Element]
    key: tuple[Element, ...]
    image: Element | None = None
    sample: Element | None = None
    where: tuple[Element, ...] = ()
    order: Order = ()
    limit: tuple[int, int | None] | None = None
    extra: Mapping[str, Element] = field(default_factory=dict)

    def select(self, columns: Iterable[Element]) -> Select[tuple[object, ...]]:
        """Return the statement that fetches columns of these rows, in order."""
        statement = sa.select(*columns).select_from(self.rows).where(*self.where)
        statement = statement.order_by(*(sorting(element, down) for element, down in self.ordering))
        if self.limit is not None:
            start, stop = self.limit
            statement = statement.offset(start or None)
            statement = statement.limit(None if stop is None else stop - start)
        return statement

    @property
    def ordering(self) -> Order:
        """The whole order: the explicit one, then the key."""
        return (*self.order, *((element, False) for element in self.key))

    def nested(self) -> Relation:
        """Return the same rows as a subquery, so that a verb acts on exactly these rows, as in pandas."""
        hidden: dict[str, Element] = {
            **{f"__key_{index}": element for index, element in enumerate(self.key)},
            **{f"__order_{index}": element for index, (element, _) in enumerate(self.order)},
            **{f"__extra_{index}": element for index, element in enumerate(self.extra.values())},
            **({} if self.image is None else {"__image": self.image}),
            **({} if self.sample is None else {"__sample": self.sample}),
        }
        names = distinct(self.columns)
        everything = {**{names[name]: element for name, element in self.columns.items()}, **hidden}
        statement = self.select(element.label(name) for name, element in everything.items())
        inner = (statement if self.limit else statement.order_by(None)).subquery()
        return Relation(
            rows=inner,
            columns={name: inner.c[label] for name, label in names.items()},
            key=tuple(inner.c[f"__key_{index}"] for index in range(len(self.key))),
            image=None if self.image is None else inner.c["__image"],
            sample=None if self.sample is None else inner.c["__sample"],
            order=tuple((inner.c[f"__order_{index}"], down) for index, (_, down) in enumerate(self.order)),
            extra={text: inner.c[f"__extra_{index}"] for index, text in enumerate(self.extra)},
        )

    def settled(self) -> Relation:
        """Return a relation without limit, so that conditions and joins may be added."""
        return self.nested() if self.limit else self


def distinct(names: Iterable[str]) -> dict[str, str]:
    """Return a label for each name; SQL takes ``Lab`` and ``lab`` for one column."""
    return {name: f"{name}__{index}" for index, name in enumerate(names)}


def start(source: Source) -> Relation:
    """Return every row of a table that is kept in SQL."""
    if source.rows is None:
        raise ValueError(f"{source.name} is not kept in SQL")
    return Relation(
        source.rows,
        source.elements,
        source.order,
        image=source.image,
        sample=source.sample,
        where=(*source.where, *source.alive),
    )


def sorting(element: Element, down: bool) -> Element:
    """Return an element for ORDER BY: missing values last both ways, text by code point."""
    key = ordered(element) if isinstance(element.type, String) else element
    return (key.desc() if down else key.asc()).nulls_last()
