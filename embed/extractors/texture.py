"""`texture`: what a micrograph looks like, at a declared number of nanometres per pixel.

An image is resampled to every scale of a ladder of powers of two that it can give, and each scale is a
space of its own: ``texture@256nm`` compares images that show 256 nm in a pixel, whatever their
microscope wrote. Every image also goes unscaled into ``texture@px``, pixel for pixel: the space of
examples without a scale, and of those who ask for it by name. It compares patterns, not sizes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from micdb.embed.extractors.texture_features import BLOCKS, DIM, TILE, features
from micdb.embed.extractors.texture_reference import MEAN, SPREAD
from micdb.embed.sampling import LADDER, available, constant, resample, scanned
from micdb.errors import UsageError
from micdb.populate.extractor import Card, Extraction, Extractor, Space
from micdb.populate.facts import EMBEDDINGS
from micdb.records import Picture, Refusal

UNSCALED = "texture@px"
Further = tuple[dict[str, pa.Table], dict[str, tuple[float | None, str | None]]]  # tables and roll-ups

_MOST_FRAMES = 16  # of a stack, evenly spaced; more frames of one scene add time and no knowledge
_CLIP = 3.0  # [standard deviation] one extreme feature must not decide a cosine
_LEAST_SCANNED = 0.5

# Each block weighs the same, however many numbers it has.
_WEIGHT = np.concatenate([np.full(length, length**-0.5) for length in BLOCKS.values()])


def space_name(nm_per_pixel: float | None, extractor: str = "texture") -> str:
    """Return the space of a scale: ``texture@256nm``, ``texture@0.0625nm``, ``texture@px`` for None."""
    return f"{extractor}@px" if nm_per_pixel is None else f"{extractor}@{nm_per_pixel:.10g}nm"


def describe(image: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Return the balanced texture vector ``(DIM,)`` of one image, not normalised.

    Parameters
    ----------
    image
        ``(y, x)``, finite, not constant, short side at least `TILE` pixels.
    """
    raw = features(np.asarray(image, dtype=np.float32))
    return np.asarray(np.clip((raw - MEAN) / SPREAD, -_CLIP, _CLIP) * _WEIGHT)


class Texture(Extractor):
    """Vectors of texture, blind to rotation, mirroring, brightness and contrast; compared by cosine.

    A vector has length 1. Contrast inversion changes it: bright particles on a dark matrix are not
    dark pores in a bright one. A stack gets the mean over at most 16 evenly spaced frames. Rows and
    columns that were not scanned are cut off.

    Parameters
    ----------
    nm_per_pixel
        One scale of the ladder [nm]; None for all that an image can give, and the unscaled space.
    """

    card: ClassVar[Card] = Card(
        name="texture",
        version="1",
        summary="Rotation-invariant texture at declared scales, for similarity and for linking to properties",
        parameters={"nm_per_pixel": None},
        licence="BSD-3-Clause",
        reference=(
            "Welch 1967 (spectra); Portilla & Simoncelli 2000 (pyramid statistics); Ojala et al. 2002 "
            "(uniform local binary patterns); Koenderink & van Doorn 1992 (shape index)"
        ),
        scale=f"resampled to powers of two from {LADDER[0]:g} to {LADDER[-1]:g} nm/pixel",
        modalities=("SEM", "TEM", "STEM", "STM", "AFM", "optical"),
        validated={
            "UHCS SEM images, texture@px": "0.738 of the 5 nearest from other specimens share the "
            "microconstituent (uniform LBP 0.581, chance 0.475; n = 424; benchmarks/texture.py)",
            "UHCS SEM images, texture@256nm": "0.825 (uniform LBP 0.763, chance 0.740; n = 220)",
        },
    )
    schemas: ClassVar[Mapping[str, pa.Schema]] = {"embeddings": EMBEDDINGS}
    dim: ClassVar[int] = DIM  # of its vectors

    def __init__(self, **parameters: Any) -> None:
        super().__init__(**parameters)
        check_rung(self.parameters["nm_per_pixel"], self.card.name)

    @property
    def spaces(self) -> tuple[Space, ...]:
        """One space per scale, and the unscaled one last."""
        return tuple(Space(space_name(scale, self.card.name), self.dim, scale) for scale in self._scales)

    def describe(self, image: npt.NDArray[np.float32]) -> npt.NDArray[np.floating]:
        """Return the vector ``(dim,)`` of one image; parameters as for `describe` of this module."""
        return describe(image)

    @property
    def _scales(self) -> tuple[float | None, ...]:
        wanted = self.parameters["nm_per_pixel"]
        return (*LADDER, None) if wanted is None else (float(wanted),)

    def extract_one(self, picture: Picture) -> Extraction | Refusal:
        """Return one row per scale for a picture, or the reason why there is none."""
        if picture.modality == "diffraction":
            return Refusal(picture.image, "a diffraction pattern has no texture in real space")
        frames = usable(picture)
        if isinstance(frames, str):
            return Refusal(picture.image, frames)
        shape = _common_shape(frames)
        scales = self._reachable(shape, picture.pixel_size)
        if isinstance(scales, str):
            return Refusal(picture.image, scales)
        ready = [scaled(frame) for frame in frames]
        vectors = {
            space_name(scale, self.card.name): self._vector(ready, scale, picture.pixel_size)
            for scale in scales
        }
        rows = {name: vector for name, vector in vectors.items() if vector is not None}
        if not rows:
            return Refusal(picture.image, "the image is blank at every scale it can give")
        table = {
            "image": [picture.image] * len(rows),
            "space": list(rows),
            "vector": list(rows.values()),
        }
        tables, rollups = self.further(ready[0], picture)
        return Extraction(
            picture.image, {"embeddings": pa.table(table, schema=EMBEDDINGS), **tables}, rollups
        )

    def further(
        self,
        frame: npt.NDArray[np.float64],  # noqa: ARG002
        picture: Picture,  # noqa: ARG002
    ) -> Further:
        """Return other tables and roll-ups of a picture that has vectors; none here.

        Parameters
        ----------
        frame
            ``(y, x)``, the first that is not blank, as `scaled` makes it.
        picture
            It is of.
        """
        return {}, {}

    def _vector(
        self,
        frames: list[npt.NDArray[np.float64]],
        scale: float | None,
        pixel_size: tuple[float, float] | None,
    ) -> npt.NDArray[np.float32] | None:
        """Return the mean unit vector over the frames, or None when all are blank at that scale."""
        factors = (1.0, 1.0)
        if scale is not None and pixel_size is not None:
            factors = (scale / pixel_size[0], scale / pixel_size[1])
        found = []
        for frame in frames:
            image = resample(frame, factors)
            if not constant(image):
                found.append(self.describe(image))
        if not found:
            return None
        mean = np.mean(found, axis=0)
        return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-12), dtype=np.float32)

    def _reachable(
        self, shape: tuple[int, int], pixel_size: tuple[float, float] | None
    ) -> list[float | None] | str:
        """Return the scales to compute, or why there is none."""
        size = f"{shape[1]} x {shape[0]} pixels"
        if min(shape) < TILE:
            return f"{size} scanned; at least {TILE} x {TILE} are needed"
        if pixel_size is None:
            if None in self._scales:
                return [None]
            return f"the image has no pixel size, so it cannot be resampled to {self._scales[0]:g} nm/pixel"
        if not all(math.isfinite(size) and size > 0 for size in pixel_size):
            return f"pixel size {pixel_size[1]:g} x {pixel_size[0]:g} nm; positive numbers are needed"
        possible = available(shape, pixel_size, smallest=TILE)
        chosen = [scale for scale in self._scales if scale in possible]
        if not chosen:
            wanted = (
                f"at {self._scales[0]:g} nm/pixel"
                if len(self._scales) == 1
                else f"at any power of two from {LADDER[0]:g} to {LADDER[-1]:g} nm/pixel"
            )
            pitch = f"{pixel_size[1]:g} x {pixel_size[0]:g} nm"
            return f"{size} of {pitch} cannot give {TILE} pixels {wanted} without upsampling"
        return [*chosen, None] if None in self._scales else [*chosen]


def check_rung(wanted: object, extractor: str) -> None:
    """Refuse a parameter ``nm_per_pixel`` that is neither None nor a scale of the ladder.

    Raises
    ------
    UsageError
        With the nearest one that is.
    """
    if wanted is not None and (isinstance(wanted, bool) or wanted not in LADDER):
        raise UsageError(
            f"{extractor}: parameter nm_per_pixel is {wanted!r}; expected a power of two from "
            f"{LADDER[0]:g} to {LADDER[-1]:g}, for example {_nearest(wanted):g}, or None for all scales"
        )


def _nearest(wanted: object) -> float:
    if isinstance(wanted, bool) or not isinstance(wanted, int | float) or not 0 < wanted < math.inf:
        return 256.0
    return min(LADDER, key=lambda rung: abs(math.log(rung / wanted)))


def usable(picture: Picture) -> list[npt.NDArray[np.float64]] | str:
    """Return the scanned part of some frames, all finite and none blank; or why there is none."""
    count = len(picture.pixels)
    if picture.pixels.size == 0:
        return "the image has no pixels"
    chosen = np.unique(np.linspace(0, count - 1, min(count, _MOST_FRAMES)).round().astype(int))
    frames = [picture.pixels[index] for index in chosen]
    finite = float(np.mean([np.isfinite(frame).mean() for frame in frames]))
    if finite < _LEAST_SCANNED:
        return f"{1 - finite:.0%} of the pixels were not scanned; at most half may be missing"
    parts = [part for part, _ in map(scanned, frames) if part.size and not constant(part)]
    return parts or "the image is blank: every pixel has the same value"


def scaled(frame: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return a frame about its median, between -1 and 1: 1e-4 of the offset must survive float32."""
    centred = frame - np.median(frame)
    return np.asarray(centred / np.abs(centred).max())


def _common_shape(frames: list[npt.NDArray[np.float64]]) -> tuple[int, int]:
    return min(frame.shape[0] for frame in frames), min(frame.shape[1] for frame in frames)
