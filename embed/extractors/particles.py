"""`particles`: particles of SEM, TEM and STEM images, by a network, by brightness or as `segment` was taught.

Fills `particles` (size, shape and place of each) and `masks` (which is seen where).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy import ndimage

from micdb.embed.atoms.frame import arrow_table, frames, prepared
from micdb.embed.micro import threshold
from micdb.embed.micro.foil_defects import weighted_median
from micdb.embed.micro.instances import instances
from micdb.embed.micro.objects import Objects, measure
from micdb.embed.micro.particle_finder import chosen, look
from micdb.embed.micro.rows import counted, mask_row, particle_columns, whole
from micdb.embed.micro.segmenter import probabilities
from micdb.embed.nets import weights
from micdb.errors import UsageError
from micdb.masks import Mask
from micdb.populate.extractor import Card, Extraction, Extractor, check_positive
from micdb.populate.facts import MASKS, PARTICLES
from micdb.records import Picture, Refusal

Scores = npt.NDArray[np.float64] | None
_Rollups = dict[str, tuple[float | None, str | None]]

_CARD = weights.card("particles")
_METHODS = ("network", "threshold")
_SMALLEST = 32  # [pixel] side of an image
_MOST = 1e8  # pixels that the network sees; 8 GB
_LEAST_PX = 40  # [pixel] area: what noise does not make of a threshold or of a phase
_ATOM = 0.4  # [nm] what is smaller are atoms: the largest, of caesium, is 0.5 nm across
_LIKELIER = 0.5  # than all other phases together
_MODALITIES = ("SEM", "TEM", "STEM", "optical")


@dataclass(frozen=True, slots=True, eq=False)
class _Frame:
    """Particles of the scanned part of a frame, and where it begins in the frame ``(y, x)``."""

    labels: npt.NDArray[np.int32]
    objects: Objects
    score: npt.NDArray[np.float64] | None
    shape: tuple[int, ...]
    corner: tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Taught:
    """The network of `segment` that a user taught, by its card and folder."""

    known: weights.Weights
    folder: Path

    def number(self, phase: Any) -> int:
        """Return the number of a phase."""
        classes = self.known.recipe["classes"]
        if phase not in classes:
            raise UsageError(f"particles: phase is {phase!r}; expected one of {', '.join(classes)}")
        return int(classes.index(phase))

    def share(self, image: npt.NDArray[np.floating], phase: str) -> npt.NDArray[np.float32]:
        """Return the probability of a phase at each pixel ``(y, x)``."""
        network = weights.unet("segment", self.folder, self.known.sha256)
        return np.asarray(probabilities(image, network)[self.number(phase)])


class Particles(Extractor):
    """Particles with sizes and shapes, each with its score.

    Parameters
    ----------
    method
        ``network``: one that learnt from simulated particles that touch, overlap and lie on anything.
        ``threshold``: Otsu's, and a watershed.
    weights
        File ``segment.safetensors`` that `micdb.embed.train.segment.teach` wrote: its phases instead of the
        network that ships, and a watershed.
    phase
        Which of those is that of particles.
    least_score
        Probability of a particle that the network finds.
    blur_px
        Of the threshold: standard deviation of a Gaussian against noise [pixel].
    bright
        Of the threshold: whether particles are brighter than what lies between them; None: they are what the
        edge of the image crosses less.
    least_px
        Area of a particle [pixel]; None: any by the network, 40 by a threshold or a phase.
    """

    card: ClassVar[Card] = Card(
        name="particles",
        version="2",
        summary="Particles, also those that touch and overlap: size, shape and score of each",
        parameters={
            "method": "network",
            "weights": None,
            "phase": None,
            "least_score": 0.3,
            "blur_px": 0.7,
            "bright": None,
            "least_px": None,
        },
        licence="BSD-3-Clause",
        reference=(
            "Ronneberger et al. 2015 (U-Net); Tian et al., ICCV 2019 (FCOS: pixels tell the box of their "
            "object); "
            "Otsu, IEEE Trans. Syst. Man Cybern. 9, 62 (1979); Vincent and Soille, IEEE Trans. Pattern Anal. "
            "13, 583 (1991): watershed; Miles 1974 (weights for what edges cut)"
        ),
        scale="any; the pixel size need not be known",
        modalities=_MODALITIES,
        weights_hash=_CARD.sha256,
        validated={
            **{name: one for name, one in _CARD.measured.items() if isinstance(one, str)},
            "emps, 32 images": "F1 0.571 (Otsu's threshold 0.452)",
            "np_catalyst_stem, 15 images": "F1 0.241 of boxes (Otsu's threshold 0.157)",
            "insitu_tem_loops, 9 images": "F1 0.431 of boxes (Otsu's threshold 0.014)",
            "uhcs_spheroidite, 23 images": "IU of particles 21.8 (Otsu's threshold 47.5)",
        },
    )
    schemas: ClassVar[Mapping[str, pa.Schema]] = {"particles": PARTICLES, "masks": MASKS}

    def __init__(self, **parameters: Any) -> None:
        super().__init__(**parameters)
        check_positive(self, "blur_px", "a length in pixels, for example 0.7")
        check_positive(self, "least_px", "an area in pixels, for example 40")
        if self.parameters["method"] not in _METHODS:
            raise UsageError(
                f"particles: method is {self.parameters['method']!r}; expected {' or '.join(_METHODS)}"
            )
        if not 0 < self.parameters["least_score"] < 1:
            raise UsageError(
                f"particles: least_score is {self.parameters['least_score']!r}; expected one between 0 and 1"
            )
        if self.parameters["bright"] not in (None, True, False):
            raise UsageError(
                f"particles: bright is {self.parameters['bright']!r}; expected true, false or none"
            )

        self._taught: _Taught | None = None
        given = self.parameters["weights"]
        if (given is None) != (self.parameters["phase"] is None):
            raise UsageError(
                "particles: weights and phase go together: whose phases, and which are particles"
            )
        if given is not None:
            if self.parameters["method"] != "network":
                raise UsageError("particles: weights and method='threshold' exclude one another: give one")
            self._taught = _Taught(*weights.of_user("segment", given, "micdb train segment"))
            self._taught.number(self.parameters["phase"])
            self._learnt(self._taught.known.sha256, self._taught.known.texts)

    def extract_one(self, picture: Picture) -> Extraction | Refusal:
        """Return the particles of a picture, or the reason why there are none."""
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
        if image.size > _MOST:
            return f"{image.shape[1]} x {image.shape[0]} pixels, more than fit into memory: crop it"
        labels, score = self._find(image / float(np.abs(image).max()))
        objects = measure(labels, picture.pixel_size or (1.0, 1.0))
        if score is not None:
            score = score[objects.label - 1]
        if picture.pixel_size and len(objects.label) and np.median(objects.diameter) < _ATOM:
            return (
                f"what shows here is {np.median(objects.diameter):.2g} nm across: atoms, which `stem-atoms` "
                "and `lattice` measure, or the pixel size is wrong"
            )
        return _Frame(labels, objects, score, pixels.shape, corner)

    def _find(self, image: npt.NDArray[np.floating]) -> tuple[npt.NDArray[np.int32], Scores]:
        """Return which particle each pixel shows ``(y, x)``, from 1, and the score of each ``(n,)``."""
        least = self.parameters["least_px"]
        if self._taught:
            share = self._taught.share(image, self.parameters["phase"])
            labels = instances(share > _LIKELIER, int(least or _LEAST_PX))
            score = ndimage.mean(share, labels, np.arange(1, labels.max() + 1))
            return labels, np.asarray(score, np.float64).reshape(-1)
        if self.parameters["method"] == "threshold":
            blur, bright = float(self.parameters["blur_px"]), self.parameters["bright"]
            found = threshold.particles(image, blur=blur, bright=bright, least=int(least or _LEAST_PX))
            return found, None  # a threshold knows no probabilities
        seen = look(image, weights.unet("particles"))
        return chosen(
            *seen, _CARD.measured["score"], self.parameters["least_score"], least_px=int(least or 1)
        )


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
    columns = particle_columns(
        picture, number, frame.objects, frame.corner, step=picture.pixel_size or (1.0, 1.0)
    )
    columns["score"] = frame.score
    return arrow_table(columns, PARTICLES, len(frame.objects.label))


def _mask(picture: Picture, number: int, frame: _Frame) -> pa.Table:
    """Return which particle each pixel shows, by ``idx`` plus 1; -1 where nothing was scanned."""
    labels = whole(frame.labels, frame.shape, frame.corner)
    row = mask_row(picture.image, number, "particles", Mask(labels))
    return pa.Table.from_pylist([row], schema=MASKS)


def _rollups(found: Sequence[_Frame], step: tuple[float, float] | None) -> _Rollups:
    """Return the mean number of particles, their number density, median diameter and the area they cover."""
    diameter = np.concatenate([one.objects.diameter for one in found])
    weight = np.concatenate([one.objects.weight for one in found])
    pixels = sum(one.labels.size for one in found)
    unit = None if step is None else pixels * math.prod(step)
    median, off = weighted_median(diameter[weight > 0], weight[weight > 0])
    density, density_sd = counted(weight, unit)
    return {
        "n_particles": (len(diameter) / len(found), None),
        "particle_density": (density, "1/nm**2"),
        "particle_density_sd": (density_sd, "1/nm**2"),
        "particle_diameter": (None if step is None else median, "nm"),
        "particle_diameter_sd": (None if step is None else off, "nm"),
        "particle_cover": (sum(int((one.labels > 0).sum()) for one in found) / pixels, None),
    }
