"""What `benchmarks/lattice.py` compares with: the simple way, its settings tuned on other seeds."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage
from sklearn.cluster import KMeans

from micdb.embed.lattice.basis import Basis

Floats = npt.NDArray[np.float64]


class Rule(NamedTuple):
    """Settings of the nearest rule.

    Parameters
    ----------
    least
        Power of a spot over the median of the spectrum.
    angle
        [deg] from which on an angle is not special.
    ratio
        By which lengths differ from which on they are two.
    """

    least: float
    angle: float
    ratio: float


def shortest_spots(image: Floats, least: float) -> Floats | None:
    """Return the two shortest strong spots of the power spectrum that are not in line, as a reduced basis."""
    height, width = image.shape
    window = np.hanning(height)[:, None] * np.hanning(width)[None]
    power = np.abs(fft.fftshift(fft.fft2((image - image.mean()) * window))) ** 2
    y, x = np.mgrid[:height, :width]
    radius = np.hypot(y - height // 2, x - width // 2)
    level = ndimage.median(power, labels=radius.astype(int), index=np.arange(int(radius.max()) + 1))
    ratio = np.where(radius < 4, 0.0, power / np.maximum(level, 1e-300)[radius.astype(int)])
    peaks = (
        (ratio == ndimage.maximum_filter(ratio, 5)) & (ratio >= least) & (radius < 0.45 * min(image.shape))
    )
    rows, columns = np.nonzero(peaks)
    if len(rows) < 4:
        return None
    strong = ratio[rows, columns] >= 0.1 * ratio[rows, columns].max()
    spots = []
    for row, column in zip(rows[strong], columns[strong], strict=True):
        patch = power[row - 1 : row + 2, column - 1 : column + 2]
        dy, dx = (np.array([-1, 0, 1]) @ patch.sum(axis=axis) / patch.sum() for axis in (1, 0))
        spots.append(((column + dx - width // 2) / width, (row + dy - height // 2) / height))
    g = np.array(spots)
    g = g[np.argsort(np.hypot(*g.T))]
    aside = np.abs(g[:, 0] * g[0, 1] - g[:, 1] * g[0, 0]) > 0.2 * np.hypot(*g.T) * np.hypot(*g[0])
    return None if not aside.any() else np.array([g[0], g[np.argmax(aside)]])


def nearest_rule(image: Floats, rule: Rule) -> str:
    """Return the Bravais type by thresholds on the lengths and the angle of the reduced cell, or ``none``."""
    reciprocal = shortest_spots(image, rule.least)
    if reciprocal is None:
        return "none"
    basis = Basis(np.linalg.inv(reciprocal).T).reduced()
    (a, b), gamma = basis.lengths, basis.gamma_deg
    equal, right = b / a - 1 < rule.ratio, abs(gamma - 90) < rule.angle
    centred = abs(float(np.hypot(*basis.vectors.sum(axis=0))) / b - 1) < rule.ratio
    if equal and abs(gamma - 120) < rule.angle:
        return "hexagonal"
    if equal and right:
        return "square"
    if right:
        return "rectangular"
    return "centred rectangular" if equal or centred else "oblique"


def clustered_windows(image: Floats, *, window: int, step: int = 8) -> npt.NDArray[np.int64]:
    """Return labels ``(y, x)`` by k-means, two clusters, of the spectra of sliding windows.

    After Vasudevan et al., Appl. Phys. Lett. 106, 091601 (2015): sliding FFT and multivariate analysis. That
    there are two phases is told.
    """
    hann = np.hanning(window)[:, None] * np.hanning(window)[None]
    corners = [np.arange(0, length - window + 1, step) for length in image.shape]
    spectra = [
        np.abs(fft.rfft2(hann * (part - part.mean())))[:, : window // 2].ravel()
        for part in (image[y : y + window, x : x + window] for y in corners[0] for x in corners[1])
    ]
    found = KMeans(2, n_init=4, random_state=0).fit_predict(np.sqrt(np.array(spectra)))
    grid = found.reshape(len(corners[0]), len(corners[1]))
    y, x = (
        np.clip(np.rint((np.arange(length) - window / 2) / step), 0, size - 1).astype(int)
        for length, size in zip(image.shape, grid.shape, strict=True)
    )
    return np.asarray(grid[y[:, None], x[None]], dtype=np.int64)
