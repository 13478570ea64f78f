"""Parquet parts: the rows of one batch of images in one derived table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from micdb.errors import ContractError, StoreError

IMAGE = "image"  # column with the micrograph's pk; parts are sorted by it
ZSTD_LEVEL = 3  # 8.85 byte per atom row; level 9 saves 2 % and takes three times as long
ROW_GROUP = 1 << 17  # [row] the grain at which readers skip by the range of `image`


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
    pq.write_table(
        # The sort is stable: the rows of one image stay in the order the extractor gave them.
        table.sort_by([(IMAGE, "ascending")]),
        path,
        compression="zstd",
        compression_level=ZSTD_LEVEL,
        row_group_size=ROW_GROUP,
        use_dictionary=_leaves(table.schema, _is_text),
        use_byte_stream_split=_leaves(table.schema, pa.types.is_floating),
        sorting_columns=pq.SortingColumn.from_ordering(table.schema, [(IMAGE, "ascending")]),
    )


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
