"""`segment`: the phases of a micrograph, by a network that a user taught with a few annotated images.

Fills `phases` (fractions with intervals), `interfaces` (what lies beside what, and how far), `regions` (each
connected part of a phase) and `masks`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy import ndimage

from micdb.embed.atoms.frame import frames, prepared
from micdb.embed.micro.fractions import fraction
from micdb.embed.micro.interfaces import interfaces, thickness
from micdb.embed.micro.objects import Objects, boundary, measure
from micdb.embed.micro.rows import mask_row
from micdb.embed.micro.segmenter import probabilities, voted
from micdb.embed.nets import weights
from micdb.errors import UsageError
from micdb.masks import UNKNOWN, Labels, Mask
from micdb.populate.extractor import Card, Extraction, Extractor
from micdb.populate.facts import INTERFACES, MASKS, PHASES, REGIONS
from micdb.records import Picture, Refusal

NAME = "segment"
UNCERTAINTY = "segment_uncertainty"  # roll-up, as `_Frame` has it
_SMALLEST = 32  # [pixel] side of an image
_FARTHEST = 3.0  # times finer or coarser than all that was drawn on: what looks alike there is something else
_CORNERS = np.ones((3, 3), bool)  # pixels that touch at a corner are connected


@dataclass(frozen=True, slots=True)
class _Frame:
    """Labels of a frame, `UNKNOWN` where it was not scanned, the probability of each, and how open they are.

    `uncertainty` is the mean entropy of a pixel as a share of the largest, 0 (sure) to 1 (any class alike).
    """

    labels: Labels
    sure: npt.NDArray[np.float32]
    uncertainty: float


class Segment(Extractor):
    """Phases of micrographs, pixel by pixel, as a user's annotated images have them.

    Parameters
    ----------
    weights
        File ``segment.safetensors`` that `micdb.embed.train.segment.teach` wrote, its card beside it. Its
        hash makes the run, wherever the file lies.
    turned
        Ask for the image as it is and turned three times: better, and slower by four.
    background
        Name of the phase between objects that are each of one phase, as packets of martensite in ferrite are;
        None when any pixel may be of any.
    least_region_px
        Smaller regions get no row of their own; they count in the fractions [pixel].
    """

    card: ClassVar[Card] = Card(
        name=NAME,
        version="2",
        summary="Phases pixel by pixel, learnt from a few annotated images or strokes",
        parameters={"weights": None, "turned": True, "background": None, "least_region_px": 9},
        licence="BSD-3-Clause",
        reference=(
            "Ronneberger et al. 2015 (U-Net); DeCost et al., Microsc. Microanal. 25, 21 (2019): steel; "
            "Azimi et al., Sci. Rep. 8, 2128 (2018): objects of one phase; "
            "Lantuejoul, J. Microsc. 161, 387 (1991): variance of fractions"
        ),
        scale="that of the annotated images, give or take a third",
    )
    schemas: ClassVar[Mapping[str, pa.Schema]] = {
        "phases": PHASES,
        "interfaces": INTERFACES,
        "regions": REGIONS,
        "masks": MASKS,
    }
    places: ClassVar[frozenset[str]] = frozenset({"weights"})

    def __init__(self, **parameters: Any) -> None:
        super().__init__(**parameters)
        if self.parameters["least_region_px"] < 1:
            raise UsageError(
                f"segment: least_region_px is {self.parameters['least_region_px']}; expected 1 or more"
            )
        if not isinstance(self.parameters["background"], str | None):
            raise UsageError(
                f"segment: background is {self.parameters['background']!r}; expected a phase's name"
            )
        self._known: weights.Weights | None = None
        self._folder = Path()
        if self.parameters["weights"] is not None:
            self._known, self._folder = weights.of_user(
                NAME, self.parameters["weights"], "micdb train segment --from-annotations"
            )
            self._learnt(self._known.sha256, self._known.texts)
            self._background = _background(self.parameters["background"], self._known.recipe["classes"])

    def extract_one(self, picture: Picture) -> Extraction | Refusal:
        """Return the phases of a picture, or the reason why there are none."""
        if self._known is None:
            raise UsageError(
                "segment knows no phases yet: draw some (micdb annotate read MASKS), teach them (micdb train "
                "segment --from-annotations --out FOLDER) and name --set weights=FOLDER/segment.safetensors"
            )
        if picture.modality == "diffraction":
            return Refusal(picture.image, "a diffraction pattern shows no phases in real space")
        if reason := _strange(picture, self._known.recipe.get("nm_per_pixel")):
            return Refusal(picture.image, reason)
        found = frames(picture, self._measure)
        if isinstance(found, Refusal):
            return found
        classes = self._known.recipe["classes"]
        tables: dict[str, list[dict[str, Any]]] = {name: [] for name in self.schemas}
        for number, frame in found.items():
            here = {"image": picture.image, "frame": number}
            tables["phases"] += [{**here, **row} for row in _phases(frame, classes, picture)]
            tables["interfaces"] += [{**here, **row} for row in _interfaces(frame, classes, picture)]
            tables["regions"] += [{**here, **row} for row in self._regions(frame, classes, picture)]
            mask = Mask(frame.labels, tuple(classes))
            tables["masks"].append(mask_row(picture.image, number, "phases", mask))
        made = {name: pa.Table.from_pylist(rows, schema=self.schemas[name]) for name, rows in tables.items()}
        return Extraction(picture.image, made, _rollups(tables["phases"], classes, found))

    def _measure(self, pixels: npt.NDArray[np.floating]) -> _Frame | str:
        """Return the labels of one frame, or why there are none."""
        ready = prepared(pixels, smallest=_SMALLEST)
        if isinstance(ready, str):
            return ready
        image, corner = ready
        assert self._known is not None  # noqa: S101 (asked only then)
        image = image / float(np.abs(image).max())
        share = probabilities(
            image, weights.unet(NAME, self._folder, self._known.sha256), turned=self.parameters["turned"]
        )
        if self._background is not None:
            share = voted(share, self._background)
        labels, sure = np.full(pixels.shape, UNKNOWN, np.int32), np.zeros(pixels.shape, np.float32)
        inside = tuple(slice(at, at + size) for at, size in zip(corner, image.shape, strict=True))
        labels[inside], sure[inside] = share.argmax(axis=0), share.max(axis=0)
        return _Frame(labels, sure, uncertainty(share))

    def _regions(self, frame: _Frame, classes: Sequence[str], picture: Picture) -> Iterator[dict[str, Any]]:
        """Yield the rows of connected regions, phase by phase."""
        idx = 0
        for number, phase in enumerate(classes):
            parts, _ = ndimage.label(frame.labels == number, structure=_CORNERS)
            sizes = np.bincount(parts.ravel())
            parts[sizes[parts] < self.parameters["least_region_px"]] = 0
            found = measure(parts)
            for row in range(len(found.label)):
                yield {"idx": idx, "phase": phase, **_region(found, row, picture)}
                idx += 1


def _phases(frame: _Frame, classes: Sequence[str], picture: Picture) -> Iterator[dict[str, Any]]:
    known = frame.labels != UNKNOWN
    step = picture.pixel_size
    for number, phase in enumerate(classes):
        inside = frame.labels == number
        found = fraction(inside, known)
        low, high = found.interval()
        yield {
            "phase": phase,
            "fraction": found.value,
            "fraction_sd": _finite(found.sd),
            "fraction_low": low,
            "fraction_high": high,
            "area_nm2": None if step is None else float(inside.sum()) * math.prod(step),
            "boundary_nm": None if step is None else boundary(inside, step),
            "thickness_nm": None if step is None else _finite(thickness(inside, step)),
            "probability": float(frame.sure[inside].mean()) if inside.any() else None,
        }


def _interfaces(frame: _Frame, classes: Sequence[str], picture: Picture) -> Iterator[dict[str, Any]]:
    """Yield the rows of ordered pairs of phases; pixels are those of the finer axis."""
    step = picture.pixel_size
    pixel = 1.0 if step is None else min(step)
    for one in interfaces(frame.labels, step or (1.0, 1.0)):
        yield {
            "phase": classes[one.phase],
            "other": classes[one.other],
            "length_nm": None if step is None else one.length,
            "distance_px": _finite(one.distance / pixel),
            "distance_nm": None if step is None else _finite(one.distance),
        }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _region(found: Objects, row: int, picture: Picture) -> dict[str, Any]:
    step = picture.pixel_size
    return {
        "x_px": found.x[row],
        "y_px": found.y[row],
        "x_nm": None if step is None else found.x[row] * step[1],
        "y_nm": None if step is None else found.y[row] * step[0],
        "area_px": int(found.area_px[row]),
        "area_nm2": None if step is None else float(found.area_px[row]) * math.prod(step),
        "on_edge": bool(found.on_edge[row]),
        "box": found.box[row].tolist(),
    }


def uncertainty(share: npt.NDArray[np.floating]) -> float:
    """Return the mean entropy of the pixels' probabilities ``(class, y, x)`` over that of ignorance."""
    kept = np.maximum(share, np.finfo(np.float32).tiny)
    return float(-(kept * np.log(kept)).sum(axis=0).mean() / math.log(len(share)))


def _rollups(
    rows: list[dict[str, Any]], classes: Sequence[str], found: Mapping[int, _Frame]
) -> dict[str, tuple[float | None, str | None]]:
    """Return the mean fraction of each phase over the frames, and how uncertain their pixels are."""
    fractions: dict[str, tuple[float | None, str | None]] = {
        f"fraction_{phase.replace(' ', '_')}": (
            float(np.mean([row["fraction"] for row in rows if row["phase"] == phase])),
            None,
        )
        for phase in classes
    }
    return {**fractions, UNCERTAINTY: (float(np.mean([one.uncertainty for one in found.values()])), None)}


def _background(name: Any, classes: Sequence[str]) -> int | None:
    """Return the number of the phase between objects."""
    if name is not None and name not in classes:
        raise UsageError(f"segment: background is {name!r}; expected one of {', '.join(classes)}")
    return None if name is None else classes.index(name)


def _strange(picture: Picture, taught: Sequence[float] | None) -> str | None:
    """Return why an image is magnified too differently from those that were drawn on; None when it is not."""
    if taught is None or picture.pixel_size is None:
        return None
    scale, (finest, coarsest) = math.sqrt(math.prod(picture.pixel_size)), taught
    if finest / _FARTHEST <= scale <= coarsest * _FARTHEST:
        return None
    return (
        f"{scale:.3g} nm per pixel; the phases were drawn at {finest:.3g} to {coarsest:.3g} nm per pixel, "
        f"and images up to {_FARTHEST:g} times finer or coarser can be asked: draw on some like this one"
    )
