"""Point scatterers convolved with a probe, sampled at pixel centres.

The scatterers are spread on a grid by the kernel of Barnett, Magland and af Klinteberg (SIAM J. Sci. Comput.
41, C479, 2019), Fourier transformed, divided by the kernel's transform and multiplied by the probe's: a
non-uniform FFT, as exact as its kernel is wide, whose cost hardly grows with the number of atoms.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from scipy import fft

Floats = npt.NDArray[np.float64]
Transfer = npt.NDArray[Any]

_WIDTH = 6  # [grid point] of the spreading kernel
_SHAPE = 2.30 * _WIDTH  # its exponent, after the paper
_FREE = 0.3  # [1/grid point] frequencies up to here are spread to 1e-4; half of the sampling rate is 0.5
_NODES, _NODE_WEIGHTS = np.polynomial.legendre.leggauss(40)
_LARGEST_CACHED = 1 << 20  # grid points whose transform is kept: 8 MB
_CHUNK = 20_000  # atoms spread at a time, to bound memory


class Blur(Protocol):
    """A probe: anything hashable that gives its intensity in Fourier space."""

    def __hash__(self) -> int: ...

    @property
    def reach(self) -> float:
        """Radius beyond which the intensity is negligible [nm]."""

    @property
    def cutoff(self) -> float:
        """Spatial frequency beyond which the transform is negligible [1/nm]."""

    def transfer(self, shape: tuple[int, int], pitch: float) -> Transfer:
        """Return the transform of the intensity, 1 at its peak [nm**2].

        Parameters
        ----------
        shape
            ``(y, x)`` of the grid; the result is ``(y, x // 2 + 1)``, as `scipy.fft.rfft2` orders it.
        pitch
            [nm] per grid point.
        """


def draw(
    xy: Floats,
    weight: Floats,
    shape: tuple[int, int],
    *,
    pixel_size: float,
    probe: Blur,
    line_shift: Floats | None = None,
) -> Floats:
    """Return an image ``(y, x)``: the sum of the probe's intensity at all scatterers.

    Parameters
    ----------
    xy
        Scatterers ``(n, 2)`` [nm] from the top-left pixel centre.
    weight
        Peak that each makes ``(n,)``.
    shape
        ``(y, x)`` [pixel].
    pixel_size
        [nm].
    probe
        The probe.
    line_shift
        Displacement along x of each line ``(y,)`` [nm].
    """
    fine = max(1, math.ceil(probe.cutoff * pixel_size / _FREE))
    pitch = pixel_size / fine
    pad = math.ceil(probe.reach / pitch) + _WIDTH
    grid = tuple(fft.next_fast_len(size * fine + 2 * pad, real=True) for size in shape)
    spectrum = fft.rfft2(_spread(xy / pitch + pad, weight, (grid[0], grid[1])))
    response = _cached_response if grid[0] * grid[1] <= _LARGEST_CACHED else _response
    spectrum *= response(probe, (grid[0], grid[1]), pitch)
    lines = fft.ifft(spectrum, axis=0)[pad : pad + shape[0] * fine : fine]
    if line_shift is not None:
        frequency = fft.rfftfreq(grid[1], pitch)
        lines = lines * np.exp(-2j * np.pi * line_shift[:, None] * frequency)
    image = fft.irfft(lines, n=grid[1], axis=1)
    return np.ascontiguousarray(image[:, pad : pad + shape[1] * fine : fine], dtype=np.float64)


def _spread(place: Floats, weight: Floats, grid: tuple[int, int]) -> Floats:
    """Return scatterers at places ``(n, 2)`` [grid point] as a grid ``(y, x)``, without those outside."""
    inside = ((place >= 0) & (place < [grid[1] - 1, grid[0] - 1])).all(axis=1)
    place, weight = place[inside], weight[inside]
    total = np.zeros(grid[0] * grid[1])
    for start in range(0, len(place), _CHUNK):
        part = place[start : start + _CHUNK]
        first = np.ceil(part - _WIDTH / 2).astype(np.int64)
        index = first[:, :, None] + np.arange(_WIDTH)
        value = _kernel((index - part[:, :, None]) * (2 / _WIDTH))
        value[:, 0] *= weight[start : start + _CHUNK, None]
        x, y = index[:, 0] % grid[1], index[:, 1] % grid[0] * grid[1]
        flat = (y[:, :, None] + x[:, None, :]).ravel()
        total += np.bincount(flat, (value[:, 1, :, None] * value[:, 0, None, :]).ravel(), len(total))
    return total.reshape(grid)


def _kernel(z: Floats) -> Floats:
    return np.asarray(np.exp(_SHAPE * (np.sqrt(np.maximum(1 - z * z, 0.0)) - 1)))


def _response(probe: Blur, grid: tuple[int, int], pitch: float) -> Transfer:
    """Return the probe's transfer over that of the spreading kernel, per grid point."""
    y, x = _kernel_transform(fft.fftfreq(grid[0])), _kernel_transform(fft.rfftfreq(grid[1]))
    return np.asarray(probe.transfer(grid, pitch) / (pitch * pitch * y[:, None] * x[None, :]))


_cached_response = lru_cache(maxsize=8)(_response)


def _kernel_transform(frequency: Floats) -> Floats:
    """Return the kernel's Fourier transform at frequencies [1/grid point], by Gauss-Legendre quadrature."""
    wave = np.cos(np.pi * _WIDTH * frequency[:, None] * _NODES)
    return np.asarray(_WIDTH / 2 * wave @ (_NODE_WEIGHTS * _kernel(_NODES)))
