"""`stem-atoms`: atom columns of scanning transmission images, found by a network and measured by a fit.

The network sees every image at 0.02 nm per pixel, whatever its microscope wrote; the joint fit then works on
the pixels of the image itself. Without a pixel size the scale at which the network is surest is taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from micdb.embed.atoms.find import Columns, find, unlike
from micdb.embed.atoms.frame import COARSEST_PIXEL, FITTED, Frame, connect, measure, prepared
from micdb.embed.atoms.heat_map import NM_PER_PIXEL
from micdb.embed.atoms.species import assign, candidates
from micdb.embed.nets import weights
from micdb.errors import UsageError
from micdb.populate.extractor import Card, Extraction, Extractor, check_positive
from micdb.populate.facts import BONDS
from micdb.records import Picture, Refusal

_CARD = weights.card("stem-atoms")

_SCHEMA = pa.schema([
    *FITTED,
    pa.field("probability", pa.float32(), nullable=False),  # that there is a column
    pa.field("species", pa.string()),  # of the candidates given; null where none were
    pa.field("species_probability", pa.float32()),
])  # fmt: skip


class StemAtoms(Extractor):
    """Atom columns by a U-Net and a joint fit; bonds by distance; species by brightness.

    Atoms of a frame are numbered from the top, row by row. Roll-ups count the mean per measured frame.

    Parameters
    ----------
    species
        What a column may be, ``"C Si"`` or ``"W S2 S"``; empty to leave it open.
    contrast
        ``bright`` columns (dark field) or ``dark`` ones (bright field).
    spacing_nm
        Distance of nearest columns that the material has [nm]: an image that shows another one is refused,
        one without a pixel size gets it from there.
    least_probability
        Of a column.
    cutoff_nm
        Longest bond [nm]; None to take, with `species`, for each pair of them the first minimum of its own
        distribution of distances, without, 1.35 times the median nearest-neighbour distance.
    """

    card: ClassVar[Card] = Card(
        name="stem-atoms",
        version="2",
        summary="Atom columns with standard deviations, species, bonds, coordination, by a network and a fit",
        parameters={
            "species": "",
            "contrast": "bright",
            "spacing_nm": None,
            "least_probability": 0.5,
            "cutoff_nm": None,
        },
        licence="BSD-3-Clause",
        reference=(
            "Ronneberger et al. 2015 (U-Net); Ziatdinov et al., ACS Nano 11, 12742 (2017); "
            "De Backer et al., Ultramicroscopy 171, 104 (2016): joint fit"
        ),
        scale=f"resampled to {NM_PER_PIXEL:g} nm/pixel; pixels of {COARSEST_PIXEL:g} nm or finer, or unknown",
        modalities=("STEM",),
        weights_hash=_CARD.sha256,
        validated=_CARD.measured,
    )
    schemas: ClassVar[Mapping[str, pa.Schema]] = {"atoms": _SCHEMA, "bonds": BONDS}

    def __init__(self, **parameters: Any) -> None:
        super().__init__(**parameters)
        given = self.parameters
        for name in ("spacing_nm", "cutoff_nm"):
            check_positive(self, name, "a length in nm, for example 0.142")
        if given["contrast"] not in ("bright", "dark"):
            raise UsageError(f"stem-atoms: contrast is {given['contrast']!r}; expected 'bright' or 'dark'")
        least = given["least_probability"]
        if not 0 < least < 1:
            raise UsageError(f"stem-atoms: least_probability is {least!r}; expected one between 0 and 1")
        self._candidates = candidates(given["species"])

    def extract_one(self, picture: Picture) -> Extraction | Refusal:
        """Return the atoms and bonds of a picture, or the reason why there are none."""
        return measure(picture, self._measure, _SCHEMA)

    def _measure(self, pixels: npt.NDArray[np.floating], pitch: float | None) -> Frame | str:
        """Return the atoms of one frame, or why there are none."""
        ready = prepared(pixels)
        if isinstance(ready, str):
            return ready
        image, corner = ready
        upright = image if self.parameters["contrast"] == "bright" else -image
        columns = find(upright, pitch, weights.unet("stem-atoms"), self.parameters["least_probability"])
        if isinstance(columns, str):
            return columns
        return unlike(columns, pitch, self.parameters["spacing_nm"]) or self._frame(
            columns, image.shape, corner, pitch
        )

    def _frame(
        self, columns: Columns, shape: tuple[int, ...], corner: tuple[int, int], pitch: float | None
    ) -> Frame:
        further: dict[str, Any] = {
            "probability": columns.probability,
            "species": None,
            "species_probability": None,
        }
        if self._candidates:
            index, sure = assign(columns.fit.height, columns.fit.height_sd, self._candidates)
            further["species"] = [self._candidates[one].name for one in index]
            further["species_probability"] = sure
        wanted = self.parameters["cutoff_nm"]
        cutoff = None if wanted is None or pitch is None else wanted / pitch
        return connect(
            columns.fit, shape, corner=corner, cutoff=cutoff, species=further["species"], further=further
        )
