"""Sound files of every format, by the generators of ``tests/data``: each maker fills an empty folder."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace
from typing import Any

import numpy as np

from tests.fuzz.seeds import Maker

DATA = Path(__file__).resolve().parents[1] / "data"
GREY = (np.arange(24 * 32) * 37 % 251).astype(np.uint8).reshape(24, 32)
DEEP = GREY.astype(np.uint16) * 257
REAL = GREY.astype(np.float32) / 251
RGB = np.stack([GREY, GREY[::-1], GREY[:, ::-1]], axis=-1)
STACK = np.stack([DEEP, DEEP[::-1], DEEP[:, ::-1]])
X264 = {"crf": "20", "x264-params": "keyint=4:threads=1"}
MADE: dict[str, Maker] = {}


def made() -> dict[str, Maker]:
    """Return every sound file: name -> writes it, with its companions, into an empty folder."""
    import_module("tests.fuzz.made_pictures")
    return MADE


@cache
def make(name: str) -> Any:
    """Return the generator ``tests/data/<name>/make.py``."""
    return SimpleNamespace(**run_path(str(DATA / name / "make.py")))


def made_by(name: str) -> Any:
    def enter(maker: Maker) -> Maker:
        MADE[name] = maker
        return maker

    return enter


def add(name: str, maker: Maker) -> None:
    MADE[name] = maker


# ------------------------------------------------------------------ scanning probes

add(
    "nanonis/both.sxm",
    lambda at: make("nanonis").write_sxm(
        at / "both.sxm", {("Z", "m", "both"): [REAL, REAL + 1], ("Current", "A", "forward"): [REAL]}
    ),
)
add("createc/packed.dat", lambda at: make("createc").write_dat(at / "A250320.191933.dat", [REAL] * 4))
add(
    "createc/plain.dat",
    lambda at: make("createc").write_dat(at / "B250320.191933.dat", [REAL] * 4, kind="[Paramet32]"),
)
add(
    "rhk/pages.sm4",
    lambda at: make("rhk").write_sm4(
        at / "pages.sm4", [(DEEP.astype("i4"), {}), (DEEP.astype("i4"), {"scan_type": 1})]
    ),
)
add(
    "nanoscope/short.001",
    lambda at: make("nanoscope").write_spm(
        at / "short.001", [(GREY.astype("i2"), {}), (GREY.astype("i2"), {"Line direction": "Retrace"})]
    ),
)
add(
    "nanoscope/long.spm",
    lambda at: make("nanoscope").write_spm(at / "long.spm", [(DEEP.astype("i4"), {"Bytes/pixel": "4"})]),
)
add("wsxm/counts.top", lambda at: make("wsxm").write_wsxm(at / "counts.top", GREY.astype("i2")))
add("wsxm/values.stp", lambda at: make("wsxm").write_wsxm(at / "values.stp", REAL.astype("f8"), newline="\n"))
add(
    "matrix/session.Z_mtrx",
    lambda at: make("matrix").write_session(
        at, make("matrix").acquired(np.arange(12).reshape(3, 4), np.arange(12).reshape(3, 4) + 9)
    ),
)
add(
    "matrix/stopped.I_mtrx", lambda at: make("matrix").write_session(at, np.arange(30), channel="I", asked=48)
)
add(
    "igor/layers.ibw",
    lambda at: make("igor").write_ibw(
        at / "layers.ibw",
        np.stack([REAL, REAL * 2], axis=-1),
        step=1e-9,
        unit="m",
        data_unit="m",
        note="ScanSize: 2e-6\rDate: 2019-12-10\rTime: 2:03:04 PM\r",
        labels=(3, [b"HeightRetrace", b"Phase"]),
    ),
)
add("igor/big.ibw", lambda at: make("igor").write_ibw(at / "big.ibw", DEEP.astype("i4"), order=">"))
add(
    "gwyddion/two.gwy",
    lambda at: make("gwyddion").write_gwy(
        at / "two.gwy",
        {
            name: make("gwyddion").data_field(REAL.astype(float), size=(2e-6, 1e-6))
            for name in ("Height", "Phase")
        },
        {"Bias": "0.5 V", "Date": "16.12.2015"},
    ),
)
add(
    "gwyddion/old.gwy",
    lambda at: make("gwyddion").write_version_1(
        at / "old.gwy", REAL.astype(float), size=4e-6, unit="µm", z_unit="nm"
    ),
)
add("jpk/two.jpk", lambda at: make("jpk").write(at / "two.jpk", [
    make("jpk").Channel("height", DEEP.astype("i4"), _SLOTS, "calibrated"),
    make("jpk").Channel("height", DEEP, _SLOTS, "volts", retrace=True)]))  # fmt: skip
add("jpk/force.jpk-force", lambda at: make("jpk").write_force(at / "force.jpk-force"))
_SLOTS = (("volts", "V", 2e-3, 0.5), ("calibrated", "m", 2e-9, 1e-6))
add("digitalsurf/plain.sur", lambda at: make("digitalsurf").write_sur(at / "plain.sur", [GREY.astype("i2")]))
add(
    "digitalsurf/packed.sur",
    lambda at: make("digitalsurf").write_sur(
        at / "packed.sur", [DEEP.astype("i4")], streams=2, special=1, comment="first try"
    ),
)
add(
    "digitalsurf/series.sur",
    lambda at: make("digitalsurf").write_sur(
        at / "series.sur", [GREY.astype("i2")] * 3, type=5, objects=3, dt=0.5, tunit="s"
    ),
)

# ------------------------------------------------------------------ electrons


def tia(at: Path) -> Path:
    """Write an .emi with two .ser."""
    by = make("tia")
    by.write_ser(at / "two_1.ser", list(STACK))
    by.write_ser(at / "two_2.ser", [REAL])
    objects = [(1, by.object_info(by.TEM)), (2, by.object_info(by.STEM, by.DETECTOR))]
    written: Path = by.write_emi(at / "two.emi", objects)
    return written


_AXES = ((0.25, "nm", 0.0), (0.5, "um", 2.0))


def _dm(name: str, *images: Any, **more: Any) -> None:
    def maker(at: Path) -> Path:
        written: Path = make("dm").write(at / name, *[image() for image in images], **more)
        return written

    add(f"dm/{name}", maker)


_dm("one.dm3", lambda: make("dm").image(DEEP, tags={"Microscope Info": make("dm").MICROSCOPE}))
_dm("two.dm4", lambda: make("dm").image(REAL), lambda: make("dm").image(STACK), version=4)
_dm("mac.dm3", lambda: make("dm").image(STACK), lambda: make("dm").colour(RGB), order=">")
_dm(
    "fft.dm4",
    lambda: make("dm").entry(make("dm").half_plane(REAL)[1].astype(np.complex64), 27, (32, 24)),
    version=4,
)
add(
    "dm5/one.dm5",
    lambda at: make("dm5").write(
        at / "one.dm5", make("dm").image(DEEP), make("dm").image(STACK), preview=make("dm").colour(RGB)
    ),
)
add(
    "emd/velox.emd",
    lambda at: make("emd").write_velox(
        at / "velox.emd",
        {
            "a": (np.moveaxis(STACK, 0, 2), make("emd").velox_metadata()),
            "b": (DEEP[..., None], make("emd").velox_metadata(mode="1")),
        },
    ),
)
add(
    "emd/ncem.emd",
    lambda at: make("emd").write_ncem(
        at / "ncem.emd",
        {"one": (REAL, [("y", "[n_m]", np.arange(24) * 0.5), ("x", "[n_m]", np.arange(32) * 0.5)])},
    ),
)
add("mrc/image.mrc", lambda at: make("mrc").write(at / "image.mrc", REAL))
add("mrc/stack.mrcs", lambda at: make("mrc").write(at / "stack.mrcs", STACK))
add("mrc/big.mrc", lambda at: make("mrc").big_endian(at / "big.mrc", DEEP))
add(
    "mrc/fei.mrc",
    lambda at: make("mrc").extend(
        make("mrc").write(at / "fei.mrc", REAL[None]), b"FEI1", make("mrc").fei(b"FEI1", [{"HT": 3e5}])
    ),
)
add("tia/two.emi", tia)
add("tia/series.ser", lambda at: make("tia").write_ser(at / "series.ser", list(STACK), version=0x0220))
add(
    "blockfile/map.blo",
    lambda at: make("blockfile").write_blo(
        at / "map.blo", np.arange(2 * 3 * 8 * 8, dtype="u1").reshape(2, 3, 8, 8)
    ),
)

# ------------------------------------------------------------------ RosettaSciIO and HDF5

_NANOMETRES = {"y": (np.arange(24) * 0.5, "nm"), "x": (np.arange(32) * 0.5, "nm")}
_SHARES = [{"name": name, "scale": 0.5, "offset": 0.0, "units": "nm", "navigate": False} for name in "yx"]
add(
    "rosettasciio/merlin.mib",
    lambda at: make("rosettasciio").write_merlin(at / "merlin.mib", STACK, per_trigger=3),
)
add("rosettasciio/movie.tvips", lambda at: make("rosettasciio").write_tvips(at / "movie_000.tvips", STACK))
add(
    "rosettasciio/packed.prz", lambda at: make("rosettasciio").write_prz(at / "packed.prz", REAL, packed=True)
)
add(
    "rosettasciio/stored.prz",
    lambda at: make("rosettasciio").write_prz(at / "stored.prz", REAL, packed=False),
)
add("rosettasciio/image.rpl", lambda at: make("rosettasciio").write_ripple(at / "image.rpl", DEEP))
add("rosettasciio/folders.bcf", lambda at: make("rosettasciio").write_sfs(at / "folders.bcf", [-1, 0, 1]))
add("hdf5/nexus.nxs", lambda at: make("hdf5").write_nexus(at / "nexus.nxs", REAL, _NANOMETRES))
add(
    "hdf5/image.hspy",
    lambda at: make("hdf5").write_hyperspy(
        at / "image.hspy", {"one": (REAL, _SHARES, {"General": {"title": "one", "date": "2021-03-04"}})}
    ),
)
add("hdf5/cube.h5", lambda at: make("hdf5").write_emd1(
    at / "cube.h5", {"cube": (STACK[None].astype("u2"), "DataCube", []), "slice": (REAL, "RealSlice", [])},
    R_pixel_size=0.5, R_pixel_units="nm", Q_pixel_size=0.01, Q_pixel_units="A^-1"))  # fmt: skip
add("hdf5/movie.h5-jpk", lambda at: make("hdf5").write_jpk(at / "movie.h5-jpk", STACK))


@made_by("rosettasciio/scan.xml")
def _empad(at: Path) -> Path:
    make("rosettasciio").write_empad(at / "scan.xml", (2, 3))
    return at / "scan.xml"


@made_by("hdf5/object.nxs")
def _object(at: Path) -> Path:
    from micdb.ingest.sniff import open_scans
    from micdb.store.nexus import write_micrograph
    from micdb.store.thumbnail import thumbnail

    source = make("mrc").write(at / "source.mrc", STACK)
    (scan,) = open_scans(source)
    frames = list(scan.pixels.frames())
    picture = thumbnail(frames[0], colour=False)
    write_micrograph(at / "object.nxs", scan, iter(frames), thumbnail=picture, source_sha256="0" * 64)
    source.unlink()
    return at / "object.nxs"
