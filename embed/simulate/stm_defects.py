"""Topographs with point defects: terraces with steps and lattice, what defects look like, what a scan adds.

Seen by STM a defect is the local density of states around it (Edelberg et al., Nano Lett. 19, 4371 (2019);
Zheng et al., ACS Nano 13, 6050 (2019) for WSe2): atomic-scale peaks, troughs and three-lobed ones 0.5 to 5 nm
wide; halos of bent bands 5 to 40 nm wide around charged ones; rings; adsorbed clusters in a dark rim. Here
are such shapes, not a calculation of them: heights 10 to 400 pm, as those papers show them at 1 to 2 V.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from scipy import ndimage

from micdb.embed.simulate.stem import smooth_noise

Floats = npt.NDArray[np.float64]

_STEPS = (0.236, 0.65, 0.7)  # [nm] Au(111), WSe2, MoTe2: one atomic or one sandwich layer
_PERIODS = (0.25, 0.36)  # [nm] of surface lattices
_HEIGHTS = (0.01, 0.4)  # [nm]
_EDGE = 4.0  # [standard deviation of a round defect] its visible diameter


@dataclass(frozen=True, slots=True)
class DefectTopograph:
    """A simulated image.

    Parameters
    ----------
    image
        ``(y, x)``, 0 to 255 as exported for publication.
    pixel_size
        [nm].
    xy
        Defects ``(n, 2)`` as x, y [pixel].
    diameter
        Visible extent ``(n,)`` [nm].
    height
        Signed, at their extremes ``(n,)``, in the unit of the image; what is clipped was higher.
    """

    image: npt.NDArray[np.float32]
    pixel_size: float
    xy: Floats
    diameter: Floats
    height: Floats


def defect_topograph(
    shape: tuple[int, int],
    *,
    pixel_size: float,
    seed: int,
    diameter: float,
    spread: float = 0.4,
    coverage: float = 0.08,
    contrast: float = 12.0,
) -> DefectTopograph:
    """Simulate a topograph.

    Parameters
    ----------
    shape
        ``(y, x)`` [pixel].
    pixel_size
        [nm].
    seed
        Of everything that is random.
    diameter
        Typical extent of a defect [nm].
    spread
        Standard deviation of its logarithm to base 2; every fifth defect is drawn with three times as much.
    coverage
        Share of the surface under defects, on average.
    contrast
        Height of the strongest defects over the noise.
    """
    rng = np.random.default_rng(seed)
    field = (shape[0] * pixel_size, shape[1] * pixel_size)
    area = math.pi / 4 * diameter**2
    n = int(rng.poisson(coverage * field[0] * field[1] / area))
    wide = np.where(rng.random(n) < 0.2, 3 * spread, spread)
    diameters = np.clip(diameter * 2 ** (wide * rng.normal(size=n)), 0.5, 60.0)
    xy = _places(rng, field, diameters)
    signs = np.where(rng.random(n) < rng.uniform(0.2, 0.8), 1.0, -1.0)
    ladder = np.exp(rng.uniform(math.log(0.12), 0.0, n))  # strongest to an eighth of it
    strongest = math.exp(rng.uniform(math.log(10 * _HEIGHTS[0]), math.log(_HEIGHTS[1])))
    heights = signs * ladder * strongest
    surface = _bare(rng, shape, pixel_size, strongest / contrast)
    for place, extent, height in zip(xy, diameters, heights, strict=True):
        _add(surface, rng, place / pixel_size, extent / pixel_size, height)
    surface = _tip(surface, rng, pixel_size)
    scanned = _scan(surface, rng, strongest / contrast)
    image, gain = _exported(scanned, rng)
    return DefectTopograph(image, pixel_size, xy / pixel_size, diameters, heights * gain)


def _places(rng: np.random.Generator, field: tuple[float, float], diameters: Floats) -> Floats:
    """Return places x, y [nm], no two defects on one another."""
    xy = rng.uniform(0, 1, (len(diameters), 2)) * (field[1], field[0])
    for one in range(1, len(xy)):
        for _ in range(20):
            gap = np.linalg.norm(xy[:one] - xy[one], axis=1)
            if (gap > 0.4 * (diameters[:one] + diameters[one])).all():
                break
            xy[one] = rng.uniform(0, 1, 2) * (field[1], field[0])
    return np.asarray(xy)


def _bare(rng: np.random.Generator, shape: tuple[int, int], pixel: float, noise: float) -> Floats:
    """Return terraces, lattice, moire and the slow variation of the electronic background."""
    y, x = (axis * pixel for axis in np.mgrid[: shape[0], : shape[1]].astype(float))
    tilt = rng.normal(0, 5 * noise, 2) / (max(shape) * pixel)  # what is left of it in an exported image
    surface: Floats = tilt[0] * x + tilt[1] * y
    if rng.random() < 0.3:
        surface += _steps(rng, x, y, pixel)
    slow = rng.uniform(30, 90)  # [pixel]
    surface += noise * rng.uniform(0, 4) * smooth_noise(shape, scale=slow, rng=rng)
    if pixel < 0.15:  # finer than half of a lattice period
        surface += noise * rng.uniform(0, 3) * _waves(rng, x, y, rng.uniform(*_PERIODS), 3)
    if rng.random() < 0.3:  # superstructure of two layers, or standing waves
        surface += (
            noise * rng.uniform(0, 2) * _waves(rng, x, y, pixel * rng.uniform(6, 24), int(rng.integers(1, 4)))
        )
    return surface


def _steps(rng: np.random.Generator, x: Floats, y: Floats, pixel: float) -> Floats:
    turn = rng.uniform(0, 2 * math.pi)
    across, along = x * math.cos(turn) + y * math.sin(turn), y * math.cos(turn) - x * math.sin(turn)
    size = float(np.ptp(across))
    height, width = rng.choice(_STEPS), max(rng.uniform(0.2, 0.8), pixel)
    total = np.zeros_like(x)
    for _ in range(rng.integers(1, 4)):
        ragged = (
            0.02 * size * rng.uniform(0, 1) * np.sin(2 * math.pi * along / (size * rng.uniform(0.1, 0.6)))
        )
        edge = rng.uniform(across.min(), across.max())
        total += height / (1 + np.exp(-np.clip((across - edge - ragged) / width, -60, 60)))
    return total


def _waves(rng: np.random.Generator, x: Floats, y: Floats, period: float, number: int) -> Floats:
    turn = rng.uniform(0, math.pi)
    k = 2 * math.pi / period
    angles = [turn + n * math.pi / 3 for n in range(number)]
    return np.asarray(sum(np.cos(k * (x * math.cos(a) + y * math.sin(a))) for a in angles)) / number


def _add(surface: Floats, rng: np.random.Generator, at: Floats, extent: float, height: float) -> None:
    """Add one defect of an extent [pixel] to a surface."""
    sigma = extent / _EDGE
    reach = math.ceil(1.5 * extent) + 2
    left, top = (round(float(one)) for one in at)
    rows = np.arange(max(top - reach, 0), min(top + reach + 1, surface.shape[0]))
    columns = np.arange(max(left - reach, 0), min(left + reach + 1, surface.shape[1]))
    if not len(rows) or not len(columns):
        return
    turn, squeeze = rng.uniform(0, math.pi), rng.uniform(0.65, 1.0)
    dy, dx = np.meshgrid(rows - at[1], columns - at[0], indexing="ij")
    u = (dx * math.cos(turn) + dy * math.sin(turn)) / sigma
    v = (dy * math.cos(turn) - dx * math.sin(turn)) / (sigma * squeeze)
    surface[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] += height * _shape(rng, u, v)


def _shape(rng: np.random.Generator, u: Floats, v: Floats) -> Floats:
    """Return one of the looks of a defect, 1 at its extreme; lengths in its standard deviation."""
    r2 = u**2 + v**2
    r = np.sqrt(r2)
    look = rng.choice(["round", "cusp", "lobes", "rim", "core", "crescent", "cluster"], p=_LOOKS)
    if look == "cusp":  # a screened charge
        value = np.exp(-1.6 * r)
    elif look == "lobes":  # three-fold, of a defect on a metal or chalcogen site
        value = np.exp(-r2 / 2) * (1 + 0.45 * np.cos(3 * np.arctan2(v, u)) * np.minimum(r, 2) / 2)
    elif look == "rim":  # overshoot of screening around it
        value = np.exp(-r2 / 1.2) - rng.uniform(0.1, 0.5) * np.exp(-((r - 2.0) ** 2) / 0.5)
    elif look == "core":  # a sharp centre in a wide halo
        value = 0.5 * np.exp(-r2 / 2) + 0.5 * np.exp(-r2 / 0.25)
    elif look == "crescent":
        value = np.exp(-r2 / 2) * (1 - 0.8 * np.exp(-((u - 0.9) ** 2 + v**2) / 0.8))
    elif look == "cluster":  # adsorbed matter: uneven, with sharp sides
        uneven = 1 + 0.35 * np.cos(rng.uniform(1, 3) * u + rng.uniform(0, 6)) * np.cos(rng.uniform(1, 3) * v)
        value = uneven / (1 + np.exp(np.clip((r - 1.5) / 0.2, -60, 60)))
    else:
        value = np.exp(-r2 / 2)
    return np.asarray(value / max(float(value.max()), 1e-12) if look != "round" else value)


_LOOKS = (0.4, 0.12, 0.12, 0.1, 0.1, 0.08, 0.08)


def _tip(surface: Floats, rng: np.random.Generator, pixel: float) -> Floats:
    """Blur by the tip, which is two tips now and then."""
    blurred = ndimage.gaussian_filter(surface, rng.uniform(0.1, 0.4) / pixel, mode="nearest", truncate=3)
    if rng.random() < 0.1:
        shift = rng.normal(0, 1.0, 2) / pixel
        again = ndimage.shift(blurred, np.clip(shift, -20, 20), order=1, mode="nearest")
        share = rng.uniform(0.1, 0.4)
        blurred = (1 - share) * blurred + share * again
    return np.asarray(blurred)


def _scan(surface: Floats, rng: np.random.Generator, noise: float) -> Floats:
    """Add noise of pixels and lines, drift of the height, streaks, and jumps of the tip."""
    height, width = surface.shape
    rows = rng.normal(0, noise * rng.uniform(0, 1.0), height)
    drift = np.cumsum(rng.normal(0, noise * rng.uniform(0, 0.6), height))
    value = surface + (rows + drift)[:, None]
    grain = rng.normal(0, 1, surface.shape)
    grain = ndimage.gaussian_filter1d(grain, rng.uniform(0.01, 1.5), axis=1)  # the feedback loop is slow
    value += noise * grain / max(float(grain.std()), 1e-12)
    for _ in range(rng.poisson(rng.choice([0.3, 6.0], p=[0.7, 0.3]))):
        row, start = rng.integers(height), rng.integers(width)
        length = int(rng.exponential(0.2 * width)) + 1
        value[row, start : start + length] += rng.normal(0, 5 * noise)
    if rng.random() < 0.15:
        value[rng.integers(height) :] += rng.normal(0, 10 * noise)
    return value


def _exported(value: Floats, rng: np.random.Generator) -> tuple[npt.NDArray[np.float32], float]:
    """Return the image as it is exported, in 256 grey levels, and grey levels per nm."""
    low, high = np.quantile(value, (rng.choice([0.0, 0.002]), rng.choice([1.0, 0.998])))
    gain = 255 / max(float(high - low), 1e-12)
    grey = np.clip((value - low) * gain, 0, 255).astype(np.uint8)
    picture = Image.fromarray(grey)
    if rng.random() < 0.2:
        _bar(picture, rng)
    if rng.random() < 0.5:
        held = io.BytesIO()
        picture.save(held, "JPEG", quality=int(rng.integers(70, 97)))
        picture = Image.open(held)
    return np.asarray(picture, dtype=np.float32), gain


def _bar(picture: Image.Image, rng: np.random.Generator) -> None:
    """Draw a scale bar with its number, as programs burn it into images: it is no defect."""
    width, height = picture.size
    length, ink = int(width * rng.uniform(0.15, 0.4)), int(rng.choice([0, 255]))
    right, bottom = width - int(0.03 * width), height - int(0.08 * height)
    pen = ImageDraw.Draw(picture)
    pen.line((right - length, bottom, right, bottom), fill=ink, width=int(rng.integers(1, 4)))
    for end in (right - length, right):
        pen.line((end, bottom - 4, end, bottom + 4), fill=ink, width=1)
    pen.text((right - length // 2, bottom + 2), f"{rng.integers(1, 60) * 5} nm", fill=ink)
