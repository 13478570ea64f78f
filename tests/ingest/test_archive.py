"""Archives in: what is in them, what is left out of them, and what is refused."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import textwrap
import time
import zipfile
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import numpy as np
import pytest
import sqlalchemy as sa
import tifffile

from micdb import fsck, opening
from micdb.catalog import tables
from micdb.catalog.engine import reading
from micdb.errors import (
    DamagedFileError,
    MicdbError,
    MissingExtraError,
    NotAnImageError,
    ReadError,
    UnknownFormatError,
)
from micdb.ingest import archive, arrival
from micdb.ingest.sniff import open_scans

DATA = Path(__file__).parents[1] / "data"
dm, mrc, tia, tiff = (
    SimpleNamespace(**run_path(str(DATA / name / "make.py"))) for name in ("dm", "mrc", "tia", "tiff")
)
KINDS = ("zip", "tar", "tar.gz", "tar.bz2", "tar.xz")
JEOL = (
    "$CM_FORMAT 16\r\n$CM_MAG 1000\r\n$CM_ACCEL_VOLT 15.0\r\n"
    "$$SM_MICRON_BAR 100\r\n$$SM_MICRON_MARKER 10um\r\n"
)


def image(seed=0, shape=(12, 16)):
    return np.random.default_rng(seed).integers(0, 4000, shape).astype(np.uint16)


@pytest.fixture
def db(tmp_path):
    with opening.init(tmp_path / "lab.micdb") as opened:
        yield opened
        assert fsck.check(opened.engine, opened.root, deep=True).clean, "a test left something behind"
        assert not list((opened.root / "staging").iterdir())


@pytest.fixture
def inside(tmp_path):
    """A folder to pack."""
    folder = tmp_path / "inside"
    folder.mkdir()
    return folder


def pack(folder, path):
    """Pack a folder as other programs do."""
    if path.suffix.lower() == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            for one in sorted(folder.rglob("*")):
                file.write(one, one.relative_to(folder))
    else:
        mode = {"tar": "w", "gz": "w:gz", "bz2": "w:bz2", "xz": "w:xz"}[path.name.rpartition(".")[2]]
        with tarfile.open(path, mode) as file:
            file.add(folder, arcname=".")
    return path


def zip_of(path, **members):
    """Write a zip with these members: name=bytes, in their order."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def tar_of(path, *members, mode="w"):
    """Write a tar with these headers: name, and what else is said of it."""
    with tarfile.open(path, mode) as file:
        for name, more in members:
            info = tarfile.TarInfo(name)
            content = more.pop("content", b"")
            info.size = len(content)
            for key, value in more.items():
                setattr(info, key, value)
            file.addfile(info, io.BytesIO(content))
    return path


def rows(db, table=tables.source):
    with reading(db.engine) as connection:
        return connection.execute(sa.select(table).order_by(table.c.pk)).all()


def everything(db):
    """Return every value of every table, and the bytes of every object."""
    with reading(db.engine) as connection:
        tables_ = [connection.execute(sa.select(table)).all() for table in tables.metadata.sorted_tables]
    objects = [path.read_bytes().decode("latin-1") for path in (db.root / "objects").rglob("*.nxs")]
    return "\n".join([str(tables_), *objects])


def names(path):
    return [member.name for member in archive.members(path)]


# ------------------------------------------------------------------ what is in them


@pytest.mark.parametrize("kind", KINDS)
def test_members_come_in_under_the_archives_path(db, inside, tmp_path, kind):
    (inside / "monday" / "sample 1").mkdir(parents=True)
    dm.write(inside / "monday" / "sample 1" / "a.dm3", dm.image(image(1).astype(np.int16)))
    mrc.write(inside / "b.mrc", image(2).astype(np.int16))
    (inside / "notes.txt").write_text("a day in the lab")
    whole = pack(inside, tmp_path / f"lab.{kind}")
    result = db.ingest(whole)
    assert {str(file.path.relative_to(whole)): file.outcome for file in result.files} == {
        "monday/sample 1/a.dm3": "added",
        "b.mrc": "added",
        "notes.txt": "skipped",
    }
    assert {row.path for row in rows(db)} == {str(whole / "monday/sample 1/a.dm3"), str(whole / "b.mrc")}
    assert {row.modified_ns for row in rows(db)} == {None}
    found = everything(db)
    assert "b.mrc" in found
    assert "staging" not in found
    assert ".folder" not in found


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_the_parts_of_a_file_find_each_other(db, inside, tmp_path, kind):
    tifffile.imwrite(inside / "a.tif", image(1))
    (inside / "a.txt").write_text(JEOL)
    tia.write_ser(inside / "b_1.ser", [image(2)])
    tia.write_emi(inside / "b.emi", [(1, tia.object_info(tia.TEM))])
    whole = pack(inside, tmp_path / f"lab.{kind}")
    folder, packed = db.ingest(inside), db.ingest(whole)
    assert [(file.path.name, file.outcome) for file in folder.files if file.outcome != "known"] == [
        ("a.tif", "added"), ("a.txt", "part"), ("b.emi", "added"), ("b_1.ser", "part"),
    ]  # fmt: skip
    assert {file.outcome for file in packed.files} <= {"known", "part"}
    with opening.init(tmp_path / "second.micdb") as second:
        again = second.ingest(whole)
        assert sorted((file.path.name, file.outcome) for file in again.files) == sorted(
            (file.path.name, file.outcome) for file in folder.files
        )
        found = {row.file_name: row.parts for row in rows(second)}
        assert [part["file_name"] for part in found["a.tif"]] == ["a.txt"]
        (voltage,) = {row.accelerating_voltage for row in rows(second, tables.micrograph)[:1]}
        assert voltage == 15_000


def test_what_is_here_already_is_known(db, inside, tmp_path):
    mrc.write(inside / "a.mrc", image(1).astype(np.int16))
    db.ingest(inside)
    mrc.write(inside / "b.mrc", image(2).astype(np.int16))
    whole = pack(inside, tmp_path / "lab.zip")
    assert [file.outcome for file in db.ingest(whole).files] == ["known", "added"]
    assert [file.outcome for file in db.ingest(whole).files] == ["known", "known"]
    assert [file.outcome for file in db.ingest(inside).files] == ["known", "known"]
    assert len(rows(db)) == 2


def test_archives_in_a_folder_are_found(db, inside, tmp_path):
    mrc.write(inside / "a.mrc", image(1).astype(np.int16))
    folder = tmp_path / "scans"
    folder.mkdir()
    pack(inside, folder / "LAB.ZIP")
    mrc.write(folder / "b.mrc", image(2).astype(np.int16))
    assert [file.path for file in db.ingest(folder).files] == [folder / "LAB.ZIP" / "a.mrc", folder / "b.mrc"]


def test_a_sheet_finds_members_by_their_file_name(db, inside, tmp_path):
    (inside / "deep").mkdir()
    mrc.write(inside / "deep" / "a.mrc", image(1).astype(np.int16))
    mrc.write(inside / "b.mrc", image(2).astype(np.int16))
    whole = pack(inside, tmp_path / "lab.tar.gz")
    (tmp_path / "samples.csv").write_text("file,sample\na.mrc,S1\nb.mrc,S2\nc.mrc,S3\n")
    (tmp_path / "map.toml").write_text('file = "file"\nsample = "sample"\n')
    result = db.ingest(whole, sheet=tmp_path / "samples.csv", map=tmp_path / "map.toml")
    assert result.unmatched_rows == (4,)
    found = db.images[["name", "sample"]].to_pandas()
    assert dict(zip(found["name"], found["sample"], strict=True)) == {"a": "S1", "b": "S2"}


def test_deferring_pixels_brings_members_in_whole(db, inside, tmp_path):
    mrc.write(inside / "a.mrc", image(1).astype(np.int16))
    whole = pack(inside, tmp_path / "lab.zip")
    result = db.ingest([whole, inside], defer_pixels=True)
    assert [file.outcome for file in result.files] == ["added", "added"]
    packed, loose = rows(db, tables.micrograph)
    assert packed.pixel_hash is not None
    assert loose.pixel_hash is None
    shutil.rmtree(inside)
    whole.unlink()
    assert db.fsck(deep=True).clean
    assert db.image(packed.uid).pixels().tolist() == image(1).tolist()


def test_workers_read_members(db, inside, tmp_path):
    for number in range(20):
        mrc.write(inside / f"{number:02d}.mrc", image(number).astype(np.int16))
    (inside / "cut.mrc").write_bytes((inside / "00.mrc").read_bytes()[:1100])
    whole = pack(inside, tmp_path / "lab.zip")
    result = db.ingest(whole, workers=2)
    assert (result.counts["added"], result.counts["refused"]) == (20, 1)
    assert result.of("refused")[0].path == whole / "cut.mrc"


# ------------------------------------------------------------------ what is left out


NAMES = {
    "../a.mrc": None,
    "a/../../b.mrc": None,
    "a/../b.mrc": None,
    "/etc/a.mrc": None,
    "//server/share/a.mrc": None,
    "\\\\server\\share\\a.mrc": None,
    "\\a.mrc": None,
    "C:\\a.mrc": None,
    "c:a.mrc": None,
    "..\\a.mrc": None,
    "__MACOSX/._a.mrc": None,
    ".hidden/a.mrc": None,
    "sub/.a.mrc": None,
    "sub\\b.mrc": "sub/b.mrc",
    "./sub/./c.mrc": "sub/c.mrc",
    "sub//d.mrc": "sub/d.mrc",
    "12:30 scan.sxm": "12:30 scan.sxm",
    "ä ö.mrc": "ä ö.mrc",
}


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_names_that_lead_out_are_left_out(tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    if kind == "zip":
        zip_of(path, **dict.fromkeys(NAMES, b"12"))
    else:
        tar_of(path, *((name, {"content": b"12"}) for name in NAMES))
    expected = [name for name in NAMES.values() if name]
    assert names(path) == expected
    (tmp_path / "far" / "below").mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    places = archive.unpack(path, tmp_path / "far" / "below")
    assert list(places) == expected
    new = {one for one in tmp_path.rglob("*") if one.is_file()} - set(before)
    assert new == set(places.values())
    assert all(place.is_relative_to(tmp_path / "far" / "below") for place in places.values())


def test_links_devices_and_folders_are_left_out(tmp_path):
    path = tar_of(
        tmp_path / "a.tar",
        ("folder", {"type": tarfile.DIRTYPE}),
        ("soft.mrc", {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}),
        ("hard.mrc", {"type": tarfile.LNKTYPE, "linkname": "/etc/passwd"}),
        ("device.mrc", {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 5}),
        ("pipe.mrc", {"type": tarfile.FIFOTYPE}),
        ("soft.mrc/a.mrc", {"content": b"through the link"}),
        ("b.mrc", {"content": b"12"}),
    )
    assert names(path) == ["soft.mrc/a.mrc", "b.mrc"]
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        for name, kind in (
            ("soft", 0o120777),
            ("pipe", 0o010644),
            ("device", 0o020644),
            ("a", 0o100644),
            ("b", 0),
        ):
            info = zipfile.ZipInfo(f"{name}.mrc")
            info.external_attr = kind << 16
            file.writestr(info, "/etc/passwd")
        file.writestr("folder/", "")
    assert names(tmp_path / "a.zip") == ["a.mrc", "b.mrc"]


def test_where_a_name_stands_twice_the_last_one_counts(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("a.mrc", b"first")
        with pytest.warns(UserWarning, match="Duplicate name"):
            file.writestr("a.mrc", b"the last")
    tar_of(tmp_path / "a.tar", ("a.mrc", {"content": b"first"}), ("./a.mrc", {"content": b"the last"}))
    for kind in ("zip", "tar"):
        assert archive.members(tmp_path / f"a.{kind}") == [("a.mrc", 8)]
        (tmp_path / kind).mkdir()
        places = archive.unpack(tmp_path / f"a.{kind}", tmp_path / kind)
        assert places["a.mrc"].read_bytes() == b"the last"


def test_a_database_in_an_archive_is_not_searched(db, inside, tmp_path):
    mrc.write(inside / "a.mrc", image(1).astype(np.int16))
    (inside / "old.micdb" / "objects").mkdir(parents=True)
    mrc.write(inside / "old.micdb" / "objects" / "b.mrc", image(2).astype(np.int16))
    assert [file.path.name for file in db.ingest(pack(inside, tmp_path / "lab.zip")).files] == ["a.mrc"]


def test_an_archive_within_an_archive_is_skipped_by_name(db, inside, tmp_path):
    mrc.write(inside / "a.mrc", image(1).astype(np.int16))
    pack(inside, inside / "inner.tar.gz")
    result = db.ingest(pack(inside, tmp_path / "lab.zip"))
    (skipped,) = result.of("skipped")
    assert skipped.path == tmp_path / "lab.zip" / "inner.tar.gz"
    assert skipped.reason == "this is an archive of 1 file; ingest it by itself, or unpack it"
    assert result.counts["added"] == 1


def test_opening_an_archive_says_what_it_is(tmp_path):
    path = zip_of(tmp_path / "a.zip", **{"a.mrc": b"1", "b/c.mrc": b"2", "../d": b"3"})
    with pytest.raises(
        UnknownFormatError, match=r"this is an archive of 2 files; ingest it by itself, or unpack it$"
    ):
        open_scans(path)


def test_formats_that_are_zips_are_no_archives(tmp_path):
    for name in ("a.elid", "a.prz", "a.jpk-force-map", "a.docx", "a"):
        assert not archive.is_archive(zip_of(tmp_path / name, x=b"1"))
    (tmp_path / "a.zip").write_bytes(b"no zip at all")
    (tmp_path / "a.tar").write_bytes(bytes(100))
    (tmp_path / "b.tar").touch()
    assert not any(archive.is_archive(tmp_path / name) for name in ("a.zip", "a.tar", "b.tar"))


def test_a_file_of_an_instrument_that_is_a_zip_is_read_as_itself_whatever_its_name(db, tmp_path):
    jpk = SimpleNamespace(**run_path(str(DATA / "jpk" / "make.py")))
    path = jpk.write_force(tmp_path / "a.jpk-force").rename(tmp_path / "a.zip")
    assert zipfile.is_zipfile(path)
    with pytest.raises(NotAnImageError, match=r"a\.zip \[jpk\]: .*force"):
        db.ingest(path)


# ------------------------------------------------------------------ what is refused


def refusal(db, path):
    """Return the text of the error that ingest gives, and check that no temporary name is in it."""
    with pytest.raises(MicdbError) as caught:
        db.ingest(path)
    assert "staging" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert rows(db) == []
    return caught.value


def test_an_encrypted_zip_is_refused_with_the_mend(db, inside, tmp_path):
    path = zip_of(tmp_path / "lab.zip", **{"a.mrc": b"12", "b.mrc": b"34"})
    whole = bytearray(path.read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = whole.find(signature)
        whole[at + flags] |= 1
    path.write_bytes(whole)
    error = refusal(db, path)
    assert isinstance(error, ReadError)
    assert error.reason == "it is encrypted; unpack it with its password and ingest the folder"


def test_a_method_of_packing_that_is_not_known_is_refused(db, tmp_path):
    path = zip_of(tmp_path / "lab.zip", **{"a.mrc": b"12" * 100})
    whole = bytearray(path.read_bytes())
    for signature, method in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        at = whole.find(signature)
        whole[at + method] = 93  # zstd
    path.write_bytes(whole)
    assert "That compression method is not supported; unpack it by hand" in str(refusal(db, path))


@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_archive_is_refused(db, inside, tmp_path, kind):
    for number in range(3):
        mrc.write(inside / f"{number}.mrc", image(number, (64, 64)).astype(np.int16))
    whole = pack(inside, tmp_path / f"lab.{kind}")
    size = whole.stat().st_size
    for share in (0.4, 0.7, 0.95):
        cut = tmp_path / f"cut.{kind}"
        cut.write_bytes(whole.read_bytes()[: int(size * (0.4 if kind == "tar" else share))])
        error = refusal(db, cut)
        assert "the archive is broken or cut short" in str(error)


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "tar.bz2", "tar.xz"])
def test_a_flipped_bit_is_refused(db, inside, tmp_path, kind):
    """Also where it still unpacks: pixels that changed on their way are the worst of all."""
    mrc.write(inside / "a.mrc", image(1, (64, 64)).astype(np.int16))
    path = pack(inside, tmp_path / f"lab.{kind}")
    whole = path.read_bytes()
    at = whole.find(b"PK\x01\x02") if kind == "zip" else len(whole)
    for share in range(1, 40):
        flipped = bytearray(whole)
        flipped[max(12, at * share // 41)] ^= 1 << share % 8
        path.write_bytes(flipped)
        assert "broken" in str(refusal(db, path))


@pytest.mark.parametrize("kind", ["tar.gz", "tar.bz2", "tar.xz"])
def test_what_stands_behind_the_end_of_a_tar_is_looked_at_with_measure(db, inside, tmp_path, kind):
    mrc.write(inside / "a.mrc", image(1).astype(np.int16))
    plain = pack(inside, tmp_path / "lab.tar").read_bytes()
    opener = {"tar.gz": gzip.open, "tar.bz2": bz2.open, "tar.xz": lzma.open}[kind]
    with opener(tmp_path / f"a.{kind}", "wb") as file:
        file.write(plain + bytes(100_000))  # tar fills its last record up
    assert db.ingest(tmp_path / f"a.{kind}").counts["added"] == 1
    if kind != "tar.gz":  # which reaches 1032 only
        with opener(tmp_path / f"b.{kind}", "wb") as file:
            file.write(plain)
            for _ in range(40):
                file.write(bytes(1 << 20))
        with pytest.raises(DamagedFileError, match="it claims to hold"):
            archive.members(tmp_path / f"b.{kind}")


def test_a_broken_archive_does_not_stop_the_rest(db, inside, tmp_path):
    mrc.write(inside / "a.mrc", image(1, (64, 64)).astype(np.int16))
    folder = tmp_path / "scans"
    folder.mkdir()
    whole = pack(inside, folder / "a.zip")
    (folder / "b.zip").write_bytes(whole.read_bytes()[:2000])
    result = db.ingest(folder)
    assert [(file.path.name, file.outcome) for file in result.files] == [
        ("a.mrc", "added"),
        ("b.zip", "refused"),
    ]


def test_a_zip_bomb_is_refused_by_what_it_claims(db, tmp_path):
    path = zip_of(tmp_path / "bomb.zip", **{"a.mrc": bytes(1000)})
    whole = bytearray(path.read_bytes())
    for signature, size in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = whole.find(signature) + size
        whole[at : at + 4] = (0xFFFFFFF0).to_bytes(4, "little")
    path.write_bytes(whole)
    assert re_claims(str(refusal(db, path)), 0xFFFFFFF0 + 512)


def re_claims(text, size):
    return f"it claims to hold {size} bytes or more, packed into" in text and "unpack it by hand" in text


def test_members_that_overlap_are_refused(db, tmp_path):
    """Many names for one packed block, as in the bombs of D. Fifield (2019)."""
    content = bytes(200_000)
    path = zip_of(tmp_path / "bomb.zip", **{"a.mrc": content})
    whole = path.read_bytes()
    at, end = whole.find(b"PK\x01\x02"), whole.find(b"PK\x05\x06")
    entry, count = whole[at:end], 2000
    entries = b"".join(entry[:46] + f"{number:05d}".encode() for number in range(count))
    closing = bytearray(whole[end:])
    closing[8:10] = closing[10:12] = count.to_bytes(2, "little")
    closing[12:16] = len(entries).to_bytes(4, "little")
    path.write_bytes(whole[:at] + entries + closing)
    assert len(zipfile.ZipFile(path).infolist()) == count
    assert "it claims to hold" in str(refusal(db, path))


def test_a_bomb_in_a_packed_tar_is_not_unpacked_to_find_out(db, tmp_path):
    path = tmp_path / "bomb.tar.xz"
    header = tarfile.TarInfo("a.mrc")
    header.size = 1 << 40
    with lzma.open(path, "wb", preset=0) as file:
        file.write(header.tobuf())
        for _ in range(64):
            file.write(bytes(1 << 20))
    began = time.process_time()
    assert "it claims to hold" in str(refusal(db, path))
    assert time.process_time() - began < 2


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_a_header_that_asks_for_memory_is_refused(db, tmp_path, kind):
    header = tarfile.TarInfo("a.mrc")
    header.size, header.type = 1 << 30, kind
    with gzip.open(tmp_path / "bomb.tar.gz", "wb", compresslevel=1) as file:
        file.write(header.tobuf())
        file.write(bytes(1 << 22))
    assert "a header of 1073741824 bytes" in str(refusal(db, tmp_path / "bomb.tar.gz"))


def test_more_files_than_anybody_has_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "_LIMIT", 100)
    path = tar_of(tmp_path / "a.tar", *((f"{number}", {"content": b"1"}) for number in range(101)))
    with pytest.raises(DamagedFileError, match="it holds more than 100 files"):
        archive.members(path)


def test_a_blank_image_is_no_bomb(db, inside, tmp_path):
    mrc.write(inside / "a.mrc", np.zeros((2000, 2000), np.int16))
    assert db.ingest(pack(inside, tmp_path / "lab.zip")).counts["added"] == 1


@pytest.mark.parametrize(
    "members",
    [
        {"a": b"1", "a/b.mrc": b"2"},
        {"a/b.mrc": b"1", "a": b"2"},
        {"x" * 300 + ".mrc": b"1"},
    ],
)
def test_names_that_no_disk_takes_are_refused_without_temporary_names(db, tmp_path, members):
    assert "the archive is broken: " in str(refusal(db, zip_of(tmp_path / "lab.zip", **members)))


def test_a_disk_without_room_is_said(db, inside, tmp_path, monkeypatch):
    mrc.write(inside / "a.mrc", image(1, (64, 64)).astype(np.int16))
    usage = SimpleNamespace(total=1 << 40, used=1 << 40, free=(1 << 30) + 1000)
    monkeypatch.setattr(archive.shutil, "disk_usage", lambda path: usage)
    text = str(refusal(db, pack(inside, tmp_path / "lab.zip")))
    assert "a.mrc takes 9216 bytes, and the disk has 1073742824 free; make room" in text


def test_a_member_that_cannot_be_read_is_refused_under_its_own_name(db, inside, tmp_path):
    mrc.write(inside / "a.mrc", image(1, (64, 64)).astype(np.int16))
    (inside / "cut.mrc").write_bytes((inside / "a.mrc").read_bytes()[:1100])
    (inside / "orphan.emi").write_bytes(b"JK\x00\x02" + bytes(500))
    (inside / "empty.tif").touch()
    (inside / "a.txt").write_text(JEOL)
    result = db.ingest(pack(inside, tmp_path / "lab.zip"))
    said = json.dumps(result.as_json())
    assert result.counts["added"] == 1
    assert "staging" not in said
    assert ".folder" not in said


def test_no_temporary_name_is_in_a_refusal(db, inside, tmp_path, monkeypatch):
    for name in ("a", "b", "c"):
        mrc.write(inside / f"{name}.mrc", image(ord(name)).astype(np.int16))
    read = arrival.open_scans

    def lacking(path):
        if path.name == "a.mrc":
            raise MissingExtraError(f"{path}: this needs the package 'x': pip install x")
        if path.name == "b.mrc":
            raise NotAnImageError(path, f"a part of {path.with_name('c.mrc')}; open that")
        return read(path)

    monkeypatch.setattr(arrival, "open_scans", lacking)
    whole = pack(inside, tmp_path / "lab.zip")
    assert [file.reason for file in db.ingest(whole).files] == [
        f"{whole}/a.mrc: this needs the package 'x': pip install x",
        f"a part of {whole}/c.mrc; open that",
        None,
    ]


def test_an_archive_that_is_gone_or_changed_meanwhile_is_refused(db, inside, tmp_path, monkeypatch):
    mrc.write(inside / "a.mrc", image(1).astype(np.int16))
    mrc.write(inside / "b.mrc", image(2).astype(np.int16))
    whole = pack(inside, tmp_path / "lab.zip")
    members = archive.members(whole)
    (inside / "b.mrc").unlink()
    pack(inside, whole)
    monkeypatch.setattr("micdb.ingest.discovery.archive.members", lambda path: members)
    result = db.ingest(whole)
    assert [file.outcome for file in result.files] == ["added", "refused"]
    assert result.files[1].reason == "lab.zip changed meanwhile; ingest it again"


# ------------------------------------------------------------------ memory, and being killed


def test_a_large_member_takes_little_memory(tmp_path):
    """1 GB that packs well is unpacked in 300 MB of address space more than at rest."""
    script = """
        import resource, sys, zipfile
        from pathlib import Path
        from micdb.ingest import archive, arrival
        folder = Path(sys.argv[1])
        block = (b"0123456789abcdef" * 64 + bytes(1024)) * 512
        with zipfile.ZipFile(folder / "a.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
            with file.open("a.mrc", "w", force_zip64=True) as member:
                for _ in range(1024):
                    member.write(block)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (300 << 20),) * 2)
        (folder / "to").mkdir()
        places = archive.unpack(folder / "a.zip", folder / "to")
        print(places["a.mrc"].stat().st_size)
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)], capture_output=True, text=True
    )
    assert run.stdout.strip() == str(1 << 30), run.stderr


def test_killed_while_unpacking_fsck_sweeps(db, inside, tmp_path):
    for number in range(200):
        (inside / f"{number:03d}.mrc").write_bytes(os.urandom(1 << 18))
    whole = pack(inside, tmp_path / "lab.zip")
    command = [sys.executable, "-m", "micdb", "ingest", str(whole), "--db", str(db.root)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while not list((db.root / "staging").glob("*/*.folder/*")):
            assert process.poll() is None
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
    found = db.fsck()
    assert not found.clean
    assert db.fsck(repair=True).clean
    assert not list((db.root / "staging").iterdir())
    assert rows(db) == []


def test_a_full_disk_while_unpacking_leaves_nothing(db, inside, tmp_path, monkeypatch):
    mrc.write(inside / "a.mrc", image(1, (64, 64)).astype(np.int16))
    whole = pack(inside, tmp_path / "lab.zip")

    def full(*given):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archive, "_copy", full)
    with pytest.raises(OSError, match="No space left on device"):
        db.ingest(whole)
    assert not list((db.root / "staging").iterdir())
