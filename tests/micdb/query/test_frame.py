"""Frames on a planted catalog: the whole path from a frame over SQL to pandas."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from micdb.errors import (
    ExpressionError,
    NotFoundError,
    QuerySyntaxError,
    UnitError,
    UnknownColumnError,
    UsageError,
)  # fmt: skip
from micdb.query.frame import Frame


def nested(frame: Frame, depth: int) -> Frame:
    expr = frame.width
    for _ in range(depth):
        expr = expr.fillna(1)
    return frame[expr > 0]


def names(frame: Frame) -> list[str]:
    return frame.to_pandas()["name"].tolist()


def values(frame: Frame, column: str) -> list[object]:
    return [None if pd.isna(value) else value for value in frame.to_pandas()[column]]


def test_the_question_of_the_design(im):
    vac = im.defects[im.defects.kind == "vacancy"]
    q = im[(im.material == "WS2") & (im.pixel_size < "1 nm") & (vac.count() >= 3)]
    q = q.assign(n_vac=vac.count(), density=vac.count() / im.area)
    q = q.with_property("hardness", level="sample", agg="mean")
    df = q.sort_values("density", ascending=False).head(50).to_pandas()
    assert df[["name", "n_vac", "density", "hardness", "hardness_n"]].values.tolist() == [
        ["one", 3, 3 / 1024, 3.0, 2]
    ]
    assert df["hardness_sd"].tolist() == [pytest.approx(2**0.5)]
    assert df.attrs["units"]["density"] == "1/nm**2"
    assert df.attrs["units"]["hardness"] == "GPa"
    assert Frame.from_json(im.context, json.loads(df.attrs["query"])).count() == 1


def test_text_asks_the_same(im):
    text = 'material == "WS2" and 0.1 nm <= pixel_size < 1e-3 um and count(defects, kind == "vacancy") >= 3'
    assert names(im.query(text)) == ["one"]
    assert names(im.query("hardness > 4500 MPa or n_atoms >= 100")) == ["one", "two", "three"]
    assert names(im.query("anneal_temperature > 1073.15 K")) == ["four", "five"]


def test_deleted_images_never_show(im):
    assert len(im) == im.count() == 6
    assert "gone" not in names(im)
    assert names(im) == ["one", "two", "three", "four", "five", "six"]


def test_counts_are_zero_where_a_run_found_none_and_missing_where_none_looked(im):
    counted = im.assign(n=im.defects.count(), score=im.defects.mean("score"))
    assert values(counted, "n") == [4, 0, 3, None, None, None]  # one of four was rejected by an expert
    assert values(counted, "score") == [pytest.approx(0.575), None, pytest.approx(0.6), None, None, None]
    assert names(im[im.defects.count() == 0]) == ["two"]


def test_children_are_a_frame_too(im):
    found = im[im.lab == "Lab B"].defects.to_pandas()
    assert found["kind"].tolist() == ["vacancy"] * 3
    assert set(found["image"]) == set(im[im.name == "three"].to_pandas()["uid"])
    exploded = im.explode("defects")
    assert len(exploded) == 7
    assert {"defect_uid", "kind", "x_nm"} <= set(exploded.columns)
    by_kind = exploded.groupby("kind").agg(n=("name", "size"), labs=("lab", "nunique")).to_pandas()
    assert by_kind.values.tolist() == [["loop", 1, 1], ["vacancy", 6, 2]]


def test_an_expression_stays_with_its_frame(im):
    with pytest.raises(ExpressionError, match="'uid' in this expression is a column of defects"):
        im[im.defects.uid == "x"]
    doubled = im.assign(pixel_size=im.pixel_size * 2)
    with pytest.raises(ExpressionError, match="build the expression from the frame it is used on"):
        doubled[im.pixel_size < "1 nm"]
    assert names(doubled[doubled.pixel_size < "1 nm"]) == ["two"]


def test_a_property_is_the_image_s_own_else_its_sample_s(im):
    assert values(im[["name", "hardness"]], "hardness") == [3.0, 7.0, 5.0, None, None, None]
    # Two different labels of image one: no choice is made, and the sample's is not taken instead.
    assert values(im[["name", "phase label"]], "phase label") == [
        None,
        "2H",
        None,
        "pearlite",
        "pearlite",
        None,
    ]
    assert im[["anneal_temperature"]].units == {"anneal_temperature": "degC"}
    samples = Frame(im.context, "samples")
    assert values(samples[["hardness"]], "hardness") == [3.0, 5.0, None]


def test_with_property_keeps_every_row_and_says_how_many_values(im):
    sample = im.with_property("hardness").to_pandas()
    assert sample["hardness_n"].tolist() == [2, 2, 1, 0, 0, 0]
    assert values(im.with_property("hardness"), "hardness_sd")[2] == 0.5  # a single value: its stated one
    image = im.with_property("hardness", level="image", agg="max")
    assert values(image, "hardness") == [None, 7.0, None, None, None, None]
    with pytest.raises(UsageError, match="no property 'hardnes'; did you mean hardness"):
        im.with_property("hardnes")
    with pytest.raises(UsageError, match="level is 'lab'; it is one of sample, image"):
        im.with_property("hardness", level="lab")


def test_using_pins_a_run(im):
    assert values(im[["n_atoms"]], "n_atoms") == [120.0, 30.0, None, None, None, None]
    assert values(im.using("peaks@0")[["n_atoms"]], "n_atoms") == [7.0, None, None, None, None, None]
    with pytest.raises(UsageError, match="no run peaks@7; there is peaks@1, peaks@0"):
        im.using("peaks@7")[["n_atoms"]].to_pandas()
    with pytest.raises(UsageError, match=r"write using\('peaks@1'\)"):
        im.using("peaks")


def test_missing_values_follow_pandas(im):
    assert names(im[im.pixel_size != "0.5 nm"]) == ["two", "three", "four", "five"]
    assert names(im[~(im.pixel_size < "1 nm")]) == ["three", "four", "five"]
    assert values(im.sort_values("pixel_size"), "name")[-1] == "five"
    assert values(im.sort_values("pixel_size", ascending=False), "name")[-1] == "five"
    assert values(im.groupby("material").size(), "material") == ["UHCS", "WS2"]
    assert values(im.groupby("material", dropna=False).size(), "material") == ["UHCS", "WS2", None]


def test_verbs_act_one_after_the_other(im):
    assert names(im.head(3)[im.lab == "Lab B"]) == ["three"]
    assert names(im[im.lab == "Lab B"].head(2)) == ["three", "four"]
    assert names(im[1:4][1:2]) == ["three"]
    assert names(im.sort_values("area").head(2).sort_values("name")) == ["one", "two"]


def test_groups_have_units(im):
    made = im.groupby("lab").agg(
        mean=("pixel_size", "mean"), sd=("anneal_temperature", "std"), n=("uid", "count")
    )
    assert made.units == {"mean": "nm", "sd": "K"}
    assert made.noun == "groups"
    with pytest.raises(ExpressionError, match="temperatures have a mean and no sum"):
        im.groupby("lab").agg(x=("anneal_temperature", "sum"))
    with pytest.raises(UsageError, match="no aggregate 'avg'"):
        im.groupby("lab").agg(x=("area", "avg"))
    with pytest.raises(UsageError, match="defects needs rows that are images"):
        made.query("count(defects) > 1")


def test_a_wrong_dimension_raises_before_any_sql(im, engine):
    statements = []
    sa.event.listen(engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    for wrong in (lambda: im[im.pixel_size < "1 kg"], lambda: im.query("pixel_size < 1 kg")):
        with pytest.raises(UnitError, match=r"cannot compare kg \(\[mass\]\) with nm \(\[length\]\)"):
            wrong()
    assert statements == []


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (bool, ExpressionError, r"write frame\.empty"),
        (list, ExpressionError, r"frame\.columns for the names, or frame\.iter_rows"),
        (lambda im: im.__setitem__("x", 1), ExpressionError, r"frame = frame\.assign\(x=\.\.\.\)"),
        (lambda im: im.iloc[0], ExpressionError, r"positions are not stable"),
        (lambda im: im.pixelsize, UnknownColumnError, "did you mean pixel_size"),
        (lambda im: im[["nme"]], UnknownColumnError, "did you mean name"),
        (lambda im: im[3], UsageError, "not int"),
        (lambda im: im[-3:], UsageError, "counted from the start"),
        (lambda im: im[im.width], ExpressionError, "width is no condition"),
        (lambda im: im.assign(x=[3]), ExpressionError, "x must be an expression"),
        (lambda im: im.similar_to("q.tif", k=0), UsageError, "k is 0; it must be at least 1"),
        (lambda im: im.similar_to("q.tif", k="3"), UsageError, "k is '3'; it must be a whole number"),
        (lambda im: im.similar_to(None).count(), UsageError, "one searches by a file.*not NoneType"),
        (lambda im: setattr(im, "width", 1), ExpressionError, r"frame = frame\.assign\(width=\.\.\.\)"),
        (lambda im: im.head(2.5), UsageError, r"whole numbers, not 2\.5"),
        (lambda im: im["a":"b"], UsageError, "whole numbers, not 'a'"),
        (lambda im: im.loc[pd.Series([True, False])], UsageError, "a condition, not Series: "),
        (lambda im: im.groupby([]), UsageError, "groupby\\(\\) needs a column"),
        (lambda im: im.groupby("lab").agg({"width": "mean"}), UsageError, "needs named aggregates"),
        (
            lambda im: im.query("+".join(["width"] * 400) + " > 0"),
            ExpressionError,
            "400 operations|401 operations",
        ),
        (lambda im: im.query("(" * 5000 + "width > 0" + ")" * 5000), QuerySyntaxError, "nested too deeply"),
        (lambda im: im.assign(x=im.width * 10**18).to_pandas(), ExpressionError, "larger than a 64-bit"),
        (
            lambda im: im.assign(x=im.width * 10**17).groupby("lab").agg(s=("x", "sum")).to_pandas(),
            ExpressionError,
            "larger than a 64-bit",
        ),
        (lambda im: nested(im, 150).count(), ExpressionError, "nested too deeply for SQL"),
        (lambda im: im.explode("grains"), UsageError, "no 'grains'; there are defects"),
        (lambda im: im.loc["nobody"], NotFoundError, "0 images have the uid 'nobody'"),
        (lambda im: im.query("a ="), QuerySyntaxError, "position 3"),
        (lambda im: Frame(im.context, "atom"), UsageError, "no table 'atom'; there are images"),
        (lambda im: Frame.from_json(im.context, {"base": "images"}), UsageError, "exactly the keys"),
        *(
            (
                lambda im, verb=verb: Frame.from_json(im.context, {"base": "images", "verbs": [verb]}),
                *expected,
            )
            for verb, *expected in [
                (["sort", "name", True], UsageError, "malformed after 0 verbs"),
                (["select", [["x"]]], UsageError, "names a column"),
                (["explode", "micrograph"], UsageError, "images have no 'micrograph'"),
                (["slice", 0, "3; drop"], UsageError, "whole numbers"),
            ]
        ),
        (
            lambda im: Frame.from_json(im.context, {"base": "images", "verbs": [["drop"]]}),
            UsageError,
            "no verb",
        ),
        (
            lambda im: Frame.from_json(im.context, {"base": "images", "verbs": [["filter", ["=="]]]}),
            UsageError,
            "wrong arguments of '=='",
        ),
    ],
)
def test_what_cannot_work_says_what_does(im, wrong, error, message):
    with pytest.raises(error, match=message):
        wrong(im)


def test_rows_by_label(im):
    uid = im.to_pandas()["uid"].iloc[2]
    assert im.loc[uid]["name"] == "three"
    assert im.loc[im.lab == "Lab A", ["name"]].columns == ["name"]
    assert [row["name"] for row in im.iter_rows()] == names(im)
    assert not im.empty
    assert im[im.lab == "nowhere"].empty
    assert len(im.pks()) == 6


def test_arrow_and_pandas_carry_types_and_units(im):
    table = im[["n_frames", "pixel_size", "colour", "licence"]].to_arrow()
    assert [str(field.type) for field in table.schema] == ["int64", "double", "bool", "string"]
    assert table.schema.field("pixel_size").metadata == {b"unit": b"nm"}
    header = im[["name", "pixel_size"]].to_pandas(units="header")
    assert list(header.columns) == ["name", "pixel_size [nm]"]
    assert values(im, "licence") == [None, None, "CC-BY-4.0", "CC-BY-4.0", "CC-BY-4.0", None]


def test_a_tree_gives_the_frame_back(im):
    q = im[im.defects.count() >= 1].assign(x=im.area / im.width).using("hand@1")
    q = q.with_property("hardness").sort_values(["x", "name"], ascending=[False, True])[:5]
    q = q.groupby(["lab"], dropna=False).agg(n=("x", "count"))
    again = Frame.from_json(im.context, json.loads(json.dumps(q.to_json())))
    assert again.to_json() == q.to_json()
    assert again.to_pandas().equals(q.to_pandas())


def test_explain_shows_the_statement_and_the_number_of_rows(im):
    shown = im.query('lab == "Lab A"').explain()
    assert "SELECT" in shown
    assert "'Lab A'" in shown
    assert shown.endswith("rows: 3")


def test_a_local_table_is_joined(im):
    local = pd.DataFrame({"sample": ["S1", "S2"], "grain": [3.5, None], "ok": [True, False]})
    joined = im.merge(local, on="sample")
    assert values(joined, "grain") == [3.5, 3.5, None, None, None, None]
    assert values(joined[joined.ok], "name") == ["one", "two"]
    assert names(im.merge(local, on="sample", how="inner")) == ["one", "two", "three"]
    twice = pd.DataFrame({"sample": ["S1", "S1"], "run": [1, 2]})
    with pytest.raises(UsageError, match=r"1 keys repeat in 'sample'.*validate='m:m'"):
        im.merge(twice, on="sample")
    assert len(im.merge(twice, on="sample", validate="m:m")) == 8


def test_other_tables(im):
    runs = Frame(im.context, "runs").to_pandas()
    assert runs[["analysis", "version", "current", "n_done"]].values.tolist() == [
        ["hand", "1", True, 3], ["peaks", "1", True, 0], ["peaks", "0", False, 0],
    ]  # fmt: skip
    long = Frame(im.context, "properties")
    assert values(long[long.property == "hardness"], "value") == [2.0, 4.0, 5.0, 7.0]
    assert Frame(im.context, "defects").count() == 7
    assert values(Frame(im.context, "samples"), "n_images") == [2, 1, 2]


def test_names_that_differ_only_in_case_are_two_columns(im):
    q = im.assign(Name=im.lab, LAB=im.width).head(3)
    assert names(q[q.Name == "Lab A"]) == ["one", "two"]
    assert values(im.assign(Lab=im.name).groupby("lab").agg(n=("Lab", "nunique")), "n") == [3, 3]
    both = im.groupby("lab").agg(Lab=("width", "mean"), LAB=("height", "sum"))
    assert both.to_pandas().values.tolist() == [["Lab A", 64.0, 192], ["Lab B", 64.0, 192]]
    local = pd.DataFrame({"lab": ["Lab A"], "LAB": ["else"]})
    assert values(im.merge(local, on="lab"), "LAB") == ["else", "else", None, None, None, "else"]


def test_names_that_differ_only_in_case_do_not_sort_for_one_another(im):
    """SQLite takes the label x for X, and would sort by the other column."""
    both = im[["uid", "width"]].rename(columns={"uid": "X"}).assign(x=2).sort_values("x", ascending=False)
    assert values(both, "X") == sorted(values(im, "uid"))
    counts = im.value_counts("uid").rename(columns={"uid": "x", "count": "X"})
    assert values(counts, "x") == sorted(values(im, "uid"))


def test_temperatures_below_zero_can_be_typed(im):
    q = im.query("anneal_temperature > -196 degC")
    assert names(q) == ["one", "two", "four", "five"]
    assert names(im.query(im_mask(q))) == names(q)


def im_mask(frame: Frame) -> str:
    return frame.steps[-1].mask.text()


def test_moments_with_a_zone_are_compared_as_moments(im):
    noon = datetime(2024, 5, 31, 13, 59, tzinfo=timezone(timedelta(hours=2)))  # created at 12:00 UTC
    assert im[im.created_at > noon].count() == 6
    assert im.query('created_at > "2024-05-31T14:01:00+02:00"').count() == 0
    assert im[im.created_at < noon].count() == 0


def test_numbers_of_numpy_can_be_written_down(im):
    q = im.sort_values("name", ascending=np.bool_(False))[np.int64(1) : np.int64(3)]
    assert names(q) == ["three", "six"]
    assert Frame.from_json(im.context, json.loads(q.to_pandas().attrs["query"])).count() == 2
    assert im.head(10**30).count() == 6
    assert im[im.width < 10**30].count() == 6


def test_a_frame_contains_its_columns(im):
    assert "lab" in im
    assert "Lab A" not in im


@pytest.mark.parametrize(
    ("values_", "message"),
    [
        ([float("inf")], "x holds infinity"),
        ([1j], "the local table cannot be joined"),
        ([1, "a"], "the local table cannot be joined"),
        ([[1]], "x is list"),
        ([b"1"], "x is binary"),
        (np.array([2**64 - 1], dtype=np.uint64), "cannot be joined: Integer value 18446744073709551615"),
        (["a\0b"], "x holds the character NUL"),
    ],
)
def test_a_local_value_without_a_place_in_a_query_is_refused(im, values_, message):
    local = pd.DataFrame({"lab": ["Lab A", "Lab B"][: len(values_)], "x": values_})
    with pytest.raises(UsageError, match=message):
        im.merge(local, on="lab")


@pytest.mark.parametrize(
    ("local", "on", "message"),
    [
        ({"lab": ["Lab A"]}, "lab", "joins a DataFrame or a frame, not dict"),
        (pd.DataFrame({"lab": ["Lab A"]}), [1], "on is .*names the columns to join by"),
        (pd.DataFrame({"lab": ["Lab A"], "__row": [1]}), "lab", "'__row' cannot name a column"),
    ],
)
def test_what_cannot_be_joined_is_named(im, local, on, message):
    with pytest.raises(UsageError, match=message):
        im.merge(local, on=on)


def test_local_times_categories_and_decimals_are_joined(im):
    local = pd.DataFrame(
        {
            "lab": pd.Categorical(["Lab A"]),
            "day": [pd.Timestamp("2024-05-31T14:00", tz="Europe/Berlin")],
            "cost": [Decimal("1.5")],
        }
    )
    joined = im.merge(local, on="lab", how="inner").head(1).to_pandas()
    assert joined[["day", "cost"]].values.tolist() == [["2024-05-31T12:00:00.000000Z", 1.5]]


def test_a_joined_frame_keeps_its_units(im):
    scale = im.assign(scale=im.pixel_size)[["name", "scale"]]
    joined = im[["uid", "name"]].merge(scale, on="name")
    assert joined.units == {"scale": "nm"}
    assert names(joined[joined.scale < "0.3 nm"]) == ["two"]
    again = Frame.from_json(im.context, json.loads(json.dumps(joined.to_json())))
    assert again.units == {"scale": "nm"}
    larger = im.assign(pixel_size=im.pixel_size.to("um"))[["pixel_size"]].query("pixel_size > 1 um")
    with pytest.raises(UsageError, match="pixel_size is in nm in the frame and in um in the other"):
        im.merge(larger, on="pixel_size")
