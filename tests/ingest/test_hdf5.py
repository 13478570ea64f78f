"""HDF5 as a container: what it refuses, what it must survive, and where it must not follow."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest

from micdb.errors import DamagedFileError, NotAnImageError, UnknownFormatError
from micdb.ingest import hdf5_stream
from micdb.ingest.hdf5_probe import attributes, member, walk
from micdb.ingest.hdf5_stream import opened
from micdb.ingest.readers.hdf5 import Hdf5
from micdb.ingest.sniff import candidates, open_scans
from micdb.testing import ReaderContract

DATA = Path(__file__).parents[1] / "data"
make = SimpleNamespace(**run_path(str(DATA / "hdf5" / "make.py")))
IMAGE = np.arange(20, dtype=np.uint16).reshape(4, 5)
STACK = np.arange(60, dtype=np.uint16).reshape(3, 4, 5)
LENGTHS = {"y": ([0.0, 2.0, 4.0, 6.0], "nm"), "x": ([1.0, 2.0, 3.0, 4.0, 5.0], "nm")}
AXES = [{"name": name, "scale": 0.5, "offset": 0.0, "units": "nm", "navigate": False} for name in "yx"]


class TestContract(ReaderContract):
    reader = Hdf5

    @pytest.fixture
    def files(self, tmp_path: Path) -> list[Path]:
        time = {"time": ([0.0, 1.0, 2.0], "s"), **LENGTHS}
        return [
            make.write_nexus(tmp_path / "n.nxs", STACK, time),
            make.write_hyperspy(tmp_path / "h.hspy", {"one": (IMAGE, AXES, {"General": {"title": "t"}})}),
            make.write_emd1(
                tmp_path / "e.h5", {"a": (IMAGE.astype(np.complex64), "RealSlice", [])}, Q_pixel_size=1.0
            ),
            make.write_jpk(tmp_path / "m.h5-jpk", STACK),
        ]


def change(path: Path, edit: Callable[[h5py.File], object]) -> Path:
    with h5py.File(path, "a") as file:
        edit(file)
    return path


def test_unknown_layout_is_refused_with_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "other.h5"
    with h5py.File(path, "w") as file:
        file["numbers"], file["more/of"] = IMAGE, 1
        file["away"] = h5py.ExternalLink("/etc/hostname", "/")
    assert [candidate.score for candidate in candidates(path) if candidate.name == "hdf5"] == [1]
    with pytest.raises(
        UnknownFormatError, match=r"no layout micdb knows \(.*NeXus.*more \(group\), numbers \(4, 5\), links"
    ) as caught:
        open_scans(path)
    assert "links that are not followed: away" in str(caught.value)


def test_user_block_before_the_signature(tmp_path: Path) -> None:
    plain = make.write_nexus(tmp_path / "plain.nxs", IMAGE, LENGTHS)
    path = tmp_path / "block.nxs"
    with h5py.File(path, "w", userblock_size=1024) as file, h5py.File(plain) as source:
        for name, said in source.attrs.items():
            file.attrs[name] = said
        source.copy("entry", file)
    path.write_bytes(b"MATLAB 7.3".ljust(1024) + path.read_bytes()[1024:])
    (scan,) = open_scans(path)
    np.testing.assert_array_equal(scan.pixels.read(), IMAGE)


def damaged_heap(path: Path, copy: Path) -> Path:
    """Give the first object of the first heap of texts a length that leads back to itself."""
    content = bytearray(path.read_bytes())
    heap = content.index(b"GCOL")
    content[heap + 16 : heap + 18] = b"\0\0"  # number 0: free space ...
    content[heap + 24 : heap + 32] = bytes(8)  # ... of no length
    copy.write_bytes(content)
    return copy


def test_a_heap_without_end_does_not_hang(tmp_path: Path) -> None:
    """HDF5 itself would follow this heap for ever; what lies in it is unknown, the rest is read."""
    path = make.write_nexus(tmp_path / "a.nxs", IMAGE, LENGTHS)
    bad = damaged_heap(path, tmp_path / "bad.nxs")
    with opened(bad) as file:
        assert "default" not in attributes(file)
        assert member(file, "entry/plot/counts").shape == IMAGE.shape
    with (
        pytest.raises(DamagedFileError, match="the text heap at byte .* is damaged"),
        opened(bad, strict=True) as file,
    ):
        for item in walk(file):
            attributes(item)


@pytest.mark.parametrize("user_block", [0, 512])
def test_a_text_of_two_gigabytes_is_taken_out_before_hdf5_allocates_it(
    tmp_path: Path, user_block: int
) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", userblock_size=user_block) as file:
        file.attrs["one"], file.attrs["two"] = "first", "second"
    content = bytearray(path.read_bytes())
    heap = (content.index(b"GCOL") - user_block).to_bytes(8, "little")
    place = content.index(b"\5\0\0\0" + heap)
    content[place : place + 4] = b"\5\0\0\x80"
    path.write_bytes(bytes(content))
    with opened(path) as file:
        assert attributes(file) == {"two": "second"}
    with hdf5_stream._Checked(path) as stream:
        stream.seek(place)
        assert stream.read(16) == b"\5\0\0\0" + b"\xff" * 8 + content[place + 12 : place + 16]


def test_text_that_became_a_sequence_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        many = np.empty(2, object)
        many[:] = [np.arange(3), np.arange(2)]
        file.attrs.create("many", many, dtype=h5py.vlen_dtype(np.int64))
        file.attrs["one"] = "text"
        file.attrs["seen"] = file.ref
    with opened(path) as file:
        assert attributes(file) == {"one": "text"}


def test_text_that_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.attrs["fixed"] = np.bytes_("µm".encode("latin-1"))
        file.attrs.create("long", "µm".encode("latin-1"), dtype=h5py.string_dtype())
    with opened(path) as file:
        assert attributes(file) == {"fixed": "µm", "long": "µm"}


def test_links_out_of_the_file_are_not_followed(tmp_path: Path) -> None:
    secret = make.write_nexus(tmp_path / "secret.nxs", IMAGE, LENGTHS)

    def away(file: h5py.File) -> None:
        del file["entry/plot/counts"]
        file["entry/plot/counts"] = h5py.ExternalLink(secret.name, "/entry/plot/counts")

    path = change(make.write_nexus(tmp_path / "a.nxs", IMAGE, LENGTHS), away)
    with pytest.raises(NotAnImageError, match="no NXdata group with a signal"):
        open_scans(path)
    loop = change(
        make.write_nexus(tmp_path / "b.nxs", IMAGE, LENGTHS),
        lambda file: file.__setitem__("entry/plot/again", h5py.SoftLink("/entry/plot/again")),
    )
    with opened(loop) as file:
        assert member(file, "entry/plot/again") is None


def test_links_within_the_file_are_followed(tmp_path: Path) -> None:
    def link(file: h5py.File) -> None:
        file["entry/detector/pixels"] = IMAGE + 1
        del file["entry/plot/counts"]
        file["entry/plot/counts"] = h5py.SoftLink("/entry/detector/pixels")

    (scan,) = open_scans(change(make.write_nexus(tmp_path / "a.nxs", IMAGE, LENGTHS), link))
    np.testing.assert_array_equal(scan.pixels.read(), IMAGE + 1)


def swapped(tmp_path: Path, write: Callable[[h5py.Group], object]) -> Path:
    def replace(file: h5py.File) -> None:
        del file["entry/plot/counts"]
        write(file["entry/plot"])

    return change(make.write_nexus(tmp_path / "a.nxs", IMAGE, LENGTHS), replace)


def test_pixels_in_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "raw.bin").write_bytes(IMAGE.tobytes())
    outside = [(str(tmp_path / "raw.bin"), 0, 40)]
    path = swapped(tmp_path, lambda plot: plot.create_dataset("counts", (4, 5), "u2", external=outside))
    with pytest.raises(NotAnImageError, match=r"counts keeps its pixels in other files \(external storage\)"):
        open_scans(path)
    other = h5py.VirtualSource("other.h5", "data", (4, 5), "u2")
    layout = h5py.VirtualLayout((4, 5), "u2")
    layout[:] = other
    path = swapped(tmp_path, lambda plot: plot.create_virtual_dataset("counts", layout))
    with pytest.raises(NotAnImageError, match=r"in other files \(a virtual dataset\)"):
        open_scans(path)


def test_claims_that_nothing_fills_are_refused(tmp_path: Path) -> None:
    path = swapped(
        tmp_path, lambda plot: plot.create_dataset("counts", (1 << 20, 1 << 20), "u2", chunks=(64, 64))
    )
    with pytest.raises(NotAnImageError, match="counts was never written: it claims 2199023255552 bytes"):
        open_scans(path)

    def bomb(plot: h5py.Group) -> None:
        plot.create_dataset("counts", (1 << 20, 1 << 20), "u2", chunks=(64, 64))[0, 0] = 1

    with pytest.raises(NotAnImageError, match="claims 2199023255552 bytes out of 8192 stored ones"):
        open_scans(swapped(tmp_path, bomb))


def test_unknown_filter_is_named(tmp_path: Path) -> None:
    def write(plot: h5py.Group) -> None:
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_chunk((4, 5))
        properties.set_filter(32767, h5py.h5z.FLAG_OPTIONAL)
        space = h5py.h5s.create_simple((4, 5))
        data = h5py.h5d.create(plot.id, b"counts", h5py.h5t.NATIVE_UINT16, space, properties)
        h5py.Dataset(data)[...] = IMAGE

    with pytest.raises(
        NotAnImageError, match="compressed with the HDF5 filter 32767, which is not installed"
    ):
        open_scans(swapped(tmp_path, write))


def test_micdb_reads_its_own_files_back(tmp_path: Path) -> None:
    """Everything that a micrograph file keeps: exact steps, settings with their words, problems, metadata."""
    from micdb.records import Axis, Pixels, Quantity, Scan, Source
    from micdb.store.nexus import write_micrograph

    pixels = (STACK + 1j).astype(np.complex64)
    vendor = tmp_path / "vendor.dm3"
    vendor.write_bytes(b"bytes")
    axes = (
        Axis("time", 3, 0.1, 7.0, "s", "derived"),
        Axis("y", 4),
        Axis("x", 5, -0.1, 0.3, "nm", "user"),
    )
    settings = {
        "accelerating_voltage": Quantity(2e5, "V", "sidecar", "HV = 200 kV"),
        "instrument": Quantity("Titan", None, "file", "Name = Titan"),
    }
    scan = Scan(
        Pixels(pixels.shape, "complex64", lambda: pixels), axes, "a grain",
        Source(str(vendor), "dm3", "dm", "1"), channel="HAADF", modality="TEM", intensity_unit="nA",
        acquired="2020-01-02T03:04:05", acquired_raw="2.1.2020", settings=settings,
        original={"a": [1, {"b": None}]}, problems=("the date was odd",),
    )  # fmt: skip
    write_micrograph(tmp_path / "object.nxs", scan, pixels, thumbnail=b"png")
    (back,) = open_scans(tmp_path / "object.nxs")
    assert (back.source.format, back.source.reader) == ("micdb", "hdf5")
    for field in (
        "axes",
        "name",
        "channel",
        "modality",
        "intensity_unit",
        "acquired",
        "acquired_raw",
        "problems",
    ):
        assert getattr(back, field) == getattr(scan, field), field
    assert dict(back.settings) == settings
    assert back.original == scan.original
    np.testing.assert_array_equal(back.pixels.read(), pixels)
    np.testing.assert_array_equal(list(back.pixels.frames()), pixels)
    newer = tmp_path / "newer.nxs"
    shutil.copy(tmp_path / "object.nxs", newer)
    change(newer, lambda file: file.attrs.__setitem__("micdb_format", 99))
    with pytest.raises(NotAnImageError, match="micdb's format 99 is not the 1 that this micdb reads"):
        open_scans(newer)
