"""What FEI's programs mean by a pixel size, in files with one field for images and diffraction patterns.

TIA's ``.ser`` and the extended header of FEI's MRC files give metres per pixel for images and 1/m for
diffraction patterns, without saying which. The two cannot be confused: the smallest magnification of a
microscope shows a few micrometres per pixel, and the largest camera length some thousand 1/m. A number
between them (1.0 of an uncalibrated camera, mrad, eV) is neither, and stays unknown.
"""

from __future__ import annotations

_LENGTH = (1e-14, 1e-5)  # [m]
_RECIPROCAL = (1e2, 1e13)  # [1/m]


def unit_of_step(step: float) -> str | None:
    """Return ``m`` or ``1/m``, whichever a pixel of that size can have; None for neither."""
    for unit, (low, high) in (("m", _LENGTH), ("1/m", _RECIPROCAL)):
        if low < abs(step) < high:
            return unit
    return None
