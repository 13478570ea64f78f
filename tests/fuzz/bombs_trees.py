"""HDF5 files, text headers, packed blocks and nested structures that claim very much or never end."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.fuzz.bombs import BOMBS, LAUGHS, ZEROS, bomb, content, deflated
from tests.fuzz.bombs_archives import zipped
from tests.fuzz.made import DEEP, GREY, REAL, RGB, X264, make

# ------------------------------------------------------------------ HDF5


def _hdf5(name: str, fill: Callable[[Any], None], ending: str = ".emd") -> None:
    def maker(at: Path) -> Path:
        import h5py

        with h5py.File(at / f"{name}{ending}", "w") as file:
            fill(file)
        return at / f"{name}{ending}"

    BOMBS[f"hdf5/{name}{ending}"] = maker


def _group(file: Any, **storage: Any) -> Any:
    group = file.create_group("data/one")
    group.attrs["emd_group_type"] = 1
    dataset = group.create_dataset("data", **storage)
    for number in (1, 2):
        dimension = group.create_dataset(f"dim{number}", data=np.arange(2.0))
        dimension.attrs["name"], dimension.attrs["units"] = np.bytes_(b"x"), np.bytes_(b"[n_m]")
    return dataset


def _few_chunks(file: Any) -> None:
    _group(file, shape=(1_000_000, 1_000_000), dtype="u2", chunks=(512, 512), fillvalue=7)[:9, :9] = 1


def _circle(file: Any) -> None:
    group = file.create_group("data")
    group["again"] = group
    group["root"] = file["/"]


def _sparse(file: Any) -> None:
    _group(file, shape=(50_000, 50_000), dtype="u2", chunks=(512, 512))[:9, :9] = 1


def _one_chunk(file: Any) -> None:
    side = 22_000
    dataset = _group(file, shape=(side, side), dtype="u2", chunks=(side, side), compression="gzip")
    dataset.id.write_direct_chunk((0, 0), deflated(2 * side * side // (1 << 20) + 1))


def _circle_nexus(file: Any) -> None:
    """Every group holds itself by many names: its tree is as large as the depth allows."""
    entry = file.create_group("entry")
    entry.attrs["NX_class"], entry.attrs["default"] = "NXentry", "plot"
    plot = entry.create_group("plot")
    plot.attrs["NX_class"], plot.attrs["signal"] = "NXdata", "counts"
    plot["counts"] = REAL
    notes = entry.create_group("notes")
    for number in range(9):
        notes[f"again{number}"] = notes
        notes[f"entry{number}"] = entry


def _deep(file: Any) -> None:
    group = file
    for _ in range(3000):
        group = group.create_group("a")
    group.attrs["emd_group_type"] = 1


def _velox_json(text: bytes) -> Callable[[Any], None]:
    def fill(file: Any) -> None:
        group = file.create_group("Data/Image/a")
        group["Data"] = GREY[..., None]
        group["Metadata"] = np.frombuffer(text, np.uint8)[:, None]

    return fill


def _velox_metadata(file: Any) -> None:
    group = file.create_group("Data/Image/a")
    group["Data"] = GREY[..., None]
    group.create_dataset("Metadata", (1 << 34, 1), "u1", chunks=(1 << 20, 1), compression="gzip")[0, 0] = 1


def _virtual(file: Any) -> None:
    import h5py

    layout = h5py.VirtualLayout((100, 100), "u1")
    layout[:] = h5py.VirtualSource("/etc/passwd", "data", (100, 100))
    group = file.create_group("data/one")
    group.attrs["emd_group_type"] = 1
    group.create_virtual_dataset("data", layout)
    file["outside"] = h5py.ExternalLink("/etc/passwd", "/")
    file["soft"] = h5py.SoftLink("/soft")


_hdf5(
    "fill",
    lambda file: _group(file, shape=(1_000_000, 1_000_000), dtype="u2", chunks=(512, 512), fillvalue=7),
)
_hdf5("few", _few_chunks)
_hdf5("stack", lambda file: _group(file, shape=(10**9, 64, 64), dtype="f4", chunks=(1, 64, 64)))
_hdf5("chunk", lambda file: _group(file, shape=(40_000, 40_000), dtype="u1", chunks=(40_000, 40_000),
                                   compression="gzip"))  # fmt: skip
_hdf5("real", lambda file: _group(file, data=np.zeros((8192, 8192), "u1"), chunks=(1024, 1024),
                                  compression="gzip"))  # fmt: skip
_hdf5("sparse", _sparse)
_hdf5("one_chunk", _one_chunk)
_hdf5("circle", _circle)
_hdf5("circle_nexus", _circle_nexus, ".nxs")
_hdf5("deep", _deep)
_hdf5("deep_nexus", _deep, ".nxs")
_hdf5("json", _velox_json(b"[" * 200_000))
_hdf5("json_numbers", _velox_json(b'{"a": ' + b"9" * 20_000 + b', "b": 1e999, "c": NaN}'))
_hdf5("metadata", _velox_metadata)
_hdf5("virtual", _virtual)
_hdf5("wide", lambda file: [file.create_group(f"data/{n}") for n in range(3000)] and None)


@bomb("hdf5/one_text.nxs")
def _one_text(at: Path) -> Path:
    """4096 texts of variable length that all stand in the same megabyte of the file."""
    import h5py

    axes = {"y": (range(24), "nm"), "x": (range(32), "nm")}
    path: Path = make("hdf5").write_nexus(at / "one_text.nxs", REAL, axes)
    with h5py.File(path, "r+") as file:
        notes = file["entry"].create_dataset("notes", (4096,), h5py.string_dtype())
        notes[:] = ["a" * (1 << 20), *["b"] * 4095]
        start = notes.id.get_offset()
    whole = bytearray(path.read_bytes())
    whole[start : start + 16 * 4096] = bytes(whole[start : start + 16]) * 4096
    path.write_bytes(bytes(whole))
    return path


# ------------------------------------------------------------------ text headers, zlib and nested structures


@bomb("createc/zlib.dat")
def _createc(at: Path) -> Path:
    path: Path = make("createc").write_dat(at / "A250320.191933.dat", [REAL] * 4)
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.index(b"DATA") + 4] + deflated(200))
    return path


@bomb("createc/large.dat")
def _createc_large(at: Path) -> Path:
    size = {"Num.X": "14000", "Num.Y": "14000", "Channels": "1"}
    path: Path = make("createc").write_dat(at / "large.dat", [REAL], **size)
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.index(b"DATA") + 4] + deflated(750))
    return path


@bomb("rhk/again.sm4")
def _rhk_again(at: Path) -> Path:
    """8000 entries in the list of pages that are all the same page, with a megabyte of text."""
    strings = dict.fromkeys(range(15), "x" * 60_000)
    path: Path = make("rhk").write_sm4(at / "again.sm4", [(DEEP.astype("i4"), {"strings": strings})])
    whole = bytearray(path.read_bytes())
    index = 70  # of the page index header; the list of pages comes 28 bytes later
    struct.pack_into("<I", whole, 38, 8000)
    struct.pack_into("<I", whole, index, 8000)
    struct.pack_into("<I", whole, index + 20, len(whole))
    path.write_bytes(bytes(whole) + bytes(whole[index + 28 : index + 84]) * 8000)
    return path


@bomb("video/samples.mp4")
def _samples(at: Path) -> Path:
    path: Path = make("video").write(
        at / "samples.mp4", [RGB] * 3, codec="libx264", stored="yuv420p", options=X264
    )
    whole = bytearray(path.read_bytes())
    tables = {b"stsz": (1, 50_000_000), b"stts": (1, 50_000_000), b"stsc": (1, 1, 50_000_000)}
    for table, values in tables.items():
        struct.pack_into(f">{len(values)}I", whole, whole.index(table) + 8, *values)
    path.write_bytes(bytes(whole))
    return path


BOMBS["createc/claims.dat"] = lambda at: make("createc").write_dat(
    at / "a.dat", [REAL] * 4, **{"Num.X": "1000000", "Num.Y": "1000000"}
)
content(
    "rosettasciio/claims.prz", lambda: zipped([("data.npy", _npy((1 << 20, 1 << 20))), ("meta.json", b"{}")])
)
content(
    "rosettasciio/large.prz",
    lambda: zipped([("data.npy", _npy((29_000, 29_000)) + ZEROS * 803), ("meta_data.npy", b"")]),
)
content("rosettasciio/zeros.prz", lambda: zipped([("data.npy", _npy((8192, 8192)) + ZEROS * 64),
                                                ("meta_data.npy", _npy((4, 4)))]))  # fmt: skip


def _npy(shape: tuple[int, ...]) -> bytes:
    header = repr({"descr": "|u1", "fortran_order": False, "shape": shape}).ljust(117).encode() + b"\n"
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(header)) + header


@bomb("digitalsurf/zlib.sur")
def _digitalsurf(at: Path) -> Path:
    packed = deflated(200)
    sizes = struct.pack("<III", 1, 200 << 20, len(packed))
    path: Path = make("digitalsurf").write_sur(
        at / "zlib.sur", [DEEP.astype("i4")], streams=1, lines=8192, points=6400, total=8192 * 6400
    )
    whole = path.read_bytes()
    path.write_bytes(whole[:512] + sizes + packed)
    return path


def _nested_gwy() -> bytes:
    body = b""
    for _ in range(5000):
        body = b"GwyContainer\0" + struct.pack("<I", len(body)) + body
        body = b"/0/data\0o" + body
    return b"GWYPGwyContainer\0" + struct.pack("<I", len(body)) + body


def _nested_dm() -> bytes:
    level = struct.pack(">BBI", 0, 0, 1) + b"\x14\0\x01a"  # a group of one group called a
    return struct.pack(">III", 3, 1 << 20, 1) + level[:6] + (b"\x14\0\x01a" + level[:6]) * 5000


content("gwyddion/nested.gwy", _nested_gwy)
content("dm/nested.dm3", _nested_dm)
BOMBS["tia/laughs.emi"] = lambda at: _emi(
    at, (LAUGHS + "<ObjectInfo><Uuid>&a11;</Uuid></ObjectInfo>").encode()
)
BOMBS["tia/deep.emi"] = lambda at: _emi(
    at, b"<ObjectInfo>" + b"<a>" * 50_000 + b"</a>" * 50_000 + b"</ObjectInfo>"
)
BOMBS["nd2/zlib.nd2"] = lambda at: make("nd2").write(
    at / "zlib.nd2", DEEP[None, ..., None], more={"ImageTextInfoLV": b"L\0" + bytes(10) + deflated(100)}
)
BOMBS["nd2/laughs.nd2"] = lambda at: make("nd2").write(
    at / "laughs.nd2",
    DEEP[None, ..., None],
    version="Ver2.1",
    more={"ImageTextInfo": (LAUGHS + "<variant><no_name>&a11;</no_name></variant>").encode()},
)
BOMBS["nanonis/claims.sxm"] = lambda at: _replaced(
    make("nanonis").write_sxm(at / "claims.sxm", {("Z", "m", "both"): [REAL, REAL]}),
    b"       32       24", b"  1000000  1000000")  # fmt: skip
BOMBS["wsxm/claims.top"] = lambda at: _replaced(
    make("wsxm").write_wsxm(at / "claims.top", GREY.astype("i2")), b"columns: 32", b"columns: 99999999999"
)
BOMBS["mrc/claims.mrc"] = lambda at: _packed(
    make("mrc").write(at / "a.mrc", REAL), "<3i", 0, 1 << 30, 1 << 30, 1
)
BOMBS["mrc/header.mrc"] = lambda at: _packed(make("mrc").write(at / "a.mrc", REAL), "<i", 92, 0x7FFFFFFF)
BOMBS["mrc/frames.mrc"] = lambda at: _packed(
    make("mrc").write(at / "a.mrc", REAL), "<3i", 0, 1, 1, 0x7FFFFFFF
)
BOMBS["rhk/pages.sm4"] = lambda at: _packed(
    make("rhk").write_sm4(at / "a.sm4", [(DEEP.astype("i4"), {})]), "<I", 38, 0xFFFFFFFF
)
BOMBS["tia/count.ser"] = lambda at: _packed(
    make("tia").write_ser(at / "a.ser", [REAL]), "<II", 14, 0x7FFFFFFF, 0x7FFFFFFF
)


def _emi(at: Path, xml: bytes) -> Path:
    tia = make("tia")
    tia.write_ser(at / "bomb_1.ser", [REAL])
    path: Path = tia.write_emi(at / "bomb.emi", [(1, xml)])
    return path


@bomb("rosettasciio/raw.rpl")
def _rpl(at: Path) -> Path:
    lines = ["key\tvalue", "width\t1000000", "height\t1000000", "depth\t1", "offset\t0", "data-length\t2",
             "data-type\tunsigned", "byte-order\tlittle-endian", "record-by\tdont-care"]  # fmt: skip
    (at / "raw.rpl").write_text("\n".join(lines))
    (at / "raw.raw").write_bytes(bytes(64))
    return at / "raw.rpl"


def _replaced(path: Path, old: bytes, new: bytes) -> Path:
    path.write_bytes(path.read_bytes().replace(old, new))
    return path


def _packed(path: Path, code: str, at: int, *values: int) -> Path:
    whole = bytearray(path.read_bytes())
    struct.pack_into(code, whole, at, *values)
    path.write_bytes(bytes(whole))
    return path


content("text/deep.json", lambda: json.dumps({"a": 1}).encode() + b"[" * 100_000)
content("text/laughs.xml", (LAUGHS + "<a>&a11;</a>").encode)
