"""Fill the derived tables that `micdb.query.search.pgvector` searches."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from micdb.catalog.engine import place
from micdb.errors import CatalogError, StoreError
from micdb.provenance import uuid7
from micdb.query.context import Context
from micdb.query.search import decode, pgvector
from micdb.query.search.decode import State
from micdb.query.search.pgvector import SCHEMA, Mark
from micdb.query.search.vectors import TABLE, Space

LONGEST = 4000  # dimensions of half-precision vectors that a graph takes
HALF = 65504.0  # largest number of half precision
LINKS, TRIED = 16, 100  # of a node, and nodes kept in mind while it is linked; pgvector has 16 and 64
_ROWS = 1 << 13  # copied at a time
_OPERATORS = {"cosine": "halfvec_cosine_ops", "euclidean": "halfvec_l2_ops"}
_SETUP = (
    "CREATE EXTENSION IF NOT EXISTS vector",
    f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}",
    f"CREATE TABLE IF NOT EXISTS {SCHEMA}.mark"
    " (space bigint PRIMARY KEY, parts text[] NOT NULL, indexed boolean NOT NULL, filled text NOT NULL)",
)


@dataclass(frozen=True, slots=True)
class Filled:
    """What `fill` did.

    Parameters
    ----------
    added, removed
        Rows.
    rows
        How many there are now.
    indexed
        Whether there is a graph over them; without one all are compared.
    seconds
        Time it took [s].
    size
        Of the table and its indexes [byte].
    """

    added: int
    removed: int
    rows: int
    indexed: bool
    seconds: float
    size: int


def fill(context: Context, space: Space) -> Filled:
    """Bring the table of a space in step with the parts, in one transaction that stops nobody else.

    Parameters
    ----------
    context
        Surroundings; the catalog is on PostgreSQL, and the folder is there.
    space
        Whose vectors of images.

    Raises
    ------
    UsageError
        The catalog is not on PostgreSQL, or the server's pgvector is missing or too old.
    CatalogError
        The server does not let this user make tables or the extension, or it failed; nothing has changed.
    StoreError
        A part is missing or damaged.
    """
    begin = time.perf_counter()
    pgvector.check_server(context.engine)
    with _told(context.engine), context.engine.connect() as connection, connection.begin():
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(hashtext(:name))"), {"name": SCHEMA})
        for statement in _SETUP:
            connection.execute(sa.text(statement))
        number = pgvector.space_number(connection, space)
        table = f"{SCHEMA}.vector_{number}"
        connection.execute(
            sa.text(
                f"CREATE TABLE IF NOT EXISTS {table}"
                f" (image bigint PRIMARY KEY, vector vector({space.dim}) NOT NULL)"
            )
        )
        held = pgvector.read_mark(connection, space)
        state = decode.state(context, space.run, TABLE)
        there, removed = _settle(connection, table, space, state, held)
        rows = decode.read(
            [one for one in state.parts if held is None or one.uid not in held.parts],
            space,
            wanted=lambda images: ~np.isin(images, there),
        )
        total = len(there) + len(rows.images)
        indexed = _fits(rows.matrix, space) and total > pgvector.FEW
        if (
            indexed and held is not None and not held.indexed
        ):  # was it for want of rows, or for large numbers?
            indexed = _fits(decode.read(state.parts, space).matrix, space)
        if not indexed:  # the graph would refuse what does not fit
            connection.execute(sa.text(f"DROP INDEX IF EXISTS {table}_hnsw"))
        _copy(connection, table, rows)
        if indexed:
            _link(connection, table, space, total)
        connection.execute(sa.text(f"ANALYZE {table}"))
        connection.execute(
            sa.text(
                f"INSERT INTO {SCHEMA}.mark VALUES (:space, :parts, :indexed, :filled) "  # noqa: S608
                "ON CONFLICT (space) DO UPDATE SET parts = :parts, indexed = :indexed, filled = :filled"
            ),
            {
                "space": number,
                "parts": [one.uid for one in state.parts],
                "indexed": indexed,
                "filled": uuid7(),
            },
        )
        size = int(connection.execute(sa.text(f"SELECT pg_total_relation_size('{table}')")).scalar_one())
    return Filled(len(rows.images), removed, total, indexed, time.perf_counter() - begin, size)


def drop(engine: Engine) -> None:
    """Remove every derived table; searches go by the files again."""
    with _told(engine), engine.connect() as connection, connection.begin():
        connection.execute(sa.text(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE"))


def _settle(
    connection: Connection, table: str, space: Space, state: State, held: Mark | None
) -> tuple[np.ndarray, int]:
    """Delete rows that no live part holds any more; return the images that are left, and how many are not."""
    there = np.array(connection.execute(sa.text(f"SELECT image FROM {table}")).scalars().all(), np.int64)  # noqa: S608
    live = {one.uid for one in state.parts}
    if held is not None and held.parts <= live:
        return there, 0
    images = [decode.images_in(one, space) for one in state.parts] if held is not None else []
    kept = np.intersect1d(there, np.concatenate(images)) if images else there[:0]
    gone = np.setdiff1d(there, kept)
    driver: Any = connection.connection.driver_connection
    with driver.cursor(binary=True) as cursor:
        cursor.adapters.register_dumper(pgvector.Ids, pgvector.ids_dumper())
        cursor.execute(f"DELETE FROM {table} WHERE image = ANY(%s)", [pgvector.Ids(gone)])  # noqa: S608
    return kept, len(gone)


def _fits(matrix: np.ndarray, space: Space) -> bool:
    """Whether half precision can hold these vectors.

    Raises
    ------
    StoreError
        One of them is not finite.
    """
    largest = float(np.abs(matrix).max(initial=0.0))
    if not np.isfinite(largest):
        raise StoreError(f"{space.name} holds a vector that is not finite; recompute it with: micdb populate")
    return largest <= HALF and space.dim <= LONGEST


def _copy(connection: Connection, table: str, rows: decode.Rows) -> None:
    """Append rows by COPY in PostgreSQL's binary form, made from whole arrays."""
    dim = rows.matrix.shape[1]
    kind = [
        ("fields", ">i2"), ("a", ">i4"), ("image", ">i8"),
        ("b", ">i4"), ("dim", ">i2"), ("unused", ">i2"), ("vector", ">f4", (dim,)),
    ]  # fmt: skip
    driver: Any = connection.connection.driver_connection
    with (
        driver.cursor() as cursor,
        cursor.copy(f"COPY {table} (image, vector) FROM STDIN (FORMAT BINARY)") as copy,
    ):
        copy.write(b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0))
        for start in range(0, len(rows.images), _ROWS):
            images = rows.images[start : start + _ROWS]
            made = np.zeros(len(images), kind)
            made["fields"], made["a"], made["b"], made["dim"] = 2, 8, 4 + 4 * dim, dim
            made["image"], made["vector"] = images, rows.matrix[start : start + _ROWS]
            copy.write(made.tobytes())
        copy.write(struct.pack(">h", -1))


def _link(connection: Connection, table: str, space: Space, total: int) -> None:
    """Make the graph unless it is there; rows that come later are linked as they come."""
    need = total * (2 * space.dim + 16 * LINKS + 128) >> 20  # [MB]
    connection.execute(sa.text(f"SET LOCAL maintenance_work_mem = '{min(2048, max(64, 2 * need))}MB'"))
    connection.execute(
        sa.text(
            f"CREATE INDEX IF NOT EXISTS {table.partition('.')[2]}_hnsw ON {table} USING hnsw "
            f"((vector::halfvec({space.dim})) {_OPERATORS[space.metric]}) "
            f"WITH (m = {LINKS}, ef_construction = {TRIED})"
        )
    )


@contextmanager
def _told(engine: Engine) -> Iterator[None]:
    """Turn what the server says into an error of ours."""
    import psycopg

    try:
        yield
    except (sa.exc.DBAPIError, psycopg.Error) as error:
        said = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        raise CatalogError(
            f"{place(engine)} cannot keep vectors: {said}; nothing has changed. Making them needs the right "
            "to create the extension vector and a schema: ask whoever runs the server for "
            "CREATE EXTENSION vector, and for the right CREATE on the database"
        ) from error
