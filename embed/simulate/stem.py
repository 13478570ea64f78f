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
from scipy import fft, special

from micdb.embed.simulate.distortion import Distortion
from micdb.embed.simulate.lattices import inside_field
from micdb.embed.simulate.render import Blur, draw
from micdb.embed.simulate.structure import CONTRAST_EXPONENT, Columns, Planted, Structure, renumbered

Floats = npt.NDArray[np.float64]

_FIRST_ZERO = 3.8317  # of the Bessel function J1
_NEGLIGIBLE = 1e-4  # of the peak


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
        argument = np.maximum(_FIRST_ZERO * radius / self.airy_radius, 1e-6)
        airy = (2 * special.j1(argument) / argument) ** 2
        return np.asarray((1 - self.tail) * np.exp(-0.5 * (radius / self.sigma) ** 2) + self.tail * airy)

    @property
    def reach(self) -> float:
        """Radius beyond which the intensity is negligible [nm]."""
        rings = (8 / np.pi * self.tail / _NEGLIGIBLE) ** (1 / 3)  # the Airy pattern's envelope is 8 / pi v**3
        core = self.sigma * math.sqrt(-2 * math.log(_NEGLIGIBLE))
        return float(max(core, rings / _FIRST_ZERO * self.airy_radius))

    @property
    def cutoff(self) -> float:
        """Spatial frequency beyond which the transform is negligible [1/nm]."""
        gauss = math.sqrt(-math.log(_NEGLIGIBLE) / 2) / (math.pi * self.sigma)
        return max(gauss, _FIRST_ZERO / math.pi / self.airy_radius if self.tail else 0.0)

    def transfer(self, shape: tuple[int, int], pitch: float) -> Floats:
        """Return the Fourier transform of the intensity [nm**2]; see `micdb.embed.simulate.render.Blur`."""
        half = fft.rfftfreq(shape[0], pitch)  # the other half is its mirror image
        k = np.hypot(half[:, None], fft.rfftfreq(shape[1], pitch)[None, :])
        table = np.linspace(0.0, 0.75 / pitch, 4096)
        gauss = 2 * np.pi * self.sigma**2 * np.exp(-2 * (np.pi * self.sigma * table) ** 2)
        # of the Airy pattern: the overlap of two discs (Goodman, Introduction to Fourier Optics)
        share = np.minimum(table * np.pi * self.airy_radius / _FIRST_ZERO, 1.0)
        overlap = 2 / np.pi * (np.arccos(share) - share * np.sqrt(1 - share * share))
        airy = 4 * np.pi * (self.airy_radius / _FIRST_ZERO) ** 2 * overlap
        value = np.interp(k, table, (1 - self.tail) * gauss + self.tail * airy)
        return np.concatenate((value, value[(shape[0] - 1) // 2 : 0 : -1]))


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
        Column positions inside the image ``(n, 2)`` [nm] from the top-left pixel centre, drift and fly-back
        included.
    number, atoms
        Atomic number and atoms of each column ``(n,)``.
    vacancies
        Where an atom is missing ``(m, 2)`` [nm], distorted alike.
    weight
        Scattering of each column ``(n,)``; see `micdb.embed.simulate.structure.Columns`.
    defects
        What is planted, distorted alike; its `Planted.atoms` are columns of this image.
    line_shift
        Displacement along x of each line ``(y,)`` [nm], which is not in `xy`.
    column
        Which of the columns drawn each one is ``(n,)``; leads to `Structure.column_bonds`.
    """

    image: npt.NDArray[np.float32]
    pixel_size: float
    xy: Floats
    number: npt.NDArray[np.int64]
    atoms: npt.NDArray[np.int64]
    vacancies: Floats
    weight: Floats
    defects: tuple[Planted, ...]
    line_shift: Floats
    column: npt.NDArray[np.int64]


_PROBE = Probe()


def adf_image(
    source: Columns | Structure,
    shape: tuple[int, int],
    *,
    pixel_size: float,
    seed: int,
    counts: float = 50.0,
    background: float = 0.1,
    probe: Blur = _PROBE,
    drift: tuple[float, float] = (0.0, 0.0),
    flyback: tuple[float, float] = (0.0, 1.0),
    line_jitter: float = 0.0,
    contamination: float = 0.0,
    readout: float = 0.3,
    exponent: float = CONTRAST_EXPONENT,
    growth: float = 1.0,
) -> StemImage:
    """Image atoms in the annular dark field.

    Parameters
    ----------
    source
        Columns, each drawn at its position; or a structure, whose atoms are drawn one by one.
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
    flyback
        How far the beam lags at the start of each line, and the length over which that dies away [nm]; the
        truth moves with it.
    line_jitter
        Standard deviation of each line's displacement along x [nm]; given as `StemImage.line_shift`.
    contamination
        Height of a slowly varying background as a share of `counts`.
    readout
        Standard deviation of the read-out noise [counts].
    exponent
        Of the atomic number in the scattering of a structure's atoms; columns bring their own weight.
    growth
        Of the number of atoms in a structure's columns; see `Structure.scattering`.
    """
    columns, xy, weight = scatterers(source, exponent, growth)
    rng = np.random.default_rng(seed)
    shift = rng.normal(0.0, line_jitter, shape[0]) if line_jitter else np.zeros(shape[0])
    scan = Distortion(drift, flyback, shape[0] * pixel_size)
    clean = draw(
        scan.seen(xy), weight / columns.weight.max(initial=1e-300), shape, pixel_size=pixel_size,
        probe=probe, line_shift=shift if line_jitter else None,
    )  # fmt: skip
    clean += background + contamination * smooth_noise(shape, scale=min(shape) / 6, rng=rng)
    noisy = detect(clean * counts, readout=readout, rng=rng)
    return truth(columns, noisy, pixel_size=pixel_size, scan=scan, line_shift=shift)


def scatterers(
    source: Columns | Structure, exponent: float, growth: float = 1.0
) -> tuple[Columns, Floats, Floats]:
    """Return the columns, and the place ``(n, 2)`` [nm] and weight ``(n,)`` of each thing to draw.

    Of columns those are their own; of a structure each atom's, as `Structure.scattering` has it.
    """
    if isinstance(source, Columns):
        return source, source.xy, source.weight
    weight = source.scattering(exponent=exponent, growth=growth)
    return source.columns(exponent=exponent, growth=growth), source.xyz[:, :2], weight


def detect(expected: Floats, *, readout: float, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Return counts: Poisson of what is expected ``(y, x)``, and Gaussian read-out noise [counts]."""
    counted = rng.poisson(np.maximum(expected, 0.0))
    return np.asarray(counted + rng.normal(0.0, readout, expected.shape), dtype=np.float32)


def truth(
    columns: Columns,
    image: npt.NDArray[np.float32],
    *,
    pixel_size: float,
    scan: Distortion,
    line_shift: Floats,
) -> StemImage:
    """Return an image with the columns that lie in it, where the distorted scan shows them."""
    xy = scan.seen(columns.xy)
    extent = ((image.shape[0] - 1) * pixel_size, (image.shape[1] - 1) * pixel_size)
    seen = inside_field(xy, extent)
    index = np.where(seen, np.cumsum(seen) - 1, -1)
    places = scan.seen(np.array([one.xy for one in columns.defects]).reshape(-1, 2)).tolist()
    moved = (replace(one, xy=(x, y)) for one, (x, y) in zip(columns.defects, places, strict=True))
    return StemImage(
        image, pixel_size, xy[seen], columns.number[seen], columns.atoms[seen],
        scan.seen(columns.vacancies), columns.weight[seen], renumbered(moved, index), line_shift,
        np.flatnonzero(seen),
    )  # fmt: skip


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
