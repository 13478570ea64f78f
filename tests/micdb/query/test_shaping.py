"""Samples and joins: drawn and matched alike on every engine, and refused with the reason."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pandas as pd
import pytest

from micdb.errors import UnknownColumnError, UsageError
from micdb.query.frame import Frame


def names(frame: Frame) -> list[str]:
    return frame.to_arrow()["name"].to_pylist()


def values(frame: Frame, column: str) -> list[object]:
    return frame.to_arrow()[column].to_pylist()


# ---------------------------------------------------------------------- samples


def drawn(uids: list[str], n: int, seed: int) -> list[str]:
    """Return the sample by hand: the n smallest hashes, in the order given."""
    hashes = {uid: hashlib.md5(f"{seed}/{uid}".encode()).hexdigest() for uid in uids}
    chosen = set(sorted(uids, key=hashes.__getitem__)[:n])
    return [uid for uid in uids if uid in chosen]


def test_a_sample_is_the_same_each_time_and_on_each_engine(im):
    uids = values(im, "uid")
    for seed in range(5):
        assert values(im.sample(3, seed=seed), "uid") == drawn(uids, 3, seed)
    assert values(im.sample(3), "uid") == drawn(uids, 3, 0)
    assert len({tuple(values(im.sample(3, seed=seed), "uid")) for seed in range(20)}) > 5


def test_a_sample_keeps_the_order_and_is_without_replacement(im):
    up = im.sort_values("name")
    assert values(up.sample(4, seed=1), "uid") == drawn(values(up, "uid"), 4, 1)
    assert names(im.sample(100)) == names(im)
    assert im.sample(0).empty
    assert im.sample(np.int64(2), seed=np.int64(3)).count() == 2
    assert names(im.sample(3).head(1)) == names(im.sample(3))[:1]
    assert set(names(im[im.lab == "Lab A"].sample(2))) < {"one", "two", "six"}


def test_a_larger_sample_holds_the_smaller_one_so_that_growth_replaces_few(im):
    for n in range(5):
        assert set(names(im.sample(n, seed=4))) < set(names(im.sample(n + 1, seed=4)))


def test_groups_and_children_are_sampled_by_their_own_keys(im):
    kinds = im.explode("defects")
    assert kinds.sample(3, seed=1).to_arrow().to_pylist() == kinds.sample(3, seed=1).to_arrow().to_pylist()
    assert kinds.sample(5).count() == 5
    sizes = im.groupby(["lab", "pixel_size"], dropna=False).size()
    assert sizes.sample(2, seed=3).count() == 2


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda im: im.sample(-1), "n is -1; a sample has no fewer than 0 rows"),
        (lambda im: im.sample(0.5), "n is 0.5; it is a whole number"),
        (lambda im: im.sample(True), "n is True; it is a whole number"),
        (lambda im: im.sample(2, seed=None), r"seed is None; it is a whole number: sample\(100, seed=1\)"),
    ],
)
def test_what_cannot_be_drawn_is_refused(im, wrong, message):
    with pytest.raises(UsageError, match=message):
        wrong(im)


# ---------------------------------------------------------------------- joins


@pytest.fixture
def samples(im) -> Frame:
    return Frame(im.context, "samples")


def test_a_frame_is_joined_inside_the_statement(im, samples):
    form = samples[["name", "n_images"]].rename({"name": "sample"})
    joined = im[["name", "sample"]].merge(form, on="sample")
    assert values(joined, "n_images") == [2, 2, 1, 2, 2, None]
    assert joined.explain().count("SELECT") > 2
    assert joined.steps[-1].other.base == "samples"
    assert names(im.merge(form, on="sample", how="inner")) == ["one", "two", "three", "four", "five"]
    again = Frame.from_json(im.context, json.loads(json.dumps(joined.to_json())))
    assert again.to_arrow().equals(joined.to_arrow())
    assert again.hash() == joined.hash()


def test_keys_may_have_two_names_and_several_columns(im, samples):
    other = samples[["name", "lab", "n_images"]]
    joined = im[["name", "sample"]].merge(other, left_on="sample", right_on="name", suffixes=("", "_of"))
    assert joined.columns == ["name", "sample", "name_of", "lab", "n_images"]
    assert values(joined, "name_of") == ["S1", "S1", "S2", "S3", "S3", None]
    local = pd.DataFrame({"lab": ["Lab A", "Lab B", "Lab A"], "sample": ["S1", "S3", "S2"], "x": [1, 2, 3]})
    assert values(im.merge(local, on=["lab", "sample"]), "x") == [1, 1, None, 2, 2, None]


def test_columns_of_one_name_need_suffixes(im, samples):
    other = samples[["name", "material"]].rename({"name": "sample"})
    with pytest.raises(UsageError, match=r"both sides have material; .* suffixes=\('', '_other'\)"):
        im.merge(other, on="sample")
    joined = im[["sample", "material", "pixel_size"]].merge(other, on="sample", suffixes=("_x", "_y"))
    assert joined.columns == ["sample", "material_x", "pixel_size", "material_y"]
    assert joined.units == {"pixel_size": "nm"}
    with pytest.raises(UsageError, match="there are two columns 'material'"):
        im.merge(other, on="sample", suffixes=("", ""))
    with pytest.raises(UsageError, match="suffixes is '_x'; it is two texts"):
        im.merge(other, on="sample", suffixes="_x")


def test_what_validate_promises_is_checked_where_it_can_break(im, samples):
    labs = samples[["lab", "material"]]
    with pytest.raises(
        UsageError,
        match=r"1 keys repeat in 'lab' of the other frame, for example 'Lab B', and validate is 'm:1'",
    ):
        im[["name", "lab"]].merge(labs, on="lab").count()
    assert im[["name", "lab"]].merge(labs, on="lab", validate="m:m").count() == 9
    one = samples[["name"]].rename({"name": "sample"})
    with pytest.raises(UsageError, match=r"2 keys repeat in 'sample' of the frame, for example 'S1'.*'1:1'"):
        im[["sample"]].merge(one, on="sample", validate="1:1").to_arrow()
    with pytest.raises(UsageError, match="2 keys repeat in 'sample' of the frame"):
        im[["sample"]].merge(pd.DataFrame({"sample": ["S1"]}), on="sample", validate="one_to_many").count()
    assert samples.merge(one, left_on="name", right_on="sample", validate="one_to_one").count() == 3
    lonely = im[im.name == "six"][["sample"]]  # missing keys match nothing and may repeat
    assert lonely.merge(one, on="sample", validate="1:1").count() == 1


def test_partners_come_in_the_order_of_the_other_frame(im):
    right = im.rename({"name": "partner"}).sort_values("partner", ascending=False)[["lab", "partner"]]
    joined = im[["name", "lab"]].head(1).merge(right, on="lab", validate="m:m")
    assert values(joined, "partner") == ["two", "six", "one"]
    topped = im[["name", "lab"]].head(1).merge(right.head(3), on="lab", validate="m:m")
    assert values(topped, "partner") == ["two", "six"]


def test_a_frame_keeps_the_runs_it_was_pinned_to(im):
    old = im.using("peaks@0")[["uid", "n_atoms"]].rename({"n_atoms": "before"})
    joined = im[["uid", "n_atoms"]].merge(old, on="uid")
    assert joined.head(2).to_arrow().select(["n_atoms", "before"]).to_pylist() == [
        {"n_atoms": 120.0, "before": 7.0}, {"n_atoms": 30.0, "before": None}
    ]  # fmt: skip


def test_a_joined_frame_is_joined_again_and_searched_on(im, samples):
    form = samples[["name", "n_images"]].rename({"name": "sample"})
    twice = form.merge(form.rename({"n_images": "again"}), on="sample")
    q = im.merge(twice, on="sample")
    assert names(q[(q.again == 2) & (q.defects.count() > 0)]) == ["one"]
    assert q.groupby("again").size().to_arrow().to_pylist() == [
        {"again": 1, "size": 1},
        {"again": 2, "size": 4},
    ]


def test_a_local_table_that_is_large_is_not_carried_along_in_the_description(im):
    large = pd.DataFrame({"width": range(20_000), "x": 1.5})
    joined = im.merge(large, on="width")
    assert values(joined, "x") == [1.5] * 6
    assert joined.to_pandas().attrs["query"] is None
    assert im.merge(large.head(100), on="width").to_pandas().attrs["query"] is not None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "left_on is None; it names the columns to join by, for example on='sample'"),
        ({"on": "lab", "left_on": "lab"}, "leave left_on and right_on out, or on"),
        ({"left_on": ["lab", "sample"], "right_on": "lab"}, "left_on names 2 keys and right_on 1"),
        ({"on": ["lab", "lab"]}, "on names a column twice"),
        ({"on": "lab", "how": "outer"}, "how is 'outer'; it is one of left, inner"),
        ({"on": "lab", "validate": "1:n"}, "validate is '1:n'; it is one of m:1"),
    ],
)
def test_a_join_that_makes_no_sense_is_refused(im, options, message):
    with pytest.raises(UsageError, match=message):
        im.merge(pd.DataFrame({"lab": ["Lab A"], "x": [1]}), **options)


def test_keys_that_are_not_there_or_differ_in_kind_are_named(im, samples):
    with pytest.raises(
        UnknownColumnError, match=r"no column 'lap' in the other frame \(samples\); did you mean lab"
    ):
        im.merge(samples, left_on="lab", right_on="lap")
    with pytest.raises(UsageError, match="width is integer in the frame and text in the other frame"):
        im.merge(samples, left_on="width", right_on="lab")
    with pytest.raises(UsageError, match="width is in None in the frame and in nm in the other"):
        im[["width"]].merge(im[["pixel_size"]], left_on="width", right_on="pixel_size")
    with pytest.raises(UsageError, match="two columns called 'x'"):
        im.merge(pd.DataFrame([[1, 2, "Lab A"]], columns=["x", "x", "lab"]), on="lab")


BY_LAB = [[["lab", "lab"]], "left", "m:1", None]


@pytest.mark.parametrize(
    ("verb", "message"),
    [
        (["merge", BY_LAB, [["lab", "word"]], [], []], "lab is of kind 'word'"),
        (["merge", BY_LAB, [["lab", "text"]], [[1]], []], "holds a wrong value"),
        (["merge", BY_LAB, [["lab", "text"]], [["a", "b"]], []], "1 columns and rows of 2"),
        (["join", BY_LAB, {"base": "images"}], "exactly the keys base and verbs"),
        (["join", [BY_LAB[0], "up", "m:1", None], {"base": "samples", "verbs": []}], "how is 'up'"),
        (["rename", [["lab"]]], "malformed"),
        (["sample", "x", 1], "n is 'x'"),
        (["distinct", []], "needs a column to compare"),
    ],
)
def test_a_tree_of_a_join_is_checked_as_the_call_is(im, verb, message):
    with pytest.raises(UsageError, match=message):
        Frame.from_json(im.context, {"base": "images", "verbs": [verb]})


def test_a_large_local_table_is_matched_value_by_value_and_leaves_nothing_behind(im):
    words = ["", "été", 'x"y', "a,b", "line\nbreak", None, "Lab A", "\\N"]
    number = range(1000)
    local = pd.DataFrame(
        {
            "width": pd.array([*number], dtype="Int64") - 500,
            "word": [words[i % len(words)] for i in number],
            "x": [None if i % 7 == 0 else i / 3 for i in number],
            "ok": pd.array([None if i % 5 == 0 else i % 2 == 0 for i in number], dtype="boolean"),
            "void": [None] * len(number),
        }
    )
    joined = im[["name", "width"]].assign(width=lambda f: f.width * 0 + 436).merge(local, on="width")
    wide = im[["name"]].assign(one=1).merge(local.assign(one=1), on="one", validate="m:m")
    assert wide.count() == 6000
    rows = wide[wide.name == "one"].to_arrow()
    assert rows["word"].to_pylist() == [words[i % len(words)] for i in number]
    assert rows["x"].to_pylist() == [None if pd.isna(x) else x for x in local["x"]]
    assert rows["ok"].to_pylist() == [None if pd.isna(x) else x for x in local["ok"]]
    assert rows["void"].null_count == 1000
    assert values(joined, "word") == [words[936 % len(words)]] * 6
    assert [len(page) for page in wide.pages(4000)] == [4000, 2000]
    if im.context.engine.dialect.name == "sqlite":
        with im.context.engine.connect() as connection:
            left = connection.exec_driver_sql("SELECT count(*) FROM sqlite_temp_master").scalar_one()
        assert left == 0
