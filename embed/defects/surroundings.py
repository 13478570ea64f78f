"""How the surroundings of a place look, at each distance and in each symmetry, however they are turned.

Around a silicon atom with three neighbours the image on a circle through them has a threefold part, around
one with four a fourfold one. The moduli of the Fourier coefficients along circles do not change when the
image is turned or mirrored (P. J. Steinhardt, D. R. Nelson and M. Ronchetti, Phys. Rev. B 28, 784, 1983, of
bonds).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from micdb.embed.defects.sites import Sites

Floats = npt.NDArray[np.float64]

_RADII = (np.arange(8) + 0.5) * 0.2  # [spacing] to beyond the nearest neighbours of a large atom
_ORDERS = 7  # mean, and one- to sixfold
_ANGLES = 48
_SMOOTH = 0.12  # [spacing] Gaussian that the image is seen through
_DARK = 0.1  # quantile of the image that is its background

SURROUNDINGS = len(_RADII) * _ORDERS


def surroundings(image: Floats, seen: Sites, places: Floats) -> Floats:
    """Return the mean and the one- to sixfold parts of the image on circles around some places.

    Parameters
    ----------
    image
        ``(y, x)``, columns bright.
    seen
        Its sites: brightness is told in that of a typical column, distances in those of nearest sites.
    places
        ``(n, 2)`` [pixel].

    Returns
    -------
    numpy.ndarray
        ``(n, SURROUNDINGS)``, circle by circle.
    """
    if not len(places):
        return np.empty((0, SURROUNDINGS))
    smooth = ndimage.gaussian_filter(image, _SMOOTH * seen.spacing, mode="mirror")
    angle = np.arange(_ANGLES) / _ANGLES * 2 * np.pi
    circle = (_RADII[:, None, None] * np.array([np.cos(angle), np.sin(angle)]).T * seen.spacing).reshape(
        -1, 2
    )
    x, y = np.moveaxis(places[:, None] + circle, 2, 0)
    low, typical = float(np.quantile(smooth, _DARK)), _typical(smooth, seen)
    value = (ndimage.map_coordinates(smooth, [y, x], order=1, mode="nearest") - low) / (typical - low)
    part = np.fft.rfft(value.reshape(len(places), len(_RADII), _ANGLES), axis=2)[:, :, :_ORDERS] / _ANGLES
    found = np.abs(part)
    found[:, :, 0] = part[:, :, 0].real
    return np.asarray(found.reshape(len(places), -1), dtype=np.float64)


def _typical(smooth: Floats, seen: Sites) -> float:
    """Return the brightness of a typical column of the lattice, above any background."""
    column = seen.xy[: seen.columns][seen.kind[: seen.columns] >= 0]
    at = np.clip(np.rint(column).astype(int), 0, np.array(smooth.shape[::-1]) - 1)
    return max(float(np.median(smooth[at[:, 1], at[:, 0]])), float(np.quantile(smooth, _DARK)) + 1e-12)
