"""Small pictures for lists and reports."""

from __future__ import annotations

import io

import numpy as np

from micdb.store.layout import THUMBNAIL_SIDE

CONTRAST = (1.0, 99.0)  # [percentile] black and white: a few hot pixels must not darken the rest
SAMPLE = 1 << 20  # [pixel] percentiles of a larger frame are taken on a regular subset


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
    if not (colour and frame.dtype == np.uint8):  # 8-bit colours are shown as they are
        frame = _stretched(np.abs(frame) if frame.dtype.kind == "c" else frame)
    image = Image.fromarray(np.ascontiguousarray(frame))
    image.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.BOX)
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def _stretched(frame: np.ndarray) -> np.ndarray:
    values = frame.astype(np.result_type(frame.dtype, np.float32))  # a cast to float32 alone can overflow
    finite = np.isfinite(values)
    step = max(1, int(np.sqrt(values.size / SAMPLE)))
    seen = values[::step, ::step][finite[::step, ::step]]
    if seen.size == 0:
        return np.zeros(values.shape, np.uint8)
    values[~finite] = seen.min()
    low, high = np.percentile(seen, CONTRAST)
    # Halves: the difference of the two largest floats is still a float.
    span = high / 2 - low / 2 or 1.0
    eight: np.ndarray = (np.clip((values / 2 - low / 2) / span, 0.0, 1.0) * 255).astype(np.uint8)
    return eight
