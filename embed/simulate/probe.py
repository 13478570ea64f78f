"""The electron probe from its aberration function (Kirkland, Advanced Computing in Electron Microscopy).

A coherent wave fills the aperture with a phase ``exp(-i chi)``; its intensity in the sample plane is averaged
over the spread of focus and blurred by the size of the source. Symbols: C1, A1, C3, C5 of the usual
expansion, as Krivanek et al. (Ultramicroscopy 78, 1, 1999) write C10, C12, C30, C50.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import fft

Floats = npt.NDArray[np.float64]

_AIRY_RADIUS = 0.61  # [wavelength / aperture] first dark ring
_FIRST_ZERO = 3.8317  # of the Bessel function J1
_NEGLIGIBLE = 1e-4  # of the peak
_BROADENING = 0.009  # [nm per root nm of thickness]
_FOCI = 7  # nodes of Gauss-Hermite quadrature over the focal spread


@dataclass(frozen=True, slots=True)
class Optics:
    """A probe-forming lens. It takes the place of `micdb.embed.simulate.stem.Probe` in any image.

    Parameters
    ----------
    voltage
        [kV].
    convergence
        Semi-angle of the aperture [mrad].
    defocus
        Underfocus is positive [nm].
    astigmatism
        Twofold, as the difference of focus from the mean along its axis [nm].
    astigmatism_angle
        Of that axis against x [deg].
    c3
        Spherical aberration [um].
    c5
        Fifth-order spherical aberration [mm].
    source
        Standard deviation of the source's image, thermal motion of the atoms included [nm].
    focal_spread
        Standard deviation of the focus, from the energy spread and chromatic aberration [nm].
    """

    voltage: float = 80.0
    convergence: float = 31.0
    defocus: float = 0.0
    astigmatism: float = 0.0
    astigmatism_angle: float = 0.0
    c3: float = 0.0
    c5: float = 0.0
    source: float = 0.03
    focal_spread: float = 0.0

    @property
    def wavelength(self) -> float:
        """Relativistic electron wavelength [nm]."""
        return wavelength(self.voltage)

    @property
    def cutoff(self) -> float:
        """Spatial frequency beyond which nothing is transferred [1/nm]."""
        return 2e-3 * self.convergence / self.wavelength

    @property
    def reach(self) -> float:
        """Radius beyond which the intensity is negligible [nm]."""
        angle = 1e-3 * self.convergence
        rings = (8 / math.pi / _NEGLIGIBLE) ** (1 / 3) / _FIRST_ZERO * _AIRY_RADIUS * self.wavelength / angle
        focus = abs(self.defocus) + abs(self.astigmatism) + 2 * self.focal_spread
        blur = angle * focus + abs(self.c3) * 1e3 * angle**3 + abs(self.c5) * 1e6 * angle**5
        return float(rings + blur + 4 * self.source)

    def broadened(self, thickness: float) -> Optics:
        """Return the probe with the blur of a crystal of some thickness [nm].

        Columns of a thicker crystal look wider: multislice of SrTiO3 and Au to 8 nm is met by a Gaussian of
        0.009 nm times the square root of the thickness in nm (docs/benchmarks.md, "Atoms: the simulator").
        """
        return replace(self, source=math.hypot(self.source, _BROADENING * math.sqrt(thickness)))

    def phase(self, angle: Floats, azimuth: Floats, *, defocus: float) -> Floats:
        """Return the aberration function chi [radian].

        Parameters
        ----------
        angle
            To the optical axis [radian].
        azimuth
            Against x [radian].
        defocus
            [nm].
        """
        twofold = self.astigmatism * np.cos(2 * (azimuth - math.radians(self.astigmatism_angle)))
        path = (
            angle**2 / 2 * (twofold - defocus)
            + angle**4 / 4 * self.c3 * 1e3
            + angle**6 / 6 * self.c5 * 1e6
        )  # fmt: skip  # [nm]
        return np.asarray(2 * math.pi / self.wavelength * path)

    def intensity(self, shape: tuple[int, int], pitch: float) -> Floats:
        """Return the probe ``(y, x)``, 1 at its peak, its centre at index (0, 0), periodic.

        Parameters
        ----------
        shape
            ``(y, x)`` of the grid.
        pitch
            [nm] per grid point; half of `cutoff` times it must stay under 0.5.
        """
        return np.asarray(fft.irfft2(self.transfer(shape, pitch), s=shape) / pitch**2)

    def transfer(self, shape: tuple[int, int], pitch: float) -> npt.NDArray[np.complex128]:
        """Return the Fourier transform of the intensity; see `micdb.embed.simulate.render.Blur`."""
        node, weight = np.polynomial.hermite.hermgauss(_FOCI if self.focal_spread else 1)
        foci = self.defocus + math.sqrt(2) * self.focal_spread * node
        waves = [self._wave(shape, pitch, defocus=focus) for focus in foci]
        probe = sum(share * np.abs(wave) ** 2 for share, wave in zip(weight, waves, strict=True))
        y, x = fft.fftfreq(shape[0], pitch), fft.rfftfreq(shape[1], pitch)
        blur = np.exp(-2 * (math.pi * self.source) ** 2 * (y[:, None] ** 2 + x[None, :] ** 2))
        spectrum = fft.rfft2(probe) * blur
        return np.asarray(spectrum * (pitch**2 / fft.irfft2(spectrum, s=shape).max()))

    def _wave(self, shape: tuple[int, int], pitch: float, *, defocus: float) -> npt.NDArray[np.complex128]:
        y, x = (fft.fftfreq(size, pitch) * self.wavelength for size in shape)
        angle, azimuth = np.hypot(y[:, None], x[None, :]), np.arctan2(y[:, None], x[None, :])
        step = max(y[1] - y[0], x[1] - x[0])
        inside = np.clip((1e-3 * self.convergence - angle) / step + 0.5, 0.0, 1.0)  # no staircase
        return np.asarray(fft.ifft2(inside * np.exp(-1j * self.phase(angle, azimuth, defocus=defocus))))


def wavelength(voltage: float) -> float:
    """Return the relativistic wavelength [nm] of electrons at a voltage [kV]: 80 kV has 0.00418 nm."""
    rest = 510.99895  # [keV]
    return 1.23984198 / math.sqrt(voltage * (2 * rest + voltage))  # [keV nm] h c
