from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from micdb.errors import ContractError, StoreError
from micdb.store.parts import read_columns, read_metadata, read_part, write_part

SCHEMA = pa.schema(
    [
        pa.field("run", pa.int64()),
        pa.field("image", pa.int64()),
        pa.field("x_nm", pa.float32()),
        pa.field("space", pa.string()),
        pa.field("vector", pa.list_(pa.float32())),
    ]
)
reals = st.floats(width=32, allow_nan=False)
rows = st.fixed_dictionaries(
    {
        "run": st.integers(1, 3),
        "image": st.integers(1, 9),
        "x_nm": st.none() | reals,
        "space": st.none() | st.text(max_size=3),
        "vector": st.lists(reals, max_size=3),
    }
)


@settings(max_examples=40, deadline=None)
@given(st.lists(rows, max_size=30))
def test_rows_come_back_sorted_by_image_in_their_order(tmp_path_factory, given_rows):
    path = tmp_path_factory.mktemp("part") / "part.parquet"
    write_part(path, pa.Table.from_pylist(given_rows, SCHEMA))
    back = read_part(path)
    assert back.schema.equals(SCHEMA)
    assert back.to_pylist() == sorted(given_rows, key=lambda row: row["image"])


def test_encodings_and_statistics(tmp_path):
    path = tmp_path / "part.parquet"
    write_part(
        path,
        pa.Table.from_pylist([{"run": 1, "image": 4, "x_nm": 1.0, "space": "a", "vector": [1.0]}], SCHEMA),
    )
    group = pq.read_metadata(path).row_group(0)
    columns = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
    assert all(column.compression == "ZSTD" for column in columns.values())
    assert "BYTE_STREAM_SPLIT" in columns["x_nm"].encodings
    assert "BYTE_STREAM_SPLIT" in columns["vector.list.element"].encodings
    assert columns["space"].has_dictionary_page
    assert (columns["image"].statistics.min, columns["image"].statistics.max) == (4, 4)


def test_floats_take_less_room_than_with_default_encodings(tmp_path):
    rng = np.random.default_rng(0)
    table = pa.table(
        {"image": np.repeat(np.arange(20), 1000), "x_nm": rng.normal(50, 9, 20_000).astype("f4")}
    )
    write_part(tmp_path / "ours.parquet", table)
    pq.write_table(table, tmp_path / "default.parquet")
    assert (tmp_path / "ours.parquet").stat().st_size < 0.9 * (tmp_path / "default.parquet").stat().st_size


def test_the_same_rows_give_the_same_bytes(tmp_path):
    table = pa.table({"image": [2, 1], "x_nm": [0.1, None]})
    write_part(tmp_path / "a.parquet", table)
    write_part(tmp_path / "b.parquet", table)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_columns_for_some_images(tmp_path):
    path = tmp_path / "part.parquet"
    write_part(path, pa.table({"image": [1, 2, 3], "frame": [0, 0, 1]}))
    table = read_columns(path, ["image", "run"], images=[2, 3])
    assert table.to_pydict() == {"image": [2, 3]}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"frame": [1]}, "needs the column 'image'"),
        ({"image": [1, None]}, "int64 without nulls; it is int64 with 1 nulls"),
        ({"image": ["a"]}, "it is string"),
    ],
)
def test_tables_without_sound_image_column_are_refused(tmp_path, table, message):
    with pytest.raises(ContractError, match=message):
        write_part(tmp_path / "part.parquet", pa.table(table))


def test_missing_and_damaged_parts(tmp_path):
    damaged = tmp_path / "damaged.parquet"
    damaged.write_bytes(b"PAR1 and nothing more")
    for read in (read_part, read_metadata, lambda path: read_columns(path, ["image"])):
        with pytest.raises(StoreError, match=r"gone.parquet is missing although the catalog names it"):
            read(tmp_path / "gone.parquet")
        with pytest.raises(StoreError, match=r"damaged.parquet is no readable Parquet file"):
            read(damaged)
