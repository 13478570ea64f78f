"""The one cell that a network sees: the mean of all cells of a region, with what an image does to it."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy import fft

from micdb.embed.tilts.bank import GRID

Floats = npt.NDArray[np.float64]
Single = npt.NDArray[np.float32]

#: Grid ``(y, x)`` of a quarter of the cell, which repeats but for what alternates.
QUARTER = (GRID[0] // 2, GRID[1] // 2)

_REACH = 19.5, 14.0, 16.0  # [1/nm] of waves that repeat, that alternate along [001], and along both axes
_TYPICAL = 0.39  # [nm] lattice constant


def _modes() -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the waves of a cell that can say something: multiples of its reciprocal vectors, y and x."""
    y, x = (axis.ravel() for axis in np.meshgrid(*(np.arange(-n // 2, n // 2) for n in GRID), indexing="ij"))
    q = np.hypot(y / 2, x / math.sqrt(2)) / _TYPICAL
    half = (x > 0) | ((x == 0) & (y > 0))
    kinds = (y % 2 == 0) & (x % 2 == 0), (y % 2 == 1) & (x % 2 == 0), (y % 2 == 1) & (x % 2 == 1)
    kept = np.any([kind & (q <= reach) for kind, reach in zip(kinds, _REACH, strict=True)], axis=0) & half
    return y[kept], x[kept]


_Y, _X = _modes()
#: Numbers that `spectrum` gives for a cell.
NUMBERS = 2 * len(_Y) + 1

_SOURCE = (0.02, 0.05)  # [nm] standard deviation of the source's image
_SMEAR = 0.012  # [nm] at most, along one direction: jitter of lines, and cells that were not laid quite over
_COUNTS = (1000.0, 100000.0)  # electrons in a sample of the mean cell
_NEIGHBOURS = (
    0.132,
    0.982,
)  # weights of a noise sample's neighbours and itself: linear sharing between samples


def spectrum(cells: Floats, noise: Floats) -> Single:
    """Return cells as a network takes them: amplitudes of their waves, with B at the origin.

    Parameters
    ----------
    cells
        ``(n, y, x)`` on `GRID`, in any unit, columns dark.
    noise
        Standard deviation of their samples' noise ``(n,)`` in that unit.

    Returns
    -------
    numbers
        ``(n, NUMBERS)``: real and imaginary parts for cells of mean 0 and spread 1, and the logarithm of the
        noise over the spread. What alternates from cell to cell has the sign of the cell one begins at.
    """
    wave, spread = _aligned(cells)
    kept = wave[:, _Y, _X] / math.sqrt(math.prod(GRID))
    level = np.log(noise / spread)[:, None]
    return np.concatenate((kept.real, kept.imag, level), axis=1).astype(np.float32)


def whole(cells: Floats) -> Floats:
    """Return cells ``(n, y, x)`` moved until B is at the origin, of mean 0 and spread 1."""
    return np.asarray(fft.ifft2(_aligned(cells)[0]).real)


def quarter(cell: Floats) -> Floats:
    """Return what repeats four times in a cell ``(y, x)``, from B, of mean 0 and spread 1."""
    rows, columns = QUARTER
    mean = whole(cell[None])[0].reshape(2, rows, 2, columns).mean(axis=(0, 2))
    return np.asarray((mean - mean.mean()) / mean.std())


def _aligned(cells: Floats) -> tuple[npt.NDArray[np.complex128], Floats]:
    """Return the transforms of cells of mean 0 and spread 1 whose B is at the origin, and the spreads."""
    spread = cells.std(axis=(1, 2))
    wave = fft.fft2((cells - cells.mean(axis=(1, 2), keepdims=True)) / spread[:, None, None])
    across = -np.angle(-wave[:, 0, 2])  # columns are dark, at 0 and at half a diagonal
    # rows of A vary more along [1-10] than rows of B, where oxygen fills the gaps
    inner = wave[:, 2, 2] * np.exp(1j * across) + np.conj(wave[:, -2, 2] * np.exp(1j * across))
    y, x = fft.fftfreq(GRID[0], 1 / GRID[0])[:, None], fft.fftfreq(GRID[1], 1 / GRID[1])
    turn = -np.angle(inner)[:, None, None] * y / 2 + across[:, None, None] * x / 2
    return wave * np.exp(1j * turn), spread


def imaged(cells: Floats, constant: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Return cells ``(n, y, x)`` as an image gives them, at a random place, and their noise ``(n,)``.

    Parameters
    ----------
    cells
        Of the bank ``(n, y, x)``.
    constant
        Lattice constants ``(n,)`` [nm].
    rng
        Draws source size, smear, place and dose.
    """
    n = len(cells)
    source, smear = rng.uniform(*_SOURCE, n), rng.uniform(0.0, _SMEAR, n)
    counts = np.exp(rng.uniform(math.log(_COUNTS[0]), math.log(_COUNTS[1]), n))
    moved = blurred(
        cells,
        constant,
        source=source,
        smear=smear,
        way=rng.uniform(0.0, math.pi, n),
        shift=rng.random((n, 2)),
    )
    return noisy(moved, counts, rng)


def noisy(cells: Floats, counts: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Return cells ``(n, y, x)`` of so many counts per sample ``(n,)``, and their mean noise ``(n,)``."""
    mean = cells.mean(axis=(1, 2), keepdims=True)
    noise = np.sqrt(np.maximum(cells, 0.0) * mean / counts[:, None, None])
    side, centre = _NEIGHBOURS
    white = rng.normal(size=cells.shape)
    for axis in (1, 2):
        white = centre * white + side * (np.roll(white, 1, axis) + np.roll(white, -1, axis))
    return cells + noise * white, mean[:, 0, 0] / np.sqrt(counts)


def blurred(
    cells: Floats, constant: Floats, *, source: Floats, smear: Floats, way: Floats, shift: Floats
) -> Floats:
    """Return cells ``(n, y, x)`` blurred and moved.

    Parameters
    ----------
    cells, constant
        As for `imaged`.
    source
        Standard deviation of a round blur ``(n,)`` [nm].
    smear, way
        Standard deviation of a blur along one direction [nm], and that direction against x [radian] ``(n,)``.
    shift
        ``(n, 2)`` as y, x, in cells.
    """
    y, x = fft.fftfreq(GRID[0], 1 / GRID[0])[:, None], fft.rfftfreq(GRID[1], 1 / GRID[1])[None, :]
    wide = constant[:, None, None]
    qy, qx = y / (2 * wide), x / (math.sqrt(2) * wide)  # [1/nm]
    along = qx * np.cos(way)[:, None, None] + qy * np.sin(way)[:, None, None]
    exponent = source[:, None, None] ** 2 * (qx**2 + qy**2) + (smear[:, None, None] * along) ** 2
    turn = shift[:, 0, None, None] * y + shift[:, 1, None, None] * x
    factor = np.exp(-2 * math.pi**2 * exponent - 2j * math.pi * turn)
    return np.asarray(fft.irfft2(fft.rfft2(cells) * factor, s=GRID))
