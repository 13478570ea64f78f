"""Small files that claim very much, format by format: each of these took gigabytes or minutes once.

Larger ones of the same kinds are in ``tests/fuzz``.
"""

from __future__ import annotations

import struct
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace
from typing import Any

import h5py
import imagecodecs
import numpy as np
import pytest
import tifffile

from micdb.errors import DamagedFileError, MicdbError, NotAnImageError, ReadError
from micdb.ingest import bombs, hdf5_probe
from micdb.ingest.readers import rhk, tiff_layout
from micdb.ingest.readers.video_boxes import check_boxes
from micdb.ingest.sniff import open_scans

DATA = Path(__file__).parents[1] / "data"
EMPTY = np.zeros((500, 500), np.uint8)
GREY = np.arange(24 * 32, dtype=np.uint8).reshape(24, 32)
LENGTHS = {"y": (np.arange(24.0), "nm"), "x": (np.arange(32.0), "nm")}


def make(name: str) -> Any:
    return SimpleNamespace(**run_path(str(DATA / name / "make.py")))


def test_what_is_a_bomb() -> None:
    assert not bombs.is_bomb(bombs.BIG, 1)
    assert not bombs.is_bomb(300_000_000, 1_000_000)
    assert bombs.is_bomb(300_000_001, 1_000_000)


def jpk(path: Path) -> Path:
    by = make("jpk")
    channel = by.Channel("height", EMPTY.astype("i2"), (("volts", "V", 2e-3, 0.5),), "volts")
    with tifffile.TiffWriter(path, byteorder=">") as file:
        page = {"photometric": "minisblack", "metadata": None}
        grid = {
            0x8003: by.START,
            0x8042: 1e-6,
            0x8043: 1e-6,
            0x8046: 500,
            0x8047: 500,
            0x8040: 0.0,
            0x8041: 0.0,
        }
        file.write(np.zeros((4, 4), np.uint8), extratags=by._tags(grid), **page)
        tags = by._tags(by._channel_tags(channel))
        file.write(channel.stored, extratags=tags, compression="zlib", software=False, **page)
    return path


def ncem(path: Path) -> Path:
    with h5py.File(path, "w") as file:
        group = file.create_group("data/one")
        group.attrs["emd_group_type"] = 1
        group.create_dataset("data", data=EMPTY, chunks=(500, 500), compression="gzip")
    return path


PACKED = {
    "raster": lambda at: make("raster").write(at / "a.png", EMPTY),
    "tiff": lambda at: make("tiff").write(at / "a.tif", EMPTY, compression="zlib"),
    "jpk": lambda at: jpk(at / "a.jpk"),
    "hdf5": lambda at: ncem(at / "a.emd"),
    "createc": lambda at: make("createc").write_dat(at / "a.dat", [EMPTY.astype("f4")]),
    "digitalsurf": lambda at: make("digitalsurf").write_sur(at / "a.sur", [EMPTY.astype("i4")], streams=1),
    "nd2": lambda at: make("nd2").write(at / "a.nd2", EMPTY[None, ..., None], compressed=True),
    "rosettasciio": lambda at: make("rosettasciio").write_prz(at / "a.prz", EMPTY, packed=True),
}


@pytest.mark.parametrize("reader", PACKED)
def test_large_and_empty_images_are_refused_where_they_are_packed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: str
) -> None:
    if reader in ("nd2", "rosettasciio"):
        pytest.importorskip({"nd2": "nd2", "rosettasciio": "rsciio"}[reader])
    path = PACKED[reader](tmp_path)
    (scan,) = open_scans(path)
    assert scan.source.reader == reader
    assert not np.ptp(scan.pixels.read())
    monkeypatch.setattr(bombs, "BIG", 100_000)
    with pytest.raises(ReadError, match=rf"\[{reader}\].*(packed|stored|cannot hold)"):
        open_scans(path)[0].pixels.read()


def test_animations_are_counted_whole(tmp_path: Path) -> None:
    frame = b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x4c\x01\0"
    head = b"GIF89a" + struct.pack("<HHBBB", 4000, 4000, 0x80, 0, 0) + bytes(6)
    (tmp_path / "a.gif").write_bytes(head + frame * 100 + b";")
    with pytest.raises(ReadError, match="100 x 48000000 bytes of pixels, packed into"):
        open_scans(tmp_path / "a.gif")


# ------------------------------------------------------------------ HDF5


def test_sparse_chunks_do_not_make_an_image(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.emd", "w") as file:
        group = file.create_group("data/one")
        group.attrs["emd_group_type"] = 1
        group.create_dataset("data", (50_000, 50_000), "u2", chunks=(512, 512))[:9, :9] = 1
    with pytest.raises(NotAnImageError, match="claims images of 5000000000 bytes in chunks of 524288"):
        open_scans(tmp_path / "a.emd")


def test_groups_that_hold_themselves_are_described_once(tmp_path: Path) -> None:
    path = make("hdf5").write_nexus(tmp_path / "a.nxs", GREY, LENGTHS)
    with h5py.File(path, "r+") as file:
        notes = file["entry"].create_group("notes")
        notes.attrs["by"] = "Ada"
        for number in range(9):
            notes[f"again{number}"] = notes
    (scan,) = open_scans(path)
    assert "'by': 'Ada'" in str(scan.original)
    assert str(scan.original).count("<the group /entry/notes") == 9


def test_texts_in_one_place_are_not_multiplied(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        notes = file.create_dataset("notes", (4096,), h5py.string_dtype())
        notes[:] = ["a" * (1 << 17), *["b"] * 4095]
        file.create_dataset("few", (100,), h5py.string_dtype())[:] = [str(number) for number in range(100)]
        file.attrs["names"] = ["y", "x"]
        file.attrs["many"] = ["a"] * 65
        start = notes.id.get_offset()
    whole = bytearray(path.read_bytes())
    whole[start : start + 16 * 4096] = bytes(whole[start : start + 16]) * 4096
    path.write_bytes(bytes(whole))
    with h5py.File(path) as file:
        assert hdf5_probe.value(file["notes"]) is None
        assert hdf5_probe.value(file["few"]) == [str(number) for number in range(100)]
        assert hdf5_probe.attributes(file) == {"names": ["y", "x"]}


# ------------------------------------------------------------------ TIFF

_JPEG_2000 = b"\xff\x4f\xff\x51" + struct.pack(">HH8IHBBB", 41, 0, 60000, 60000, *[0] * 6, 1, 7, 1, 1)
INNER = {
    "jpeg": (
        7,
        b"\xff\xd8\xff\xe0\0\x04ab\xff\xff\xc2\0\x0b\x08" + struct.pack(">HH", 65500, 65500) + b"\x01",
    ),
    "jpeg2000": (34712, _JPEG_2000),
    "png": (34933, b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">IIBB", 60000, 60000, 16, 6)),
}


def strip(path: Path, packing: int, data: bytes) -> Path:
    """Write a TIFF of 32 x 24 pixels whose only strip is `data`."""
    entries = {256: 32, 257: 24, 258: 8, 259: packing, 262: 1, 273: 8, 277: 1, 278: 24, 279: len(data)}
    listed = b"".join(struct.pack("<HHII", code, 4, 1, said) for code, said in entries.items())
    head = b"II*\0" + struct.pack("<I", 8 + len(data))
    path.write_bytes(head + data + struct.pack("<H", len(entries)) + listed + bytes(4))
    return path


@pytest.mark.parametrize("kind", INNER)
def test_a_strip_that_claims_more_than_the_tiff_is_not_decoded(tmp_path: Path, kind: str) -> None:
    packing, data = INNER[kind]
    with pytest.raises(DamagedFileError, match=r"\[tiff\] at byte 8: a strip claims \d{10,11} samples"):
        open_scans(strip(tmp_path / "a.tif", packing, data + bytes(40)))
    with pytest.raises(DamagedFileError, match="at byte 8: a strip does not say how large it is"):
        open_scans(strip(tmp_path / "a.tif", packing, data[:2] + bytes(100)))


def test_strips_that_say_what_the_tiff_says_are_decoded(tmp_path: Path) -> None:
    packed = {
        "jpeg2000": imagecodecs.jpeg2k_encode(GREY),
        "png": imagecodecs.png_encode(GREY),
        "jpeg": imagecodecs.jpeg8_encode(GREY),
    }
    for kind, data in packed.items():
        (scan,) = open_scans(strip(tmp_path / "a.tif", INNER[kind][0], bytes(data)))
        assert np.abs(scan.pixels.read().astype(int) - GREY).mean() < (20 if kind == "jpeg" else 1e-9)


@pytest.mark.parametrize(
    ("compression", "name"),
    [("jpegxl", "JPEG XL"), ("lerc", "LERC"), ("jpegxr", "JPEG XR")],
)
def test_packings_whose_size_is_hard_to_find_are_refused(tmp_path: Path, compression: str, name: str) -> None:
    path = make("tiff").write(tmp_path / "a.tif", GREY, compression=compression)
    with pytest.raises(ReadError, match=f"packed as {name}, which is not read; convert it"):
        open_scans(path)


def chain(path: Path, count: int, pixels: bytes) -> Path:
    """Write pages of 32 x 24 pixels that all have the same strip."""
    entries = {256: 32, 257: 24, 258: 8, 259: 1, 262: 1, 273: 8, 278: 24, 279: len(pixels)}
    listed = b"".join(struct.pack("<HHII", code, 4, 1, said) for code, said in entries.items())
    out = b"II*\0" + struct.pack("<I", 8 + len(pixels)) + pixels
    for number in range(count):
        page = struct.pack("<H", len(entries)) + listed
        out += page + struct.pack("<I", len(out) + len(page) + 4 if number + 1 < count else 0)
    path.write_bytes(out)
    return path


def test_pages_that_share_their_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (scan,) = open_scans(chain(tmp_path / "a.tif", 2, GREY.tobytes()))
    np.testing.assert_array_equal(scan.pixels.read(), np.stack([GREY, GREY]))
    many = chain(tmp_path / "b.tif", 50, GREY.tobytes())
    with pytest.raises(DamagedFileError, match="its 50 pages take 38400 bytes of a file of"):
        open_scans(many)
    monkeypatch.setattr(tiff_layout, "_MANY_PAGES", 20)
    with pytest.raises(DamagedFileError, match=r"has more than 22 directories, in \d+ bytes"):
        open_scans(many)


def test_jpk_images_have_no_thousand_channels(tmp_path: Path) -> None:
    by = make("jpk")
    channel = by.Channel("height", GREY[:2, :2].astype("i2"), (("volts", "V", 2e-3, 0.5),), "volts")
    path = by.write(tmp_path / "a.jpk", [channel] * 1024)
    with pytest.raises(
        DamagedFileError, match=r"\[jpk\] at byte \d+: the TIFF has more than 1024 directories"
    ):
        open_scans(path)


# ------------------------------------------------------------------ others


def test_rhk_pages_do_not_repeat_or_share_their_texts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by = make("rhk")
    path = by.write_sm4(tmp_path / "a.sm4", [(GREY.astype("i4"), {}), (GREY.astype("i4"), {})])
    whole = bytearray(path.read_bytes())
    first, size = 98, 56  # the list of pages, after the header of 70 bytes and that of the index
    whole[first + size : first + 2 * size] = whole[first : first + size]
    path.write_bytes(bytes(whole))
    with pytest.raises(DamagedFileError, match=r"entry 2 of 2 in the list of pages is an earlier page again"):
        open_scans(path)
    path = by.write_sm4(tmp_path / "b.sm4", [(GREY.astype("i4"), {}), (GREY.astype("i4"), {})])
    read = rhk._File.strings

    def twice(file: Any, place: Any, count: int) -> dict[str, str]:
        file.texts += len(file.content) - 400
        return dict(read(file, place, count))

    monkeypatch.setattr(rhk._File, "strings", twice)
    _, second = open_scans(path)
    assert second.problems[0].startswith("the text of the page could not be read (DamagedFileError")


def box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + name + content


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (box(b"stsz", struct.pack(">III", 0, 1, 50_000_000)), "stsz claims 50000000 samples of 1 bytes"),
        (box(b"stsz", struct.pack(">III", 0, 4096, 9)), "stsz claims 9 samples of 4096 bytes"),
        (box(b"trun", struct.pack(">III", 1, 4_000_000_000, 0)), "trun claims 4000000000 samples"),
        (box(b"cmov", bytes(20)), r"header is packed \(cmov\)"),
    ],
)
def test_tables_of_movies_that_claim_more_samples_than_bytes(tmp_path: Path, table: bytes, says: str) -> None:
    path = tmp_path / "a.mp4"
    start = box(b"ftyp", b"isom" + bytes(8)) + box(b"mdat", b"stsz" + b"\xff" * 60)
    path.write_bytes(start + box(b"moov", box(b"trak", table)))
    with pytest.raises(MicdbError, match=says):
        check_boxes(path)
    path.write_bytes(start + box(b"moov", box(b"trak", box(b"stsz", struct.pack(">III", 0, 10, 3)))))
    check_boxes(path)
