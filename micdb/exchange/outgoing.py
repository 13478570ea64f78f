"""Rows and parts as a bundle has them: Parquet, named by uid and hash, local keys left at home."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path, PurePath
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import sqlalchemy as sa
from sqlalchemy import JSON, BigInteger, Boolean, Column, Connection, Float, Integer, Table

from micdb.catalog import results as r
from micdb.catalog import tables as t
from micdb.catalog.rows import id_list
from micdb.exchange.selection import ORDER, Selection
from micdb.exchange.shape import FINISHED, outer_name, reference
from micdb.store.parts import IMAGE, PartWriter, read_columns, read_metadata

T = TypeVar("T")

RUN = "run"  # column of a part beside `IMAGE`
ROWS = 20_000  # rows of a table that become one row group
IMAGES = 1_024  # images whose rows of one derived table make one part

# Parts as a bundle lists them; images lie between two, sorted by uid.
PART = pa.schema(
    [
        pa.field("uid", pa.string()),
        pa.field("run_uid", pa.string()),
        pa.field("object_sha256", pa.string()),
        pa.field("table_name", pa.string()),
        pa.field("rows", pa.int64()),
        pa.field("min_image_uid", pa.string()),
        pa.field("max_image_uid", pa.string()),
    ]
)

# What is only true at home, by table: not written.
_LOCAL = {
    "run_item": {"worker", "lease_until"},
    "object": {"pack_pk", "pack_offset", "expires_at", "state"},
    "micrograph": {"deleted_at"},
    "property_value": {"natural_key"},
}
# Places on somebody's disk: the name is enough.
_PLACES = {("source", "path"), ("property_value", "source_name")}


def columns_of(table: Table) -> list[Column[Any]]:
    """Return the columns of a table that travel."""
    skipped = {"pk", *_LOCAL.get(table.name, ())}
    return [column for column in table.columns if column.name not in skipped]


def write_tables(selection: Selection, folder: Path) -> dict[str, int]:
    """Write the selected rows of every table but parts and objects; return how many of each.

    Parameters
    ----------
    selection
        What travels.
    folder
        Where ``<table>.parquet`` goes.
    """
    counts, names = {}, _Names(selection)
    for table in ORDER:
        if table in (r.part, t.object_):
            continue
        rows = (_outer(table, dict(row), names) for row in selection.rows(table))
        count = write_rows(folder / f"{table.name}.parquet", schema_of(table), rows)
        if count:
            counts[table.name] = count
    return counts


def write_rows(path: Path, schema: pa.Schema, rows: Iterator[Mapping[str, Any]]) -> int:
    """Write rows as Parquet, a group at a time; no file where there is none. Return how many."""
    first = next(rows, None)
    if first is None:
        return 0
    count = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for group in grouped(chain((first,), rows), ROWS):
            writer.write_table(pa.Table.from_pylist(group, schema=schema))
            count += len(group)
    return count


def schema_of(table: Table) -> pa.Schema:
    """Return the columns of a table in a bundle, each with its unit and meaning."""
    return pa.schema(
        [
            pa.field(outer_name(column), _arrow(column), metadata=_explained(column))
            for column in columns_of(table)
        ]
    )


def write_parts(
    connection: Connection, root: Path, selection: Selection, write: Callable[[str], Path]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Write the derived rows of the selected images; yield name and catalog row of each part.

    Parameters
    ----------
    connection
        The transaction that the selection was made in.
    root
        Database folder.
    selection
        What travels.
    write
        Gives the path for a name, and makes its folder.
    """
    images, runs = selection.uids(t.micrograph), selection.uids(r.run)
    item = r.run_item.c
    for run_pk, run_uid in sorted(runs.items(), key=lambda pair: pair[1]):
        query = sa.select(item.micrograph_pk).where(item.run_pk == run_pk, item.status.in_(FINISHED))
        mine = query.where(item.micrograph_pk.in_(sa.select(id_list(connection, images).c.id)))
        looked = sorted(connection.execute(mine).scalars(), key=lambda pk: images[pk])
        for table_name, held in parts_of(connection, run_pk).items():
            for number, some in enumerate(grouped(looked, IMAGES)):
                rows = rows_of(root, held, some)
                if rows is None:
                    continue
                name = f"parts/{table_name}/{run_uid}-{number:04d}.parquet"
                named = renamed(rows, images, {run_pk: run_uid}, pa.string()).sort_by(IMAGE)
                with PartWriter(write(name), named.schema) as part:
                    part.write(named)
                yield name, {
                    "run_uid": run_uid, "table_name": table_name, "rows": named.num_rows,
                    "min_image_uid": images[some[0]], "max_image_uid": images[some[-1]],
                }  # fmt: skip


def grouped(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield items in lists of `size`, the last may be shorter."""
    left = iter(items)
    while group := list(islice(left, size)):
        yield group


def rows_of(root: Path, held: Sequence[sa.Row[Any]], images: Sequence[int]) -> pa.Table | None:
    """Return the rows of some images in parts of one run and table; None where there is none."""
    low, high, wanted, found = min(images), max(images), list(images), []
    for part in held:
        if part.max_image < low or part.min_image > high:
            continue
        path = root / part.path
        names = read_metadata(path).schema.to_arrow_schema().names
        rows = read_columns(path, names, images=wanted)
        if rows.num_rows:
            found.append(rows)
    return pa.concat_tables(found, promote_options="default") if found else None


def parts_of(connection: Connection, run_pk: int) -> dict[str, list[sa.Row[Any]]]:
    """Return the live parts of a run by table."""
    p, o = r.part.c, t.object_.c
    query = sa.select(p.table_name, p.min_image, p.max_image, o.path).join(t.object_, o.pk == p.object_pk)
    found: dict[str, list[Any]] = {}
    for row in connection.execute(query.where(p.run_pk == run_pk).order_by(p.table_name, p.pk)):
        found.setdefault(row.table_name, []).append(row)
    return found


def renamed(
    rows: pa.Table, images: Mapping[Any, Any], runs: Mapping[Any, Any], kind: pa.DataType
) -> pa.Table:
    """Return rows of a part with other names of its images and runs.

    Parameters
    ----------
    rows
        Of a part.
    images, runs
        The other name by the name in `rows`; one that is not there becomes NULL.
    kind
        Type of the other names: int64 for local keys, string for uids.
    """
    for column, names in ((IMAGE, images), (RUN, runs)):
        found = pc.dictionary_encode(rows[column].combine_chunks())
        others = pa.array([names.get(one) for one in found.dictionary.to_pylist()], kind)
        field = pa.field(column, kind, nullable=False)
        rows = rows.set_column(rows.schema.get_field_index(column), field, others.take(found.indices))
    return rows


class _Names:
    """What selected rows are called, looked up once for each table."""

    def __init__(self, selection: Selection) -> None:
        self._selection = selection
        self._known: dict[str, dict[int, str]] = {}

    def __call__(self, table: Table, pk: int | None) -> str | None:
        if pk is None:
            return None
        if table.name not in self._known:
            self._known[table.name] = self._selection.uids(table)
        return self._known[table.name].get(pk)


def _outer(table: Table, row: Mapping[str, Any], names: _Names) -> dict[str, Any]:
    """Return a row as a bundle has it."""
    made = {}
    for column in columns_of(table):
        value, target = row[column.name], reference(column)
        if target is not None:
            value = names(target, value)
        elif (table.name, column.name) in _PLACES:
            value = PurePath(value).name
        elif isinstance(column.type, JSON) and value is not None:
            value = json.dumps(value, ensure_ascii=False, sort_keys=True)
        made[outer_name(column)] = value
    return made


def _arrow(column: Column[Any]) -> pa.DataType:
    kind = column.type
    if column.foreign_keys or isinstance(kind, JSON):
        return pa.string()
    if isinstance(kind, Boolean):
        return pa.bool_()
    if isinstance(kind, Float):
        return pa.float64()
    return pa.int64() if isinstance(kind, Integer | BigInteger) else pa.string()


def _explained(column: Column[Any]) -> dict[str, str]:
    unit = column.info.get("unit")
    return {"meaning": str(column.comment), **({"unit": unit} if unit else {})}
