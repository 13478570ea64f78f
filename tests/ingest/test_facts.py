"""What a samples sheet says becomes rows, once; what it no longer says is retired."""

from __future__ import annotations

from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import numpy as np
import pytest
import sqlalchemy as sa

from micdb import fsck, opening
from micdb.catalog import tables
from micdb.catalog.engine import reading
from micdb.errors import SheetError
from micdb.populate import service
from micdb.populate.extractor import extractors
from micdb.testing.dump import dump
from micdb.testing.fakes import FakeExtractor

DATA = Path(__file__).parents[1] / "data"
emd, mrc, tiff = (
    SimpleNamespace(**run_path(str(DATA / name / "make.py"))) for name in ("emd", "mrc", "tiff")
)
IMAGE = np.arange(12 * 16, dtype=np.int16).reshape(12, 16)

MAP = """
file = "file"
sample = "sample"
material = "material"
[pixel_size]
column = "pixel"
unit = "nm"
[[step]]
kind = "anneal"
temperature = { column = "T", unit = "degC" }
[property.hardness]
column = "HV"
unit = "GPa"
sd = "sd"
[label.grade]
column = "grade"
"""
HEADER = "file,sample,material,pixel,T,HV,sd,grade"


class Lab:
    """A database, a folder of images, and a sheet that can be rewritten."""

    def __init__(self, folder: Path) -> None:
        self.db = opening.init(folder / "lab.micdb")
        self.scans = folder / "scans"
        self.scans.mkdir()
        self.map = folder / "map.toml"
        self.map.write_text(MAP)
        self.sheet = folder / "samples.csv"

    def images(self, *names: str) -> None:
        for name in names:
            seed = sum(name.encode())
            mrc.write(self.scans / f"{name}.mrc", IMAGE + seed, voxel=None)

    def ingest(self, *rows: str, paths=None, **options):
        self.sheet.write_text("\n".join([HEADER, *rows, ""]))
        given = {"lab": "Lab A", "sheet": self.sheet, "map": self.map, **options}
        return self.db.ingest(paths or self.scans, **given)

    def rows(self, table):
        with reading(self.db.engine) as connection:
            return connection.execute(sa.select(table).order_by(table.c.pk)).all()

    def values(self, *, live=True):
        """Values as (property, number or text, source row), retired ones where not `live`."""
        names = {row.pk: row.name for row in self.rows(tables.property_def)}
        return [
            (names[row.property_def_pk], row.text if row.value is None else row.value, row.source_row)
            for row in self.rows(tables.property_value)
            if (row.retired_at is None) == live
        ]


@pytest.fixture
def lab(tmp_path):
    made = Lab(tmp_path)
    yield made
    assert fsck.check(made.db.engine, made.db.root, deep=True).clean
    made.db.close()


def test_a_value_on_every_row_of_a_sample_is_one_value(lab):
    lab.images("a", "b", "c")
    lab.ingest("a.mrc,s1,WS2,,800,5,0.5,good", "b.mrc,s1,WS2,,800,5,0.5,bad", "c.mrc,s2,WS2,,900,5,,")
    assert lab.values() == [
        ("anneal_temperature", 800, 2),
        ("hardness", 5, 2),
        ("grade", "good", 2),
        ("grade", "bad", 3),
        ("anneal_temperature", 900, 4),
        ("hardness", 5, 4),
    ]
    hardness = lab.rows(tables.property_value)[1]
    assert (hardness.sd, hardness.raw, hardness.origin, hardness.level) == (0.5, "5", "user", "sample")
    assert [row.name for row in lab.rows(tables.sample)] == ["s1", "s2"]
    assert [row.name for row in lab.rows(tables.material)] == ["WS2"]
    assert [(row.kind, row.position) for row in lab.rows(tables.processing_step)] == [("anneal", 1)] * 2
    images = lab.rows(tables.micrograph)
    assert [row.sample_pk for row in images] == [1, 1, 2]
    assert {row.lab_pk for row in images} == {1}


def test_the_same_sheet_again_changes_nothing(lab):
    lab.images("a", "b")
    rows = ["a.mrc,s1,WS2,0.5,800,5,0.5,good", "b.mrc,s1,WS2,0.5,800,6,,"]
    lab.ingest(*rows)
    before = dump(lab.db.root)
    assert lab.ingest(*rows).counts["known"] == 2
    assert dump(lab.db.root) == before


def test_two_measurements_of_one_sample_are_two_values(lab):
    lab.images("a", "b")
    lab.ingest("a.mrc,s1,,,,5,,", "b.mrc,s1,,,,6,,")
    assert lab.values() == [("hardness", 5, 2), ("hardness", 6, 3)]


def test_a_corrected_cell_retires_the_old_value_and_only_that(lab):
    lab.images("a", "b")
    lab.ingest("a.mrc,s1,,,800,5,,good", "b.mrc,s2,,,800,7,,bad")
    lab.ingest("a.mrc,s1,,,800,6,,good", "b.mrc,s2,,,800,7,,bad")
    assert lab.values(live=False) == [("hardness", 5, 2)]
    assert sorted(lab.values()) == [
        ("anneal_temperature", 800, 2),
        ("anneal_temperature", 800, 3),
        ("grade", "bad", 3),
        ("grade", "good", 2),
        ("hardness", 6, 2),
        ("hardness", 7, 3),
    ]
    lab.ingest("a.mrc,s1,,,800,5,,good", "b.mrc,s2,,,800,7,,bad")
    assert lab.values(live=False) == [("hardness", 6, 2)]


def test_a_processing_parameter_can_be_corrected_although_rows_moved(lab):
    lab.images("b", "c")
    lab.ingest("b.mrc,s1,,,800,,,", "c.mrc,s1,,,800,,,")
    lab.images("a")  # comes first, in the folder and in the sheet
    lab.ingest("a.mrc,s1,,,850,,,", "b.mrc,s1,,,850,,,", "c.mrc,s1,,,850,,,")
    assert lab.values() == [("anneal_temperature", 850, 2)]
    assert lab.values(live=False) == [("anneal_temperature", 800, 2)]


def test_a_corrected_label_is_replaced(lab):
    lab.images("a")
    lab.ingest("a.mrc,,,,,,,good")
    lab.ingest("z.mrc,,,,,,,bad", "a.mrc,,,,,,,fair")
    assert lab.values() == [("grade", "fair", 3)]


def test_another_sheet_of_the_same_name_retires_nothing(lab, tmp_path):
    lab.images("a")
    lab.ingest("a.mrc,s1,,,,5,,")
    lab.sheet = tmp_path / "second" / "samples.csv"
    lab.sheet.parent.mkdir()
    lab.ingest("a.mrc,s1,,,,6,,")
    assert [value for _, value, _ in lab.values()] == [5, 6]


def test_a_contradicted_parameter_is_refused_before_anything_is_written(lab):
    lab.images("a", "b")
    expected = r"samples\.csv: row 3: sample 's1' has anneal_temperature 900 here and 800 in row 2; correct"
    with pytest.raises(SheetError, match=expected):
        lab.ingest("a.mrc,s1,,,800,,,", "b.mrc,s1,,,900,,,")
    assert lab.rows(tables.micrograph) == []
    assert lab.rows(tables.sample) == []
    assert not list((lab.db.root / "objects").rglob("*.nxs"))


def test_a_contradicted_material_is_refused_and_a_corrected_one_is_told(lab):
    lab.images("a", "b")
    with pytest.raises(SheetError, match=r"row 3: sample 's1' has material MoS2 here and WS2 in row 2"):
        lab.ingest("a.mrc,s1,WS2,,,,,", "b.mrc,s1,MoS2,,,,,")
    lab.ingest("a.mrc,s1,WS2,,,,,")
    result = lab.ingest("a.mrc,s1,MoS2,,,,,")
    assert result.files[0].notes == ("sample 's1' is of material 'MoS2' now; it was of 'WS2'",)


def test_an_error_in_a_row_takes_the_whole_file_back(lab):
    lab.images("a")
    with pytest.raises(
        SheetError, match=r"row 2: property hardness needs a sample, and the sample cell is empty"
    ):
        lab.ingest("a.mrc,,,,,5,,good")
    for table in (tables.micrograph, tables.lab, tables.property_def, tables.object_):
        assert lab.rows(table) == []
    assert not list((lab.db.root / "objects").rglob("*.nxs"))


@pytest.mark.parametrize("name", ["pixel_size", "sample", "modality"])
def test_a_property_named_like_a_column_is_refused(lab, name):
    lab.images("a")
    lab.map.write_text(f'file = "file"\n[label.{name}]\ncolumn = "grade"\n')
    with pytest.raises(
        SheetError, match=rf"row 2: '{name}' is a column of db.images already; choose another name"
    ):
        lab.ingest("a.mrc,,,,,,,good")


def test_a_property_keeps_its_kind_and_its_dimension(lab):
    lab.images("a")
    lab.ingest("a.mrc,s1,,,,5,,")
    lab.map.write_text('file = "file"\nsample = "sample"\n[property.hardness]\ncolumn = "grade"\n')
    with pytest.raises(
        SheetError, match=r"row 2: hardness is text here and was number before; choose another name"
    ):
        lab.ingest("a.mrc,s1,,,,,,soft")
    lab.map.write_text('file = "file"\nsample = "sample"\n[property.hardness]\ncolumn = "HV"\nunit = "nm"\n')
    with pytest.raises(SheetError, match=r"row 2: hardness: cannot compare nm \(\[length\]\) with GPa"):
        lab.ingest("a.mrc,s1,,,,5,,")


def test_values_are_kept_in_the_unit_of_the_property(lab, tmp_path):
    lab.images("a", "b", "c")
    lab.ingest("a.mrc,s1,,,800,,,", "b.mrc,s1,,,1073.15 K,,,")
    assert lab.values() == [("anneal_temperature", 800, 2)]
    lab.map.write_text(MAP.replace('"degC"', '"K"').replace('"GPa"', '"MPa"'))
    lab.sheet = tmp_path / "kelvin.csv"
    lab.ingest("c.mrc,s2,,,1073.15,5000,100,")
    assert lab.values()[1:] == [("anneal_temperature", 800, 2), ("hardness", 5000, 2)]
    assert [row.unit for row in lab.rows(tables.property_def)] == ["degC", "MPa"]
    assert lab.rows(tables.property_value)[-1].sd == 100


def test_a_deviation_of_a_temperature_has_no_zero_point(lab):
    lab.images("a", "b")
    transition = '\n[property.transition]\ncolumn = "HV"\nsd = "sd"\nunit = '
    lab.map.write_text(f'file = "file"\nsample = "sample"{transition}"degC"\n')
    lab.ingest("a.mrc,s1,,,,100,5,")
    lab.map.write_text(f'file = "file"\nsample = "sample"{transition}"K"\n')
    lab.ingest("b.mrc,s2,,,,373.15,5,")
    found = lab.rows(tables.property_value)
    assert [(row.value, row.sd) for row in found] == [(100, 5), (100, 5)]


def test_a_pixel_size_from_the_sheet_fills_the_unknown_only(lab):
    lab.images("a")
    mrc.write(lab.scans / "b.mrc", IMAGE, voxel=2.0)
    result = lab.ingest("a.mrc,,,0.5,,,,", "b.mrc,,,0.7,,,,")
    without, own = lab.rows(tables.micrograph)
    assert (without.pixel_size, without.pixel_size_x, without.pixel_size_origin) == (0.5, 0.5, "user")
    assert without.area == pytest.approx(0.25 * IMAGE.size)
    assert (own.pixel_size, own.pixel_size_origin) == (pytest.approx(0.2), "file")
    assert result.files[1].notes == (
        "image 'b': the sheet says 0.7 nm per pixel, the file 0.2; the file's is kept",
    )


def test_a_corrected_pixel_size_counts_until_something_was_measured_with_it(lab):
    extractors().register(FakeExtractor, name="fake")
    lab.images("a")
    lab.ingest("a.mrc,,,0.5,,,,")
    lab.ingest("a.mrc,,,0.6,,,,")
    assert lab.rows(tables.micrograph)[0].pixel_size == 0.6
    service.populate(lab.db.engine, lab.db.root, "fake")
    result = lab.ingest("a.mrc,,,0.7,,,,")
    assert lab.rows(tables.micrograph)[0].pixel_size == 0.6
    assert result.files[0].notes == (
        "image 'a': the sheet says 0.7 nm per pixel, 0.6 before; kept, its atoms and features rely on it",
    )


def test_rows_without_a_file_are_reported(lab):
    lab.images("a")
    result = lab.ingest("a.mrc,s1,,,,,,", "gone.mrc,s1,,,,,,", "lost.mrc,s2,,,,,,")
    assert result.unmatched_rows == (3, 4)
    assert result.as_json()["unmatched_rows"] == [3, 4]


def test_files_without_a_row_come_in_all_the_same(lab):
    lab.images("a", "b")
    lab.ingest("a.mrc,s1,,,,,,")
    assert [row.sample_pk for row in lab.rows(tables.micrograph)] == [1, None]


def test_an_image_keeps_its_owner(lab):
    lab.images("a")
    lab.ingest("a.mrc,s1,,,,,,")
    result = lab.ingest("a.mrc,s2,,,,,,")
    assert result.files[0].notes == ("image 'a' belongs to another sample already; left as it is",)
    assert lab.rows(tables.micrograph)[0].sample_pk == 1


def test_samples_of_two_labs_may_share_a_name(lab, tmp_path):
    lab.images("a")
    lab.ingest("a.mrc,s1,WS2,,800,,,")
    lab.images("b")
    lab.sheet = tmp_path / "b.csv"
    lab.ingest("b.mrc,s1,MoS2,,900,,,", lab="Lab B")
    assert [(row.name, row.lab_pk) for row in lab.rows(tables.sample)] == [("s1", 1), ("s1", 2)]


def test_labels_belong_to_every_image_of_the_file(lab):
    axes = [("y", "[n_m]", np.arange(12.0)), ("x", "[n_m]", np.arange(16.0))]
    emd.write_ncem(lab.scans / "a.emd", {"one": (IMAGE, axes), "two": (IMAGE + 1, axes)})
    lab.ingest("a.emd,,,,,,,good")
    found = lab.rows(tables.property_value)
    assert [(row.level, row.micrograph_pk, row.text) for row in found] == [
        ("image", 1, "good"),
        ("image", 2, "good"),
    ]


def test_a_row_that_fits_two_files_stops_before_anything_is_written(lab):
    for folder in ("one", "two"):
        (lab.scans / folder).mkdir()
        mrc.write(lab.scans / folder / "a.mrc", IMAGE, voxel=None)
    with pytest.raises(SheetError, match=r"a\.mrc"):
        lab.ingest("a.mrc,S1,steel,5,800,2.5,0.1,fine")
    assert lab.rows(tables.micrograph) == []
