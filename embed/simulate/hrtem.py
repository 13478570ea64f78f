"""High-resolution TEM images by multislice (Cowley and Moodie, Acta Cryst. 10, 609, 1957).

A plane wave passes the atoms slice by slice; the lens takes the wave behind them to the detector, in and out
of focus by its focal spread (Kirkland, Advanced Computing in Electron Microscopy). Unlike a dark-field image
this is interference: columns are bright or dark by their height, the focus and the aberrations. Atoms vibrate
(0.008 nm), which smooths the potential; what they scatter diffusely is lost.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft

from micdb.embed.simulate.distortion import Distortion
from micdb.embed.simulate.probe import Optics, wavelength
from micdb.embed.simulate.render import draw
from micdb.embed.simulate.scattering_factors import elastic, mass_ratio
from micdb.embed.simulate.stem import StemImage, detect, truth
from micdb.embed.simulate.structure import Structure

Floats = npt.NDArray[np.float64]
Wave = npt.NDArray[np.complex128]

_MOTION = 0.008  # [nm] standard deviation along an axis of the vibration of metal atoms at room temperature
_SLICE = 0.2  # [nm] about the distance of lattice planes
_LIMIT = 2 / 3  # of the Nyquist frequency: beyond it products of waves would alias
_FOCI = 5  # nodes of Gauss-Hermite quadrature over the focal spread

#: Spherical aberration corrected, underfocus, 0.08 nm information limit.
LENS = Optics(300.0, 25.0, defocus=5.0, c3=-10.0, source=0.02, focal_spread=3.0)


@dataclass(frozen=True, slots=True)
class _Potential:
    """What an atom does to the phase of a wave; a `micdb.embed.simulate.render.Blur`."""

    number: int
    voltage: float
    cutoff: float

    @property
    def reach(self) -> float:
        return 0.35  # [nm] half a per cent of the phase at the centre lies beyond

    def transfer(self, shape: tuple[int, int], pitch: float) -> Floats:
        """Return the transform of the phase [nm**2]."""
        q = np.hypot(fft.fftfreq(shape[0], pitch)[:, None], fft.rfftfreq(shape[1], pitch)[None, :])
        factor = elastic(self.number, q) * np.exp(-2 * (math.pi * _MOTION * q) ** 2)
        return np.asarray(wavelength(self.voltage) * mass_ratio(self.voltage) * factor * (q <= self.cutoff))


def hrtem_image(
    structure: Structure,
    shape: tuple[int, int],
    *,
    pixel_size: float,
    seed: int,
    counts: float = 30.0,
    lens: Optics = LENS,
    support: float = 0.0,
    readout: float = 0.0,
) -> StemImage:
    """Image atoms with a plane wave.

    Parameters
    ----------
    structure
        The atoms, z along the beam; what lies outside the field is left out, and waves that leave it on one
        side come in on the other: keep 0.3 nm around a particle.
    shape
        ``(y, x)`` [pixel].
    pixel_size
        [nm].
    seed
        Of the support and all noise.
    counts
        Expected counts in a pixel without a sample.
    lens
        The objective; its `convergence` is the half-angle of the aperture, its `source` the standard
        deviation of vibration and detector blur [nm].
    support
        Thickness of an amorphous carbon film below the atoms [nm].
    readout
        Standard deviation of the read-out noise [counts].
    """
    rng = np.random.default_rng(seed)
    field = (shape[0] * pixel_size, shape[1] * pixel_size)
    xyz, number = structure.xyz, structure.number
    if support > 0:
        film = _film(field, support, top=float(xyz[:, 2].max(initial=0.0)), rng=rng)
        xyz, number = np.concatenate((xyz, film)), np.concatenate((number, np.full(len(film), 6)))
    wave = exit_wave(xyz, number, shape, pixel_size=pixel_size, voltage=lens.voltage)
    image = detect(counts * intensity(wave, pixel_size, lens), readout=readout, rng=rng)
    still = Distortion((0.0, 0.0), (0.0, 1.0), field[0])
    columns = structure.columns()
    return truth(columns, image, pixel_size=pixel_size, scan=still, line_shift=np.zeros(shape[0]))


def exit_wave(
    xyz: Floats,
    number: npt.NDArray[np.integer],
    shape: tuple[int, int],
    *,
    pixel_size: float,
    voltage: float,
    share: Floats | None = None,
) -> Wave:
    """Return the wave ``(y, x)`` behind atoms, 1 where there are none.

    Parameters
    ----------
    xyz, number
        Positions ``(n, 3)`` [nm] and atomic numbers ``(n,)``.
    shape
        ``(y, x)`` [pixel].
    pixel_size
        [nm].
    voltage
        [kV].
    share
        Of each atom that is there ``(n,)``; whole ones unless given.
    """
    y, x = (fft.fftfreq(size, pixel_size) for size in shape)
    square = y[:, None] ** 2 + x[None, :] ** 2
    cutoff = _LIMIT / 2 / pixel_size
    glide = np.where(square <= cutoff**2, np.exp(-1j * math.pi * wavelength(voltage) * _SLICE * square), 0.0)
    wave = np.ones(shape, np.complex128)
    if not len(number):
        return wave
    weight = np.ones(len(number)) if share is None else share
    layer = np.floor((xyz[:, 2] - xyz[:, 2].min()) / _SLICE + 1e-9).astype(int)
    for one in range(int(layer.max()) + 1):
        here = layer == one
        phase = np.zeros(shape)
        for kind in np.unique(number[here]):
            chosen = here & (number == kind)
            atom = _Potential(int(kind), voltage, cutoff)
            phase += draw(xyz[chosen, :2], weight[chosen], shape, pixel_size=pixel_size, probe=atom)
        wave = fft.ifft2(fft.fft2(wave * np.exp(1j * phase)) * glide)
    return np.asarray(wave)


def intensity(wave: Wave, pixel_size: float, lens: Optics) -> Floats:
    """Return the image ``(y, x)`` that a lens makes of a wave, 1 where there is no sample.

    Parameters
    ----------
    wave
        ``(y, x)``.
    pixel_size
        [nm].
    lens
        As in `hrtem_image`.
    """
    y, x = (fft.fftfreq(size, pixel_size) for size in wave.shape)
    angle = np.hypot(y[:, None], x[None, :]) * lens.wavelength
    azimuth = np.arctan2(y[:, None], x[None, :])
    aperture = angle <= 1e-3 * lens.convergence
    node, weight = np.polynomial.hermite.hermgauss(_FOCI if lens.focal_spread else 1)
    spectrum, image = fft.fft2(wave), np.zeros(wave.shape)
    for focus, share in zip(lens.defocus + math.sqrt(2) * lens.focal_spread * node, weight, strict=True):
        seen = fft.ifft2(spectrum * aperture * np.exp(-1j * lens.phase(angle, azimuth, defocus=float(focus))))
        image += share / weight.sum() * np.square(np.abs(seen))
    blur = np.exp(-2 * (math.pi * lens.source / lens.wavelength * angle) ** 2)
    return np.asarray(fft.ifft2(fft.fft2(image) * blur).real)


_CARBON_DENSITY = 90.0  # [atoms/nm**3] of amorphous carbon, 1.8 g/cm**3


def _film(field: tuple[float, float], thickness: float, *, top: float, rng: np.random.Generator) -> Floats:
    count = rng.poisson(_CARBON_DENSITY * field[0] * field[1] * thickness)
    return np.asarray(rng.random((count, 3)) * [field[1], field[0], thickness] + [0.0, 0.0, top + 0.2])
