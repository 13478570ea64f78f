"""Velox and NCEM EMD, two of the layouts of HDF5."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest

from micdb.errors import DamagedFileError, NotAnImageError
from micdb.ingest.readers.hdf5 import Hdf5
from micdb.ingest.sniff import open_scans
from micdb.testing import ReaderContract

make = SimpleNamespace(**run_path(str(Path(__file__).parents[1] / "data" / "emd" / "make.py")))
FRAMES = np.arange(4 * 5 * 3, dtype=np.uint16).reshape(4, 5, 3)
LENGTHS = [("Y", "[n_m]", [1.0, 1.5]), ("X", "n_m", np.linspace(0, 0.4, 5))]


class TestContract(ReaderContract):
    reader = Hdf5

    @pytest.fixture
    def files(self, tmp_path: Path) -> list[Path]:
        images = {"a": (FRAMES, make.velox_metadata()), "b": (FRAMES[..., :1], make.velox_metadata(mode="1"))}
        return [
            make.write_velox(tmp_path / "velox.emd", images),
            make.write_ncem(tmp_path / "ncem.emd", {"one": (FRAMES[..., 0], LENGTHS)}),
        ]


def test_velox_stem_stack(tmp_path: Path) -> None:
    path = make.write_velox(tmp_path / "v.emd", {"a": (FRAMES, make.velox_metadata())})
    (scan,) = open_scans(path)
    np.testing.assert_array_equal(scan.pixels.read(), np.moveaxis(FRAMES, 2, 0))
    np.testing.assert_array_equal(scan.pixels.load_frame(1), FRAMES[..., 1])
    frame, y, x = scan.axes
    assert (frame.name, y.step, y.unit, x.step) == ("frame", 2e-9, "m", 1e-9)
    assert scan.channel == "HAADF"
    assert scan.modality == "STEM"
    assert scan.acquired == "2020-07-29T16:48:19Z"
    values = {name: quantity.value for name, quantity in scan.settings.items()}
    assert values["accelerating_voltage"] == 300000
    assert values["magnification"] == 7100
    assert values["dwell_time"] == 1e-5
    assert values["camera_length"] == 300
    assert "defocus" not in values


def test_velox_tem_takes_the_nominal_magnification(tmp_path: Path) -> None:
    path = make.write_velox(tmp_path / "v.emd", {"a": (FRAMES[..., :1], make.velox_metadata(mode="1"))})
    (scan,) = open_scans(path)
    assert scan.pixels.shape == (4, 5)
    assert scan.modality == "TEM"
    assert scan.settings["magnification"].value == 26996.3
    assert scan.settings["defocus"].value == pytest.approx(-1000)
    assert "camera_length" not in scan.settings  # a stale key of imaging mode


def test_velox_diffraction_is_named_by_its_unit(tmp_path: Path) -> None:
    metadata = make.velox_metadata(mode="1", unit="1/m", step=1e7)
    (scan,) = open_scans(make.write_velox(tmp_path / "v.emd", {"a": (FRAMES[..., :1], metadata)}))
    assert scan.modality == "diffraction"
    assert scan.axis("x").step_in("1/nm") == pytest.approx(0.01)


def test_velox_fourier_transform_is_complex(tmp_path: Path) -> None:
    half = np.zeros((3, 4, 1), [("realFloatHalfEven", "<f4"), ("imagFloatHalfEven", "<f4")])
    half["realFloatHalfEven"], half["imagFloatHalfEven"] = 3, 4
    (scan,) = open_scans(make.write_velox(tmp_path / "v.emd", {"a": (half, make.velox_metadata(unit="1/m"))}))
    assert scan.pixels.dtype == "complex64"
    assert (np.abs(scan.pixels.read()) == 5).all()
    assert scan.modality is None


def test_velox_pixels_survive_broken_metadata(tmp_path: Path) -> None:
    (scan,) = open_scans(make.write_velox(tmp_path / "v.emd", {"a": (FRAMES, b"{broken")}))
    assert scan.pixels.read().shape == (3, 4, 5)
    assert scan.axis("x").step is None
    assert "the Velox metadata could not be read" in scan.problems[0]


def test_velox_without_image_says_so(tmp_path: Path) -> None:
    path = tmp_path / "v.emd"
    with h5py.File(path, "w") as file:
        file["Data/SpectrumStream/a/Data"] = np.zeros(8, np.uint16)
    with pytest.raises(NotAnImageError, match="this Velox file holds spectra and no image"):
        open_scans(path)


def test_velox_frame_time_makes_a_time_axis(tmp_path: Path) -> None:
    metadata = make.velox_metadata()
    metadata["Scan"]["FrameTime"] = "0.25"
    stack, left_over = (
        open_scans(
            make.write_velox(tmp_path / f"{mode}.emd", {"a": (FRAMES, {**metadata, "Optics": optics})})
        )[0]
        for mode, optics in (
            ("stem", metadata["Optics"]),
            ("tem", {**metadata["Optics"], "OperatingMode": "1"}),
        )
    )
    assert (stack.axes[0].name, stack.axes[0].step, stack.axes[0].unit) == ("time", 0.25, "s")
    assert (left_over.axes[0].name, left_over.axes[0].step) == ("frame", None)


def test_velox_frames_that_share_chunks(tmp_path: Path) -> None:
    """Velox may keep pixels of many frames together; each frame still comes out whole and in order."""
    frames = np.arange(6 * 7 * 11, dtype=np.int16).reshape(6, 7, 11)
    path = make.write_velox(tmp_path / "v.emd", {"a": (frames, make.velox_metadata())})
    with h5py.File(path, "a") as file:
        del file["Data/Image/a/Data"]
        file["Data/Image/a"].create_dataset("Data", data=frames, chunks=(2, 3, 4), compression="gzip")
    (scan,) = open_scans(path)
    np.testing.assert_array_equal(list(scan.pixels.frames()), np.moveaxis(frames, 2, 0))
    np.testing.assert_array_equal(scan.pixels.load_frame(10), frames[..., 10])


def test_velox_detector_name_of_new_versions(tmp_path: Path) -> None:
    metadata = make.velox_metadata()
    del metadata["BinaryResult"]["Detector"]
    (scan,) = open_scans(make.write_velox(tmp_path / "v.emd", {"a": (FRAMES, metadata)}))
    assert scan.settings["detector"].value == "HAADF"


def test_velox_diffraction_pattern_has_a_camera_length_and_no_magnification(tmp_path: Path) -> None:
    metadata = make.velox_metadata(mode="1", unit="1/m", step=1e8)
    metadata["Optics"]["ProjectorMode"] = "1"
    (scan,) = open_scans(make.write_velox(tmp_path / "v.emd", {"a": (FRAMES[..., :1], metadata)}))
    assert (scan.modality, scan.axis("x").step_in("1/nm")) == ("diffraction", 0.1)
    assert scan.settings["camera_length"].value == 300
    assert "magnification" not in scan.settings


def test_velox_title_of_the_display_tells_maps_apart(tmp_path: Path) -> None:
    """Old versions keep title and image together; new ones name a reference, which names the image."""
    path = make.write_velox(tmp_path / "v.emd", {key: (FRAMES, make.velox_metadata()) for key in "abcdef"})
    reference = "/SharedProperties/ImageSeriesDataReference/1"
    told = {
        "Presentation/Displays/ImageDisplay/1": {
            "display": {"label": "a%23"},
            "dataPath": "/Data/Image/a",
        },
        "Displays/ImageDisplay/1": {"id": "Ca", "data": reference},
        reference: {"dataPath": "/Data/Image/b"},
        "Displays/ImageDisplay/2": {"id": "b", "data": f"{reference}_2"},  # a place, no title
        f"{reference}_2": {"dataPath": "/Data/Image/c"},
        "Displays/ImageDisplay/3": {"id": "Fe", "data": "/nowhere"},
        "Displays/ImageDisplay/4": ["no object"],
    }
    with h5py.File(path, "a") as file:
        for name, said in told.items():
            file.create_dataset(name, data=[json.dumps(said)], dtype=h5py.string_dtype())
        file["Displays/ImageDisplay/5"] = np.zeros(3)
    scans = open_scans(path)
    assert [scan.channel for scan in scans] == ["a#", "Ca", "HAADF", "HAADF", "HAADF", "HAADF"]
    assert {scan.settings["detector"].value for scan in scans} == {"HAADF"}


def test_ncem_keeps_the_order_of_the_file(tmp_path: Path) -> None:
    path = make.write_ncem(
        tmp_path / "n.emd", {"one": (FRAMES[..., 0], LENGTHS), "two": (FRAMES[..., 1], [])}
    )
    one, two = open_scans(path)
    np.testing.assert_array_equal(one.pixels.read(), FRAMES[..., 0])
    y, x = one.axes
    assert (y.step, y.offset, y.unit) == (0.5, 1.0, "nm")
    assert x.step == pytest.approx(0.1)
    assert one.settings["accelerating_voltage"].value == 300000
    assert [axis.step for axis in two.axes] == [None, None]


def test_ncem_slices_after_the_image_are_moved_in_front(tmp_path: Path) -> None:
    dimensions = [("R_x", "[n_m]", [0, 1]), ("R_y", "[n_m]", [0, 2]), ("depth", "[n_m]", [0, 3])]
    (scan,) = open_scans(make.write_ncem(tmp_path / "n.emd", {"cube": (FRAMES, dimensions)}))
    assert [(axis.name, axis.step) for axis in scan.axes] == [("depth", 3), ("y", 2), ("x", 1)]
    np.testing.assert_array_equal(scan.pixels.read(), FRAMES.T)


@pytest.mark.parametrize(
    ("names", "turned"),
    [
        ("xy", True),
        ("XY", True),
        ("YX", False),
        (("", ""), False),
        (("R_x", "R_y"), True),
        (("ky", "kx"), False),
    ],
)
def test_ncem_x_is_horizontal_where_the_names_say_which_it_is(tmp_path: Path, names, turned: bool) -> None:
    first, second = ((name, "[n_m]", [0, step]) for name, step in zip(names, (1, 2), strict=True))
    picture = FRAMES[..., 0]
    (scan,) = open_scans(make.write_ncem(tmp_path / "n.emd", {"one": (picture, [first, second])}))
    assert (scan.axis("x").step, scan.axis("y").step) == ((1, 2) if turned else (2, 1))
    np.testing.assert_array_equal(scan.pixels.read(), picture.T if turned else picture)


def test_ncem_rows_are_x_for_py4dstem(tmp_path: Path) -> None:
    path = tmp_path / "p.emd"
    with h5py.File(path, "w") as file:
        group = file.create_group("4DSTEM_experiment/data/realslices/one")
        group.attrs["emd_group_type"] = 1
        group["data"] = FRAMES[..., 0]
        for number, name in enumerate(("R_x", "R_y"), 1):
            group[f"dim{number}"] = [0.0, number]
            group[f"dim{number}"].attrs.update(name=name, units="[n_m]")
    (scan,) = open_scans(path)
    np.testing.assert_array_equal(scan.pixels.read(), FRAMES[..., 0])


def test_ncem_written_by_hyperspy_is_as_hyperspy_shows_it(tmp_path: Path) -> None:
    """It writes arrays in reverse; axes need not have names."""
    hyperspy = pytest.importorskip("hyperspy.api")
    signal = hyperspy.signals.Signal2D(np.arange(120, dtype=np.int16).reshape(2, 3, 4, 5))
    for axis, step in zip(signal.axes_manager._axes, (4, 3, 2, 1), strict=True):
        axis.scale, axis.units = step, "nm"
    signal.save(tmp_path / "h.emd")
    (scan,) = open_scans(tmp_path / "h.emd")
    assert [(axis.name, axis.step) for axis in scan.axes] == [
        ("frame", 4),
        ("frame_1", 3),
        ("y", 2),
        ("x", 1),
    ]
    np.testing.assert_array_equal(scan.pixels.read(), signal.data)
    assert (scan.name, scan.channel) == ("h", None)
    hyperspy.signals.Signal1D(np.zeros(3)).save(tmp_path / "s.emd")
    with pytest.raises(NotAnImageError, match=r"hdf5\]: signals/__unnamed__ is a curve"):
        open_scans(tmp_path / "s.emd")


def test_ncem_uneven_positions_leave_the_step_unknown(tmp_path: Path) -> None:
    dimensions = [("Y", "[n_m]", [0, 1, 5, 6]), ("X", "[n_m]", [0, 1])]
    (scan,) = open_scans(make.write_ncem(tmp_path / "n.emd", {"one": (FRAMES[..., 0], dimensions)}))
    assert scan.axis("y").step is None
    assert "not evenly spaced" in scan.problems[0]


def test_ncem_spectrum_is_refused(tmp_path: Path) -> None:
    path = make.write_ncem(
        tmp_path / "n.emd", {"eels": (FRAMES[..., 0], [("E", "eV", [0, 1]), ("X", "nm", [0, 1])])}
    )
    with pytest.raises(NotAnImageError, match="eels is a spectrum or spectrum image"):
        open_scans(path)


def test_ncem_scan_of_patterns_written_by_py4dstem(tmp_path: Path) -> None:
    dimensions = [
        ("R_x", "[n_m]", [0, 3]),
        ("R_y", "[n_m]", [0, 2]),
        ("Q_x", "[n_m^-1]", [0, 0.1]),
        ("Q_y", "[n_m^-1]", [0, 0.2]),
    ]
    cube = np.arange(2 * 3 * 4 * 5, dtype=np.uint16).reshape(2, 3, 4, 5)
    (scan,) = open_scans(make.write_ncem(tmp_path / "n.emd", {"cube": (cube, dimensions)}))
    assert [(axis.name, axis.step) for axis in scan.axes] == [
        ("scan_y", 3),
        ("scan_x", 2),
        ("y", 0.1),
        ("x", 0.2),
    ]
    assert scan.modality == "diffraction"
    np.testing.assert_array_equal(scan.pixels.load_frame(4), cube[1, 1])


def test_ncem_a_is_angstrom_never_ampere(tmp_path: Path) -> None:
    dimensions = [("Y", "A", [0, 2]), ("X", "A", [0, 2])]
    (scan,) = open_scans(make.write_ncem(tmp_path / "n.emd", {"one": (FRAMES[..., 0], dimensions)}))
    assert scan.axis("x").step_in("nm") == pytest.approx(0.2)


def test_cut_hdf5_is_damage(tmp_path: Path) -> None:
    path = make.write_ncem(tmp_path / "n.emd", {"one": (FRAMES[..., 0], LENGTHS)})
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(DamagedFileError, match="truncated file"):
        open_scans(path)


@pytest.mark.parametrize("write", [make.write_ncem, make.write_velox])
def test_what_other_programs_compressed_is_read(tmp_path: Path, write, monkeypatch) -> None:
    """In a process of its own: whether the filter is known must not depend on what was imported before."""
    import hdf5plugin

    plain = h5py.Group.__setitem__

    def compressed(group, name, value):
        if isinstance(value, np.ndarray) and value.dtype == np.uint16:
            group.create_dataset(name, data=value, chunks=True, **hdf5plugin.Bitshuffle())
        else:
            plain(group, name, value)

    monkeypatch.setattr(h5py.Group, "__setitem__", compressed)
    one = (FRAMES[..., 0], LENGTHS) if write is make.write_ncem else (FRAMES[..., :1], make.velox_metadata())
    path = write(tmp_path / "packed.emd", {"one": one})
    code = (
        f"from micdb.ingest.sniff import open_scans; print(open_scans({str(path)!r})[0].pixels.read().sum())"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(run.stdout) == FRAMES[..., 0].sum()
