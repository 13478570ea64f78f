"""Vectors as embeddings have them, and catalogs that hold them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa

from micdb.populate.facts import FACTS
from micdb.query.context import Context
from micdb.query.search import vectors
from micdb.query.search.vectors import Space

make = SimpleNamespace(**run_path(str(Path(__file__).with_name("make.py"))))
NAME = "planted@1nm"


def clustered(n: int, dim: int, *, seed: int = 0, clusters: int = 40, spread: float = 0.7) -> np.ndarray:
    """Return a mixture of Gaussians of unequal weight, ``(n, dim)`` float32."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(99).standard_normal((clusters, dim))
    weights = 1 / np.arange(1, clusters + 1)
    label = random.choice(clusters, n, p=weights / weights.sum())
    return (centres[label] + spread * random.standard_normal((n, dim))).astype(np.float32)


def database(
    root: Path, matrix: np.ndarray, *, metric: str = "cosine", parts: int = 3
) -> tuple[Context, Space]:
    """Return a database whose images 1, 2, ... have the rows of a matrix, in several parts."""
    context = make.database(root)
    run = make.add_run(context, "planted", spaces=[(NAME, matrix.shape[1], 1.0, metric)])
    for some in np.array_split(np.arange(len(matrix)), parts):
        add(context, run, some + 1, matrix[some])
    (space,) = vectors.spaces(context, "planted")
    return context, space


def add(context: Context, run: int, images: Sequence[int] | np.ndarray, matrix: np.ndarray) -> Path:
    """Add a part with vectors of images; return its path."""
    return make.add_part(context, run, "embeddings", rows=table(images, matrix))


def table(images: Sequence[int] | np.ndarray, matrix: np.ndarray, name: str = NAME) -> pa.Table:
    """Return rows of ``embeddings``."""
    offsets = np.arange(0, matrix.size + 1, matrix.shape[1], dtype=np.int32)
    lists = pa.ListArray.from_arrays(offsets, np.ascontiguousarray(matrix).ravel())
    columns = {"image": np.asarray(images, np.int64), "space": [name] * len(matrix), "vector": lists}
    return pa.table(columns).cast(FACTS["embeddings"])


def truth(metric: str, query: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Return cosines or ``1 / (1 + distance)`` in float64, ``(n,)``."""
    rows, one = matrix.astype(np.float64), query.astype(np.float64)
    if metric == "euclidean":
        return 1 / (1 + np.linalg.norm(rows - one, axis=1))
    return rows @ one / (np.linalg.norm(rows, axis=1) * np.linalg.norm(one))
