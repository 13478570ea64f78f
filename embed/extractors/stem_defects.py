"""`stem-defects`: vacancies, foreign atoms, rings, edges and boundaries in dark-field images of a lattice.

Columns are found as `stem-atoms` finds them, with the same numbers. Departures from the local lattice are
named by a network that sees the graph of sites around each and a patch of the image.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from micdb.embed.atoms.find import Columns, find, unlike
from micdb.embed.atoms.frame import COARSEST_PIXEL, frames, pitch_of, prepared, unfit
from micdb.embed.atoms.heat_map import NM_PER_PIXEL
from micdb.embed.atoms.species import candidates
from micdb.embed.defects.detect import LEAST_SCORE, Defect, Detection, detect
from micdb.embed.nets import weights
from micdb.errors import UsageError
from micdb.extras import require
from micdb.populate.extractor import Card, Extraction, Extractor, check_positive
from micdb.populate.facts import DEFECTS
from micdb.records import Picture, Refusal

if TYPE_CHECKING:
    from micdb.embed.defects.network import DefectNet

Floats = npt.NDArray[np.float64]

_CARD = weights.card("stem-defects")
_AROUND = 0.6  # [nm] of the centre: the atoms of a defect and its first shells


class StemDefects(Extractor):
    """Defects of atomic-resolution dark-field images, named with calibrated probability.

    A fraction `score` of the defects of a score are of their kind. Defects of a frame come from the top, row
    by row. What the network knows nothing of is ``unknown``. Roll-ups are sums over the measured frames.

    Parameters
    ----------
    species
        What a column may be, ``"C Si"`` or ``"Mo S2 S"``; empty to leave it open: formulas of foreign atoms
        need it.
    contrast
        ``bright`` columns (dark field) or ``dark`` ones (bright field).
    spacing_nm
        Distance of nearest columns that the material has [nm]: an image that shows another one is refused.
    least_probability
        Of a column.
    least_score
        Probability that a kind of defect needs. Defects were about two in a square nanometre where it was
        calibrated; where they are far rarer, scores under 0.8 are right less often than they say.
    """

    card: ClassVar[Card] = Card(
        name="stem-defects",
        version="1",
        summary="Point and line defects as departures from the local lattice, named by a graph network",
        parameters={
            "species": "",
            "contrast": "bright",
            "spacing_nm": None,
            "least_probability": 0.5,
            "least_score": LEAST_SCORE,
        },
        licence="BSD-3-Clause",
        reference=(
            "Ziatdinov et al., Sci. Adv. 5, eaaw8989 (2019): library of defects; Schuett et al., J. Chem. "
            "Phys. 148, 241722 (2018): messages; Guo et al., ICML 2017: calibration"
        ),
        scale=f"columns at {NM_PER_PIXEL:g} nm/pixel; pixels of {COARSEST_PIXEL:g} nm or finer, or unknown",
        modalities=("STEM",),
        weights_hash=_CARD.sha256,
        validated={name: value for name, value in _CARD.measured.items() if isinstance(value, str)},
        planted=_CARD.measured.get("planted", {}),
    )
    schemas: ClassVar[Mapping[str, pa.Schema]] = {"defects": DEFECTS}

    def __init__(self, **parameters: Any) -> None:
        super().__init__(**parameters)
        given = self.parameters
        check_positive(self, "spacing_nm", "a length in nm, for example 0.142")
        if given["contrast"] not in ("bright", "dark"):
            raise UsageError(f"stem-defects: contrast is {given['contrast']!r}; expected 'bright' or 'dark'")
        for name in ("least_probability", "least_score"):
            if not 0 < given[name] < 1:
                raise UsageError(f"stem-defects: {name} is {given[name]!r}; expected one between 0 and 1")
        self._candidates = candidates(given["species"])

    def extract_one(self, picture: Picture) -> Extraction | Refusal:
        """Return the defects of a picture, or the reason why none can be told."""
        reason = unfit(picture)
        if reason:
            return Refusal(picture.image, reason)
        found = frames(picture, lambda pixels: self._measure(pixels, pitch_of(picture)))
        if isinstance(found, Refusal):
            return found
        rows = [
            _row(picture, one, *answer) | {"frame": number}
            for number, answer in found.items()
            for one in answer[1].defects
        ]
        area = sum(detection.area for _, detection, _ in found.values())
        pitch = pitch_of(picture)
        rollups = {
            "n_defects": (float(len(rows)), None),
            "analysed_area": (None if pitch is None else area * pitch**2, "nm**2"),
        }
        return Extraction(picture.image, {"defects": pa.Table.from_pylist(rows, schema=DEFECTS)}, rollups)

    def _measure(
        self, pixels: npt.NDArray[np.floating], pitch: float | None
    ) -> tuple[Columns, Detection, tuple[int, int]] | str:
        """Return the columns and defects of one frame and the corner of its scanned part, or why not."""
        ready = prepared(pixels)
        if isinstance(ready, str):
            return ready
        image, corner = ready
        given = self.parameters
        upright = image if given["contrast"] == "bright" else -image
        columns = find(upright, pitch, weights.unet("stem-atoms"), given["least_probability"])
        if isinstance(columns, str):
            return columns
        reason = unlike(columns, pitch, given["spacing_nm"])
        if reason:
            return reason
        found = detect(upright, columns, network(), possible=self._candidates, least=given["least_score"])
        return found if isinstance(found, str) else (columns, found, corner)


@cache
def network() -> DefectNet:
    """Return the shipped classifier; one per process."""
    require("torch")
    from micdb.embed.defects.network import DefectNet

    loaded = weights.load("stem-defects", DefectNet)
    assert isinstance(loaded, DefectNet)  # noqa: S101 - by its builder
    return loaded


def _row(
    picture: Picture, one: Defect, columns: Columns, found: Detection, corner: tuple[int, int]
) -> dict[str, Any]:
    x, y = float(one.xy[0]) + corner[1], float(one.xy[1]) + corner[0]
    left, top, width, height = one.box
    size = picture.pixel_size
    return {
        "image": picture.image,
        "kind": one.kind,
        "x_px": x,
        "y_px": y,
        "x_nm": None if size is None else x * size[1],
        "y_nm": None if size is None else y * size[0],
        "box": [left + corner[1], top + corner[0], width, height],
        "score": one.score,
        "atoms": one.atoms.tolist(),
        "formula": one.formula,
        "key": one.key,
        "descriptor": one.descriptor.tolist(),
        "structure": None if size is None else _structure(one, columns, found, size),
    }


def _structure(
    one: Defect, columns: Columns, found: Detection, size: tuple[float, float]
) -> list[dict[str, Any]]:
    """Return the columns around the centre of a defect, relative to it [nm]."""
    off = (np.column_stack((columns.fit.x, columns.fit.y)) - one.xy) * np.array(size[::-1])
    near = np.flatnonzero(np.hypot(*off.T) <= _AROUND)
    return [
        {
            "x_nm": float(off[k, 0]),
            "y_nm": float(off[k, 1]),
            "species": None if found.species is None else found.species[k],
        }
        for k in near.tolist()
    ]
