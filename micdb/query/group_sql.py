"""Groups as SQL: one row for each combination of keys, aggregates of the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import sqlalchemy as sa
from sqlalchemy.types import Boolean, Integer

from micdb.query import aggregates, dialect
from micdb.query.elements import Element
from micdb.query.lookups import Lookup, lookup_of
from micdb.query.relation import Order, Relation, distinct, reversed_sorting, sorting
from micdb.query.verbs import Group


def grouped(step: Group, relation: Relation) -> Relation:
    """Return the groups of a relation whose columns are those the verb speaks of."""
    relation, named = _by_reference(step, relation)
    if step.dropna and relation.limit is None:
        known = (relation.columns[name].is_not(None) for name in step.keys)
        relation = replace(relation, where=(*relation.where, *known))
    ordered = relation.limit is not None or any(one[2] in aggregates.CHOSEN for one in step.aggregates)
    inner = (relation if ordered else _plain(relation)).nested()
    keys = [inner.columns[name] for name in step.keys]
    rows, chosen = _with_chosen(step, inner, keys)
    names = distinct([*step.keys, *(name for name, _, _ in step.aggregates)])
    keys = [rows.columns[name] for name in step.keys]
    labelled = [key.label(names[name]) for key, name in zip(keys, step.keys, strict=True)]
    made = [
        (_any(chosen[name]) if name in chosen else aggregates.element(function, rows.columns[column])).label(
            names[name]
        )
        for name, column, function in step.aggregates
    ]
    statement = sa.select(*labelled, *made).select_from(rows.rows).group_by(*keys)
    if step.dropna and relation.limit is not None:
        statement = statement.where(*(key.is_not(None) for key in keys))
    found = statement.subquery()
    columns: dict[str, Element] = {name: found.c[label] for name, label in names.items()}
    lookups = tuple(
        Lookup(one.table, one.table.c.pk == columns[name], outer=not step.dropna)
        for name, (one, _) in named.items()
    )
    columns |= {name: element for name, (_, element) in named.items()}
    return Relation(found, columns, key=tuple(columns[name] for name in step.keys), lookups=lookups)


def _plain(relation: Relation) -> Relation:
    """Return the same rows without what tells one from another: their groups do not ask."""
    return replace(relation, key=(), order=(), extra={}, image=None, sample=None)


def _by_reference(step: Group, relation: Relation) -> tuple[Relation, dict[str, tuple[Lookup, Element]]]:
    """Return the rows with references in the place of keys that name them, and the lookups of the names.

    A lab has one name, so that groups by either are the same, and a million references compare quicker.
    """
    named: dict[str, tuple[Lookup, Element]] = {}
    columns = dict(relation.columns)
    for name in step.keys:
        shown = {function for _, column, function in step.aggregates if column == name} - aggregates.COUNTS
        found = None if shown else lookup_of(columns[name], relation.lookups)
        if found is not None:
            named[name] = (found, columns[name])
            columns[name] = found.on.right
    return replace(relation, columns=columns), named


def _with_chosen(
    step: Group, inner: Relation, keys: Sequence[Element]
) -> tuple[Relation, dict[str, Element]]:
    """Return the rows with the first or last known value of their group beside them, where one is asked for.

    A window gives it on both engines; SQLite learnt ordered aggregates only in 3.44.
    """
    wanted = [one for one in step.aggregates if one[2] in aggregates.CHOSEN]
    if not wanted:
        return inner, {}
    names = distinct(inner.columns)
    windows = [
        _at_end(function, inner.columns[column], keys, order=inner.ordering).label(f"__chosen_{index}")
        for index, (_, column, function) in enumerate(wanted)
    ]
    shown = [element.label(names[name]) for name, element in inner.columns.items()]
    rows = sa.select(*shown, *windows).select_from(inner.rows).subquery()
    columns = {name: rows.c[label] for name, label in names.items()}
    chosen: dict[str, Element] = {
        name: rows.c[f"__chosen_{index}"] for index, (name, _, _) in enumerate(wanted)
    }
    return Relation(rows, columns, key=()), chosen


def _at_end(function: str, column: Element, keys: Sequence[Element], *, order: Order) -> Element:
    turn = sorting if function == "first" else reversed_sorting
    ordering = [column.is_(None), *(turn(element, down) for element, down in order)]
    return sa.type_coerce(sa.func.first_value(column).over(partition_by=keys, order_by=ordering), column.type)


def _any(column: Element) -> Element:
    """Return the value that all rows of a group have."""
    if isinstance(column.type, Boolean):  # PostgreSQL orders no booleans in min()
        return sa.func.min(sa.cast(column, Integer())) == 1
    return sa.func.min(dialect.ordered(column) if isinstance(column.type, sa.String) else column)
