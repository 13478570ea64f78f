"""`texture-patches`: what every place in a micrograph looks like, at declared nanometres per pixel.

An image is resampled to every scale of the ladder that it can give, as `texture` does, and windows of 64
pixels of that scale are described one by one with the same numbers: a window of ``texture-patches@32nm``
shows 32 x 64 = 2048 nm, whatever the microscope's pixel size. Windows overlap by half, so that any place as
large as one and a half windows holds a whole one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from micdb.embed.extractors.texture import check_rung, describe, scaled, space_name
from micdb.embed.extractors.texture_features import DIM, TILE
from micdb.embed.sampling import LADDER, available, constant, origin, resample, resampled, scanned
from micdb.errors import UsageError
from micdb.populate.extractor import Card, Extraction, Extractor, Space
from micdb.populate.facts import PATCHES
from micdb.records import Picture, Refusal

UNSCALED = space_name(None, "texture-patches")

_LEAST_SCANNED = 0.5
_Scale = float | None
_Row = dict[str, Any]


def starts(size: int, most: int) -> list[int] | None:
    """Return where windows begin along one side, evenly and symmetric under mirroring.

    Parameters
    ----------
    size
        Length of the side [pixel], at least `TILE`.
    most
        Number of windows at most.

    Returns
    -------
    list of int or None
        Half a window apart or a little less; farther, up to a whole window, where `most` demands it.
        None where `most` windows would leave gaps.
    """
    room = size - TILE
    count = min(math.ceil(room / (TILE // 2)) + 1, most)
    if count * TILE < size:
        return None
    if count == 1:
        return [room // 2]
    first = [round(index * room / (count - 1)) for index in range((count + 1) // 2)]
    return first + [room - start for start in reversed(first[: count // 2])]


class TexturePatches(Extractor):
    """Vectors of windows, each with its box in the original image; compared by cosine, as `texture`'s are.

    An image without a pixel size is described pixel for pixel instead, in ``texture-patches@px``. Blank
    windows have no row. A scale at which `most` windows would leave gaps is left out, so that in the
    scales that are there no place is missing: at 1024 an image may have 2048 x 2048 pixels of a scale.

    Parameters
    ----------
    nm_per_pixel
        One scale of the ladder [nm]; None for all that an image can give, and the unscaled space.
    most
        Windows at most, for each scale and frame; at least 1.
    frames
        Frames of a stack that are described, evenly spaced from the first; at least 1.
    """

    card: ClassVar[Card] = Card(
        name="texture-patches",
        version="1",
        summary="Rotation-invariant texture of every place in an image, for finding a texture anywhere",
        parameters={"nm_per_pixel": None, "most": 1024, "frames": 1},
        licence="BSD-3-Clause",
        reference=(
            "Welch 1967 (spectra); Portilla & Simoncelli 2000 (pyramid statistics); Ojala et al. 2002 "
            "(uniform local binary patterns); Koenderink & van Doorn 1992 (shape index)"
        ),
        scale=f"windows of {TILE} pixels at powers of two from {LADDER[0]:g} to {LADDER[-1]:g} nm/pixel",
        modalities=("SEM", "TEM", "STEM", "STM", "AFM", "optical"),
        validated={
            "UHCS SEM images": "of the 10 places in other images most like a crop of 2.2 windows 0.89 show "
            "its class (chance 0.71); 0.93 of crops find their own place (n = 45; benchmarks/places.py)",
        },
    )
    schemas: ClassVar[Mapping[str, pa.Schema]] = {"patches": PATCHES}
    window: ClassVar[int | None] = TILE
    dim: ClassVar[int] = DIM  # of its vectors

    def __init__(self, **parameters: Any) -> None:
        super().__init__(**parameters)
        check_rung(self.parameters["nm_per_pixel"], self.card.name)
        for name in ("most", "frames"):
            value = self.parameters[name]
            if value is None or value < 1:
                raise UsageError(f"{self.card.name}: parameter {name} is {value!r}; it must be at least 1")

    @property
    def spaces(self) -> tuple[Space, ...]:
        """One space per scale, and the unscaled one last."""
        return tuple(Space(space_name(scale, self.card.name), self.dim, scale) for scale in self._scales)

    def describe(self, window: npt.NDArray[np.float32]) -> npt.NDArray[np.floating]:
        """Return the vector ``(dim,)`` of a window."""
        return describe(window)

    @property
    def _scales(self) -> tuple[_Scale, ...]:
        wanted = self.parameters["nm_per_pixel"]
        return (*LADDER, None) if wanted is None else (float(wanted),)

    def extract_one(self, picture: Picture) -> Extraction | Refusal:
        """Return one row per window and scale for a picture, or the reason why there is none."""
        if picture.modality == "diffraction":
            return Refusal(picture.image, "a diffraction pattern has no texture in real space")
        pitch = picture.pixel_size
        if pitch is not None and not all(math.isfinite(size) and size > 0 for size in pitch):
            return Refusal(
                picture.image, f"pixel size {pitch[1]:g} x {pitch[0]:g} nm; positive numbers are needed"
            )
        count = len(picture.pixels)
        if picture.pixels.size == 0:
            return Refusal(picture.image, "the image has no pixels")
        step = min(count, self.parameters["frames"])
        rows: list[_Row] = []
        reasons: list[str] = []
        for frame in [index * count // step for index in range(step)]:
            found = self._frame(picture, frame)
            rows += [] if isinstance(found, str) else found
            reasons += [found] if isinstance(found, str) else []
        if not rows:
            return Refusal(picture.image, reasons[0])
        named = [{"image": picture.image, **row} for row in rows]
        return Extraction(picture.image, {"patches": pa.Table.from_pylist(named, schema=PATCHES)})

    def _frame(self, picture: Picture, frame: int) -> list[_Row] | str:
        """Return the rows of one frame, or why there is none."""
        whole = picture.pixels[frame]
        finite = float(np.isfinite(whole).mean())
        if finite < _LEAST_SCANNED:
            return f"{1 - finite:.0%} of the pixels were not scanned; at most half may be missing"
        part, corner = scanned(whole)
        if not part.size or constant(part):
            return "the image is blank: every pixel has the same value"
        scales = self._reachable((part.shape[0], part.shape[1]), picture.pixel_size)
        if isinstance(scales, str):
            return scales
        centred = scaled(part)
        rows: list[_Row] = []
        for scale in scales:
            factors = _factors(scale, picture.pixel_size)
            for place, vector in self._windows(centred, factors):
                y, x, height, width = _box(place, factors, part.shape)
                rows.append({
                    "frame": frame, "space": space_name(scale, self.card.name),
                    "x_px": x + corner[1], "y_px": y + corner[0], "width_px": width, "height_px": height,
                    "vector": vector,
                })  # fmt: skip
        return rows or "the image is blank wherever a window was taken, at every scale it can give"

    def _windows(
        self, image: npt.NDArray[np.float64], factors: tuple[float, float]
    ) -> Iterator[tuple[tuple[int, int], npt.NDArray[np.float32]]]:
        """Yield where each window begins at the new scale, ``(y, x)``, and its unit vector."""
        small = resample(image, factors)
        grid = self._grid((small.shape[0], small.shape[1]))
        if grid is None:
            return
        # what resampling leaves of a flat area is rounding, not texture
        least = 4 * float(np.finfo(np.float32).eps) * float(np.abs(small).max())
        for y in grid[0]:
            for x in grid[1]:
                window = small[y : y + TILE, x : x + TILE]
                if np.ptp(window) > least and not constant(window):
                    vector = self.describe(window)
                    length = max(float(np.linalg.norm(vector)), 1e-12)
                    yield (y, x), np.asarray(vector / length, dtype=np.float32)

    def _grid(self, shape: tuple[int, int]) -> tuple[list[int], list[int]] | None:
        """Return the beginnings of windows along y and x, or None where too many would be needed."""
        most = int(self.parameters["most"])
        dense = [math.ceil((size - TILE) / (TILE // 2)) + 1 for size in shape]
        thin = max(1.0, math.sqrt(dense[0] * dense[1] / most))
        rows = min(dense[0], max(math.ceil(shape[0] / TILE), int(dense[0] / thin)))
        columns = min(dense[1], most // rows)
        down, across = starts(shape[0], rows), starts(shape[1], columns) if columns else None
        return None if down is None or across is None else (down, across)

    def _reachable(
        self, shape: tuple[int, int], pixel_size: tuple[float, float] | None
    ) -> list[_Scale] | str:
        """Return the scales to compute, or why there is none."""
        size = f"{shape[1]} x {shape[0]} pixels"
        if min(shape) < TILE:
            return f"{size} scanned; a window needs at least {TILE} x {TILE}"
        if pixel_size is None:
            if None not in self._scales:
                return f"the image has no pixel size: it cannot be resampled to {self._scales[0]:g} nm/pixel"
            possible: list[_Scale] = [None]
        else:
            possible = [*available(shape, pixel_size, smallest=TILE)]
        chosen = [scale for scale in self._scales if scale in possible]
        if not chosen:
            return _too_small(size, pixel_size, self._scales)
        fitting = [
            scale for scale in chosen if self._grid(resampled(shape, _factors(scale, pixel_size))) is not None
        ]
        return fitting or (
            f"{size} would need more than {self.parameters['most']} windows at every scale it can give: "
            "set the parameter most higher"
        )


def _factors(scale: _Scale, pixel_size: tuple[float, float] | None) -> tuple[float, float]:
    if scale is None or pixel_size is None:
        return (1.0, 1.0)
    return (scale / pixel_size[0], scale / pixel_size[1])


def _too_small(size: str, pixel_size: tuple[float, float] | None, scales: tuple[_Scale, ...]) -> str:
    """Return why no window fits, with the size that would do."""
    pitch = pixel_size or (1.0, 1.0)
    shown = f"{size} of {pitch[1]:g} x {pitch[0]:g} nm"
    coarse = [scale for scale in scales if scale is not None and scale * 1.05 >= max(pitch)]
    if not coarse:
        return f"{shown} cannot give {scales[0]:g} nm/pixel without upsampling"
    height, width = (math.ceil(TILE * coarse[0] / one) for one in pitch)
    return (
        f"{shown}: no window of {TILE} x {coarse[0]:g} nm fits; at least {width} x {height} pixels are needed"
    )


def _box(
    place: tuple[int, int], factors: tuple[float, float], shape: tuple[int, ...]
) -> tuple[int, int, int, int]:
    """Return y, x, height and width of a window in the image, rounded to whole pixels."""
    corner = origin((shape[0], shape[1]), factors)
    ends = []
    for axis in (0, 1):
        first = corner[axis] + place[axis] * factors[axis]
        last = first + TILE * factors[axis]
        ends.append((max(0, round(first)), min(shape[axis], round(last))))
    (top, bottom), (left, right) = ends
    return top, left, bottom - top, right - left
