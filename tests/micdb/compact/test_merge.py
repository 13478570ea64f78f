"""The merge against planted rows: sorted, complete, in order, bounded."""

from __future__ import annotations

import itertools
from collections import defaultdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from micdb.compact.merge import Source, merged
from micdb.errors import StoreError
from micdb.store.parts import read_metadata, write_part

COUNT = itertools.count()


def write(folder: Path, images: dict[int, int], *, group: int) -> Source:
    """Write a part with that many rows of each image; `value` numbers them as an extractor gave them."""
    columns = {
        "run": pa.array([1] * sum(images.values()), pa.int64()),
        "image": [image for image, rows in images.items() for _ in range(rows)],
        "value": [f"{image}:{row}" for image, rows in images.items() for row in range(rows)],
    }
    path = folder / f"{next(COUNT)}.parquet"
    table = pa.table(columns).sort_by("image")
    pq.write_table(table, path, row_group_size=group)
    return Source(path, min(images))


def streams(sources: list[Source], memory: int) -> list[list[pa.Table]]:
    found: list[list[pa.Table]] = [[]]
    for stretch in merged(sources, memory):
        found[-1].append(stretch.rows)
        if stretch.last:
            found.append([])
    assert found.pop() == [], "the last stretch says that it is the last"
    return found


@st.composite
def parts(draw) -> list[dict[int, int]]:
    """Some images shared out among parts, each with some rows."""
    images = draw(st.lists(st.integers(1, 300), min_size=1, max_size=40, unique=True))
    owners = draw(st.lists(st.integers(0, 5), min_size=len(images), max_size=len(images)))
    rows = draw(st.lists(st.integers(1, 30), min_size=len(images), max_size=len(images)))
    shared: dict[int, dict[int, int]] = defaultdict(dict)
    for image, owner, count in zip(images, owners, rows, strict=True):
        shared[owner][image] = count
    return list(shared.values())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(planted=parts(), group=st.integers(1, 40), memory=st.sampled_from([1, 2_000, 20_000, 1 << 30]))
def test_every_row_comes_once_sorted_and_in_order(tmp_path, planted, group, memory):
    found = streams([write(tmp_path, images, group=group) for images in planted], memory)
    seen: list[set[int]] = []
    rows: dict[int, list[str]] = {}
    for stream in found:
        table = pa.concat_tables(stream)
        assert table.column_names == ["run", "image", "value"]
        images = table["image"].to_pylist()
        assert images == sorted(images)
        seen.append(set(images))
        for image, value in zip(images, table["value"].to_pylist(), strict=True):
            rows.setdefault(image, []).append(value)
    assert sum(map(len, seen)) == len(set().union(*seen)), "an image is in two streams"
    expected = {image: count for images in planted for image, count in images.items()}
    assert rows == {image: [f"{image}:{row}" for row in range(count)] for image, count in expected.items()}
    if memory == 1 << 30:
        assert len(found) == 1


def test_rows_of_an_image_in_two_parts_come_from_the_older_part_first(tmp_path):
    first, second = ({7: 3, 9: 1}, {5: 1, 7: 3})
    sources = [write(tmp_path, first, group=1), write(tmp_path, second, group=1)]
    (stream,) = streams(sources, 1 << 30)
    table = pa.concat_tables(stream)
    assert table["image"].to_pylist() == [5, 7, 7, 7, 7, 7, 7, 9]
    assert table["value"].to_pylist()[1:7] == ["7:0", "7:1", "7:2"] * 2


def test_memory_stays_bounded_however_many_rows_there_are(tmp_path):
    """Ten parts side by side that overlap hardly at all: 80 MB of rows in a budget of 16 MB."""
    sources, rows = [], 100_000
    for number in range(10):
        image = np.repeat(np.arange(number * 1000, number * 1000 + 1000), rows // 1000)
        noise = np.random.default_rng(number).random((10, rows))
        path = tmp_path / f"big{number}.parquet"
        columns = {f"v{i}": values for i, values in enumerate(noise)}
        pq.write_table(pa.table({"image": image, **columns}), path, row_group_size=10_000)
        sources.append(Source(path, number * 1000))
    before = pa.total_allocated_bytes()
    peak, streams_, count = 0, 0, 0
    for stretch in merged(sources, 16 << 20):
        peak = max(peak, pa.total_allocated_bytes() - before)
        streams_ += stretch.last
        count += len(stretch.rows)
    assert (streams_, count) == (1, 10 * rows)
    assert peak < 16 << 20


def test_parts_that_overlap_wholly_become_several_streams_rather_than_fill_the_memory(tmp_path):
    sources = []
    for number in range(8):
        image = np.repeat(np.arange(number, 8000, 8), 50)
        path = tmp_path / f"wide{number}.parquet"
        columns = {f"v{i}": np.random.default_rng(i).random(len(image)) for i in range(4)}
        pq.write_table(pa.table({"image": image, **columns}), path)
        sources.append(Source(path, number))
    found = streams(sources, 24 << 20)
    assert 1 < len(found) < 5
    assert sum(len(table) for stream in found for table in stream) == 8 * 50_000


def test_a_damaged_part_is_named(tmp_path):
    good, bad = write(tmp_path, {1: 2}, group=8), write(tmp_path, {2: 2}, group=8)
    bad.path.write_bytes(bad.path.read_bytes()[:-20])
    with pytest.raises(StoreError, match=rf"{bad.path.name} is no readable Parquet file .*fsck --deep"):
        list(merged([good, bad], 1 << 20))


def test_a_part_without_statistics_is_refused(tmp_path):
    path = tmp_path / "bare.parquet"
    pq.write_table(pa.table({"image": [1, 2, 3, 4]}), path, row_group_size=2, write_statistics=False)
    with pytest.raises(StoreError, match="does not say which images its row groups hold"):
        list(merged([Source(path, 1)], 1 << 20))


@pytest.mark.parametrize(("dim", "fewest"), [(1, 1), (4096, 5)])
def test_row_groups_are_small_enough_to_skip_and_say_which_images_they_hold(tmp_path, dim, fewest):
    """Of long vectors a group of 131072 rows would be gigabytes: the grain is bytes there."""
    rows = 5000
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(rows * dim, np.float32)), dim)
    table = pa.table({"image": np.arange(rows)[::-1], "vector": vectors.cast(pa.list_(pa.float32()))})
    write_part(tmp_path / "part.parquet", table)
    footer = read_metadata(tmp_path / "part.parquet")
    spans = [footer.row_group(i).column(0).statistics for i in range(footer.num_row_groups)]
    assert len(spans) >= fewest
    assert spans[0].min == 0 and spans[-1].max == rows - 1
    assert all(one.max < two.min for one, two in itertools.pairwise(spans))
