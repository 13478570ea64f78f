"""The numbers behind `texture`: what stays the same when an image is turned, mirrored or re-lit.

Four blocks, each blind to rotation by construction:

spectrum
    Local power spectra in rings of spatial frequency (Welch 1967): mean and spread over the image, and
    the magnitude of their angular orders 2 and 4, of single tiles (lamellae within a colony) and of all
    tiles together (lamellae aligned throughout).
bands
    An octave pyramid (Burt and Adelson 1983): skewness, flatness and the correlation of each octave with
    the next, which a power spectrum cannot see (Portilla and Simoncelli 2000).
patterns
    Uniform local binary patterns of three octaves (Ojala et al. 2002).
shapes
    Histogram of the shape index (Koenderink and van Doorn 1992), weighted by curvedness: pits, valleys,
    saddles, ridges and blobs; and the coherence of the structure tensor.
"""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy import fft

Floats = npt.NDArray[np.float32]

TILE = 64  # [pixel] side of a spectral tile, and the smallest side of an image
_MOST_TILES = 32  # tiles along one side; wider images are sampled evenly
_RINGS = 12
_RING_LIMITS = (2.0, 28.0)  # [1/64 pixel] wavelengths of 32 to 2.3 pixels
_ORDERS = (2, 4)
_LEVELS = 4  # octaves of the pyramid
_SHAPE_BINS = 9
_PATTERN_BINS = 10
_QUANTILES = np.array([0.01, 0.05, 0.15, 0.3, 0.5, 0.7, 0.85, 0.95, 0.99])
_TINY = 1e-12
_LEVEL = 1e-3  # [standard deviation] flat areas must not get patterns of rounding errors

#: Length of each block, in the order of `features`.
BLOCKS: dict[str, int] = {
    "spectrum": 2 * _RINGS + 4 * (_RINGS // 2),
    "bands": 3 * _LEVELS + 2 * (_LEVELS - 1) + len(_QUANTILES),
    "patterns": _PATTERN_BINS * (_LEVELS - 1),
    "shapes": (_SHAPE_BINS + 2) * (_LEVELS - 1),
}
DIM = sum(BLOCKS.values())


def features(image: Floats) -> npt.NDArray[np.float64]:
    """Return the raw, unbalanced features of one image ``(DIM,)``.

    Parameters
    ----------
    image
        ``(y, x)``, finite, not constant, both sides at least `TILE`; multiples of 8 for exact symmetry.
    """
    grey = np.asarray((image - image.mean(dtype=np.float64)) / image.std(dtype=np.float64), dtype=np.float32)
    levels = _pyramid(grey)
    smooth = [level for _, level in levels[1:]]
    return np.concatenate([
        _spectrum(grey),
        _bands(levels),
        np.concatenate([_patterns(level) for level in smooth]),
        np.concatenate([_shapes(level) for level in smooth]),
    ])  # fmt: skip


# --- spectrum -------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _window() -> Floats:
    axis = np.arange(TILE) - (TILE - 1) / 2
    radius = np.minimum(np.hypot(*np.meshgrid(axis, axis)) / (TILE / 2), 1.0)
    # round, so that no direction is preferred
    return np.asarray(0.5 + 0.5 * np.cos(math.pi * radius), dtype=np.float32)


@lru_cache(maxsize=1)
def _ring_basis() -> Floats:
    """Return weights ``(order, frequency, ring)``: ring means, and cosine and sine of each angular order."""
    ky = np.fft.fftfreq(TILE, 1 / TILE)[:, None]
    kx = np.fft.rfftfreq(TILE, 1 / TILE)[None, :]
    edges = np.geomspace(*_RING_LIMITS, _RINGS + 1)
    radius, angle = np.hypot(ky, kx), np.arctan2(ky, kx)
    ring = (radius[..., None] >= edges[:-1]) & (radius[..., None] < edges[1:])
    twice = np.where((kx == 0) | (kx == TILE / 2), 1.0, 2.0) * np.ones_like(ky)  # the half plane left out
    weight = ring * twice[..., None]
    weight = weight / weight.sum(axis=(0, 1))
    waves = [np.ones_like(angle)]
    for order in _ORDERS:
        waves += [np.cos(order * angle), np.sin(order * angle)]
    stack = np.stack([weight * wave[..., None] for wave in waves])
    return stack.reshape(len(waves), -1, _RINGS).astype(np.float32)


def _spectrum(grey: Floats) -> npt.NDArray[np.float64]:
    corners = [(y, x) for y in _starts(grey.shape[0]) for x in _starts(grey.shape[1])]
    tiles = np.stack([grey[y : y + TILE, x : x + TILE] for y, x in corners])
    tiles -= tiles.mean(axis=(1, 2), keepdims=True)
    power = (np.abs(fft.rfft2(tiles * _window())) ** 2).reshape(len(tiles), -1)
    rings = np.stack([power @ weights for weights in _ring_basis()]).astype(np.float64)
    floor = 1e-6 * rings[0].mean() + _TINY  # 60 dB below the mean: empty tiles stay finite
    whole = rings.mean(axis=1, keepdims=True)
    mean = np.log(whole[0, 0] + floor)
    spread = np.log(rings[0] + floor).std(axis=0)
    single, common = _anisotropy(rings, floor=floor), _anisotropy(whole, floor=floor)
    return np.concatenate((mean - mean.mean(), spread, single, common))


def _starts(size: int) -> list[int]:
    """Return an even number of tile corners, symmetric under mirroring."""
    room = size - TILE
    half = max(1, min(_MOST_TILES, math.ceil(room / (TILE // 2)) + 1) // 2)
    first = [index * room // (2 * half - 1) for index in range(half)]
    return first + [room - start for start in reversed(first)]


def _anisotropy(rings: npt.NDArray[np.float64], *, floor: float) -> npt.NDArray[np.float64]:
    """Return log relative angular orders, from `_ring_basis` sums ``(order, tile, ring)``."""
    found = []
    for index in range(len(_ORDERS)):
        size = np.hypot(rings[1 + 2 * index], rings[2 + 2 * index]) / (rings[0] + floor)
        found.append(size.mean(axis=0).reshape(-1, 2).mean(axis=1))  # rings in pairs: orders are noisy
    return np.log(np.concatenate(found) + 0.01)


# --- pyramid --------------------------------------------------------------------------------------


def _blur(image: Floats) -> Floats:
    """Return the image after the binomial kernel 1 4 6 4 1 in both directions, edges mirrored."""
    padded = np.pad(image, 2, mode="symmetric")
    rows = 6 * padded[2:-2] + 4 * (padded[1:-3] + padded[3:-1]) + padded[:-4] + padded[4:]
    both = 6 * rows[:, 2:-2] + 4 * (rows[:, 1:-3] + rows[:, 3:-1]) + rows[:, :-4] + rows[:, 4:]
    return np.asarray(both / 256, dtype=np.float32)


def _halve(image: Floats) -> Floats:
    image = image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2]
    rows = image[::2] + image[1::2]
    return np.asarray((rows[:, ::2] + rows[:, 1::2]) / 4, dtype=np.float32)


def _pyramid(grey: Floats) -> list[tuple[Floats, Floats]]:
    """Return (band, smoothed level) of each octave, finest first."""
    found = []
    level = grey
    for _ in range(_LEVELS):
        smooth = _blur(level)
        found.append((level - smooth, smooth))
        level = _halve(smooth)
    return found


def _bands(levels: list[tuple[Floats, Floats]]) -> npt.NDArray[np.float64]:
    numbers: list[float] = []
    for band, _ in levels:
        spread = float(np.sqrt(np.mean(np.square(band), dtype=np.float64))) + _TINY
        unit = np.clip(band / spread, -8, 8)  # hot pixels must not decide the moments
        square = np.square(unit)
        flatness = float(np.mean(square * square, dtype=np.float64))
        numbers += [
            float(np.cbrt(np.mean(square * unit, dtype=np.float64))),
            math.log(flatness + 0.1),
            float(np.mean(np.abs(unit), dtype=np.float64)),
        ]
    for (fine, _), (coarse, _) in pairwise(levels):
        numbers += [_correlation(_halve(fine), coarse), _correlation(_halve(np.abs(fine)), np.abs(coarse))]
    # grey levels of what is left when noise is smoothed away
    smooth = levels[1][1]
    quantiles = np.quantile(smooth, _QUANTILES)
    return np.concatenate((numbers, (quantiles - quantiles.mean()) / (quantiles.std() + _TINY)))


def _correlation(one: Floats, other: Floats) -> float:
    other = other[: one.shape[0], : one.shape[1]]
    a = one - one.mean(dtype=np.float64)
    b = other - other.mean(dtype=np.float64)
    return float((a * b).mean() / (a.std() * b.std() + _TINY))


# --- patterns and shapes --------------------------------------------------------------------------


def _patterns(level: Floats) -> npt.NDArray[np.float64]:
    """Return the square roots of the shares of the 10 rotation-invariant uniform patterns, P = 8, R = 1."""
    centre, sides, corners = _neighbourhood(level)
    # corners interpolated to the unit circle: bilinear weights at 1/sqrt(2)
    near, far = math.sqrt(0.5), 1 - math.sqrt(0.5)
    diagonal = [
        far * far * centre + near * far * (sides[i] + sides[(i + 1) % 4]) + near * near * corners[i]
        for i in range(4)
    ]
    threshold = centre - _LEVEL
    ring = [value >= threshold for pair in zip(sides, diagonal, strict=True) for value in pair]
    ones = sum(bit.view(np.uint8) for bit in ring)
    changes = sum((ring[i] ^ ring[i - 1]).view(np.uint8) for i in range(8))
    code = np.where(changes <= 2, ones, 9)
    return np.sqrt(np.bincount(code.ravel(), minlength=_PATTERN_BINS) / code.size)


def _neighbourhood(level: Floats) -> tuple[Floats, list[Floats], list[Floats]]:
    """Return the centre, its neighbours right, down, left, up, and those at the corners after each."""
    inner = [slice(1, -1), slice(2, None), slice(0, -2)]  # 0, +1, -1
    view = {(dy, dx): level[inner[dy], inner[dx]] for dy in (0, 1, -1) for dx in (0, 1, -1)}
    sides = [view[0, 1], view[1, 0], view[0, -1], view[-1, 0]]
    corners = [view[1, 1], view[1, -1], view[-1, -1], view[-1, 1]]
    return view[0, 0], sides, corners


def _shapes(level: Floats) -> npt.NDArray[np.float64]:
    centre, (right, down, left, up), (se, sw, nw, ne) = _neighbourhood(level)
    xx, yy, xy = right + left - 2 * centre, up + down - 2 * centre, (se + nw - sw - ne) / 4
    half_trace = (xx + yy) / 2
    split = np.hypot((xx - yy) / 2, xy)
    index = np.arctan2(half_trace, split) * (2 / math.pi)  # -1 blob ... 0 saddle ... 1 pit
    curvedness = np.hypot(half_trace, split)
    place = np.clip((index + 1) / 2 * _SHAPE_BINS, 0, _SHAPE_BINS - 1e-3)
    histogram = np.bincount(place.astype(np.intp).ravel(), curvedness.ravel(), minlength=_SHAPE_BINS)
    shares = np.sqrt(histogram / (histogram.sum() + _TINY))
    return np.concatenate((shares, _coherence(right - left, down - up)))


def _coherence(across: Floats, down: Floats) -> npt.NDArray[np.float64]:
    """Return the energy-weighted local coherence, and how unevenly gradient energy is spread."""
    xx, yy, xy = _blur(across * across), _blur(down * down), _blur(across * down)
    energy = xx + yy
    aligned = np.hypot(xx - yy, 2 * xy)
    coherence = float(aligned.sum(dtype=np.float64) / (energy.sum(dtype=np.float64) + _TINY))
    return np.array([coherence, math.log(float(energy.std()) / (float(energy.mean()) + _TINY) + 0.1)])
