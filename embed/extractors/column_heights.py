"""`column-heights`: how many atoms stand in each column of a dark-field or high-resolution TEM image.

In dark field columns are found as by `stem-atoms`; all intensities are solved for together; their steps tell
how much one atom scatters. In TEM a network that was taught by multislice finds columns and guesses; then the
image is made again from columns of atoms. Where an image does not tell, the probabilities are low.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from micdb.embed import graph
from micdb.embed.atoms import tem_fit, tem_heights
from micdb.embed.atoms.find import find
from micdb.embed.atoms.frame import (
    BOND,
    COARSEST_PIXEL,
    arrow_table,
    frames,
    in_nm,
    pitch_of,
    prepared,
    unfit,
)
from micdb.embed.atoms.heat_map import NM_PER_PIXEL
from micdb.embed.atoms.heights import count
from micdb.embed.atoms.scattering import Scattering, scattering
from micdb.embed.nets import weights
from micdb.errors import UsageError
from micdb.populate.extractor import Card, Extraction, Extractor, check_positive
from micdb.populate.facts import HEIGHTS
from micdb.records import Picture, Refusal

Floats = npt.NDArray[np.float64]

_CARD, _TEM = weights.card("stem-atoms"), weights.card("tem-heights")
_FEWEST = 12  # columns: fewer show no steps
_BEAM = 0.33  # [nm] between atoms along the beam: 0.25 to 0.41 for low-index axes of metals
_RIM = 0.3  # [nm] from the edges: a particle that is farther shows all of its outline,
_STRAY = 0.02  # but for so many of its columns, which may be false ones


@dataclass(frozen=True, slots=True)
class _Columns:
    """Columns of one frame: positions ``(n, 2)`` [pixel], atoms with probability, intensities if known."""

    xy: Floats
    atoms: npt.NDArray[np.int64]
    probability: Floats
    scattering: Scattering | None = None
    step: float | None = None  # scattering of one atom


class ColumnHeights(Extractor):
    """Atoms of each column, for crystals of one element: by integrated intensity (STEM), by a network (TEM).

    Parameters
    ----------
    one_atom
        In STEM, the integrated intensity of one atom, in the image's unit times square pixels, where it is
        known from a calibration; None to find it from the steps between columns.
    element
        In TEM, the symbol of the element: ``"Au"``.
    voltage_kv
        In TEM, the accelerating voltage [kV].
    least_probability
        Of a column.
    """

    card: ClassVar[Card] = Card(
        name="column-heights",
        version="2",
        summary="Atoms along the beam in each column, with probability, by intensities or by simulation",
        parameters={"one_atom": None, "element": None, "voltage_kv": 300.0, "least_probability": 0.5},
        licence="BSD-3-Clause",
        reference=(
            "Van Aert et al., Nature 470, 374 (2011), Phys. Rev. B 87, 064107 (2013): statistical counting; "
            "Madsen et al., Adv. Theory Simul. 1, 1800037 (2018): by a network in TEM"
        ),
        scale=(
            f"resampled to {NM_PER_PIXEL:g} nm/pixel; pixels of {COARSEST_PIXEL:g} nm or finer; in STEM they "
            "may be unknown"
        ),
        modalities=("STEM", "TEM"),
        weights_hash=f"{_CARD.sha256}+{_TEM.sha256}",
        validated={
            "simulated TEM, 30 particles of five metals, 30 counts": "exact 0.728, within one 0.981 of those "
            "found, 0.959; along [111] 0.35 to 0.76 exact (benchmarks/tem_heights.py)",
            "simulated dark field, 60 particles of four metals": "exact 0.701, within one 0.743; 0.979 and "
            "1.000 of the 40 of which it says more than 0.8 (benchmarks/heights.py)",
        },
    )
    schemas: ClassVar[Mapping[str, pa.Schema]] = {"heights": HEIGHTS}

    def __init__(self, **parameters: Any) -> None:
        super().__init__(**parameters)
        check_positive(self, "one_atom", "a positive intensity")
        check_positive(self, "voltage_kv", "a voltage in kV, for example 300")
        least = self.parameters["least_probability"]
        if not 0 < least < 1:
            raise UsageError(f"column-heights: least_probability is {least!r}; expected one between 0 and 1")
        element = self.parameters["element"]
        if element is not None and element not in tuple(tem_heights.ELEMENTS):
            taught = ", ".join(tem_heights.ELEMENTS)
            raise UsageError(f"column-heights: element is {element!r}; in TEM it can count {taught}")

    def extract_one(self, picture: Picture) -> Extraction | Refusal:
        """Return the heights of a picture, or the reason why there are none."""
        tem = picture.modality == "TEM"
        reason = unfit(picture) or (self._uncounted(picture) if tem else None)
        if reason:
            return Refusal(picture.image, reason)
        measure = self._count if tem else self._measure
        found = frames(picture, lambda pixels: measure(pixels, pitch_of(picture)))
        if isinstance(found, Refusal):
            return found
        rows = pa.concat_tables([_table(picture, number, columns) for number, columns in found.items()])
        return Extraction(picture.image, {"heights": rows}, _rollups(list(found.values())))

    def _measure(self, pixels: npt.NDArray[np.floating], pitch: float | None) -> _Columns | str:
        """Return the columns of one frame with their heights, or why there are none."""
        ready = prepared(pixels)
        if isinstance(ready, str):
            return ready
        image, corner = ready
        columns = find(image, pitch, weights.unet("stem-atoms"), self.parameters["least_probability"])
        if isinstance(columns, str):
            return columns
        fit = columns.fit
        if len(fit.x) < _FEWEST:
            return f"{len(fit.x)} columns; at least {_FEWEST} are needed to see steps between them"
        xy = np.column_stack((fit.x, fit.y))
        width = float(np.average(fit.sigma, weights=fit.height**2 + 1e-300))
        found = scattering(image, xy, width)
        near = float(np.median(graph.nearest_distances(xy)))
        i, j, _ = graph.neighbours(xy, BOND * near)
        tallest = _expected(xy, image.shape, columns.nm_per_pixel)
        heights = count(found.value, found.sd, i, j, step=self.parameters["one_atom"], tallest=tallest)
        place = xy + np.array([corner[1], corner[0]])
        return _Columns(place, heights.atoms, heights.probability, found, heights.step)

    def _uncounted(self, picture: Picture) -> str | None:
        """Return what is missing to count atoms in a TEM image."""
        if self.parameters["element"] is None:
            return "a TEM image: its element is needed to count atoms, element='Au'"
        if picture.pixel_size is None:
            return "a TEM image without a pixel size: the network needs it to count atoms"
        return None

    def _count(self, pixels: npt.NDArray[np.floating], pitch: float | None) -> _Columns | str:
        """Return the columns of one TEM frame with their heights, or why there are none."""
        ready = prepared(pixels)
        if isinstance(ready, str):
            return ready
        image, corner = ready
        if pitch is None or not image.mean() > 0:
            return f"its mean is {image.mean():.3g}; counts above zero are needed, without offset"
        number = tem_heights.ELEMENTS[self.parameters["element"]]
        found = tem_heights.count(
            image, pitch, number, weights.unet("tem-heights"),
            threshold=self.parameters["least_probability"], temperature=_TEM.measured["temperature"],
        )  # fmt: skip
        if not len(found.xy):
            return "no atom columns: the network sees none"
        belief = tem_fit.refined(
            image, pitch, found, element=self.parameters["element"], voltage=self.parameters["voltage_kv"]
        )
        atoms = belief.argmax(axis=1)
        sure = belief[np.arange(len(atoms)), atoms]
        return _Columns(found.xy + np.array([corner[1], corner[0]]), atoms + 1, sure)


def _expected(xy: Floats, shape: tuple[int, ...], nm_per_pixel: float) -> float | None:
    """Return the atoms to expect in the tallest column of a particle as thick as it is wide.

    None where columns reach to the edge of the image: a slab has no outline.
    """
    room = np.minimum(xy, np.array([shape[1], shape[0]]) - 1 - xy).min(axis=1)
    if (room * nm_per_pixel < _RIM).mean() > _STRAY:
        return None
    spread = np.sqrt(np.linalg.eigvalsh(np.cov(xy.T)))  # a uniform disc of diameter d has d / 4
    return max(float(4 * math.sqrt(math.prod(spread))) * nm_per_pixel / _BEAM, 1.0)


def _table(picture: Picture, number: int, columns: _Columns) -> pa.Table:
    n, (x, y) = len(columns.xy), columns.xy.T
    values = {
        "image": np.full(n, picture.image),
        "frame": np.full(n, number),
        "idx": np.arange(n),
        "x_px": x,
        "y_px": y,
        "x_nm": in_nm(picture, 1, x),
        "y_nm": in_nm(picture, 0, y),
        "scattering": None if columns.scattering is None else columns.scattering.value,
        "scattering_sd": None if columns.scattering is None else columns.scattering.sd,
        "atoms": columns.atoms,
        "probability": columns.probability,
    }
    return arrow_table(values, HEIGHTS, n)


def _rollups(frames: list[_Columns]) -> dict[str, tuple[float | None, str | None]]:
    """Return per-image numbers: means over frames."""
    sure = np.concatenate([one.probability for one in frames])
    steps = [one.step for one in frames if one.step is not None]
    return {
        "n_heights": (float(np.mean([len(one.xy) for one in frames])), None),
        "n_counted_atoms": (float(np.mean([one.atoms.sum() for one in frames])), None),
        "scattering_of_one_atom": (float(np.mean(steps)) if steps else None, None),
        "height_probability": (float(sure.mean()), None),
    }
