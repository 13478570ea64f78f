"""Parquet parts: the rows of one batch of images in one derived table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq

from micdb.errors import ContractError, StoreError

IMAGE = "image"  # column with the micrograph's pk; parts are sorted by it
ZSTD_LEVEL = 3  # 8.85 byte per atom row; level 9 saves 2 % and takes three times as long
ROW_GROUP = 1 << 17  # [row] the grain at which readers skip by the range of `image`
GROUP_BYTES = 1 << 24  # [byte] of rows in memory: of long vectors fewer rows make a group


def write_part(path: Path, table: pa.Table) -> None:
    """Write rows sorted by image: zstd, floats split by byte, text by dictionary, statistics throughout.

    Parameters
    ----------
    path
        File to write; an existing one is replaced.
    table
        Rows with an integer column ``image`` without nulls.

    Raises
    ------
    ContractError
        The column ``image`` is missing, is not integer, or holds nulls.

    References
    ----------
    Apache Parquet format, encoding BYTE_STREAM_SPLIT.
    """
    _check_image(table)
    with PartWriter(path, table.schema) as part:
        # The sort is stable: the rows of one image stay in the order the extractor gave them.
        part.write(table.sort_by([(IMAGE, "ascending")]))


class PartWriter:
    """Writes a part whose rows come sorted by image, piece by piece; use it as a context manager.

    No more than one row group is kept in memory.

    Parameters
    ----------
    path
        File to write; an existing one is replaced.
    schema
        Of the rows.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._schema = schema
        self._waiting: list[pa.Table] = []
        self._writer = pq.ParquetWriter(
            path,
            schema,
            compression="zstd",
            compression_level=ZSTD_LEVEL,
            use_dictionary=_leaves(schema, _is_text),
            use_byte_stream_split=_leaves(schema, pa.types.is_floating),
            sorting_columns=pq.SortingColumn.from_ordering(schema, [(IMAGE, "ascending")]),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._flush(all_=True)
        finally:
            self._writer.close()

    def write(self, table: pa.Table) -> None:
        """Add rows; none is of a smaller image than those before."""
        self._waiting.append(table)
        self._flush(all_=False)

    def _flush(self, *, all_: bool) -> None:
        rows, held = sum(map(len, self._waiting)), sum(table.nbytes for table in self._waiting)
        group = min(ROW_GROUP, max(1, GROUP_BYTES * rows // held)) if held else ROW_GROUP
        if not all_ and rows < group:
            return
        table = pa.concat_tables(self._waiting) if self._waiting else self._schema.empty_table()
        end = rows if all_ else rows - rows % group
        if end:
            self._writer.write_table(table.slice(0, end), row_group_size=group)
        self._waiting = [table.slice(end)] if end < rows else []


def read_part(path: Path) -> pa.Table:
    """Return all rows of a part.

    Raises
    ------
    StoreError
        The file is missing or damaged.
    """
    try:
        return pq.read_table(path, partitioning=None)
    except (OSError, pa.ArrowException) as error:
        raise _damaged(path, error) from error


def read_columns(path: Path, columns: Sequence[str], *, images: Sequence[int] | None = None) -> pa.Table:
    """Return those of the named columns that the part has, for all images or for some.

    Raises
    ------
    StoreError
        The file is missing or damaged.
    """
    try:
        present = [name for name in columns if name in pq.read_schema(path).names]
        chosen = None if images is None else [(IMAGE, "in", list(images))]
        return pq.read_table(path, columns=present, filters=chosen, partitioning=None)
    except (OSError, pa.ArrowException) as error:
        raise _damaged(path, error) from error


def read_metadata(path: Path) -> pq.FileMetaData:
    """Return the footer of a part: number of rows, schema, ranges; no rows are read.

    Raises
    ------
    StoreError
        The file is missing or damaged.
    """
    try:
        return pq.read_metadata(path)
    except (OSError, pa.ArrowException) as error:
        raise _damaged(path, error) from error


def _check_image(table: pa.Table) -> None:
    if IMAGE not in table.column_names:
        raise ContractError(f"a part needs the column 'image'; this table has {table.column_names}")
    column = table.column(IMAGE)
    if not pa.types.is_integer(column.type) or column.null_count:
        raise ContractError(
            f"the column 'image' of a part must be int64 without nulls; it is {column.type} "
            f"with {column.null_count} nulls"
        )


def _leaves(schema: pa.Schema, wanted: Callable[[pa.DataType], bool]) -> list[str]:
    """Return the Parquet names of the leaf columns whose type satisfies `wanted`."""
    return [name for field in schema for name, kind in _leaf(field.name, field.type) if wanted(kind)]


def _leaf(name: str, kind: pa.DataType) -> list[tuple[str, pa.DataType]]:
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _leaf(f"{name}.list.element", kind.value_type)
    if pa.types.is_struct(kind):
        return [leaf for field in kind for leaf in _leaf(f"{name}.{field.name}", field.type)]
    return [(name, kind)]


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _damaged(path: Path, error: Exception) -> StoreError:
    if not path.is_file():
        return StoreError(f"{path} is missing although the catalog names it; see: micdb fsck --deep")
    return StoreError(f"{path} is no readable Parquet file ({error}); see: micdb fsck --deep")
