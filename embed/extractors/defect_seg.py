"""`defect-seg`: dislocation lines, loops, precipitates and voids in diffraction-contrast TEM and STEM.

A U-Net says of every pixel what passes there; touching objects are told apart and measured, lines are thinned
to their length. Bright and dark field, with or without a pixel size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from micdb.embed.atoms.frame import arrow_table, frames, misscaled, pitch_of, prepared
from micdb.embed.micro.foil_defects import FoilDefects, foil_defects, weighted_median
from micdb.embed.micro.foil_maps import FINEST, KINDS, Calibration, answers, resized
from micdb.embed.micro.periodic import period
from micdb.embed.micro.rows import counted, mask_row, particle_columns, whole
from micdb.embed.nets import weights
from micdb.errors import UsageError
from micdb.masks import Mask
from micdb.populate.extractor import Card, Extraction, Extractor, check_positive
from micdb.populate.facts import MASKS, PARTICLES, PHASES
from micdb.records import Picture, Refusal

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int32]

_CARD = weights.card("defect-seg")
_CALIBRATION = Calibration(*(tuple(_CARD.measured["calibration"][one]) for one in ("slope", "offset")))
_FINEST, _COARSEST = 0.1, 5.0  # [nm] columns of atoms show up to the one; few defects beyond the other
_SMALLEST = 64  # [pixel]
_MOST = 1e8  # pixels that the network sees; 6 GB
_PROJECTED = 4 / math.pi  # length over projected length of lines of any direction
_MODALITIES = ("TEM", "STEM")

_PARTICLES = pa.schema([*PARTICLES, pa.field("kind", pa.string(), nullable=False)])  # loop, precipitate, void

_Rollups = dict[str, tuple[float | None, str | None]]


@dataclass(frozen=True, slots=True)
class _Frame:
    """Defects of one frame.

    Parameters
    ----------
    found
        In its scanned part.
    shape
        ``(y, x)`` of the frame [pixel].
    corner
        ``(y, x)`` where the scanned part begins [pixel].
    """

    found: FoilDefects
    shape: tuple[int, int]
    corner: tuple[int, int]

    @property
    def area(self) -> int:
        """Scanned [pixel]."""
        return self.found.label.size


class DefectSeg(Extractor):
    """Crystal defects in foils by a U-Net, per pixel and per object.

    Roll-ups are means over frames; lengths of lines are projected onto the image.

    Parameters
    ----------
    thickness_nm
        Of the foil [nm]: with it ``line_density`` is the length of lines over volume, taken to run in all
        directions alike (Hirsch et al. 1965, chapter 18). None leaves it open.
    least_probability
        Of a pixel of a defect; with 0.3 lines are as long as they should be.
    dark_field
        Whether lines are bright on dark, as in the diffracted beam.
    binning
        Pixels along one pixel of what the network sees: more than 1 where defects are wider than 60 pixels.
    """

    card: ClassVar[Card] = Card(
        name="defect-seg",
        version="1",
        summary="Dislocation lines, loops, precipitates and voids in diffraction contrast, with densities",
        parameters={
            "thickness_nm": None,
            "least_probability": 0.3,
            "dark_field": False,
            "binning": 1,
        },
        licence="BSD-3-Clause",
        reference=(
            "Roberts et al., Sci. Rep. 9, 12744 (2019): defects of steels by DefectSegNet; Ronneberger et "
            "al. 2015 (U-Net); Dorst and Smeulders 1987 (length of digital curves)"
        ),
        scale=(
            "asked at the image's own pixels or at coarser ones (binning), where lines are 1.5 to 60 and "
            f"objects 4 to 60 pixels wide; finer pixels are brought to {FINEST:g} nm; {_FINEST:g} to "
            f"{_COARSEST:g} nm, or unknown"
        ),
        modalities=_MODALITIES,
        weights_hash=_CARD.sha256,
        validated={name: one for name, one in _CARD.measured.items() if isinstance(one, str)},
    )
    schemas: ClassVar[Mapping[str, pa.Schema]] = {"phases": PHASES, "particles": _PARTICLES, "masks": MASKS}

    def __init__(self, **parameters: Any) -> None:
        super().__init__(**parameters)
        check_positive(self, "thickness_nm", "the thickness of the foil in nm, for example 100.0")
        least = self.parameters["least_probability"]
        if not 0 < least < 1:
            raise UsageError(f"defect-seg: least_probability is {least!r}; expected one between 0 and 1")
        binning = self.parameters["binning"]
        if not isinstance(binning, int) or binning < 1:
            raise UsageError(
                f"defect-seg: binning is {binning!r}; expected a whole number of pixels, 1 or more"
            )

    def extract_one(self, picture: Picture) -> Extraction | Refusal:
        """Return the defects of a picture, or the reason why there are none."""
        reason = _unfit(picture)
        if reason:
            return Refusal(picture.image, reason)
        found = frames(picture, lambda pixels: self._measure(pixels, pitch_of(picture)))
        if isinstance(found, Refusal):
            return found
        tables = {
            name: pa.concat_tables([table(picture, number, one) for number, one in found.items()])
            for name, table in (("phases", _phases), ("particles", _particles), ("masks", _masks))
        }
        rollups = _rollups(list(found.values()), pitch_of(picture), self.parameters["thickness_nm"])
        return Extraction(picture.image, tables, rollups)

    def _measure(self, pixels: npt.NDArray[np.floating], pitch: float | None) -> _Frame | str:
        """Return the defects of one frame, or why it cannot be measured."""
        binning = self.parameters["binning"]
        ready = prepared(pixels, smallest=_SMALLEST * binning)
        if isinstance(ready, str):
            return ready
        image, corner = ready
        if image.size > _MOST * binning**2:
            return (
                f"{image.shape[1]} x {image.shape[0]} pixels, more than fit into memory: crop it, or say "
                f"binning={math.ceil(math.sqrt(image.size / _MOST))}"
            )
        image = image / float(np.abs(image).max())
        if pitch is None or pitch < FINEST:
            repeat = period(image)
            if repeat:
                return (
                    f"a lattice with a period of {repeat:.3g} pixel: an image of atoms, which `lattice` and "
                    "`stem-atoms` measure; defects are sought in diffraction contrast"
                )
        dark = bool(self.parameters["dark_field"])
        probability = probabilities(image, pitch, dark_field=dark, binning=binning)
        found = foil_defects(probability, self.parameters["least_probability"])
        return _Frame(found, (pixels.shape[0], pixels.shape[1]), corner)


def _unfit(picture: Picture) -> str | None:
    """Return why a picture cannot be asked for defects in a foil, or None."""
    if picture.modality == "diffraction":
        return "a diffraction pattern shows no defects in real space"
    if picture.modality is not None and picture.modality not in _MODALITIES:
        return f"modality {picture.modality}; defects in foils show in {' and '.join(_MODALITIES)} images"
    if reason := misscaled(picture, _COARSEST, "defects in foils"):
        return reason
    if picture.pixel_size is not None and min(picture.pixel_size) < _FINEST:
        return (
            f"pixel size {min(picture.pixel_size):g} nm, where atoms show: `stem-defects` finds point "
            f"defects; defects in diffraction contrast need {_FINEST:g} nm or coarser"
        )
    return None


def probabilities(
    image: npt.NDArray[np.floating],
    pixel_size: float | None,
    *,
    dark_field: bool = False,
    binning: int = 1,
) -> npt.NDArray[np.float32]:
    """Return the probability of each of `KINDS` at each pixel ``(4, y, x)``.

    Parameters
    ----------
    image
        ``(y, x)``, finite.
    pixel_size
        [nm], None when unknown.
    dark_field
        Whether lines are bright on dark.
    binning
        Pixels along one pixel of what the network sees.
    """
    network = weights.unet(_CARD.name)
    coarser = max(float(binning), 0.0 if pixel_size is None else FINEST / pixel_size)
    seen = resized(image.astype(np.float32), [math.ceil(size / coarser) for size in image.shape])
    return _CALIBRATION(
        np.stack([resized(one, image.shape) for one in answers(seen, network, dark_field=dark_field)])
    )


def _phases(picture: Picture, number: int, frame: _Frame) -> pa.Table:
    phases, pitch = frame.found.phases, pitch_of(picture)
    n, share = len(phases), [one.value for one, _ in phases.values()]
    low, high = zip(*(one.interval() for one, _ in phases.values()), strict=True)
    area = None if pitch is None else frame.area * pitch**2
    columns = {
        "image": np.full(n, picture.image),
        "frame": np.full(n, number),
        "phase": list(phases),
        "fraction": share,
        "fraction_sd": pa.array([one.sd for one, _ in phases.values()], from_pandas=True),
        "fraction_low": low,
        "fraction_high": high,
        "area_nm2": None if area is None else np.array(share) * area,
        "boundary_nm": None,  # an outline in projection is no boundary
        "thickness_nm": None,
        "probability": [sure for _, sure in phases.values()],
    }
    return arrow_table(columns, PHASES, n)


def _particles(picture: Picture, number: int, frame: _Frame) -> pa.Table:
    columns = particle_columns(picture, number, frame.found.objects, frame.corner, step=(1.0, 1.0))
    columns |= {"score": frame.found.score, "kind": frame.found.kind.tolist()}
    return arrow_table(columns, _PARTICLES, len(frame.found.kind))


def _masks(picture: Picture, number: int, frame: _Frame) -> pa.Table:
    labels = whole(frame.found.label, frame.shape, frame.corner)
    row = mask_row(picture.image, number, "defects", Mask(labels, ("none", *KINDS)))
    return pa.Table.from_pylist([row], schema=MASKS)


def _rollups(frames: Sequence[_Frame], pitch: float | None, thickness: float | None) -> _Rollups:
    """Return what is said of the whole image; lengths are null without a pixel size."""
    area = sum(one.area for one in frames)
    length = sum(one.found.length for one in frames)
    squares = sum((one.found.length * one.found.length_sd) ** 2 for one in frames if one.found.length)
    known = length > 0 and math.isfinite(squares)
    per_area = None if pitch is None else length / (area * pitch)
    off = None if pitch is None or not known else math.sqrt(squares) / (area * pitch)
    volume = None if thickness is None else _PROJECTED / thickness
    made: _Rollups = {
        "line_length_px": (length / len(frames), "pixel"),
        "line_length": (None if pitch is None else length * pitch / len(frames), "nm"),
        "line_length_per_area": (per_area, "1/nm"),
        "line_length_per_area_sd": (off, "1/nm"),
        "line_density": (None if per_area is None or volume is None else per_area * volume, "1/nm**2"),
        "line_density_sd": (None if off is None or volume is None else off * volume, "1/nm**2"),
    }
    for kind in KINDS[1:]:
        made |= _population(kind, frames, pitch, area)
    return made


def _population(kind: str, frames: Sequence[_Frame], pitch: float | None, area: int) -> _Rollups:
    """Return number, number density and median diameter of a kind, and their standard deviations.

    The diameter of a loop is the long axis of its ellipse, that of others that of the circle of equal area.
    """
    several = [one.found.sizes(kind) for one in frames]
    across, weight = (np.concatenate(one) for one in zip(*several, strict=True))
    median, off = weighted_median(across[weight > 0], weight[weight > 0])
    density, density_sd = counted(weight, None if pitch is None else area * pitch**2)
    return {
        f"n_{kind}s": (len(across) / len(frames), None),
        f"{kind}_density": (density, "1/nm**2"),
        f"{kind}_density_sd": (density_sd, "1/nm**2"),
        f"{kind}_diameter": (None if pitch is None or median is None else median * pitch, "nm"),
        f"{kind}_diameter_sd": (None if pitch is None or off is None else off * pitch, "nm"),
    }
