r"""The text header of NanoScope files: lists of parameters, and what a stored number is worth.

A parameter is ``\Key: value``. From version 4.3 on some are ``\@2:Key: V [soft scale] (hard scale) value
unit`` (after "General Format for CIAO Parameter Objects" of the NanoScope user's guide): ``value`` is what
the full range of the stored integers, 2^16 or 2^32, stands for; the soft scale names a sensitivity
elsewhere in the header, ``\@Sens. Zscan: V 12.3 nm/V``, that turns volts into the quantity.
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple

from micdb import units
from micdb.errors import UnitError

IMAGE_LISTS = frozenset(
    {"ciao image list", "afm image list", "stm image list", "ncafm image list", "image list"}
)
SCAN_LISTS = frozenset({"ciao scan list", "afm list", "stm list", "nc afm list"})
SCANNER_LISTS = frozenset({"scanner list", "microscope list"})

# A key may begin with @ and a group number: "@2:Z scale".
_LINE = re.compile(r"\\(@?(?:\d+:)?[^:]+):\s*(.*)")
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_VALUE = re.compile(rf"V\s+(?:\[([^\]]*)\]\s*)?(?:\(\s*({_NUMBER})[^/]*/LSB\)\s*)?({_NUMBER})\s*(\S*)")
_OLD_VALUE = re.compile(rf"({_NUMBER})\s+([^\s(]+)\s*(?:\(({_NUMBER})\))?\s*")
_SIZE = re.compile(rf"({_NUMBER})\s+(?:({_NUMBER})\s+)?(\S+)")
_SELECTED = re.compile(r'S\s+(?:\[([^\]]*)\]\s*)?(?:"([^"]*)")?')


class Section(NamedTuple):
    """One list of the header."""

    name: str
    fields: dict[str, str]  # as written

    def get(self, key: str) -> str:
        """Return a field, empty where it is missing; the versions differ in upper and lower case."""
        wanted = key.lower()
        return next((value for name, value in self.fields.items() if name.lower() == wanted), "")

    def count(self, key: str) -> int:
        """Return the first whole number of a field, or 0."""
        found = re.match(r"\d{1,10}\b", self.get(key))
        return int(found[0]) if found else 0

    def selected(self, key: str) -> tuple[str, str]:
        """Return the name in brackets and the one in quotes of an ``S`` parameter."""
        found = _SELECTED.match(self.get(key))
        return (found[1] or "", found[2] or "") if found else ("", "")


def sections(header: str) -> list[Section]:
    """Return the lists of the header in order."""
    found: list[Section] = []
    for line in header.splitlines():
        if line.startswith("\\*"):
            found.append(Section(line[2:].strip(), {}))
        elif found and (match := _LINE.match(line)):
            found[-1].fields[match[1].strip()] = match[2].strip()
    return found


class Value(NamedTuple):
    """A ``V`` parameter."""

    soft: str  # name of the sensitivity, empty where there is none
    per_unit: float | None  # the hard scale, worth of one stored unit
    number: float
    unit: str

    @classmethod
    def parse(cls, written: str) -> Value | None:
        """Return the parts of a parameter, or None where it is no ``V`` parameter."""
        found = _VALUE.match(written)
        if found is None:
            return None
        hard = float(found[2]) if found[2] else None
        value = cls(found[1] or "", hard, float(found[3]), found[4])
        return value if math.isfinite(value.number) else None


class Scale(NamedTuple):
    """What a stored unit is worth; no factor where the header does not make it certain."""

    factor: float | None
    unit: str | None
    problem: str | None = None


def scale(image: Section, others: list[Section], bytes_of_scale: int) -> Scale:
    """Return the worth of a stored unit of an image.

    Parameters
    ----------
    image
        Its list.
    others
        The lists in which its sensitivity may stand.
    bytes_of_scale
        ``Bytes/pixel``: 2 or 4. From version 9.2 on the integers always have 32 bits, but this number
        still says of which range, 2^16 or 2^32, the scale is the whole.
    """
    if bytes_of_scale not in (1, 2, 4):
        return Scale(None, None, f"values are raw counts: Bytes/pixel is {bytes_of_scale}")
    whole = 256**bytes_of_scale
    old = image.get("Z scale")
    if old:
        return _old_scale(old, whole)
    values = (Value.parse(image.get(f"@{group}:Z scale")) for group in (4, 2, 3))
    value = next((found for found in values if found), None)
    if value is None:
        return Scale(None, None, "values are raw counts: the header has no Z scale that micdb can read")
    if value.per_unit and not math.isclose(
        value.per_unit * whole, value.number, rel_tol=0.01, abs_tol=whole * 1e-14
    ):
        found = f"{value.per_unit} {value.unit} a unit and {value.number} {value.unit} for {whole}"
        return Scale(None, None, f"values are raw counts: the Z scale contradicts itself, {found}")
    worth = sensed(value, others, whole)
    if worth.factor is not None and not (worth.factor and math.isfinite(worth.factor)):
        return Scale(None, None, f"values are raw counts: a unit is worth {worth.factor} {worth.unit}")
    return worth


def _old_scale(written: str, whole: int) -> Scale:
    """Read ``Z scale: 800 nm``, with or without the number of units it stands for."""
    found = _OLD_VALUE.fullmatch(written)
    if (
        found is None
        or not 0 < abs(float(found[1])) < math.inf
        or (found[3] and float(found[3]) not in (whole, whole - 1))
    ):
        return Scale(None, None, f"values are raw counts: Z scale is {written!r}")
    return Scale(float(found[1]) / whole, units.known(found[2].replace("~", "u")))


def sensed(value: Value, others: list[Section], whole: int) -> Scale:
    """Return the worth of one of `whole` parts of a parameter, by its sensitivity where it names one."""
    factor, unit, problem = value.number / whole, value.unit, None
    if value.soft:
        texts = (section.get(f"@{value.soft}") for section in others)
        sense = next((found for text in texts if (found := Value.parse(text))), None)
        if sense is None:
            problem = f"sensitivity {value.soft!r} is missing: values are in {unit}, as measured"
        else:
            quantity, slash, per = sense.unit.partition("/")
            converted = _converted(value.unit, per)
            if converted is None or "*" in per:
                said = f"{sense.unit} of a scale in {value.unit}"
                return Scale(None, None, f"values are raw counts: {value.soft!r} is {said}")
            factor *= sense.number * converted
            unit = quantity if slash else value.unit
    return Scale(factor, units.known(unit), problem)


def _converted(unit: str, to: str) -> float | None:
    """Return how many `to` are in one `unit`; 1 where nothing is to be converted."""
    if not to or unit == to:
        return 1.0
    try:
        return units.convert(1.0, units.normalise(unit), units.normalise(to))
    except UnitError:
        return None


class Size(NamedTuple):
    """Lengths of a scan's sides, fast axis first."""

    x: float
    y: float
    unit: str

    @classmethod
    def parse(cls, written: str) -> Size | None:
        """Read ``15 15 ~m`` or ``15000 nm``; ``~`` stands for micro."""
        found = _SIZE.fullmatch(written.strip())
        unit = units.known(found[3].replace("~", "u")) if found else None
        if found is None or unit is None or not units.compatible(unit, "m"):
            return None
        x, y = float(found[1]), float(found[2] or found[1])
        return cls(x, y, unit) if min(x, y) > 0 and math.isfinite(x * y) else None

    def x_in_um(self) -> float:
        """Return the length of the fast axis [um]."""
        return units.convert(self.x, self.unit, "um")


def aspect(section: Section | None) -> float:
    """Return width over height of a scan: ``2:1``, or one number; 1 where the header does not say."""
    parts = section.get("Aspect ratio").split(":") if section else []
    try:
        numbers = [float(part) for part in parts]
        ratio = numbers[0] / numbers[1] if len(numbers) == 2 else numbers[0]
    except (ValueError, IndexError, ZeroDivisionError):
        return 1.0
    return ratio if ratio > 0 and math.isfinite(ratio) else 1.0


class Steps(NamedTuple):
    """Distances of lines and pixels; None where they are not certain."""

    y: float | None
    x: float | None
    unit: str | None


def steps(image: Section, frame: Section | None, shape: tuple[int, int]) -> Steps:
    """Return the steps of an image ``(y, x)``; `frame` is the list of the scan."""
    size = Size.parse(image.get("Scan size"))
    if size is None:
        return Steps(None, None, None)
    return Steps(_step_y(size, image, frame, shape), size.x / shape[1], size.unit)


def _step_y(size: Size, image: Section, frame: Section | None, shape: tuple[int, int]) -> float | None:
    """Return the step between lines.

    Where the aspect ratio is not 1, the second scan size repeats the width. An image may also be the part of
    a frame that was finished when the scan was stopped; its aspect ratio is then some number, and the
    frame's own ratio and lines count. Where these disagree, only square pixels are believed.
    """

    def square(candidate: float) -> bool:
        return math.isclose(candidate, size.x / shape[1], rel_tol=0.01)

    ratio, lines = aspect(image), frame.count("Lines") if frame else 0
    if ratio == 1 or not math.isclose(size.x, size.y, rel_tol=1e-6):
        step = size.y / shape[0]
        return step if square(step) or lines in (0, shape[0]) else None
    step = size.y / ratio / shape[0]
    if square(step):
        return step
    frame_ratio = aspect(frame)
    step = size.y / frame_ratio / lines if lines else 0.0
    return step if lines and (frame_ratio == 1 or square(step)) else None
