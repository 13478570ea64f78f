"""Small pictures for lists and reports."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from micdb.store.layout import THUMBNAIL_SIDE

if TYPE_CHECKING:
    from PIL import Image

CONTRAST = (1.0, 99.0)  # [percentile] black and white: a few hot pixels must not darken the rest
SAMPLE = 1 << 16  # [pixel] percentiles of a larger frame are taken on a regular subset


def thumbnail(pixels: np.ndarray, *, colour: bool) -> bytes:
    """Return a PNG of the first frame, 8 bits per sample, at most 128 pixels on its longer side.

    Parameters
    ----------
    pixels
        ``(..., y, x)``, or ``(..., y, x, 3 or 4)`` for colour, where transparency is dropped. Of
        complex pixels the magnitude is shown; NaN is black.
    colour
        Whether the last axis holds colour samples.
    """
    from PIL import Image

    frame = pixels[(0,) * (pixels.ndim - (3 if colour else 2))]
    frame = frame[..., :3] if colour else frame
    if colour and frame.dtype == np.uint8:  # 8-bit colours are shown as they are
        image = _shrunk(Image.fromarray(np.ascontiguousarray(frame)))
    else:
        grey = _stretched(np.abs(frame) if frame.dtype.kind == "c" else frame)
        bands = np.moveaxis(grey, -1, 0) if colour else grey[None]
        small = [np.asarray(_shrunk(Image.fromarray(np.ascontiguousarray(band)))) for band in bands]
        eight = (np.clip(np.array(small), 0.0, 1.0) * 255).astype(np.uint8)
        image = Image.fromarray(np.ascontiguousarray(np.moveaxis(eight, 0, -1)) if colour else eight[0])
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def _shrunk(image: Image.Image) -> Image.Image:
    """Return an image of at most `THUMBNAIL_SIDE` pixels, each the mean of those it stands for."""
    from PIL import Image

    image.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.BOX)
    return image


def _stretched(frame: np.ndarray) -> np.ndarray:
    """Return float32 values, 0 for black and 1 for white, clipped."""
    values = frame.astype(np.result_type(frame.dtype, np.float32))  # a cast to float32 alone can overflow
    step = max(1, int(np.sqrt(values.size / SAMPLE)))
    seen = values[::step, ::step]
    seen = seen[np.isfinite(seen)]
    if seen.size == 0:
        return np.zeros(values.shape, np.float32)
    if frame.dtype.kind == "f":
        values[~np.isfinite(values)] = seen.min()
    low, high = np.percentile(seen, CONTRAST)
    # Halves: the difference of the two largest floats is still a float.
    values *= 0.5
    values -= low / 2
    values /= high / 2 - low / 2 or 1.0
    return np.clip(values, 0.0, 1.0, out=values).astype(np.float32, copy=False)
