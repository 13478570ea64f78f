"""The Parquet parts of the big tables, read in place by a private in-process DuckDB.

Only parts that a committed row names are read, and of those only the ones that can hold one of the
images asked for. Ids travel as Arrow tables, never as text or parameters.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import sqlalchemy as sa

from micdb.catalog.engine import reading
from micdb.catalog.results import part
from micdb.catalog.tables import object_
from micdb.errors import UsageError, suggestion
from micdb.populate.facts import FACTS
from micdb.query.context import Context
from micdb.store.parts import read_metadata, read_part

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

RUN = pa.field("run", pa.int64(), nullable=False)  # the populate service puts it in front of every row
ROW = "file_row_number"  # DuckDB's name for the position of a row in its file
_SETTINGS: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": "false",  # the network is never touched
    "autoload_known_extensions": "false",
    "python_enable_replacements": "false",  # names in SQL are views, never Python variables
    # DuckDB would believe the statistics of the files, and Parquet leaves NaN out of them.
    "disabled_optimizers": "statistics_propagation",
    "temp_directory": tempfile.gettempdir(),  # the default would be the user's working directory
}
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


def find(context: Context, table: str, runs: Sequence[int]) -> list[Part]:
    """Return the live parts of a table that belong to some runs, oldest first."""
    statement = (
        sa.select(part.c.run_pk, object_.c.path, part.c.min_image, part.c.max_image)
        .join(object_, object_.c.pk == part.c.object_pk)
        .where(part.c.table_name == table, part.c.run_pk.in_(list(runs)), object_.c.state == "live")
        .order_by(part.c.pk)
    )
    with reading(context.engine) as connection:
        rows = connection.execute(statement).all()
    return [Part(run, context.root / path, first, last) for run, path, first, last in rows]


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
    import duckdb

    # DuckDB reads a path as a pattern: a folder may be called "lab [old]".
    paths = [_GLOB.sub(r"[\1]", str(one.path)) for one in parts]
    mixed = len({one.run for one in parts}) > 1
    connection = duckdb.connect(":memory:", config=_SETTINGS)
    try:
        if parts:
            connection.read_parquet(
                paths, union_by_name=mixed, file_row_number=True, hive_partitioning=False
            ).create_view("facts")
        elif columns is not None:
            connection.register("facts", columns.append(pa.field(ROW, pa.int64())).empty_table())
        yield connection
    except duckdb.Error:
        for one in parts:  # the message must name the file, which DuckDB's does not always
            read_part(one.path)
        raise
    finally:
        connection.close()
