"""Properties under conditions, and samples by element, on both engines."""

from __future__ import annotations

import json

import pandas as pd
import pytest
import sqlalchemy as sa

from micdb.catalog import tables as t
from micdb.catalog.engine import writing
from micdb.errors import UnitError, UsageError
from micdb.query.frame import Frame

ARGON = {"gas": {"text": "argon"}}
STRENGTHS = (  # [GPa] of sample S1, with how and at what each was measured
    (1.0, "Vickers", {"load": {"value": 5.0, "unit": "N"}, "cycles": {"value": 10, "unit": None}}),
    (2.0, "Knoop", {"load": {"value": 5000.0, "unit": "mN"}, "T": {"value": 0.0, "unit": "degC"}, **ARGON}),
    (4.0, "Vickers", {"load": {"value": 10.0, "unit": "N"}, "T": {"value": 25.0, "unit": "degC"}}),
    (8.0, "Vickers", None),
)
SHARES = (("at_W", "S1", 33.3), ("wt_Ni", "S1", 1.0), ("at_Ni", "S2", 75.0), ("at_Ni", "S3", 0.0))


@pytest.fixture
def rows(context, planted) -> Frame:
    with writing(context.engine) as connection:
        samples = dict(connection.execute(sa.select(t.sample.c.name, t.sample.c.pk)).all())
        serial = iter(range(1000))

        def define(name: str, unit: str) -> int:
            made = t.property_def.insert().values(uid=f"d{next(serial)}", name=name, kind="number", unit=unit)
            return int(connection.execute(made.returning(t.property_def.c.pk)).scalar_one())

        def put(known: int, sample: str, value: float, **more: object) -> None:
            number = next(serial)
            connection.execute(
                t.property_value.insert().values(
                    uid=f"v{number}", property_def_pk=known, level="sample", sample_pk=samples[sample],
                    value=value, origin="user", source_name="s", natural_key=f"m{number}", created_at="2024",
                    **more,
                )
            )  # fmt: skip

        strength = define("strength", "GPa")
        for value, method, conditions in STRENGTHS:
            put(strength, "S1", value, method=method, conditions=conditions)
        elements = {name: define(name, "percent") for name in ("at_W", "wt_Ni", "at_Ni")}
        for name, sample, share in SHARES:
            put(elements[name], sample, share)
    return Frame(context, "images")


def one(frame: Frame) -> tuple[object, int]:
    row = frame[frame.name == "one"].to_pandas().iloc[0]
    return (None if pd.isna(row["strength"]) else row["strength"]), row["strength_n"]


@pytest.mark.parametrize(
    ("method", "conditions", "mean", "n"),
    [
        (None, None, 3.75, 4),
        ("Vickers", None, 13 / 3, 3),
        (None, {"load": "5 N"}, 1.5, 2),  # whatever unit it was written in
        (None, {"load": "0.005 kN"}, 1.5, 2),
        (None, {"load": ("5 N", "10 N")}, 7 / 3, 3),
        (None, {"load": ("6 N", "7 N")}, None, 0),
        ("Knoop", {"load": "5 N", "gas": "argon"}, 2.0, 1),
        (None, {"gas": "Argon"}, None, 0),
        (None, {"T": "273.15 K"}, 2.0, 1),
        (None, {"T": ("20 degC", "300 K")}, 4.0, 1),
        (None, {"cycles": 10}, 1.0, 1),
    ],
)
def test_values_measured_under_conditions(rows, method, conditions, mean, n):
    q = rows.with_property("strength", method=method, conditions=conditions)
    found, count = one(q)
    assert (found, count) == (pytest.approx(mean) if mean is not None else None, n)
    again = Frame.from_json(q.context, json.loads(json.dumps(q.to_json())))
    assert again.hash() == q.hash()
    assert one(again) == one(q)


def test_a_query_without_conditions_is_written_as_before(rows):
    assert rows.with_property("strength").to_json()["verbs"] == [
        ["withproperty", "strength", "sample", "mean"]
    ]


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"conditions": {"laod": "5 N"}}, UsageError, "no strength says at what laod .*did you mean load"),
        ({"conditions": {"load": "5 kg"}}, UnitError, "load of strength is in N or mN, not 5 kg"),
        ({"conditions": {"load": 5}}, UnitError, "load of strength is in N or mN, not 5: give it with"),
        ({"conditions": {"cycles": "5 N"}}, UnitError, "cycles of strength is in a plain number, not 5 N"),
        ({"conditions": {"load": ("5 N", "1 N")}}, UsageError, "the range of load of strength ends before"),
        ({"conditions": {"load": True}}, UsageError, 'condition load is True; write "5 N"'),
        ({"conditions": {"gas": ("a", "b")}}, UsageError, "gas of strength is a text and has no range"),
        ({"method": "vickers"}, UsageError, "was measured by 'vickers'; did you mean Vickers"),
    ],
)
def test_what_nothing_was_measured_at_is_told_before_anything_runs(rows, options, error, says):
    with pytest.raises(error, match=says):
        rows.with_property("strength", **options)


def test_the_interval_of_a_single_value_is_its_own_and_of_several_there_is_none(rows):
    with writing(rows.context.engine) as connection:
        of_one = t.property_value.update().where(t.property_value.c.method == "Knoop")
        connection.execute(of_one.values(low=1.5, high=2.25))
    q = rows.with_property("strength", method="Knoop", interval=True)
    found = q[q.name == "one"].to_pandas().iloc[0]
    assert (found["strength"], found["strength_low"], found["strength_high"]) == (2.0, 1.5, 2.25)
    assert (q.units["strength_low"], q.units["strength_high"]) == ("GPa", "GPa")
    assert Frame.from_json(q.context, json.loads(json.dumps(q.to_json()))).columns == q.columns
    several = rows.with_property("strength", interval=True, agg="max")
    found = several[several.name == "one"].to_pandas().iloc[0]
    assert found["strength_n"] == 4
    assert found[["strength_low", "strength_high"]].isna().all()
    assert "strength_low" not in rows.with_property("strength").columns


def names(frame: Frame) -> set[str]:
    return set(frame.to_pandas()["name"])


def test_images_by_element(rows):
    assert names(rows[rows.contains("W")]) == {"one", "two"}
    assert names(rows[rows.contains("Ni")]) == {"one", "two", "three"}  # percent of mass or of atoms, not 0
    assert names(rows[~rows.contains("Ni")]) == {"four", "five", "six"}  # also where nothing is known
    assert names(rows[rows.contains("Cr")]) == set()  # an element that no sample has
    assert names(rows.query('contains("Ni") and not contains("W")')) == {"three"}
    assert names(rows.head(4)[rows.contains("Ni") & (rows.pixel_size < "1 nm")]) == {"one", "two"}
    samples = Frame(rows.context, "samples")
    assert names(samples[samples.contains("Ni")]) == {"S1", "S2"}
    found = rows.assign(nickel=rows.contains("Ni")).to_pandas()
    assert found["nickel"].tolist() == [name in ("one", "two", "three") for name in found["name"]]


def test_an_element_is_text_and_json(rows):
    q = rows[rows.contains("Ni") & (rows.width > 3)]
    mask = q.steps[0].mask
    assert str(mask) == 'contains("Ni") and width > 3'
    assert rows.query(str(mask)).hash() == q.hash()
    assert q.to_json()["verbs"][0][1][1] == ["element", "Ni"]
    assert names(Frame.from_json(rows.context, q.to_json())) == names(q)


def test_what_has_no_elements_is_refused(rows):
    with pytest.raises(UsageError, match="'ni' is no element's symbol; write Ni"):
        rows.contains("ni")
    with pytest.raises(UsageError, match="defects have no composition here: ask contains"):
        Frame(rows.context, "defects").contains("Ni")
    with pytest.raises(UsageError, match="before columns are chosen"):
        rows[["name"]].contains("Ni")
