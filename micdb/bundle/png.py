"""PNG: for eyes and slides, or exact 8- and 16-bit values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from micdb import units
from micdb.bundle.form import Folder, Form, Written
from micdb.bundle.image import StoredImage
from micdb.bundle.names import numbered
from micdb.store.thumbnail import CONTRAST

if TYPE_CHECKING:
    from PIL.Image import Image

_EXACT = ("bool", "uint8", "uint16")
_SHARE = 0.25  # of the image's width that a scale bar takes at most
_UNITS = {"nm": ("mm", "um", "nm", "pm"), "1/nm": ("1/nm", "1/um")}  # coarse to fine
_SIGNS = {"um": "µm", "1/um": "1/µm"}
_SMALLEST = 64  # [pixel] a label would cover a smaller image


class Png(Form):
    """One file per frame.

    Parameters
    ----------
    raw
        Values as stored, of 8- and 16-bit images; else 8 bits, grey values from the 1st to the 99th
        percentile of each frame, of complex pixels the magnitude.
    scale_bar
        Draw a bar into images whose pixel size is known.
    """

    name = "png"

    def __init__(self, *, raw: bool = False, scale_bar: bool = False) -> None:
        self.raw = raw
        self.scale_bar = scale_bar

    def files(self, stem: str, n_frames: int) -> list[str]:
        """Return one name per frame, numbered from 0."""
        return numbered(stem, n_frames, ".png")

    def refusal(self, image: StoredImage) -> str | None:
        """Refuse what `raw` cannot keep exactly."""
        if self.raw and image.dtype not in _EXACT:
            return f"PNG cannot hold {image.dtype} exactly; leave out --raw, or export as ome-tiff or nexus"
        return None

    def write(self, image: StoredImage, names: Sequence[str], folder: Folder) -> Written:
        """Write every frame."""
        bar, notes = _bar(image) if self.scale_bar else (None, ())
        for name, frame in zip(names, image.frames(), strict=True):
            with folder.new(name) as path:
                if self.raw:
                    path.write_bytes(_exact(frame))
                else:
                    picture = _picture(frame, colour=image.colour)
                    if bar is not None:
                        picture = drawn_bar(picture, bar)
                    picture.save(path, "PNG")
        return Written(image, tuple(names), notes)


def _exact(frame: np.ndarray) -> bytes:
    import imagecodecs

    values = frame.astype(np.uint8) * np.uint8(255) if frame.dtype == bool else frame
    return bytes(imagecodecs.png_encode(np.ascontiguousarray(values)))


def _picture(frame: np.ndarray, *, colour: bool) -> Image:
    from PIL import Image

    if not (colour and frame.dtype == np.uint8):  # 8-bit colours are shown as they are
        shown = frame[..., :3] if colour else frame
        frame = stretched(np.abs(shown) if np.iscomplexobj(shown) else shown)
    return Image.fromarray(np.ascontiguousarray(frame))


def stretched(frame: np.ndarray) -> np.ndarray:
    """Return 8-bit grey values; what is not finite is black."""
    values = frame.astype(np.result_type(frame.dtype, np.float32))  # a cast to float32 alone can overflow
    finite = np.isfinite(values)
    if not finite.any():
        return np.zeros(values.shape, np.uint8)
    low, high = np.percentile(values[finite], CONTRAST) / 2
    values[~finite] = low * 2
    # Halves: the difference of the two largest floats is still a float.
    eight: np.ndarray = (np.clip((values / 2 - low) / (high - low or 1.0), 0.0, 1.0) * 255).astype(np.uint8)
    return eight


class Bar(NamedTuple):
    """A scale bar: its length [pixel], and what it says."""

    pixels: float
    label: str


def scale_bar(step: float, unit: str, width: int) -> Bar:
    """Return the longest bar of the series 1, 2, 5, 10, ... that takes at most a quarter of the width.

    Parameters
    ----------
    step
        Size of a pixel in `unit`.
    unit
        ``nm``, or ``1/nm`` for diffraction patterns.
    width
        Of the image [pixel].
    """
    most = step * width * _SHARE
    series = _UNITS[unit]
    chosen = next((name for name in series if units.convert(most, unit, name) >= 1), series[-1])
    limit = units.convert(most, unit, chosen)
    power = 10.0 ** math.floor(math.log10(limit))
    digit = max(digit for digit in (1, 2, 5) if digit * power <= limit * (1 + 1e-9))
    length = digit * power
    return Bar(units.convert(length, chosen, unit) / step, f"{length:g} {_SIGNS.get(chosen, chosen)}")


def _bar(image: StoredImage) -> tuple[Bar | None, tuple[str, ...]]:
    x = image.axis("x")
    if min(image.axis("y").size, x.size) < _SMALLEST:
        return None, (f"no scale bar: the image is smaller than {_SMALLEST} pixels",)
    for unit in _UNITS:
        step = x.step_in(unit)
        if step:
            return scale_bar(step, unit, x.size), ()
    return None, ("no scale bar: the pixel size is unknown",)


def drawn_bar(picture: Image, bar: Bar) -> Image:
    """Return the picture with a white bar and label on a black box at the lower left."""
    import matplotlib as mpl
    from PIL import ImageDraw, ImageFont

    # Pillow's own font has no micro sign.
    file = Path(mpl.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    white = 255 if picture.mode == "L" else (255,) * len(picture.mode)
    black = 0 if picture.mode == "L" else (0,) * 3 + (255,) * (len(picture.mode) - 3)
    size = max(11, picture.height // 25)  # [pixel] of the letters
    font = ImageFont.truetype(file, size)
    draw = ImageDraw.Draw(picture)
    left, top, right, bottom = draw.textbbox((0, 0), bar.label, font=font)
    gap, thick = size // 2, max(2, size // 5)
    length = round(bar.pixels)
    wide = max(length, right - left) + 2 * gap
    high = thick + bottom - top + 3 * gap
    x, y = gap, picture.height - high - gap
    draw.rectangle((x, y, x + wide - 1, y + high - 1), fill=black)
    middle = x + wide / 2
    draw.text((middle - (right + left) / 2, y + gap - top), bar.label, fill=white, font=font)
    first = round(middle - length / 2)
    base = y + high - gap - thick
    draw.rectangle((first, base, first + length - 1, base + thick - 1), fill=white)
    return picture
