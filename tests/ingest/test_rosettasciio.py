"""The adapter to RosettaSciIO; skipped where the extra is not installed."""

from __future__ import annotations

import builtins
import sys
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from micdb.errors import DamagedFileError, MissingExtraError, NotAnImageError
from micdb.ingest.readers import hyperspy_tree
from micdb.ingest.readers.rosettasciio import RosettaSciIO
from micdb.ingest.sniff import open_scans
from micdb.testing import ReaderContract

make = SimpleNamespace(**run_path(str(Path(__file__).parents[1] / "data" / "rosettasciio" / "make.py")))
PIXELS = np.arange(4 * 5, dtype=np.int16).reshape(4, 5)
IMAGE_AXES = [("y", 0.5, "µm", False), ("x", 0.25, "µm", False)]


def write(path: Path, pixels: np.ndarray = PIXELS, axes: Any = IMAGE_AXES, **metadata: Any) -> Path:
    pytest.importorskip("rsciio")
    return Path(make.write_hspy(path, make.signal(pixels, axes, **metadata)))


class TestContract(ReaderContract):
    reader = RosettaSciIO
    by_content = False  # .hspy is HDF5 like many others

    @pytest.fixture
    def files(self, tmp_path: Path) -> list[Path]:
        stack = np.arange(3 * 4 * 5, dtype=np.float32).reshape(3, 4, 5)
        return [
            write(tmp_path / "image.hspy"),
            write(tmp_path / "stack.hspy", stack, [("time", 2.0, "s", True), *IMAGE_AXES]),
        ]


def test_settings_come_in_our_units(tmp_path: Path) -> None:
    sem = {"SEM": {"beam_energy": 15, "magnification": 600.0, "working_distance": 8.0, "Stage": {"x": 1.5}}}
    (scan,) = open_scans(write(tmp_path / "a.hspy", Acquisition_instrument=sem))
    assert {name: (item.value, item.unit) for name, item in scan.settings.items()} == {
        "accelerating_voltage": (15000.0, "V"),
        "magnification": (600.0, None),
        "working_distance": (8.0, "mm"),
        "stage_x": (1.5, "mm"),
    }
    assert scan.modality == "SEM"
    assert (scan.axis("x").step, scan.axis("x").unit) == (0.25, "um")


@pytest.mark.parametrize("unit", ["pix", "px", "", "points", "<undefined>"])
def test_scale_of_one_pixel_is_unknown(tmp_path: Path, unit: str) -> None:
    (scan,) = open_scans(write(tmp_path / "a.hspy", axes=[("y", 1.0, unit, False), ("x", 1.0, unit, False)]))
    assert [(axis.step, axis.unit) for axis in scan.axes] == [(None, None), (None, None)]


def test_scan_of_diffraction_patterns_keeps_its_leading_axes(tmp_path: Path) -> None:
    axes = [
        ("y", 12.0, "nm", True),
        ("x", 12.0, "nm", True),
        ("dy", 0.1, "1/nm", False),
        ("dx", 0.1, "1/nm", False),
    ]
    pixels = np.arange(2 * 3 * 4 * 5, dtype=np.uint8).reshape(2, 3, 4, 5)
    (scan,) = open_scans(write(tmp_path / "a.hspy", pixels, axes))
    assert [axis.name for axis in scan.axes] == ["scan_y", "scan_x", "y", "x"]
    assert scan.modality == "diffraction"
    assert scan.n_frames == 6


@pytest.mark.parametrize(
    "axes",
    [
        [("x", 1.0, "nm", True), ("Energy", 0.1, "keV", False)],
        [("x", 1.0, "nm", True), ("channel", 1.0, "", False)],
    ],
)
def test_spectra_are_refused(tmp_path: Path, axes: Any) -> None:
    with pytest.raises(NotAnImageError, match="spectra or maps of spectra, no image"):
        open_scans(write(tmp_path / "a.hspy", axes=axes))


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


def test_emi_without_its_data(tmp_path: Path) -> None:
    pytest.importorskip("rsciio")
    (tmp_path / "a.emi").write_bytes(b"JK\x00\x02" + bytes(100))
    with pytest.raises(NotAnImageError, match=r"its data files a_1\.ser, \.\.\. are missing"):
        open_scans(tmp_path / "a.emi")
    (tmp_path / "a_1.ser").write_bytes(b"II\x97\x01" + bytes(100))
    with pytest.raises(NotAnImageError, match=r"this is a part of a\.emi; open that"):
        open_scans(tmp_path / "a_1.ser")


def test_garbage_behind_a_signature_is_damage(tmp_path: Path) -> None:
    pytest.importorskip("rsciio")
    for name, head in (
        ("a.bcf", b"AAMVHFSS"),
        ("b.blo", b"IMGBLO"),
        ("c.sur", b"DSCOMPRESSED"),
        ("d.prz", b"PK"),
    ):
        (tmp_path / name).write_bytes(head + bytes(range(200)))
        with pytest.raises(DamagedFileError, match=r"\[rosettasciio\]"):
            open_scans(tmp_path / name)


def test_missing_extra_is_the_install_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.blo"
    path.write_bytes(b"IMGBLO" + bytes(100))
    monkeypatch.delitem(sys.modules, "rsciio", raising=False)
    real = builtins.__import__

    def absent(name: str, *rest: Any, **named: Any) -> Any:
        if name.startswith("rsciio"):
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", absent)
    monkeypatch.setitem(sys.modules, "rsciio", None)
    with pytest.raises(
        MissingExtraError, match=r"a\.blo: this needs the package 'rsciio': pip install 'micdb\[em\]'"
    ):
        open_scans(path)
