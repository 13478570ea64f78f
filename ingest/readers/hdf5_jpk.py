"""Fast AFM movies of JPK (Bruker) NanoWizard: ``.h5-jpk``.

``Measurement_000/Channel_000`` and so on hold one dataset each, a column per frame with its pixels line by
line, and attributes with JPK's own property names: ``position-pattern.grid.ilength`` pixels over ``ulength``
metres along x, ``jlength`` over ``vlength`` along y, and the linear scaling of the channel's encoder. Lines
stand from the bottom up, as in all JPK files: row 0 is turned to the top. ``meta-data/start-times`` of a
measurement says when each frame began [ms since 1970]; without it the time between frames is their lines over
``timing-settings.scanRate``, unless lines were taken both ways.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from micdb import units
from micdb.ingest.hdf5_probe import attribute, attributes, member, members, refusal, value
from micdb.ingest.metadata import plain, text, utc_time
from micdb.ingest.readers.hdf5_pixels import opened_pixels
from micdb.provenance import package_version
from micdb.records import Axis, Pixels, Scan, Source

if TYPE_CHECKING:
    import h5py
    import numpy as np

_GRID = "position-pattern.grid."
_SCALING = "net-encoder.scaling."
_BOTH_WAYS = "environment.fast-imaging.feed-forward-parameters.yaxis.interlace"
_THUMBNAIL = "thumbnail"
_LATEST = 4e9  # [s since 1970] the year 2096
_JITTER = 0.05  # of the mean time between frames, up to which they are evenly spaced
_UNIT_KEYS = ("net-encoder.scaling.unit.unit", "net-encoder.scaling.unit", "encoder.scaling.unit.unit")


@dataclass(frozen=True, slots=True)
class _Movie:
    """The frames of one channel, scaled to physical values."""

    path: Path
    name: str
    shape: tuple[int, int]  # y, x
    multiplier: float
    offset: float

    def load(self) -> np.ndarray:
        """Return all frames, or the only one."""
        import numpy as np

        frames = list(self.stream())
        return np.stack(frames) if len(frames) > 1 else frames[0]

    def load_frame(self, number: int) -> np.ndarray:
        """Return one frame."""
        with opened_pixels(self.path) as file:
            return self._frame(file[self.name][:, number])

    def stream(self) -> Iterator[np.ndarray]:
        """Yield every frame in one pass over the file."""
        with opened_pixels(self.path) as file:
            data = file[self.name]
            for number in range(data.shape[1]):
                yield self._frame(data[:, number])

    def _frame(self, column: np.ndarray) -> np.ndarray:
        import numpy as np

        scaled = column.astype(np.float64) * self.multiplier + self.offset
        return np.ascontiguousarray(np.flipud(scaled.reshape(self.shape)))


def known(file: h5py.File) -> bool:
    """Return whether a measurement has the grid of a JPK scan."""
    return any(attribute(group, f"{_GRID}ilength") is not None for group in _measurements(file).values())


def scans(path: Path, file: h5py.File) -> tuple[list[Scan], list[str]]:
    """Return one movie for each channel and direction, and a sentence for each that cannot be read."""
    found: list[Scan] = []
    refused: list[str] = []
    for measurement, group in _measurements(file).items():
        grid = attributes(group)
        for name, channel in members(group).items():
            if not name.startswith("Channel_") or not hasattr(channel, "keys"):
                continue
            items = (item for key, item in members(channel).items() if key != _THUMBNAIL)
            data = next((item for item in items if getattr(item, "ndim", 0) == 2), None)
            reason = _refusal(data, grid)
            if reason or data is None:
                refused.append(f"{measurement}/{name} {reason}")
            else:
                begun = _start_times(group, data.shape[1])
                found.append(_scan(path, data, grid, attributes(channel), begun=begun, index=len(found)))
    return found, refused or ["this JPK file holds no channel"]


def _measurements(file: h5py.File) -> dict[str, Any]:
    return {name: item for name, item in members(file).items() if name.startswith("Measurement_")}


def _refusal(data: Any, grid: Mapping[str, Any]) -> str | None:
    if data is None or data.dtype.kind not in "iuf":
        return "holds no [pixel, frame] numbers"
    shape = _shape(grid)
    if shape is None or data.shape[0] != shape[0] * shape[1] or not data.shape[1]:
        return f"has {data.shape[0]} pixels per frame, the grid says {shape}"
    return refusal(data)


def _shape(grid: Mapping[str, Any]) -> tuple[int, int] | None:
    width = _number(grid, f"{_GRID}ilength")
    height = _number(grid, f"{_GRID}jlength") or width
    return (int(height), int(width)) if width and height and min(width, height) >= 1 else None


def _number(values: Mapping[str, Any], key: str) -> float | None:
    """Return a finite number, which JPK may also write as text."""
    try:
        number = float(text(values[key]))
    except (KeyError, ValueError):
        return None
    return number if abs(number) < float("inf") else None


def _start_times(measurement: Any, frames: int) -> list[float] | None:
    """Return when each frame began [s since 1970], or None where the file does not say."""
    try:
        begun = [
            float(moment) / 1000 for moment in value(member(measurement, "meta-data/start-times")).ravel()
        ]
    except Exception:  # missing, damaged, or no numbers
        return None
    later = all(one < other for one, other in pairwise(begun))
    return begun if len(begun) == frames and later and begun[0] > 0 and begun[-1] < _LATEST else None


def _scan(
    path: Path,
    data: h5py.Dataset,
    grid: Mapping[str, Any],
    channel: Mapping[str, Any],
    *,
    begun: list[float] | None,
    index: int,
) -> Scan:
    problems: list[str] = []
    height, width = _shape(grid) or (0, 0)
    multiplier, offset = (_number(channel, f"{_SCALING}{word}") for word in ("multiplier", "offset"))
    if multiplier is None:
        problems.append("the channel has no scaling: its values are the encoder's")
    scaled = multiplier is not None
    movie = _Movie(path, data.name, (height, width), multiplier or 1.0 if scaled else 1.0, offset or 0.0)
    times = [_time(data.shape[1], height, grid, begun, problems)] if data.shape[1] > 1 else []
    shape = (*(axis.size for axis in times), height, width)
    written = next((text(channel[key]) for key in _UNIT_KEYS if key in channel), "")
    return Scan(
        pixels=Pixels(shape, "float64", movie.load, movie.load_frame, movie.stream),
        axes=(
            *times,
            _axis("y", height, "v", grid, problems),
            _axis("x", width, "u", grid, problems),
        ),
        name=path.stem,
        source=Source(str(path), "h5_jpk", "hdf5", f"h5py {package_version('h5py')}", index=index),
        channel=_channel(channel, data),
        modality="AFM",
        intensity_unit=units.known(written) if scaled else None,
        acquired=utc_time(begun[0]) if begun else None,
        acquired_raw=f"{begun[0] * 1000:.0f}" if begun else None,
        original=plain({"measurement": dict(grid), "channel": dict(channel)}),
        problems=tuple(problems),
    )


def _channel(channel: Mapping[str, Any], data: h5py.Dataset) -> str:
    name = text(channel.get("channel.name") or data.name.rsplit("/", 1)[-1])
    retrace = text(channel.get("retrace", "")).lower()
    return f"{name} {'retrace' if retrace in ('true', '1') else 'trace'}" if retrace else name


def _axis(name: str, size: int, side: str, grid: Mapping[str, Any], problems: list[str]) -> Axis:
    length = _number(grid, f"{_GRID}{side}length")
    if not length or length < 0:
        problems.append(f"pixel size along {name} unknown: the grid has no {side}length")
        return Axis(name, size)
    return Axis(name, size, length / size, unit="m")


def _time(
    frames: int, lines: int, grid: Mapping[str, Any], begun: list[float] | None, problems: list[str]
) -> Axis:
    """Return the time axis: by the moments when frames began, else lines of a frame over lines per second."""
    if begun:
        gaps = [other - one for one, other in pairwise(begun)]
        mean = (begun[-1] - begun[0]) / (frames - 1)
        if max(abs(gap - mean) for gap in gaps) <= _JITTER * mean:
            return Axis("time", frames, mean, unit="s", origin="derived")
        problems.append(f"time step unknown: frames are {min(gaps):g} to {max(gaps):g} s apart")
        return Axis("time", frames)
    rate = _number(grid, "timing-settings.scanRate")
    if text(grid.get(_BOTH_WAYS, "")).lower() in ("true", "1"):
        problems.append("the time between frames is unknown: lines were taken both ways")
    elif not rate or rate < 0:
        problems.append("the time between frames is unknown: there is no scan rate")
    else:
        return Axis("time", frames, lines / rate, unit="s")
    return Axis("time", frames)
