"""Scale bars and letters, as microscopes and authors draw them into images."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_UNITS = ("nm", "µm", "um", "mm")
_LENGTHS = (1, 2, 5, 10, 20, 50, 100, 200, 500)  # of scale bars
_WORDS = ("a", "b", "c", "(a)", "(b)", "c)", "SE", "BSE", "HAADF", "20.0kV", "x5,000", "WD 9.8", "A1")
_HEIGHT = (0.04, 0.14)  # [image] of letters
_LEAST = 7  # [pixel]


def lettered(image: Floats, rng: np.random.Generator) -> tuple[Floats, Bools]:
    """Return an image with a scale bar and letters, and what they hide.

    Parameters
    ----------
    image
        ``(y, x)``.
    rng
        Of place, size and words.

    Returns
    -------
    image, hidden
        ``(y, x)``. Letters hide little of what is under them and do not count; the boxes some stand on do.
    """
    low, high = (float(one) for one in np.percentile(image, (0.5, 99.5)))
    grey = high + 0.1 * (high - low) if rng.random() < 0.7 else low - 0.1 * (high - low)
    ink, hidden = Image.new("L", image.shape[::-1]), np.zeros(image.shape, bool)
    pen = ImageDraw.Draw(ink)
    result = image.copy()
    for number in range(int(rng.integers(1, 4))):
        box = _bar(pen, image.shape, rng) if number == 0 else _word(pen, image.shape, rng)
        if rng.random() < 0.25:
            result[box], hidden[box] = low + high - grey, True
    share = np.asarray(ink, dtype=np.float64) / 255
    return result * (1 - share) + grey * share, hidden


def _bar(pen: ImageDraw.ImageDraw, shape: tuple[int, ...], rng: np.random.Generator) -> tuple[slice, slice]:
    """Draw a scale bar, mostly with its length beside it; return the box around it."""
    width, thick = (
        round(shape[1] * rng.uniform(0.1, 0.45)),
        max(1, round(shape[0] * rng.uniform(0.008, 0.04))),
    )
    left, top = int(rng.integers(2, max(shape[1] - width, 3))), int(shape[0] * rng.uniform(0.75, 0.95))
    pen.rectangle((left, top, left + width, top + thick), fill=255)
    if rng.random() < 0.3:  # ends
        for x in (left, left + width):
            pen.rectangle((x - 1, top - 2 * thick, x, top + 3 * thick), fill=255)
    text = f"{rng.choice(_LENGTHS)} {rng.choice(_UNITS)}"
    font, size = _font(shape, rng)
    over = top - size - 3 if rng.random() < 0.7 else top + thick + 1
    if rng.random() < 0.85:
        pen.text((left, over), text, fill=255, font=font)
    across = max(width, math.ceil(pen.textlength(text, font=font))) + 4
    return slice(max(min(over, top) - 3, 0), top + thick + size), slice(max(left - 4, 0), left + across)


def _word(pen: ImageDraw.ImageDraw, shape: tuple[int, ...], rng: np.random.Generator) -> tuple[slice, slice]:
    """Draw a word; return the box around it."""
    text, (font, size) = str(rng.choice(_WORDS)), _font(shape, rng)
    left, top = int(shape[1] * rng.uniform(0, 0.8)), int(shape[0] * rng.choice([0.02, rng.uniform(0, 0.85)]))
    pen.text((left, top), text, fill=255, font=font)
    across = math.ceil(pen.textlength(text, font=font))
    return slice(max(top - 1, 0), top + round(1.3 * size)), slice(max(left - 3, 0), left + across + 3)


def _font(shape: tuple[int, ...], rng: np.random.Generator) -> tuple[ImageFont.FreeTypeFont, int]:
    size = max(_LEAST, round(min(shape) * math.exp(rng.uniform(*np.log(_HEIGHT)))))
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)  # noqa: S101 (of a size it always is)
    return font, size
