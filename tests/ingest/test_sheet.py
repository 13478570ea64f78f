"""Samples sheets and their maps: planted values come back, and every mistake is named where it stands."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from micdb import units
from micdb.errors import NotFoundError, SheetError
from micdb.ingest import sheet_map as sheet_map_module
from micdb.ingest.sheet import PropertyEntry, Step, read_map, read_sheet

UHCS_MAP = """
file = "file"
sample = "sample_key"
lab = { value = "Lab A" }
material = { value = "UHCS" }
[pixel_size]
column = "um_per_px"
unit = "um"
[[step]]
kind = "anneal"
temperature = { column = "anneal_temperature_C", unit = "degC" }
time = { column = "anneal_minutes", unit = "min" }
cooling = { column = "cool_method" }
[label.primary_microconstituent]
column = "primary_microconstituent"
"""
HARDNESS_MAP = """
file = "file"
[property.hardness]
column = "HV"
unit = "GPa"
sd = "HV_sd"
level = "image"
method = "nanoindentation"
"""


def write_map(folder: Path, text: str) -> Path:
    path = folder / "map.toml"
    path.write_text(text, encoding="utf-8")
    return path


def read(folder: Path, table: str | bytes, map_text: str, *, root: Path | None = None):
    path = folder / "samples.csv"
    path.write_bytes(table.encode() if isinstance(table, str) else table)
    return read_sheet(path, read_map(write_map(folder, map_text)), root=root or folder)


def first_value(folder: Path, cell: str, *, unit: str = "degC", header: str = "file;t"):
    map_text = f'file = "file"\n[property.t]\ncolumn = "t"\nunit = "{unit}"\n'
    (row,) = read(folder, f"{header}\na.tif;{cell}\n", map_text).rows
    return row.properties[0].value


# the whole path


def test_the_example_of_the_module_is_a_valid_map(tmp_path):
    text = sheet_map_module.__doc__.split("::\n", 1)[1].split("Numbers need a unit")[0]
    found = read_map(write_map(tmp_path, "\n".join(line.removeprefix("    ") for line in text.splitlines())))
    assert found.sheet == "Series 3"
    assert [step.kind for step in found.steps] == ["anneal"]
    assert found.names["lab"].constant == "Lab A"
    assert found.properties[0].sd.column == "HV_sd"


def test_a_row_holds_everything_the_map_names(tmp_path):
    table = (
        "file,sample_key,um_per_px,anneal_temperature_C,anneal_minutes,cool_method,primary_microconstituent\n"
        "images/a.jpg,18,0.2,800.0,85 h,Q,spheroidite\n"
    )
    (row,) = read(tmp_path, table, UHCS_MAP).rows
    assert (row.sheet, row.number, row.file) == ("samples.csv", 2, "images/a.jpg")
    assert (row.sample, row.material, row.lab, row.instrument) == ("18", "UHCS", "Lab A", None)
    assert (row.pixel_size.value, row.pixel_size.unit, row.pixel_size.origin) == (0.2, "um", "user")
    assert row.steps == (
        Step(
            1,
            "anneal",
            (
                PropertyEntry("anneal_temperature", "sample", 800.0, unit="degC", raw="800.0"),
                PropertyEntry("anneal_time", "sample", 5100.0, unit="min", raw="85 h"),
                PropertyEntry("anneal_cooling", "sample", text="Q", raw="Q"),
            ),
        ),
    )
    label = PropertyEntry("primary_microconstituent", "image", text="spheroidite", raw="spheroidite")
    assert row.properties == (label,)
    assert row.where == "samples.csv: row 2"


def test_property_with_deviation_level_and_method(tmp_path):
    (row,) = read(tmp_path, "file,HV,HV_sd\na.tif,5.5,200 MPa\n", HARDNESS_MAP).rows
    (entry,) = row.properties
    assert (entry.value, entry.sd, entry.unit) == (5.5, pytest.approx(0.2), "GPa")
    assert (entry.level, entry.method) == ("image", "nanoindentation")


def test_empty_cells_are_unknown(tmp_path):
    table = (
        "file,sample_key,um_per_px,anneal_temperature_C,anneal_minutes,cool_method,primary_microconstituent\n"
        "a.jpg,,,,,,\n"
        "b.jpg,,,800,,,\n"
    )
    nothing, something = read(tmp_path, table, UHCS_MAP).rows
    assert (nothing.sample, nothing.pixel_size, nothing.steps, nothing.properties) == (None, None, (), ())
    assert [entry.name for entry in something.steps[0].parameters] == ["anneal_temperature"]


def test_real_sheet(shared, tmp_path):
    folder = shared / "data" / "micrographs" / "uhcs_micrographs"
    with (folder / "labels.csv").open(newline="") as stream:
        planted = list(csv.DictReader(stream))
    sheet = read_sheet(folder / "labels.csv", read_map(write_map(tmp_path, UHCS_MAP)), root=folder / "images")
    assert len(sheet.rows) == len(planted)
    for row, cells in zip(sheet.rows, planted, strict=True):
        assert sheet.match(folder / cells["file"]) is row
        assert row.sample == (cells["sample_key"] or None)
        assert (row.pixel_size.value if row.pixel_size else "") == (
            cells["um_per_px"] and float(cells["um_per_px"])
        )
        parameters = {entry.name: entry for step in row.steps for entry in step.parameters}
        temperature = parameters.get("anneal_temperature")
        assert (temperature.value if temperature else "") == (
            cells["anneal_temperature_C"] and float(cells["anneal_temperature_C"])
        )
        assert row.properties[0].text == cells["primary_microconstituent"]
    assert sheet.unmatched([folder / cells["file"] for cells in planted[3:]]) == [2, 3, 4]


# numbers and units


@pytest.mark.parametrize(
    ("cell", "unit", "value"),
    [
        ("800", "degC", 800.0),
        ("800 °C", "degC", 800.0),
        ("1073.15 K", "degC", 800.0),
        ("1e3", "degC", 1000.0),
        ("2 h", "min", 120.0),
        ("12.5", "", 12.5),
        ("12.5", "1", 12.5),
        ("0,5", "um", 0.5),
        ("1234,567", "um", 1234.567),
        (",5", "um", 0.5),
        ("0,125", "um", 0.125),
        ("-1,5e2 nm", "um", -0.15),
    ],
)
def test_numbers(tmp_path, cell, unit, value):
    assert first_value(tmp_path, cell, unit=unit) == pytest.approx(value)


@pytest.mark.parametrize(
    ("cell", "unit", "says"),
    [
        ("warm", "degC", r"samples.csv: row 2, column 't': 'warm' is not a number in degC"),
        ("5 nm", "degC", r"'5 nm' is not a number in degC: cannot compare nm"),
        ("5 nm", "", r"'5 nm' is not a plain number"),
        ("5 blorp", "degC", r"unknown unit 'blorp'"),
        ("1,234", "um", r"it may mean 1.234 or 1234"),
        ("1.234,5", "um", r"'1.234,5' is not a number in um"),
        ("nan", "um", r"'nan' is not a number"),
        ("1e999", "um", r"too large"),
        ("1/2", "um", r"'1/2' is not a number"),
    ],
)
def test_what_is_no_number_is_named_with_its_cell(tmp_path, cell, unit, says):
    with pytest.raises(SheetError, match=says):
        first_value(tmp_path, cell, unit=unit)


def test_a_decimal_comma_between_commas_is_not_guessed(tmp_path):
    with pytest.raises(SheetError, match=r"row 2, column 'HV': '5,5' is not a number in GPa"):
        read(tmp_path, 'file,HV,HV_sd\na.tif,"5,5",\n', HARDNESS_MAP)


def test_a_deviation_is_a_difference_of_temperatures(tmp_path):
    map_text = 'file = "file"\n[property.t]\ncolumn = "t"\nunit = "degC"\nsd = "sd"\n'
    (row,) = read(tmp_path, "file,t,sd\na.tif,300 K,5 K\n", map_text).rows
    assert row.properties[0].value == pytest.approx(26.85)
    assert row.properties[0].sd == pytest.approx(5)


@pytest.mark.parametrize(
    ("table", "map_text", "says"),
    [
        ("file,HV,HV_sd\na,5,-1\n", HARDNESS_MAP, "column 'HV_sd': '-1' is below zero"),
        ("file,s\na,0\n", 'file="file"\npixel_size={column="s",unit="um"}', "'0' is no pixel size"),
        ("file,s\na,5\n", 'file="file"\nproperty.x={column="s"}', "'5' is a number, and property.x of"),
        ("file,s\na,5\n", 'file="file"\n[[step]]\nkind="cut"\nspeed="s"', "step.cut.speed of the map gives"),
        ("file\n\na\n ,x\n", 'file="file"', "row 4 has 2 cells"),
        ("file,s\n,x\n", 'file="file"', "row 2, column 'file': is empty"),
        ("file,s\na,x\na,y\n", 'file="file"\nsample="s"', "rows 2 and 3 both describe a and differ"),
        ("file,s\na,1,2\n", 'file="file"', "row 2 has 3 cells, the header 2"),
        ("file,s,s\na,1,2\n", 'file="file"\nsample="s"', "2 columns are named 's'"),
        ("file,sampel\na,1\n", 'file="file"\nsample="sample"', "did you mean sampel.*columns: file, sampel"),
        ("", 'file="file"', "the sheet is empty"),
        ('file,s\na,"x\n', 'file="file"', "not a readable CSV"),
        ("file\na\n", 'file="file"\nsheet="two"', "asks for the sheet 'two', but this is a CSV"),
    ],
)  # fmt: skip
def test_mistakes_in_the_sheet(tmp_path, table, map_text, says):
    with pytest.raises(SheetError, match=says):
        read(tmp_path, table, map_text)


def test_identical_rows_are_one(tmp_path):
    table = "file,s,note\na,x,first\n./a,x,second\n"
    assert [row.number for row in read(tmp_path, table, 'file="file"\nsample="s"').rows] == [2]


def test_row_numbers_count_blank_rows_and_long_cells_as_a_spreadsheet_does(tmp_path):
    table = 'file,s\n\na,"two\nlines"\n\nb,x\n'
    assert [row.number for row in read(tmp_path, table, 'file="file"\nsample="s"').rows] == [3, 5]


# files


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16"])
def test_delimiters_and_encodings(tmp_path, delimiter, encoding):
    table = f"file{delimiter}Prüfling\nä b.tif{delimiter}Stück 1\n".encode(encoding)
    (row,) = read(tmp_path, table, 'file = "file"\nsample = "Prüfling"\n').rows
    assert (row.file, row.sample) == ("ä b.tif", "Stück 1")


def write_xlsx(path: Path, rows: list[list[object]], *, title: str = "Sheet") -> Path:
    from openpyxl import Workbook

    book = Workbook()
    book.active.title = "first"
    page = book.active if title == "first" else book.create_sheet(title)
    for row in rows:
        page.append(row)
    book.save(path)
    return path


def test_xlsx_by_name_of_the_sheet_and_by_content(tmp_path):
    from datetime import datetime

    rows = [
        ["file", "s", "HV", "day"],
        ["a.tif", 18, 5.5, datetime(2020, 1, 2)],
        [],
        ["b.tif", None, None, None],
    ]
    path = write_xlsx(tmp_path / "samples.csv", rows, title="two")
    map_text = 'file="file"\nsample="s"\nsheet="two"\nproperty.h={column="HV",unit="GPa"}\nlabel.day="day"\n'
    first, second = read_sheet(path, read_map(write_map(tmp_path, map_text)), root=tmp_path).rows
    assert (first.number, first.sample, first.properties[0].value) == (2, "18", 5.5)
    assert first.properties[1].text == "2020-01-02"
    assert (second.number, second.sample, second.properties) == (4, None, ())
    with pytest.raises(SheetError, match="no sheet 'tow'; did you mean two"):
        read_sheet(path, read_map(write_map(tmp_path, map_text.replace("two", "tow"))), root=tmp_path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"PK\x03\x04broken", "not a readable XLSX"),
        (b"\xd0\xcf\x11\xe0\xa1", "old .xls workbook; save it as"),
    ],
)
def test_broken_and_old_workbooks(tmp_path, content, says):
    with pytest.raises(SheetError, match=says):
        read(tmp_path, content, 'file="file"')


def test_an_error_in_a_workbook_is_not_a_name(tmp_path):
    path = write_xlsx(tmp_path / "a.xlsx", [["file", "s"], ["a.tif", "#N/A"]], title="first")
    with pytest.raises(SheetError, match="row 2 holds the error #N/A"):
        read_sheet(path, read_map(write_map(tmp_path, 'file="file"\nsample="s"')), root=tmp_path)


def test_missing_files(tmp_path):
    with pytest.raises(NotFoundError, match="no such map file"):
        read_map(tmp_path / "none.toml")
    with pytest.raises(NotFoundError, match="no such sheet"):
        read_sheet(tmp_path / "none.csv", read_map(write_map(tmp_path, 'file="file"')), root=tmp_path)


# the map


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("file = ", "not a TOML file"),
        ('sample = "s"', 'file is missing; write file = "'),
        ('file = { value = "a" }', "file must name a column"),
        ('file = "f"\nsampel = "s"', "unknown key 'sampel' in the map; did you mean sample"),
        ('file = "f"\nsample = 5', "sample is 5, expected"),
        ('file = "f"\nlab = { value = "a", column = "b" }', "lab needs either a column or a value"),
        ('file = "f"\nlab = { value = true }', "lab has the value True"),
        ('file = "f"\nlab = { value = "a", unit = "m" }', "unknown key 'unit' in lab"),
        ('file = "f"\npixel_size = { column = "p" }', "pixel_size needs a unit of length"),
        ('file = "f"\npixel_size = { column = "p", unit = "s" }', "pixel_size needs a unit of length"),
        ('file = "f"\nproperty.h = { column = "h", unit = "blorp" }', "property.h unknown unit 'blorp'"),
        ('file = "f"\nproperty.h = { column = "h", levle = "image" }', "unknown key 'levle' in property.h"),
        ('file = "f"\nproperty.h = { column = "h", level = "lab" }', "property.h.level is 'lab'"),
        ('file = "f"\nproperty.h = { column = "h", sd = "s" }', "property.h.sd needs numbers"),
        ('file = "f"\nproperty."a b" = { column = "h" }', "named 'a b'; it becomes a column"),
        ('file = "f"\nstep = { kind = "anneal" }', r"must be written \[\[step\]\]"),
        ('file = "f"\n[[step]]\ntime = "t"', "step 1 has no kind"),
        ('file = "f"\nlabel = "l"', r"must be written \[label.<name>\]"),
    ],
)
def test_mistakes_in_the_map(tmp_path, text, says):
    with pytest.raises(SheetError, match=says) as caught:
        read_map(write_map(tmp_path, text))
    assert str(tmp_path / "map.toml") in str(caught.value)


# matching


def matching(tmp_path: Path, *files: str):
    table = "file,s\n" + "".join(f"{file},{number}\n" for number, file in enumerate(files, start=2))
    root = tmp_path / "scans"
    root.mkdir()
    return read(tmp_path, table, 'file="file"\nsample="s"', root=root)


def number(row):
    return row.number if row else None


def test_a_name_leads_from_the_root_from_the_sheet_or_stands_alone(tmp_path):
    sheet = matching(tmp_path, "day 1/a.tif", "scans/b.tif", "c.tif", "day 1\\d.tif")
    root = tmp_path / "scans"
    assert number(sheet.match(root / "day 1" / "a.tif")) == 2
    assert number(sheet.match(root / "b.tif")) == 3
    assert number(sheet.match(root / "deep" / "down" / "c.tif")) == 4
    assert number(sheet.match(root / "day 1" / "d.tif")) == 5
    assert sheet.match(root / "other" / "a.tif") is None  # a folder that is named must be the folder
    assert sheet.unmatched([root / "b.tif"]) == [2, 4, 5]


def test_the_exact_path_wins_over_the_bare_name(tmp_path):
    sheet = matching(tmp_path, "a.tif", "day 1/a.tif")
    assert number(sheet.match(tmp_path / "scans" / "day 1" / "a.tif")) == 3
    assert number(sheet.match(tmp_path / "scans" / "a.tif")) == 2


def test_two_rows_for_one_file_are_ambiguous(tmp_path):
    sheet = matching(tmp_path, "a.tif", "day 1/a.tif")
    with pytest.raises(SheetError, match=r"rows 2 \(a.tif\), 3 \(day 1/a.tif\) all fit .* relative to"):
        sheet.match(tmp_path / "scans" / "week 1" / "day 1" / "a.tif")


def test_one_row_for_two_files_is_ambiguous(tmp_path):
    sheet = matching(tmp_path, "a.tif")
    with pytest.raises(SheetError, match=r"row 2 \(a.tif\) fits .*x.a.tif and .*y.a.tif"):
        sheet.unmatched([tmp_path / "x" / "a.tif", tmp_path / "y" / "a.tif"])


# the law: what was planted comes back

NAMES = st.text(st.characters(categories=("L", "N", "P", "Zs"), max_codepoint=0x24F), max_size=12).map(
    str.strip
)
NUMBERS = st.none() | st.floats(-1e9, 1e9, allow_subnormal=False)
UNITS = st.sampled_from(["nm", "GPa", "min", "K", ""])


@st.composite
def tables(draw):
    rows = draw(st.lists(st.tuples(NAMES, NUMBERS, NAMES), min_size=1, max_size=6))
    return [(f"folder/{number} {draw(st.sampled_from('äb,;'))}.tif", *row) for number, row in enumerate(rows)]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(planted=tables(), unit=UNITS, form=st.sampled_from([",", ";", "\t", "xlsx"]), own=st.booleans())
def test_planted_values_come_back(tmp_path, planted, unit, form, own):
    def cell(value: float | None) -> object:
        if value is None:
            return ""
        return f"{value!r} {unit}" if own else value

    rows = [["file", "who", "much", "what"]]
    rows += [[file, who, cell(value), what] for file, who, value, what in planted]
    path = tmp_path / "table"
    if form == "xlsx":
        write_xlsx(path, rows, title="first")
    else:
        with path.open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream, delimiter=form).writerows(rows)
    map_text = (
        f'file="file"\nsample="who"\nproperty.much={{column="much",unit="{unit}"}}\nlabel.what="what"\n'
    )
    sheet = read_sheet(path, read_map(write_map(tmp_path, map_text)), root=tmp_path)
    for row, (file, who, value, what) in zip(sheet.rows, planted, strict=True):
        found = {entry.name: entry for entry in row.properties}
        assert (row.file, row.sample or "") == (file, who)
        assert (found["what"].text if "what" in found else "") == what
        assert ("much" in found) == (value is not None)
        if value is not None:
            digits = 1e-15 if form == "xlsx" else 0  # openpyxl writes 16 significant digits
            assert found["much"].value == pytest.approx(value, rel=digits, abs=0)
            assert found["much"].unit == units.normalise(unit)
