"""Omicron (Scienta Omicron) MATRIX images: ``NAME--RUN_CYCLE.CHANNEL_mtrx`` with its ``NAME_0001.mtrx``.

A data file is the signature ``ONTMATRX0101TLKB``, length and time of writing, then the blocks ``DESC`` (how
many points were asked for, how many were taken, their type) and ``DATA`` (int32). The points stand in the
order of acquisition: line by line, forward and then backward where the scanner retraced, from the bottom
upwards, and then from the top downwards where it scanned that way too. So a file holds up to four images;
they are turned so that row 0 is the top of the scan field and column 0 its left. Points that were not
reached are NaN. Sizes, scale and units are in the parameter file: `micdb.ingest.readers.matrix_parameters`.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from micdb import units
from micdb.errors import DamagedFileError, NotAnImageError
from micdb.ingest.metadata import Key, apply, measure, plain, utc_time
from micdb.ingest.reader import Format, Reader
from micdb.ingest.readers import matrix_parameters
from micdb.ingest.readers.matrix_parameters import SIGNATURE, Parameter, Session, Transfer
from micdb.provenance import package_version
from micdb.records import Axis, Modality, Pixels, Quantity, Scan, Source

if TYPE_CHECKING:
    import numpy as np

_DATA_FILE = SIGNATURE + b"TLKB"
_HEADER_LIMIT = 4096  # [byte] the data begin at byte 104
_POINTS_LIMIT = 1 << 27  # of one image, twice what the program can take
_INT32 = "SI32".encode("utf-16-le")

# What older versions of the program called the same -> newer name.
_OLDER = {
    "XYScanner.X_Points": "XYScanner.Points", "XYScanner.Y_Points": "XYScanner.Lines",
    "XYScanner.Raster_Period_Time": "XYScanner.Raster_Time",
    "XYScanner.Grid_Mode": "XYScanner.Scan_Constraint",
}  # fmt: skip


def _current(value: object) -> object:
    """Let a set point pass that is a current; the regulator may as well hold a frequency."""
    return value if units.compatible(measure(value).unit, "A") else None


_KEYS = (
    Key("GapVoltageControl.Voltage", "bias"),
    Key("Regulator.Setpoint_1", "setpoint_current", None, _current),
    Key("XYScanner.Angle", "scan_angle"),
    Key("XYScanner.X_Offset", "offset_x"),
    Key("XYScanner.Y_Offset", "offset_y"),
    Key("XYScanner.Raster_Time", "dwell_time"),
    Key("MARK.SAMPLE_NAME", "sample"),
    Key("MARK.CREATION_COMMENT", "comment"),
    Key("META.user", "operator"),
)
# How the name of the experiment begins -> modality
_MODALITIES: dict[str, Modality] = {"STM": "STM", "AFM": "AFM"}


class Matrix(Reader):
    """Images of MATRIX controllers, up to four in a file; curves and parameter files are refused by name."""

    name = "matrix"
    formats = (Format("mtrx", "Omicron MATRIX image", (".mtrx", ".z_mtrx", ".i_mtrx"), tested=True),)

    @classmethod
    def sniff(cls, path: Path, head: bytes) -> int:  # noqa: ARG003 (the head is enough)
        """Say 3 for a data file, and 2 for a parameter file, so that it is refused by name."""
        if not head.startswith(SIGNATURE):
            return 0
        return 3 if head.startswith(_DATA_FILE) else 2

    def read(self, path: Path) -> list[Scan]:
        """Return one scan per direction; see `Reader.read`."""
        with path.open("rb") as stream:
            head = stream.read(_HEADER_LIMIT)
        if not head.startswith(_DATA_FILE):
            raise NotAnImageError(path, _companion(path), reader=self.name)
        channel = path.name.rpartition("--")[2].partition(".")[2].rpartition("_")[0]
        if "(" in channel:
            raise NotAnImageError(path, f"spectra {channel} of Omicron MATRIX, no image", reader=self.name)
        session = matrix_parameters.session_of(path)
        data = _Data.read(path, head)
        return list(_scans(path, session, data, channel))


def _companion(path: Path) -> str:
    names = matrix_parameters.named_files(path)
    shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    what = "this is a MATRIX parameter file, without pixels of its own"
    return f"{what}; open its data files {shown}" if names else f"{what}, and no data file is named in it"


class _Data(NamedTuple):
    asked: int  # points the scanner was to take
    taken: int
    start: int  # [byte] of the first point
    written: int  # [s] since 1970, when the file was written

    @classmethod
    def read(cls, path: Path, head: bytes) -> _Data:
        asked = taken = None
        position = 32  # behind the signature, the length, the time and four unknown bytes
        while position + 8 <= len(head):
            name, size = struct.unpack_from("<4sI", head, position)
            position += 8
            if name == b"CSED" and position + 28 <= len(head):
                asked, taken = struct.unpack_from("<2I", head, position + 20)
                if _INT32 not in head[position : position + size]:
                    raise DamagedFileError(path, "its points are not of type SI32", reader="matrix")
            if name == b"ATAD":
                break
            position += size
        else:
            raise DamagedFileError(path, "it has no block DATA; it was cut short", reader="matrix")
        if asked is None or taken is None:
            raise DamagedFileError(path, "it has no block DESC", reader="matrix", offset=32)
        found = min(size, path.stat().st_size - position)
        if found < 4 * taken or not 0 < taken <= asked:
            reason = f"the header promises {taken} of {asked} points, {4 * taken} bytes; there are {found}"
            raise DamagedFileError(path, reason, reader="matrix", offset=position)
        return cls(asked, taken, position, struct.unpack_from("<I", head, 20)[0])


class _Grid(NamedTuple):
    """How the points of a file fall into images."""

    lines: int
    points: int  # of a line, one way
    across: int  # 2 where the scanner took the line backwards, too
    along: int  # 2 where it scanned downwards, too

    @classmethod
    def of(cls, path: Path, known: dict[str, Parameter], asked: int) -> _Grid:
        """Return the grid that the parameters describe, which must have as many points as were asked for.

        Under a scan constraint the scanner does not retrace (2), or does not scan downwards (1); versions
        without the parameters of the retrace took all four images else.
        """
        lines, points = _whole(path, known, "XYScanner.Lines"), _whole(path, known, "XYScanner.Points")
        constraint = known.get("XYScanner.Scan_Constraint", Parameter(0, "")).value
        across, along = (
            2 if known.get(f"XYScanner.{key}_Retrace", Parameter(1, "")).value else 1 for key in "XY"
        )
        constrained = {1: (across, 1), 2: (1, 1)}.get(constraint)  # type: ignore[call-overload]
        for ways in filter(None, ((across, along), constrained)):
            if lines * points * math.prod(ways) == asked and lines * points <= _POINTS_LIMIT:
                return cls(lines, points, *ways)
        raise DamagedFileError(
            path, f"{asked} points were asked for, the parameter file describes {across * along} image(s) of"
            f" {lines} lines of {points} points", reader="matrix",
        )  # fmt: skip


def _whole(path: Path, known: dict[str, Parameter], key: str) -> int:
    value = known[key].value if key in known else None
    if not isinstance(value, int) or not 0 < value < 1 << 20:
        shown = "missing" if value is None else repr(value)
        raise DamagedFileError(path, f"{key} is {shown}, expected a number above 0", reader="matrix")
    return value


@dataclass(frozen=True, slots=True)
class _Image:
    """One direction of a file; `backward` and `down` are 0 or 1."""

    path: Path
    data: _Data
    grid: _Grid
    backward: int
    down: int
    scale: tuple[float, float]  # value = (count - second) / first

    @property
    def taken(self) -> int:
        """Number of its points that the file holds."""
        size, lines, across = self.grid.points, self.grid.lines, self.grid.across
        start = (self.down * lines * across + self.backward) * size
        whole, rest = divmod(max(self.data.taken - start, 0), size * across)
        return min(whole * size + min(rest, size), lines * size)

    def load(self) -> np.ndarray:
        """Return physical values, row 0 on top."""
        import numpy as np

        size, lines, across = self.grid.points, self.grid.lines, self.grid.across
        stored = np.memmap(self.path, "<i4", "r", self.data.start, (self.data.taken,))
        image = np.full((lines, size), np.nan)
        for line in range(lines):
            start = ((self.down * lines + line) * across + self.backward) * size
            counts = stored[start : start + size]
            image[line, : len(counts)] = (counts - self.scale[1]) / self.scale[0]
        turned = image if self.down else image[::-1]
        return np.ascontiguousarray(turned[:, ::-1] if self.backward else turned)


def _scans(path: Path, session: Session, data: _Data, channel: str) -> Iterator[Scan]:
    known = {_OLDER.get(key, key): parameter for key, parameter in session.parameters.items()}
    grid = _Grid.of(path, known, data.asked)
    problems = list(session.problems)
    scale, unit = _scale(session, channel, problems)
    flat = {key: _written(parameter) for key, parameter in known.items()}
    flat |= {f"MARK.{key}": value for key, value in session.marks.items()}
    flat |= {f"META.{key}": value for key, value in session.texts.items()}
    settings = apply(_KEYS, flat)
    problems += settings.problems
    axes = tuple(_axis(name, size, known, problems) for name, size in (("y", grid.lines), ("x", grid.points)))
    values = settings.values | _speed(axes[1], settings.values.get("dwell_time"))
    original = plain({**session.parameters, "MARK": session.marks, "META": session.texts})
    original["XFER"] = plain(session.transfers.get(session.numbers.get(channel, -1)))
    parts = tuple(map(str, session.parts))
    experiment = session.texts.get("experiment 0", "")
    images = (_Image(path, data, grid, b, d, scale) for d in range(grid.along) for b in range(grid.across))
    for index, (image, taken) in enumerate((image, image.taken) for image in images if image.taken):
        whole = grid.lines * grid.points
        stopped = [f"the scan stopped early: {taken} of {whole} points were taken, the rest is NaN"]
        yield Scan(
            pixels=Pixels((grid.lines, grid.points), "float64", image.load),
            axes=axes,
            name=path.name.removesuffix("_mtrx"),
            source=Source(str(path), "mtrx", "matrix", package_version(), index, parts),
            channel=f"{channel} {('forward', 'backward')[image.backward]}/{('up', 'down')[image.down]}",
            modality=next((kind for name, kind in _MODALITIES.items() if experiment.startswith(name)), None),
            intensity_unit=unit,
            acquired=utc_time(data.written),
            acquired_raw=str(data.written) if data.written else None,
            settings=values,
            original=original,
            problems=tuple(problems + (stopped if taken < whole else [])),
        )


def _written(parameter: Parameter) -> object:
    """Return a value with its unit as `units` spells it: ``0.1 volt``; the program writes ``--`` for none."""
    unit = parameter.unit.lower().replace("--", "")
    numeric = isinstance(parameter.value, int | float) and not isinstance(parameter.value, bool)
    return f"{parameter.value!r} {unit}".strip() if numeric else parameter.value


def _scale(session: Session, channel: str, problems: list[str]) -> tuple[tuple[float, float], str | None]:
    """Return divisor and offset of a channel, and the unit of its values; raw counts where it is unknown."""
    number = session.numbers.get(channel, -1)
    unit, transfer = session.units.get(number, ""), session.transfers.get(number)
    try:
        scale = _linear(transfer) if transfer else None
    except (KeyError, TypeError, ZeroDivisionError):
        scale = None
    if scale is None or not all(map(math.isfinite, scale)) or scale[0] == 0:
        problems.append(f"the values are raw counts: the transfer function of {channel} is {transfer}")
        return (1.0, 0.0), None
    known = units.known(unit)
    if known is None and units.SPELLINGS.get(unit, "?") is not None:
        problems.append(f"unit of {channel} unknown: {unit!r}")
    return scale, known


def _linear(transfer: Transfer) -> tuple[float, float] | None:
    constants = transfer.constants
    if transfer.function == "TFF_Linear1D":
        return constants["Factor"], constants["Offset"]
    if transfer.function == "TFF_MultiLinear1D":
        gain = constants["Raw_1"] - constants["PreOffset"]
        return constants["NeutralFactor"] * constants["PreFactor"] / gain, constants["Offset"]
    return None


def _axis(name: str, size: int, known: dict[str, Parameter], problems: list[str]) -> Axis:
    key = {"x": "XYScanner.Width", "y": "XYScanner.Height"}[name]
    extent = known.get(key, Parameter("missing", ""))
    zoom = known.get("XYScanner.Zoom", Parameter(1, "")).value  # of older versions
    try:
        step = float(extent.value) / float(zoom) / size
    except (ValueError, ZeroDivisionError):
        step = 0.0
    if extent.unit != "Meter" or not 0 < step < math.inf:
        problems.append(f"step of {name} unknown: {key} is {extent.value} {extent.unit}")
        return Axis(name, size)
    return Axis(name, size, step, unit="m")


def _speed(axis: Axis, dwell: Quantity | None) -> dict[str, Quantity]:
    """Return the speed of the tip: one step along a line in the time of one raster point."""
    if axis.step is None or dwell is None or not isinstance(dwell.value, float) or dwell.value <= 0:
        return {}
    raw = f"XYScanner.Width / Points / Raster_Time ({dwell.raw})"
    return {"scan_speed": Quantity(axis.step / dwell.value, "m/s", "derived", raw)}
