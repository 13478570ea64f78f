"""Checks of what the parts hold against what the catalog says of them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa
from sqlalchemy import Row

from micdb.catalog.engine import reading
from micdb.catalog.results import embedding_space, part, rollup
from micdb.catalog.tables import micrograph, object_
from micdb.errors import StoreError
from micdb.fsck.report import Finding, Scope
from micdb.store.parts import read_columns, read_metadata

SAMPLE = 100  # images per run whose roll-ups are recomputed when not deep

Part = Row[Any]


def check_parts(scope: Scope) -> Iterator[Finding]:
    """Find parts whose number of rows (deep: range of images, run) is not what the catalog says."""
    for row in _parts(scope):
        path = scope.root / row.path
        if not path.is_file():
            continue
        try:
            rows = read_metadata(path).num_rows
            columns = read_columns(path, ["image", "run"]) if scope.deep and rows == row.rows else None
        except StoreError as error:
            yield Finding("error", "part-unreadable", row.path, str(error))
            continue
        if rows != row.rows:
            yield Finding("error", "part-rows", row.path, f"it has {rows} rows, the catalog says {row.rows}")
        if columns is not None and rows:
            yield from _check_columns(row, columns)


def check_embeddings(scope: Scope) -> Iterator[Finding]:
    """Deep only: find vectors of another length than their space has, and vectors of unknown spaces."""
    if not scope.deep:
        return
    with reading(scope.engine) as connection:
        query = sa.select(embedding_space.c.run_pk, embedding_space.c.name, embedding_space.c.dim)
        dims = {(run, name): dim for run, name, dim in connection.execute(query)}
    for row in _parts(scope, table="embeddings"):
        try:
            table = read_columns(scope.root / row.path, ["space", "vector"])
        except StoreError:  # reported already
            continue
        lengths = pa.table({"space": table["space"], "n": pc.list_value_length(table["vector"])})
        for found in lengths.group_by(["space", "n"]).aggregate([]).to_pylist():
            dim = dims.get((row.run_pk, found["space"]))
            if dim != found["n"]:
                said = f"has {dim}" if dim is not None else "is unknown to the catalog"
                message = f"vectors of length {found['n']} in the space {found['space']!r}, which {said}"
                yield Finding("error", "embedding-dim", row.path, message)


def check_rollups(scope: Scope) -> Iterator[Finding]:
    """Find images of one frame whose ``n_atoms`` is not the number of their rows in the atoms parts.

    Of a stack it is the mean over its frames, and some of those may have been refused.
    """
    with reading(scope.engine) as connection:
        query = (
            sa.select(rollup.c.run_pk, rollup.c.micrograph_pk, rollup.c.value)
            .join(micrograph, micrograph.c.pk == rollup.c.micrograph_pk)
            .where(rollup.c.name == "n_atoms", rollup.c.value.is_not(None), micrograph.c.n_frames == 1)
            .order_by(rollup.c.run_pk, rollup.c.micrograph_pk)
        )
        said: dict[int, dict[int, float]] = defaultdict(dict)
        for run, image, value in connection.execute(query):
            if scope.deep or len(said[run]) < SAMPLE:
                said[run][image] = value
    parts = _parts(scope, table="atoms") if said else []
    for run, values in said.items():
        found = _count_rows(scope.root, [row for row in parts if row.run_pk == run], sorted(values))
        for image, value in values.items():
            if found[image] not in (value, None):
                message = f"the roll-up says {value:g} atoms, the parts hold {found[image]}"
                yield Finding("error", "rollup", f"run {run}, micrograph {image}", message)


def _parts(scope: Scope, *, table: str | None = None) -> Sequence[Part]:
    """Return the live parts; those whose file is missing are reported with the objects."""
    query = (
        sa.select(part, object_.c.path)
        .join(object_, object_.c.pk == part.c.object_pk)
        .where(object_.c.state == "live")
        .order_by(part.c.pk)
    )
    if table is not None:
        query = query.where(part.c.table_name == table)
    with reading(scope.engine) as connection:
        return connection.execute(query).all()


def _check_columns(row: Part, columns: pa.Table) -> Iterator[Finding]:
    span = pc.min_max(columns["image"]).as_py()
    if (span["min"], span["max"]) != (row.min_image, row.max_image):
        message = (
            f"its images run from {span['min']} to {span['max']}, "
            f"the catalog says from {row.min_image} to {row.max_image}"
        )
        yield Finding("error", "part-range", row.path, message)
    if "run" in columns.column_names:
        runs = pc.unique(columns["run"]).to_pylist()
        if runs != [row.run_pk]:
            message = f"its rows are of runs {runs}, the catalog says {row.run_pk}"
            yield Finding("error", "part-run", row.path, message)


def _count_rows(root: Path, parts: Sequence[Part], images: Sequence[int]) -> dict[int, int | None]:
    """Return the number of rows of each image; None where a part that may hold some cannot be read."""
    counts: dict[int, int | None] = dict.fromkeys(images, 0)
    for row in parts:
        if row.max_image < images[0] or row.min_image > images[-1]:
            continue
        try:
            column = read_columns(root / row.path, ["image"], images=images)["image"]
        except StoreError:  # reported already
            counts |= {image: None for image in images if row.min_image <= image <= row.max_image}
            continue
        for image, count in Counter(column.to_pylist()).items():
            held = counts[image]
            counts[image] = None if held is None else held + count
    return counts
