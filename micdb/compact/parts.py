"""Many small parts become few: merged by image, and exchanged in one transaction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy import Connection, Engine, Row

from micdb.catalog.engine import reading
from micdb.catalog.results import part
from micdb.catalog.rows import id_list, record
from micdb.catalog.tables import object_
from micdb.compact.merge import Source, merged
from micdb.compact.report import Budget, Watcher
from micdb.compact.retire import Overtaken, retire
from micdb.errors import StoreError
from micdb.provenance import uuid7
from micdb.publish import Staged, discard, publish, seal, stage
from micdb.store.files import part_path
from micdb.store.parts import IMAGE, PartWriter, read_metadata

AT_ONCE = 4096  # parts merged into one at most: their rows change in one short transaction


@dataclass(frozen=True, slots=True)
class _Written:
    """One merged part in staging."""

    file: Staged
    rows: int
    first: int
    last: int


def compact_parts(engine: Engine, root: Path, budget: Budget, watch: Watcher | None = None) -> list[str]:
    """Merge the small parts of each table of each run, as long as there are several.

    Readers see the same rows before and after, and those that hold the old files go on reading them: they are
    purged when their grace is over.

    Parameters
    ----------
    engine, root
        Catalog and folder of the database.
    budget
        Sizes.
    watch
        Called with ``parts``, how many groups are done, and how many there are.

    Returns
    -------
    list[str]
        What was left as it is although it is small, and why.
    """
    skipped: list[str] = []
    groups = list(_groups(_small(engine, budget), root, budget, skipped))
    for number, group in enumerate(groups, 1):
        try:
            _compact(engine, root, group, budget.memory)
        except Overtaken:  # another compaction was quicker
            skipped.append(
                f"{len(group)} parts of {group[0].table_name} were merged by somebody else meanwhile"
            )
        except StoreError as error:
            skipped.append(f"{len(group)} parts of {group[0].table_name}: {error}")
        if watch:
            watch("parts", number, len(groups))
    return skipped


def _small(engine: Engine, budget: Budget) -> Sequence[Row[Any]]:
    p, o = part.c, object_.c
    statement: sa.Select[Any] = (
        sa.select(p.pk, p.run_pk, p.table_name, p.rows, p.min_image, p.object_pk, o.path, o.size)
        .join(object_, o.pk == p.object_pk)
        .where(o.state == "live", o.size < -(-budget.part // 2), p.rows > 0)
        .order_by(p.run_pk, p.table_name, p.min_image, p.pk)
    )
    with reading(engine) as connection:
        return connection.execute(statement).all()


def _groups(
    small: Sequence[Row[Any]], root: Path, budget: Budget, skipped: list[str]
) -> Iterator[list[Row[Any]]]:
    """Yield neighbours that make one part: of one run, one table and one schema, about `budget.part` long."""
    for _, one_table in groupby(small, key=lambda row: (row.run_pk, row.table_name)):
        group: list[Row[Any]] = []
        schema: pa.Schema | None = None
        size = 0
        for row in one_table:
            try:
                its = _schema(root / row.path)
            except StoreError as error:
                skipped.append(str(error))
                continue
            if group and (size >= budget.part or len(group) == AT_ONCE or its != schema):
                if len(group) > 1:
                    yield group
                group, size = [], 0
            group.append(row)
            schema, size = its, size + row.size
        if len(group) > 1:
            yield group


def _schema(path: Path) -> pa.Schema:
    return read_metadata(path).schema.to_arrow_schema().remove_metadata()


def _compact(engine: Engine, root: Path, group: Sequence[Row[Any]], memory: int) -> None:
    with ExitStack() as unpublished:
        written = _write(root, sorted(group, key=lambda row: int(row.pk)), memory, unpublished)
        rows, promised = sum(one.rows for one in written), sum(row.rows for row in group)
        if rows != promised:
            raise StoreError(f"they hold {rows} rows, the catalog says {promised}; see: micdb fsck --deep")
        if len(written) >= len(group):
            raise StoreError("too little memory to join them; allow more with --memory")

        def commit(connection: Connection, objects: Mapping[str, int]) -> None:
            _exchange(connection, group, written, objects)

        publish(engine, root, [one.file for one in written], commit)


def _write(root: Path, group: Sequence[Row[Any]], memory: int, unpublished: ExitStack) -> list[_Written]:
    """Write the rows of a group to staging, to one file unless memory is short."""
    written: list[_Written] = []
    target = partial(_target, group[0].table_name)
    stretches = merged([Source(root / row.path, row.min_image) for row in group], memory)
    for stretch in stretches:
        path = stage(root, ".parquet")
        unpublished.callback(discard, root, [path])
        first, last, rows = int(stretch.rows[IMAGE][0].as_py()), 0, 0
        with PartWriter(path, stretch.rows.schema) as writer:
            while True:
                writer.write(stretch.rows)
                rows, last = rows + len(stretch.rows), int(stretch.rows[IMAGE][-1].as_py())
                if stretch.last:
                    break
                stretch = next(stretches)  # noqa: PLW2901  # a stream ends with a last stretch
        written.append(_Written(seal(path, target), rows, first, last))
    return written


def _target(table: str, _sha256: str) -> str:
    return part_path(table, uuid7())


def _exchange(
    connection: Connection, group: Sequence[Row[Any]], written: Sequence[_Written], objects: Mapping[str, int]
) -> None:
    """Put the new parts in the place of the old ones.

    Raises
    ------
    Overtaken
        An old part is not there any more.
    """
    old = [row.pk for row in group]
    there = sa.select(part.c.pk).where(part.c.pk.in_(sa.select(id_list(connection, old).c.id)))
    if len(connection.execute(there).all()) != len(old):
        raise Overtaken
    first = group[0]
    # New ones before the old ones go: the newest key grows, by which caches know that they are old.
    for one in written:
        row = {
            "uid": uuid7(),
            "run_pk": first.run_pk,
            "object_pk": objects[one.file.sha256],
            "table_name": first.table_name,
            "rows": one.rows,
            "min_image": one.first,
            "max_image": one.last,
        }
        connection.execute(part.insert(), row)
    connection.execute(part.delete().where(part.c.pk.in_(sa.select(id_list(connection, old).c.id))))
    retire(connection, [row.object_pk for row in group])
    detail = {"table": first.table_name, "run": first.run_pk, "parts": len(old), "became": len(written)}
    record(connection, "compact", "part", detail=detail)
