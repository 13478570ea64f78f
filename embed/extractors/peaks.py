"""`peaks`: positions of atom columns and their neighbour graph, without any trained network.

Lattice spots of the power spectrum say whether there are columns at all and how far apart; a band-pass of
their width finds them; all are then fitted together. Images of anything else are refused, with the numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from micdb.embed import graph
from micdb.embed.atoms.band_pass import Spectrum, apart, find, flatten
from micdb.embed.atoms.fit import Fit, fit_gaussians
from micdb.embed.atoms.frame import COARSEST_PIXEL, FITTED, Frame, connect, measure, prepared
from micdb.populate.extractor import Card, Extraction, Extractor, check_positive
from micdb.populate.facts import BONDS
from micdb.records import Picture, Refusal

Floats = npt.NDArray[np.float64]

_LEAST_BRAGG_RATIO = 60.0  # the strongest of 1e6 samples of pure noise reaches 23 times its ring's median
_LEAST_ATOMS = 12
_LARGEST_SPREAD = 0.25  # interquartile range of neighbour distances over their median; filtered noise: 0.3
_LARGEST_SPREAD_UNSCALED = 0.15  # where no pixel size tells atoms from grains, regularity has to
_BRIGHT = 0.15  # of a strong column's height: what is fainter after the fit is no column


class Peaks(Extractor):
    """Atom columns by band-pass, local maxima and a joint Gaussian fit; bonds by distance.

    Atoms of a frame are numbered from the top, row by row. Roll-ups count the mean per measured frame.

    Parameters
    ----------
    spacing_nm
        Distance of nearest columns [nm]; None to take it from the image.
    cutoff_nm
        Longest bond [nm]; None for 1.35 times the median nearest-neighbour distance.
    """

    card: ClassVar[Card] = Card(
        name="peaks",
        version="2",
        summary="Atom columns with standard deviations, bonds and coordination, by classical fitting",
        parameters={"spacing_nm": None, "cutoff_nm": None},
        licence="BSD-3-Clause",
        reference="De Backer et al., Ultramicroscopy 171, 104 (2016): joint fit of Gaussian columns",
        scale=f"pixels of {COARSEST_PIXEL:g} nm or finer, or unknown; lattice planes 3 pixels apart",
        modalities=("STEM", "TEM", "STM", "AFM"),
        validated={
            "simulated lattices, 50 counts per pixel": "F1 0.979 to 1.000, error 1.5 to 2.6 pm along an axis "
            "(tuned LoG: 1.000, 5.7 to 7.1 pm; Cramer-Rao bound 1.3 to 2.3 pm; benchmarks/atoms.py)",
            "simulated lattices, 3 counts per pixel": "F1 0.862 to 0.976 (tuned LoG: 0.983 to 1.000)",
        },
    )
    schemas: ClassVar[Mapping[str, pa.Schema]] = {"atoms": FITTED, "bonds": BONDS}

    def __init__(self, **parameters: Any) -> None:
        super().__init__(**parameters)
        for name in self.parameters:
            check_positive(self, name, "a length in nm, for example 0.142")

    def extract_one(self, picture: Picture) -> Extraction | Refusal:
        """Return the atoms and bonds of a picture, or the reason why there are none."""
        reason = self._without_scale(picture)
        return Refusal(picture.image, reason) if reason else measure(picture, self._measure, FITTED)

    def _without_scale(self, picture: Picture) -> str | None:
        given = [name for name, value in self.parameters.items() if value is not None]
        if picture.pixel_size is None and given:
            return f"the image has no pixel size, so {given[0]} cannot be used"
        return None

    def _measure(self, pixels: npt.NDArray[np.floating], pitch: float | None) -> Frame | str:
        """Return the atoms of one frame, or why there are none."""
        ready = prepared(pixels)
        if isinstance(ready, str):
            return ready
        image, corner = ready
        spectrum = Spectrum.of(image / np.abs(image).max())
        if spectrum.ratio < _LEAST_BRAGG_RATIO:
            return (
                f"no lattice: the strongest spot of the power spectrum is {spectrum.ratio:.0f} times its "
                f"surroundings; {_LEAST_BRAGG_RATIO:.0f} times are needed"
            )
        fit = self._fit(image, spectrum, pitch)
        if fit is None or len(fit.x) < _LEAST_ATOMS:
            return (
                f"{0 if fit is None else len(fit.x)} significant columns; at least {_LEAST_ATOMS} are needed"
            )
        near = graph.nearest_distances(np.column_stack((fit.x, fit.y)))
        low, median, high = np.quantile(near, [0.25, 0.5, 0.75])
        largest = _LARGEST_SPREAD_UNSCALED if pitch is None else _LARGEST_SPREAD
        if (high - low) / median > largest:
            return (
                f"no lattice: neighbour distances spread over {(high - low) / median:.0%} of their median; "
                f"{largest:.0%} at most are allowed"
            )
        wanted = self.parameters["cutoff_nm"]
        cutoff = None if wanted is None or pitch is None else wanted / pitch
        return connect(fit, image.shape, corner=corner, cutoff=cutoff)

    def _fit(self, image: Floats, spectrum: Spectrum, pitch: float | None) -> Fit | None:
        """Find and fit twice: the width found first is the matched filter of the second search."""
        scale = float(np.abs(image).max())
        image = image / scale
        wanted = self.parameters["spacing_nm"]
        spacing = spectrum.spacing if wanted is None or pitch is None else wanted / pitch
        # planes are 0.87 (close-packed) to 1.5 (honeycomb) neighbour distances apart
        sigma, separation = max(0.17 * spacing, 0.7), 0.5 * spacing
        flat = flatten(image, max(spacing, spectrum.spacing))
        slow = image - flat
        fit = None
        for _ in range(2):
            start = find(image, spectrum, sigma=sigma, separation=separation)
            if len(start) < _LEAST_ATOMS:
                return None
            near = float(np.median(graph.nearest_distances(start)))
            radius = max(2.0, 0.5 * near)
            fit = fit_gaussians(flat, start, sigma=sigma, radius=radius, background=slow)
            fit = _columns(fit, image.shape, separation=0.7 * separation)
            if len(fit.x) < _LEAST_ATOMS:
                return None
            sigma = max(float(np.median(fit.sigma)), 0.7)
            separation = min(0.6 * near, 3 * sigma) if wanted is None else 0.6 * spacing
        return None if fit is None else _scaled(fit, scale)


def _columns(fit: Fit, shape: tuple[int, ...], *, separation: float) -> Fit:
    """Return the fitted columns that are inside, bright enough and apart, from the top, row by row."""
    xy = np.column_stack((fit.x, fit.y))
    inside = ((xy >= 0) & (xy <= [shape[1] - 1, shape[0] - 1])).all(axis=1)
    bright = fit.height >= _BRIGHT * np.quantile(fit.height, 0.9)
    order = np.argsort(-fit.height, kind="stable")
    order = order[(inside & bright)[order]]
    order = order[apart(xy[order], separation)]
    order = order[np.lexsort((xy[order, 0], np.rint(xy[order, 1])))]
    return Fit(*(getattr(fit, name)[order] for name in Fit.__slots__))


def _scaled(fit: Fit, scale: float) -> Fit:
    return Fit(fit.x, fit.y, fit.height * scale, fit.sigma, fit.sd, fit.height_sd * scale)
