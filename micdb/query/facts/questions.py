"""Questions to the big tables for those who have local keys of images and no frame."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import sqlalchemy as sa

from micdb.catalog.engine import reading
from micdb.errors import UnknownColumnError
from micdb.query import elements
from micdb.query.aggregate import Aggregate
from micdb.query.aggregates import COUNTS
from micdb.query.child_scope import Columns
from micdb.query.context import Context
from micdb.query.facts import parts
from micdb.query.facts.per_image import per_image
from micdb.query.facts.session import FILE, ROW, Session
from micdb.query.nodes import Node, columns_in


def columns(context: Context, table: str, run_pks: Sequence[int]) -> pa.Schema:
    """Return the columns of a table as some runs filled it, ``run`` first.

    Raises
    ------
    UsageError
        There is no such table.
    StoreError
        A part is missing or damaged.
    """
    return parts.schema(table, parts.find(context, table, run_pks))


def aggregate(
    context: Context,
    table: str,
    run_pks: Sequence[int],
    *,
    images: np.ndarray,
    aggregates: Sequence[Aggregate],
) -> pa.Table:
    """Return numbers for each image, computed from its rows in a big table.

    Missing values are left out as in pandas; NaN is missing. Of an image without rows ``size``,
    ``count`` and ``nunique`` are 0 and everything else is missing.

    Parameters
    ----------
    context
        Surroundings of the query.
    table
        ``atoms``, ``bonds``, ...
    run_pks
        Runs whose rows count.
    images
        ``pk`` of micrographs, ``(n,)`` int64.
    aggregates
        What to compute.

    Returns
    -------
    pyarrow.Table
        ``image`` and one column per aggregate; one row per distinct image, in the order given.

    Raises
    ------
    UnknownColumnError
        The table has no such column.
    StoreError
        A part is missing or damaged.
    """
    distinct, first = np.unique(np.asarray(images, np.int64), return_index=True)
    with reading(context.engine) as connection, Session(context, connection) as session:
        facts = session.facts(table, run_pks, images=distinct)
        for one in aggregates:
            _check(table, facts, [one.column] if one.column else [], one.condition)
        wanted = _wanted(session, distinct, first)
        asked = [
            Aggregate(f"a{i}", one.function, one.column, one.condition) for i, one in enumerate(aggregates)
        ]
        among = session.among(facts.c.image, distinct)
        found = per_image(facts, facts.c.image, dict(facts.c), asked=asked, wanted=among).subquery()
        statement = sa.select(wanted.c.image, *(_counted(one, found.c[one.name]) for one in asked))
        statement = statement.select_from(wanted.outerjoin(found, found.c.image == wanted.c.image))
        answer = session.table(statement.order_by(wanted.c.position))
    return answer.rename_columns(["image", *(one.name for one in aggregates)])


def rows(
    context: Context,
    table: str,
    run_pks: Sequence[int],
    *,
    images: np.ndarray,
    columns: Sequence[str],
    condition: Node | None = None,
    limit: int | None = None,
) -> pa.Table:
    """Return rows of a big table.

    Parameters
    ----------
    context, table, run_pks, images
        As for `aggregate`.
    columns
        Columns wanted beside ``image``, in order; ``run`` is a column too.
    condition
        Rows to keep; None for all.
    limit
        Number of rows at most; None for all.

    Returns
    -------
    pyarrow.Table
        ``image`` and the columns; images in the order given, and the rows of an image in the order its
        extractor gave them. Numbers are 64 bits wide, NaN is missing.

    Raises
    ------
    UnknownColumnError
        The table has no such column.
    StoreError
        A part is missing or damaged.
    """
    distinct, first = np.unique(np.asarray(images, np.int64), return_index=True)
    names = ["image", *(name for name in columns if name != "image")]
    with reading(context.engine) as connection, Session(context, connection) as session:
        facts = session.facts(table, run_pks, images=distinct)
        _check(table, facts, names, condition)
        wanted = _wanted(session, distinct, first)
        statement = sa.select(*(facts.c[name].label(f"c{i}") for i, name in enumerate(names)))
        statement = statement.select_from(facts.join(wanted, wanted.c.image == facts.c.image))
        if condition is not None:
            statement = statement.where(elements.mask(condition, Columns(dict(facts.c))))
        order = (wanted.c.position, *([facts.c.run] if "run" in facts.c else []), facts.c[FILE], facts.c[ROW])
        answer = session.table(statement.order_by(*order).limit(limit))
    return answer.rename_columns(names)


def _wanted(session: Session, images: np.ndarray, position: np.ndarray) -> sa.TableClause:
    table = pa.table({"image": images, "position": position})
    return session.local(table, [("image", "integer"), ("position", "integer")])


def _counted(one: Aggregate, found: elements.Element) -> elements.Element:
    """Return an aggregate of an image that may have no rows."""
    return sa.func.coalesce(found, 0).label(one.name) if one.function in COUNTS else found


def _check(table: str, facts: sa.TableClause, names: Sequence[str], condition: Node | None) -> None:
    known = [column.name for column in facts.c if column.name not in (FILE, ROW)]
    for name in [*names, *(() if condition is None else columns_in(condition))]:
        if name not in known:
            raise UnknownColumnError(name, known, table)
