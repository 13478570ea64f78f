"""The hard cases, continued: parts, orphans, damage, dates, byte order, names."""

from __future__ import annotations

import shutil
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest

from micdb.catalog import tables
from micdb.errors import DamagedFileError, MicdbError, NotAnImageError, UnknownFormatError
from micdb.ingest.sniff import open_scans

DATA = Path(__file__).parents[1] / "data"
createc, dm, emd, igor, matrix, mrc, nanonis, nanoscope, raster, rosettasciio, tia, tiff, wsxm = (
    SimpleNamespace(**run_path(str(DATA / name / "make.py")))
    for name in (
        "createc", "dm", "emd", "igor", "matrix", "mrc", "nanonis", "nanoscope", "raster", "rosettasciio",
        "tia", "tiff", "wsxm",
    )
)  # fmt: skip
IMAGE = np.arange(12 * 16, dtype=np.int16).reshape(12, 16)
COUNTS = np.arange(12, dtype=np.int32).reshape(3, 4)  # the size that the MATRIX generator names
HEIGHTS = np.linspace(0, 1e-9, 12 * 16, dtype=np.float32).reshape(12, 16)
needs_rosettasciio = pytest.mark.skipif(find_spec("rsciio") is None, reason="needs the extra em")


# ------------------------------------------------------------------ 15, 16: files in parts, and orphans


def two_series(folder):
    """Write an .emi and its two .ser."""
    tia.write_ser(folder / "a_1.ser", [IMAGE.astype(np.int32)])
    tia.write_ser(folder / "a_2.ser", [IMAGE.astype(np.int32) + 5])
    return tia.write_emi(
        folder / "a.emi",
        [(number, tia.object_info(tia.COMMON | tia.TEM, tia.CAMERA)) for number in (1, 2)],
    )


def test_files_in_two_and_three_parts(lab, rows_of, tmp_path):
    folder = tmp_path / "day"
    folder.mkdir()
    two_series(folder)
    matrix.write_session(folder, matrix.acquired(COUNTS, COUNTS + 7))
    result = lab.ingest(folder)
    assert result.counts["refused"] == 0
    parts = {
        (source.file_name, tuple(part["file_name"] for part in source.parts))
        for source in rows_of(tables.source)
    }
    assert parts == {
        ("a.emi", ("a_1.ser", "a_2.ser")),
        (f"{matrix.NAME}--7_12.Z_mtrx", (f"{matrix.NAME}_0001.mtrx",)),
    }
    assert {image.accelerating_voltage for image in rows_of(tables.micrograph)} == {200_000, None}


@needs_rosettasciio
def test_a_movie_in_three_parts(lab, ingested, rows_of, tmp_path):
    frames = np.arange(3 * 4 * 5, dtype=np.uint16).reshape(3, 4, 5)
    whole = rosettasciio.write_tvips(tmp_path / "whole_000.tvips", frames)
    content = whole.read_bytes()
    head = 256  # [byte] of the general header; the first part alone has it
    size = (len(content) - head) // 3
    for number in range(3):
        first = head + number * size
        part = content[first : first + size]
        (tmp_path / f"a_{number:03d}.tvips").write_bytes((content[:head] if not number else b"") + part)
    (image,) = ingested(tmp_path / "a_000.tvips")
    assert image.n_frames == 3
    np.testing.assert_array_equal(lab.image(image.uid).pixels(), frames)
    (source,) = rows_of(tables.source)
    assert [part["file_name"] for part in source.parts] == ["a_001.tvips", "a_002.tvips"]
    with pytest.raises(NotAnImageError, match=r"later part of a movie; open a_000\.tvips"):
        open_scans(tmp_path / "a_002.tvips")


def test_orphans_say_what_is_missing(lab, rows_of, tmp_path):
    emi = two_series(tmp_path)
    for number in (1, 2):
        (tmp_path / f"a_{number}.ser").unlink()
    lone = matrix.write_session(tmp_path, matrix.acquired(COUNTS, COUNTS))
    (tmp_path / f"{matrix.NAME}_0001.mtrx").unlink()
    text = tmp_path / "image.txt"
    text.write_text("$CM_FORMAT JEOL-SEM\r\n$CM_MAG 5000\r\n")
    header = tmp_path / "frames.hdr"
    header.write_text("HDR,\t\nFrames in Acquisition (Number):\t1\nEnd\t")
    for path, says in ((emi, r"\.ser"), (lone, r"\.mtrx"), (text, r"\.tif"), (header, r"\.mib")):
        with pytest.raises(MicdbError, match=says):
            lab.ingest(path)
    assert rows_of(tables.micrograph) == []


def test_a_series_without_its_emi_is_read_without_its_settings(ingested, tmp_path):
    two_series(tmp_path).unlink()
    (image,) = ingested(tmp_path / "a_1.ser")
    assert (image.accelerating_voltage, image.magnification) == (None, None)


# ------------------------------------------------------------------ 17, 18, 19, 20: damage and deceit


@pytest.mark.parametrize(
    ("write", "extension", "known"),
    [
        (lambda path: mrc.write(path, IMAGE), ".tif", "mrc"),
        (lambda path: tiff.write(path, IMAGE), ".dm3", "tif"),
        (lambda path: dm.write(path, dm.image(IMAGE)), ".mrc", "dm3"),
        (lambda path: nanonis.write_sxm(path, {("Z", "m", "forward"): [HEIGHTS]}), ".txt", "sxm"),
        (lambda path: emd.write_velox(path, {"1": (IMAGE[..., None], {})}), ".png", "emd_velox"),
        (lambda path: wsxm.write_wsxm(path, IMAGE), "", "wsxm"),
        (lambda path: createc.write_dat(path, [HEIGHTS]), ".sxm", "createc_dat"),
    ],
    ids=["mrc", "tif", "dm3", "sxm", "emd", "wsxm", "createc"],
)
def test_a_wrong_extension_is_read_by_content(ingested, rows_of, tmp_path, *, write, extension, known):
    path = write(tmp_path / "genuine")
    shutil.move(path, tmp_path / f"a{extension}")
    assert ingested(tmp_path / f"a{extension}")
    assert {source.format for source in rows_of(tables.source)} == {known}


def genuine(folder):
    """Write one small sound file of many formats."""
    return [
        mrc.write(folder / "a.mrc", IMAGE),
        tiff.write(folder / "a.tif", IMAGE),
        dm.write(folder / "a.dm3", dm.image(IMAGE)),
        dm.write(folder / "a.dm4", dm.image(IMAGE), version=4),
        nanonis.write_sxm(folder / "a.sxm", {("Z", "m", "forward"): [HEIGHTS]}),
        emd.write_velox(folder / "a.emd", {"1": (IMAGE[..., None], emd.velox_metadata())}),
        wsxm.write_wsxm(folder / "a.top", IMAGE),
        createc.write_dat(folder / "a.dat", [HEIGHTS]),
        igor.write_ibw(folder / "a.ibw", HEIGHTS.T),
        nanoscope.write_spm(folder / "a.spm", [(IMAGE, {})]),
        tia.write_ser(folder / "a_1.ser", [IMAGE]),
        raster.write(folder / "a.png", IMAGE.astype(np.uint8)),
    ]


def test_a_file_of_twenty_bytes(lab, rows_of, tmp_path):
    sound, cut = tmp_path / "sound", tmp_path / "cut"
    sound.mkdir()
    cut.mkdir()
    for path in genuine(sound):
        (cut / path.name).write_bytes(path.read_bytes()[:20])
        with pytest.raises(MicdbError) as caught:
            lab.ingest(cut / path.name)
        assert path.name in str(caught.value)
        (cut / path.name).write_bytes(bytes(range(1, 21)))
        with pytest.raises(MicdbError):
            lab.ingest(cut / path.name)
    assert rows_of(tables.micrograph) == []


@pytest.mark.parametrize(
    ("write", "header"),
    [
        (lambda path: nanoscope.write_spm(path, [(IMAGE, {})]), nanoscope.HEADER_SIZE),
        (lambda path: mrc.write(path, IMAGE), 1024),
        (lambda path: createc.write_dat(path, [HEIGHTS]), 16384),
        (lambda path: igor.write_ibw(path, HEIGHTS.T), 384),
        (lambda path: nanonis.write_sxm(path, {("Z", "m", "forward"): [HEIGHTS]}), -HEIGHTS.nbytes),
        (lambda path: wsxm.write_wsxm(path, IMAGE), -IMAGE.nbytes),
    ],
    ids=["nanoscope", "mrc", "createc", "igor", "nanonis", "wsxm"],
)
def test_a_header_without_data_is_damage(lab, rows_of, tmp_path, write, header):
    path = write(tmp_path / "a")
    path.write_bytes(path.read_bytes()[:header])
    with pytest.raises(DamagedFileError) as caught:
        lab.ingest(path)
    assert str(path) in str(caught.value)
    assert rows_of(tables.micrograph) == []


def test_a_tiff_with_cut_strips_names_the_byte(lab, rows_of, tmp_path):
    path = tiff.write(tmp_path / "a.tif", np.zeros((64, 64), np.uint16), rowsperstrip=1)
    whole = path.stat().st_size
    path.write_bytes(path.read_bytes()[: whole - 1000])
    with pytest.raises(DamagedFileError, match=rf"at byte \d+: the pixels are cut off.* has {whole - 1000}"):
        lab.ingest(path)
    assert rows_of(tables.micrograph) == []


# ------------------------------------------------------------------ 21, 22: dates and byte order


@pytest.mark.parametrize(
    ("day", "clock", "moment"),
    [
        ("27/08/2016", "08:55:59 p.m.", "2016-08-27T20:55:59"),
        ("8/27/2016", "8:55:59 PM", "2016-08-27T20:55:59"),
        ("27.08.2016", "20:55:59", "2016-08-27T20:55:59"),
        ("8/8/2016", "4:26:37 PM", "2016-08-08T16:26:37"),
        ("2016-08-27", "20:55:59", "2016-08-27T20:55:59"),
        ("12/10/2019", "3:32:41 PM", None),  # 12 October or 10 December: nobody knows
    ],
)
def test_dates_in_the_language_of_the_computer(ingested, tmp_path, day, clock, moment):
    bar = {"DataBar": {"Acquisition Date": day, "Acquisition Time": clock}}
    (image,) = ingested(dm.write(tmp_path / "a.dm3", dm.image(IMAGE, tags=bar)))
    assert (image.acquired, image.acquired_raw) == (moment, f"{day} {clock}")
    assert image.acquired_zone == ("unknown" if moment else None)


def test_dates_by_the_order_of_their_vendor(ingested, tmp_path):
    fei = tiff.FEI.replace("02/13/2020", "12/10/2019")
    images = ingested(
        tiff.write(tmp_path / "a.tif", IMAGE.astype(np.uint16), tags={34682: fei}),
        nanonis.write_sxm(tmp_path / "a.sxm", {("Z", "m", "forward"): [HEIGHTS]}, REC_DATE=" 12.10.2019"),
    )
    assert [image.acquired[:10] for image in images] == ["2019-12-10", "2019-10-12"]


def test_big_endian_files_hold_the_same_pixels(ingested, rows_of, tmp_path):
    counts = IMAGE.astype(np.uint16)
    write = {
        "mrc": (lambda path: mrc.write(path, counts), lambda path: mrc.big_endian(path, counts)),
        "tif": [partial(tiff.write, pixels=counts, byteorder=order) for order in "<>"],
        "ibw": [partial(igor.write_ibw, wave=counts[::-1].T, order=order) for order in "<>"],
        "dm3": [lambda path, order=order: dm.write(path, dm.image(counts), order=order) for order in "<>"],
    }
    paths = [
        one(tmp_path / f"{order}.{kind}")
        for kind, both in write.items()
        for order, one in zip(("little", "big"), both, strict=True)
    ]
    for path in paths:
        (scan,) = open_scans(path)
        pixels = scan.pixels.read()
        np.testing.assert_array_equal(pixels, counts)
        assert pixels.dtype.isnative
        assert scan.pixels.dtype == "uint16"
    assert len(ingested(*paths)) == 1  # one image, saved eight times
    assert len(rows_of(tables.source)) == 8


# ------------------------------------------------------------------ 23, 24: names


@pytest.mark.parametrize(
    "name",
    [
        "Fe 3, annealed (run #2) & quenched", "50% [a] {b} 'c' \"d\"", "α-Fe, 5 µm", "a;b=c+d~e!f@g$h^i",
        "PTO_110_Virgin0001 (1)", "-dash first", ".. dots ..",
    ],
)  # fmt: skip
def test_names_with_blanks_commas_and_signs(lab, ingested, rows_of, tmp_path, name):
    (image,) = ingested(mrc.write(tmp_path / f"{name}.mrc", IMAGE))
    assert image.name == name
    (source,) = rows_of(tables.source)
    assert source.file_name == f"{name}.mrc"
    found = lab.images.to_pandas()
    assert found["name"].tolist() == [name]
    np.testing.assert_array_equal(lab.image(image.uid).pixels(), IMAGE)


def test_parts_are_found_beside_a_name_with_signs(ingested, tmp_path):
    folder = tmp_path / "day 1, (a) & #b"
    folder.mkdir()
    path = matrix.write_session(folder, matrix.acquired(COUNTS, COUNTS + 7))
    assert "," in path.name
    assert "#" in path.name
    assert ingested(path)[0].bias == -1.5


def known_as(path):
    return {scan.source.format for scan in open_scans(path)}


def test_one_extension_for_two_formats(tmp_path):
    """.dat, .mrc and .map, .h5, .img, .txt, .tif: the content decides."""
    assert known_as(createc.write_dat(tmp_path / "a.dat", [HEIGHTS])) == {"createc_dat"}
    nanonis_curve = tmp_path / "b.dat"
    nanonis_curve.write_text("Experiment\tbias spectroscopy\t\n[DATA]\n1\t2\n")
    with pytest.raises(NotAnImageError, match="Nanonis spectrum"):
        open_scans(nanonis_curve)

    for extension in (".mrc", ".map"):
        assert known_as(mrc.write(tmp_path / f"a{extension}", IMAGE)) == {"mrc"}
    jeol_map = tmp_path / "b.map"
    jeol_map.write_bytes(b"\0\0\0\0JED-2200".ljust(600, b"\0"))
    with pytest.raises(NotAnImageError, match="JEOL spectrum or map"):
        open_scans(jeol_map)

    axes = [("y", "[n_m]", np.arange(12.0)), ("x", "[n_m]", np.arange(16.0))]
    assert known_as(emd.write_ncem(tmp_path / "a.h5", {"one": (IMAGE, axes)})) == {"emd_ncem"}
    velox = emd.write_velox(tmp_path / "b.h5", {"1": (IMAGE[..., None], emd.velox_metadata())})
    assert known_as(velox) == {"emd_velox"}
    with h5py.File(tmp_path / "c.h5", "w") as file:
        file["table"] = np.arange(9)
    with pytest.raises(UnknownFormatError, match="this HDF5 file is of no layout micdb knows"):
        open_scans(tmp_path / "c.h5")

    assert known_as(mrc.write(tmp_path / "a.img", IMAGE)) == {"mrc"}
    disk = tmp_path / "b.img"
    disk.write_bytes(b"\xeb\x3c\x90MSDOS5.0".ljust(2000, b"\0"))
    with pytest.raises(UnknownFormatError):
        open_scans(disk)

    assert known_as(nanonis.write_sxm(tmp_path / "a.txt", {("Z", "m", "forward"): [HEIGHTS]})) == {"sxm"}
    for text, error in (("$CM_FORMAT JEOL-SEM\n", NotAnImageError), ("a day in the lab", UnknownFormatError)):
        (tmp_path / "b.txt").write_text(text)
        with pytest.raises(error):
            open_scans(tmp_path / "b.txt")

    grey = IMAGE.astype(np.uint16)
    assert known_as(tiff.write(tmp_path / "a.tif", grey)) == {"tif"}
    vendors = {
        "tif_fei": {34682: tiff.FEI},
        "tif_zeiss": {34118: tiff.ZEISS},
        "tif_tescan": {50431: tiff.tescan()},
    }
    for known, tags in vendors.items():
        assert known_as(tiff.write(tmp_path / "b.tif", grey, tags=tags)) == {known}
