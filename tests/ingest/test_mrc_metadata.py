"""MRC: what stands in extended headers and in texts beside the file."""

from __future__ import annotations

from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import numpy as np
import pytest

from micdb.errors import NotAnImageError
from micdb.ingest.sniff import open_scans

make = SimpleNamespace(**run_path(str(Path(__file__).parents[1] / "data" / "mrc" / "make.py")))
IMAGE = np.arange(5 * 6, dtype=np.int16).reshape(5, 6)
STACK = np.arange(3 * 5 * 6, dtype=np.float32).reshape(3, 5, 6)

TEM = {
    "Timestamp": 44900.509108796294, "Microscope type": b"Krios", "HT": 300000.0, "Alpha tilt": -3.5,
    "X-Stage": 1.5e-4, "Pixel size X": 1.2e-10, "Pixel size Y": 1.3e-10, "Defocus": -1.5e-6,
    "Instrument mode": 1, "Projection mode": 2, "Magnification": 96000.0, "Integration time": 1.25,
    "Camera name": b"BM-Falcon",
}  # fmt: skip


@pytest.mark.parametrize("kind", [b"FEI1", b"FEI2"])
@pytest.mark.parametrize("size", [None, 1000])
def test_fei_extended_header(tmp_path: Path, kind: bytes, size: int | None) -> None:
    path = make.write(tmp_path / "e.mrc", IMAGE, voxel=None)
    (scan,) = open_scans(make.extend(path, kind, make.fei(kind, [TEM], size=size)))
    assert {name: quantity.value for name, quantity in scan.settings.items()} == {
        "accelerating_voltage": 300000.0,
        "magnification": 96000.0,
        "defocus": pytest.approx(-1500),
        "stage_tilt": -3.5,
        "stage_x": pytest.approx(0.15),
        "exposure_time": 1.25,
        "instrument": "Krios",
        "detector": "BM-Falcon",
    }
    assert (scan.axis("x").step_in("nm"), scan.axis("y").step_in("nm")) == pytest.approx((0.12, 0.13))
    assert (scan.modality, scan.acquired) == ("TEM", "2022-12-05T12:13:07")
    np.testing.assert_array_equal(scan.pixels.read(), IMAGE)


def test_cell_of_the_main_header_comes_first(tmp_path: Path) -> None:
    path = make.extend(make.write(tmp_path / "e.mrc", IMAGE), b"FEI1", make.fei(b"FEI1", [TEM]))
    assert (open_scans(path)[0].axis("x").step, open_scans(path)[0].axis("x").unit) == (2.0, "angstrom")


def test_fields_whose_bit_is_not_set_are_unknown(tmp_path: Path) -> None:
    unset = ("HT", "Alpha tilt", "Pixel size X", "Timestamp", "Camera name")
    path = make.write(tmp_path / "e.mrc", IMAGE, voxel=None)
    (scan,) = open_scans(make.extend(path, b"FEI1", make.fei(b"FEI1", [TEM], unset=unset)))
    assert not {"accelerating_voltage", "stage_tilt", "detector"} & set(scan.settings)
    assert (scan.axis("x").step, scan.acquired) == (None, None)


def test_numbers_that_are_none_are_unknown(tmp_path: Path) -> None:
    nothing = dict.fromkeys(("Timestamp", "HT", "Pixel size X", "Pixel size Y", "Defocus"), float("nan"))
    path = make.write(tmp_path / "e.mrc", IMAGE, voxel=None)
    (scan,) = open_scans(make.extend(path, b"FEI1", make.fei(b"FEI1", [TEM | nothing])))
    assert (scan.axis("x").step, scan.acquired) == (None, None)
    assert not {"accelerating_voltage", "defocus"} & set(scan.settings)


def test_what_differs_between_images_is_no_setting(tmp_path: Path) -> None:
    images = [TEM | {"Alpha tilt": tilt} for tilt in (-3.0, 0.0, 3.0)]
    path = make.extend(make.write(tmp_path / "t.mrc", STACK), b"FEI1", make.fei(b"FEI1", images))
    (scan,) = open_scans(path)
    assert "stage_tilt" not in scan.settings
    assert scan.settings["magnification"].value == 96000
    assert scan.original["extended_header"]["per_image"]["Alpha tilt"] == [-3.0, 0.0, 3.0]
    np.testing.assert_array_equal(scan.pixels.load_frame(1), STACK[1])


def test_stem_image_of_fei(tmp_path: Path) -> None:
    stem = TEM | {
        "Instrument mode": 2, "Projection mode": 1, "Camera length": 0.0911, "STEM Detector name": b"HAADF",
        "Dwell time": 1e-5, "Scan rotation": 12.0, "Acquisition time stamp": 1670242387250000,
    }  # fmt: skip
    path = make.extend(make.write(tmp_path / "s.mrc", IMAGE), b"FEI2", make.fei(b"FEI2", [stem]))
    (scan,) = open_scans(path)
    values = {name: quantity.value for name, quantity in scan.settings.items()}
    assert (values["detector"], values["dwell_time"], values["scan_angle"]) == ("HAADF", 1e-5, 12.0)
    assert values["camera_length"] == pytest.approx(91.1)
    assert "defocus" not in values
    assert (scan.modality, scan.acquired) == ("STEM", "2022-12-05T12:13:07.250000Z")


@pytest.mark.parametrize(("size", "step"), [(2.5e7, 0.025), (1.2e-10, None), (1.0, None)])
def test_diffraction_pattern_of_fei_has_no_length(tmp_path: Path, size: float, step: float | None) -> None:
    image = TEM | {"Projection mode": 1, "Pixel size X": size, "Pixel size Y": size}
    path = make.extend(make.write(tmp_path / "d.mrc", IMAGE), b"FEI1", make.fei(b"FEI1", [image]))
    (scan,) = open_scans(path)
    assert scan.modality == "diffraction"
    assert scan.axis("x").step_in("1/nm") == (pytest.approx(step) if step else None)
    assert (scan.axis("x").step is None) == (step is None)
    assert bool(scan.problems) == (step is None)


def test_older_fei_header_holds_the_pixel_size(tmp_path: Path) -> None:
    first = {
        "a_tilt": -60.0, "b_tilt": 1.0, "x_stage": 2e-5, "y_stage": 250.0, "defocus": -4e-6, "exp_time": 1.5,
        "pixel_size": 7.5e-10, "magnification": 19500.0,
    }  # fmt: skip
    content = make.old_fei([first, first | {"a_tilt": 0.0}, first | {"a_tilt": 60.0}])
    (scan,) = open_scans(make.extend(make.write(tmp_path / "t.mrc", STACK, voxel=1.0), b"", content))
    values = {name: quantity.value for name, quantity in scan.settings.items()}
    assert scan.axis("x").step_in("nm") == pytest.approx(0.75)  # not the cell, which says 0.1
    assert (values["magnification"], values["exposure_time"], values["stage_tilt_beta"]) == (19500, 1.5, 1)
    assert (values["stage_x"], values["defocus"]) == (pytest.approx(0.02), pytest.approx(-4000))
    assert "stage_tilt" not in values
    assert "stage_y" not in values  # 250 is no number of metres
    np.testing.assert_array_equal(scan.pixels.read(), STACK)


def test_another_header_of_that_length_is_left_alone(tmp_path: Path) -> None:
    path = make.extend(make.write(tmp_path / "t.mrc", STACK), b"", bytes(range(256)) * 512)
    (scan,) = open_scans(path)
    assert (scan.settings, scan.axis("x").step) == ({}, 2.0)


@pytest.mark.parametrize("name", ["tilt.mrc.mdoc", "tilt.mdoc"])
def test_serialem_text_beside_a_tilt_series(tmp_path: Path, name: str) -> None:
    sections = [make.SECTION.format(number=number, tilt=tilt) for number, tilt in enumerate((-3, 0, 3))]
    (tmp_path / name).write_text(make.MDOC + "".join(sections))
    (scan,) = open_scans(make.write(tmp_path / "tilt.mrc", STACK, voxel=None, volume=True))
    assert scan.axes[0].name == "frame"  # tilts, though the header says volume
    assert (scan.axis("x").step, scan.axis("x").unit, scan.axis("x").origin) == (6.5, "angstrom", "sidecar")
    assert {name: quantity.value for name, quantity in scan.settings.items()} == {
        "accelerating_voltage": 300000.0,
        "magnification": 33000.0,
        "defocus": pytest.approx(-3500),
        "spot_size": 7.0,
        "exposure_time": 1.25,
        "stage_x": pytest.approx(0.919141),
        "stage_y": pytest.approx(-0.849945),
        "stage_z": pytest.approx(0.054986),
    }
    assert (scan.acquired, scan.acquired_raw) == ("2021-03-25T17:00:40", "25-Mar-21  17:00:40")
    assert [section["TiltAngle"] for section in scan.original["mdoc"]["sections"]] == ["-3", "0", "3"]


def test_montage_sections_of_a_serialem_text_are_no_images(tmp_path: Path) -> None:
    text = make.MDOC + make.SECTION.format(number=0, tilt=0) + "[MontSection = 0]\nMagnification = 135\n"
    (tmp_path / "m.mrc.mdoc").write_text(text)
    (scan,) = open_scans(make.write(tmp_path / "m.mrc", IMAGE))
    assert scan.settings["magnification"].value == 33000
    assert scan.original["mdoc"]["sections"][1]["Magnification"] == "135"
    assert scan.original["mdoc"]["T"].startswith("SerialEM: Digitized on a Krios")


def test_serialem_text_of_a_movie_and_four_digit_years(tmp_path: Path) -> None:
    text = make.MDOC + make.SECTION.format(number=0, tilt=12.5)
    text = text.replace("ZValue", "FrameSet").replace("25-Mar-21  17", "25-Mar-2021  17")
    (tmp_path / "f.mrc.mdoc").write_text(text)
    (scan,) = open_scans(make.write(tmp_path / "f.mrc", STACK))
    assert scan.settings["stage_tilt"].value == 12.5
    assert scan.axis("x").step == 2.0  # the header knows better
    assert scan.acquired == "2021-03-25T17:00:40"


def test_direct_electron_movie_has_times_unless_it_scans(tmp_path: Path) -> None:
    times = "Frames Per Second = 40\nAutosave Movie Sum Count = 2\n"
    path = make.write(tmp_path / "run_movie.mrc", STACK, volume=True)
    for scans, expected in (("Disable", ("time", 0.05, "s")), ("Enable", ("frame", None, None))):
        (tmp_path / "run_info.txt").write_text(f"{make.INFO}{times}Scan - Enable = {scans}\n")
        (scan,) = open_scans(path)
        assert (scan.axes[0].name, scan.axes[0].step, scan.axes[0].unit) == expected


def test_direct_electron_text_beside_the_movie(tmp_path: Path) -> None:
    (tmp_path / "run_7_info.txt").write_text(make.INFO)
    (scan,) = open_scans(make.write(tmp_path / "run_7_0_movie.mrc", STACK, voxel=None))
    voltage = scan.settings["accelerating_voltage"]
    assert (voltage.value, voltage.unit, voltage.origin) == (300000, "V", "sidecar")
    assert "magnification" not in scan.settings  # -1 in the text
    assert (scan.axis("x").step, scan.axis("x").unit, scan.axis("x").origin) == (0.5, "nm", "sidecar")
    assert scan.axis("y").step is None
    assert scan.acquired == "2025-04-29T19:45:00Z"
    assert scan.source.parts == (str(tmp_path / "run_7_info.txt"),)


@pytest.mark.parametrize(
    "more",
    [
        "Scan - Enable = Enable",
        "Instrument Project TEMorSTEM Mode = 1",
        "Instrument Project Camera Length (centimeters) = 60",
    ],
)
def test_specimen_pixel_is_not_that_of_diffraction_patterns(tmp_path: Path, more: str) -> None:
    """In a scan it is the step of the scan; the text has no unit for the size of a pixel of the pattern."""
    (tmp_path / "run_info.txt").write_text(f"{make.INFO}Diffraction Pixel Size X = 0.1\n{more}\n")
    (scan,) = open_scans(make.write(tmp_path / "run_movie.mrc", STACK, voxel=None))
    assert [axis.step for axis in scan.axes[-2:]] == [None, None]
    assert scan.settings["detector"].value == "DESim"


@pytest.mark.parametrize(
    "name", ["run_7_1_Virt #1_total_sum.mrc", "run_7_ext1_Ext 1.mrc", "run_7_virt0_BF_sum.mrc"]
)
@pytest.mark.parametrize("region", ["Scan - Size", "Scan - ROI Enable = Enable\nScan - ROI Size"])
def test_image_of_the_scan_has_the_size_and_step_of_the_scan(tmp_path: Path, name: str, region: str) -> None:
    columns, rows = STACK.shape[2] - 1, STACK.shape[1] - 1
    size = f"Scan - Enable = Enable\n{region} X = {columns}\n{region.rpartition(chr(10))[2]} Y = {rows}\n"
    (tmp_path / "run_7_info.txt").write_text(make.INFO + size)
    (scan,) = open_scans(make.write(tmp_path / name, STACK[0, 1:, 1:], voxel=None))
    assert (scan.axis("x").step, scan.axis("x").unit, scan.axis("y").step) == (0.5, "nm", None)
    assert set(scan.settings) == {"accelerating_voltage"}  # detector and exposure are the camera's


def test_text_of_another_size_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "run_info.txt").write_text(make.INFO.replace("= 6", "= 4096"))
    (scan,) = open_scans(make.write(tmp_path / "run_movie.mrc", STACK))
    assert scan.settings == {}
    assert "describes an image of another size" in scan.problems[0]


def test_text_alone_is_a_companion(tmp_path: Path) -> None:
    (tmp_path / "run_info.txt").write_text("Server Software Version   = 2.7\n" + make.INFO)
    with pytest.raises(
        NotAnImageError, match=r"a Direct Electron info text, without pixels of its own; open its \.mrc"
    ):
        open_scans(tmp_path / "run_info.txt")


def test_real_stem_image_of_velox(shared: Path) -> None:
    (scan,) = open_scans(shared / "data" / "formats" / "mrc" / "HAADFscan.mrc")
    values = {name: quantity.value for name, quantity in scan.settings.items()}
    assert (values["accelerating_voltage"], values["detector"], values["instrument"]) == (
        300000,
        "HAADF",
        "Spectra",
    )
    assert values["dwell_time"] == 0.01  # 16 x 16 points in 2.72 s with the flyback
    assert "magnification" not in values  # its bit is not set
    assert scan.modality == "STEM"
