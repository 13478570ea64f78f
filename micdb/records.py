"""Frozen records handed between layers. Nothing here reads files, SQL or HDF5."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from micdb import units
from micdb.errors import UnitError

if TYPE_CHECKING:
    import numpy as np

Origin = Literal["file", "sidecar", "derived", "user"]
Modality = Literal["SEM", "TEM", "STEM", "STM", "AFM", "optical", "diffraction"]

# Names every reader maps vendor keys to, with the unit the catalog keeps them in.
SETTINGS: dict[str, str | None] = {
    "accelerating_voltage": "V",
    "magnification": None,
    "working_distance": "mm",
    "dwell_time": "s",
    "exposure_time": "s",
    "beam_current": "A",
    "emission_current": "A",
    "spot_size": None,
    "camera_length": "mm",
    "defocus": "nm",
    "convergence_angle": "mrad",
    "bias": "V",
    "setpoint_current": "A",
    "scan_speed": "m/s",
    "scan_angle": "deg",
    "stage_x": "mm",
    "stage_y": "mm",
    "stage_z": "mm",
    "stage_rotation": "deg",
    "stage_tilt": "deg",
    "stage_tilt_beta": "deg",
    "offset_x": "nm",
    "offset_y": "nm",
    "temperature": "K",
    "detector": None,
    "instrument": None,
    "vendor": None,
    "operator": None,
    "sample": None,
    "comment": None,
    "signal": None,
}


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number or text as a file or a person gave it.

    Parameters
    ----------
    value
        Number, or text where the setting is a name.
    unit
        Unit in micdb's spelling; None for plain numbers and text.
    origin
        Who says so: the ``file``, a ``sidecar``, ``derived`` by a convention, the ``user``.
    raw
        Where and how it was written, for example ``AP_ACTUALKV = 5 kV``.
    """

    value: float | str
    unit: str | None = None
    origin: Origin = "file"
    raw: str | None = None

    def to(self, unit: str | None) -> float:
        """Return the number in another unit; raises `UnitError` for a wrong dimension or for text."""
        if isinstance(self.value, str):
            raise UnitError(f"{self.value!r} is text, not a number in {unit}")
        return units.convert(self.value, self.unit, unit)


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of an array.

    Parameters
    ----------
    name
        ``y``, ``x``, ``colour``, or the name of a leading axis: ``time``, ``z``, ``frame``, ``scan_y``.
    size
        Number of samples.
    step
        Distance between samples in `unit`, signed; None when the file does not say. Never a fake 1.0.
    offset
        Position of the first sample in `unit`.
    unit
        Unit in micdb's spelling; None when the file does not say.
    origin
        Who says so.
    """

    name: str
    size: int
    step: float | None = None
    offset: float = 0.0
    unit: str | None = None
    origin: Origin = "file"

    @property
    def calibrated(self) -> bool:
        """Whether a step and a unit are known."""
        return self.step is not None and self.unit is not None

    def step_in(self, unit: str) -> float | None:
        """Return the absolute step in `unit`, or None when unknown or of another dimension."""
        if self.step is None or self.unit is None or not units.compatible(self.unit, unit):
            return None
        return abs(units.convert(self.step, self.unit, unit))


@dataclass(frozen=True, slots=True)
class Pixels:
    """An array that is read when asked for.

    Parameters
    ----------
    shape
        ``(y, x)``, ``(frame, y, x)``, or with more leading axes; colour images end in ``(y, x, 3 or 4)``.
    dtype
        Native-endian numpy dtype of the array, as text: ``uint16``, ``complex64``.
    load
        Returns the whole array with exactly that shape and dtype.
    load_frame
        Returns frame `i` of the flattened leading axes (C order): every stack that may be too big for
        memory has one.
    stream
        Yields every frame of the flattened leading axes in order, in one pass over the file, few of them
        in memory at a time: for files where opening or seeking anew for each frame is dear (video,
        thousands of TIFF pages). None where `load_frame` is as cheap.
    """

    shape: tuple[int, ...]
    dtype: str
    load: Callable[[], np.ndarray]
    load_frame: Callable[[int], np.ndarray] | None = None
    stream: Callable[[], Iterator[np.ndarray]] | None = None

    def read(self) -> np.ndarray:
        """Return the whole array."""
        return self.load()

    def frames(self, *, colour: bool = False) -> Iterator[np.ndarray]:
        """Yield every ``(y, x)`` frame (``(y, x, 3 or 4)`` if `colour`) in order, few in memory at a time.

        An array without `stream` and `load_frame` is read whole.
        """
        leading = self.shape[: -3 if colour else -2]
        if self.stream is not None:
            yield from self.stream()
        elif self.load_frame is not None and leading:
            for number in range(math.prod(leading)):
                yield self.load_frame(number)
        else:
            yield from self.load().reshape(-1, *self.shape[len(leading) :])


@dataclass(frozen=True, slots=True)
class Source:
    """Where a scan came from.

    Parameters
    ----------
    path
        The file that was opened, as given.
    format
        Short name of the format: ``dm3``, ``tif_fei``.
    reader, reader_version
        The reader's registered name, and the version of the library that parsed the file.
    index
        Position of this image among the images of the file.
    parts
        Further files that belong to it (``.emi`` + ``.ser``, ``.tif`` + ``.txt``).
    """

    path: str
    format: str
    reader: str
    reader_version: str
    index: int = 0
    parts: tuple[str, ...] = ()


class OnAxes:
    """What follows from the axes of an image: its frames and its colour."""

    __slots__ = ()
    axes: tuple[Axis, ...]

    def axis(self, name: str) -> Axis:
        """Return the axis of that name; raises `KeyError` when there is none."""
        for axis in self.axes:
            if axis.name == name:
                return axis
        raise KeyError(name)

    @property
    def colour(self) -> bool:
        """Whether the last axis holds colour samples."""
        return self.axes[-1].name == "colour"

    @property
    def frame_axes(self) -> tuple[Axis, ...]:
        """The leading axes, before ``y``."""
        return self.axes[: len(self.axes) - (3 if self.colour else 2)]

    @property
    def n_frames(self) -> int:
        """Number of images along all leading axes."""
        return math.prod(axis.size for axis in self.frame_axes)


@dataclass(frozen=True, slots=True)
class Scan(OnAxes):
    """One image of one channel, with its axes and what the file says of it.

    Parameters
    ----------
    pixels
        The array, unread.
    axes
        One `Axis` per dimension of the array, in order; the image axes are named ``y`` and ``x``.
    name
        Title of the image in the file, or the file's stem.
    source
        Where it came from.
    channel
        Detector or channel as the file names it; None when it does not.
    modality
        How it was taken; None when the file does not say.
    intensity_unit
        Unit of the pixel values; None for raw counts.
    acquired
        Moment of acquisition, ISO 8601; without zone it is local time of an unknown zone.
    acquired_raw
        The same as the file wrote it.
    settings
        Instrument settings by the names of `SETTINGS`.
    original
        The vendor's metadata, untouched, ready for JSON.
    problems
        What could not be read and was left unknown, one sentence each.
    """

    pixels: Pixels
    axes: tuple[Axis, ...]
    name: str
    source: Source
    channel: str | None = None
    modality: Modality | None = None
    intensity_unit: str | None = None
    acquired: str | None = None
    acquired_raw: str | None = None
    settings: Mapping[str, Quantity] = field(default_factory=dict)
    original: Mapping[str, Any] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Picture:
    """One stored micrograph as an extractor sees it.

    Parameters
    ----------
    image
        ``pk`` of the micrograph: the value of the ``image`` column in every derived table.
    pixels
        ``(frame, y, x)`` float32, colour already turned to luminance; values as stored, NaN kept.
    pixel_size
        ``(y, x)`` [nm], or None when the image has no length scale.
    modality, channel, name
        As in the catalog; None when unknown.
    """

    image: int
    pixels: np.ndarray
    pixel_size: tuple[float, float] | None
    modality: str | None
    channel: str | None
    name: str

    @property
    def frames(self) -> Iterator[np.ndarray]:
        """Each ``(y, x)`` image in order."""
        return iter(self.pixels)


@dataclass(frozen=True, slots=True)
class Refusal:
    """An extractor's honest no for one image; kept as a row, with the reason.

    Parameters
    ----------
    image
        ``pk`` of the micrograph.
    reason
        What was found and what was expected, one sentence.
    """

    image: int
    reason: str
