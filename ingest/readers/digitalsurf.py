"""Digital Surf surfaces and images (.sur): MountainsMap, Attolight, many profilers.

The bytes are those of `micdb.ingest.readers.digitalsurf_objects`. Rows run from the top. Steps and heights
are in the units of the steps; the other units of a header only say what the program shows. Series are
stacks, layers are scans of their own; a surface with an image is one scan for each.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from micdb import units
from micdb.errors import DamagedFileError, NotAnImageError
from micdb.ingest.metadata import Key, apply, local_time, plain, text
from micdb.ingest.reader import Format, Reader
from micdb.ingest.readers.digitalsurf_objects import COMPRESSED, PLAIN, Object, Points, first_header, objects
from micdb.provenance import package_version
from micdb.records import Axis, Modality, Pixels, Scan, Source

if TYPE_CHECKING:
    import numpy as np

# Types of object. The other images are surface, layers, intensity image, and surface with intensity.
_PROFILE, _BINARY, _SERIES, _RGB_SERIES = 1, 3, 5, 18
_COLOURED = {12, 13, 16}  # image, surface, surface with intensity
_IMAGES = {_BINARY, _SERIES, _RGB_SERIES, 2, 8, 10, 11, *_COLOURED}
# Other types of object -> what the file is.
_OTHERS = {
    _PROFILE: "a profile", 4: "a series of profiles", 6: "a meridian disc", 7: "a multilayer profile",
    9: "a parallel disc", 14: "a force curve", 15: "a series of force curves", 17: "a contour profile",
    19: "a spectrum", 20: "a spectrum", 21: "a map of spectra",
}  # fmt: skip
_MODALITIES: dict[int, Modality] = {2: "optical", 6: "AFM", 7: "STM", 9: "optical", 10: "optical"}
_GWYDDION = ("SCRATCH", "csm")  # Gwyddion writes these names, type 1 for surfaces, and 5 January 2001


def _words(value: object) -> str | None:
    """Let a comment pass that somebody wrote; programs put tables of ``$key = value`` there."""
    return None if text(value).startswith("$") else text(value)


_KEYS = (Key("operator", "operator"), Key("comment", "comment", None, _words))


class DigitalSurf(Reader):
    """Surfaces, images, their series and layers; profiles and spectra are refused by name."""

    name = "digitalsurf"
    formats = (Format("sur", "Digital Surf surface", (".sur", ".pro"), tested=True),)

    @classmethod
    def sniff(cls, path: Path, head: bytes) -> int:  # noqa: ARG003 (the head is enough)
        """Say 3 for either signature: also for profiles, so that they are refused by name."""
        return 3 if head.startswith((PLAIN, COMPRESSED)) else 0

    def read(self, path: Path) -> list[Scan]:
        """Return one scan per surface, image, layer or series; see `Reader.read`."""
        first = first_header(path)
        _check_kind(path, first)
        images = _images(path, list(objects(path)))
        return [_scan(path, image, kind=first["type"], index=index) for index, image in enumerate(images)]


def _check_kind(path: Path, fields: Mapping[str, Any]) -> None:
    kind, lines, points = fields["type"], fields["lines"], fields["points"]
    surface = kind in _IMAGES or (kind == _PROFILE and min(lines, points) > 1)  # a surface by Gwyddion
    if not surface:
        what = _OTHERS.get(kind, f"an object of unknown type {kind}")
        raise NotAnImageError(
            path, f"this is {what} ({lines} x {points} points), not an image", reader="digitalsurf"
        )


class _Image(NamedTuple):
    objects: Sequence[Object]
    channel: str
    colour: bool = False


def _images(path: Path, found: Sequence[Object]) -> Iterator[_Image]:
    """Group the objects of a file into images.

    A surface with an image has it behind it: red, green, blue, and then, in some, the intensity.
    """
    kind = found[0].fields["type"]
    if len({item.points.shape for item in found}) > 1:
        raise DamagedFileError(path, "its objects differ in size", reader="digitalsurf")
    if kind == _RGB_SERIES and len(found) % 3 == 0:
        for start in range(0, len(found), 3):
            yield _Image(found[start : start + 3], f"RGB {start // 3 + 1}", colour=True)
    elif kind == _SERIES:
        yield _Image(found, found[0].fields["z name"])
    else:
        colours = {3: 0, 4: 1, 5: 1}.get(len(found)) if kind in _COLOURED else None
        for number, item in enumerate(found):
            if colours is None or not colours <= number < colours + 3:
                yield _Image([item], item.fields["z name"])
            elif number == colours:
                yield _Image(found[number : number + 3], "RGB", colour=True)


def _scan(path: Path, image: _Image, *, kind: int, index: int) -> Scan:
    fields = image.objects[0].fields
    settings = apply(_KEYS, fields)
    problems = settings.problems
    gwyddion = (fields["object name"], fields["operator"]) == _GWYDDION
    written = "" if gwyddion else _written(fields)
    pixels = _colour(image) if image.colour else _values(image, binary=kind == _BINARY)
    sizes = dict(zip("yx", image.objects[0].points.shape, strict=True))
    plane = [_axis(fields, name, size, problems) for name, size in sizes.items()]
    leading = [_frames(fields, len(image.objects))] if len(pixels.shape) == 3 and not image.colour else []
    return Scan(
        pixels=pixels,
        axes=(*leading, *plane, *([Axis("colour", 3)] if image.colour else [])),
        name=("" if gwyddion else fields["object name"].strip("* ")) or path.stem,
        source=Source(str(path), "sur", "digitalsurf", package_version(), index),
        channel=image.channel or None,
        modality=_MODALITIES.get(fields["acquisition"]),
        intensity_unit=None if image.colour or kind == _BINARY else _unit(fields, problems),
        acquired=local_time(written, ("%Y-%m-%d %H:%M:%S",)),
        acquired_raw=written or None,
        settings={} if gwyddion else settings.values,
        original=plain({str(number): item.fields for number, item in enumerate(image.objects[:64])}),
        problems=tuple(problems),
    )


def _written(fields: Mapping[str, Any]) -> str:
    day = (fields["year"], fields["month"], fields["day"])
    clock = (fields["hour"], fields["minute"], fields["second"])
    return "{}-{:02}-{:02} {:02}:{:02}:{:02}".format(*day, *clock) if any(day) else ""


def _axis(fields: Mapping[str, Any], name: str, size: int, problems: list[str]) -> Axis:
    step, unit, offset = fields[f"{name} spacing"], fields[f"{name} unit"], fields[f"{name} offset"]
    known = units.known(unit)
    if known is None or not 0 < abs(step) < math.inf:
        if unit:
            problems.append(f"step of {name} unknown: the header says {step:g} {unit!r}")
        return Axis(name, size)
    return Axis(name, size, abs(step), offset=offset if math.isfinite(offset) else 0.0, unit=known)


def _frames(fields: Mapping[str, Any], count: int) -> Axis:
    unit, step = units.known(fields["t unit"]), fields["t spacing"]
    if unit is None or not 0 < abs(step) < math.inf or not math.isfinite(fields["t offset"]):
        return Axis("frame", count)
    return Axis("time" if units.compatible(unit, "s") else "frame", count, step, fields["t offset"], unit)


def _unit(fields: Mapping[str, Any], problems: list[str]) -> str | None:
    """Return the unit of the values; the spacing is in the unit of the step, whatever the program shows."""
    unit = units.known(fields["z unit"])
    if unit is None and units.SPELLINGS.get(fields["z unit"], "?") is not None:
        problems.append(f"unit of the values unknown: {fields['z unit']!r}")
    if fields["z ratio"] not in (0, 1) and fields["z unit"] != fields["z length unit"]:
        either = f"{fields['z unit']} or {fields['z length unit']}, ratio {fields['z ratio']:g}"
        problems.append(f"unit of the values unknown: {either}")
        return None
    if fields["inverted"]:
        problems.append(f"the header says that the surface was inverted ({fields['inverted']})")
    return unit


def _values(image: _Image, *, binary: bool) -> Pixels:
    points = tuple(item.points for item in image.objects)
    if binary:
        return Pixels(points[0].shape, "uint8", partial(_set, points[0]))
    if len(points) == 1:
        return Pixels(points[0].shape, "float64", points[0].values)
    stack = _Stack(points)
    return Pixels((len(points), *points[0].shape), "float64", stack.load, stack.load_frame)


def _set(points: Points) -> np.ndarray:
    import numpy as np

    array: np.ndarray = np.not_equal(points.raw(), 0).astype(np.uint8)
    return array


@dataclass(frozen=True, slots=True)
class _Stack:
    frames: tuple[Points, ...]

    def load(self) -> np.ndarray:
        import numpy as np

        return np.stack([points.values() for points in self.frames])

    def load_frame(self, number: int) -> np.ndarray:
        return self.frames[number].values()


def _colour(image: _Image) -> Pixels:
    """Return three objects as one image, of the smallest type that holds what their headers promise."""
    highest = 0.0
    for item in image.objects:
        zero, step = item.points.scale
        highest = max(highest, (item.fields["z max"] - zero) * step + item.points.offset)
    dtype = "uint8" if highest < 255.5 else "uint16" if highest < 65535.5 else "float64"
    load = _Colour(tuple(item.points for item in image.objects), dtype).load
    return Pixels((*image.objects[0].points.shape, 3), dtype, load)


@dataclass(frozen=True, slots=True)
class _Colour:
    """Red, green and blue, which were stretched over the range of the stored integers."""

    samples: tuple[Points, ...]
    dtype: str

    def load(self) -> np.ndarray:
        import numpy as np

        image = np.round(np.stack([points.values() for points in self.samples], axis=-1))
        if self.dtype != "float64" and not (image.min() >= 0 and image.max() <= np.iinfo(self.dtype).max):
            reason = f"colours from {image.min():g} to {image.max():g}, the header promises {self.dtype}"
            raise DamagedFileError(self.samples[0].path, reason, reader="digitalsurf")
        return image.astype(self.dtype)
