"""`peaks`: positions of atom columns and their neighbour graph, without any trained network.

Lattice spots of the power spectrum say whether there are columns at all and how far apart; a band-pass of
their width finds them; all are then fitted together. Images of anything else are refused, with the numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from micdb.embed import graph
from micdb.embed.extractors.peak_finding import Spectrum, apart, find, flatten
from micdb.embed.extractors.peak_fit import Fit, fit_gaussians
from micdb.embed.sampling import constant, scanned
from micdb.errors import UsageError
from micdb.populate.extractor import Card, Extraction, Extractor
from micdb.populate.facts import ATOMS, BONDS
from micdb.records import Picture, Refusal

Floats = npt.NDArray[np.float64]

COARSEST_PIXEL = 0.1  # [nm] half of the 0.2 nm between columns: Nyquist
_UNRESOLVED = frozenset({"SEM", "optical"})
_SMALLEST_SIDE = 32  # [pixel]
_LEAST_BRAGG_RATIO = 60.0  # the strongest of 1e6 samples of pure noise reaches 23 times its ring's median
_LEAST_ATOMS = 12
_LARGEST_SPREAD = 0.25  # interquartile range of neighbour distances over their median; filtered noise: 0.3
_LARGEST_SPREAD_UNSCALED = 0.15  # where no pixel size tells atoms from grains, regularity has to
_SQUARE = 1.1  # sides of a pixel: the fit draws round columns
_LEAST_SCANNED = 0.5
_BRIGHT = 0.15  # of a strong column's height: what is fainter after the fit is no column

_ATOMS_SCHEMA = pa.schema([
    *ATOMS,
    pa.field("sigma_px", pa.float32(), nullable=False),  # standard deviation of the fitted Gaussian
    pa.field("sd_px", pa.float32()),  # of the position along one axis; null where a centroid had to do
    pa.field("coordination", pa.int16()),  # null at the edge, where neighbours may be out of view
    pa.field("edge", pa.bool_(), nullable=False),
])  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Frame:
    """Atoms and bonds of one frame, in pixels of the frame."""

    fit: Fit
    edge: npt.NDArray[np.bool_]
    i: npt.NDArray[np.integer]
    j: npt.NDArray[np.integer]
    coordination: npt.NDArray[np.int64]
    nearest: float  # [pixel] median distance of nearest neighbours
    area: float  # [pixel] scanned


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
        version="1",
        summary="Atom columns with standard deviations, bonds and coordination, by classical fitting",
        parameters={"spacing_nm": None, "cutoff_nm": None},
        licence="BSD-3-Clause",
        reference="De Backer et al., Ultramicroscopy 171, 104 (2016): joint fit of Gaussian columns",
        scale=f"pixels of {COARSEST_PIXEL:g} nm or finer, or unknown; lattice planes 3 pixels apart",
        modalities=("STEM", "TEM", "STM", "AFM"),
        validated={
            "simulated lattices, 50 counts per pixel": "F1 0.995 to 1.000, error 1.5 to 2.6 pm along an axis "
            "(tuned LoG: 1.000, 6.2 to 6.4 pm; Cramer-Rao bound 1.3 pm; benchmarks/peaks.py)",
            "simulated lattices, 3 counts per pixel": "F1 0.909 to 0.986 (tuned LoG: 0.983 to 1.000)",
        },
    )
    schemas: ClassVar[Mapping[str, pa.Schema]] = {"atoms": _ATOMS_SCHEMA, "bonds": BONDS}

    def __init__(self, **parameters: Any) -> None:
        super().__init__(**parameters)
        for name, value in self.parameters.items():
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if value is not None and not (number and 0 < value < math.inf):
                raise UsageError(
                    f"peaks: parameter {name} is {value!r}; expected a length in nm, for example 0.142"
                )

    def extract(self, pictures: Iterable[Picture]) -> Iterator[Extraction | Refusal]:
        """Yield the atoms and bonds of each picture, or the reason why there are none."""
        for picture in pictures:
            yield self._extract(picture)

    def _extract(self, picture: Picture) -> Extraction | Refusal:
        reason = self._unfit(picture)
        if reason:
            return Refusal(picture.image, reason)
        pitch = None if picture.pixel_size is None else math.sqrt(math.prod(picture.pixel_size))
        found: dict[int, _Frame] = {}
        for number, pixels in enumerate(picture.frames):
            measured = self._measure(pixels, pitch)
            if isinstance(measured, _Frame):
                found[number] = measured
            else:
                reason = reason or measured
        if not found:
            return Refusal(picture.image, reason or "the image has no frames")
        tables = {
            "atoms": _concatenate(_ATOMS_SCHEMA, [_atoms(picture, n, frame) for n, frame in found.items()]),
            "bonds": _concatenate(BONDS, [_bonds(picture, n, frame) for n, frame in found.items()]),
        }
        return Extraction(picture.image, tables, _rollups(list(found.values()), picture.pixel_size))

    def _unfit(self, picture: Picture) -> str | None:
        if picture.modality == "diffraction":
            return "a diffraction pattern shows no atom columns in real space"
        if picture.modality in _UNRESOLVED:
            return f"modality {picture.modality} does not resolve atom columns"
        if picture.pixel_size is None:
            given = [name for name, value in self.parameters.items() if value is not None]
            return f"the image has no pixel size, so {given[0]} cannot be used" if given else None
        if not all(math.isfinite(size) and size > 0 for size in picture.pixel_size):
            return f"pixel size {picture.pixel_size} nm; positive numbers are needed"
        if max(picture.pixel_size) > COARSEST_PIXEL:
            return (
                f"pixel size {max(picture.pixel_size):g} nm; atom columns need {COARSEST_PIXEL:g} nm or finer"
            )
        if max(picture.pixel_size) > _SQUARE * min(picture.pixel_size):
            return (
                f"pixels of {picture.pixel_size[1]:g} x {picture.pixel_size[0]:g} nm; square ones are needed"
            )
        return None

    def _measure(self, pixels: npt.NDArray[np.floating], pitch: float | None) -> _Frame | str:
        """Return the atoms of one frame, or why there are none."""
        image, corner = scanned(pixels)
        if image.size < _LEAST_SCANNED * pixels.size:
            return f"only {image.size} of {pixels.size} pixels were scanned; at least half is needed"
        if min(image.shape) < _SMALLEST_SIDE:
            return (
                f"{image.shape[1]} x {image.shape[0]} pixels; at least {_SMALLEST_SIDE} are needed each way"
            )
        if constant(image):
            return "the image is blank: every pixel has the same value"
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
        return self._connect(fit, image.shape, corner=corner, nearest=float(median), pitch=pitch)

    def _fit(self, image: Floats, spectrum: Spectrum, pitch: float | None) -> Fit | None:
        """Find and fit twice: the width found first is the matched filter of the second search."""
        scale = float(np.abs(image).max())
        image = image / scale
        wanted = self.parameters["spacing_nm"]
        spacing = spectrum.spacing if wanted is None or pitch is None else wanted / pitch
        # planes are 0.87 (close-packed) to 1.5 (honeycomb) neighbour distances apart
        sigma, separation = max(0.17 * spacing, 0.7), 0.5 * spacing
        flat = flatten(image, max(spacing, spectrum.spacing))
        fit = None
        for _ in range(2):
            start = find(image, spectrum, sigma=sigma, separation=separation)
            if len(start) < _LEAST_ATOMS:
                return None
            near = float(np.median(graph.nearest_distances(start)))
            fit = fit_gaussians(flat, start, sigma=sigma, radius=max(2.0, 0.5 * near))
            fit = _columns(fit, image.shape, separation=0.7 * separation)
            if len(fit.x) < _LEAST_ATOMS:
                return None
            sigma = max(float(np.median(fit.sigma)), 0.7)
            separation = min(0.6 * near, 3 * sigma) if wanted is None else 0.6 * spacing
        return None if fit is None else _scaled(fit, scale)

    def _connect(
        self,
        fit: Fit,
        shape: tuple[int, ...],
        *,
        corner: tuple[int, int],
        nearest: float,
        pitch: float | None,
    ) -> _Frame:
        wanted = self.parameters["cutoff_nm"]
        cutoff = 1.35 * nearest if wanted is None or pitch is None else wanted / pitch
        xy = np.column_stack((fit.x, fit.y))
        i, j, _ = graph.neighbours(xy, cutoff)
        room = np.minimum(xy, np.array([shape[1] - 1, shape[0] - 1]) - xy).min(axis=1)
        moved = Fit(fit.x + corner[1], fit.y + corner[0], fit.height, fit.sigma, fit.sd, fit.height_sd)
        count = graph.coordination(len(xy), i, j)
        return _Frame(moved, room < cutoff, i, j, count, nearest, float(math.prod(shape)))


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


def _atoms(picture: Picture, number: int, frame: _Frame) -> pa.Table:
    n = len(frame.fit.x)
    y_nm, x_nm = (_in_nm(picture, axis, (frame.fit.y, frame.fit.x)[axis]) for axis in (0, 1))
    columns = {
        "image": np.full(n, picture.image),
        "frame": np.full(n, number),
        "idx": np.arange(n),
        "x_px": frame.fit.x,
        "y_px": frame.fit.y,
        "x_nm": x_nm,
        "y_nm": y_nm,
        "intensity": frame.fit.height,
        "sigma_px": frame.fit.sigma,
        "sd_px": pa.array(frame.fit.sd, from_pandas=True),
        "coordination": pa.array(frame.coordination, mask=frame.edge),
        "edge": frame.edge,
    }
    return _table(columns, _ATOMS_SCHEMA, n)


def _bonds(picture: Picture, number: int, frame: _Frame) -> pa.Table:
    m = len(frame.i)
    dx, dy = (axis[frame.i] - axis[frame.j] for axis in (frame.fit.x, frame.fit.y))
    length_nm = None
    if picture.pixel_size is not None:
        length_nm = np.hypot(dy * picture.pixel_size[0], dx * picture.pixel_size[1])
    columns = {
        "image": np.full(m, picture.image),
        "frame": np.full(m, number),
        "i": frame.i,
        "j": frame.j,
        "length_px": np.hypot(dx, dy),
        "length_nm": length_nm,
    }
    return _table(columns, BONDS, m)


def _in_nm(picture: Picture, axis: int, position: Floats) -> Floats | None:
    return None if picture.pixel_size is None else position * picture.pixel_size[axis]


def _table(columns: Mapping[str, Any], schema: pa.Schema, rows: int) -> pa.Table:
    arrays = [
        pa.nulls(rows, field.type)
        if columns[field.name] is None
        else pa.array(columns[field.name]).cast(field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def _concatenate(schema: pa.Schema, tables: list[pa.Table]) -> pa.Table:
    return pa.concat_tables(tables) if tables else schema.empty_table()


def _rollups(
    frames: list[_Frame], pixel_size: tuple[float, float] | None
) -> dict[str, tuple[float | None, str | None]]:
    """Return per-image numbers: means over frames; lengths both in nm and in pixels."""
    atoms = [len(frame.fit.x) for frame in frames]
    inner = np.concatenate([frame.coordination[~frame.edge] for frame in frames])
    nearest = float(np.median([frame.nearest for frame in frames]))
    pitch = None if pixel_size is None else math.sqrt(math.prod(pixel_size))
    area = sum(frame.area for frame in frames)
    return {
        "n_atoms": (float(np.mean(atoms)), None),
        "median_neighbour_distance": (None if pitch is None else nearest * pitch, "nm"),
        "median_neighbour_distance_px": (nearest, "pixel"),
        "mean_coordination": (float(inner.mean()) if inner.size else None, None),
        "atom_density": (None if pitch is None else sum(atoms) / (area * pitch**2), "1/nm**2"),
    }
