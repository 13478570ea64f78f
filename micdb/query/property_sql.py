"""Properties and roll-ups as SQL.

As a column, a property of an image is what was said of the image itself, else what was said of its
sample. Several numbers give their mean; several different texts give none, since choosing one would
be a guess.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import sqlalchemy as sa
from sqlalchemy import Select
from sqlalchemy.types import Float

from micdb.catalog.results import rollup
from micdb.catalog.tables import property_value as table
from micdb.errors import UsageError
from micdb.query import dialect
from micdb.query.elements import Element
from micdb.query.relation import Relation
from micdb.query.vocabulary import Property

LEVELS = ("sample", "image")
AGGREGATES: dict[str, Callable[[Element], Element]] = {
    "mean": lambda value: sa.func.avg(value, type_=Float(53)),
    "median": dialect.median,
    "min": sa.func.min,
    "max": sa.func.max,
}


def property_value(known: Property, relation: Relation) -> Element:
    """Return a property as a column of images or samples."""
    made = _single if known.kind == "text" else AGGREGATES["mean"]
    of_sample = _scalar(known, made(_values(known)), level="sample", relation=relation)
    if relation.image is None:
        return of_sample
    of_image = _scalar(known, made(_values(known)), level="image", relation=relation)
    has_own = _scalar(known, sa.func.count(_values(known)), level="image", relation=relation) > 0
    return sa.case((has_own, of_image), else_=of_sample)


def property_elements(known: Property, relation: Relation, *, level: str, agg: str) -> dict[str, Element]:
    """Return a property of one level with its sample standard deviation and its number of values."""
    values = _values(known)
    count = _scalar(known, sa.func.count(values), level=level, relation=relation)
    if known.kind == "text":
        single = _scalar(known, _single(values), level=level, relation=relation)
        return {known.name: single, f"{known.name}_n": count}
    value = _scalar(known, AGGREGATES[agg](values), level=level, relation=relation)
    spread = sa.func.coalesce(
        dialect.std(values), sa.case((sa.func.count(values) == 1, sa.func.max(table.c.sd)))
    )
    return {
        known.name: value,
        f"{known.name}_sd": _scalar(known, spread, level=level, relation=relation),
        f"{known.name}_n": count,
    }


def rollup_value(name: str, runs: Sequence[int], relation: Relation) -> Element:
    """Return a number that a run wrote for each image."""
    statement = sa.select(rollup.c.value).where(
        rollup.c.run_pk.in_(runs), rollup.c.micrograph_pk == relation.image, rollup.c.name == name
    )
    return statement.correlate_except(rollup).scalar_subquery()


def _values(known: Property) -> Element:
    return table.c.text if known.kind == "text" else table.c.value


def _single(text: Element) -> Element:
    return sa.case((sa.func.min(text) == sa.func.max(text), sa.func.min(text)))


def _scalar(known: Property, made: Element, *, level: str, relation: Relation) -> Element:
    owner = relation.image if level == "image" else relation.sample
    if owner is None:
        raise UsageError(f"these rows have no {level} that {known.name} could belong to")
    belongs = table.c.micrograph_pk if level == "image" else table.c.sample_pk
    statement: Select[tuple[object]] = sa.select(made).where(
        table.c.property_def_pk + 0 == known.pk,  # the owner's index is the one to use: few rows each
        table.c.level == level,
        belongs == owner,
        table.c.retired_at.is_(None),
    )
    return statement.correlate_except(table).scalar_subquery()
