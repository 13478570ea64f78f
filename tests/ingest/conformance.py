"""Real files against what independent readers say of them, field by field.

The manifest beside the real files holds the facts, `conformance_claims` says them in micdb's terms, and
`conformance_differences` explains where another reader and micdb rightly differ.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from conformance_claims import Claim, Item, claims, six_digits
from conformance_differences import DIFFERENCES, JOINED, PAIRS, Difference

from micdb import units
from micdb.errors import MicdbError, MissingExtraError
from micdb.ingest.metadata import flatten
from micdb.ingest.sniff import open_scans
from micdb.records import Axis, Pixels, Scan

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "data" / "formats"
MANIFEST = FOLDER / "manifest.json"
ITEMS: list[Item] = json.loads(MANIFEST.read_text())["items"] if MANIFEST.is_file() else []

_ENERGIES = ("eV", "keV")


class Check(NamedTuple):
    """A claim, what we say, and how the two compare: ``equal``, ``explained`` or ``wrong``."""

    claim: Claim
    ours: Any
    outcome: str
    difference: Difference | None = None


class Report(NamedTuple):
    """What became of one item: scans and checks, or the refusal.

    Parameters
    ----------
    images
        Images of the manifest that are images, not spectra.
    """

    item: Item
    scans: list[Scan]
    checks: list[Check]
    images: int = 0
    refusal: MicdbError | None = None


def reports() -> Iterator[Report]:
    """Return the report of every item."""
    for number in range(len(ITEMS)):
        yield report(number)


def missing_extras() -> bool:
    """Return whether an item is refused only because an optional package is not installed."""
    return any(isinstance(found.refusal, MissingExtraError) for found in reports())


@cache
def report(number: int) -> Report:
    """Open item `number` of the manifest and compare everything that is claimed of it."""
    item = ITEMS[number]
    facts = item["expected"]["facts"] or {}
    try:
        scans = open_scans(FOLDER / item["open"])
        if not facts:
            for scan in scans:
                scan.pixels.read()
    except MicdbError as refusal:
        return Report(item, [], [], refusal=refusal)
    images = [place for place, image in enumerate(facts.get("images") or ()) if not _is_spectral(image)]
    pairs = PAIRS.get(item["open"], dict(zip(images, range(len(scans)), strict=False)))
    joined = [_joined([scans[place] for place in places]) for places in JOINED.get(item["open"], ())]
    pictures = Pictures([*scans, *joined], len(scans))
    found = claims(item, pairs) if facts else ()
    return Report(item, scans, [compare(item["open"], claim, pictures) for claim in found], len(pairs))


def _is_spectral(image: dict[str, Any]) -> bool:
    """Return whether an image of the manifest is a curve, or has a spectrum in every point."""
    axes = image.get("axes")
    energy = isinstance(axes, list) and any(axis["units"] in _ENERGIES for axis in axes)
    return energy or len(image["shape"]) < 2


def _joined(scans: list[Scan]) -> Scan:
    """Return scans of one shape as one with a leading axis, as another reader returns them."""
    one = scans[0].pixels
    pixels = Pixels(
        (len(scans), *one.shape), one.dtype, lambda: np.stack([scan.pixels.read() for scan in scans])
    )
    return replace(scans[0], pixels=pixels, axes=(Axis("joined", len(scans)), *scans[0].axes))


def compare(item: str, claim: Claim, pictures: Pictures) -> Check:
    """Compare one claim with what we say; an explained difference must be exactly as explained."""
    ours = pictures.answer(claim)
    if same(claim, ours):
        return Check(claim, ours, "equal")
    difference = next((row for row in DIFFERENCES if row.covers(item, claim)), None)
    if difference is None or (ours is None and difference.holds is None):
        return Check(claim, ours, "wrong", difference)
    if difference.holds is not None:
        holds = difference.holds(claim.value, ours)
    else:
        holds = claim.field.split()[-1] in STATISTICS and six_digits(
            claim.value, pictures.answer(claim, difference.pixels)
        )
    return Check(claim, ours, "explained" if holds else "wrong", difference)


def same(claim: Claim, ours: Any) -> bool:
    """Return whether ours is the claimed value: numbers to six digits, names by their letters."""
    theirs = claim.value
    if claim.field.startswith("step") and units.known(claim.unit) is None:
        return ours is None  # "1" without a unit, "1 pix", "1 []": nobody measured it
    if ours is None:
        return theirs is None
    if claim.field == "channel":  # readers join it with the direction, or with the detector
        one, other = _letters(theirs), _letters(ours)
        return one in other or other in one
    if claim.field == "unit":
        return units.compatible(units.known(theirs), ours)
    if claim.field == "date" and "T" not in theirs:
        return bool(theirs == ours.partition("T")[0])
    if isinstance(theirs, int | float) and isinstance(ours, int | float):
        return six_digits(theirs, ours)
    return bool(theirs == ours)


def _letters(name: str) -> str:
    return re.sub(r"[\W_]", "", name).lower()


def unclaimed(report_: Report) -> dict[str, Any]:
    """Return what we say and no reader does, settings, date and steps, from the first scan that has each."""
    claimed = {check.claim.field for check in report_.checks}
    found: dict[str, Any] = {}
    for scan in report_.scans:
        said = {name: quantity.value for name, quantity in scan.settings.items()}
        said |= {"date": scan.acquired} if scan.acquired else {}
        if not any(field.startswith("step") for field in claimed):
            said |= {f"step {axis.name}": axis.step for axis in scan.axes if axis.step is not None}
        found = {name: value for name, value in said.items() if name not in claimed} | found
    return found


class Pictures:
    """The scans of one item, and what they answer to a claim; pixels are read once."""

    def __init__(self, scans: list[Scan], count: int) -> None:
        self.scans = scans
        self.count = count  # without the joined ones
        self._arrays: dict[tuple[int, bool], np.ndarray] = {}

    def answer(self, claim: Claim, seen: Callable[[np.ndarray], np.ndarray] | None = None) -> Any:
        """Return our value for the field of a claim, in the claim's unit; None where we have none.

        Statistics are those of what another reader has `seen` in our pixels.
        """
        if claim.image >= len(self.scans):
            return None
        scan, field = self.scans[claim.image], claim.field
        if field.split()[-1] in STATISTICS:
            array = self._array(claim.image, first=field.startswith("first frame"))
            return _statistic(scan, seen(array) if seen is not None else array, claim)
        if field.startswith(("step ", "extent ", "reach ")):
            return _length(scan, field, claim.unit)
        if field.startswith("unit of axis "):
            return scan.axes[int(field[-1])].unit
        if field.startswith("original "):
            return _kept(scan, field.removeprefix("original "), claim.value)
        if field == "scans":
            return self.count
        return _SIMPLE[field](scan) if field in _SIMPLE else _setting(scan, field, claim.unit)

    def _array(self, number: int, *, first: bool) -> np.ndarray:
        if (number, first) not in self._arrays:
            scan = self.scans[number]
            whole = next(scan.pixels.frames(colour=scan.colour)) if first else scan.pixels.read()
            self._arrays[number, first] = whole
        return self._arrays[number, first]


def _finite(array: np.ndarray) -> np.ndarray:
    return array[np.isfinite(array)].astype(np.float64)


STATISTICS: dict[str, Callable[[np.ndarray], float]] = {
    "min": lambda array: _finite(array).min(),
    "max": lambda array: _finite(array).max(),
    "mean": lambda array: _finite(array).mean(),
    "std": lambda array: _finite(array).std(),
    "ptp": lambda array: np.ptp(_finite(array)),
    "n_nonfinite": lambda array: array.size - np.isfinite(array).sum(),
}


def _statistic(scan: Scan, array: np.ndarray, claim: Claim) -> float:
    name = claim.field.split()[-1]
    value = float(STATISTICS[name](np.abs(array) if np.iscomplexobj(array) else array))
    ours, theirs = scan.intensity_unit, units.known(claim.unit)
    if theirs is None or name == "n_nonfinite" or not units.compatible(ours, theirs):
        return value
    return units.convert(value, ours, theirs)


def _length(scan: Scan, field: str, unit: str | None) -> float | None:
    """Return a step, the whole extent (N steps) or the reach (N - 1 steps) of an axis."""
    what, name = field.split(" ", 1)
    place = name.removeprefix("of axis ")
    axis = scan.axes[int(place)] if place != name else scan.axis(name)
    if axis.step is None:
        return None
    wanted, number = units.known(unit), axis.step
    if wanted is not None:
        number = units.convert(axis.step, axis.unit, wanted)
    return number * {"step": 1, "extent": axis.size, "reach": axis.size - 1}[what]


def _setting(scan: Scan, name: str, unit: str | None) -> Any:
    quantity = scan.settings.get(name)
    if quantity is None or isinstance(quantity.value, str):
        return quantity and quantity.value
    return quantity.to(unit) if unit else quantity.value


def _kept(scan: Scan, key: str, value: Any) -> Any:
    """Return the value where the vendor's metadata holds it under a key that is none of our settings."""
    for path, kept in flatten(scan.original).items():
        if path.split(".")[-1].lower() == key.lower() and (str(kept) == str(value) or _equals(kept, value)):
            return value
    return None


def _equals(one: Any, other: Any) -> bool:
    try:
        return float(one) == float(other)
    except (TypeError, ValueError):
        return False


def _lines(scan: Scan) -> int:
    found = [re.search(r"after (\d+) of", problem) for problem in scan.problems]
    return next((int(match[1]) for match in found if match), scan.axis("y").size)


_SIMPLE: dict[str, Callable[[Scan], Any]] = {
    "shape": lambda scan: scan.pixels.shape,
    "dtype": lambda scan: scan.pixels.dtype,
    "frames": lambda scan: scan.n_frames,
    "channel": lambda scan: scan.channel or scan.name,
    "unit": lambda scan: scan.intensity_unit,
    "modality": lambda scan: scan.modality,
    "date": lambda scan: scan.acquired and datetime.fromisoformat(scan.acquired).isoformat(),
    "time": lambda scan: scan.acquired and scan.acquired.partition("T")[2],
    "date as written": lambda scan: scan.acquired_raw,
    "lines recorded": _lines,
}
