"""The noise of a single image, from what restoring took away, and halves of the image with independent noise.

Adding and subtracting noise as strong as the image's own gives two images whose noise is independent (Pang et
al., Recorrupted-to-Recorrupted, CVPR 2021): as two exposures with half of the electrons, in any unit. The
strength follows the grey value, as where electrons are counted (Foi et al., IEEE Trans. Image Process. 17,
1737, 2008). The spectrum is that of what was taken away, and nowhere weaker than where it is finest: of slow
noise some is left in whatever is restored.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

Floats = npt.NDArray[np.float64]

_LEVELS = 12  # grey values at which the noise is measured
_LEAST = 0.2  # [mean standard deviation of the noise] where counts are few the estimate is poor
_BINS = 1.5  # [bin] over which the spectrum is smoothed
_FINEST = 0.4  # [1/pixel] frequencies beyond which there is hardly any structure
_KERNEL = 5  # [pixel] over which a coarser probe can spread a finer image
_RIDGE = 1e-6


@dataclass(frozen=True, slots=True)
class Noise:
    """Noise of an image.

    Parameters
    ----------
    residual
        What the restored image lacks of the data ``(y, x)``, in the unit of the image.
    deviation
        Expected standard deviation at each pixel ``(y, x)``.
    """

    residual: Floats
    deviation: Floats

    @classmethod
    def of(cls, image: npt.NDArray[np.floating], made: npt.NDArray[np.floating]) -> Noise:
        """Return the noise of an image from what was restored of it, at the image's own pixels."""
        level = np.asarray(made, dtype=np.float64)
        residual = np.asarray(image, dtype=np.float64) - level
        edges = np.quantile(level, np.linspace(0, 1, _LEVELS + 1)[1:-1])
        group = np.searchsorted(edges, level.ravel())
        count = np.maximum(np.bincount(group, minlength=_LEVELS), 1)
        mean = np.bincount(group, level.ravel(), _LEVELS) / count
        variance = np.bincount(group, np.square(residual).ravel(), _LEVELS) / count
        whole = max(float(np.square(residual).mean()), 1e-300)
        slope, offset = _line(mean, variance, count)
        return cls(residual, np.sqrt(np.maximum(offset + slope * level, _LEAST**2 * whole)))

    @property
    def correlation(self) -> tuple[float, float]:
        """Correlation of the residual with its neighbours, and how much of it chance gives white noise."""
        value = self.residual / self.deviation
        value = value - value.mean()
        power = max(float(np.square(value).mean()), 1e-300)
        beside = [float((value[1:] * value[:-1]).mean()), float((value[:, 1:] * value[:, :-1]).mean())]
        return sum(beside) / 2 / power, 1 / np.sqrt(2 * value.size)

    def again(self, seed: int) -> Floats:
        """Return other noise ``(y, x)`` of the same strength and spectrum."""
        height, width = shape = self.residual.shape
        power = np.square(np.abs(fft.rfft2(self.residual / self.deviation)))
        power = ndimage.gaussian_filter(power, _BINS, mode=("wrap", "mirror"))
        finest = np.hypot(fft.fftfreq(height)[:, None], fft.rfftfreq(width)[None, :]) > _FINEST
        size = np.sqrt(np.maximum(power, power[finest].mean()) / self.residual.size)
        white = fft.rfft2(np.random.default_rng(seed).normal(size=shape))
        return np.asarray(fft.irfft2(size * white, s=shape) * self.deviation)


def sampled_back(made: npt.NDArray[np.floating], image: npt.NDArray[np.floating], factor: int) -> Floats:
    """Return what the data's pixels would show of a restored image ``(y, x)``.

    Of a finer image: means over the data's pixels, blurred as fits the data best.

    Parameters
    ----------
    made
        ``(factor * y, factor * x)``.
    image
        The data ``(y, x)``.
    factor
        Pixels of the restored image in one of the data, each way.
    """
    value = np.asarray(made, dtype=np.float64)
    if factor == 1:
        return value
    height, width = image.shape
    value = value.reshape(height, factor, width, factor).mean(axis=(1, 3))
    mean, half = value.mean(), _KERNEL // 2
    around = np.lib.stride_tricks.sliding_window_view(
        np.pad(value - mean, half, mode="symmetric"), (_KERNEL, _KERNEL)
    )
    matrix = around.reshape(-1, _KERNEL**2)
    square = matrix.T @ matrix
    square += _RIDGE * np.trace(square) * np.eye(_KERNEL**2)
    kernel = np.linalg.solve(square, matrix.T @ (np.asarray(image, np.float64) - mean).ravel())
    return np.asarray((matrix @ kernel).reshape(height, width) + mean)


def smoothed(value: npt.NDArray[np.floating], sigma: float) -> Floats:
    """Return the mean around each pixel, by a Gaussian [pixel]."""
    return np.asarray(ndimage.gaussian_filter(np.asarray(value, np.float64), sigma, mode="reflect"))


def _line(mean: Floats, variance: Floats, count: npt.NDArray[np.integer]) -> tuple[float, float]:
    """Return slope and offset of the variance over the grey value; even where there is no trend."""
    if np.ptp(mean) <= 1e-9 * max(float(np.abs(mean).max()), 1e-300):
        return 0.0, float(np.average(variance, weights=count))
    slope, offset = np.polyfit(mean, variance, 1, w=np.sqrt(count))
    return float(slope), float(offset)
