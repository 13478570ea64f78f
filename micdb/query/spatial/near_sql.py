"""``within`` as SQL: one EXISTS over the others in the same frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy import FromClause
from sqlalchemy.types import Float

from micdb.query.elements import Element


class Rows(NamedTuple):
    """Rows of a child table where a statement runs.

    Parameters
    ----------
    rows
        Where they come from.
    columns
        SQL of their columns.
    image
        Local key of the micrograph a row is in.
    key
        What tells it from others of its table and image.
    """

    rows: FromClause
    columns: Mapping[str, Element]
    image: Element
    key: Sequence[Element]


def near(
    position: Sequence[Element],
    image: Element,
    others: Rows,
    where: Sequence[Element],
    *,
    radius: float,
    key: Sequence[Element] | None,
    many: bool,
) -> Element:
    """Return whether one of the others is at most `radius` away, in the same frame.

    Parameters
    ----------
    position
        Frame, x and y of the rows asked about.
    image
        Micrograph they are in.
    others, where
        What is to be near, and what of it counts.
    radius
        In the unit of x and y.
    key
        Key of the rows asked about where they are of the same table: nothing is near itself.
    many
        Whether a frame may hold thousands: then they are looked up by cells as wide as the radius, since
        comparing each with each would take millions of comparisons a frame.
    """
    frame, x, y = position
    r = sa.literal(radius, Float(53))
    its = [others.columns[name] for name in ("frame", "x_nm", "y_nm")]
    rows, keys, same = others.rows, others.key, [others.image == image, *where]
    if many:
        # A little wider than the radius, so that no rounding puts a neighbour two cells away.
        width = sa.literal(radius * (1 + 1e-9), Float(53))
        dx, dy = _offsets("dx"), _offsets("dy")
        cells = sa.select(
            *(one.label(f"p{index}") for index, one in enumerate(its)),
            others.image.label("image"),
            *(one.label(f"k{index}") for index, one in enumerate(others.key)),
            (sa.func.floor(its[1] / width) + dx.c.dx).label("cx"),
            (sa.func.floor(its[2] / width) + dy.c.dy).label("cy"),
        )
        found = cells.select_from(others.rows, dx, dy).where(*where).subquery()
        its = [found.c[f"p{index}"] for index in range(3)]
        keys = [found.c[f"k{index}"] for index in range(len(others.key))]
        rows = found
        same = [
            found.c.image == image,
            found.c.cx == sa.func.floor(x / width),
            found.c.cy == sa.func.floor(y / width),
        ]
    away = (its[1] - x) * (its[1] - x) + (its[2] - y) * (its[2] - y) <= r * r
    conditions = [*same, its[0] == frame, away]
    if key is not None:
        conditions.append(sa.or_(*(one != own for one, own in zip(keys, key, strict=True))))
    return sa.exists(sa.select(sa.literal(1)).select_from(rows).where(*conditions).correlate_except(rows))


def _offsets(name: str) -> FromClause:
    """Return -1, 0 and 1: a cell and its neighbours."""
    steps = (sa.literal_column(str(step), sa.Integer()).label(name) for step in (-1, 0, 1))
    return sa.union_all(*(sa.select(step) for step in steps)).subquery()
