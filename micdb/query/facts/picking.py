"""The first rows of big tables: which ones they are is found out before their columns are read."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import sqlalchemy as sa
from sqlalchemy import Subquery
from sqlalchemy.types import BigInteger

from micdb.query.facts.session import FILE, ROW, Session
from micdb.query.nodes import Kind
from micdb.query.relation import Relation

MOST = 100_000  # rows; more are read with all their columns at once
FIRST, GROWTH = 64, 8  # images that are tried first, and how many times more each time after


class Rank(BigInteger):
    """Type of the number of a row that was handed over, in its order from 0; each row has one image.

    Parameters
    ----------
    images
        ``pk`` of the images in that order, ``(n,)``.
    """

    def __init__(self, images: np.ndarray) -> None:
        super().__init__()
        self.images = images


def picked(relation: Relation, session: Session) -> Relation:
    """Return rows with a limit so that the statement reads no more of a big table than it needs.

    Parameters
    ----------
    relation
        Rows in DuckDB, with a limit.
    session
        Where they are; it is asked which rows, or which images, are the first.
    """
    _, stop = relation.limit or (0, None)
    if stop is None or stop > MOST or isinstance(relation.rows, Subquery):
        return relation
    if relation.image is None or [getattr(one, "name", None) for one in relation.key[-2:]] != [FILE, ROW]:
        return relation  # not the rows of a big table
    if not relation.order and isinstance(relation.key[0].type, Rank):
        return _prefix(relation, session, stop)
    return _chosen(relation, session, stop)


def _prefix(relation: Relation, session: Session, stop: int) -> Relation:
    """Return the rows of the first images that have enough of them: they come before all others."""
    rank: Any = relation.key[0]
    images: np.ndarray = rank.type.images
    count = FIRST
    while count < len(images):
        first = replace(relation, where=(*relation.where, rank < count), limit=(0, stop))
        one = replace(first, columns={}, extra={}, key=()).select([sa.literal(1).label("one")]).subquery()
        found = session.execute(sa.select(sa.func.count()).select_from(one)).scalar_one()
        if found >= stop:
            session.narrow(relation.key[-1].table.name, images[:count])
            return replace(first, limit=relation.limit)
        count *= GROWTH
    return relation


def _chosen(relation: Relation, session: Session, stop: int) -> Relation:
    """Return the rows by their places in the parts, found from the columns they are ordered by."""
    keys = [relation.image.label("image"), *(one.label(f"k{i}") for i, one in enumerate(relation.key[-2:]))]  # type: ignore[union-attr]
    table = session.answered(replace(relation, limit=(0, stop)).select(keys))
    columns: list[tuple[str, Kind]] = [("image", "integer"), ("k0", "integer"), ("k1", "integer")]
    found = session.local(table, columns)
    here = sa.tuple_(*relation.key[-2:]).in_(sa.select(found.c.k0, found.c.k1))
    image = relation.image.in_(sa.select(found.c.image))  # type: ignore[union-attr]
    return replace(relation, where=(*relation.where, here, image))
