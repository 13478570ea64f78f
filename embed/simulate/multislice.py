"""Multislice images of crystals that are periodic across the beam.

The method is that of Cowley and Moodie (Acta Crystallogr. 10, 609, 1957). A crystal scatters a plane wave
only into waves that differ by its reciprocal lattice vectors. So the waves in a probe fall into families, one
for each point of a coarse mesh in the Brillouin zone, and each family passes the crystal on its own: a matrix
of a few hundred beams for one period along the beam, applied again and again. That gives the scattering
matrix at every thickness in one pass (compare PRISM: Ophus, Adv. Struct. Chem. Imaging 3, 13, 2017); probes
of any focus, aperture and tilt are formed from it afterwards. Atoms vibrate: the potential is smoothed, and
what is scattered diffusely is absorbed (`micdb.embed.simulate.scattering_factors`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft

from micdb.embed.simulate.probe import Optics, wavelength
from micdb.embed.simulate.scattering_factors import diffuse, elastic, mass_ratio

Floats = npt.NDArray[np.float64]
Waves = npt.NDArray[np.complex64]


@dataclass(frozen=True, slots=True)
class Period:
    """One period along the beam of a crystal, cut in slices.

    Parameters
    ----------
    cell
        ``(y, x)`` of the rectangular cell across the beam [nm].
    depth
        Of the period [nm].
    transmission
        By what each slice multiplies a wave ``(slice, y, x)``, on a grid over the cell.
    voltage
        [kV].
    """

    cell: tuple[float, float]
    depth: float
    transmission: npt.NDArray[np.complex128]
    voltage: float

    @classmethod
    def of(
        cls,
        xyz: Floats,
        number: npt.NDArray[np.integer],
        thermal: Floats,
        cell: tuple[float, float, float],
        *,
        slices: int,
        cutoff: float,
        voltage: float,
        absorption: float = 1.0,
    ) -> Period:
        """Cut the atoms of a cell in slices of the same depth, the first of them around z = 0.

        Parameters
        ----------
        xyz
            Positions ``(n, 3)`` [nm]; taken modulo the cell.
        number, thermal
            Atomic numbers and standard deviations of their vibration along one axis [nm] ``(n,)``.
        cell
            ``(y, x, z)`` [nm].
        slices
            How many.
        cutoff
            Largest spatial frequency of waves that is followed [1/nm].
        voltage
            [kV].
        absorption
            Share of the electrons scattered diffusely that is taken out; the others pass as if elastic.
        """
        layer = np.rint(xyz[:, 2] / cell[2] * slices).astype(int) % slices
        shape = (_even(4 * cutoff * cell[0]), _even(4 * cutoff * cell[1]))  # holds differences of two waves
        y, x = fft.fftfreq(shape[0], cell[0] / shape[0]), fft.fftfreq(shape[1], cell[1] / shape[1])
        q = np.hypot(y[:, None], x[None, :])
        factors = {
            (kind, motion): _vibrating(kind, motion, q, voltage, absorption=absorption)
            for kind, motion in {(int(a), float(b)) for a, b in zip(number, thermal, strict=True)}
        }
        phase = np.zeros((slices, *shape), np.complex128)
        for place, kind, motion, index in zip(xyz, number, thermal, layer, strict=True):
            shift = np.exp(-2j * math.pi * y * place[1])[:, None] * np.exp(-2j * math.pi * x * place[0])
            phase[index] += factors[int(kind), float(motion)] * shift
        scale = wavelength(voltage) * mass_ratio(voltage) * math.prod(shape) / (cell[0] * cell[1])
        return cls(cell[:2], cell[2], np.exp(1j * scale * fft.ifft2(phase)), voltage)


@dataclass(frozen=True, slots=True)
class Family:
    """Plane waves that differ by reciprocal lattice vectors.

    Parameters
    ----------
    index
        Those vectors as multiples ``(n, 2)`` of ``1 / cell``: y, x.
    q
        Spatial frequencies of the waves ``(n, 2)`` as y, x [1/nm].
    """

    index: npt.NDArray[np.int64]
    q: Floats

    @classmethod
    def of(cls, cell: tuple[float, float], offset: tuple[float, float], cutoff: float) -> Family:
        """Return the waves up to a cutoff [1/nm] that differ by lattice vectors from an offset ``(y, x)``.

        The offset is in reciprocal cells, 0 to 1.
        """
        reach = [math.ceil(cutoff * side) + 1 for side in cell]
        grid = np.meshgrid(*(np.arange(-n, n + 1) for n in reach), indexing="ij")
        index = np.stack([axis.ravel() for axis in grid], axis=1)
        q = (index + np.array(offset)) / np.array(cell)
        near = np.hypot(*q.T) <= cutoff
        return cls(index[near], q[near])


@dataclass(frozen=True, slots=True)
class Scattering:
    """Amplitudes behind a crystal of some thickness, for the plane waves of one family.

    Parameters
    ----------
    waves
        Of the probe, within its aperture; the same set in front and behind.
    amplitude
        ``(behind, in front)``.
    """

    waves: Family
    amplitude: Waves


def mesh(cell: tuple[float, float], field: float) -> list[tuple[float, float]]:
    """Return offsets ``(y, x)`` of families that hold a probe which is wider than `field` [nm] nowhere."""
    steps = [max(1, math.ceil(field / side)) for side in cell]
    return [((i + 0.5) / steps[0], (j + 0.5) / steps[1]) for i in range(steps[0]) for j in range(steps[1])]


def scatter(
    period: Period,
    offset: tuple[float, float],
    *,
    aperture: float,
    cutoff: float,
    first: int = 1,
    stride: int = 1,
) -> Iterator[Scattering]:
    """Yield how one family of waves is scattered by ``first``, ``first + stride``, ... periods.

    Parameters
    ----------
    period
        Of the crystal.
    offset
        Of the family; see `mesh`.
    aperture
        Largest spatial frequency in front and behind [1/nm].
    cutoff
        Largest within the crystal [1/nm].
    first, stride
        Periods before the first exit, and from one to the next.
    """
    waves = Family.of(period.cell, offset, cutoff)
    seen = np.flatnonzero(np.hypot(*waves.q.T) <= aperture)
    inner = Family(waves.index[seen], waves.q[seen])
    matrix = _transfer(period, waves)
    state = np.ascontiguousarray(matrix[:, seen])
    step = np.linalg.matrix_power(matrix, stride)
    strides, rest = divmod(first - 1, stride)
    for one in [matrix] * rest + [step] * strides:
        state = one @ state
    while True:
        yield Scattering(inner, state[seen])
        state = step @ state


def annular_image(
    parts: list[Scattering],
    optics: Optics,
    detector: tuple[float, float],
    *,
    shape: tuple[int, int],
    tilt: tuple[float, float] = (0.0, 0.0),
    edge: float = 1.0,
) -> Floats:
    """Return the share of electrons on an annular detector, ``(y, x)`` over one cell, for each probe place.

    Parameters
    ----------
    parts
        Of all families of a `mesh`, at one thickness.
    optics
        Of the probe; its source is left to the caller.
    detector
        Inner and outer angle [mrad].
    shape
        ``(y, x)`` of the grid over the cell, more than four times aperture times cell.
    tilt
        Of the beam, and the detector with it, against the zone axis ``(y, x)`` [mrad].
    edge
        Width of the soft edges of aperture and detector [mrad]: about the distance of waves.
    """
    total, image = 0.0, np.zeros(shape)
    for part in parts:
        q = part.waves.q * optics.wavelength - 1e-3 * np.array(tilt)  # [radian] to the beam's axis
        angle = np.hypot(*q.T)
        lens = _below(angle, optics.convergence, edge)
        wave = lens * np.exp(-1j * optics.phase(angle, np.arctan2(*q.T), defocus=optics.defocus))
        seen = _below(angle, detector[1], edge) - _below(angle, detector[0], edge)
        lit, kept = lens > 0, seen > 0
        # moving the probe by r multiplies each of its waves by exp(-2 pi i q r): a Fourier transform
        spectrum = np.zeros((int(kept.sum()), *shape), np.complex64)
        rows, columns = (-part.waves.index[lit] % np.array(shape)).T
        spectrum[:, rows, columns] = part.amplitude[np.ix_(kept, lit)] * wave[lit] * math.prod(shape)
        field = fft.ifft2(spectrum, overwrite_x=True)
        power = field.real**2 + field.imag**2
        image += np.tensordot(seen[kept], power, axes=1)
        total += float(np.square(lens).sum())
    return image / total


def _transfer(period: Period, waves: Family) -> Waves:
    """Return what one period makes of waves ``(n, n)``."""
    count = len(period.transmission)
    path = -math.pi * wavelength(period.voltage) * period.depth / count
    glide = np.exp(1j * path * np.square(waves.q).sum(axis=1))
    y, x = waves.index.T
    rows, columns = y[:, None] - y[None, :], x[:, None] - x[None, :]
    whole: Waves = np.eye(len(y), dtype=np.complex64)
    for number, slice_ in enumerate(period.transmission):
        spectrum = (fft.fft2(slice_) / slice_.size).astype(np.complex64)
        one = glide.astype(np.complex64)[:, None] * spectrum[rows, columns]
        whole = one @ whole if number else one
    return whole


def _vibrating(
    kind: int, motion: float, q: Floats, voltage: float, *, absorption: float
) -> npt.NDArray[np.complex128]:
    factor = elastic(kind, q) + 1j * absorption * diffuse(kind, q, thermal=motion, voltage=voltage)
    return np.asarray(factor * np.exp(-2 * (math.pi * motion * q) ** 2))


def _below(angle: Floats, limit: float, edge: float) -> Floats:
    """Return 1 below a limit [mrad] and 0 above it, with a linear edge [mrad]; angles in radian."""
    return np.asarray(np.clip((limit - 1e3 * angle) / edge + 0.5, 0.0, 1.0))


def _even(size: float) -> int:
    return 2 * math.ceil(size / 2)
