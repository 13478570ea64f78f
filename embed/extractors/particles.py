"""`particles`: particles of SEM, TEM and STEM images that brightness tells from what lies between them.

Fills `particles` (size, shape and place of each) and `masks` (which is seen where).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from micdb.embed.atoms.frame import arrow_table, frames, in_nm, prepared
from micdb.embed.micro import threshold
from micdb.embed.micro.foil_defects import weighted_median
from micdb.embed.micro.objects import Objects, measure
from micdb.errors import UsageError
from micdb.masks import Mask
from micdb.populate.extractor import Card, Extraction, Extractor, check_positive
from micdb.populate.facts import MASKS, PARTICLES
from micdb.records import Picture, Refusal

_Rollups = dict[str, tuple[float | None, str | None]]

_SMALLEST = 32  # [pixel] side of an image
_ATOM = 0.4  # [nm] what is smaller are atoms: the largest, of caesium, is 0.5 nm across
_MODALITIES = ("SEM", "TEM", "STEM", "optical")


@dataclass(frozen=True, slots=True, eq=False)
class _Frame:
    """Particles of the scanned part of a frame, and where it begins in the frame ``(y, x)``."""

    labels: npt.NDArray[np.int32]
    objects: Objects
    shape: tuple[int, ...]
    corner: tuple[int, int]


class Particles(Extractor):
    """Particles by Otsu's threshold and a watershed, with sizes and shapes.

    Parameters
    ----------
    blur_px
        Standard deviation of a Gaussian against noise [pixel].
    bright
        Whether particles are brighter than what lies between them; None: they are what the edge of the image
        crosses less.
    least_px
        Area of a particle [pixel].
    """

    card: ClassVar[Card] = Card(
        name="particles",
        version="1",
        summary="Particles that brightness tells from what lies between them: size and shape of each",
        parameters={"blur_px": 0.7, "bright": None, "least_px": 40},
        licence="BSD-3-Clause",
        reference=(
            "Otsu, IEEE Trans. Syst. Man Cybern. 9, 62 (1979); Vincent and Soille, IEEE Trans. Pattern Anal. "
            "13, 583 (1991): watershed; Miles 1974 (weights for what edges cut)"
        ),
        scale="any; the pixel size need not be known",
        modalities=_MODALITIES,
        validated={
            "100 simulated images of all kinds": "mean F1 of an image 0.390 (benchmarks/particles.py)",
            "simulated spheroidite": "mean F1 of an image 0.810",
            "emps, 32 images": "F1 0.452",
            "np_catalyst_stem, 15 images": "F1 0.157 of boxes",
            "uhcs_spheroidite, 23 images": "IU of particles 47.5, mean 68.1 (Otsu as published: 53.7, 69.9)",
        },
    )
    schemas: ClassVar[Mapping[str, pa.Schema]] = {"particles": PARTICLES, "masks": MASKS}

    def __init__(self, **parameters: Any) -> None:
        super().__init__(**parameters)
        check_positive(self, "blur_px", "a length in pixels, for example 0.7")
        check_positive(self, "least_px", "an area in pixels, for example 40")
        if self.parameters["bright"] not in (None, True, False):
            raise UsageError(
                f"particles: bright is {self.parameters['bright']!r}; expected true, false or none"
            )

    def extract(self, pictures: Iterable[Picture]) -> Iterator[Extraction | Refusal]:
        """Yield the particles of each picture, or the reason why there are none."""
        for picture in pictures:
            yield self._extract(picture)

    def _extract(self, picture: Picture) -> Extraction | Refusal:
        reason = _unfit(picture)
        if reason:
            return Refusal(picture.image, reason)
        found = frames(picture, lambda pixels: self._measure(pixels, picture))
        if isinstance(found, Refusal):
            return found
        tables = {
            "particles": pa.concat_tables([_rows(picture, number, one) for number, one in found.items()]),
            "masks": pa.concat_tables([_mask(picture, number, one) for number, one in found.items()]),
        }
        return Extraction(picture.image, tables, _rollups(list(found.values()), picture.pixel_size))

    def _measure(self, pixels: npt.NDArray[np.floating], picture: Picture) -> _Frame | str:
        """Return the particles of one frame, or why it cannot be measured."""
        ready = prepared(pixels, smallest=_SMALLEST)
        if isinstance(ready, str):
            return ready
        image, corner = ready
        image = image / float(np.abs(image).max())
        blur, least = float(self.parameters["blur_px"]), int(self.parameters["least_px"])
        labels = threshold.particles(image, blur=blur, bright=self.parameters["bright"], least=least)
        objects = measure(labels, picture.pixel_size or (1.0, 1.0))
        if picture.pixel_size and len(objects.label) and np.median(objects.diameter) < _ATOM:
            return (
                f"what shows here is {np.median(objects.diameter):.2g} nm across: atoms, which `stem-atoms` "
                "and `lattice` measure, or the pixel size is wrong"
            )
        return _Frame(labels, objects, pixels.shape, corner)


def _unfit(picture: Picture) -> str | None:
    """Return why a picture cannot be asked for particles, or None."""
    if picture.modality == "diffraction":
        return "a diffraction pattern shows no particles in real space"
    if picture.modality is not None and picture.modality not in _MODALITIES:
        return f"modality {picture.modality}; particles are sought in {', '.join(_MODALITIES)} images"
    if picture.pixel_size and not all(math.isfinite(size) and size > 0 for size in picture.pixel_size):
        return f"pixel size {picture.pixel_size} nm; positive numbers are needed"
    return None


def _rows(picture: Picture, number: int, frame: _Frame) -> pa.Table:
    """Return the rows of a frame."""
    one, n, step = frame.objects, len(frame.objects.label), picture.pixel_size
    pixel = 1.0 if step is None else math.prod(step)
    top, left = frame.corner
    x, y = one.x + left, one.y + top
    known = {name: None if step is None else getattr(one, name[:-3]) for name in _LENGTHS}
    columns = {
        "image": np.full(n, picture.image),
        "frame": np.full(n, number),
        "idx": np.arange(n),
        "x_px": x,
        "y_px": y,
        "x_nm": in_nm(picture, 1, x),
        "y_nm": in_nm(picture, 0, y),
        "area_px": one.area_px,
        "area_nm2": None if step is None else one.area,
        "on_edge": one.on_edge,
        "box": list((one.box + np.array([left, top, 0, 0])).astype(np.int32)),
        "diameter_px": one.diameter / math.sqrt(pixel),
        **known,
        "angle_deg": one.angle_deg,
        "circularity": pa.array(one.circularity, from_pandas=True),
        "solidity": pa.array(one.solidity, from_pandas=True),
        "weight": one.weight,
        "score": None,  # a threshold knows no probabilities
    }
    return arrow_table(columns, PARTICLES, n)


_LENGTHS = ("diameter_nm", "major_nm", "minor_nm")


def _mask(picture: Picture, number: int, frame: _Frame) -> pa.Table:
    """Return which particle each pixel shows, by ``idx`` plus 1; -1 where nothing was scanned."""
    labels = np.full(frame.shape, -1, np.int32)
    inside = tuple(slice(at, at + size) for at, size in zip(frame.corner, frame.labels.shape, strict=True))
    labels[inside] = frame.labels
    values, lengths = Mask(labels).runs()
    row = {
        "image": picture.image, "frame": number, "kind": "particles", "height_px": labels.shape[0],
        "width_px": labels.shape[1], "classes": [], "labels": values, "lengths": lengths,
    }  # fmt: skip
    return pa.Table.from_pylist([row], schema=MASKS)


def _rollups(found: Sequence[_Frame], step: tuple[float, float] | None) -> _Rollups:
    """Return the mean number of particles, their number density, median diameter and the area they cover."""
    diameter = np.concatenate([one.objects.diameter for one in found])
    weight = np.concatenate([one.objects.weight for one in found])
    pixels = sum(one.labels.size for one in found)
    unit = None if step is None else pixels * math.prod(step)
    median, off = weighted_median(diameter[weight > 0], weight[weight > 0])
    total, counting = float(weight.sum()), float(np.sqrt(np.square(weight).sum()))
    return {
        "n_particles": (len(diameter) / len(found), None),
        "particle_density": (None if unit is None else total / unit, "1/nm**2"),
        "particle_density_sd": (None if unit is None or not total else counting / unit, "1/nm**2"),
        "particle_diameter": (None if step is None else median, "nm"),
        "particle_diameter_sd": (None if step is None else off, "nm"),
        "particle_cover": (sum(int((one.labels > 0).sum()) for one in found) / pixels, None),
    }
