"""Properties and roll-ups as SQL.

As a column, a property of an image is what was said of the image itself, else what was said of its
sample. Several numbers give their mean; several different texts give none, since choosing one would
be a guess.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, FromClause, Select
from sqlalchemy.types import Float

from micdb.catalog.results import rollup
from micdb.catalog.rows import among
from micdb.catalog.tables import property_value as table
from micdb.errors import UsageError
from micdb.query import dialect
from micdb.query.elements import Element
from micdb.query.lookups import Lookup
from micdb.query.relation import Relation
from micdb.query.vocabulary import Property

LEVELS = ("sample", "image")
ENDS = {"low": "lower", "high": "upper"}  # columns of an interval
AGGREGATES: dict[str, Callable[[Element], Element]] = {
    "mean": lambda value: sa.func.avg(value, type_=Float(53)),
    "median": dialect.median,
    "min": sa.func.min,
    "max": sa.func.max,
}


@dataclass(frozen=True, slots=True)
class Asked:
    """A condition on a property: given its value, the condition that it fulfils."""

    known: Property
    fulfil: Callable[[Element], Element]


def property_value(known: Property, relation: Relation) -> Element:
    """Return a property as a column of images or samples."""
    of_sample = _scalar(known, _made(known), level="sample", relation=relation)
    if relation.image is None:
        return of_sample
    of_image = _scalar(known, _made(known), level="image", relation=relation)
    if known.kind != "text":
        return sa.func.coalesce(of_image, of_sample, type_=Float(53))
    has_own = _scalar(known, sa.func.count(_values(known)), level="image", relation=relation) > 0
    return sa.case((has_own, of_image), else_=of_sample)


def property_members(
    asked: Sequence[Asked], connection: Connection, *, image: Element | None, sample: Element
) -> Element:
    """Return whether one of several conditions on `property_value` is fulfilled, none of which NULL fulfils.

    The samples that fulfil them, and the images that have values of their own, are asked for at once. They
    are few beside the images, and an engine that has their keys knows how many images to expect: PostgreSQL
    then walks the order of the first page, or goes from sample to sample, as is quicker.

    Parameters
    ----------
    asked
        The conditions.
    connection
        The transaction that will ask for the rows.
    image, sample
        What the rows belong to; None for the image of samples.
    """
    samples: list[set[int]] = []
    for one in asked:
        statement = _owners(one.known, "sample").having(one.fulfil(_made(one.known)))
        samples.append(set(connection.execute(statement).scalars()))
    whole = among(connection, sample, set().union(*samples))
    if image is None:
        return whole
    own: list[dict[int, bool | None]] = [
        {row[0]: row[1] for row in connection.execute(_own(one))} for one in asked
    ]
    if not any(own):
        return whole
    found = {key for one in own for key, yes in one.items() if yes}
    ways = [
        sa.and_(among(connection, sample, few), sa.not_(among(connection, image, one)))
        for few, one in zip(samples, own, strict=True)
    ]
    return sa.or_(among(connection, image, found), *ways)


def property_elements(
    known: Property, relation: Relation, *, level: str, agg: str, interval: bool,
    where: Sequence[Element] = (),
) -> dict[str, Element]:  # fmt: skip
    """Return a property of one level with its sample standard deviation and its number of values.

    Parameters
    ----------
    known, relation
        The property, and the rows that get it.
    level, agg, interval
        See `micdb.query.frame.Frame.with_property`.
    where
        What its values must fulfil besides.
    """
    values = _values(known)

    def scalar(made: Element) -> Element:
        return _scalar(known, made, level=level, relation=relation, where=where)

    count = scalar(sa.func.count(values))
    if known.kind == "text":
        return {known.name: scalar(_single(values)), f"{known.name}_n": count}

    def stated(column: Element) -> Element:
        """Return what was said of a value where it is the only one."""
        own = sa.func.max(sa.case((values.is_not(None), column)))
        return sa.case((sa.func.count(values) == 1, own))

    spread = sa.func.coalesce(dialect.std(values), stated(table.c.sd))
    ends = {f"{known.name}_{end}": scalar(stated(table.c[end])) for end in ENDS if interval}
    value = scalar(AGGREGATES[agg](values))
    return {known.name: value, f"{known.name}_sd": scalar(spread), f"{known.name}_n": count, **ends}


def rollup_value(name: str, runs: Sequence[int], relation: Relation) -> Element:
    """Return a number that a run wrote for each image."""
    statement = sa.select(rollup.c.value).where(
        rollup.c.run_pk.in_(runs), rollup.c.micrograph_pk == relation.image, rollup.c.name == name
    )
    return statement.correlate_except(rollup).scalar_subquery()


def rollup_lookup(table: FromClause, name: str, runs: Sequence[int], image: Element) -> Lookup:
    """Return how the roll-ups of images are joined to them; `table` is an alias of theirs.

    It gives what `rollup_value` does, and lets the engine begin with the roll-ups where it is asked which
    images have a large one.
    """
    return Lookup(
        table, sa.and_(table.c.run_pk.in_(runs), table.c.micrograph_pk == image, table.c.name == name)
    )


def _values(known: Property) -> Element:
    return table.c.text if known.kind == "text" else table.c.value


def _made(known: Property) -> Element:
    return (_single if known.kind == "text" else AGGREGATES["mean"])(_values(known))


def _single(text: Element) -> Element:
    return sa.case((sa.func.min(text) == sa.func.max(text), sa.func.min(text)))


def _scalar(
    known: Property, made: Element, *, level: str, relation: Relation, where: Sequence[Element] = ()
) -> Element:
    owner = relation.image if level == "image" else relation.sample
    if owner is None:
        raise UsageError(f"these rows have no {level} that {known.name} could belong to")
    own = sa.select(made).where(*_of(known, level, owner), *where)
    return own.correlate_except(table).scalar_subquery()


def _of(known: Property, level: str, owner: Element) -> list[Element]:
    """Return the conditions on the values of one owner, which are few: its index is the one to use."""
    property_def = dialect.unindexed(table.c.property_def_pk)
    mine = dialect.few(_belongs(level) == owner)
    return [property_def == known.pk, table.c.level == level, mine, table.c.retired_at.is_(None)]


def _owners(known: Property, level: str) -> Select[Any]:
    """Return the images or samples that have values of their own, each once."""
    belongs = _belongs(level)
    return sa.select(belongs).where(*_live(known, level)).group_by(belongs)


def _own(asked: Asked) -> Select[Any]:
    """Return the images that have values of their own, and whether these fulfil a condition."""
    valued = _owners(asked.known, "image").having(sa.func.count(_values(asked.known)) > 0)
    return valued.add_columns(asked.fulfil(_made(asked.known)))


def _live(known: Property, level: str) -> list[Element]:
    """Return the conditions on the values of all images or samples."""
    current, owned = table.c.retired_at.is_(None), _belongs(level).is_not(None)
    return [table.c.property_def_pk == known.pk, table.c.level == level, current, owned]


def _belongs(level: str) -> Element:
    """Return the column of the image or the sample that a value is of."""
    return table.c.micrograph_pk if level == "image" else table.c.sample_pk
