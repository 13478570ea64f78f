"""Vectors as an embedding gives them, and a database that holds them, for the benchmarks of searches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

import micdb
from micdb.catalog.engine import writing
from micdb.catalog.results import current_run, embedding_space, model, part, run
from micdb.catalog.rows import add
from micdb.catalog.tables import object_
from micdb.database import Database
from micdb.populate.facts import EMBEDDINGS
from micdb.provenance import file_hash, now, uuid7
from micdb.store.parts import write_part

SPACE = "bench@1nm"
_BATCH = 50_000  # rows of a part


def mixture(rows: int, dim: int, queries: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return stored vectors and held-out queries of one distribution, of length 1, float32.

    A thousand clusters of unequal weight, whose centres lie in 64 dimensions; inside a cluster 48 directions
    scatter 1.3 times as far as the centres do from one another, and every dimension a little.
    """
    random = np.random.default_rng(seed)
    clusters, rank, total = 1000, 48, rows + queries
    basis = random.standard_normal((64, dim)).astype(np.float32) / 8
    centres = random.standard_normal((clusters, 64)).astype(np.float32) @ basis
    centres += 0.3 * random.standard_normal(centres.shape).astype(np.float32)
    weights = np.arange(1, clusters + 1) ** -0.7
    label = random.choice(clusters, total, p=weights / weights.sum())
    shapes = random.standard_normal((32, rank, dim)).astype(np.float32) / rank**0.5
    made = np.empty((total, dim), np.float32)
    for cluster in range(clusters):
        mine = np.flatnonzero(label == cluster)
        inner = random.standard_normal((len(mine), rank)).astype(np.float32) @ shapes[cluster % 32]
        noise = random.standard_normal((len(mine), dim)).astype(np.float32)
        made[mine] = centres[cluster] + 1.3 * inner + 0.5 * noise
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    order = random.permutation(total)
    return made[order[:rows]], made[order[rows:]]


def database(folder: Path, stored: np.ndarray) -> Database:
    """Return a new database in which image 1, 2, ... has the rows of a matrix as its vectors."""
    base = micdb.init(folder)
    with writing(base.engine) as connection:
        card = add(connection, model, {"name": "bench", "version": "1", "model_hash": "0" * 64, "card": {}})
        plain = {"parameters": {}, "software": {}, "device": "cpu", "created_at": now(), "actor": "bench"}
        key = add(connection, run, {"model_pk": card, "run_key": "0" * 64, **plain})
        connection.execute(current_run.insert(), {"analysis": "bench", "run_pk": key})
        space = {
            "run_pk": key,
            "name": SPACE,
            "dim": stored.shape[1],
            "nm_per_pixel": 1.0,
            "metric": "cosine",
        }
        connection.execute(embedding_space.insert(), space)
    for start in range(0, len(stored), _BATCH):
        _add_part(base, key, start, stored[start : start + _BATCH])
    return base


def _add_part(base: Database, run_pk: int, start: int, block: np.ndarray) -> None:
    images = np.arange(start + 1, start + 1 + len(block))
    offsets = np.arange(0, block.size + 1, block.shape[1], dtype=np.int32)
    lists = pa.ListArray.from_arrays(offsets, block.ravel())
    table = pa.table({"image": images, "space": [SPACE] * len(block), "vector": lists}).cast(EMBEDDINGS)
    uid = uuid7()
    name = f"parts/embeddings/{uid}.parquet"
    path = base.root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    write_part(path, table.add_column(0, "run", [np.full(len(block), run_pk)]))
    with writing(base.engine) as connection:
        file = {"sha256": file_hash(path), "path": name, "size": path.stat().st_size, "state": "live"}
        held = {**file, "media_type": "application/vnd.apache.parquet", "created_at": now()}
        key = connection.execute(object_.insert().returning(object_.c.pk), held).scalar_one()
        row = {"run_pk": run_pk, "object_pk": key, "table_name": "embeddings", "rows": len(block)}
        add(connection, part, {**row, "min_image": int(images[0]), "max_image": int(images[-1])})
