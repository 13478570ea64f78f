"""Checks of indexes: whole, of this database, and in step with the parts they were made from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.compute as pc
import sqlalchemy as sa

from micdb.catalog.engine import reading
from micdb.catalog.results import embedding_space, part, run
from micdb.catalog.tables import event, object_
from micdb.errors import StoreError
from micdb.fsck.report import Finding, Scope
from micdb.store.indexes import INDEXES, SUFFIX, VECTORS, IndexFile, read_index
from micdb.store.parts import read_columns


class _Part(NamedTuple):
    path: Path
    rows: int


class _Known(NamedTuple):
    """What the catalog says of all indexes."""

    spaces: Mapping[tuple[str, str], int]  # run's uid, space -> dimension
    parts: Mapping[str, _Part]  # uid -> live part
    newest: int  # event


def check_indexes(scope: Scope) -> Iterator[Finding]:
    """Find indexes that are damaged, of no run here, ahead of the catalog, or of other counts than the parts.

    Nothing is lost by them: searches leave such an index aside. Repair removes it.
    """
    files = sorted((scope.root / INDEXES).glob(f"*{SUFFIX}"))
    if not files:
        return
    known = _known(scope)
    for path in files:
        trouble = _trouble(path, known, deep=scope.deep)
        if trouble is not None:
            code, what = trouble
            name = path.relative_to(scope.root).as_posix()
            mend = "remove it with: micdb fsck --repair, make it again with: micdb index"
            found = Finding("warning", code, name, f"{what}; searches leave it aside; {mend}")
            if scope.repair:
                path.unlink(missing_ok=True)
                found = found.mended()
            yield found


def _known(scope: Scope) -> _Known:
    spaces = sa.select(run.c.uid, embedding_space.c.name, embedding_space.c.dim).join(
        run, run.c.pk == embedding_space.c.run_pk
    )
    parts = (
        sa.select(part.c.uid, object_.c.path, part.c.rows)
        .join(object_, object_.c.pk == part.c.object_pk)
        .where(object_.c.state == "live")
    )
    with reading(scope.engine) as connection:
        return _Known(
            {(uid, name): dim for uid, name, dim in connection.execute(spaces)},
            {uid: _Part(scope.root / path, rows) for uid, path, rows in connection.execute(parts)},
            int(connection.scalar(sa.select(sa.func.max(event.c.seq))) or 0),
        )


def _trouble(path: Path, known: _Known, *, deep: bool) -> tuple[str, str] | None:
    """Return code and description of what is wrong with an index."""
    try:
        file = read_index(path, unchecked=() if deep else (VECTORS, "index"))
    except StoreError as error:
        return "index-damaged", str(error).partition("; it is derived")[0]
    about = file.about
    dim = known.spaces.get((about["run"], about["space"]))
    if dim is None:
        return "index-foreign", f"it is of the space {about['space']!r} of a run that is not in this database"
    if dim != about["dim"]:
        return (
            "index-foreign",
            f"its vectors have length {about['dim']}, the space {about['space']} has {dim}",
        )
    if about["seq"] > known.newest:
        return "index-ahead", (
            f"it contains event {about['seq']} and the newest here is {known.newest}: "
            "the catalog is older than the index"
        )
    return None if VECTORS not in file.arrays else _miscounted(file, known, deep=deep)


def _miscounted(file: IndexFile, known: _Known, *, deep: bool) -> tuple[str, str] | None:
    """Compare the rows of each part in the water-mark; compacted ones are not known any more."""
    mark: list[str] = json.loads(file.arrays["mark"].tobytes())
    held = np.bincount(file.arrays["part"], minlength=len(mark)).tolist()
    if len(held) > len(mark):
        return "index-count", "it has rows of parts that are not in its water-mark"
    seen: np.ndarray | None = np.empty(0, np.int64)  # images of earlier parts, which count there
    for uid, count in zip(mark, held, strict=True):
        one = known.parts.get(uid)
        images = None if one is None or not deep else _images(one, file.about)
        expected = None if images is None or seen is None else int((~np.isin(images, seen)).sum())
        if one is not None and (count > one.rows or expected not in (None, count)):
            has = one.rows if expected is None else expected
            return "index-count", f"it has {count} vectors of the part {uid}, which has {has}"
        seen = None if images is None or seen is None else np.concatenate([seen, images])
    return None


def _images(one: _Part, about: Mapping[str, Any]) -> np.ndarray | None:
    """Return the image of each vector in a part; None where it is damaged, which its own check reports."""
    try:
        table = read_columns(one.path, ["image", "space"])
    except StoreError:
        return None
    found: np.ndarray = table.filter(pc.equal(table["space"], about["space"]))["image"].to_numpy()
    return found
