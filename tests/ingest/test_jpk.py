"""JPK images: scaling slots, orientation, directions, and what is refused."""

from __future__ import annotations

import zipfile
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import numpy as np
import pytest

from micdb.errors import DamagedFileError, NotAnImageError
from micdb.ingest.readers.jpk import Jpk
from micdb.ingest.sniff import candidates, open_scans
from micdb.testing import ReaderContract

make = SimpleNamespace(**run_path(str(Path(__file__).parents[1] / "data" / "jpk" / "make.py")))

REAL = Path(__file__).parents[3] / "shared" / "data" / "formats" / "jpk" / "sample_0.jpk-qi-image"
STORED = np.arange(12, dtype=np.int32).reshape(3, 4) * 1000
HEIGHT = make.Channel(
    "height", STORED,
    (("volts", "V", 2e-3, 0.5), ("nominal", "m", -1e-9, 3e-6), ("calibrated", "m", 2e-9, 1e-6)), "calibrated",
)  # fmt: skip
BACK = HEIGHT._replace(stored=(STORED + 7).astype(np.uint16), default="nominal", retrace=True)


class TestContract(ReaderContract):
    reader = Jpk

    @pytest.fixture
    def files(self, tmp_path: Path) -> list[Path]:
        return [
            make.write(tmp_path / "a.jpk", [HEIGHT, BACK]),
            make.write(tmp_path / "q.jpk-qi-image", [BACK]),
        ]


def test_the_default_slot_scales_the_values_whichever_it_is(tmp_path: Path) -> None:
    trace, retrace = open_scans(make.write(tmp_path / "a.jpk", [HEIGHT, BACK]))
    np.testing.assert_allclose(trace.pixels.read(), STORED[::-1] * 2e-9 + 1e-6, rtol=1e-15)
    np.testing.assert_allclose(retrace.pixels.read(), (STORED[::-1] + 7) * -1e-9 + 3e-6, rtol=1e-15)
    assert [scan.channel for scan in (trace, retrace)] == ["Height trace", "Height retrace"]
    assert {scan.intensity_unit for scan in (trace, retrace)} == {"m"}


def test_values_and_orientation_equal_afmreader(tmp_path: Path) -> None:
    # brings half of a notebook with it, so it is no test dependency; the manifest holds what it says as well
    load_jpk = pytest.importorskip("AFMReader.jpk").load_jpk

    path = make.write(tmp_path / "a.jpk", [HEIGHT, BACK])
    for scan, name in zip(open_scans(path), ("height_trace", "height_retrace"), strict=True):
        theirs, nanometres_per_pixel = load_jpk(path, name)  # heights in nm
        np.testing.assert_allclose(scan.pixels.read() * 1e9, theirs, rtol=1e-12)
        assert scan.axis("x").step_in("nm") == pytest.approx(nanometres_per_pixel)


@pytest.mark.skipif(not REAL.exists(), reason="real data (../shared/data) is not beside this checkout")
def test_a_real_file_equals_afmreader() -> None:
    # brings half of a notebook with it, so it is no test dependency; the manifest holds what it says as well
    load_jpk = pytest.importorskip("AFMReader.jpk").load_jpk

    adhesion = next(scan for scan in open_scans(REAL) if scan.channel == "Adhesion trace")
    np.testing.assert_allclose(adhesion.pixels.read(), load_jpk(REAL, "adhesion_trace")[0], rtol=1e-12)
    assert adhesion.intensity_unit == "N"
    assert adhesion.acquired == "2025-05-20T17:48:42.479"


def test_scale_of_a_grid_that_is_not_square(tmp_path: Path) -> None:
    scan = open_scans(make.write(tmp_path / "a.jpk", [HEIGHT], size=(2e-6, 1.5e-6)))[0]
    x, y = scan.axis("x"), scan.axis("y")
    assert (x.step, y.step, x.unit, y.unit) == (pytest.approx(5e-7), pytest.approx(5e-7), "m", "m")


def test_a_reflected_grid_is_not_flipped(tmp_path: Path) -> None:
    scan = open_scans(make.write(tmp_path / "a.jpk", [HEIGHT], x8045=1))[0]
    assert scan.pixels.read()[0, 0] == 1e-6


def test_settings_and_date(tmp_path: Path) -> None:
    scan = open_scans(make.write(tmp_path / "a.jpk", [HEIGHT]))[0]
    assert {name: quantity.value for name, quantity in scan.settings.items()} == {
        "offset_x": pytest.approx(10_000), "offset_y": pytest.approx(-20_000), "operator": "jpkuser",
        "sample": "mica", "signal": "Fit",
    }  # fmt: skip
    assert (scan.modality, scan.acquired, scan.acquired_raw) == ("AFM", "2020-02-07T16:29:05.036", make.START)


@pytest.mark.parametrize("slots", [(), (("volts", "V", 1.0, 0.0),)], ids=["none", "another"])
def test_without_its_slot_a_channel_keeps_stored_numbers_and_says_so(tmp_path: Path, slots: tuple) -> None:
    scan = open_scans(make.write(tmp_path / "a.jpk", [HEIGHT._replace(slots=slots)]))[0]
    np.testing.assert_array_equal(scan.pixels.read(), STORED[::-1])
    assert scan.intensity_unit is None
    assert scan.problems == (
        "values are the stored integers: the scaling of slot 'calibrated' cannot be read",
    )


def test_raw_data_as_default_is_no_problem(tmp_path: Path) -> None:
    raw = HEIGHT._replace(slots=(("raw", "", None, None),), default="raw")
    scan = open_scans(make.write(tmp_path / "a.jpk", [raw]))[0]
    assert (scan.intensity_unit, scan.problems) == (None, ())


@pytest.mark.parametrize(("tags", "why"), [({"x8046": 5}, "the grid has"), ({"x8042": float("nan")}, "is (")])
def test_grids_that_cannot_be_believed_leave_the_pixel_size_unknown(
    tmp_path: Path, tags: dict, why: str
) -> None:
    scan = open_scans(make.write(tmp_path / "a.jpk", [HEIGHT], **tags))[0]
    assert scan.axis("x").step is None
    assert why in scan.problems[0]


def test_force_archives_are_refused_by_name(tmp_path: Path) -> None:
    path = make.write_force(tmp_path / "a.jpk-force")
    assert candidates(path)[0].name == "jpk"
    with pytest.raises(NotAnImageError, match="this is a JPK archive of force curves, not an image"):
        open_scans(path)


def test_a_force_archive_that_another_program_packed_again_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "b.jpk-qi-series"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("thumbnail.png", b"x" * 5000)
        archive.writestr("header.properties", b"jpk-data-file=spm-forcefile")
    with pytest.raises(NotAnImageError, match="this is a JPK archive of force curves, not an image"):
        open_scans(path)


def test_a_cut_file_is_damage(tmp_path: Path) -> None:
    path = make.write(tmp_path / "a.jpk", [HEIGHT])
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DamagedFileError):
        [scan.pixels.read() for scan in open_scans(path)]
