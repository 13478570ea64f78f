"""Vectors of images in PostgreSQL: derived tables of the extension `pgvector`, and searches in them.

One table per space, ``micdb_index.vector_<number of the space>``, with the vectors as the parts have them
and, over half-precision copies, an HNSW graph (Y. Malkov and D. Yashunin, IEEE Trans. Pattern Anal. Mach.
Intell. 42, 824, 2020). `fill` brings it in step with the parts, whose uids are its water-mark.

A filter travels as one array of images. Where few images match, all of them are compared, through the
primary key. Else the graph gives the nearest of all images, so many that enough matches should be among
them; if they are not, because the filter leaves what is far from the query, all matches are compared after
all. pgvector can filter while it walks, but then returns what it happens to meet: where the farther half of
100,000 vectors matched it found 1 of the true 10 (``benchmarks/pgvector.py``, "own filter"). Walks longer
than ``hnsw.ef_search`` need ``hnsw.iterative_scan``, new in pgvector 0.8; earlier versions stop short without
a word. More is fetched than is wanted, and what decides is the similarity in float64, as everywhere.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from micdb.catalog.engine import reading
from micdb.catalog.results import embedding_space
from micdb.errors import UsageError
from micdb.query.context import Context
from micdb.query.search import decode, scan
from micdb.query.search.vectors import TABLE, Space
from micdb.store.files import PARTS

SCHEMA = "micdb_index"  # apart from the catalog: it can be dropped at any time
OLDEST = (0, 8)  # of pgvector
FEW = 10_000  # matches up to which all are compared; measured by benchmarks/pgvector.py
LONGEST = 5_000  # images that a walk gives at most; beyond it comparing all matches is as quick
FETCHED = 4  # rows fetched for each wanted one, since half precision may swap neighbours
TRIED = 200  # nodes kept in mind at least (``hnsw.ef_search``)
MOST_TRIED = 1000  # its upper limit
NAME = "pgvector"  # as a kind of index
_MEND = "bring them in step with: micdb index --kind pgvector (where the files are)"
OPERATORS = {"cosine": "<=>", "euclidean": "<->"}
_known: dict[tuple[str, str, str], np.ndarray] = {}


@dataclass(frozen=True, slots=True)
class Answer:
    """The nearest images in one space, best first.

    Parameters
    ----------
    images
        ``(m,)`` int64, m = min(k, matches).
    similarity
        Cosine or ``1 / (1 + distance)``, ``(m,)`` float64.
    inside
        Those of the images asked for that have a vector in the table, ``(n,)`` int64.
    path
        How they were found, for ``explain()``.
    """

    images: np.ndarray
    similarity: np.ndarray
    inside: np.ndarray
    path: str


class Ids(NamedTuple):
    """Keys of images as one parameter of a statement."""

    images: np.ndarray


@dataclass(frozen=True, slots=True)
class Mark:
    """What is in the table of a space.

    Parameters
    ----------
    table
        Its name, with the schema.
    parts
        ``uid`` of the parts in it: its water-mark.
    indexed
        Whether there is a graph over it.
    filled
        Changes whenever rows do.
    """

    table: str
    parts: frozenset[str]
    indexed: bool
    filled: str


def check_server(engine: Engine) -> None:
    """Refuse a catalog that cannot search vectors itself.

    Raises
    ------
    UsageError
        It is not on PostgreSQL, or the server has no pgvector, or one that loses matches under filters.
    """
    if engine.dialect.name != "postgresql":
        raise UsageError("pgvector is an extension of PostgreSQL; this catalog is a SQLite file")
    with reading(engine) as connection:
        version = connection.execute(
            sa.text(
                "SELECT coalesce((SELECT extversion FROM pg_extension WHERE extname = 'vector'),"
                " (SELECT default_version FROM pg_available_extensions WHERE name = 'vector'))"
            )
        ).scalar()
    if version is None:
        raise UsageError("the server has no extension vector; whoever runs it installs pgvector 0.8 or newer")
    if not _is_enough(version):
        raise UsageError(
            f"the server has pgvector {version}, micdb needs 0.8 or newer: earlier ones lose matches when "
            "the search is filtered; ask whoever runs it to upgrade, then: ALTER EXTENSION vector UPDATE"
        )


def mark(context: Context, space: Space) -> Mark | None:
    """Return what the table of a space holds; None where there is no table that may be searched."""
    if context.engine.dialect.name != "postgresql":
        return None
    with reading(context.engine) as connection:
        return read_mark(connection, space)


def read_mark(connection: Connection, space: Space) -> Mark | None:
    """Return what `mark` does, within a transaction on PostgreSQL."""
    version = connection.execute(
        sa.text("SELECT extversion FROM pg_extension WHERE extname = 'vector'")
    ).scalar()
    known = connection.execute(sa.text(f"SELECT to_regclass('{SCHEMA}.mark') IS NOT NULL")).scalar()
    if version is None or not _is_enough(version) or not known:
        return None
    number = space_number(connection, space)
    row = connection.execute(
        sa.text(f"SELECT parts, indexed, filled FROM {SCHEMA}.mark WHERE space = :number"),  # noqa: S608
        {"number": number},
    ).one_or_none()
    return (
        None
        if row is None
        else Mark(f"{SCHEMA}.vector_{number}", frozenset(row.parts), row.indexed, row.filled)
    )


def space_number(connection: Connection, space: Space) -> int:
    """Return the key of a space in the catalog."""
    c = embedding_space.c
    return int(
        connection.execute(sa.select(c.pk).where(c.run_pk == space.run, c.name == space.name)).scalar_one()
    )


def in_step(context: Context, space: Space, held: Mark) -> bool:
    """Whether a table holds exactly the live parts."""
    live = {one.uid for one in decode.state(context, space.run, TABLE).parts}
    return live == held.parts


def search(context: Context, space: Space, query: np.ndarray, images: np.ndarray, *, k: int) -> Answer | None:
    """Return the images whose vectors are nearest, among some; None where the table cannot tell.

    Parameters
    ----------
    context
        Surroundings of the query.
    space
        Which vectors.
    query
        ``(dim,)`` float32; not zero where the metric is cosine.
    images
        ``pk`` of the micrographs that passed the filter, ascending and distinct, ``(n,)`` int64.
    k
        How many are wanted, at least 1.

    Returns
    -------
    Answer or None
        None where the space has no table, the extension is too old, or parts were added or removed since
        `micdb.query.search.pgvector_table.fill`.
    """
    held = mark(context, space)
    if held is None or not in_step(context, space, held):
        return None
    return ask(context.engine, space, held, query, images, k=k)


def ask(
    engine: Engine,
    space: Space,
    held: Mark,
    query: np.ndarray,
    images: np.ndarray,
    *,
    k: int,
    few: int = FEW,
) -> Answer:
    """Search one table; parameters are those of `search`, and `few`, up to which all matches are compared."""
    wanted = FETCHED * k
    with _cursor(engine) as cursor:
        every = _images(cursor, engine, held)
        inside = _present(images, every)
        only = None if len(inside) == len(every) else inside
        steps = round(2 * wanted * len(every) / max(1, len(inside)))  # twice what an unrelated filter needs
        walked = held.indexed and len(inside) > max(few, wanted) and steps <= LONGEST
        rows = _walk(cursor, space, held, query, only=only, steps=steps) if walked else []
        if len(rows) < wanted:
            walked = False
            rows = _compare(cursor, space, held, query, only=only, wanted=wanted)
    found = np.array([row[0] for row in rows], np.int64)
    like = scan.similarity(space.metric, query, _matrix([row[1] for row in rows], space.dim))
    best = np.lexsort((found, -like))[:k]
    how = "HNSW, iterative scan" if walked else "exact"
    return Answer(found[best], like[best], inside, f"pgvector ({how})")


def chosen(context: Context, kind: str | None = None) -> bool:
    """Whether a search goes by the server: where it is named, or the files are not on this machine.

    Files that are here are quicker at every filter (``benchmarks/pgvector.py``).

    Parameters
    ----------
    context
        Surroundings of the query.
    kind
        Index that was asked for, or None.
    """
    if kind is not None or context.engine.dialect.name != "postgresql":
        return kind == NAME
    return not (context.root / PARTS / TABLE).is_dir() and _has_tables(context.engine)


def require(context: Context, space: Space, query: np.ndarray, images: np.ndarray, *, k: int) -> Answer:
    """Return what `search` does.

    Raises
    ------
    UsageError
        The catalog is not on PostgreSQL, its pgvector is missing or too old, or the table is not in step.
    """
    check_server(context.engine)
    answer = search(context, space, query, images, k=k)
    if answer is None:
        raise UsageError(f"the vectors of {space.name} on the server are not those of today: {_MEND}")
    return answer


def load(context: Context, space: Space, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the images that have a vector in the table, ascending, and the vectors ``(m, dim)`` float32.

    Raises
    ------
    UsageError
        There is no table, or it is not in step.
    """
    held = mark(context, space)
    if held is None or not in_step(context, space, held):
        raise UsageError(f"the vectors of {space.name} on the server are not those of today: {_MEND}")
    with _cursor(context.engine) as cursor:
        rows = cursor.execute(
            f"SELECT image, vector FROM {held.table} WHERE image = ANY(%s) ORDER BY image",  # noqa: S608
            [Ids(images)],
        ).fetchall()
    return np.array([row[0] for row in rows], np.int64), _matrix([row[1] for row in rows], space.dim)


def _has_tables(engine: Engine) -> bool:
    with reading(engine) as connection:
        return bool(connection.execute(sa.text(f"SELECT to_regclass('{SCHEMA}.mark') IS NOT NULL")).scalar())


def _is_enough(version: str) -> bool:
    return tuple(int(part) for part in version.split(".")[:2]) >= OLDEST


def _walk(
    cursor: Any, space: Space, held: Mark, query: np.ndarray, *, only: np.ndarray | None, steps: int
) -> list[Any]:
    """Return image and vector of those among the nearest images of all that match."""
    cursor.execute(
        "SELECT set_config('hnsw.iterative_scan', 'strict_order', true), "
        "set_config('hnsw.ef_search', %s, true), set_config('hnsw.max_scan_tuples', %s, true), "
        "set_config('enable_sort', 'off', true)",  # the server would rather sort the whole table
        [str(min(MOST_TRIED, max(TRIED, steps))), str(100 * steps)],
    )
    half = f"halfvec({space.dim})"
    matching, values = ("", []) if only is None else (" WHERE image = ANY(%s)", [Ids(only)])
    cursor.execute(
        f"SELECT image, vector FROM (SELECT image, vector FROM {held.table} "  # noqa: S608
        f"ORDER BY vector::{half} {OPERATORS[space.metric]} %s::{half} LIMIT %s) AS nearest{matching}",
        [_text(query), steps, *values],
    )
    return list(cursor.fetchall())


def _compare(
    cursor: Any, space: Space, held: Mark, query: np.ndarray, *, only: np.ndarray | None, wanted: int
) -> list[Any]:
    """Return image and vector of the nearest matches, comparing all of them."""
    cursor.execute("SET LOCAL enable_sort = on")
    distance = f"vector {OPERATORS[space.metric]} %s::vector"
    if space.metric == "cosine":  # a zero vector is like nothing: its cosine is 0, not unknown
        distance = f"coalesce(nullif({distance}, 'NaN'), 1)"
    matching, values = ("", []) if only is None else ("WHERE image = ANY(%s) ", [Ids(only)])
    cursor.execute(
        f"SELECT image, vector FROM {held.table} {matching}ORDER BY {distance}, image LIMIT %s",  # noqa: S608
        [*values, _text(query), wanted],
    )
    return list(cursor.fetchall())


def _present(images: np.ndarray, every: np.ndarray) -> np.ndarray:
    """Return which of some images are among others, both ascending and distinct."""
    place = np.searchsorted(every, images)
    place[place == len(every)] = 0
    return images[every[place] == images] if len(every) else images[:0]


def _images(cursor: Any, engine: Engine, held: Mark) -> np.ndarray:
    """Return the images in a table, ascending; asked for once for each state of it."""
    key = (str(engine.url), held.table, held.filled)
    if key not in _known:
        cursor.execute(f"SELECT image FROM {held.table} ORDER BY image")  # noqa: S608
        for old in [one for one in _known if one[:2] == key[:2]]:
            del _known[old]
        _known[key] = np.array([image for (image,) in cursor.fetchall()], np.int64)
    return _known[key]


@contextmanager
def _cursor(engine: Engine) -> Iterator[Any]:
    """Open a reading transaction with a cursor of the driver that moves arrays as they are."""
    with reading(engine) as connection:
        driver: Any = connection.connection.driver_connection
        with driver.cursor(binary=True) as cursor:
            cursor.adapters.register_dumper(Ids, ids_dumper())
            yield cursor


@cache
def ids_dumper() -> Any:
    """Return what writes `Ids` as PostgreSQL's binary form of an array of 64-bit numbers, all at once."""
    from psycopg.adapt import Dumper
    from psycopg.pq import Format

    class Binary(Dumper):
        format = Format.BINARY
        oid = 1016  # bigint[]

        def dump(self, obj: Ids) -> bytes:
            made = np.empty(len(obj.images), [("length", ">i4"), ("value", ">i8")])
            made["length"], made["value"] = 8, obj.images
            return struct.pack(">iiiii", 1, 0, 20, len(obj.images), 1) + made.tobytes()

    return Binary


def _text(vector: np.ndarray) -> str:
    return "[" + ",".join(map(repr, vector.astype(float).tolist())) + "]"


def _matrix(blobs: list[bytes], dim: int) -> np.ndarray:
    """Return vectors from their binary form: two numbers of 16 bit, then float32, all big-endian."""
    made = np.frombuffer(b"".join(blobs), [("head", ">i2", (2,)), ("numbers", ">f4", (dim,))])
    return made["numbers"].astype(np.float32)
