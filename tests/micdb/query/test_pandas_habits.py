"""What a user of pandas does without thinking: one test per habit, of what happens here."""

from __future__ import annotations

import json
import operator
import time

import numpy as np
import pandas as pd
import pint
import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from micdb.catalog import tables as t
from micdb.catalog.engine import writing
from micdb.errors import ExpressionError, NotFoundError, UnknownColumnError, UsageError
from micdb.query import display
from micdb.query.compile import compile_frame
from micdb.query.frame import Frame
from micdb.query.relation import sorting


def names(frame: Frame) -> list[str]:
    return frame.to_pandas()["name"].tolist()


def values(frame: Frame, column: str) -> list[object]:
    return frame.to_arrow()[column].to_pylist()


def test_masks_are_joined_by_and_or_not_signs(im):
    assert names(im[(im.lab == "Lab A") & (im.width == 64)]) == ["one", "two", "six"]
    assert names(im[(im.name == "one") | ~(im.lab == "Lab A")]) == ["one", "three", "four", "five"]
    with pytest.raises(ExpressionError, match=r"write \(a\) & \(b\) for and"):
        im[(im.lab == "Lab A") and (im.width == 64)]


def test_chained_comparison_and_in_are_refused_with_the_spelling_that_works(im):
    with pytest.raises(ExpressionError, match="between"):
        im[0 < im.width < 100]
    with pytest.raises(ExpressionError, match=r"lab.isin\(\[...\]\)"):
        operator.contains(im.lab, "Lab A")
    assert names(im[im.area.between("500 nm**2", "2000 nm**2")]) == ["one", "two", "six"]
    assert names(im[im.lab.isin(["Lab A"])]) == ["one", "two", "six"]
    assert names(im[im["name"].str.contains("t")]) == ["two", "three"]


def test_not_equal_keeps_missing_values_and_so_does_not(im):
    assert names(im[im.pixel_size != "0.5 nm"]) == ["two", "three", "four", "five"]
    assert names(im[~(im.pixel_size == "0.5 nm")]) == ["two", "three", "four", "five"]
    other = im.assign(other=~(im.pixel_size == "0.5 nm"))  # a truth value, which nothing is missing of
    assert values(other.value_counts("other"), "count") == [4, 2]
    assert values(im.assign(far=im.name != im.lab).value_counts("far"), "count") == [6]


def test_groups_leave_missing_keys_out_unless_told(im):
    assert values(im.groupby("material").size(), "material") == ["UHCS", "WS2"]
    assert values(im.groupby("material", dropna=False).size(), "material") == ["UHCS", "WS2", None]


def test_sorting_puts_missing_last_both_ways_and_ties_by_uid(im):
    assert names(im.sort_values("pixel_size")) == ["two", "one", "six", "three", "four", "five"]
    down = im.sort_values("pixel_size", ascending=False)
    assert names(down) == ["four", "three", "one", "six", "two", "five"]


def test_rows_come_in_the_order_of_uid_whatever_the_order_they_are_stored_in(im):
    with writing(im.context.engine) as connection:
        first = (
            connection.execute(sa.select(t.micrograph).where(t.micrograph.c.name == "one")).mappings().one()
        )
        late = {**first, "pk": 1000, "uid": "a-first", "name": "zero"}
        connection.execute(t.micrograph.insert().values(**late))
    assert names(im)[:2] == ["zero", "one"]


def test_length_shape_and_emptiness(im):
    assert len(im) == 6
    assert im[["name", "lab"]].shape == (6, 2)
    assert not im.empty
    assert im[im.name == "nobody"].empty
    with pytest.raises(ExpressionError, match=r"write frame.empty, or frame.count\(\) > 0"):
        bool(im)


def test_repr_shows_eight_rows_and_how_many_there_are(im, monkeypatch):
    assert repr(im[["name", "pixel_size"]]).splitlines() == [
        "name   pixel_size [nm]", "one                0.5", "two               0.25",
        "three                2", "four               500", "five              <NA>",
        "six                0.5", "6 images",
    ]  # fmt: skip
    monkeypatch.setattr(display, "ROWS", 2)
    monkeypatch.setattr(display, "COUNTED", 3)
    assert repr(im[["name"]]).splitlines() == ["name", "one", "two", "3+ images"]
    assert "<table" in im._repr_html_()
    monkeypatch.setattr(display, "BUDGET", 0.01)
    monkeypatch.setattr(Frame, "preview", lambda *_, **__: time.sleep(0.5))
    assert repr(im[["name"]]) == "images: no preview within 0.01 s; columns: name"


@pytest.mark.parametrize("constant", [True, False, 2, "z"])
@pytest.mark.parametrize("ascending", [True, False])
def test_a_constant_orders_nothing(im, constant, ascending):
    by_constant = im.assign(x=constant).sort_values("x", ascending=ascending)
    assert names(by_constant) == names(im)
    assert names(by_constant.assign(x=2)[["x", "name"]]) == names(im)  # x is fetched, and is another one
    both = im.assign(x=constant).sort_values(["x", "name"], ascending=[ascending, False])
    assert names(both) == names(im.sort_values("name", ascending=False))


@pytest.mark.parametrize(
    "product",
    [
        lambda im: im.width * im.height,
        lambda im: im.width.abs() * im.height,
        lambda im: (-im.width).abs() * im.height.abs(),
        lambda im: -im.width * -im.height,
    ],
)
def test_whole_numbers_have_64_bits_whatever_the_columns_have(im, product):
    with writing(im.context.engine) as connection:
        connection.execute(t.micrograph.update().values(width=2**20, height=2**20))
    assert values(im.assign(x=product(im)), "x") == [2**40] * 6
    assert im[product(im) == 2**40].count() == 6


def test_a_loop_over_a_frame_is_refused_and_names_what_to_loop_over(im):
    with pytest.raises(ExpressionError, match=r"frame.columns for the names, or frame.iter_rows\(\)"):
        list(im)
    assert [row["name"] for row in im.iter_rows()] == names(im)
    assert im[["name", "lab"]].columns == ["name", "lab"]


def test_loc_takes_labels_and_conditions_and_there_is_no_iloc(im):
    uid = values(im, "uid")[1]
    assert im.loc[uid]["name"] == "two"
    assert im.loc[uid, "name"] == "two"
    assert im.loc[uid, ["name", "lab"]].tolist() == ["two", "Lab A"]
    assert im.loc[im.lab == "Lab B", ["name"]].to_arrow().to_pydict() == {"name": ["three", "four", "five"]}
    with pytest.raises(NotFoundError, match="0 images have the uid 'x'"):
        im.loc["x"]
    with pytest.raises(UsageError, match=r"not list: for several write frame.loc\[frame.uid.isin"):
        im.loc[[uid]]
    with pytest.raises(ExpressionError, match=r"positions are not stable .*: write frame\[:20\]"):
        im.iloc[0]
    assert names(im[1:3]) == ["two", "three"]


def test_a_condition_after_head_speaks_of_those_rows_and_repr_says_so(im):
    assert names(im.head(3)[im.lab == "Lab B"]) == ["three"]
    assert repr(im.head(3)[im.lab == "Lab B"][["name"]]).endswith("1 image of the first 3")
    assert repr(im[1:4].groupby("lab").size()).endswith("2 groups of rows 1 to 4")
    assert repr(im.sample(6)[im.lab == "Lab A"][["name"]]).endswith("3 images of a sample of 6")
    assert repr(im[im.lab == "Lab B"].head(2)[["name"]]).endswith("\n2 images")
    assert repr(im[2:][im.lab == "Lab B"].head(2)[["name"]]).endswith("2 images of rows 2 to the end")
    assert "1 image of the first 3" in im.head(3)[im.lab == "Lab B"][["name"]]._repr_html_()


def test_a_merge_doubles_rows_only_when_asked(im):
    grain = pd.DataFrame({"sample": ["S1", "S1", "S3"], "grain": [1.0, 2.0, 3.0]})
    with pytest.raises(UsageError, match=r"1 keys repeat in 'sample' of the local table, for example 'S1'"):
        im.merge(grain, on="sample")
    assert values(im.merge(grain, on="sample", validate="m:m"), "grain")[:5] == [1.0, 2.0, 1.0, 2.0, None]
    assert len(im.with_property("hardness")) == 6  # two values of S1: their mean, no row more


def test_assignment_in_place_is_refused(im):
    with pytest.raises(ExpressionError, match=r"write frame = frame.assign\(x=...\)"):
        im["x"] = im.width
    with pytest.raises(ExpressionError, match=r"write frame = frame.assign\(x=...\)"):
        im.x = im.width
    with pytest.raises(ExpressionError, match=r"write frame = frame.drop\(columns=\['lab'\]\)"):
        del im["lab"]
    made = im.assign(x=im.width * 2, lab="ours", ok=True, half=lambda f: f.x / 4)
    assert made.to_pandas()[["x", "lab", "ok", "half"]].values.tolist() == [[128, "ours", True, 32.0]] * 6
    assert values(im, "lab")[2] == "Lab B"
    assert values(im.assign(width=im.width + 1).assign(width=lambda f: f.width * 2), "width") == [130] * 6


def test_whole_numbers_with_gaps_stay_whole_and_units_are_kept(im):
    counted = im.assign(n=im.defects.count())[["n", "pixel_size", "name", "colour"]].head(4)
    df = counted.to_pandas()
    assert [str(kind) for kind in df.dtypes] == [
        "int64[pyarrow]", "double[pyarrow]", "string[pyarrow]", "bool[pyarrow]"
    ]  # fmt: skip
    assert df["n"].tolist() == [4, 0, 3, pd.NA]
    assert df.attrs["units"] == {"pixel_size": "nm"}
    assert json.loads(df.attrs["query"]) == counted.to_json()
    nullable = counted.to_pandas(dtypes="nullable")
    assert [str(kind) for kind in nullable.dtypes] == ["Int64", "Float64", "string", "boolean"]
    classic = counted.to_pandas(dtypes="numpy")
    assert classic["n"].dtype == np.float64
    assert classic["colour"].dtype == bool
    assert list(counted.to_pandas(units="header").columns) == ["n", "pixel_size [nm]", "name", "colour"]
    with pytest.raises(UsageError, match="dtypes is 'int'; it is one of arrow, nullable, numpy"):
        counted.to_pandas(dtypes="int")
    with pytest.raises(UsageError, match="units is 'si'; it is one of attrs, header, pint"):
        counted.to_pandas("si")


def test_units_can_travel_with_the_values(im):
    df = im[["name", "pixel_size"]].to_pandas(units="pint")
    assert isinstance(df["pixel_size"][0], pint.Quantity)
    assert df["pixel_size"][2].to("pm").magnitude == pytest.approx(2000)
    assert (df["pixel_size"][0] * df["pixel_size"][1]).units == df["pixel_size"][0].units ** 2
    assert df["pixel_size"][4] is None
    assert df["name"].dtype == "string[pyarrow]"


def test_text_is_compared_with_its_case(im):
    assert im[im.lab == "lab a"].empty
    assert im[im.lab.str.contains("lab")].empty
    assert names(im[im.lab.str.startswith("Lab A")]) == ["one", "two", "six"]


@pytest.mark.parametrize(
    "make",
    [
        lambda im: im.sort_values("lab"),
        lambda im: im[im.lab < "Lab B"],
        lambda im: im.groupby("lab").agg(last=("name", "max"), first=("name", "first")),
        lambda im: im.drop_duplicates("lab"),
    ],
)
def test_text_has_one_order_whatever_the_locale_of_a_server(im, make):
    frame = make(im)
    with im.context.engine.connect() as connection:
        made = compile_frame(
            im.context, frame.base, frame.steps, vocabulary=frame.vocabulary, connection=connection
        )
        text = str(made.select().compile(dialect=postgresql.dialect()))
    parts = [part.partition("\n")[0] for part in text.split("ORDER BY ")[1:]]
    assert parts
    assert all('COLLATE "C"' in part for part in parts)
    assert str(sorting(t.lab.c.name, True).compile(dialect=postgresql.dialect())).endswith(
        'COLLATE "C" DESC NULLS LAST'
    )


def test_a_method_wins_over_a_column_of_its_name_and_brackets_give_the_column(im):
    made = im.groupby("lab").agg(count=("uid", "count"), hash=("width", "max"))
    assert made.count() == 2
    assert values(made[made["count"] > 2], "lab") == ["Lab A", "Lab B"]
    assert values(made[made["hash"] == 64].sort_values("count"), "count") == [3, 3]
    assert callable(made.hash)


# ---------------------------------------------------------------------- further verbs of pandas


def test_columns_are_dropped_and_renamed(im):
    q = im[["name", "lab", "pixel_size"]]
    assert q.drop(columns="lab").columns == ["name", "pixel_size"]
    swapped = q.rename(columns={"name": "lab", "lab": "name"})
    assert swapped.columns == ["lab", "name", "pixel_size"]
    assert values(swapped[swapped.name == "Lab B"], "lab") == ["three", "four", "five"]
    sized = q.rename({"pixel_size": "scale"})
    assert sized.units == {"scale": "nm"}
    assert names(sized[sized.scale < "0.3 nm"]) == ["two"]
    with pytest.raises(UnknownColumnError, match="no column 'labs' in images; did you mean lab"):
        im.drop(columns=["labs"])
    with pytest.raises(UsageError, match="for rows write a condition"):
        im.drop("one")
    with pytest.raises(UsageError, match="the column lab is named twice"):
        q.rename({"name": "lab"})
    with pytest.raises(UsageError, match="takes old and new names"):
        q.rename(str.upper)
    with pytest.raises(ExpressionError, match="build the expression from the frame it is used on"):
        sized.rename({"scale": "pixel_size"})[im.pixel_size < "1 nm"]


def test_the_first_of_duplicates_in_row_order_is_kept(im):
    assert names(im.drop_duplicates("lab")) == ["one", "three"]
    assert names(im.sort_values("name", ascending=False).drop_duplicates("material")) == [
        "two",
        "six",
        "four",
    ]
    assert names(im.head(2).drop_duplicates(["lab", "name"])) == ["one", "two"]
    assert values(im[["lab", "width"]].drop_duplicates(), "lab") == ["Lab A", "Lab B"]
    assert im.unique("material") == ["WS2", "UHCS", None]
    assert im.nunique("material") == 2


def test_values_are_counted_and_numbers_described(im):
    assert im.value_counts("material").to_arrow().to_pylist() == [
        {"material": "WS2", "count": 3}, {"material": "UHCS", "count": 2}
    ]  # fmt: skip
    both = im.value_counts(["lab", "material"], dropna=False)
    assert values(both, "count") == [2, 2, 1, 1]
    assert values(both, "material") == ["WS2", "UHCS", None, "WS2"]
    numbers = im[["name", "area", "width"]].describe()
    assert list(numbers.columns) == ["area", "width"]
    assert numbers.loc["count"].tolist() == [5.0, 6.0]
    assert numbers.loc["50%", "area"] == 1024.0
    assert numbers.attrs["units"] == {"area": "nm**2"}
    with pytest.raises(UsageError, match="no column of numbers to describe"):
        im[["name"]].describe()


def test_groups_give_what_pandas_groups_give(im):
    made = im.sort_values("name").groupby("lab").agg(
        first=("material", "first"), last=("name", "last"), var=("area", "var"),
        q=("width", "quantile", 0.25), seen=("colour", "first"),
    )  # fmt: skip
    rows = made.to_arrow().to_pylist()
    assert rows[0] == {
        "lab": "Lab A", "first": "WS2", "last": "two", "q": 64.0, "seen": False,
        "var": pytest.approx(np.var([1024, 1024, 512], ddof=1)),
    }  # fmt: skip
    assert rows[1]["first"] == "UHCS"
    assert made.units == {"var": "nm**4"}
    assert made.dtypes["seen"] == "bool"
    with pytest.raises(UsageError, match="a quantile lies between 0 and 1, not at 25"):
        im.groupby("lab").agg(x=("area", "quantile", 25))
    with pytest.raises(UsageError, match="mean takes no number"):
        im.groupby("lab").agg(x=("area", "mean", 2))
    with pytest.raises(UsageError, match="no aggregate 'lastt'; did you mean last"):
        im.groupby("lab").agg(x=("area", "lastt"))
    with pytest.raises(ExpressionError, match=r"name what you want: .agg\(mean=\('area', 'mean'\)\)"):
        im.groupby("lab")["area"]
