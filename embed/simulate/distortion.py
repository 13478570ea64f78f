"""How a slow or unsettled scan moves atoms in the image; the truth moves with them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_ITERATIONS = 12  # each gains a factor of amplitude over length


@dataclass(frozen=True, slots=True)
class Distortion:
    """A scan from top to bottom, line by line.

    Parameters
    ----------
    drift
        How far ``(y, x)`` the sample drifts during the frame, evenly in time [nm].
    flyback
        Lag of the beam at the start of each line, and length over which it dies away [nm].
    height
        Of the frame [nm].
    """

    drift: tuple[float, float]
    flyback: tuple[float, float]
    height: float

    def seen(self, xy: Floats) -> Floats:
        """Return where the image shows points ``(n, 2)`` [nm] of the sample.

        The beam meant to be at x is still at ``x + lag exp(-x / length)``, so that what it finds there is
        shown at x. Points left of the field move as those on its edge do.
        """
        drifted = np.asarray(xy + np.outer(xy[:, 1] / self.height, [self.drift[1], self.drift[0]]))
        lag, length = self.flyback
        if lag:
            x = drifted[:, 0].copy()
            for _ in range(_ITERATIONS):
                x = drifted[:, 0] - lag * np.exp(-np.maximum(x, 0.0) / length)
            drifted[:, 0] = x
        return drifted
