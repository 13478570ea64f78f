"""The adapter to RosettaSciIO; skipped where the extra is not installed."""

from __future__ import annotations

import builtins
import bz2
import sys
import zipfile
from io import BytesIO
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from micdb.errors import DamagedFileError, MissingExtraError, NotAnImageError, ReadError
from micdb.ingest.reader import HEAD
from micdb.ingest.readers import hyperspy_tree
from micdb.ingest.readers.rosettasciio import LEFT_OUT, RosettaSciIO
from micdb.ingest.sniff import candidates, open_scans
from micdb.testing import ReaderContract

make = SimpleNamespace(**run_path(str(Path(__file__).parents[1] / "data" / "rosettasciio" / "make.py")))
IMAGE = np.arange(20, dtype=np.uint16).reshape(4, 5)
STACK = np.arange(6 * 4 * 5, dtype=np.uint16).reshape(6, 4, 5)


@pytest.fixture(autouse=True)
def _extra(request: pytest.FixtureRequest) -> None:
    if request.node.name != "test_missing_extra_is_the_install_line":
        pytest.importorskip("rsciio")


class TestContract(ReaderContract):
    reader = RosettaSciIO

    @pytest.fixture
    def files(self, tmp_path: Path) -> list[Path]:
        return [
            make.write_merlin(tmp_path / "a.mib", STACK),
            make.write_merlin(tmp_path / "scan.mib", STACK, per_trigger=3),
            make.write_tvips(tmp_path / "a_000.tvips", STACK),
            make.write_prz(tmp_path / "stored.prz", IMAGE, packed=False),
            make.write_prz(tmp_path / "packed.prz", IMAGE, packed=True),
        ]


def test_every_plugin_is_offered_or_left_out_for_a_reason() -> None:
    """A new RosettaSciIO with a new plugin makes this fail: decide about it."""
    from rsciio import IO_PLUGINS

    plugins = {str(plugin["api"]).rsplit(".", 1)[1]: plugin for plugin in IO_PLUGINS}
    offered = {known.name: known for known in RosettaSciIO.formats}
    assert set(plugins) == set(offered) | set(LEFT_OUT)
    assert not set(offered) & set(LEFT_OUT)
    for name, known in offered.items():
        extensions = {f".{extension.lower()}" for extension in plugins[name]["file_extensions"]}
        assert set(known.extensions) <= extensions, name


def test_merlin_frames_are_a_series_unless_its_header_says_rows(tmp_path: Path) -> None:
    (series,) = open_scans(make.write_merlin(tmp_path / "a.mib", STACK))
    assert [(axis.name, axis.size) for axis in series.axes] == [("frame", 6), ("y", 4), ("x", 5)]
    np.testing.assert_array_equal(list(series.pixels.frames()), STACK)
    np.testing.assert_array_equal(series.pixels.load_frame(5), STACK[5])
    assert series.acquired is not None
    assert series.acquired.startswith("2021-04-15T13:43:25.703250151Z"[:19])
    assert series.settings["exposure_time"].value == 0.001
    (scan,) = open_scans(make.write_merlin(tmp_path / "b.mib", STACK, per_trigger=3))
    assert scan.pixels.shape == (2, 3, 4, 5)
    assert scan.source.parts == (str(tmp_path / "b.hdr"),)
    np.testing.assert_array_equal(list(scan.pixels.frames()), STACK)


def test_tvips_pixel_of_the_camera_is_no_pixel_size(tmp_path: Path) -> None:
    (scan,) = open_scans(make.write_tvips(tmp_path / "a_000.tvips", STACK))
    assert [(axis.name, axis.step) for axis in scan.axes] == [("time", 1.0), ("y", None), ("x", None)]
    assert "the header has that of the camera" in scan.problems[0]
    assert scan.acquired == "2020-09-13T12:26:40Z"
    assert {name: item.value for name, item in scan.settings.items()} == {
        "accelerating_voltage": 200_000, "magnification": 5000,
    }  # fmt: skip
    np.testing.assert_array_equal(list(scan.pixels.frames()), STACK)


def test_tvips_written_by_hyperspy_is_calibrated_and_has_no_magnification(tmp_path: Path) -> None:
    path = make.write_tvips(tmp_path / "a_000.tvips", STACK, mode=2, sign=b"HYPERSPY ")
    (scan,) = open_scans(path)
    assert scan.axis("x").step_in("1/nm") == 15600
    assert scan.modality == "diffraction"
    assert "magnification" not in scan.settings


def test_tvips_clock_at_zero_is_no_date(tmp_path: Path) -> None:
    path = make.write_tvips(tmp_path / "a_000.tvips", STACK)
    content = bytearray(path.read_bytes())
    content[260:264] = bytes(4)  # of the first frame
    path.write_bytes(content)
    assert open_scans(path)[0].acquired is None


def test_panta_rhei_that_pickled_its_metadata_says_so(tmp_path: Path) -> None:
    path = make.write_prz(tmp_path / "a.prz", STACK[0], packed=True)
    np.savez_compressed(tmp_path / "old.npz", data=STACK[0], meta_data=np.array([{"type": "2D"}], object))
    (tmp_path / "old.npz").rename(path)
    (scan,) = open_scans(path)
    np.testing.assert_array_equal(scan.pixels.read(), STACK[0])
    assert "a pickle may run anything" in scan.problems[0]


def test_tvips_later_parts_and_other_names(tmp_path: Path) -> None:
    make.write_tvips(tmp_path / "a_000.tvips", STACK)
    (tmp_path / "a_001.tvips").write_bytes((tmp_path / "a_000.tvips").read_bytes()[256:])
    (scan,) = open_scans(tmp_path / "a_000.tvips")
    assert scan.n_frames == 12
    assert scan.source.parts == (str(tmp_path / "a_001.tvips"),)
    with pytest.raises(NotAnImageError, match=r"a later part of a movie; open a_000\.tvips"):
        open_scans(tmp_path / "a_001.tvips")
    with pytest.raises(ReadError, match=r"as movie_000\.tvips only: rename it"):
        open_scans(make.write_tvips(tmp_path / "movie.tvips", STACK))


@pytest.mark.parametrize("packed", [False, True])
def test_panta_rhei_packed_or_not(tmp_path: Path, packed: bool) -> None:
    (scan,) = open_scans(make.write_prz(tmp_path / "a.prz", IMAGE, packed=packed))
    np.testing.assert_array_equal(scan.pixels.read(), IMAGE)
    assert (scan.axis("x").step, scan.axis("x").unit) == (2e-9, "m")


def test_panta_rhei_that_promises_too_much_is_refused_before_numpy_allocates(tmp_path: Path) -> None:
    header = BytesIO()
    claim = {"descr": "<u2", "fortran_order": False, "shape": (1 << 20, 1 << 20)}
    np.lib.format.write_array_header_1_0(header, claim)
    with zipfile.ZipFile(tmp_path / "a.prz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("meta_data.npy", b"")
        archive.writestr("data.npy", header.getvalue() + IMAGE.tobytes())
    with pytest.raises(DamagedFileError, match=r"promises 2199023255552 bytes of pixels, data\.npy has 168"):
        open_scans(tmp_path / "a.prz")


def test_ripple_image_and_its_raw_file(tmp_path: Path) -> None:
    (scan,) = open_scans(make.write_ripple(tmp_path / "a.rpl", IMAGE))
    assert [(axis.name, axis.step, axis.unit) for axis in scan.axes] == [("y", 0.25, "nm"), ("x", 0.5, "nm")]
    np.testing.assert_array_equal(scan.pixels.read(), IMAGE)
    (tmp_path / "a.raw").unlink()
    with pytest.raises(NotAnImageError, match=r"its data file a\.raw is missing"):
        open_scans(tmp_path / "a.rpl")


def test_empad_scan_and_a_data_file_elsewhere(tmp_path: Path) -> None:
    patterns = make.write_empad(tmp_path / "a.xml", (2, 3))
    (scan,) = open_scans(tmp_path / "a.xml")
    assert [(axis.name, axis.size) for axis in scan.axes] == [
        ("scan_y", 2),
        ("scan_x", 3),
        ("y", 128),
        ("x", 128),
    ]
    np.testing.assert_array_equal(scan.pixels.load_frame(4), patterns[1, 1])
    make.write_empad(tmp_path / "b.xml", (2, 3), raw="../../etc/scan_x3_y2.raw")
    with pytest.raises(NotAnImageError, match="names no data file beside it"):
        open_scans(tmp_path / "b.xml")


def test_bruker_folders_in_a_circle_do_not_hang(tmp_path: Path) -> None:
    with pytest.raises(DamagedFileError, match="its folders contain one another"):
        open_scans(make.write_sfs(tmp_path / "a.bcf", [1, 0]))
    with pytest.raises(DamagedFileError, match="the folder 7"):
        open_scans(make.write_sfs(tmp_path / "a.bcf", [7]))


def test_elid_that_ends_too_early_does_not_hang(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    packed = bz2.compress(b"EID2" + rng.integers(0, 256, 3_000_000, np.uint8).tobytes())
    (tmp_path / "a.elid").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(DamagedFileError, match="the packed data end too early"):
        open_scans(tmp_path / "a.elid")


def test_promises_that_the_file_cannot_fill(tmp_path: Path) -> None:
    path = make.write_ripple(tmp_path / "a.rpl", IMAGE)
    path.write_text(path.read_text().replace("height\t4\n", "height\t4000000000\n"))
    with pytest.raises(DamagedFileError):
        open_scans(path)[0].pixels.read()
    content = make.write_merlin(tmp_path / "a.mib", STACK).read_bytes()
    content = content.replace(b"0005,0004", b"9999,9999")
    (tmp_path / "a.mib").write_bytes(content)
    with pytest.raises(DamagedFileError, match="a frame takes 199960002 bytes, more than the file has"):
        open_scans(tmp_path / "a.mib")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"#FORMAT      : EMSA/MAS Spectral Data File\r\n", "an EMSA/MAS spectrum"),
        (b"MAPSPECTRA_DATA\0", "an EDAX map of spectra"),
        (b"0\x01\0\0JED-2200:PTS", "a JEOL spectrum or map of spectra"),
        (bytes(12) + b"\x01\x0b\0\0\0SampleInfo\0", "a JEOL project .its images are .img and .map files."),
        (b"WDF1\0\x02", "a Renishaw Raman measurement"),
        (b'<?xml version="1.0"?>\n<TRTSpectrum>', "a Bruker spectrum"),
    ],
)
def test_spectra_are_refused_by_name(tmp_path: Path, content: bytes, what: str) -> None:
    (tmp_path / "a.dat").write_bytes(content.ljust(300, b"\0"))
    with pytest.raises(NotAnImageError, match=f"this is {what}, no image"):
        open_scans(tmp_path / "a.dat")


def test_formats_whose_extension_rsciio_insists_on(tmp_path: Path) -> None:
    path = make.write_prz(tmp_path / "renamed.dat", IMAGE, packed=False)
    assert RosettaSciIO.sniff(path, path.read_bytes()[:HEAD]) == 2
    with pytest.raises(ReadError, match=r"as renamed\.prz only: rename it"):
        open_scans(path)


def test_other_archives_are_left_alone(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", data=IMAGE)
    (tmp_path / "b.bz2").write_bytes(bz2.compress(b"text" * 100))
    for name in ("a.npz", "b.bz2"):
        path = tmp_path / name
        assert RosettaSciIO.sniff(path, path.read_bytes()[:HEAD]) == 0
        assert "rosettasciio" not in [candidate.name for candidate in candidates(path)]


def test_mapping_is_applied_as_hyperspy_does() -> None:
    signal = {
        "metadata": {"General": {"title": "t"}},
        "original_metadata": {"Info": {"High tension_kV": 200.0, "Mode": "TEM"}, "Bad": "x"},
        "mapping": {
            "Info.High_tension_kV": ("Acquisition_instrument.TEM.beam_energy", None),
            "Info.Mode": ("Acquisition_instrument.TEM.acquisition_mode", str.upper),
            "Bad": ("General.date", float),
            "Missing.path": ("General.time", None),
        },
    }
    assert hyperspy_tree.mapped(signal) == {
        "General": {"title": "t"},
        "Acquisition_instrument": {"TEM": {"beam_energy": 200.0, "acquisition_mode": "TEM"}},
    }


def test_garbage_behind_a_signature_is_damage(tmp_path: Path) -> None:
    for name, head in (
        ("a.bcf", b"AAMVHFSS"),
        ("d.prz", b"PK\x03\x04"),
        ("e.mib", b"MQ1,1,"),
        ("f.elid", b"BZh91AY&SY"),
    ):
        (tmp_path / name).write_bytes(head + bytes(range(200)))
        with pytest.raises(DamagedFileError, match=r"\[rosettasciio\]"):
            open_scans(tmp_path / name)


def test_missing_extra_is_the_install_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.bcf"
    path.write_bytes(b"AAMVHFSS" + bytes(100))
    monkeypatch.delitem(sys.modules, "rsciio", raising=False)
    real = builtins.__import__

    def absent(name: str, *rest: Any, **named: Any) -> Any:
        if name.startswith("rsciio"):
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", absent)
    monkeypatch.setitem(sys.modules, "rsciio", None)
    with pytest.raises(
        MissingExtraError, match=r"a\.bcf: this needs the package 'rsciio': pip install 'micdb\[em\]'"
    ):
        open_scans(path)
