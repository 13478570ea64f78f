"""Axes of a TIA series: what the pixels measure, and what the frames of a stack are.

The leading axis is the scan where a pattern was taken at every point, ``time`` where the tags show even
steps, else ``frame``. Rows are stored from the bottom up and turned; y grows downwards here, so its offset
is the negative of TIA's.
"""

from __future__ import annotations

import math
from itertools import pairwise

from micdb import units
from micdb.ingest.readers.fei_calibration import unit_of_step
from micdb.ingest.readers.tia_ser import Dimension, Series, Tag
from micdb.records import Axis, Origin

_EVEN_SPAN = 100  # [s] tags count whole seconds: over this span an even step is right to 1 %


def unit_of(series: Series, mode: str, *, diffracting: bool, problems: list[str]) -> str | None:
    """Return the unit of the pixel size: by its magnitude, if the microscope's mode does not contradict."""
    if not series.even:
        problems.append("pixel size unknown: it changes within the series")
        return None
    x, y = series.first.x.step, series.first.y.step
    unit = unit_of_step(x)
    if unit is None or unit_of_step(y) != unit:
        problems.append(f"pixel size unknown: {x:g} x {y:g} is neither metres nor 1/m")
        return None
    if unit == "m" and diffracting:
        problems.append(f"pixel size unknown: {x:g} is a length, and the mode is {mode!r}")
        return None
    return unit


def plane(series: Series, unit: str | None, *, described: bool) -> tuple[Axis, Axis]:
    """Return y and x; `described` says that the .emi confirms the unit."""
    rows, columns = series.first.shape
    if unit is None:
        return Axis("y", rows), Axis("x", columns)
    x, y = series.first.x, series.first.y
    origin: Origin = "file" if described else "derived"
    top = y.offset + (rows - 1 - y.element) * y.step
    left = x.offset - x.element * x.step
    return (
        Axis("y", rows, y.step, _finite(-top), unit, origin),
        Axis("x", columns, x.step, _finite(left), unit, origin),
    )


def _finite(offset: float) -> float:
    return offset if math.isfinite(offset) else 0.0


def leading(series: Series, tags: list[Tag], problems: list[str]) -> tuple[Axis, ...]:
    """Return the axes of the series, the slowest first."""
    if series.valid == 1:
        return ()
    dimensions = [dimension for dimension in series.dimensions if dimension.size > 1]
    if len(dimensions) < 2:
        return (_line(series, dimensions, tags),)
    if math.prod(dimension.size for dimension in dimensions) != series.valid:
        planned = " x ".join(str(dimension.size) for dimension in reversed(dimensions))
        problems.append(
            f"the scan of {planned} points was stopped: its {series.valid} images are a plain list"
        )
        return (Axis("frame", series.valid),)
    names = _names(dimensions, tags)
    return tuple(_axis(*named) for named in zip(reversed(names), reversed(dimensions), strict=True))


def _line(series: Series, dimensions: list[Dimension], tags: list[Tag]) -> Axis:
    if dimensions and (unit := _dimension_unit(dimensions[0])):
        name = "time" if units.compatible(unit, "s") else "scan"
        return _axis(name, dimensions[0]._replace(size=series.valid))
    times = [tag.time for tag in tags]
    steps = {later - earlier for earlier, later in pairwise(times)}
    if len(times) == series.valid and len(steps) == 1 and times[-1] - times[0] >= _EVEN_SPAN:
        return Axis("time", series.valid, float(steps.pop()), 0.0, "s")
    return Axis("frame", series.valid)


def _names(dimensions: list[Dimension], tags: list[Tag]) -> list[str]:
    """Name the dimensions, the fastest first: x, unless the beam moved along y between the first images."""
    if len(dimensions) != 2 or not all(_dimension_unit(dimension) == "m" for dimension in dimensions):
        return [f"frame_{number}" if number else "frame" for number in range(len(dimensions))][::-1]
    moved = [tag.position for tag in tags[:2] if tag.position]
    along_y = len(moved) == 2 and moved[0][0] == moved[1][0] and moved[0][1] != moved[1][1]
    return ["scan_y", "scan_x"] if along_y else ["scan_x", "scan_y"]


def _axis(name: str, dimension: Dimension) -> Axis:
    unit, scale = _dimension_unit(dimension), dimension.scale
    if unit is None or not scale.step or not math.isfinite(scale.step):
        return Axis(name, dimension.size)
    return Axis(name, dimension.size, scale.step, _finite(scale.offset - scale.element * scale.step), unit)


def _dimension_unit(dimension: Dimension) -> str | None:
    """Return the unit of a dimension; TIA writes ``meters``, and nothing for repeated images."""
    return "m" if dimension.unit == "meters" else units.known(dimension.unit or None)
