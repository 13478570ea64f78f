"""The Parquet parts of the big tables, read in place by a private in-process DuckDB.

Only parts that a committed row names are read, and of those only the ones that can hold one of the
images asked for. Ids travel as Arrow tables, never as text or parameters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy import Connection

from micdb.catalog.engine import reading
from micdb.catalog.results import part
from micdb.catalog.tables import object_
from micdb.errors import UsageError, suggestion
from micdb.populate.facts import FACTS
from micdb.query.context import Context
from micdb.query.facts import duck
from micdb.query.spatial.derived import DERIVED
from micdb.store.parts import read_metadata, read_part

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

RUN = pa.field("run", pa.int64(), nullable=False)  # the populate service puts it in front of every row
ROW = "file_row_number"  # DuckDB's name for the position of a row in its file
_GLOB = re.compile(r"([*?\[])")


@dataclass(frozen=True, slots=True)
class Part:
    """One Parquet file.

    Parameters
    ----------
    run
        ``pk`` of the run whose rows it holds.
    path
        The file.
    first, last
        Smallest and largest image in it.
    """

    run: int
    path: Path
    first: int
    last: int


def find(
    context: Context, table: str, runs: Sequence[int], *, connection: Connection | None = None
) -> list[Part]:
    """Return the live parts of a table that belong to some runs, oldest first.

    Parameters
    ----------
    context
        Surroundings of the query.
    table
        ``atoms``, ``bonds``, ...; of one that is computed, those of what it is computed from.
    runs
        ``pk`` of runs.
    connection
        Transaction to look in, so that parts and catalog are of one moment; None for one of its own.
    """
    table = DERIVED[table].stored if table in DERIVED else table
    statement = (
        sa.select(part.c.run_pk, object_.c.path, part.c.min_image, part.c.max_image)
        .join(object_, object_.c.pk == part.c.object_pk)
        .where(part.c.table_name == table, part.c.run_pk.in_(list(runs)), object_.c.state == "live")
        .order_by(part.c.pk)
    )
    with reading(context.engine) if connection is None else nullcontext(connection) as seen:
        rows = seen.execute(statement).all()
    return [Part(run, context.root / path, first, last) for run, path, first, last in rows]


def whole(connection: Connection, table: str, runs: Sequence[int]) -> bool:
    """Return whether every part of a table that belongs to some runs is live."""
    gone = part.join(object_, object_.c.pk == part.c.object_pk)
    statement = sa.select(sa.literal(1)).select_from(gone)
    statement = statement.where(part.c.table_name == table, part.c.run_pk.in_(list(runs)))
    return connection.execute(statement.where(object_.c.state != "live").limit(1)).first() is None


def holding(parts: Sequence[Part], images: np.ndarray) -> list[Part]:
    """Return the parts that can hold one of the images.

    Parameters
    ----------
    parts
        Candidates.
    images
        ``pk`` of micrographs, ascending, ``(n,)``.
    """
    if not parts:
        return []
    first = np.array([one.first for one in parts])
    last = np.array([one.last for one in parts])
    inside = np.searchsorted(images, last, side="right") - np.searchsorted(images, first, side="left")
    return [one for one, count in zip(parts, inside, strict=True) if count > 0]


def schema(table: str, parts: Sequence[Part]) -> pa.Schema:
    """Return the columns of a table as its parts have them, ``run`` first.

    Extractors may add columns to `micdb.populate.facts`; all parts of one run have the same ones, so
    one file per run is looked at.

    Raises
    ------
    UsageError
        There is neither a part nor a declared table of that name.
    StoreError
        A part is missing or damaged.
    """
    if table in DERIVED:
        return DERIVED[table].schema
    if not parts:
        if table not in FACTS:
            raise UsageError(f"no table {table!r} of measured rows{suggestion(table, FACTS)}")
        return pa.schema([RUN, *FACTS[table]])
    one_per_run = {one.run: one for one in parts}.values()
    found = [read_metadata(one.path).schema.to_arrow_schema() for one in one_per_run]
    return pa.unify_schemas(found, promote_options="permissive").remove_metadata()


@contextmanager
def database(parts: Sequence[Part], columns: pa.Schema | None = None) -> Iterator[DuckDBPyConnection]:
    """Open a private in-memory DuckDB with the rows of the parts as the view ``facts``.

    The view has the columns of the files and ``file_row_number``. Several threads may each open
    their own.

    Parameters
    ----------
    parts
        Files to read.
    columns
        Columns of the empty view where there are no files.

    Raises
    ------
    StoreError
        A part is missing or damaged; the message names the file.
    """
    connection = duck.connect()
    try:
        with damage_named(parts):
            if parts:
                connection.execute(f"CREATE TEMP VIEW facts AS SELECT * FROM {scanned(parts)}")  # noqa: S608
            elif columns is not None:
                connection.register("facts", columns.append(pa.field(ROW, pa.int64())).empty_table())
            yield connection
    finally:
        connection.close()


def scanned(parts: Sequence[Part]) -> str:
    """Return the SQL that reads parts, with ``file_row_number`` beside the columns of the files."""
    # DuckDB reads a path as a pattern: a folder may be called "lab [old]".
    escaped = (_GLOB.sub(r"[\1]", str(one.path)).replace("'", "''") for one in parts)
    files = ", ".join(f"'{path}'" for path in escaped)
    mixed = str(len({one.run for one in parts}) > 1).lower()
    return f"read_parquet([{files}], union_by_name={mixed}, file_row_number=true, hive_partitioning=false)"


@contextmanager
def damage_named(parts: Sequence[Part]) -> Iterator[None]:
    """Turn an error of DuckDB over a missing or damaged part into one that names the file.

    Raises
    ------
    StoreError
        One of the parts cannot be read.
    """
    import duckdb

    try:
        yield
    except (duckdb.DataError, duckdb.InterruptException, duckdb.OutOfMemoryException):
        raise  # of the query, not of the files
    except duckdb.Error as error:
        if isinstance(error, duckdb.InternalError | duckdb.FatalException):
            duck.renew()  # after these DuckDB answers nothing any more
        for one in parts:
            read_part(one.path)
        raise
