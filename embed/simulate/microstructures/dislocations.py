"""Dislocation lines through a foil, and the contrast they make."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from micdb.embed.simulate.microstructures.foil import Foil
from micdb.embed.simulate.microstructures.view import Bools, View

Floats = npt.NDArray[np.float64]

_STEPS = 8  # points of a line per image width
_MODES = 4  # of a line's direction
_FINE = 0.5  # [pixel] between samples of the strip along a line


@dataclass(frozen=True, slots=True)
class Line:
    """A dislocation that crosses the foil from surface to surface.

    Parameters
    ----------
    xy
        Its projection ``(n, 2)``, evenly spaced [nm] from the field's corner.
    step
        Distance of these points [nm].
    inclination
        Against the foil's plane [radian].
    strength
        Share of the intensity its image takes away, 0 to 1: the visibility for this Burgers vector.
    double
        Whether the image is double, as where g b = 2.
    phase
        Of the depth at which it starts [radian].
    """

    xy: Floats
    step: float
    inclination: float
    strength: float
    double: bool
    phase: float


def draw_lines(
    view: View, foil: Foil, *, density: float, inclination: tuple[float, float], waviness: float,
    strength: tuple[float, float], rng: np.random.Generator,
) -> tuple[Line, ...]:  # fmt: skip
    """Return lines at random.

    A dislocation cannot end within a crystal, so each goes from one surface to the other.

    Parameters
    ----------
    view
        Field of view.
    foil
        The foil.
    density
        Line length over volume [nm**-2]: 1e-4 is 1e14 per m**2.
    inclination
        Range of the angle against the foil's plane [deg].
    waviness
        How much the direction changes along a line [radian].
    strength
        Range of `Line.strength`.
    rng
        Of the lines.
    """
    tilt = np.radians(rng.uniform(*inclination, 4096))
    margin = 0.5 * foil.thickness / math.tan(math.radians(inclination[0]))
    margin = min(margin, max(view.extent))
    per_line = float(np.mean(1 / np.sin(tilt)))  # [thickness] mean length
    count = view.count(density / per_line, margin) if density else 0
    centres = view.scatter(count, rng, margin)
    return tuple(
        _line(centre, tilt[number % 4096], foil, waviness=waviness, strength=strength, rng=rng)
        for number, centre in enumerate(centres)
    )


def _line(
    centre: Floats, tilt: float, foil: Foil, *, waviness: float, strength: tuple[float, float],
    rng: np.random.Generator,
) -> Line:  # fmt: skip
    length = foil.thickness / math.tan(tilt)  # projected [nm]
    step = foil.image_width / _STEPS
    along = np.arange(0.0, length, step)
    turn = np.full(len(along), rng.uniform(0, 2 * math.pi))
    size, phase = rng.normal(0.0, waviness, _MODES), rng.uniform(0, 2 * math.pi, _MODES)
    for mode in range(_MODES):  # a wave of a mode bends as much as one of any other
        wave = 2 * math.pi * (mode + 1) / max(length, 12 * foil.image_width)
        turn += size[mode] / (mode + 1) * np.sin(wave * along + phase[mode])
    xy = np.cumsum(step * np.column_stack((np.cos(turn), np.sin(turn))), axis=0)
    xy += centre - xy[len(xy) // 2]
    double = bool(rng.random() < 0.15)
    return Line(xy, step, float(tilt), float(rng.uniform(*strength)), double, float(rng.uniform(0, 7)))


def inside(line: Line, view: View) -> Bools:
    """Return which points of a line lie in the field ``(n,)``."""
    height, width = view.extent
    x, y = line.xy.T
    return np.asarray((x >= 0) & (x < width) & (y >= 0) & (y < height))


def lengths(lines: tuple[Line, ...], view: View) -> tuple[float, float]:
    """Return the length of all lines in the field: in projection, and in space [nm]."""
    flat = np.array([inside(line, view).sum() * line.step for line in lines])
    slope = np.array([line.inclination for line in lines])
    return float(flat.sum()), float((flat / np.cos(slope)).sum())


def shade(intensity: Floats, mask: Bools, line: Line, *, view: View, foil: Foil, excited: Floats) -> None:
    """Draw a line's image, dark, into an intensity and its mask, in place.

    The contrast of an inclined dislocation oscillates with depth, by the effective extinction distance, and
    swings from side to side, both most near the surfaces (Howie and Whelan, Proc. R. Soc. A 267, 206, 1962).

    Parameters
    ----------
    intensity
        ``(y, x)``.
    mask
        Pixels within the width of an image ``(y, x)``.
    line
        The line.
    view
        Field of view.
    foil
        The foil.
    excited
        How strongly defects show ``(y, x)``.
    """
    width, fine = foil.image_width, _FINE * view.pixel_size
    core = max(width, view.pixel_size * 1.5)  # no mask is thinner than it can be seen
    x, y, normal, share = _samples(line, fine)
    out = np.arange(-1.6 * core, 1.6 * core + fine, fine)
    column = ((x[:, None] + normal[:, :1] * out) / view.pixel_size).astype(np.intp)
    row = ((y[:, None] + normal[:, 1:] * out) / view.pixel_size).astype(np.intp)
    depth = share * foil.thickness
    surface = np.exp(-np.minimum(depth, foil.thickness - depth) / foil.extinction)
    beat = 2 * math.pi * depth / foil.effective + line.phase
    swing = 0.3 * width * surface * np.sin(beat)
    strength = line.strength * (1 - 0.6 * surface * (0.5 + 0.5 * np.cos(beat)))
    profile = strength[:, None] * _profile(out[None, :] - swing[:, None], width, line.double)
    rows, columns = view.shape
    kept = (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
    kept &= (x[:, None] + normal[:, :1] * out >= 0) & (y[:, None] + normal[:, 1:] * out >= 0)
    flat = row[kept] * columns + column[kept]
    if not flat.size:
        return
    first, last = flat.min(), flat.max() + 1
    count = np.maximum(np.bincount(flat - first, minlength=last - first), 1)
    loss = np.bincount(flat - first, profile[kept], last - first) / count
    near = np.broadcast_to(np.abs(out) <= core / 2, kept.shape)[kept]
    close = np.bincount(flat - first, near, last - first) / count
    intensity.ravel()[first:last] *= 1 - np.minimum(loss * excited.ravel()[first:last], 0.95)
    mask.ravel()[first:last] |= close > 0.5


def _samples(line: Line, fine: float) -> tuple[Floats, Floats, Floats, Floats]:
    """Return x, y, normals ``(m, 2)`` and the share of the way, at a spacing [nm]."""
    along = line.step * np.arange(len(line.xy))
    place = np.arange(0.0, along[-1] + 1e-9, fine)
    x, y = (np.interp(place, along, part) for part in line.xy.T)
    turn = np.arctan2(np.gradient(line.xy[:, 1]), np.gradient(line.xy[:, 0]))
    turn = np.interp(place, along, np.unwrap(turn))
    return x, y, np.column_stack((-np.sin(turn), np.cos(turn))), place / max(along[-1], fine)


def _profile(out: Floats, width: float, double: bool) -> Floats:
    """Return the image across a line, of a full width at half maximum [nm]."""
    if not double:
        return np.asarray(np.exp(-4 * math.log(2) * (out / width) ** 2))
    half = width / 2
    peaks = [np.exp(-4 * math.log(2) * ((out - side * half) / half) ** 2) for side in (-1, 1)]
    return np.asarray(peaks[0] + peaks[1])
