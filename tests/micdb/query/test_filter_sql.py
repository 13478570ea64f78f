"""Conditions on numbers that stand elsewhere, each way of finding them giving the same rows; lookups."""

from __future__ import annotations

import operator

import pytest
import sqlalchemy as sa

from micdb import units
from micdb.catalog import tables as t
from micdb.catalog.columns import metadata
from micdb.catalog.engine import reading
from micdb.query import columns
from micdb.query.compile import compile_frame
from micdb.query.frame import Frame


def names(frame):
    return sorted(frame.to_arrow()["name"].to_pylist())


def statement(frame):
    with reading(frame.context.engine) as connection:
        made = compile_frame(
            frame.context, frame.base, frame.steps, vocabulary=frame.vocabulary, connection=connection
        )
        text = [one.compile(connection.engine) for one in (made.select(), made.count())]
        return str(text[0]), str(text[1])


CONDITIONS = [
    ("count(defects) >= 1", ["one", "three"]),
    ("count(defects) == 0", ["two"]),
    ("count(defects) < 4", ["three", "two"]),
    ("count(defects) >= 0", ["one", "three", "two"]),
    ("count(defects, kind == 'vacancy') == 3", ["one", "three"]),
    ("max(defects, score) > 0.65", ["one", "three"]),
    ("hardness > 4 GPa", ["three", "two"]),
    ("hardness <= 3 GPa", ["one"]),
    ("n_atoms > 50", ["one"]),
    ("n_atoms <= 50", ["two"]),
]


@pytest.mark.parametrize(("condition", "expected"), CONDITIONS)
@pytest.mark.parametrize("before", [None, "width > 0", "lab == 'Lab A' or lab == 'Lab B'"])
def test_a_condition_finds_the_same_among_all_images_and_among_some(im, condition, expected, before):
    frame = im if before is None else im.query(before)
    assert names(frame.query(condition)) == expected
    assert frame.query(condition).count() == len(expected)
    assert names(frame.sort_values("name").head(6).query(condition)) == expected
    assert names(frame.query(f"not ({condition})")) == sorted(set(names(im)) - set(expected))


def test_a_count_that_was_assigned_is_the_same_before_and_after_it_filters(im):
    vac = im.defects[im.defects.kind == "vacancy"]
    for start in (im, im[im.width > 0]):
        q = start.assign(n=vac.count(), twice=vac.count() * 2)
        q = q[(q.n >= 1) & (q.twice > 5)]
        assert q.sort_values("n")[["name", "n", "twice"]].to_pandas().to_numpy().tolist() == [
            ["one", 3, 6], ["three", 3, 6],
        ]  # fmt: skip


SAMPLES = {"S1": 2, "S2": 1, "S3": 2, "bare": 0}  # and how many images show each


@pytest.mark.parametrize("limit", ["> 1", ">= 1", "== 2", "== 0", "< 2", "<= 2", ">= 0", "!= 2"])
@pytest.mark.parametrize("before", [None, "name != 'nothing'"])
def test_samples_are_found_by_the_number_of_their_images(context, planted, limit, before):
    with context.engine.begin() as connection:
        connection.execute(t.sample.insert().values(uid="bare", name="bare"))
        s3 = connection.scalar(sa.select(t.sample.c.pk).where(t.sample.c.name == "S3"))
        gone = t.micrograph.update().where(t.micrograph.c.name == "gone")
        connection.execute(gone.values(sample_pk=s3))  # a deleted one is none
    samples = Frame(context, "samples")
    samples = samples if before is None else samples.query(before)
    compare = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
    compare |= {"==": operator.eq, "!=": operator.ne}
    sign, number = limit.split()
    expected = {name: n for name, n in SAMPLES.items() if compare[sign](n, int(number))}
    found = samples.query(f"n_images {limit}")
    told = found[["name", "n_images"]].to_pandas(dtypes="numpy")
    assert dict(told.to_numpy().tolist()) == expected
    assert found.count() == len(expected)
    best = found.sort_values(["n_images", "name"], ascending=[False, True]).head(2)
    assert names(best) == sorted(sorted(expected, key=lambda name: (-expected[name], name))[:2])
    assert names(found.query("n_images < 2")) == sorted(name for name, n in expected.items() if n < 2)
    assert names(found.rename({"n_images": "n"}).query("n >= 1")) == sorted(n for n in expected if SAMPLES[n])


def test_a_number_of_images_is_counted_for_all_samples_at_once(context, planted):
    shown, _ = statement(Frame(context, "samples").query("n_images > 1"))
    assert shown.count("count(*)") == 2  # in one HAVING, and beside it for the column
    assert "GROUP BY shown.sample_pk" in shown


def test_an_image_by_its_own_property_goes_before_its_sample(im, planted):
    with im.context.engine.begin() as connection:
        known = connection.scalar(sa.select(t.property_def.c.pk).where(t.property_def.c.name == "hardness"))
        one, two, five = (
            connection.scalar(sa.select(t.micrograph.c.pk).where(t.micrograph.c.name == name))
            for name in ("one", "three", "five")
        )
        for serial, (image, value) in enumerate(
            [(one, 7.0), (one, 9.0), (two, 0.5), (two, None), (five, None)]
        ):
            connection.execute(
                t.property_value.insert().values(
                    uid=f"own {serial}", natural_key=f"own {serial}", property_def_pk=known, level="image",
                    micrograph_pk=image, value=value, origin="user", source_name="s", created_at="now",
                )
            )  # fmt: skip
    again = Frame(im.context)
    whole = again[["name", "hardness"]].to_pandas(dtypes="numpy").set_index("name")["hardness"]
    assert (whole["one"], whole["three"]) == (8.0, 0.5)
    for limit in (0.4, 0.6, 2.5, 4.5, 7.5, 8.5):
        assert names(again[again.hardness > f"{limit} GPa"]) == sorted(whole.index[whole > limit])
        assert names(again[again.hardness <= f"{limit} GPa"]) == sorted(whole.index[whole <= limit])
        opposite = again[~(again.hardness > f"{limit} GPa")]  # also those whose hardness nobody knows
        assert names(opposite) == sorted(whole.index[~(whole > limit)])
        assert "property_value" not in statement(opposite)[0]  # the few that fulfil it are known by then


def test_rows_that_were_counted_are_looked_up_again_only_in_the_end(im):
    vac = im.defects[im.defects.kind == "vacancy"]
    q = im[(im.material == "WS2") & (vac.count() >= 1)].assign(density=vac.count() / im.area)
    q = q.with_property("hardness", level="sample", agg="mean").sort_values("density").head(2)
    shown, _ = statement(q)
    assert shown.count("JOIN micrograph ON") == 1
    inner = shown[shown.index("FROM (") : shown.index("AS anon_1")]
    assert "property_value" not in inner  # of two rows, not of all that qualify
    told = q[["name", "density", "hardness"]].to_pandas(dtypes="numpy").to_numpy().tolist()
    assert told == [["three", 3 / 4096, 5.0], ["one", 3 / 1024, 3.0]]


def read(frame):
    """Return how SQLite reads the rows of a frame."""
    with reading(frame.context.engine) as connection:
        made = compile_frame(
            frame.context, frame.base, frame.steps, vocabulary=frame.vocabulary, connection=connection
        )
        plans = []
        for one in (made.select(), made.count()):
            text = str(one.compile(connection, compile_kwargs={"literal_binds": True}))
            plans.append([row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}")])
    return plans


def test_the_newest_images_are_read_in_the_order_of_their_index(im):
    if im.context.engine.dialect.name == "postgresql":
        pytest.skip("the server scans a table of seven rows, whatever its indexes")
    rows, number = read(im.sort_values("created_at", ascending=False).head(5))
    assert "SCAN micrograph USING INDEX ix_micrograph_created_at" in rows
    assert number  # of a limit
    _, number = read(im)
    assert number == ["SCAN micrograph USING COVERING INDEX ix_micrograph_created_at"]


def test_the_largest_rollups_are_read_in_the_order_of_their_index(im):
    if im.context.engine.dialect.name == "postgresql":
        pytest.skip("the server scans a table of few rows, whatever its indexes")
    rows, _ = read(im[im.n_atoms > 5].sort_values("n_atoms", ascending=False).head(2))
    assert any("USING INDEX ix_rollup_name (run_pk=? AND name=? AND value>?)" in one for one in rows)
    shown, _ = statement(im[im.n_atoms > 5].sort_values("n_atoms", ascending=False))
    assert "value DESC NULLS LAST" not in shown  # PostgreSQL's index knows one way of sorting what is missing


def test_a_name_of_a_run_means_that_run_after_a_count_was_assigned(im):
    pinned = im.assign(n=im.defects.count()).using("peaks@0")
    assert names(pinned[pinned.n >= 4]) == ["one"]
    assert names(im.using("peaks@0").query("n_atoms == 7")) == ["one"]
    assert names(im.query("n_atoms == 7")) == []


def test_only_what_is_spoken_of_is_joined(im):
    shown, counted = statement(im[["name", "pixel_size"]])
    assert "JOIN" not in shown + counted
    shown, counted = statement(im[im.material == "WS2"][["name", "lab"]])
    assert {word for word in ("lab", "sample", "material", "person") if f"JOIN {word} " in shown} == {
        "lab", "sample", "material",
    }  # fmt: skip
    assert "JOIN lab " not in counted


def test_a_limit_picks_rows_before_the_rest_of_them_is_looked_up(im):
    shown, _ = statement(im[im.material == "WS2"].sort_values("area").head(2))
    inner = shown[shown.index("FROM (") : shown.index("AS anon_1")]
    assert "LIMIT" in inner
    assert "person" not in inner
    assert "JOIN material" in inner


def test_a_condition_that_lets_missing_pass_keeps_rows_without_a_sample(im):
    assert names(im[im["sample"].isna()]) == ["six"]
    assert names(im[im.material != "WS2"]) == ["five", "four", "six"]
    assert names(im[(im.material == "WS2") | (im.name == "six")]) == ["one", "six", "three", "two"]
    assert names(im[~(im.material == "WS2")]) == ["five", "four", "six"]


@pytest.mark.parametrize("key", ["lab", "material", "operator"])
def test_groups_by_a_name_are_groups_by_what_it_names(im, key):
    whole = im[[key, "name", "area"]].to_pandas(dtypes="numpy")
    for dropna in (True, False):
        found = im.groupby(key, dropna=dropna).agg(n=("name", "count"), area=("area", "sum"))
        expected = whole.groupby(key, dropna=dropna).agg(
            n=("name", "count"), area=("area", lambda a: a.sum(min_count=1))
        )
        made = found.to_pandas(dtypes="numpy").set_index(key)
        assert made["n"].tolist() == expected["n"].tolist()
        assert made["area"].fillna(-1).tolist() == expected["area"].fillna(-1).tolist()


def test_text_is_searched_in_the_index_of_the_name(im):
    assert names(im[im.name.str.contains("o")]) == ["four", "one", "two"]
    assert names(im[im.name.str.startswith("t")]) == ["three", "two"]
    assert "gone" not in names(im[im.name.str.contains("one")])


def test_units_of_the_catalog_are_spelled_as_micdb_spells_them():
    said = {c.info.get("unit") for table in metadata.tables.values() for c in table.c}
    for unit in said - {None}:
        if not unit.startswith(("pixel", "of its", "byte", "ns")):
            assert units.normalise(unit) == unit


def test_every_lookup_gives_at_most_one_row(context, planted):
    for source in columns.SOURCES.values():
        if source.rows is None or not source.lookups:
            continue
        rows = source.rows
        for lookup in source.lookups:
            rows = rows.join(lookup.table, lookup.on, isouter=True)
        with reading(context.engine) as connection:
            plain = connection.scalar(sa.select(sa.func.count()).select_from(source.rows))
            assert connection.scalar(sa.select(sa.func.count()).select_from(rows)) == plain


def test_the_second_source_of_an_image_doubles_nothing(im):
    with im.context.engine.connect() as connection:
        first = connection.execute(sa.select(t.source).order_by(t.source.c.pk).limit(1)).mappings().one()
    with im.context.engine.begin() as connection:
        again = {k: v for k, v in first.items() if k != "pk"}
        connection.execute(
            t.source.insert().values(**{**again, "uid": "again", "sha256": "f" * 64, "file_name": "b"})
        )
    assert Frame(im.context)[["name", "file"]].to_pandas()["name"].tolist().count("one") == 1
    assert im[im.name == "one"].to_arrow()["file"].to_pylist() == ["one.dm3"]
