"""OME-TIFF: valid by the schema, and the same pixels and scale in other programs' readers and ours."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import numpy as np
import pytest
import tifffile

import micdb
from micdb.ingest.sniff import open_scans
from micdb.records import Axis, Quantity

SETTINGS = {
    "accelerating_voltage": Quantity(5000.0, "V", "file", "AP_ACTUALKV = 5 kV"),
    "detector": Quantity('In<Lens> & "co"'),
    "comment": Quantity("with \x01 control \x0b characters"),
}
DTYPES = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"]


def exported(lab, tmp_path, **options):
    """Export everything; return the path of the only file, and its OME-XML."""
    done = lab.db.export(lab.db.images, tmp_path / "out", **options)
    (image,) = done.images
    (name,) = image.files
    path = tmp_path / "out" / name
    with tifffile.TiffFile(path) as file:
        return path, file.ome_metadata, image.notes


def ome(xml):
    """Return the OME object; the schema itself is checked too, order and types of every element."""
    ome_types = pytest.importorskip("ome_types")
    from lxml import etree

    schema = etree.XMLSchema(file=f"{ome_types.__path__[0]}/ome-2016-06.xsd")
    schema.assertValid(etree.fromstring(xml.encode()))
    return ome_types.from_xml(xml)


@pytest.mark.parametrize("dtype", DTYPES)
def test_pixels_type_and_scale(lab, ramp, nm, tmp_path, dtype):
    pixels = ramp((6, 7), dtype)
    lab.add(pixels, axes=nm(6, 7), settings=SETTINGS, channel="InLens", acquired="2023-04-11T10:00:05")
    path, xml, notes = exported(lab, tmp_path)
    image = ome(xml).images[0]
    assert (image.pixels.physical_size_x, image.pixels.physical_size_y) == (0.25, 0.5)
    assert {image.pixels.physical_size_x_unit.value, image.pixels.physical_size_y_unit.value} == {"nm"}
    assert image.pixels.channels[0].name == "InLens"
    assert image.acquisition_date.isoformat() == "2023-04-11T10:00:05"
    stored = tifffile.imread(path)
    assert (stored.dtype, stored.tolist()) == (np.dtype(dtype), pixels.tolist())
    (scan,) = open_scans(path)
    assert np.array_equal(scan.pixels.read(), pixels)
    assert scan.pixels.dtype == dtype
    assert (scan.axis("y").step_in("nm"), scan.axis("x").step_in("nm")) == (0.5, 0.25)
    assert scan.acquired == "2023-04-11T10:00:05"
    assert notes == ()


def test_hyperspy_reads_the_same_pixels(lab, ramp, nm, tmp_path):
    rsciio_tiff = pytest.importorskip("rsciio.tiff")
    pixels = ramp((3, 6, 7), "float32")
    lab.add(pixels, axes=(Axis("time", 3, 0.5, 0.0, "s"), *nm(6, 7)))
    path, _, _ = exported(lab, tmp_path)
    assert np.array_equal(rsciio_tiff.file_reader(path)[0]["data"], pixels)


def test_time_and_depth(lab, ramp, nm, tmp_path):
    pixels = ramp((2, 3, 6, 7))
    axes = (Axis("time", 2, 500.0, 0.0, "ms"), Axis("z", 3, 1.5, 0.0, "um"), *nm(6, 7))
    lab.add(pixels, axes=axes)
    path, xml, notes = exported(lab, tmp_path)
    found = ome(xml).images[0].pixels
    assert (found.size_t, found.size_z, found.size_c) == (2, 3, 1)
    assert (found.time_increment, found.time_increment_unit.value) == (0.5, "s")
    assert (found.physical_size_z, found.physical_size_z_unit.value) == (1.5, "µm")
    assert np.array_equal(tifffile.imread(path), pixels)
    (scan,) = open_scans(path)
    assert np.array_equal(scan.pixels.read(), pixels)
    assert [axis.name for axis in scan.axes] == ["time", "z", "y", "x"]
    assert scan.axis("time").step_in("s") == 0.5
    assert scan.axis("z").step_in("nm") == 1500.0
    assert notes == ()


def test_settings_axes_and_the_vendors_words_are_annotations(lab, ramp, nm, tmp_path):
    uid = lab.add(
        ramp((6, 7)), axes=nm(6, 7), settings=SETTINGS, original={"AP_MAG": "10 < K X"}, name="a & b"
    )
    _, xml, _ = exported(lab, tmp_path)
    found = ome(xml)
    annotations = found.structured_annotations
    maps = {one.namespace: {m.k: m.value for m in one.value.ms} for one in annotations.map_annotations}
    assert maps["micdb.settings"] == {
        "accelerating_voltage": "5000.0 V",
        "detector": 'In<Lens> & "co"',
        "comment": "with  control  characters",
    }
    assert maps["micdb.raw"] == {"accelerating_voltage": "AP_ACTUALKV = 5 kV"}
    assert maps["micdb.axes"]["x"] == "7 samples, step 0.25 nm, first at 0.0 nm (file)"
    assert maps["micdb.image"]["uid"] == uid
    assert maps["micdb.image"]["original_file"] == "scan1.described"
    (comment,) = annotations.comment_annotations
    assert comment.value == '{"AP_MAG": "10 < K X"}'
    assert found.images[0].name == "a & b"
    assert len(found.images[0].annotation_refs) == 5
    assert found.uuid == f"urn:uuid:{uid}"


def test_unknown_and_reciprocal_steps_are_no_lengths(lab, ramp, nm, tmp_path):
    lab.add(ramp((6, 7)), axes=nm(6, 7, unit="1/nm"), modality="diffraction")
    _, xml, notes = exported(lab, tmp_path)
    pixels = ome(xml).images[0].pixels
    assert pixels.physical_size_x is None
    assert pixels.physical_size_y is None
    assert "PhysicalSize" not in xml
    assert notes[0] == "the step along x is left out: OME has no unit 1/nm"
    assert "step 0.25 1/nm" in xml


def test_a_scan_of_diffraction_patterns_is_flattened_and_says_so(lab, ramp, nm, tmp_path):
    pixels = ramp((2, 3, 6, 7))
    scan = (Axis("scan_y", 2, 4.0, 0.0, "nm"), Axis("scan_x", 3, 4.0, 0.0, "nm"))
    lab.add(pixels, axes=(*scan, *nm(6, 7, unit="1/nm")))
    path, xml, notes = exported(lab, tmp_path)
    found = ome(xml).images[0].pixels
    assert (found.size_t, found.size_z, found.time_increment) == (6, 1, None)
    assert np.array_equal(tifffile.imread(path), pixels.reshape(6, 6, 7))
    assert "the axes scan_y, scan_x stand one after the other along T: OME has no place for them" in notes
    assert "2 samples, step 4.0 nm" in xml


def test_uncalibrated_frames_have_no_increment(lab, ramp, tmp_path):
    lab.add(ramp((4, 6, 7)), leading=("frame",))
    _, xml, notes = exported(lab, tmp_path)
    assert ome(xml).images[0].pixels.size_t == 4
    assert "TimeIncrement" not in xml
    assert notes == ()


@pytest.mark.parametrize("samples", [3, 4])
@pytest.mark.parametrize("frames", [(), (2,)])
def test_colour(lab, ramp, tmp_path, samples, frames):
    pixels = ramp((*frames, 6, 7, samples), "uint8")
    lab.add(pixels, leading=("frame",) * len(frames), colour=True)
    path, xml, _ = exported(lab, tmp_path)
    assert ome(xml).images[0].pixels.channels[0].samples_per_pixel == samples
    assert np.array_equal(tifffile.imread(path), pixels)
    (scan,) = open_scans(path)
    assert np.array_equal(scan.pixels.read(), pixels)


@pytest.mark.parametrize(("dtype", "part"), [("complex64", "float32"), ("complex128", "float64")])
def test_complex_pixels_are_two_channels(lab, ramp, tmp_path, dtype, part):
    pixels = ramp((2, 6, 7), dtype)
    lab.add(pixels, leading=("frame",), channel="wave")
    path, xml, _ = exported(lab, tmp_path)
    found = ome(xml).images[0].pixels
    assert [channel.name for channel in found.channels] == ["wave real", "wave imaginary"]
    stored = tifffile.imread(path)
    assert stored.dtype == part
    assert np.array_equal(stored[:, 0] + 1j * stored[:, 1], pixels)


@pytest.mark.parametrize(
    ("dtype", "values", "stored"),
    [
        ("bool", [[True, False]], "uint8"),
        ("float16", [[1.5, -2.0]], "float32"),
        ("int64", [[-5, 2**31 - 1]], "int32"),
        ("int64", [[0, 2**32 - 1]], "uint32"),
        ("uint64", [[0, 9]], "uint32"),
    ],
)
def test_types_ome_does_not_have_become_wider_or_fit(lab, tmp_path, dtype, values, stored):
    pixels = np.array(values, dtype).repeat(2, axis=0)
    lab.add(pixels)
    path, xml, _ = exported(lab, tmp_path)
    ome(xml)
    found = tifffile.imread(path)
    assert (found.dtype, found.tolist()) == (np.dtype(stored), pixels.tolist())


def test_values_beyond_32_bits_are_refused(lab, ramp, tmp_path):
    lab.add(np.array([[0, 2**40], [1, 2]]), name="wide")
    lab.add(ramp((4, 5)))
    done = lab.db.export(lab.db.images, tmp_path / "out")
    (refused,) = done.refused
    assert refused.name == "wide"
    assert refused.reason == "OME-TIFF has no type for int64 values beyond 32 bits; export as nexus"
    assert len(list((tmp_path / "out").glob("*.tif"))) == 1


@pytest.mark.parametrize(
    ("moment", "expected"),
    [("2023-04-11T10:00:05Z", "2023-04-11T10:00:05Z"), ("2023-04-11", None), (None, None)],
)
def test_the_date_is_what_is_known(lab, ramp, tmp_path, moment, expected):
    lab.add(ramp((4, 5)), acquired=moment)
    _, xml, _ = exported(lab, tmp_path)
    ome(xml)
    assert (f"<AcquisitionDate>{expected}</AcquisitionDate>" in xml) is (expected is not None)
    assert ("AcquisitionDate" in xml) is (expected is not None)


def test_the_same_image_gives_the_same_bytes(lab, ramp, nm, tmp_path):
    lab.add(ramp((4, 5)), axes=nm(4, 5), settings=SETTINGS)
    one, _, _ = exported(lab, tmp_path)
    first = one.read_bytes()
    again, _, _ = exported(lab, tmp_path, overwrite=True)
    assert again.read_bytes() == first


def test_a_stack_is_written_frame_by_frame(lab, nm, tmp_path):
    """Peak memory stays far below the size of the stack; in a process of its own, for a true peak."""
    pixels = np.zeros((150, 1024, 1024), np.uint8)
    pixels[:, 0, 0] = np.arange(150)
    lab.add(pixels, axes=(Axis("frame", 150), *nm(1024, 1024)))
    code = """
        import resource, sys, micdb
        with micdb.open(sys.argv[1]) as db:
            db.export(db.images[["uid"]], sys.argv[2])
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    """
    empty = (
        "import resource, micdb.database, tifffile; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    peaks = [
        int(subprocess.run([sys.executable, "-c", *call], capture_output=True, text=True, check=True).stdout)
        for call in ([textwrap.dedent(code), str(lab.db.root), str(tmp_path / "out")], [empty])
    ]
    (path,) = (tmp_path / "out").glob("*.tif")
    assert tifffile.imread(path)[:, 0, 0].tolist() == list(range(150))
    assert peaks[0] - peaks[1] < 80_000  # [kB] of a stack of 157 MB


def test_the_file_comes_in_again_as_the_same_image(lab, ramp, nm, tmp_path):
    lab.add(ramp((6, 7), "float32"), axes=nm(6, 7))
    path, _, _ = exported(lab, tmp_path)
    assert lab.db.ingest(path).counts["merged"] == 1
    with micdb.init(tmp_path / "other.micdb") as other:
        other.ingest(path)
        row = other.images.to_pandas().iloc[0]
    assert (row["pixel_size_x"], row["pixel_size_y"]) == (0.25, 0.5)
