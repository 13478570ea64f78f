"""Real files of other people: what every item of the corpus gives, or why it is refused.

Expected facts come from independent readers (see the corpus' own README). Run with ``-rP`` to see the table.
"""

from __future__ import annotations

import json
import math
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from micdb import units
from micdb.errors import MicdbError, MissingExtraError, NotAnImageError
from micdb.ingest.sniff import open_scans
from micdb.records import Scan

MANIFEST = Path(__file__).resolve().parents[3] / "shared" / "data" / "formats" / "manifest.json"
ITEMS: list[dict[str, Any]] = json.loads(MANIFEST.read_text())["items"] if MANIFEST.is_file() else []

READ = {
    "dm3", "dm4", "emd_velox", "emd_ncem", "mrc", "sem_tif_fei", "sem_tif_zeiss", "sem_tif_tescan", "tem_tif",
    "tif_dm", "tif_imagej", "tif_ome", "tif_plain", "gwy", "nanonis_sxm", "igor_ibw",
}  # fmt: skip
# The extra "em"; where it is missing, the refusal is its install line.
READ_BY_EXTRA = {
    "bcf", "blo", "digitalsurf", "jeol_img", "merlin_mib", "pantarhei", "phenom_elid", "semper", "tia",
    "tvips",
}  # fmt: skip

# Items that are an image to the corpus' reader and that we refuse, and why.
REFUSED = {
    "dm4/test_fft_packed_complex8.dm4": "a computed half spectrum, packed by DigitalMicrograph",
}

# Facts in which the corpus' reader and ours rightly differ: (open, fact) -> why. The fact is not compared.
DIFFERENT = {
    ("bcf/Hitachi_TM3030Plus.bcf", "pixel_size"): "1 pix is no scale",
    ("emd_ncem/example_metadata.emd", "pixel_size"): "1 [] is no scale",
    ("emd_ncem/Si100_2D_3D_DPC_potential_2slices.emd", "shape"): "rsciio joins the depths into one array",
    ("emd_ncem/Si100_2D_3D_DPC_potential_2slices.emd", "n_frames"): "rsciio joins the depths into one array",
    ("emd_ncem/Si100_2D_3D_DPC_potential_2slices.emd", "stats"): "rsciio joins the depths into one array",
    ("tem_tif/olympus_SIS.tif", "pixel_size"): "page 0 is a preview; the second scan is calibrated",
    ("phenom_elid/Elid2Version1.elid", "n_frames"): "null in the manifest: rsciio calls the image a map",
}  # fmt: skip
NOT_IMAGES = {"spectrum", "sidecar", "orphan", "malformed"}


def identity(item: dict[str, Any]) -> str:
    return str(item["open"])


def refuses(item: dict[str, Any]) -> bool:
    known = item["format"] in READ or (item["format"] in READ_BY_EXTRA and find_spec("rsciio") is not None)
    kind = {item["content"], item["technique"]}
    return not known or identity(item) in REFUSED or bool(kind & NOT_IMAGES)


def first(item: dict[str, Any], scans: list[Scan]) -> Scan:
    """Return the scan that the manifest's facts describe: the first of the file."""
    wanted = item["expected"]["facts"]["images"][0]["shape"]
    return next((scan for scan in scans if list(scan.pixels.shape) == wanted), scans[0])


def six(value: float) -> float:
    return float(f"{value:.6g}")


def check_pixel_size(scan: Scan, expected: dict[str, Any] | None) -> None:
    for name in ("x", "y"):
        axis, fact = scan.axis(name), (expected or {}).get(name)
        if fact is None or units.known(fact["unit"]) is None:
            assert axis.step is None, f"{name}: {axis} where the corpus knows no scale"
            continue
        assert axis.unit is not None, f"{name}: no unit, expected {fact}"
        step = axis.step_in(str(units.normalise(fact["unit"])))
        assert step == pytest.approx(abs(fact["value"]), rel=1e-5), f"{name}: {axis}, expected {fact}"


def check_stats(scan: Scan, expected: dict[str, Any], n_frames: int | None) -> None:
    """Compare the first image, or the whole stack where the corpus' reader took all frames together."""
    array = scan.pixels.read()
    values = (np.abs(array) if np.iscomplexobj(array) else array).astype(np.float64)
    flat = values.reshape(-1, *values.shape[len(scan.frame_axes) :])
    candidates = [flat[0], values] if (n_frames or 1) > 1 else [values]
    found = [
        {"min": part.min(), "max": part.max(), "mean": part.mean(), "std": part.std(), "ptp": np.ptp(part)}
        for part in candidates
    ]
    assert any(
        all(math.isclose(six(stats[key]), expected[key], rel_tol=2e-5, abs_tol=1e-30) for key in stats)
        for stats in found
    ), f"{found}, expected {expected}"


def check(item: dict[str, Any], scans: list[Scan]) -> None:
    facts = item["expected"]["facts"]
    image, scan = facts["images"][0], first(item, scans)
    skipped = {fact for name, fact in DIFFERENT if name == identity(item)}
    if "shape" not in skipped:
        colour = [] if "R+G" not in str(image["dtype"]) else [3]
        assert list(scan.pixels.shape) == [*image["shape"], *colour]
    if image["dtype"] and "R+G" not in image["dtype"]:
        assert np.dtype(scan.pixels.dtype) == np.dtype(image["dtype"]).newbyteorder("=")
    if facts["n_frames"] is not None and "n_frames" not in skipped:
        assert scan.n_frames == facts["n_frames"]
    if "pixel_size" not in skipped:
        check_pixel_size(scan, facts["pixel_size"])
    if facts["first_image_stats"] and "stats" not in skipped:
        check_stats(scan, facts["first_image_stats"], facts["n_frames"])
    pairs = (("accelerating_voltage", "accelerating_voltage_V"), ("magnification", "magnification"))
    for setting, fact in pairs:
        if facts[fact] is not None:
            assert scan.settings[setting].value == pytest.approx(facts[fact], rel=1e-5), setting


def row(item: dict[str, Any], scans: list[Scan]) -> str:
    scan = first(item, scans)
    x = scan.axis("x")
    size = f"{x.step:.5g} {x.unit}" if x.step is not None else "unknown"
    voltage = scan.settings.get("accelerating_voltage")
    magnification = scan.settings.get("magnification")
    cells = [
        f"{item['open']:<62}", scan.source.reader, str(scan.pixels.shape), scan.pixels.dtype, size,
        f"{voltage.value:g} V" if voltage else "-", f"x{magnification.value:g}" if magnification else "-",
        f"{len(scans)} scan(s)",
    ]  # fmt: skip
    return " | ".join(cells)


@pytest.mark.skipif(not ITEMS, reason="real data (../shared/data) is not beside this checkout")
@pytest.mark.parametrize("item", ITEMS or [None], ids=lambda item: str(item and item["id"]))
def test_item(item: dict[str, Any]) -> None:
    path = MANIFEST.parent / item["open"]
    if refuses(item):
        with pytest.raises(MicdbError) as caught:
            [scan.pixels.read() for scan in open_scans(path)]
        assert len(str(caught.value)) > len(str(path)) + 10, "a refusal has a reason"
        print(f"{item['open']:<62} | refused: {type(caught.value).__name__}")
        return
    scans = open_scans(path)
    print(row(item, scans))
    check(item, scans)


@pytest.mark.skipif(not ITEMS, reason="real data (../shared/data) is not beside this checkout")
def test_every_file_of_the_corpus_gives_scans_or_a_micdb_error() -> None:
    """Parts and sidecars too: nothing but a `MicdbError`, and never a promise that is not kept."""
    for file in sorted(MANIFEST.parent.rglob("*")):
        if not file.is_file():
            continue
        try:
            for scan in open_scans(file):
                assert scan.pixels.read().shape == scan.pixels.shape
        except MicdbError as error:
            assert isinstance(error, MissingExtraError | NotAnImageError) or str(file) in str(error)
