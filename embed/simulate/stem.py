"""Annular dark-field STEM images of atom columns, by linear imaging.

Each column scatters as Z**1.7 (Krivanek et al., Nature 464, 571, 2010) into a probe made of a Gaussian
core (source size) and an Airy pattern (aperture): for monolayers this agrees with multislice to a few per
cent of the contrast. Counting noise is Poisson, read-out noise Gaussian.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import special

from micdb.embed.simulate.lattices import inside_field
from micdb.embed.simulate.structure import Columns, Planted, renumbered

Floats = npt.NDArray[np.float64]

_AIRY_REACH = (
    12.0  # [radian of the Airy argument] third dark ring; what lies beyond is under 0.2 % of the peak
)


@dataclass(frozen=True, slots=True)
class Probe:
    """The electron probe.

    Parameters
    ----------
    sigma
        Standard deviation of the Gaussian core [nm].
    tail
        Share of the peak that belongs to the Airy pattern, 0 to 1.
    airy_radius
        First dark ring of the Airy pattern [nm].
    """

    sigma: float = 0.035
    tail: float = 0.15
    airy_radius: float = 0.085

    def profile(self, radius: Floats) -> Floats:
        """Return the intensity at distances from the centre [nm], 1 at the centre."""
        argument = np.maximum(3.8317 * radius / self.airy_radius, 1e-6)  # 3.8317: first zero of J1
        airy = np.where(argument < _AIRY_REACH, (2 * special.j1(argument) / argument) ** 2, 0.0)
        return np.asarray((1 - self.tail) * np.exp(-0.5 * (radius / self.sigma) ** 2) + self.tail * airy)

    @property
    def reach(self) -> float:
        """Radius beyond which it is drawn as zero [nm]."""
        return max(4 * self.sigma, _AIRY_REACH / 3.8317 * self.airy_radius if self.tail else 0.0)


@dataclass(frozen=True, slots=True)
class StemImage:
    """A simulated image and its truth.

    Parameters
    ----------
    image
        Counts ``(y, x)`` float32.
    pixel_size
        [nm].
    xy
        Column positions inside the image ``(n, 2)`` [nm] from the top-left pixel centre, drift included.
    number, atoms
        Atomic number and atoms of each column ``(n,)``.
    vacancies
        Where an atom is missing ``(m, 2)`` [nm], drift included.
    weight
        Dark-field scattering of each column ``(n,)``.
    defects
        What is planted, drift included; its `Planted.atoms` are columns of this image.
    """

    image: npt.NDArray[np.float32]
    pixel_size: float
    xy: Floats
    number: npt.NDArray[np.int64]
    atoms: npt.NDArray[np.int64]
    vacancies: Floats
    weight: Floats
    defects: tuple[Planted, ...] = ()


_PROBE = Probe()


def adf_image(
    columns: Columns,
    shape: tuple[int, int],
    *,
    pixel_size: float,
    seed: int,
    counts: float = 50.0,
    background: float = 0.1,
    probe: Probe = _PROBE,
    drift: tuple[float, float] = (0.0, 0.0),
    line_jitter: float = 0.0,
    contamination: float = 0.0,
    readout: float = 0.3,
) -> StemImage:
    """Image atom columns.

    Parameters
    ----------
    columns
        What `micdb.embed.simulate.lattices.crystal` gives.
    shape
        ``(y, x)`` [pixel].
    pixel_size
        [nm].
    seed
        Of all noise.
    counts
        Expected counts in the brightest pixel of the strongest column.
    background
        Even background as a share of `counts`.
    probe
        The probe.
    drift
        Drift ``(y, x)`` over the whole frame [nm]; the truth moves with it.
    line_jitter
        Standard deviation of each line's displacement along x [nm]; not part of the truth.
    contamination
        Height of a slowly varying background as a share of `counts`.
    readout
        Standard deviation of the read-out noise [counts].
    """
    rng = np.random.default_rng(seed)
    height = shape[0] * pixel_size
    moved = np.array([drift[1], drift[0]]) / height  # per nm of y
    xy = _drifted(columns.xy, moved)
    relative = columns.weight / columns.weight.max()
    clean = _draw(xy / pixel_size, relative, shape, probe=probe, pixel_size=pixel_size)
    if line_jitter:
        clean = _shift_lines(clean, rng.normal(0.0, line_jitter / pixel_size, shape[0]))
    clean += background + contamination * smooth_noise(shape, scale=min(shape) / 6, rng=rng)
    noisy = rng.poisson(np.maximum(clean, 0.0) * counts) + rng.normal(0.0, readout, shape)
    extent = ((shape[0] - 1) * pixel_size, (shape[1] - 1) * pixel_size)
    seen = inside_field(xy, extent)
    index = np.where(seen, np.cumsum(seen) - 1, -1)
    defects = (replace(one, xy=_drifted_point(one.xy, moved)) for one in columns.defects)
    return StemImage(
        noisy.astype(np.float32), pixel_size, xy[seen], columns.number[seen], columns.atoms[seen],
        _drifted(columns.vacancies, moved), columns.weight[seen], renumbered(defects, index),
    )  # fmt: skip


def _drifted(xy: Floats, moved: Floats) -> Floats:
    return np.asarray(xy + np.outer(xy[:, 1], moved))


def _drifted_point(xy: tuple[float, float], moved: Floats) -> tuple[float, float]:
    ((x, y),) = _drifted(np.array([xy]), moved)
    return float(x), float(y)


def _draw(
    xy_px: Floats, weight: Floats, shape: tuple[int, int], *, probe: Probe, pixel_size: float
) -> Floats:
    reach = math.ceil(probe.reach / pixel_size)
    steps = np.arange(-reach, reach + 1)
    corner = np.rint(xy_px).astype(np.int64)
    x = corner[:, 0, None, None] + steps[None, None, :]
    y = corner[:, 1, None, None] + steps[None, :, None]
    radius = np.hypot(x - xy_px[:, 0, None, None], y - xy_px[:, 1, None, None]) * pixel_size
    table = np.linspace(0.0, probe.reach * 1.5, 4096)
    value = np.interp(radius, table, probe.profile(table), right=0.0) * weight[:, None, None]
    y, x = np.broadcast_arrays(y, x)
    inside = (y >= 0) & (y < shape[0]) & (x >= 0) & (x < shape[1])
    flat = np.bincount(y[inside] * shape[1] + x[inside], value[inside], minlength=shape[0] * shape[1])
    return np.asarray(flat.reshape(shape), dtype=np.float64)


def _shift_lines(image: Floats, shifts: Floats) -> Floats:
    columns = np.arange(image.shape[1], dtype=float)
    return np.stack(
        [np.interp(columns - shift, columns, line) for line, shift in zip(image, shifts, strict=True)]
    )


def smooth_noise(shape: tuple[int, int], *, scale: float, rng: np.random.Generator) -> Floats:
    """Return a smooth random surface ``(y, x)`` between 0 and 1, with features of about `scale` [pixel]."""
    rows, columns = (_spline_basis(size, scale) for size in shape)
    fine = rows @ rng.normal(size=(rows.shape[1], columns.shape[1])) @ columns.T
    return np.asarray((fine - fine.min()) / max(np.ptp(fine), 1e-12), dtype=np.float64)


def _spline_basis(size: int, scale: float) -> Floats:
    """Return uniform cubic B-splines, one knot per `scale` [pixel], as ``(size, knots)``."""
    place = (np.arange(size) + 0.5) / scale
    knot = place[:, None] - np.arange(-1, math.ceil(size / scale) + 3)
    near = np.abs(knot)
    inner, outer = 2 / 3 - near**2 + near**3 / 2, np.maximum(2 - near, 0.0) ** 3 / 6
    return np.asarray(np.where(near < 1, inner, outer), dtype=np.float64)
