"""Sheets of properties: spread, conditions and composition come in; every wrong cell is named at once."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sqlalchemy as sa

from micdb import fsck, opening
from micdb.catalog import tables
from micdb.catalog.engine import reading
from micdb.errors import SheetError
from micdb.ingest.measurements import add_properties
from micdb.ingest.sheet import read_map, read_properties, read_sheet

MAP = """
sample = "sample"
material = "alloy"
composition = "formula"
[property.hardness]
column = "HV"
unit = "GPa"
sd = "sd"
low = "low"
high = "high"
n = "n"
method = { column = "method" }
[property.hardness.conditions]
load = { column = "load", unit = "N" }
temperature = { value = "296.15 K", unit = "degC" }
atmosphere = "gas"
"""
HEADER = "sample,alloy,formula,HV,sd,low,high,n,method,load,gas"


class Bench:
    """A database, and a sheet of measurements that can be rewritten."""

    def __init__(self, folder):
        self.db = opening.init(folder / "lab.micdb")
        self.map, self.sheet = folder / "map.toml", folder / "hardness.csv"
        self.map.write_text(MAP)

    def add(self, *rows: str, **options):
        self.sheet.write_text("\n".join([HEADER, *rows, ""]))
        return self.db.add_properties(self.sheet, self.map, **options)

    def live(self, name: str):
        v, d = tables.property_value, tables.property_def
        query = sa.select(v).join(d, d.c.pk == v.c.property_def_pk).where(d.c.name == name)
        with reading(self.db.engine) as connection:
            return connection.execute(query.where(v.c.retired_at.is_(None)).order_by(v.c.pk)).all()


@pytest.fixture
def bench(tmp_path):
    made = Bench(tmp_path)
    yield made
    assert fsck.check(made.db.engine, made.db.root, deep=True).clean
    made.db.close()


def test_all_that_is_said_of_a_value_is_kept(bench):
    done = bench.add("s1,A,Ni3Al,5.5,200 MPa,5,6,12,Vickers,500 mN,argon", lab="Lab A")
    assert (done.n_rows, done.n_samples, done.n_values, done.n_new) == (1, 1, 6, 6)
    (value,) = bench.live("hardness")
    assert (value.value, value.sd, value.low, value.high, value.n) == (5.5, pytest.approx(0.2), 5, 6, 12)
    assert (value.method, value.level, value.source_row) == ("Vickers", "sample", 2)
    assert value.conditions == {
        "atmosphere": {"text": "argon"},
        "load": {"value": 0.5, "unit": "N"},
        "temperature": {"value": pytest.approx(23), "unit": "degC"},
    }
    (sample,) = bench.db.samples.to_pandas().to_dict("records")
    assert (sample["name"], sample["lab"], sample["material"], sample["n_images"]) == ("s1", "Lab A", "A", 0)
    assert bench.live("composition")[0].text == "Ni3Al"
    assert {name: bench.live(name)[0].value for name in ("at_Ni", "at_Al")} == {"at_Ni": 75, "at_Al": 25}


def test_every_filled_cell_is_a_measurement_and_the_same_sheet_changes_nothing(bench):
    rows = ["s1,,,5,,,,,,,", "s1,,,5,,,,,,,", "s1,,,6,,,,,,,", "s2,,,7,,,,,,,"]
    assert bench.add(*rows).n_values == 4
    assert bench.db.samples.with_property("hardness").to_pandas()["hardness_n"].tolist() == [3, 1]
    with reading(bench.db.engine) as connection:
        before = connection.execute(sa.select(tables.property_value)).all()
        events = connection.execute(sa.select(tables.event)).all()
    again = bench.add(*rows)
    assert (again.n_values, again.n_new, again.n_retired) == (4, 0, 0)
    with reading(bench.db.engine) as connection:
        assert connection.execute(sa.select(tables.property_value)).all() == before
        assert connection.execute(sa.select(tables.event)).all() == events
    fewer = bench.add(*rows[1:])
    assert (fewer.n_values, fewer.n_new, fewer.n_retired) == (3, 0, 1)


def test_a_corrected_composition_leaves_no_element_behind(bench):
    bench.add("s1,,Fe-18Cr wt%,,,,,,,,")
    assert [value.value for value in bench.live("wt_Cr")] == [18]
    bench.add("s1,,Ni3Al,,,,,,,,")
    assert (bench.live("wt_Cr"), bench.live("at_Fe")) == ([], [])
    assert [value.value for value in bench.live("at_Ni")] == [75]


def test_every_wrong_cell_is_named_and_nothing_is_written(bench):
    with pytest.raises(SheetError) as caught:
        bench.add(
            "s1,A,Ni3Al,5.5,-1,5,6,12,V,1,argon",
            ",A,Qq3,warm,,,,1.5,V,3 kg,5",
            "s3,A,Fe-18Cr,5,,6,7,,V,1,argon",
            "s4,A,,5,,5,,,V,,",
            "s5,A,,,0.1,,,,V,,",
        )
    path, *lines = str(caught.value).split("\n  ")
    assert path == f"{bench.sheet}: 11 cells are wrong:"
    expected = [
        "row 2, column 'sd': '-1' is below zero, no standard deviation",
        "row 3, column 'sample': is empty; expected a name, or delete the row",
        "row 3, column 'n': '1.5' is no number of measurements; expected 1, 2, 3, ...",
        "row 3, column 'gas': '5' is a number, and property.hardness.conditions.atmosphere of the map",
        "row 3, column 'load': '3 kg' is not a number in N: cannot compare kg",
        "row 3, column 'HV': 'warm' is not a number in GPa",
        "row 3, column 'formula': 'Qq3' is no composition",
        "row 4, column 'low': the interval from 6 to 7 does not hold the value 5",
        "row 4, column 'formula': 'Fe-18Cr' does not say what its numbers are percents of",
        "row 5, column 'high': is empty; an interval needs both ends",
        "row 6, column 'sd': is filled and column 'HV' is empty; fill both, or none",
    ]
    for line, begins in zip(lines, expected, strict=True):
        assert line.startswith(begins)
    assert bench.db.samples.empty


def test_many_rows_are_written_at_once(bench):
    """A sheet asks and writes as often as it has kinds of things to say, however many rows it has."""
    seen = []
    sa.event.listen(bench.db.engine, "before_cursor_execute", lambda *about: seen.append(about[2]))
    rows = [f"s{n // 2},,Ni3Al,{1 + n / 100},,,,,V,{n + 1},argon" for n in range(400)]
    assert bench.add(*rows).n_values == 400 + 5 * 200  # the composition, and two elements in two percents
    assert len(seen) < 120
    assert [value.value for value in bench.live("at_Ni")] == [75] * 200
    seen.clear()
    assert bench.add(*rows[2:]).n_retired == 2 + 5
    assert len(seen) < 120


def test_a_server_gets_the_same_values_and_keeps_them(bench, pg_engine):
    rows = ["s1,A,Ni3Al,5.5,0.2,5,6,12,Vickers,500 mN,argon", "s1,,,5.5,,,,,,,", "s2,,,7,,,,,,,"]
    there = bench.add(*rows)
    sheet = read_properties(bench.sheet, bench.map)
    found = [add_properties(pg_engine, sheet, None) for _ in range(2)]
    assert found[0] == there
    assert (found[1].n_values, found[1].n_new, found[1].n_retired) == (there.n_values, 0, 0)
    v = tables.property_value.c
    same = [v.natural_key, v.value, v.text, v.sd, v.low, v.high, v.n, v.conditions, v.raw, v.source_row]
    query = sa.select(*same).order_by(v.natural_key)
    with reading(bench.db.engine) as ours, reading(pg_engine) as theirs:
        assert ours.execute(query).all() == theirs.execute(query).all()
    fewer = replace(sheet, rows=sheet.rows[1:])
    assert add_properties(pg_engine, fewer, None).n_retired == there.n_values - 2


def test_contradicting_compositions_of_a_sample_are_refused(bench):
    with pytest.raises(SheetError, match="row 3: sample 's1' has composition Ni3Al here and NiAl in row 2"):
        bench.add("s1,,NiAl,,,,,,,,", "s1,,Ni3Al,,,,,,,,")


def test_an_interval_of_temperatures_is_converted_end_by_end(tmp_path):
    table, map_ = tmp_path / "t.csv", tmp_path / "map.toml"
    table.write_text("s,t,a,b\nx,300 K,290 K,310 K\n")
    map_.write_text('sample = "s"\nproperty.t = {column = "t", unit = "degC", low = "a", high = "b"}\n')
    (entry,) = read_properties(table, map_).rows[0].properties
    assert (entry.value, entry.low, entry.high) == pytest.approx((26.85, 16.85, 36.85))


def test_a_sheet_of_files_knows_conditions_too(tmp_path):
    table, map_ = tmp_path / "t.csv", tmp_path / "map.toml"
    table.write_text("file,h,f\na.tif,5,100 mN\n")
    map_.write_text(
        'file = "file"\n[property.h]\ncolumn = "h"\nunit = "GPa"\nlevel = "image"\nmethod = "Vickers"\n'
        '[property.h.conditions]\nload = { column = "f", unit = "N" }\n'
    )
    (entry,) = read_sheet(table, read_map(map_), root=tmp_path).rows[0].properties
    assert [tuple(one) for one in entry.conditions] == [("load", 0.1, "N")]
    assert (entry.level, entry.method, entry.repeat) == ("image", "Vickers", None)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('material = "m"', "sample is missing; write sample ="),
        (
            'sample = "s"\nfile = "f"',
            r"file is said of files: bring them in with this sheet \(micdb ingest\)",
        ),
        ('sample = "s"\nlabel.x = "x"', "label is said of files"),
        (
            'sample = "s"\nproperty.h = {column = "h", level = "image"}',
            "h.level is image, and these rows are of",
        ),
        ('sample = "s"\nproperty.h = {column = "h", unit = "GPa", low = "l"}', "has one end of an interval"),
        ('sample = "s"\nproperty.h = {column = "h", n = "n"}', "property.h.n needs numbers"),
        (
            'sample = "s"\nproperty.h = {column = "h", conditions = "l"}',
            "conditions is 'l', expected a table",
        ),
        ('sample = "s"\nproperty.h = {column = "h", conditions = {"a b" = "l"}}', "is named 'a b'"),
    ],
)
def test_mistakes_in_the_map(tmp_path, text, says):
    path = tmp_path / "map.toml"
    path.write_text(text)
    with pytest.raises(SheetError, match=says):
        read_map(path, files=False)
