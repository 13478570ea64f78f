"""What a TIFF dialect says of an image, and what the vendors' functions share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from micdb.ingest.metadata import Settings, local_time, measure, text, tolerate
from micdb.records import Modality, Origin, Quantity


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
        Short name of the dialect, for `micdb.records.Source`.
    steps
        Axis name (``y``, ``x``, ``z``, ``time``) -> calibration; what is not there is unknown.
    channels
        Names of the channels, where the image has several.
    parts
        Further files that were read.
    """

    format: str = "tif"
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
        """Add the settings and problems a vendor table gave."""
        self.settings.update(found.values)
        self.problems.extend(found.problems)

    def calibrate(self, axis: str, value: Any, *, unit: str | None = None, origin: Origin = "file") -> None:
        """Set the step of an axis from a vendor's number, or write down why it stays unknown."""
        with tolerate(self.problems, f"the pixel size along {axis}"):
            number, own = measure(value, unit=unit)
            if number > 0 and own is not None:
                self.steps[axis] = Step(number, own, 0.0, origin)
            else:
                self.problems.append(f"pixel size along {axis} unknown: the file says {text(value)!r}")


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
            section = tree.setdefault(bare[1:-1], {})
        elif "=" in bare:
            key, _, value = bare.partition("=")
            section[key.strip()] = value.strip()
    return tree


def calibrate_unless_resampled(
    header: Header, page: Any, sizes: Mapping[str, Any], *, unit: str | None, recorded_width: Any
) -> None:
    """Calibrate y and x, except where an editor changed the width and left the old pixel size in the tag."""
    width = str(recorded_width or "").split("*")[0].strip()
    if width.isdigit() and int(width) not in (0, page.imagewidth):
        header.problems.append(
            f"pixel size unknown: recorded {width} pixels wide, but the image now has {page.imagewidth}"
        )
        return
    for axis, size in sizes.items():
        if size is not None and text(size):
            header.calibrate(axis, size, unit=unit)


def set_date(header: Header, day: Any, clock: Any, *, formats: tuple[str, ...]) -> None:
    """Set the moment of acquisition from the vendor's date and time, by the vendor's own patterns."""
    header.acquired_raw = " ".join(text(part) for part in (day, clock) if part) or None
    if header.acquired_raw:
        header.acquired = local_time(header.acquired_raw, formats)
