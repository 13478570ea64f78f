"""Fourier ring correlation: down to which detail two images of one thing agree.

Saxton & Baumeister, J. Microsc. 127, 127 (1982); of a single image by splitting it: Koho et al., Nat. Commun.
10, 3103 (2019). Rings where halves correlate by 1/7 are those where the whole correlates by half with what is
there (Rosenthal & Henderson, J. Mol. Biol. 333, 721, 2003): that is where resolution ends here.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

Floats = npt.NDArray[np.float64]

HALVES = 1 / 7  # correlation of halves where the resolution ends
WHOLE = 0.5  # and that of an image with the truth

_SMOOTHED = 3  # rings
_SURE = 3.0  # [standard deviation of a correlation by chance]
_FADED = 1.5  # root of the noise bandwidth of the Hann window both ways (Harris, Proc. IEEE 66, 51, 1978)


def ring_correlation(one: npt.NDArray[np.floating], other: npt.NDArray[np.floating]) -> tuple[Floats, Floats]:
    """Return the correlation of two images of one shape, ring by ring of their spectra.

    Parameters
    ----------
    one, other
        ``(y, x)``, finite. Their edges are faded out, which periods of half the image do not survive.

    Returns
    -------
    correlation
        ``(rings,)``, from -1 to 1, of the frequencies ``(1, 2, ...) / shorter side``, up to 1/2 per pixel.
    count
        Independent numbers in each ring.
    """
    spectra = [_spectrum(np.asarray(image, dtype=np.float64)) for image in (one, other)]
    height, width = one.shape
    shorter = min(height, width)
    frequency = np.hypot(fft.fftfreq(height)[:, None], fft.rfftfreq(width)[None, :])
    ring = np.rint(frequency * shorter).astype(np.int64).ravel()
    last = shorter // 2

    def total(value: Floats) -> Floats:
        return np.asarray(np.bincount(ring, value.ravel(), last + 1)[1 : last + 1], dtype=np.float64)

    both = total((spectra[0] * spectra[1].conj()).real)
    power = [total(np.square(np.abs(one))) for one in spectra]
    product = np.sqrt(power[0] * power[1])
    correlation = np.divide(both, product, out=np.zeros(last), where=product > 0)
    return correlation, total(np.ones(frequency.shape))


def data_resolution(halves: Floats, count: Floats) -> float | None:
    """Return the period [pixel] down to which the data tell anything; None where they tell nothing.

    Parameters
    ----------
    halves, count
        Correlation of two halves of the data, from `ring_correlation`.
    """
    return _finest(halves, count, HALVES)


def resolution(halves: Floats, crossed: Floats, count: Floats) -> float | None:
    """Return the period [pixel] down to which a restored image is known to be right; None: nowhere.

    The correlation with the truth is that of a restored half with the other half of the data, over what that
    other half itself has of the truth. Where the data tell nothing nothing is known of the restored image.

    Parameters
    ----------
    halves
        Correlation of two halves of the data.
    crossed
        Of the image restored from one half with the other half of the data.
    count
        Numbers in each ring.
    """
    told = halves > _chance(count)
    right = np.where(told, crossed / np.sqrt(np.maximum(halves, 1e-9)), 0.0)
    return _finest(np.clip(right, -1.0, 1.0), count, WHOLE)


def agreement(made: npt.NDArray[np.floating], truth: npt.NDArray[np.floating]) -> float | None:
    """Return the period [pixel] down to which an image correlates by one half with the truth."""
    return _finest(*ring_correlation(made, truth), WHOLE)


def _finest(correlation: Floats, count: Floats, threshold: float) -> float | None:
    """Return the shortest period [pixel] of a ring above a threshold, and above chance.

    The last such ring, not the first that is below: between the spots of a lattice there is nothing.
    """
    smooth = ndimage.uniform_filter1d(correlation, _SMOOTHED, mode="nearest")
    above = np.flatnonzero(smooth >= np.maximum(threshold, _chance(count) / np.sqrt(_SMOOTHED)))
    if not len(above):
        return None
    return 2 * len(correlation) / (int(above[-1]) + 1)  # rings are 1, 2, ... periods in twice their number


def _chance(count: Floats) -> Floats:
    """Return the correlation that noise does not reach by chance; fading edges leave fewer numbers free."""
    return np.asarray(_SURE * _FADED / np.sqrt(count))


def _spectrum(image: Floats) -> npt.NDArray[np.complex128]:
    window = np.hanning(image.shape[0] + 2)[1:-1, None] * np.hanning(image.shape[1] + 2)[None, 1:-1]
    return np.asarray(fft.rfft2((image - image.mean()) * window))
