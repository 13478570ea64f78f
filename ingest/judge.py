"""What the pixels of one image say, learnt frame by frame: identity, range, mean and deviation."""

from __future__ import annotations

import numpy as np

from micdb.provenance import PixelHash


class Judge:
    """Sees every frame of an image once.

    Parameters
    ----------
    shape, dtype
        Of the whole array.

    Notes
    -----
    Means and deviations of the frames are joined as in Chan, Golub and LeVeque, Am. Stat. 37, 242 (1983):
    no sum of squares grows out of range.
    """

    def __init__(self, shape: tuple[int, ...], dtype: str) -> None:
        self._hash = PixelHash(shape, np.dtype(dtype))
        self._count = 0
        self._low, self._high = np.inf, -np.inf
        self._mean = self._squares = 0.0  # squares: sum of squared distances from the mean
        self._any = False

    def see(self, frame: np.ndarray) -> None:
        """Take in the next frame; of complex numbers the magnitude counts."""
        self._hash.update(frame)
        values = np.abs(frame) if np.iscomplexobj(frame) else frame
        finite = values.reshape(-1)
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            finite = values[np.isfinite(values)]
        if finite.size == 0:
            return
        with np.errstate(over="ignore", invalid="ignore"):  # what does not fit a float64 is unknown
            self._join(finite)

    def _join(self, finite: np.ndarray) -> None:
        low, high = finite.min(), finite.max()
        if not self._any or low < self._low:
            self._low = low
        if not self._any or high > self._high:
            self._high = high
        mean, count = float(finite.mean(dtype=np.float64)), finite.size
        squares = float(finite.var(dtype=np.float64)) * count
        total = self._count + count
        distance = mean - self._mean
        self._mean = mean if not self._any else self._mean + distance * count / total
        self._squares += squares + distance * distance * self._count * count / total
        self._count, self._any = total, True

    @property
    def pixel_hash(self) -> str:
        """`micdb.provenance.pixel_hash` of the whole array."""
        return self._hash.hexdigest()

    @property
    def blank(self) -> bool:
        """Whether all finite pixels are equal, or there are none."""
        return not self._any or bool(self._low == self._high)

    @property
    def statistics(self) -> dict[str, float | None]:
        """``intensity_min``, ``_max``, ``_mean``, ``_sd`` over finite values; None where there are none."""
        names = ("intensity_min", "intensity_max", "intensity_mean", "intensity_sd")
        if not self._any:
            return dict.fromkeys(names)
        with np.errstate(over="ignore", invalid="ignore"):
            numbers = (self._low, self._high, self._mean, np.sqrt(self._squares / self._count))
        return {
            name: float(number) if np.isfinite(number) else None
            for name, number in zip(names, numbers, strict=True)
        }
