"""From an image of a perovskite along [110] to the mean cell of each region.

Two of the lattice's waves, that of the planes across [1-10] and the second order of those across [001], carry
the lattice through the image: their phases say where in its cell each pixel is, whatever drift and scan have
done. Pixels then go to their place in one cell of 2 x root 2 lattice constants, where noise averages out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from micdb.embed.lattice.reciprocal import image_lattice
from micdb.embed.tilts.bank import GRID
from micdb.embed.tilts.cells import QUARTER, quarter

Floats = npt.NDArray[np.float64]

CONSTANT = (0.355, 0.435)  # [nm] pseudo-cubic lattice constants of oxides, 2.5 % added each way
_RATIO, _RIGHT = 0.05, math.radians(3.5)  # of the sides from root 2 : 1 and of their angle from 90 degrees
_LEAST = 0.9  # probability of a lattice
# [log] of the product of four spots, by which a cell of the expected size may be weaker than another: it is
_AHEAD = 2.3  # by up to 1.4 in 60 images, and by 3.3 or more with twice or half the right pixel size
_ORDERS = 2  # of found reciprocal vectors that are tried: what alternates makes cells up to twice as large
_SMOOTH = 2.0  # [lattice constant] standard deviation of the window that a wave's phase is taken in
_FINE = 6.0  # blocks of pixels per that standard deviation
_NODES = ((1, 0), (0, 2), (1, 1), (1, -1))  # across [1-10], across [001]: spots that every perovskite has
_FULL = 4  # pixels per sample of a cell that it takes
# The mean cell: 1 % of the bank have a skewness over 0.08, 1 % a correlation with dark columns under 0.43;
_BRIGHT, _LIKE = 0.3, 0.35  # dark-field images of SrTiO3 and LaAlO3 have a skewness of 1.7 to 2.0
_COLUMNS = ((0.5, 0.0, 1.0), (0.0, 0.0, 0.7), (0.0, 0.5, 0.4))  # A, B, oxygen: row, column, depth
_WIDE = 0.14, 0.20  # of a column, along [001] and [1-10]: 0.055 nm


@dataclass(frozen=True, slots=True)
class Axes:
    """The lattice of a perovskite along [110] in an image.

    Parameters
    ----------
    g
        Waves of the planes a / root 2 apart, across [1-10], and of those a apart, across [001]: rows
        ``(2, 2)`` as x, y [1/pixel].
    """

    g: Floats

    @property
    def constant(self) -> float:
        """Pseudo-cubic lattice constant [pixel], from both spacings."""
        first, second = np.hypot(*self.g.T)
        return float(math.sqrt(math.sqrt(2) / first / second))

    @property
    def angle_deg(self) -> float:
        """Direction of [1-10] from x towards y [deg], -90 to 90."""
        x, y = self.g[0]
        return (math.degrees(math.atan2(y, x)) + 90.0) % 180.0 - 90.0


@dataclass(frozen=True, slots=True)
class Region:
    """The mean cell of a region.

    Parameters
    ----------
    cell
        ``(y, x)`` on `micdb.embed.tilts.bank.GRID`, in the image's unit.
    noise
        Standard deviation of its samples.
    x, y
        Centre [pixel].
    """

    cell: Floats
    noise: float
    x: float
    y: float


def axes_of(image: Floats, pitch: float | None) -> Axes | str:
    """Return how a perovskite lies in an image, or why there is none.

    Parameters
    ----------
    image
        ``(y, x)``, finite.
    pitch
        Pixel size [nm]; None when unknown.
    """
    found = image_lattice(image)
    if found is None or found.probability < _LEAST:
        return "no lattice: no two directions of the power spectrum have spots that are surely none of noise"
    waves = _waves(found.basis.reciprocal().vectors)
    pairs = [pair for pair in product(waves, waves) if _rectangular(*pair)]
    a, b = found.basis.lengths
    seen = f"its vectors are {a:.3g} and {b:.3g} pixels long, {found.basis.gamma_deg:.0f} degrees apart"
    if not pairs:
        return f"no perovskite along [110], whose lattice is a rectangle of sides 1 to root 2: {seen}"
    guesses = [Axes(np.array(pair)) for pair in pairs]
    strength = np.array([_strength(image, one) for one in guesses])
    if pitch is not None:  # where A and B look alike a wrong cell may come first, by little
        sizes = np.array([one.constant for one in guesses]) * pitch
        near = (sizes >= CONSTANT[0]) & (sizes <= CONSTANT[1])
        strength[near] += _AHEAD
    best = guesses[int(np.argmax(strength))]
    if pitch is not None and not CONSTANT[0] <= best.constant * pitch <= CONSTANT[1]:
        return (
            f"no perovskite along [110]: by its pixel size the lattice constant would be "
            f"{best.constant * pitch:.3g} nm, expected {CONSTANT[0]:g} to {CONSTANT[1]:g} nm; correct the "
            f"pixel size ({seen})"
        )
    return best


def regions(image: Floats, axes: Axes, side: float) -> list[Region]:
    """Return the mean cells of square regions that together cover an image.

    Parameters
    ----------
    image
        ``(y, x)``, finite.
    axes
        Of the lattice in it.
    side
        Of a region, about [pixel]; regions with too few pixels for a cell are left out.
    """
    place = _places(image, axes)
    rows, columns = (max(1, round(size / side)) for size in image.shape)
    along = [np.array_split(np.arange(n), k) for n, k in zip(image.shape, (rows, columns), strict=True)]
    found = []
    for y, x in product(*along):
        box = slice(y[0], y[-1] + 1), slice(x[0], x[-1] + 1)
        folded = _folded(image[box], place[:, *box])
        if folded is not None:
            found.append(Region(*folded, float(x.mean()), float(y.mean())))
    return found


def _waves(reciprocal: Floats) -> Floats:
    """Return sums of multiples of found reciprocal vectors ``(n, 2)``."""
    steps = np.arange(-_ORDERS, _ORDERS + 1)
    index = np.array([one for one in product(steps, steps) if any(one)])
    return np.asarray(index @ reciprocal)


def _rectangular(first: Floats, second: Floats) -> bool:
    """Return whether two waves are those of a / root 2, to the right, and of a, turned by 90 degrees."""
    long, short = float(np.hypot(*first)), float(np.hypot(*second))
    if abs(long / short / math.sqrt(2) - 1) > _RATIO or long > 0.5 or tuple(first) < (0.0, 0.0):
        return False
    cross = first[0] * second[1] - first[1] * second[0]
    return bool(cross / long / short > math.cos(_RIGHT))


def _strength(image: Floats, axes: Axes) -> float:
    """Return how strong the spots are that a perovskite has along [110], as a sum of logarithms."""
    y, x = np.arange(image.shape[0]), np.arange(image.shape[1])
    window = np.hanning(len(y) + 2)[1:-1, None] * np.hanning(len(x) + 2)[None, 1:-1]
    flat = window * (image - image.mean())
    total = 0.0
    for node in _NODES:
        g = np.array(node) @ axes.g
        wave = np.exp(-2j * math.pi * g[1] * y) @ flat @ np.exp(-2j * math.pi * g[0] * x)
        total += math.log(abs(wave) + 1e-300)
    return total


def _places(image: Floats, axes: Axes) -> Floats:
    """Return where in the lattice each pixel is ``(2, y, x)``, from any origin.

    Across [001] in lattice constants, across [1-10] in those over root 2; continuous.
    """
    width = _SMOOTH * axes.constant
    block = max(int(width / _FINE), 1)  # what is smooth need not be computed at each pixel
    y, x = np.indices(image.shape, dtype=float)
    flat = image - image.mean()
    coarse = [(np.arange(size) + 0.5) / block - 0.5 for size in image.shape]
    places = []
    for g, order in ((axes.g[1], 2), (axes.g[0], 1)):
        phase = 2 * math.pi * order * (g[1] * y + g[0] * x)
        parts = [_blocks(flat * turn(phase), block) for turn in (np.cos, np.sin)]
        real, imaginary = (ndimage.gaussian_filter(part, width / block) for part in parts)
        left = np.unwrap(np.unwrap(np.arctan2(-imaginary, real), axis=1), axis=0)
        grid = np.meshgrid(*coarse, indexing="ij")
        fine = ndimage.map_coordinates(left, grid, order=1, mode="nearest")
        places.append((phase + fine) / (2 * math.pi * order))
    return np.array(places)


def _blocks(image: Floats, size: int) -> Floats:
    """Return the means of blocks of `size` x `size` pixels; incomplete ones are filled with their edge."""
    padded = np.pad(image, [(0, -side % size) for side in image.shape], mode="edge")
    rows, columns = (side // size for side in padded.shape)
    return np.asarray(padded.reshape(rows, size, columns, size).mean(axis=(1, 3)))


def _folded(image: Floats, place: Floats) -> tuple[Floats, float] | None:
    """Return the mean cell ``(y, x)`` of pixels and the noise of its samples; None with too few pixels.

    Each pixel is shared out linearly to the four samples around it.
    """
    if image.size < _FULL * math.prod(GRID):
        return None
    spot = np.stack([place[axis].ravel() / 2 * GRID[axis] for axis in (0, 1)])
    low = np.floor(spot)
    part = spot - low
    total, weight, square, double = (np.zeros(math.prod(GRID)) for _ in range(4))
    value = image.ravel()
    shares = []
    for step in product((0, 1), repeat=2):
        share = np.prod([part[axis] if step[axis] else 1 - part[axis] for axis in (0, 1)], axis=0)
        row, column = ((low[axis] + step[axis]).astype(int) % GRID[axis] for axis in (0, 1))
        index = row * GRID[1] + column
        shares.append((index, share))
        weight += np.bincount(index, share, len(weight))
        total += np.bincount(index, share * value, len(weight))
        double += np.bincount(index, share**2, len(weight))
    mean = total / np.maximum(weight, 1e-9)
    expected = sum(share * mean[index] for index, share in shares)
    residual = np.square(value - expected)
    noise = float(residual.sum() / max(value.size - weight.size / 2, 1))
    square = double / np.maximum(weight, 1e-9) ** 2
    return mean.reshape(GRID), math.sqrt(noise * float(np.median(square)))


def unlike(region: Region) -> str | None:
    """Return why a mean cell is not that of a perovskite in the annular bright field, or None."""
    flat = quarter(region.cell)
    skewness = float((flat**3).mean())
    if skewness > _BRIGHT:
        return (
            f"its columns are bright (skewness of the mean cell {skewness:.2f}; {_BRIGHT:g} at most), as in "
            "the dark field; rotations are read from the annular bright field, where columns are dark"
        )
    likeness = float((flat * _expected()).mean())
    if likeness < _LIKE:
        return (
            f"the mean cell is not that of a perovskite along [110] in the annular bright field: correlation "
            f"{likeness:.2f}, {_LIKE:g} is needed; is the image in focus?"
        )
    return None


def _expected() -> Floats:
    """Return dark columns at A, B and oxygen, of mean 0 and spread 1, as `quarter` places them."""
    y, x = (np.arange(size) / size for size in QUARTER)
    cell = np.zeros(QUARTER)
    for row, column, depth in _COLUMNS:
        away = [np.square((axis - place + 0.5) % 1.0 - 0.5) for axis, place in ((y, row), (x, column))]
        cell -= depth * np.exp(-away[0][:, None] / 2 / _WIDE[0] ** 2 - away[1][None, :] / 2 / _WIDE[1] ** 2)
    return np.asarray((cell - cell.mean()) / cell.std())
