"""Frames of what lies in Parquet parts: order, runs, missing values, joins, what they see of the catalog."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import sqlalchemy as sa

from micdb.catalog.engine import writing
from micdb.catalog.results import current_run
from micdb.database import Database
from micdb.errors import ExpressionError, StoreError, UnknownColumnError, UsageError
from micdb.populate.facts import FACTS
from micdb.query.facts import duck, picking
from micdb.query.frame import Frame
from micdb.store import parts as store

plant = SimpleNamespace(**run_path(str(Path(__file__).with_name("conftest.py"))))
make = plant.make


def column(frame, name):
    return frame.to_arrow()[name].to_pylist()


# ---------------------------------------------------------------------- rows


@pytest.mark.parametrize("table", FACTS)
def test_every_table_has_a_frame_that_may_be_empty(tmp_path, table):
    context = make.database(tmp_path / "db")
    frame = Frame(context, table)
    assert frame.count() == 0
    assert frame.empty
    found = frame.to_arrow()
    plain = [field.name for field in FACTS[table] if not pa.types.is_nested(field.type)]
    assert found.column_names == plain
    assert found.schema.field("image").type == pa.string()
    assert frame.groupby("image").agg(n=("image", "size")).to_arrow().num_rows == 0
    assert getattr(Database(context.root, context.engine), table).columns == plain


def test_rows_come_in_the_order_of_images_and_then_of_the_extractor(home):
    found = home.atoms.to_pandas(dtypes="numpy")
    assert found["image"].tolist() == ["u1", "u3", "u3"]  # not u0, which is deleted
    assert found["idx"].tolist() == [2, 0, 1]
    np.testing.assert_array_equal(found["x_nm"], [np.nan, 1.0, 2.5])
    assert found["grade"].tolist() == [6, 3, 4]
    assert len(home.atoms) == 3


def test_nan_and_null_are_missing(home):
    found = home.atoms.to_arrow()
    assert found["x_nm"].to_pylist() == [None, 1.0, 2.5]
    assert found["x_nm"].type == pa.float64()
    assert found.schema.field("x_nm").metadata == {b"unit": b"nm"}
    assert column(home.atoms[home.atoms.x_nm.isna()], "idx") == [2]
    assert column(home.atoms[home.atoms.x_nm != "1 nm"], "idx") == [2, 1]
    assert column(home.atoms[~(home.atoms.x_nm < "2 nm")], "idx") == [2, 1]


def test_missing_values_come_last_both_ways(home):
    assert column(home.atoms.sort_values("x_nm"), "x_nm") == [1.0, 2.5, None]
    assert column(home.atoms.sort_values("x_nm", ascending=False), "x_nm") == [2.5, 1.0, None]


def test_small_integers_do_not_overflow(home):
    older = home.atoms.using("peaks@0")
    assert column(older.assign(g=older.grade * 2), "g") == [None, 254]


def test_a_sum_beyond_64_bits_is_refused(home):
    big = home.atoms.assign(g=home.atoms.grade * 2**62)
    with pytest.raises(ExpressionError, match=r"larger than a 64-bit integer holds: multiply by 1\.0"):
        big.to_arrow()
    with pytest.raises(ExpressionError, match="64-bit integer"):
        home.atoms.assign(g=home.atoms.idx + 2**62).groupby("frame").agg(s=("g", "sum")).to_arrow()


def test_only_the_run_that_is_meant(home):
    older = home.atoms.using("peaks@0")
    assert column(older, "x_nm") == [0.5, 8.0]
    assert column(older, "image") == ["u2", "u3"]
    with writing(home.context.engine) as connection:
        connection.execute(current_run.delete())
    assert home.atoms.count() == 0
    assert column(home.atoms.using("peaks@1"), "image") == ["u1", "u3", "u3"]


def test_two_analyses_that_fill_a_table_must_be_told_apart(home):
    other = make.add_run(home.context, "lattice")
    make.add_part(home.context, other, "atoms", rows=make.atoms([(1, 4.0, 4.0)]))
    with pytest.raises(UsageError, match=r"atoms comes from .*lattice@1.*frame\.using\("):
        home.atoms.count()
    assert column(home.atoms.using("lattice@1"), "x_nm") == [4.0]


def test_a_column_that_only_other_runs_filled_is_missing(home):
    other = make.add_run(home.context, "peaks", version="2")
    make.add_part(home.context, other, "atoms", rows=make.atoms([(1, 4.0, 4.0)]))
    assert column(Frame(home.context, "atoms"), "grade") == [None]
    assert (
        column(home.im.assign(g=home.im.atoms.sum("grade"), n=home.im.atoms.count("grade")), "g")
        == [None] * 4
    )


def test_a_column_that_is_newer_than_every_part_is_missing(home):
    older = pa.schema([field for field in FACTS["phases"] if field.name != "fraction_low"])
    row = {"image": 1, "frame": 0, "phase": "ferrite", "fraction": 0.5, "fraction_high": 0.6}
    run = make.add_run(home.context, "segment", version="1")
    make.add_part(home.context, run, "phases", rows=pa.Table.from_pylist([row], schema=older))
    found = Frame(home.context, "phases")
    assert column(found, "fraction_low") == [None]
    assert column(found, "fraction_high") == [0.6]
    im = Frame(home.context, "images")
    assert im[im.phases.min("fraction_low") < 0.4].count() == 0


# ---------------------------------------------------------------------- groups


def test_groups_by_image_are_those_of_numpy(tmp_path):
    context = make.database(tmp_path / "db")
    make.images(context, 7)
    rng = np.random.default_rng(5)
    image = np.sort(rng.integers(1, 7, 400))
    x, flaw = rng.normal(size=400).astype(np.float32), rng.random(400) < 0.1
    x[flaw] = np.nan
    rows = make.atoms([(int(i), float(v), 1.0) for i, v in zip(image, x, strict=True)])
    run = make.add_run(context, "peaks")
    for piece in (rows.filter(pa.array(image <= 3)), rows.filter(pa.array(image > 3))):
        make.add_part(context, run, "atoms", rows=piece)
    asked = ("size", "count", "nunique", "mean", "sum", "min", "max", "std", "var", "median", "first", "last",
             "quantile(0.9)")  # fmt: skip
    groups = Frame(context, "atoms").groupby("image")
    found = groups.agg(**{f"a{i}": ("x_nm", one) for i, one in enumerate(asked)}).to_pandas(dtypes="numpy")
    for row, key in zip(found.itertuples(index=False), np.unique(image), strict=True):
        values = x[image == key].astype(float)
        known = values[~np.isnan(values)]
        expected = [
            len(values), len(known), len(set(known)), known.mean(), known.sum(), known.min(), known.max(),
            known.std(ddof=1), known.var(ddof=1), np.median(known), known[0], known[-1],
            np.quantile(known, 0.9),
        ]  # fmt: skip
        np.testing.assert_allclose(list(row)[1:], expected, rtol=1e-12)


# ---------------------------------------------------------------------- joins


def test_a_local_table_is_joined(home):
    local = pd.DataFrame({"image": ["u3", "u9"], "batch": [7, 8]})
    merged = home.atoms.merge(local, on="image")
    assert column(merged, "batch") == [None, 7, 7]
    assert column(home.atoms.merge(local, on="image", how="inner"), "x_nm") == [1.0, 2.5]


def test_frames_of_both_places_are_joined(home):
    images = home.im[["uid", "height"]]
    merged = home.atoms.merge(images, left_on="image", right_on="uid", validate="m:1")
    assert column(merged, "height") == [20, 10, 10]
    far = home.atoms.groupby("image").agg(far=("x_nm", "max"))
    back = home.im[["uid"]].merge(far, left_on="uid", right_on="image", validate="1:1")
    assert list(zip(column(back, "uid"), column(back, "far"), strict=True)) == [
        ("u1", None), ("u2", None), ("u3", 2.5), ("u4", None),
    ]  # fmt: skip
    both = far.merge(home.atoms[["image", "x_nm"]], on="image", validate="1:m")
    assert column(both, "x_nm") == [None, 1.0, 2.5]


def test_what_validate_promises_is_checked_in_duckdb(home):
    other = home.atoms[["image", "x_nm"]]
    with pytest.raises(UsageError, match="2 keys|1 keys repeat in 'image' of the other frame"):
        home.im[["uid"]].merge(other, left_on="uid", right_on="image", validate="m:1").to_arrow()


# ---------------------------------------------------------------------- the catalog, from rows


def test_exploded_rows_still_see_the_catalog(home):
    add_all(home)
    rows = home.im[home.im.height < 30].explode("atoms")
    assert column(rows, "x_nm") == [None, 1.0, 2.5]
    assert column(rows[rows.strength > 2], "x_nm") == [1.0, 2.5]
    assert column(rows[["x_nm", "strength", "n_lines"]], "n_lines") == [4.0, 6.0, 6.0]
    assert column(rows.sort_values("n_lines", ascending=False), "x_nm") == [1.0, 2.5, None]
    assert column(rows.groupby("strength").agg(n=("idx", "size")), "n") == [2]
    assert column(rows.with_property("strength", level="image"), "strength") == [None, 3.0, 3.0]
    assert column(rows.assign(d=home.im.defects.count()), "d") == [0, 2, 2]
    assert column(rows.explode("defects"), "kind") == ["vacancy", "loop", "vacancy", "loop"]
    assert column(rows.assign(n=home.im.atoms.count()), "n") == [1, 2, 2]


def add_all(home):
    plant.add_property(home, "strength", {1: 3.0, 5: 9.0})
    plant.add_rollups(home, home.run, "n_lines", {1: 6.0, 2: 4.0})
    plant.add_defects(home, home.run, (1, "vacancy"), (1, "loop"), (5, "loop"))


def test_conditions_join_the_catalog_and_the_parts(home):
    add_all(home)
    im = home.im
    near = im.atoms[im.atoms.x_nm < "2 nm"]
    both = im[(near.count() >= 1) & (im.defects.count() == 2) & (im.strength > 1)]
    assert both.pks().tolist() == [1]
    assert column(both.assign(n=near.count()).explode("defects"), "kind") == ["vacancy", "loop"]
    either = im[(near.count() >= 1) | (im.n_lines == 4)]
    assert column(either, "uid") == ["u1", "u3"]


def test_counts_of_images_nobody_looked_at_are_missing(home):
    made = home.im.assign(n=home.im.atoms.count(), near=home.im.atoms[home.im.atoms.x_nm < "2 nm"].count())
    assert column(made, "uid") == ["u1", "u2", "u3", "u4"]
    assert column(made, "n") == [1, None, 2, 0]
    assert column(made, "near") == [0, None, 1, 0]


def test_a_condition_on_children_may_speak_of_their_image(home):
    atoms = home.im.atoms
    assert column(home.im.assign(n=atoms[atoms.image == "u3"].count()), "n") == [0, None, 2, 0]


def test_rows_taken_before_the_explosion_are_the_ones_exploded(home):
    first = home.im.sort_values("height").head(1)
    assert column(first.explode("atoms"), "x_nm") == [1.0, 2.5]
    assert column(home.im.explode("atoms")[1:], "idx") == [0, 1]


def test_a_sample_is_the_same_in_both_places(home):
    for seed in range(4):
        counted = home.im.assign(n=home.im.atoms.count()).sample(2, seed=seed)
        assert column(counted, "uid") == column(home.im.sample(2, seed=seed), "uid")
    drawn = home.atoms.sample(2, seed=1)
    assert column(drawn, "idx") == column(drawn, "idx")
    assert len(drawn) == 2


def test_pages_follow_one_another(home):
    for frame in (home.atoms.sort_values("x_nm"), home.im.assign(n=home.im.atoms.count()).sort_values("n")):
        whole = frame.to_arrow()
        pieces, mark = [], None
        while True:
            piece, mark = frame.page(mark, size=1)
            pieces.append(piece)
            if mark is None:
                break
        assert pa.concat_tables(pieces).to_pylist() == whole.to_pylist()
        assert pa.concat_tables(frame.pages(2)).to_pylist() == whole.to_pylist()


def test_a_saved_query_of_atoms_is_the_same_query(home):
    query = home.atoms[home.atoms.x_nm < "2 nm"].assign(far=home.atoms.x_nm * 2)
    assert Frame.from_json(home.context, query.to_json()).to_arrow() == query.to_arrow()


# ---------------------------------------------------------------------- what travels


def statements(home, work):
    """Return what was asked of the catalog."""
    told = []
    listen = ("before_cursor_execute", lambda _c, _k, text, *_rest: told.append(text))
    sa.event.listen(home.context.engine, *listen)
    try:
        work()
    finally:
        sa.event.remove(home.context.engine, *listen)
    return told


def test_columns_that_nobody_speaks_of_are_fetched_for_what_is_left(home):
    im = home.im
    query = im.assign(n=im.atoms.count()).sort_values("n", ascending=False).head(1)
    told = statements(home, query.to_arrow)
    fetching = [text for text in told if "micrograph.width" in text]
    assert len(fetching) == 1
    assert "json_each" in fetching[0]  # a list of images
    made = query.to_arrow()
    assert made.select(im.columns) == im[im.uid == "u3"].to_arrow()
    assert made["n"].to_pylist() == [2]
    assert not [text for text in statements(home, query.count) if "micrograph.width" in text]


def test_columns_left_behind_may_be_renamed_sorted_by_and_overwritten(home):
    im = home.im
    some = im[im.atoms.count() >= 1]
    assert column(some.assign(width=im.height * 2), "width") == [40, 20]
    assert column(some.sort_values("height"), "uid") == ["u3", "u1"]
    assert column(some.rename({"height": "tall"}), "tall") == [20, 10]
    assert column(some.merge(pd.DataFrame({"height": [10], "m": [1]}), on="height"), "m") == [None, 1]
    assert column(some.groupby("width").agg(h=("height", "sum")), "h") == [30]
    assert column(some.drop_duplicates("width"), "uid") == ["u1"]
    assert column(some[["height", "uid"]].head(1), "height") == [20]
    assert some.to_pandas(dtypes="numpy")["name"].tolist() == ["image u1", "image u3"]


def test_a_table_is_read_once_for_all_numbers_of_a_query(home):
    im = home.im
    query = im[im.atoms.count("x_nm") >= 1].assign(x=im.atoms.mean("x_nm"), y=im.atoms.max("intensity"))
    told = query.explain()
    assert told.count("atoms: DuckDB reads") == 1
    assert column(query, "x") == [1.75]


def test_nested_columns_have_a_way_out(home):
    run = make.add_run(home.context, "halves", spaces=[("h@1nm", 2, 1.0, "cosine")])
    rows = make.embeddings([(1, "h@1nm", [1, 0]), (2, "h@1nm", [0, 2])])
    make.add_part(home.context, run, "embeddings", rows=rows)
    vectors = Frame(home.context, "embeddings")
    assert vectors.columns == ["image", "space"]
    with pytest.raises(UnknownColumnError, match="no column 'vector' in embeddings"):
        vectors["vector"]
    found = vectors[vectors.space == "h@1nm"].sort_values("image", ascending=False).to_arrow(nested=True)
    assert found["vector"].to_pylist() == [[1.0, 0.0], [0.0, 2.0]]
    assert found["vector"].type == pa.list_(pa.float32())
    assert home.im.explode("embeddings").to_arrow(nested=True)["vector"].to_pylist() == [
        [0.0, 2.0],
        [1.0, 0.0],
    ]
    for flat in (home.im, home.atoms, vectors.groupby("space").agg(n=("image", "size"))):
        with pytest.raises(UsageError, match=r"these rows have no nested columns: those of db\.embeddings"):
            flat.to_arrow(nested=True)


# ---------------------------------------------------------------------- roll-ups


def test_a_count_is_the_roll_up_where_that_is_the_same_number(home):
    plant.add_rollups(home, home.run, "n_atoms", {1: 2.0, 2: 1.0, 3: 0.0})
    by_rollup = home.im.assign(n=home.im.atoms.count())
    told = by_rollup.explain()
    assert "atoms: 3 of 4 counts are the roll-up n_atoms" in told
    assert column(by_rollup, "n") == [1, None, 2, 0]
    by_rows = home.im.assign(n=home.im.atoms.count(), _=home.im.atoms.max("idx"))
    assert "roll-up" not in by_rows.explain()
    assert column(by_rows, "n") == column(by_rollup, "n")
    condition = home.im.assign(n=home.im.atoms[home.im.atoms.idx >= 0].count())
    assert "roll-up" not in condition.explain()
    assert column(condition, "n") == column(by_rollup, "n")


def test_stacks_and_other_runs_are_counted_from_their_rows(home):
    plant.add_rollups(home, home.run, "n_atoms", {1: 99.0, 2: 1.0})
    with writing(home.context.engine) as connection:
        connection.exec_driver_sql(
            "UPDATE micrograph SET n_frames = 2 WHERE pk = 1"
        )  # a mean over its frames
    made = home.im.assign(n=home.im.atoms.count())
    assert column(made, "n") == [1, None, 2, 0]
    assert column(made.using("peaks@0").assign(n=home.im.atoms.count()), "n") == [None, 1, 1, None]


def test_no_roll_up_speaks_for_a_part_that_is_gone(home):
    plant.add_rollups(home, home.run, "n_atoms", {1: 2.0, 2: 1.0})
    with writing(home.context.engine) as connection:
        connection.exec_driver_sql(
            "UPDATE object SET state = 'quarantined' WHERE pk = "
            "(SELECT object_pk FROM part WHERE max_image = 2)"
        )
    assert column(home.im.assign(n=home.im.atoms.count()), "n") == [0, None, 0, 0]


# ---------------------------------------------------------------------- parts


def test_row_groups_without_wanted_images_are_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "ROW_GROUP", 4)
    context = make.database(tmp_path / "db")
    make.images(context, 40)
    run = make.add_run(context, "peaks")
    rows = [(image, float(image), 1.0) for image in range(1, 41) for _ in range(2)]
    path = make.add_part(context, run, "atoms", rows=make.atoms(rows))
    im = Frame(context, "images")
    few = im[im.name.isin(["image 4", "image 30"])]
    told = few.assign(x=im.atoms.mean("x_nm")).explain()
    assert "atoms: DuckDB reads 1 of 1 parts, 2 of 20 row groups" in told
    footer = store.read_metadata(path)
    content = bytearray(path.read_bytes())
    for index in range(20):  # every other row group becomes rubbish
        group = footer.row_group(index)
        chunks = [group.column(at) for at in range(group.num_columns)]
        first, size = next(
            (one.data_page_offset, one.total_compressed_size)
            for one in chunks
            if one.path_in_schema == "x_nm"
        )
        if index not in (2, 15):  # images 5 and 6, 31 and 32
            content[first : first + size] = b"\xff" * size
    path.write_bytes(bytes(content))
    assert column(few.assign(x=im.atoms.mean("x_nm")), "x") == [5.0, 31.0]
    assert column(few.explode("atoms"), "x_nm") == [5.0, 5.0, 31.0, 31.0]
    with pytest.raises(StoreError, match="fsck"):
        im.assign(x=im.atoms.mean("x_nm")).to_arrow()


def test_the_first_rows_are_found_before_their_columns_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(picking, "FIRST", 2)
    context = make.database(tmp_path / "db")
    make.images(context, 60)
    run = make.add_run(context, "peaks")
    rng = np.random.default_rng(3)
    rows = [
        (int(image), float(x), float(x > 2))
        for image, x in zip(np.repeat(np.arange(1, 61), 3), rng.integers(0, 4, 180), strict=True)
    ]
    for cut in range(0, 180, 60):
        make.add_part(context, run, "atoms", rows=make.atoms(rows[cut : cut + 60]))
    atoms, im = Frame(context, "atoms"), Frame(context, "images")
    whole = {
        "all": atoms,
        "few": atoms[atoms.intensity == 1],
        "sorted": atoms.sort_values(["x_nm", "idx"], ascending=[False, True]),
        "exploded": im[im.atoms.max("x_nm") > "2 nm"].explode("atoms"),
        "twice": im.head(30).explode("atoms").explode("atoms"),
        "joined": atoms.merge(im[["uid", "name"]], left_on="image", right_on="uid", validate="m:1"),
        "many": atoms.merge(pd.DataFrame({"frame": [0, 0], "m": [1, 2]}), on="frame", validate="m:m"),
    }
    for name, frame in whole.items():
        table = frame.to_arrow()
        for start, stop in ((0, 1), (2, 9), (50, 70), (170, 400), (0, 0)):
            assert frame[start:stop].to_arrow() == table.slice(start, stop - start), (name, start, stop)
            assert frame[start:stop].count() == len(table.slice(start, stop - start))
    assert "reads 1 of 3 parts" in atoms.head(4).explain()


def test_explain_tells_what_is_read(home):
    told = home.atoms[home.atoms.x_nm < "2 nm"][["image", "x_nm"]].explain()
    assert "atoms: DuckDB reads 1 of 2 parts, 1 of 1 row groups, " in told  # the other is of a deleted image
    assert "x_nm" in told
    assert told.endswith("rows: 1")


def test_columns_that_differ_in_case_only_are_refused(home):
    run = make.add_run(home.context, "peaks", version="3")
    rows = make.atoms([(1, 1.0, 1.0)]).append_column("X_nm", pa.array([2.0]))
    make.add_part(home.context, run, "atoms", rows=rows)
    with pytest.raises(UsageError, match="columns 'x_nm' and 'X_nm', which SQL cannot tell apart"):
        Frame(home.context, "atoms").count()


def test_queries_in_threads_do_not_see_one_another(home):
    def ask(bound):
        rows = home.atoms[home.atoms.idx <= bound]
        return bound, column(rows, "idx"), column(home.im.assign(n=home.im.atoms.count()), "n")

    with ThreadPoolExecutor(8) as pool:
        for bound, found, counts in pool.map(ask, [0, 1, 2] * 8):
            assert found == [one for one in (2, 0, 1) if one <= bound]
            assert counts == [1, None, 2, 0]


def test_duckdb_spills_into_a_folder_of_its_own():
    cursor = duck.connect()
    settings = "SELECT current_setting('temp_directory'), current_setting('threads')"
    [(folder, threads)] = cursor.sql(settings).fetchall()
    assert Path(folder).name.startswith("micdb-")
    assert not Path(folder).exists()
    assert threads >= 1
    cursor.close()


def test_infinities_are_numbers_and_their_differences_missing(home):
    run = make.add_run(home.context, "peaks", version="4")
    rows = [(1, math.inf, 1.0), (1, -math.inf, 1.0), (2, math.inf, 1.0), (2, 1.0, 1.0)]
    make.add_part(home.context, run, "atoms", rows=make.atoms(rows))
    found = Frame(home.context, "atoms").groupby("image").agg(
        top=("x_nm", "max"), mean=("x_nm", "mean"), std=("x_nm", "std")
    )  # fmt: skip
    assert column(found, "top") == [math.inf, math.inf]
    assert column(found, "mean") == [math.inf, None]
    assert column(found, "std") == [None, None]
