"""Joins as SQL: two relations become one; rows keep the order of the frame, then that of the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import reduce
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy import FromClause, Result, Select

from micdb.errors import UsageError
from micdb.query.elements import Element
from micdb.query.merging import merged_names
from micdb.query.relation import Relation, distinct, sorting
from micdb.query.verbs import Keys


def joined(
    relation: Relation,
    rows: FromClause,
    columns: Mapping[str, Element],
    keys: Keys,
    *,
    left: Sequence[Element],
    number: Element | None,
) -> Relation:
    """Return a relation with the columns of another table beside its own.

    Parameters
    ----------
    relation
        The frame's rows, without a limit.
    rows, columns
        The other table, and the SQL of its columns.
    keys
        How they are joined; missing keys match nothing.
    left
        SQL of the frame's keys.
    number
        Numbers the rows of the other table in their order; None where a key stands only once in it.
    """
    matched = [here == columns[there] for here, (_, there) in zip(left, keys.pairs, strict=True)]
    on = reduce(sa.and_, matched)
    relation = relation.beside(on)
    ours, theirs = merged_names(relation.columns, columns, keys)
    return replace(
        relation,
        rows=relation.rows.join(rows, on, isouter=keys.how == "left"),
        columns={
            **{ours[name]: element for name, element in relation.columns.items()},
            **{new: columns[name] for name, new in theirs.items()},
        },
        key=relation.key if number is None else (*relation.key, number),
        merged=relation.merged + (number is not None),
    )


def numbered(relation: Relation) -> tuple[FromClause, dict[str, Element], Element]:
    """Return a relation as a subquery, its columns, and the number of each row in order."""
    names = distinct(relation.columns)
    inner = relation.nested()
    place = sa.func.row_number().over(order_by=[sorting(one, down) for one, down in inner.ordering]) - 1
    made = sa.select(
        *(element.label(names[name]) for name, element in inner.columns.items()), place.label("__row")
    )
    rows = made.select_from(inner.rows).subquery()
    return rows, {name: rows.c[label] for name, label in names.items()}, rows.c["__row"]


class Runner(Protocol):
    """Where statements run: a connection of the catalog, or DuckDB."""

    def execute(self, statement: Select[Any], /) -> Result[Any]:
        """Run a statement."""


def require_single(
    connection: Runner, relation: Relation, found: Sequence[Element], *, whose: str, keys: Keys
) -> None:
    """Refuse keys that stand more than once in a relation; missing ones match nothing and may repeat.

    Raises
    ------
    UsageError
        They do; the message counts them and gives one.
    """
    labelled = [element.label(f"key_{index}") for index, element in enumerate(found)]
    one = replace(relation, columns={}, extra={}).select(labelled).order_by(None).subquery()
    again = (
        sa.select(*one.c, sa.func.count().over().label("repeated"))
        .where(*(column.is_not(None) for column in one.c))
        .group_by(*one.c)
        .having(sa.func.count() > 1)
        .order_by(*one.c)
        .limit(1)
    )
    row = connection.execute(again).first()
    if row is None:
        return
    side = 0 if whose == "the frame" else 1
    names = ", ".join(repr(pair[side]) for pair in keys.pairs)
    values: list[Any] = list(row)[:-1]
    shown = ", ".join(map(repr, values))
    mend = "pass validate='m:m' to have rows doubled"
    if side:
        mend = f"group it first, other.groupby({keys.pairs[0][1]!r}).agg(...), or {mend}"
    raise UsageError(
        f"{row.repeated:,} keys repeat in {names} of {whose}, for example {shown}, and validate is "
        f"{keys.validate!r}: {mend}"
    )
