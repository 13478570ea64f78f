"""NeXus of others, HyperSpy, EMD 1.0 and JPK movies: layouts of HDF5."""

from __future__ import annotations

from pathlib import Path
from runpy import run_path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest

from micdb.errors import NotAnImageError
from micdb.ingest.sniff import open_scans

make = SimpleNamespace(**run_path(str(Path(__file__).parents[1] / "data" / "hdf5" / "make.py")))
IMAGE = np.arange(20, dtype=np.uint16).reshape(4, 5)
STACK = np.arange(60, dtype=np.uint16).reshape(3, 4, 5)
LENGTHS = {"y": ([0.0, 2.0, 4.0, 6.0], "nm"), "x": ([1.0, 2.0, 3.0, 4.0, 5.0], "nm")}


def test_nexus_follows_default_signal_and_axes(tmp_path: Path) -> None:
    (scan,) = open_scans(
        make.write_nexus(tmp_path / "a.nxs", STACK, {"time": ([0.0, 0.5, 1.0], "s"), **LENGTHS})
    )
    assert [(axis.name, axis.step, axis.offset, axis.unit) for axis in scan.axes] == [
        ("time", 0.5, 0.0, "s"),
        ("y", 2.0, 0.0, "nm"),
        ("x", 1.0, 1.0, "nm"),
    ]
    assert scan.name == "a sample"
    assert scan.acquired == "2021-03-04T05:06:07+01:00"
    np.testing.assert_array_equal(list(scan.pixels.frames()), STACK)


def test_nexus_instrument_of_nxem(tmp_path: Path) -> None:
    path = make.write_nexus(tmp_path / "a.nxs", IMAGE, LENGTHS)
    with h5py.File(path, "a") as file:
        column = file.create_group("entry/measurement/event/instrument/ebeam_column")
        column["electron_source/voltage"], column["electron_source/voltage"].attrs["units"] = 200.0, "kV"
        column["electron_source/voltage"].attrs["units"] = "kV"
        file["entry/measurement/event/instrument/optics/magnification"] = 5000
    (scan,) = open_scans(path)
    assert scan.settings["accelerating_voltage"].value == 200_000
    assert scan.settings["magnification"].value == 5000


def test_nexus_default_plot_comes_first_and_shared_pixels_once(tmp_path: Path) -> None:
    path = make.write_nexus(tmp_path / "a.nxs", IMAGE, LENGTHS)
    with h5py.File(path, "a") as file:
        first = file.create_group("entry/another")
        first.attrs.update(NX_class="NXdata", signal="data", axes=[".", "."])
        first["data"] = IMAGE + 7
        same = file.create_group("entry/same")
        same.attrs.update(NX_class="NXdata", signal="counts")
        same["counts"] = file["entry/plot/counts"]
    plot, another = open_scans(path)
    assert plot.channel == "counts"
    assert [axis.step for axis in another.axes] == [None, None]
    np.testing.assert_array_equal(another.pixels.read(), IMAGE + 7)


def test_nexus_before_2014(tmp_path: Path) -> None:
    path = tmp_path / "old.nxs"
    with h5py.File(path, "w") as file:
        data = file.create_group("entry/data")
        file["entry"].attrs["NX_class"], data.attrs["NX_class"] = "NXentry", "NXdata"
        data["image"], data["rows"], data["columns"] = IMAGE, np.arange(4) * 3.0, np.arange(5) * 2.0
        data["image"].attrs["signal"], data["image"].attrs["axes"] = 1, "rows:columns"
        for name in ("rows", "columns"):
            data[name].attrs["units"] = "um"
    (scan,) = open_scans(path)
    assert [(axis.name, axis.step, axis.unit) for axis in scan.axes] == [("y", 3.0, "um"), ("x", 2.0, "um")]


def test_nexus_colour_and_edges(tmp_path: Path) -> None:
    colours = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    edges = {"v": (np.arange(5) * 2.0, "nm"), "u": (np.arange(6) * 2.0, "nm")}
    (scan,) = open_scans(make.write_nexus(tmp_path / "a.nxs", colours, edges, interpretation="rgb-image"))
    assert scan.colour
    assert [(axis.name, axis.step, axis.offset) for axis in scan.axes[:2]] == [
        ("y", 2.0, 1.0),
        ("x", 2.0, 1.0),
    ]


@pytest.mark.parametrize(
    ("signal", "axes", "attributes", "why"),
    [
        (IMAGE[0], {"x": LENGTHS["x"]}, {}, r"is no image: it has the shape \(5,\)"),
        (IMAGE, LENGTHS, {"interpretation": "spectrum"}, r"shape \(4, 5\) and says spectrum"),
        (IMAGE, {"y": LENGTHS["y"], "E": (np.arange(5.0), "eV")}, {}, "its axis x is an energy"),
        (STACK, {"energy": (np.arange(3.0), "eV"), **LENGTHS}, {}, "its axis energy is an energy"),
        (
            IMAGE,
            {"bias": (np.arange(4.0), "V"), "x": LENGTHS["x"]},
            {},
            r"is no image \(its axis y is in V\)",
        ),
    ],
)
def test_nexus_refuses_what_is_no_image(
    tmp_path: Path, signal: Any, axes: Any, attributes: Any, why: str
) -> None:
    with pytest.raises(NotAnImageError, match=why):
        open_scans(make.write_nexus(tmp_path / "a.nxs", signal, axes, **attributes))


def test_nexus_series_of_energy_filtered_images(tmp_path: Path) -> None:
    axes = {"energy": (np.arange(3.0), "eV"), **LENGTHS}
    (scan,) = open_scans(make.write_nexus(tmp_path / "a.nxs", STACK, axes, interpretation="image"))
    assert (scan.axes[0].name, scan.axes[0].unit, scan.n_frames) == ("energy", "eV", 3)


def test_nexus_written_by_nexusformat(tmp_path: Path) -> None:
    nexus = pytest.importorskip("nexusformat.nexus")
    field = nexus.NXfield(IMAGE, name="counts")
    rows = nexus.NXfield(np.arange(4) * 0.5, name="rows", units="micron")
    columns = nexus.NXfield(np.arange(5) * 0.25, name="columns", units="micron")
    nexus.NXroot(nexus.NXentry(nexus.NXdata(field, (rows, columns)))).save(str(tmp_path / "a.nxs"))
    (scan,) = open_scans(tmp_path / "a.nxs")
    assert [(axis.name, axis.step, axis.unit) for axis in scan.axes] == [("y", 0.5, "um"), ("x", 0.25, "um")]
    np.testing.assert_array_equal(scan.pixels.read(), IMAGE)


def axis(name: str, scale: float, units: str, navigate: bool, **more: Any) -> dict[str, Any]:
    return {"name": name, "scale": scale, "offset": 0.0, "units": units, "navigate": navigate, **more}


PLANE = [axis("y", 0.5, "µm", False), axis("x", 0.25, "µm", False)]


def test_hyperspy_image_with_its_tree(tmp_path: Path) -> None:
    tree = {
        "General": {"title": "grain", "date": "2020-01-02", "time": "03:04:05", "time_zone": "UTC"},
        "Acquisition_instrument": {
            "TEM": {"beam_energy": 200.0, "magnification": 5e4, "Stage": {"tilt_alpha": 3.0}}
        },
    }
    (scan,) = open_scans(make.write_hyperspy(tmp_path / "a.hspy", {"grain": (IMAGE, PLANE, tree)}))
    assert [(item.name, item.step, item.unit) for item in scan.axes] == [("y", 0.5, "um"), ("x", 0.25, "um")]
    assert (scan.name, scan.acquired) == ("grain", "2020-01-02T03:04:05Z")
    assert {name: item.value for name, item in scan.settings.items()} == {
        "accelerating_voltage": 200_000, "magnification": 50_000, "stage_tilt": 3,
    }  # fmt: skip
    assert scan.original["original_metadata"] == {"vendor": {"key": "value"}}


@pytest.mark.parametrize("unit", ["pix", "px", "", "points", "<undefined>", "_None_"])
def test_hyperspy_scale_of_one_pixel_is_unknown(tmp_path: Path, unit: str) -> None:
    plane = [axis("y", 1.0, unit, False), axis("x", 1.0, unit, False)]
    (scan,) = open_scans(make.write_hyperspy(tmp_path / "a.hspy", {"a": (IMAGE, plane, {})}))
    assert [(item.step, item.unit) for item in scan.axes] == [(None, None), (None, None)]


def test_hyperspy_scan_of_diffraction_patterns(tmp_path: Path) -> None:
    cube = np.arange(120, dtype=np.uint8).reshape(2, 3, 4, 5)
    axes = [
        axis("y", 12.0, "nm", True),
        axis("x", 12.0, "nm", True),
        axis("dy", 0.1, "1/nm", False),
        axis("dx", 0.1, "1/nm", False),
    ]
    (scan,) = open_scans(make.write_hyperspy(tmp_path / "a.hspy", {"a": (cube, axes, {})}))
    assert [item.name for item in scan.axes] == ["scan_y", "scan_x", "y", "x"]
    assert scan.modality == "diffraction"
    np.testing.assert_array_equal(list(scan.pixels.frames()), cube.reshape(6, 4, 5))
    np.testing.assert_array_equal(scan.pixels.load_frame(4), cube[1, 1])


def test_hyperspy_colours_are_records(tmp_path: Path) -> None:
    colours = np.zeros((4, 5), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    colours["G"] = IMAGE
    (scan,) = open_scans(make.write_hyperspy(tmp_path / "a.hspy", {"a": (colours, PLANE, {})}))
    assert scan.colour
    np.testing.assert_array_equal(scan.pixels.read()[..., 1], IMAGE)


@pytest.mark.parametrize(
    ("array", "axes", "why"),
    [
        (
            IMAGE,
            [axis("x", 1.0, "nm", True), axis("Energy", 0.1, "keV", False)],
            "is a spectrum or a map of spectra",
        ),
        (IMAGE, [axis("E", 1.0, "eV", False), axis("x", 0.1, "nm", False)], "its axis y is an energy"),
        (
            IMAGE,
            [axis("y", 1.0, "nm", False), axis("x", 0.1, "nm", False, _type="DataAxis")],
            "not evenly spaced",
        ),
        (IMAGE, [axis("y", 1.0, "nm", False)], "has 0 axes for an array"),
    ],
)
def test_hyperspy_refuses_what_is_no_image(tmp_path: Path, array: Any, axes: Any, why: str) -> None:
    with pytest.raises(NotAnImageError, match=why):
        open_scans(make.write_hyperspy(tmp_path / "a.hspy", {"a": (array, axes, {})}))


def test_hyperspy_ragged_is_refused(tmp_path: Path) -> None:
    path = make.write_hyperspy(tmp_path / "a.hspy", {"a": (IMAGE, PLANE, {})})
    with h5py.File(path, "a") as file:
        del file["Experiments/a/data"]
        file["Experiments/a"].create_dataset("data", (2, 2), h5py.vlen_dtype(np.float64))
    with pytest.raises(NotAnImageError, match="a ragged signal"):
        open_scans(path)


def test_hyperspy_file_of_version_1(tmp_path: Path) -> None:
    """The trees had other names and were flat, no axis said whether it is navigated, dates were Python's."""
    path = tmp_path / "old.hdf5"
    with h5py.File(path, "w") as file:
        group = file.create_group("Experiments/old")
        group["data"] = STACK
        for number, (name, size) in enumerate(zip(("z", "y", "x"), STACK.shape, strict=True)):
            described = {"name": name, "scale": 2.0, "offset": 0.0, "units": "nm", "size": size}
            group.create_group(f"axis-{number}").attrs.update(described)
        make.put(group.create_group("mapped_parameters"), {
            "title": "old one", "record_by": "image", "TEM": {"beam_energy": 100.0},
            "_datetime_date": "datetime.date(2011, 2, 3)", "_datetime_time": "datetime.time(4, 5)",
        })  # fmt: skip
        group.create_group("original_parameters")
    (scan,) = open_scans(path)
    assert [item.name for item in scan.axes] == ["z", "y", "x"]
    assert scan.acquired == "2011-02-03T04:05:00"
    assert scan.settings["accelerating_voltage"].value == 100_000
    assert scan.name == "old one"


def test_hyperspy_agrees_with_hyperspy(tmp_path: Path) -> None:
    api = pytest.importorskip("hyperspy.api")
    signal = api.signals.Signal2D(STACK.astype(np.float32))
    for described, scale in zip(signal.axes_manager.signal_axes, (0.25, 0.5), strict=True):
        described.scale, described.units = scale, "nm"
    signal.metadata.General.date = "2020-01-02"
    signal.save(tmp_path / "a.hspy")
    (scan,) = open_scans(tmp_path / "a.hspy")
    assert [(item.step, item.unit) for item in scan.axes[1:]] == [(0.5, "nm"), (0.25, "nm")]
    assert scan.acquired == "2020-01-02"
    np.testing.assert_array_equal(scan.pixels.read(), STACK)


def test_emd1_datacube_takes_its_sizes_from_the_calibration(tmp_path: Path) -> None:
    cube = np.arange(120, dtype=np.uint16).reshape(2, 3, 4, 5)
    pixels = [([0, 1], name, "pixels") for name in ("Rx", "Ry", "Qx", "Qy")]
    path = make.write_emd1(
        tmp_path / "a.h5", {"datacube": (cube, "DataCube", pixels)},
        R_pixel_size=2.0, R_pixel_units="A", Q_pixel_size=0.02, Q_pixel_units="A^-1",
    )  # fmt: skip
    (scan,) = open_scans(path)
    assert [(item.name, item.step, item.unit) for item in scan.axes] == [
        ("scan_y", 2.0, "angstrom"), ("scan_x", 2.0, "angstrom"),
        ("y", 0.02, "1/angstrom"), ("x", 0.02, "1/angstrom"),
    ]  # fmt: skip
    assert scan.modality == "diffraction"
    np.testing.assert_array_equal(list(scan.pixels.frames()), cube.reshape(6, 4, 5))


def test_emd1_slices_and_plain_arrays(tmp_path: Path) -> None:
    arrays = {
        "virtual": (IMAGE, "VirtualImage", []),
        "probe": (STACK[0].astype(np.complex64), "Probe", []),
        "plain": (IMAGE, "Array", [([0, 3], "dim0", "nm"), ([0, 3], "dim1", "nm")]),
        "stack": (
            STACK,
            "RealSlice",
            [([0, 1], "", ""), ([0, 1], "", ""), ([b"a", b"b", b"c"], "_labels_", "")],
        ),
    }
    sizes = {"R_pixel_size": 1.5, "R_pixel_units": "nm", "Q_pixel_size": 1, "Q_pixel_units": "pixels"}
    path = make.write_emd1(tmp_path / "a.h5", arrays, **sizes)
    scans = {scan.name: scan for scan in open_scans(path)}
    assert {name: scan.axis("x").step for name, scan in scans.items()} == {
        "virtual": 1.5, "probe": None, "plain": 3, "stack": 1.5,
    }  # fmt: skip
    assert scans["probe"].pixels.dtype == "complex64"
    assert [item.name for item in scans["stack"].axes] == ["slice", "y", "x"]


def test_emd1_without_arrays_says_so(tmp_path: Path) -> None:
    with pytest.raises(NotAnImageError, match="holds no array, only points or metadata"):
        open_scans(make.write_emd1(tmp_path / "a.h5", {}))


def test_py4dstem_013_has_its_slices_last(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        root = file.create_group("4DSTEM")
        root.attrs.update(emd_group_type="root", version_major=0, version_minor=13)
        group = root.create_group("slices")
        group.attrs.update(emd_group_type=1, py4dstem_class="RealSlice")
        group["data"] = np.moveaxis(STACK, 0, 2)
        group["dim2"] = [b"a", b"b", b"c"]
        group["dim2"].attrs["name"] = "_labels_"
    (scan,) = open_scans(path)
    np.testing.assert_array_equal(scan.pixels.read(), STACK)


def test_jpk_movie_agrees_with_afmreader(tmp_path: Path) -> None:
    reader = pytest.importorskip("AFMReader.h5_jpk")
    square = np.arange(4 * 5 * 5, dtype=np.int32).reshape(4, 5, 5)
    path = make.write_jpk(tmp_path / "a.h5-jpk", square)
    trace, retrace = open_scans(path)
    frames, nanometres, moments = reader.load_h5jpk(path, "height_trace")
    np.testing.assert_allclose(trace.pixels.read() * 1e9, frames)
    np.testing.assert_allclose(trace.pixels.load_frame(2) * 1e9, frames[2])
    assert trace.axis("x").step_in("nm") == pytest.approx(nanometres)
    assert trace.axes[0].step == pytest.approx(moments["frame 1"])
    assert (trace.channel, retrace.channel) == ("height trace", "height retrace")
    assert (trace.modality, trace.intensity_unit) == ("AFM", "m")


@pytest.mark.parametrize(
    ("begun", "step", "problem"),
    [
        ([0, 500, 1010], 0.505, None),
        ([0, 500, 3000], None, "frames are 0.5 to 2.5 s apart"),
        ([0, 500], 4 / 20, None),  # of another movie: lines over lines per second
        ([0, 500, 400], 4 / 20, None),
    ],
)
def test_jpk_frames_begin_when_the_file_says(
    tmp_path: Path, begun: list[int], step: float | None, problem: str | None
) -> None:
    path = make.write_jpk(tmp_path / "a.h5-jpk", STACK)
    with h5py.File(path, "a") as file:
        file["Measurement_000/meta-data/start-times"] = np.array(begun, "i8")[None] + 1_600_000_000_250
        file["Measurement_000/Channel_000/A thumbnail"] = 0
        file["Measurement_000/Channel_000/thumbnail"] = np.zeros((20, 20), "u1")
    trace, _ = open_scans(path)
    assert trace.axes[0].step == (step and pytest.approx(step))
    assert trace.pixels.shape == STACK.shape
    assert (trace.acquired is None) == (len(begun) < 3 or begun[2] < begun[1])
    assert trace.acquired in (None, "2020-09-13T12:26:40.250000Z")
    assert [problem] == [said.partition(": ")[2] for said in trace.problems] or (problem, trace.problems) == (
        None,
        (),
    )


def test_jpk_lines_both_ways_leave_the_time_between_frames_unknown(tmp_path: Path) -> None:
    path = make.write_jpk(tmp_path / "a.h5-jpk", STACK)
    with h5py.File(path, "a") as file:
        key = "environment.fast-imaging.feed-forward-parameters.yaxis.interlace"
        file["Measurement_000"].attrs[key] = "true"
    trace, _ = open_scans(path)
    assert trace.axes[0].step is None
    assert trace.problems == ("the time between frames is unknown: lines were taken both ways",)


def test_jpk_single_frame_is_a_picture_without_time(tmp_path: Path) -> None:
    trace, _ = open_scans(make.write_jpk(tmp_path / "a.h5-jpk", STACK[:1], multiplier=1.0))
    assert [axis.name for axis in trace.axes] == ["y", "x"]
    np.testing.assert_allclose(trace.pixels.read(), np.flipud(STACK[0]) + 1e-9)
    assert trace.problems == ()


def test_jpk_row_0_is_the_top_and_rows_may_differ(tmp_path: Path) -> None:
    trace, _ = open_scans(make.write_jpk(tmp_path / "a.h5-jpk", STACK, multiplier=1.0))
    np.testing.assert_allclose(trace.pixels.read(), np.flip(STACK, 1) + 1e-9)
    assert trace.axis("y").step == pytest.approx(2e-6 / 4)
    assert trace.axis("x").step == pytest.approx(2e-6 / 5)
    with h5py.File(tmp_path / "a.h5-jpk", "a") as file:
        file["Measurement_000"].attrs["position-pattern.grid.jlength"] = 3
    with pytest.raises(NotAnImageError, match=r"has 20 pixels per frame, the grid says \(3, 5\)"):
        open_scans(tmp_path / "a.h5-jpk")
