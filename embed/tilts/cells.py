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
#: Of each wave, the one mirrored along y; -1 where that is its own conjugate.
_OPPOSITE = np.array(
    [next(iter(np.flatnonzero((-y == _Y) & (x == _X))), -1) for y, x in zip(_Y, _X, strict=True)]
)
#: Numbers that `spectrum` gives for a cell.
NUMBERS = 2 * len(_Y) + 1

_SOURCE = (0.02, 0.05)  # [nm] standard deviation of the source's image
_SMEAR = 0.012  # [nm] at most, along one direction: jitter of lines, and cells that were not laid quite over
_COUNTS = (1000.0, 100000.0)  # electrons in a sample of the mean cell
_NEIGHBOURS = 0.132, 0.982  # linear sharing: weights of a noise sample's neighbours and of itself
#: What that leaves of the noise of each wave.
_SHARED = np.prod(
    [_NEIGHBOURS[1] + 2 * _NEIGHBOURS[0] * np.cos(2 * math.pi * k / n) for k, n in ((_Y, 40), (_X, 28))],
    axis=0,
)


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
    return _numbers(waves(cells), cells.std(axis=(1, 2)), noise)


def waves(cells: Floats) -> npt.NDArray[np.complex128]:
    """Return the transforms of cells ``(n, y, x)`` at the waves that can say something ``(n, m)``."""
    return np.asarray(fft.fft2(cells)[:, _Y, _X] / math.prod(GRID))


def whole(cells: Floats) -> Floats:
    """Return cells ``(n, y, x)`` moved until B is at the origin, of mean 0 and spread 1."""
    flat = cells - cells.mean(axis=(1, 2), keepdims=True)
    y, x = _turn(waves(cells))
    rows, columns = (fft.fftfreq(size, 1 / size) for size in GRID)
    turn = y[:, None, None] * rows[:, None] + x[:, None, None] * columns
    return np.asarray(
        fft.ifft2(fft.fft2(flat) * np.exp(1j * turn)).real / flat.std(axis=(1, 2), keepdims=True)
    )


def quarter(cell: Floats) -> Floats:
    """Return what repeats four times in a cell ``(y, x)``, from B, of mean 0 and spread 1."""
    rows, columns = QUARTER
    mean = whole(cell[None])[0].reshape(2, rows, 2, columns).mean(axis=(0, 2))
    return np.asarray((mean - mean.mean()) / mean.std())


def _turn(wave: npt.NDArray[np.complex128]) -> tuple[Floats, Floats]:
    """Return the phases ``(n,)`` per order along y and x that take B to the origin."""
    first, up, down = (
        wave[:, int(np.flatnonzero((y == _Y) & (x == _X))[0])] for y, x in ((0, 2), (2, 2), (-2, 2))
    )
    across = -np.angle(-first)  # columns are dark, at 0 and at half a diagonal
    # rows of A vary more along [1-10] than rows of B, where oxygen fills the gaps
    inner = up * np.exp(1j * across) + np.conj(down * np.exp(1j * across))
    return -np.angle(inner) / 2, across / 2


def _numbers(wave: npt.NDArray[np.complex128], spread: Floats, noise: Floats) -> Single:
    y, x = _turn(wave)
    scale = math.sqrt(math.prod(GRID)) / spread
    kept = wave * np.exp(1j * (np.outer(y, _Y) + np.outer(x, _X))) * scale[:, None]
    return np.column_stack((kept.real, kept.imag, np.log(noise / spread))).astype(np.float32)


def imaged(
    wave: npt.NDArray[np.complex128], mean: Floats, constant: Floats, rng: np.random.Generator
) -> Single:
    """Return the `spectrum` of cells as images give them.

    Parameters
    ----------
    wave, mean
        `waves` of cells of the bank ``(n, m)``, and their means ``(n,)``.
    constant
        Lattice constants ``(n,)`` [nm].
    rng
        Draws source size, smear, dose, and the cell one begins at.
    """
    n = len(wave)
    source, smear = rng.uniform(*_SOURCE, n), rng.uniform(0.0, _SMEAR, n)
    way = rng.uniform(0.0, math.pi, n)
    noise = mean / np.sqrt(np.exp(rng.uniform(math.log(_COUNTS[0]), math.log(_COUNTS[1]), n)))
    qy, qx = np.outer(1 / (2 * constant), _Y), np.outer(1 / (math.sqrt(2) * constant), _X)  # [1/nm]
    along = qx * np.cos(way)[:, None] + qy * np.sin(way)[:, None]
    blur = source[:, None] ** 2 * (qx**2 + qy**2) + (smear[:, None] * along) ** 2
    begin = np.where(rng.random((2, n, 1)) < 0.5, -1.0, 1.0)
    sign = np.where(_Y % 2 == 1, begin[0], 1.0) * np.where(_X % 2 == 1, begin[1], 1.0)
    white = rng.normal(size=(2, *wave.shape)) * _SHARED * (noise / math.sqrt(2 * math.prod(GRID)))[:, None]
    moved = wave * sign * np.exp(-2 * math.pi**2 * blur) + white[0] + 1j * white[1]
    # by Parseval, noise of all waves included
    spread = np.sqrt(2 * np.square(np.abs(wave) * np.exp(-2 * math.pi**2 * blur)).sum(axis=1) + noise**2)
    return _numbers(moved, spread, noise)


def mirrored(
    wave: npt.NDArray[np.complex128], along_y: npt.NDArray[np.bool_], along_x: npt.NDArray[np.bool_]
) -> npt.NDArray[np.complex128]:
    """Return the waves ``(n, m)`` of cells, some of them ``(n,)`` mirrored along y or along x."""
    other = np.where(_OPPOSITE >= 0, wave[:, _OPPOSITE], np.conj(wave))  # of waves along y, their own
    made = np.where(along_y[:, None], other, wave)
    return np.where(along_x[:, None], np.conj(np.where(along_y[:, None], wave, other)), made)


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
