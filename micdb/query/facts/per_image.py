"""One number per image out of its rows in a big table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import FromClause, Select

from micdb.query import aggregates, elements
from micdb.query.aggregate import Aggregate
from micdb.query.child_scope import Columns, Place
from micdb.query.elements import Element
from micdb.query.text import write


def per_image(
    rows: FromClause,
    image: Element,
    columns: Mapping[str, Element],
    *,
    asked: Sequence[Aggregate],
    wanted: Element,
    place: Place | None = None,
) -> Select[Any]:
    """Return the statement with ``image`` and one column per aggregate, for images that have rows.

    Parameters
    ----------
    rows, image, columns
        The big table, the local key of the micrograph a row is in, and the SQL of its columns.
    asked
        What to compute; missing values are left out, as in pandas.
    wanted
        Condition that the images wanted fulfil.
    place
        Where the rows stand; None where no condition asks what lies near.
    """
    scope = Columns(columns, place)
    # A condition that all share leaves rows out before they are grouped; others only blank values.
    shared = len({_text(one) for one in asked}) == 1 and asked[0].condition is not None
    targets = [
        _target(one, scope, conditioned=not shared).label(f"t{index}") for index, one in enumerate(asked)
    ]
    inner = sa.select(image.label("image"), *targets).select_from(rows)
    inner = inner.where(wanted)
    if shared:
        inner = inner.where(elements.mask(asked[0].condition, scope))  # type: ignore[arg-type]
    some = inner.subquery()
    made = [
        aggregates.element("count" if one.column is None else one.function, some.c[f"t{index}"]).label(
            one.name
        )
        for index, one in enumerate(asked)
    ]
    return sa.select(some.c.image, *made).group_by(some.c.image)


def _target(one: Aggregate, scope: Columns, *, conditioned: bool) -> Element:
    target = sa.literal_column("1", sa.BigInteger()) if one.column is None else scope.column(one.column)
    if one.condition is None or not conditioned:
        return target
    return sa.case((elements.mask(one.condition, scope), target))


def _text(one: Aggregate) -> str:
    return "" if one.condition is None else write(one.condition)
