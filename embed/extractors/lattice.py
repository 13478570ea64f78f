"""`lattice`: which plane lattice is where in an image, its vectors and its Bravais type.

Bragg spots of sliding windows propose lattices; each pixel goes to the one whose waves are strongest there;
each connected region's lattice is fitted anew. Nothing is trained. Images without a lattice are refused.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from micdb.embed.atoms.frame import frames, prepared
from micdb.embed.lattice.bravais import DISTORTION
from micdb.embed.lattice.phases import Phase, phase_map
from micdb.embed.lattice.reciprocal import image_lattice
from micdb.errors import UsageError
from micdb.populate.extractor import Card, Extraction, Extractor, check_positive
from micdb.populate.facts import LATTICES
from micdb.records import Picture, Refusal

_UNRESOLVED = frozenset({"SEM", "optical"})
_SMALLEST_SIDE = 40  # [pixel] of a window with four lattice planes and room for their spots


@dataclass(frozen=True, slots=True)
class _Frame:
    """Regions of one frame, the corner of its scanned part, and the size of that part."""

    phases: list[Phase]
    corner: tuple[int, int]
    pixels: int


class Lattice(Extractor):
    """Lattices of the regions of an image, with Bravais types, standard deviations and probabilities.

    Regions of a frame are numbered by falling area. Roll-ups are of the largest region, medians over the
    frames that show a lattice.

    Parameters
    ----------
    window_nm
        Side of the sliding window [nm]; None for eight of the image's strongest lattice planes.
    distortion
        Standard deviation of an affine distortion that the image may have, as a strain: what a square must at
        least miss to be no square.
    """

    card: ClassVar[Card] = Card(
        name="lattice",
        version="1",
        summary="Lattice vectors and Bravais type of each region, with standard deviations and probability",
        parameters={"window_nm": None, "distortion": DISTORTION},
        licence="BSD-3-Clause",
        reference="Conway and Sloane, Proc. R. Soc. A 436, 55 (1992): reduction; Besag 1986: smoothing",
        scale="any; lattice planes 2.3 pixels apart or more, four of them across a region",
        modalities=("STEM", "TEM", "STM", "AFM"),
        validated={
            "simulated lattices, SNR 0.3 to 5": "six-way accuracy 0.998, calibration error 0.038; 0.990 and "
            "0.051 under scan distortion, other spacings and probes (benchmarks/lattice.py)",
            "simulated mixed phases, SNR 0.5 to 3": "intersection over union 0.963 to 0.976, worst 0.914",
        },
    )
    schemas: ClassVar[Mapping[str, pa.Schema]] = {"lattices": LATTICES}

    def __init__(self, **parameters: Any) -> None:
        super().__init__(**parameters)
        check_positive(self, "window_nm", "a length in nm, for example 3")
        distortion = self.parameters["distortion"]
        if not 0 < distortion < 1:
            raise UsageError(
                f"lattice: distortion is {distortion!r}; expected a strain between 0 and 1, like 0.01"
            )

    def extract_one(self, picture: Picture) -> Extraction | Refusal:
        """Return the lattices of a picture, or the reason why there are none."""
        reason = self._unfit(picture)
        if reason:
            return Refusal(picture.image, reason)
        found = frames(picture, lambda pixels: self._measure(pixels, picture.pixel_size))
        if isinstance(found, Refusal):
            return found
        rows = [
            self._row(picture, number, frame, region)
            for number, frame in found.items()
            for region in range(len(frame.phases))
        ]
        table = pa.Table.from_pylist(rows, schema=LATTICES)
        return Extraction(picture.image, {"lattices": table}, _rollups(rows))

    def _unfit(self, picture: Picture) -> str | None:
        if picture.modality == "diffraction":
            return "a diffraction pattern shows no lattice in real space"
        if picture.modality in _UNRESOLVED:
            return f"modality {picture.modality} does not resolve lattices"
        if picture.pixel_size is None:
            return (
                "the image has no pixel size, so window_nm cannot be used"
                if self.parameters["window_nm"]
                else None
            )
        if not all(math.isfinite(size) and size > 0 for size in picture.pixel_size):
            return f"pixel size {picture.pixel_size} nm; positive numbers are needed"
        return None

    def _measure(
        self, pixels: npt.NDArray[np.floating], pixel_size: tuple[float, float] | None
    ) -> _Frame | str:
        """Return the regions of one frame, or why there are none."""
        ready = prepared(pixels, smallest=_SMALLEST_SIDE)
        if isinstance(ready, str):
            return ready
        image, corner = ready
        image = image / np.abs(image).max()
        window = self.parameters["window_nm"]
        side = None if window is None or pixel_size is None else math.ceil(window / min(pixel_size))
        _, phases = phase_map(image, window=None if side is None else max(side, _SMALLEST_SIDE))
        if not phases:
            whole = image_lattice(image)
            return "no lattice: no two directions of the power spectrum have spots" + (
                ""
                if whole is None
                else f"; the probability of a lattice is {whole.probability:.2g}, 0.9 is needed"
            )
        return _Frame(phases, corner, image.size)

    def _row(self, picture: Picture, number: int, frame: _Frame, region: int) -> dict[str, Any]:
        phase = frame.phases[region]
        rows, columns = (np.flatnonzero(phase.mask.any(axis=axis)) for axis in (1, 0))
        size = picture.pixel_size
        basis = phase.lattice.basis
        scaled = basis if size is None else basis.scaled(size).reduced()
        types = phase.lattice.types(size or (1.0, 1.0), distortion=self.parameters["distortion"])
        types.pop("none")
        bravais = max(types, key=types.__getitem__)
        a_sd, b_sd, gamma_sd, angle_sd = scaled.sds
        nm = {"a_nm": scaled.lengths[0], "b_nm": scaled.lengths[1], "a_sd_nm": a_sd, "b_sd_nm": b_sd}
        return {
            "image": picture.image,
            "frame": number,
            "region": region,
            "x_px": int(columns[0]) + frame.corner[1],
            "y_px": int(rows[0]) + frame.corner[0],
            "width_px": int(columns[-1] - columns[0]) + 1,
            "height_px": int(rows[-1] - rows[0]) + 1,
            "share": phase.mask.sum() / frame.pixels,
            "a_px": basis.lengths[0],
            "b_px": basis.lengths[1],
            "a_sd_px": basis.sds[0],
            "b_sd_px": basis.sds[1],
            **(nm if size is not None else dict.fromkeys(nm)),
            "gamma_deg": scaled.gamma_deg,
            "angle_deg": scaled.angle_deg,
            "gamma_sd_deg": gamma_sd,
            "angle_sd_deg": angle_sd,
            "bravais": bravais,
            "probability": types[bravais],
        }


def _rollups(rows: list[dict[str, Any]]) -> dict[str, tuple[float | None, str | None]]:
    """Return per-image numbers of the largest regions."""
    largest = [row for row in rows if row["region"] == 0]

    def median(name: str) -> float | None:
        values = [row[name] for row in largest if row[name] is not None]
        return float(np.median(values)) if values else None

    return {
        "lattice_a": (median("a_nm"), "nm"),
        "lattice_b": (median("b_nm"), "nm"),
        "lattice_gamma": (median("gamma_deg"), "deg"),
        "lattice_a_px": (median("a_px"), "pixel"),
        "lattice_b_px": (median("b_px"), "pixel"),
        "n_lattices": (len(rows) / len(largest), None),
    }
