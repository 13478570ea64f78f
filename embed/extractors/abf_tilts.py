"""`abf-tilts`: how far octahedra of a perovskite are rotated, from annular bright-field images along [110].

The lattice's own waves lay all cells of a region over one another; a network that has learnt from multislice
images reads three rotations and the beam's mistilt from the mean cell.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from micdb.embed.atoms.frame import arrow_table, frames, in_nm, pitch_of, prepared, unfit
from micdb.embed.nets import weights
from micdb.embed.tilts.angles import measure
from micdb.embed.tilts.fold import Axes, Region, axes_of, regions, unlike
from micdb.extras import require
from micdb.populate.extractor import Card, Extraction, Extractor, check_positive
from micdb.populate.facts import TILTS
from micdb.records import Picture, Refusal

if TYPE_CHECKING:
    from micdb.embed.nets.whitened import WhitenedNet

Floats = npt.NDArray[np.float64]

_CARD = weights.card("abf-tilts")
_CLEAR = 0.1  # noise over spread of a mean cell from which rotations of 5 degrees are known to about 1
_COARSEST = 0.05  # [nm] pixel: a quarter of the distance of the planes that carry the lattice
_LEAST = 7.0  # [lattice constant] side of a region: some twelve cells
_ANSWERS = ("beam_deg", "cross_deg", "c_deg", "mistilt_cross_mrad", "mistilt_c_mrad")


@dataclass(frozen=True, slots=True)
class _Frame:
    """Regions of one frame, answers and standard deviations ``(n, 5)``, side [pixel], and the lattice."""

    regions: list[Region]
    value: Floats
    sd: Floats
    side: float
    corner: tuple[int, int]
    axes: Axes


class AbfTilts(Extractor):
    """Rotations of the octahedra of a perovskite along its pseudo-cubic [110], region by region.

    Only magnitudes: rotations alternate from cell to cell, so that the sign is a matter of where one begins.
    Roll-ups are means over regions, weighted by their precision, and then over frames.

    Parameters
    ----------
    window_nm
        Side of a region [nm]; None for regions as small as their noise allows, 7 lattice constants at least.
    """

    card: ClassVar[Card] = Card(
        name="abf-tilts",
        version="1",
        summary="Rotations of octahedra about three axes, with standard deviations, by a network",
        parameters={"window_nm": None},
        licence="BSD-3-Clause",
        reference=(
            "Laanait, He and Borisevich, arXiv:1902.06876 (2019); Findlay et al., Ultramicroscopy 110, 903 "
            "(2010): annular bright field; Glazer, Acta Crystallogr. B 28, 3384 (1972): tilts"
        ),
        scale=f"pixels of {_COARSEST:g} nm or finer; 200 kV, apertures of 20 to 25 mrad",
        modalities=("STEM",),
        weights_hash=_CARD.sha256,
        validated=_CARD.measured,
    )
    schemas: ClassVar[Mapping[str, pa.Schema]] = {"tilts": TILTS}

    def __init__(self, **parameters: Any) -> None:
        super().__init__(**parameters)
        check_positive(self, "window_nm", "a length in nm, for example 4")

    def extract_one(self, picture: Picture) -> Extraction | Refusal:
        """Return the rotations of a picture, or the reason why there are none."""
        reason = unfit(picture) or _unscaled(picture)
        if reason:
            return Refusal(picture.image, reason)
        found = frames(picture, lambda pixels: self._measure(pixels, pitch_of(picture)))
        if isinstance(found, Refusal):
            return found
        rows = pa.concat_tables([_table(picture, number, frame) for number, frame in found.items()])
        return Extraction(picture.image, {"tilts": rows}, _rollups(list(found.values()), pitch_of(picture)))

    def _measure(self, pixels: npt.NDArray[np.floating], pitch: float | None) -> _Frame | str:
        """Return the rotations in one frame, or why there are none."""
        ready = prepared(pixels)
        if isinstance(ready, str):
            return ready
        image, corner = ready
        image = image / np.abs(image).max()
        axes = axes_of(image, pitch)
        if isinstance(axes, str):
            return axes
        whole = regions(image, axes, float(max(image.shape)))
        if not whole:
            return f"{image.shape[1]} x {image.shape[0]} pixels are too few to fill the mean cell"
        reason = unlike(whole[0])
        if reason:
            return reason
        side = self._side(image.shape, axes, whole[0], pitch)
        parts = regions(image, axes, side) or whole
        cells, noise = np.array([one.cell for one in parts]), np.array([one.noise for one in parts])
        value, sd = measure(_network(), cells, noise)
        return _Frame(parts, value, sd, math.sqrt(image.size / len(parts)), corner, axes)

    def _side(self, shape: tuple[int, ...], axes: Axes, whole: Region, pitch: float | None) -> float:
        """Return the side of a region [pixel]."""
        wanted = self.parameters["window_nm"]
        if wanted is not None and pitch is not None:
            return float(wanted / pitch)
        share = whole.noise / float(whole.cell.std()) / _CLEAR  # noise falls with the root of the area
        return max(math.sqrt(math.prod(shape)) * share, _LEAST * axes.constant)


def _unscaled(picture: Picture) -> str | None:
    """Return why the pixel size does not do, or None."""
    if picture.pixel_size is None:
        return (
            "the image has no pixel size; without one a perovskite cannot be told from other crystals "
            "whose lattice is a rectangle of sides 1 to root 2: give it, then populate again"
        )
    if max(picture.pixel_size) > _COARSEST:
        return f"pixel size {max(picture.pixel_size):g} nm; columns of oxygen need {_COARSEST:g} nm or finer"
    return None


@cache
def _network() -> WhitenedNet:
    require("torch")
    from micdb.embed.nets.whitened import WhitenedNet

    return cast(WhitenedNet, weights.load("abf-tilts", WhitenedNet))


def _table(picture: Picture, number: int, frame: _Frame) -> pa.Table:
    n = len(frame.regions)
    x = np.array([one.x for one in frame.regions]) + frame.corner[1]
    y = np.array([one.y for one in frame.regions]) + frame.corner[0]
    columns: dict[str, Any] = {
        "image": np.full(n, picture.image),
        "frame": np.full(n, number),
        "idx": np.arange(n),
        "x_px": x,
        "y_px": y,
        "x_nm": in_nm(picture, 1, x),
        "y_nm": in_nm(picture, 0, y),
        "side_px": np.full(n, frame.side),
    }
    for column, name in enumerate(_ANSWERS):
        what, unit = name.rsplit("_", 1)
        columns |= {name: frame.value[:, column], f"{what}_sd_{unit}": frame.sd[:, column]}
    return arrow_table(columns, TILTS, n)


def _rollups(frames: list[_Frame], pitch: float | None) -> dict[str, tuple[float | None, str | None]]:
    """Return per-image numbers: means over regions by their precision, then over frames."""
    means = [np.average(one.value, axis=0, weights=one.sd**-2) for one in frames]
    beam, cross, c, x, y = np.mean(means, axis=0).tolist()
    constant = float(np.mean([one.axes.constant for one in frames]))
    return {
        "tilt_beam": (beam, "deg"),
        "tilt_cross": (cross, "deg"),
        "tilt_c": (c, "deg"),
        "mistilt": (math.hypot(x, y), "mrad"),
        "pseudocubic_constant": (None if pitch is None else constant * pitch, "nm"),
        "n_tilts": (float(np.mean([len(one.regions) for one in frames])), None),
    }
