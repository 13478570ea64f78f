"""Questions to atoms and bonds: DuckDB over the parts gives what pandas gives."""

from __future__ import annotations

import math
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from micdb.errors import StoreError, UnknownColumnError, UsageError
from micdb.populate.facts import FACTS
from micdb.query.aggregate import FUNCTIONS, Aggregate
from micdb.query.columns import part_fields
from micdb.query.facts import questions

make = SimpleNamespace(**run_path(str(Path(__file__).parents[3] / "data" / "planted" / "make.py")))
ATOM = SimpleNamespace(**{field.name: field.expr() for field in part_fields("atoms", FACTS["atoms"])})


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    # A folder name full of signs that DuckDB would read as a pattern or a partition.
    return make.database(tmp_path_factory.mktemp("db") / "run=9" / "lab [old]*?")


@pytest.fixture(scope="module")
def planted(context):
    """Return a run with two parts: images 1 to 3 and 7 to 8; image 5 has no atoms."""
    run = make.add_run(context, "peaks")
    make.add_part(context, run, "atoms", rows=make.atoms([(1, 1, 5), (1, 2, None), (2, 3, 7), (3, 4, 9)]))
    make.add_part(context, run, "atoms", rows=make.atoms([(7, math.nan, 1), (7, 0.5, 2), (8, 6, 3)]))
    return run


def ask(context, run, images, *aggregates):
    table = questions.aggregate(context, "atoms", [run], images=np.array(images), aggregates=aggregates)
    return table.to_pydict()


def test_an_image_without_rows_counts_zero_and_has_no_mean(context, planted):
    size, mean = Aggregate("n", "size", None, None), Aggregate("x", "mean", "x_nm", None)
    found = ask(context, planted, [8, 5, 1], size, mean)
    assert found == {"image": [8, 5, 1], "n": [1, 0, 2], "x": [6.0, None, 1.5]}


def test_an_image_given_twice_is_answered_once(context, planted):
    assert ask(context, planted, [1, 1, 2], Aggregate("n", "size", None, None))["image"] == [1, 2]


def test_missing_values_and_nan_are_left_out(context, planted):
    found = ask(
        context,
        planted,
        [1, 7],
        Aggregate("rows", "size", None, None),
        Aggregate("known", "count", "x_nm", None),
        Aggregate("bright", "count", "intensity", None),
        Aggregate("largest", "max", "x_nm", None),
    )
    assert found == {
        "image": [1, 7],
        "rows": [2, 2],
        "known": [2, 1],
        "bright": [1, 2],
        "largest": [2.0, 0.5],
    }


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (ATOM.x_nm > "1 nm", [1, 1]),
        (ATOM.x_nm > "10 angstrom", [1, 1]),
        (ATOM.intensity != 5, [1, 1]),  # a missing value differs from everything
        (~(ATOM.intensity == 5), [1, 1]),
        (~(ATOM.intensity > 100), [2, 1]),
        (ATOM.intensity.isna(), [1, 0]),
        (ATOM.intensity.fillna(8) > 7, [1, 0]),
        (ATOM.idx.isin([0, 2]), [1, 1]),
        (ATOM.idx.isin([]), [0, 0]),
        ((ATOM.idx == 0) | (ATOM.intensity == 7), [1, 1]),
        ((ATOM.x_nm > "1 nm") & (ATOM.intensity > 0), [0, 1]),
        ((ATOM.x_nm / ATOM.y_px).isna(), [2, 1]),  # division by zero
        (ATOM.intensity.sqrt() > 2.3, [0, 1]),
        (ATOM.intensity.log() > 1.7, [0, 1]),
        ((0 - ATOM.intensity).sqrt().notna(), [0, 0]),
        ((ATOM.idx * 2_000_000_000 + ATOM.idx * 2_000_000_000) > 0, [1, 1]),  # beyond 32 bits
        (abs(ATOM.x_nm - "1.5 nm") < "1 nm", [2, 0]),
        (-ATOM.idx < ATOM.idx, [1, 1]),
        (ATOM.x_nm.to("um") < "0.0025 um", [2, 0]),
    ],
    ids=str,
)
def test_conditions_over_two_images(context, planted, condition, expected):
    # image 1: x 1 and 2 nm, intensity 5 and missing; image 2: x 3 nm, intensity 7; idx 0, 1, 2
    assert ask(context, planted, [1, 2], Aggregate("n", "size", None, condition))["n"] == expected


VALUE = st.one_of(st.none(), st.just(math.nan), st.integers(-5, 5).map(float))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    entries=st.lists(st.tuples(st.integers(1, 6), VALUE, VALUE), min_size=1, max_size=30),
    images=st.lists(st.integers(1, 8), min_size=1, max_size=8, unique=True),
    bound=st.integers(-4, 4),
    cut=st.integers(0, 30),
)
def test_aggregates_equal_pandas(context, entries, images, bound, cut):
    entries = sorted(entries, key=lambda entry: entry[0])
    run = make.add_run(context, "peaks", current=False)
    for piece in (entries[:cut], entries[cut:]):
        if piece:
            make.add_part(context, run, "atoms", rows=make.atoms(piece))
    asked = [
        Aggregate(f"{function}{i}", function, None if function == "size" else "x_nm", condition)
        for i, condition in enumerate((None, ATOM.intensity > bound, ATOM.intensity != bound))
        for function in FUNCTIONS
    ]
    answer = questions.aggregate(context, "atoms", [run], images=np.array(images), aggregates=asked)

    frame = pd.DataFrame(entries, columns=["image", "x_nm", "intensity"]).astype(
        {"x_nm": float, "intensity": float}
    )
    masks = (frame.image > 0, frame.intensity > bound, frame.intensity != bound)
    for one in asked:
        groups = frame[masks[int(one.name[-1])]].groupby("image").x_nm
        wanted = groups.sum(min_count=1) if one.function == "sum" else getattr(groups, one.function)()
        wanted = wanted.reindex(images, fill_value=0 if one.function in questions.COUNTS else math.nan)
        found = answer[one.name].to_pandas().astype(float)
        np.testing.assert_allclose(found, wanted.to_numpy(float), rtol=1e-12, err_msg=str(one))


def test_rows_come_in_the_order_asked_for(context, planted):
    found = questions.rows(context, "atoms", [planted], images=np.array([8, 1]), columns=["x_nm", "run"])
    assert found.to_pydict() == {"image": [8, 1, 1], "x_nm": [6.0, 1.0, 2.0], "run": [planted] * 3}
    assert found.schema.field("x_nm").type == pa.float64()


def test_rows_with_condition_and_limit(context, planted):
    ask = {"images": np.array([1, 2, 3, 7, 8]), "columns": ["x_nm"], "condition": ATOM.x_nm >= "2 nm"}
    assert questions.rows(context, "atoms", [planted], **ask, limit=2)["x_nm"].to_pylist() == [2.0, 3.0]
    assert questions.rows(context, "atoms", [planted], **ask)["x_nm"].to_pylist() == [2.0, 3.0, 4.0, 6.0]


def test_no_parts_give_an_empty_answer_with_the_right_columns(context):
    run = make.add_run(context, "peaks", current=False)
    found = questions.rows(context, "atoms", [run], images=np.array([1]), columns=["x_nm", "image"])
    assert found.schema.names == ["image", "x_nm"]
    assert found.num_rows == 0
    sizes = [Aggregate("n", "size", None, None), Aggregate("x", "sum", "x_nm", ATOM.idx == 0)]
    assert ask(context, run, [1], *sizes) == {"image": [1], "n": [0], "x": [None]}
    assert ask(context, run, [], *sizes) == {"image": [], "n": [], "x": []}


def test_only_live_parts_of_the_run_count(context):
    run, other = make.add_run(context, "peaks", current=False), make.add_run(context, "peaks", current=False)
    make.add_part(context, run, "atoms", rows=make.atoms([(1, 1, 1)]))
    make.add_part(context, run, "atoms", rows=make.atoms([(1, 2, 1)]), state="quarantined")
    make.add_part(context, other, "atoms", rows=make.atoms([(1, 3, 1)]))
    assert ask(context, run, [1], Aggregate("x", "max", "x_nm", None))["x"] == [1.0]


def test_columns_that_an_extractor_added(context):
    run = make.add_run(context, "peaks", current=False)
    rows = make.atoms([(1, 1, 1), (2, 2, 1)]).append_column("coordination", pa.array([3, 4], pa.int8()))
    make.add_part(context, run, "atoms", rows=rows)
    plain = make.add_run(context, "peaks", current=False)
    make.add_part(context, plain, "atoms", rows=make.atoms([(3, 1, 1)]))
    assert questions.columns(context, "atoms", [run, plain]).names[-1] == "coordination"
    total = Aggregate("n", "sum", "coordination", None)
    found = questions.aggregate(
        context, "atoms", [run, plain], images=np.array([1, 2, 3]), aggregates=[total]
    )
    assert found["n"].to_pylist() == [3, 4, None]


def test_an_unknown_column_or_table_is_named(context, planted):
    with pytest.raises(UnknownColumnError, match="no column 'x_mn' in atoms; did you mean"):
        ask(context, planted, [1], Aggregate("n", "mean", "x_mn", None))
    with pytest.raises(UsageError, match="no table 'atom'.*did you mean atoms"):
        questions.columns(context, "atom", [planted])


@pytest.mark.parametrize("damage", ["missing", "cut", "overwritten"])
def test_a_missing_or_damaged_part_is_named(context, damage):
    run = make.add_run(context, "peaks", current=False)
    path = make.add_part(context, run, "atoms", rows=make.atoms([(1, i, 1) for i in range(1000)]))
    whole = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(whole[:-10] if damage == "cut" else b"\xff" * (len(whole) - 4000) + whole[-4000:])
    with pytest.raises(StoreError, match="micdb fsck --deep") as caught:
        ask(context, run, [1], Aggregate("x", "mean", "x_nm", None))
    assert str(path) in str(caught.value)


def test_parts_that_cannot_hold_the_images_are_not_opened(context):
    run = make.add_run(context, "peaks", current=False)
    make.add_part(context, run, "atoms", rows=make.atoms([(1, 1, 1)]))
    far = make.add_part(context, run, "atoms", rows=make.atoms([(50, 1, 1), (90, 1, 1)]))
    far.write_bytes(b"not Parquet")
    with context.engine.begin() as connection:  # the newest part of a run tells its columns
        connection.exec_driver_sql(f"UPDATE part SET pk = -pk WHERE run_pk = {run} AND min_image = 50")
    n = Aggregate("n", "size", None, None)
    assert ask(context, run, [1, 49, 91], n)["n"] == [1, 0, 0]
    with pytest.raises(StoreError, match="Parquet"):
        ask(context, run, [1, 60], n)
