"""DM3 and DM4."""

from __future__ import annotations

from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import numpy as np
import pytest

from micdb.errors import DamagedFileError, NotAnImageError
from micdb.ingest.readers.dm import DigitalMicrograph
from micdb.ingest.sniff import open_scans
from micdb.testing import ReaderContract

make = SimpleNamespace(**run_path(str(Path(__file__).parents[1] / "data" / "dm" / "make.py")))
PIXELS = np.arange(5 * 7, dtype=np.uint16).reshape(5, 7)
TAGS = {"Microscope Info": make.MICROSCOPE, "DataBar": make.DATA_BAR}
AXES = [make.axis(0.25, "nm", -2.0), make.axis(0.5, "µm")]


class TestContract(ReaderContract):
    reader = DigitalMicrograph

    @pytest.fixture
    def files(self, tmp_path: Path) -> list[Path]:
        stack = np.arange(3 * 4 * 5, dtype=np.float32).reshape(3, 4, 5)
        return [
            make.write(tmp_path / "one.dm3", make.image(PIXELS, axes=AXES, tags=TAGS)),
            make.write(tmp_path / "four.dm4", make.image(PIXELS), make.image(stack), version=4),
        ]


@pytest.mark.parametrize("version", [3, 4])
def test_image_with_its_own_unit_on_each_axis(tmp_path: Path, version: int) -> None:
    path = make.write(tmp_path / "a.dm", make.image(PIXELS, axes=AXES, tags=TAGS), version=version)
    (scan,) = open_scans(path)
    np.testing.assert_array_equal(scan.pixels.read(), PIXELS)
    y, x = scan.axes
    assert (y.step, y.unit, y.offset) == (0.5, "um", 0.0)
    assert (x.step, x.unit, x.offset) == (0.25, "nm", 0.5)
    assert scan.name == "HAADF"
    assert scan.modality == "STEM"
    assert scan.settings["accelerating_voltage"].value == 200000.0
    assert scan.settings["magnification"].value == 225000.0
    assert scan.settings["stage_x"].value == pytest.approx(0.0125)
    assert scan.settings["detector"].value == "DigiScan"
    assert scan.acquired == "2016-08-27T20:55:59"
    assert scan.acquired_raw == "27/08/2016 08:55:59 p.m."


def test_ambiguous_date_stays_raw_unless_the_computer_clock_decides(tmp_path: Path) -> None:
    ambiguous = {**make.DATA_BAR, "Acquisition Date": "12/10/2019", "Acquisition Time": "3:32:41 PM"}
    (scan,) = open_scans(make.write(tmp_path / "a.dm3", make.image(PIXELS, tags={"DataBar": ambiguous})))
    assert scan.acquired is None
    assert scan.acquired_raw == "12/10/2019 3:32:41 PM"
    clock = {**ambiguous, "Acquisition Time (OS)": 132204835614361376.0}  # [100 ns] since 1601
    (scan,) = open_scans(make.write(tmp_path / "b.dm3", make.image(PIXELS, tags={"DataBar": clock})))
    assert scan.acquired == "2019-12-10T20:32:41Z"


def test_every_image_is_a_scan_and_the_plot_is_not(tmp_path: Path) -> None:
    plot = make.image(np.arange(8, dtype=np.float32), name="Plot")
    path = make.write(
        tmp_path / "many.dm3", make.image(PIXELS, name="BF"), plot, make.image(PIXELS, name="DF")
    )
    assert [scan.name for scan in open_scans(path)] == ["BF", "DF"]


def test_stack_names_its_leading_axis_by_its_unit(tmp_path: Path) -> None:
    stack = np.arange(2 * 3 * 4, dtype=np.int32).reshape(2, 3, 4)
    axes = [make.axis(1.0, "nm"), make.axis(1.0, "nm"), make.axis(0.5, "s")]
    (scan,) = open_scans(make.write(tmp_path / "s.dm4", make.image(stack, axes=axes), version=4))
    assert [axis.name for axis in scan.axes] == ["time", "y", "x"]
    assert scan.axes[0].step == 0.5
    np.testing.assert_array_equal(scan.pixels.read(), stack)


def test_colour_image_is_kept_and_the_thumbnail_is_not(tmp_path: Path) -> None:
    rgb = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    (scan,) = open_scans(make.write(tmp_path / "c.dm3", make.colour(rgb, name="drawing")))
    assert scan.name == "drawing"
    np.testing.assert_array_equal(scan.pixels.read(), rgb)


def test_missing_and_unknown_units_leave_the_step_unknown(tmp_path: Path) -> None:
    axes = [make.axis(0.2, ""), make.axis(0.3, "blips")]
    (scan,) = open_scans(make.write(tmp_path / "u.dm3", make.image(PIXELS, axes=axes)))
    assert [axis.step for axis in scan.axes] == [None, None]
    assert "unit 'blips' is unknown" in scan.problems[0]


def test_reciprocal_axes_are_diffraction(tmp_path: Path) -> None:
    axes = [make.axis(0.1, "1/nm"), make.axis(0.1, "1/nm")]
    (scan,) = open_scans(make.write(tmp_path / "d.dm3", make.image(PIXELS, axes=axes, tags=TAGS)))
    assert scan.modality == "diffraction"


def test_spectrum_image_is_refused(tmp_path: Path) -> None:
    cube = np.zeros((6, 2, 2), np.float32)
    axes = [make.axis(1.0, "nm"), make.axis(1.0, "nm"), make.axis(0.5, "eV")]
    path = make.write(tmp_path / "si.dm4", make.image(cube, axes=axes, name="EELS"), version=4)
    with pytest.raises(
        NotAnImageError, match=r"'EELS' is a spectrum or spectrum image \(it has an energy axis\)"
    ):
        open_scans(path)


def test_packed_fourier_transform_is_refused_by_name(tmp_path: Path) -> None:
    path = make.write(
        tmp_path / "f.dm3", make.entry(np.zeros((4, 4), np.float32), 27, (4, 4), name="FFT of a")
    )
    with pytest.raises(NotAnImageError, match="'FFT of a' is a Fourier transform packed"):
        open_scans(path)


def test_short_data_block_is_damage(tmp_path: Path) -> None:
    path = make.write(tmp_path / "s.dm3", make.entry(np.ones(10, np.uint16), 10, (4, 4)))
    with pytest.raises(DamagedFileError, match=r"needs 32 bytes, the file holds 20"):
        open_scans(path)


def test_cut_file_names_the_byte(tmp_path: Path) -> None:
    path = make.write(tmp_path / "cut.dm3", make.image(PIXELS))
    path.write_bytes(path.read_bytes()[:400])
    with pytest.raises(DamagedFileError, match=r"at byte \d+: the file ends at byte 400") as caught:
        open_scans(path)
    assert caught.value.offset is not None
