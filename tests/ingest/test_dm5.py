"""DM5: the tag tree of DigitalMicrograph as HDF5."""

from __future__ import annotations

from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest

from micdb.errors import DamagedFileError, NotAnImageError
from micdb.ingest.readers import dm5
from micdb.ingest.readers.hdf5 import Hdf5
from micdb.ingest.sniff import open_scans
from micdb.records import Scan
from micdb.testing import ReaderContract

DATA = Path(__file__).parents[1] / "data"
dm = SimpleNamespace(**run_path(str(DATA / "dm" / "make.py")))
make = SimpleNamespace(**run_path(str(DATA / "dm5" / "make.py")))
PIXELS = np.arange(5 * 7, dtype=np.uint16).reshape(5, 7)
STACK = np.arange(3 * 4 * 5, dtype=np.float32).reshape(3, 4, 5)
TAGS = {
    "Microscope Info": dm.MICROSCOPE,
    "DataBar": {**dm.DATA_BAR, "Acquisition Time (OS)": 132204835614361376},
}
AXES = [dm.axis(0.25, "nm", -2.0), dm.axis(0.5, "µm")]
REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "formats" / "dm5" / "ref_F_2_1.dm5"


def image(pixels: np.ndarray, **more: object) -> dict[str, object]:
    """An entry of ImageList whose dataset has the shape of the array."""
    found: dict[str, object] = dm.image(pixels, **more)
    return found


def colour(rgb: np.ndarray, **more: object) -> dict[str, object]:
    entry: dict[str, object] = dm.colour(rgb, **more)
    return entry


def only(path: Path, *images: object, **more: object) -> Scan:
    (scan,) = open_scans(make.write(path, *images, **more))
    return scan


class TestContract(ReaderContract):
    reader = Hdf5

    @pytest.fixture
    def files(self, tmp_path: Path) -> list[Path]:
        rgb = np.arange(2 * 4 * 5 * 3, dtype=np.uint8).reshape(2, 4, 5, 3)
        preview = colour(rgb[0], name="preview")
        return [
            make.write(tmp_path / "one.dm5", image(PIXELS, axes=AXES, tags=TAGS), preview=preview),
            make.write(tmp_path / "more.dm5", image(STACK), colour(rgb), image(PIXELS > 4), chunks=True),
        ]


def test_image_and_what_it_says(tmp_path: Path) -> None:
    preview = colour(np.zeros((4, 4, 3), np.uint8))
    scan = only(tmp_path / "a.dm5", image(PIXELS, axes=AXES, tags=TAGS), preview=preview)
    np.testing.assert_array_equal(scan.pixels.read(), PIXELS)
    y, x = scan.axes
    assert (y.step, y.unit, y.offset) == (0.5, "um", 0.0)
    assert (x.step, x.unit, x.offset) == (0.25, "nm", 0.5)
    assert (scan.source.format, scan.source.reader) == ("dm5", "hdf5")
    assert (scan.name, scan.modality, scan.acquired) == ("HAADF", "STEM", "2019-12-10T20:32:41Z")
    assert scan.settings["accelerating_voltage"].value == 200000.0
    assert scan.settings["stage_tilt"].value == 10.0
    assert scan.original["ImageData"]["Dimensions"] == [7, 5]
    assert scan.problems == ()


def test_text_in_latin_1_as_gatan_writes_it(tmp_path: Path) -> None:
    path = make.write(tmp_path / "a.dm5", image(PIXELS, axes=AXES))
    with h5py.File(path, "r+") as file:
        file["ImageList/[0]/ImageData/Calibrations/Dimension/[1]"].attrs["Units"] = np.bytes_(b"\xb5m")
    assert open_scans(path)[0].axes[0].unit == "um"


def test_more_than_ten_axes_or_images_stay_in_order(tmp_path: Path) -> None:
    path = make.write(tmp_path / "a.dm5", *(image(PIXELS, name=str(number)) for number in range(12)))
    assert [scan.name for scan in open_scans(path)] == [str(number) for number in range(12)]


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "uint64", "float64", "complex64", "bool"])
def test_data_types(tmp_path: Path, dtype: str) -> None:
    pixels = (np.arange(12).reshape(3, 4) % 3).astype(dtype)
    scan = only(tmp_path / "a.dm5", image(pixels))
    assert scan.pixels.dtype == dtype
    np.testing.assert_array_equal(scan.pixels.read(), pixels)


def test_stack_frame_by_frame(tmp_path: Path) -> None:
    axes = [dm.axis(1.0, "nm"), dm.axis(1.0, "nm"), dm.axis(0.5, "s")]
    scan = only(tmp_path / "s.dm5", image(STACK, axes=axes), compression="gzip")
    assert [axis.name for axis in scan.axes] == ["time", "y", "x"]
    assert scan.pixels.load_frame is not None
    np.testing.assert_array_equal(scan.pixels.load_frame(2), STACK[2])
    np.testing.assert_array_equal(np.array(list(scan.pixels.frames())), STACK)


def test_colours_and_half_planes_are_unpacked(tmp_path: Path) -> None:
    rgb = np.arange(2 * 3 * 4 * 3, dtype=np.uint8).reshape(2, 3, 4, 3)
    scan = only(tmp_path / "c.dm5", colour(rgb))
    np.testing.assert_array_equal(scan.pixels.read(), rgb)
    np.testing.assert_array_equal(np.array(list(scan.pixels.frames(colour=True))), rgb)
    plane, half = dm.half_plane(np.random.default_rng(1).normal(size=(4, 6)))
    for stored in (half, plane):  # some writers complete it
        entry = dm.entry(stored.astype(np.complex64), 27, (6, 4))
        np.testing.assert_allclose(only(tmp_path / "f.dm5", entry).pixels.read(), plane, atol=1e-6)


def test_diffraction_patterns_over_a_scan(tmp_path: Path) -> None:
    data = np.arange(2 * 3 * 4 * 5, dtype=np.uint8).reshape(2, 3, 4, 5)
    meta = {"Format": "Diffraction image", "Data Order Swapped": np.bool_(True)}
    scan = only(tmp_path / "4d.dm5", image(data, tags={"Meta Data": meta}))
    assert [axis.name for axis in scan.axes] == ["scan_y", "scan_x", "y", "x"]
    assert scan.pixels.load_frame is not None
    np.testing.assert_array_equal(scan.pixels.load_frame(4), data[1, 1])


def test_spectra_and_plots_are_refused_by_name(tmp_path: Path) -> None:
    plot = image(np.zeros(4, np.float32), name="profile")
    cube = image(STACK, name="map", tags={"Meta Data": {"Format": "Spectrum image"}})
    with pytest.raises(NotAnImageError, match=r"'profile' is a plot.*'map' is a spectrum or spectrum image"):
        open_scans(make.write(tmp_path / "p.dm5", plot, cube))


@pytest.mark.skipif(not REAL.is_file(), reason="no corpus of real files here")
def test_real_file_is_a_spectrum_image() -> None:
    with h5py.File(REAL) as file:
        assert dm5.known(file)
        assert dm5.scans(REAL, file) == ([], ["'/' is a spectrum or spectrum image (so its tags say)"])


def test_other_hdf5_is_not_known(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_group("ImageList/[0]")
        assert not dm5.known(file)


def test_dataset_that_is_not_as_promised(tmp_path: Path) -> None:
    entry = dm.entry(PIXELS, 10, (7, 4))
    with pytest.raises(
        DamagedFileError, match=r"image 0 promises u2 \(4, 7\), the dataset is uint16 \(5, 7\)"
    ):
        open_scans(make.write(tmp_path / "d.dm5", entry))


def test_pixels_in_another_file_are_not_followed(tmp_path: Path) -> None:
    path = make.write(tmp_path / "d.dm5", image(PIXELS))
    (tmp_path / "secret").write_bytes(bytes(70))
    with h5py.File(path, "r+") as file:
        data = file["ImageList/[0]/ImageData"]
        del data["Data"]
        data.create_dataset("Data", (5, 7), np.uint16, external=[(str(tmp_path / "secret"), 0, 70)])
    with pytest.raises(NotAnImageError, match="keeps its pixels in other files"):
        open_scans(path)


def test_circle_of_groups_is_refused(tmp_path: Path) -> None:
    path = make.write(tmp_path / "d.dm5", image(PIXELS))
    with h5py.File(path, "r+") as file:
        file["ImageList/[0]/ImageTags/again"] = file["ImageList"]
    with pytest.raises(DamagedFileError, match="or a circle"):
        open_scans(path)
