"""What a TIFF dialect or a sidecar says of an image, and what the vendors' functions share."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from micdb.ingest.metadata import Key, Settings, apply, local_time, measure, text, tolerate
from micdb.records import Modality, Origin, Quantity

Size = tuple[int, int]  # width, height [pixel]


class Step(NamedTuple):
    """Calibration of one axis: step and position of the first sample in `unit`."""

    step: float
    unit: str
    offset: float = 0.0
    origin: Origin = "file"


@dataclass(slots=True)
class Header:
    """What a vendor's tags say of one image.

    Parameters
    ----------
    format
        Short name of the dialect, for `micdb.records.Source`; empty where nothing was found.
    steps
        Axis name (``y``, ``x``, ``z``, ``time``) -> calibration; what is not there is unknown.
    channels
        Names of the channels, where the image has several.
    parts
        Further files that were read.
    """

    format: str = ""
    steps: dict[str, Step] = field(default_factory=dict)
    channels: list[str] = field(default_factory=list)
    modality: Modality | None = None
    acquired: str | None = None
    acquired_raw: str | None = None
    settings: dict[str, Quantity] = field(default_factory=dict)
    original: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    parts: tuple[str, ...] = ()

    def take(self, found: Settings) -> None:
        """Add the settings and problems a vendor table gave; what is known already stays."""
        self.settings |= {name: value for name, value in found.values.items() if name not in self.settings}
        self.problems.extend(found.problems)

    def map(self, table: Iterable[Key], flat: Mapping[str, Any], *, origin: Origin = "file") -> None:
        """Add the settings of a flat vendor dictionary."""
        self.take(apply(table, flat, origin=origin))

    def calibrate(self, axis: str, value: Any, *, unit: str | None = None, origin: Origin = "file") -> None:
        """Set the step of an axis from a vendor's number, or write down why it stays unknown."""
        with tolerate(self.problems, f"the pixel size along {axis}"):
            number, own = measure(value, unit=unit)
            if number > 0 and own is not None:
                self.steps[axis] = Step(number, own, 0.0, origin)
            else:
                self.problems.append(f"pixel size along {axis} unknown: the file says {text(value)!r}")

    def calibrate_both(self, value: Any, *, unit: str | None = None, origin: Origin = "file") -> None:
        """Set the steps of y and x from one number."""
        self.calibrate("y", value, unit=unit, origin=origin)
        self.calibrate("x", value, unit=unit, origin=origin)


def raw_tag(page: Any, tag: int) -> bytes:
    """Return the bytes of a tag as they stand in the file: libraries turn texts into numbers and back."""
    entry = page.tags[tag]
    handle = page.parent.filehandle
    handle.seek(entry.valueoffset)
    return bytes(handle.read(entry.valuebytecount))


def ini(written: str) -> dict[str, Any]:
    """Return ``[section]`` / ``key=value`` text as nested dictionaries; keys before any section on top."""
    tree: dict[str, Any] = {}
    section = tree
    for line in written.splitlines():
        bare = line.strip().strip("\x00")
        if bare.startswith("[") and bare.endswith("]"):
            found = tree.setdefault(bare[1:-1], {})
            section = found if isinstance(found, dict) else {}
        elif "=" in bare:
            key, _, value = bare.partition("=")
            section[key.strip()] = value.strip()
    return tree


def resampled(header: Header, page: Any, recorded_width: Any) -> bool:
    """Say whether an editor changed the width and left the old pixel size in the tag; notes it if so."""
    width = str(recorded_width or "").split("*")[0].strip()
    if not width.isdigit() or int(width) in (0, page.imagewidth):
        return False
    header.problems.append(
        f"pixel size unknown: recorded {width} pixels wide, but the image now has {page.imagewidth}"
    )
    return True


def other_size(header: Header, stated: Any, size: Size, *, bar: int = 0) -> bool:
    """Say, and write down, that a text names another size; `bar` rows of data bar may be added below."""
    numbers = [int(number) for number in re.findall(r"\d+", str(stated or ""))[:2]]
    if len(numbers) < 2 or 0 in numbers:
        return False
    width, height = numbers
    if width == size[0] and height <= size[1] <= height + bar:
        return False
    header.problems.append(f"it says {width} x {height} pixels, the picture has {size[0]} x {size[1]}")
    return True


def set_date(header: Header, day: Any, clock: Any, *, formats: tuple[str, ...]) -> None:
    """Set the moment of acquisition from the vendor's date and time, by the vendor's own patterns."""
    header.acquired_raw = " ".join(text(part) for part in (day, clock) if part) or None
    if header.acquired_raw:
        header.acquired = local_time(header.acquired_raw, formats)
