"""An image that a run made of a micrograph, with less noise or finer pixels: a row, never the image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pyarrow as pa

UNSCANNED = 65535  # number of a pixel where nothing was scanned
_LONG = ("pixels", "invented_runs")
_PLAIN = frozenset({"run", "image", "offset", "scale", "height_px", "width_px"})


@dataclass(frozen=True, slots=True, eq=False)
class Restored:
    """A restored image.

    Parameters
    ----------
    pixels
        ``(y, x)`` float32 in the unit of the image, NaN where nothing was scanned.
    pixel_size
        ``(y, x)`` [nm], None when the image has no scale.
    invented
        Where structure is shown that comes from noise ``(y, x)``.
    numbers
        What is known of it, by the columns of `restorations`.
    """

    pixels: npt.NDArray[np.float32]
    pixel_size: tuple[float, float] | None
    invented: npt.NDArray[np.bool_]
    numbers: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of_table(cls, table: pa.Table) -> list[Restored]:
        """Return the images of rows of `restorations`."""
        plain = table.select([name for name in table.column_names if name not in _LONG]).to_pylist()
        found = []
        for number, row in enumerate(plain):
            pixels, lengths = (table.column(name)[number].values.to_numpy() for name in _LONG)
            shape = (row["height_px"], row["width_px"])
            size = (row["pixel_y_nm"], row["pixel_x_nm"])
            found.append(
                cls(
                    unpacked(pixels, row["offset"], row["scale"]).reshape(shape),
                    None if None in size else size,
                    of_runs(lengths).reshape(shape),
                    {name: value for name, value in row.items() if name not in _PLAIN},
                )
            )
        return found


def packed(pixels: npt.NDArray[np.floating]) -> tuple[npt.NDArray[np.uint16], float, float]:
    """Return an image as numbers ``(y * x,)``, offset and scale: value = offset + scale * number.

    65534 steps from the least value to the greatest: rounding changes a value by a 130,000th of the range.

    Parameters
    ----------
    pixels
        ``(y, x)``, NaN where nothing was scanned.
    """
    value = np.asarray(pixels, dtype=np.float64).ravel()
    known = np.isfinite(value)
    low, high = (float(value[known].min()), float(value[known].max())) if known.any() else (0.0, 0.0)
    scale = (high - low) / (UNSCANNED - 1) or 1.0
    number = np.full(value.shape, UNSCANNED, dtype=np.uint16)
    number[known] = np.rint((value[known] - low) / scale).astype(np.uint16)
    return number, low, scale


def unpacked(numbers: npt.ArrayLike, offset: float, scale: float) -> npt.NDArray[np.float32]:
    """Return the values of numbers ``(n,)``; see `packed`."""
    number = np.asarray(numbers, dtype=np.uint16)
    value = offset + scale * number.astype(np.float64)
    return np.where(number == UNSCANNED, np.nan, value).astype(np.float32)


def runs(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.int32]:
    """Return lengths ``(n,)`` of the runs of a mask ``(y, x)`` along its rows: False, True, False, ..."""
    flat = np.concatenate(([False], mask.ravel()))
    starts = np.flatnonzero(np.diff(flat))
    return np.diff(starts, prepend=0, append=mask.size).astype(np.int32)


def of_runs(lengths: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Return the mask ``(y * x,)`` of `runs`."""
    count = np.asarray(lengths, dtype=np.int64)
    return np.repeat(np.arange(len(count)) % 2 == 1, count)
