"""The atoms and bonds of one frame, and the rows they become."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from micdb.embed import graph
from micdb.embed.atoms.fit import Fit
from micdb.embed.sampling import constant, scanned
from micdb.populate.extractor import Extraction
from micdb.populate.facts import ATOMS, BONDS
from micdb.records import Picture, Refusal

Floats = npt.NDArray[np.float64]
Measured = TypeVar("Measured")

COARSEST_PIXEL = 0.1  # [nm] half of the 0.2 nm between columns: Nyquist
_UNRESOLVED = frozenset({"SEM", "optical"})
_SQUARE = 1.1  # sides of a pixel: the fit draws round columns
_SMALLEST_SIDE = 32  # [pixel]
_LEAST_SCANNED = 0.5
BOND = 1.35  # [median neighbour distance] between the first and second shell of common lattices

FITTED = pa.schema([
    *ATOMS,
    pa.field("sigma_px", pa.float32(), nullable=False),  # standard deviation of the fitted Gaussian
    pa.field("sd_px", pa.float32()),  # of the position along one axis; null where a centroid had to do
    pa.field("sd_nm", pa.float32()),
    pa.field("coordination", pa.int16()),  # null at the edge, where neighbours may be out of view
    pa.field("edge", pa.bool_(), nullable=False),
])  # fmt: skip


@dataclass(frozen=True, slots=True)
class Frame:
    """Atoms and bonds of one frame, in pixels of the frame.

    Parameters
    ----------
    fit
        Fitted columns.
    edge
        Whether neighbours may be out of view ``(n,)``.
    i, j
        Bonds ``(m,)``.
    coordination
        Bonds of each column ``(n,)``.
    nearest
        Median distance of nearest neighbours [pixel].
    area
        Scanned [pixel].
    further
        Values of the columns that an extractor adds, ``(n,)`` each.
    """

    fit: Fit
    edge: npt.NDArray[np.bool_]
    i: npt.NDArray[np.integer]
    j: npt.NDArray[np.integer]
    coordination: npt.NDArray[np.int64]
    nearest: float
    area: float
    further: Mapping[str, Any]


def unfit(picture: Picture) -> str | None:
    """Return why a picture cannot show atom columns, or None."""
    if picture.modality == "diffraction":
        return "a diffraction pattern shows no atom columns in real space"
    if picture.modality in _UNRESOLVED:
        return f"modality {picture.modality} does not resolve atom columns"
    return misscaled(picture, COARSEST_PIXEL, "atom columns")


def misscaled(picture: Picture, coarsest: float, what: str) -> str | None:
    """Return why the pixels of a picture do not do, or None; unknown ones do.

    Parameters
    ----------
    picture
        That is to be measured.
    coarsest
        Largest side of a pixel [nm].
    what
        Is sought, in the plural.
    """
    if picture.pixel_size is None:
        return None
    if not all(math.isfinite(size) and size > 0 for size in picture.pixel_size):
        return f"pixel size {picture.pixel_size} nm; positive numbers are needed"
    if max(picture.pixel_size) > coarsest:
        return f"pixel size {max(picture.pixel_size):g} nm; {what} need {coarsest:g} nm or finer"
    if max(picture.pixel_size) > _SQUARE * min(picture.pixel_size):
        return f"pixels of {picture.pixel_size[1]:g} x {picture.pixel_size[0]:g} nm; square ones are needed"
    return None


def prepared(
    pixels: npt.NDArray[np.floating], *, smallest: int = _SMALLEST_SIDE
) -> tuple[Floats, tuple[int, int]] | str:
    """Return the scanned part of a frame ``(y, x)``, finite, and its corner, or why it shows nothing.

    Parameters
    ----------
    pixels
        ``(y, x)``, NaN where nothing was scanned.
    smallest
        Shorter side that is needed [pixel].
    """
    image, corner = scanned(pixels)
    if image.size < _LEAST_SCANNED * pixels.size:
        return f"only {image.size} of {pixels.size} pixels were scanned; at least half is needed"
    if min(image.shape) < smallest:
        return f"{image.shape[1]} x {image.shape[0]} pixels; at least {smallest} are needed each way"
    if constant(image):
        return "the image is blank: every pixel has the same value"
    return image, corner


def measure(
    picture: Picture,
    one: Callable[[npt.NDArray[np.floating], float | None], Frame | str],
    schema: pa.Schema,
) -> Extraction | Refusal:
    """Return the rows of the frames of a picture that could be measured, or why none could.

    Parameters
    ----------
    picture
        The picture.
    one
        Measures a frame ``(y, x)`` of a pixel size [nm], None when unknown, or says why not.
    schema
        Of its atoms.
    """
    reason = unfit(picture)
    if reason:
        return Refusal(picture.image, reason)
    found = frames(picture, lambda pixels: one(pixels, pitch_of(picture)))
    if isinstance(found, Refusal):
        return found
    return extraction(picture, found, schema)


def frames(
    picture: Picture, one: Callable[[npt.NDArray[np.floating]], Measured | str]
) -> dict[int, Measured] | Refusal:
    """Return what was measured in each frame by its number, or why in none; the others are left out.

    Parameters
    ----------
    picture
        The picture.
    one
        Measures a frame ``(y, x)``, or says why not.
    """
    found: dict[int, Measured] = {}
    reason = None
    for number, pixels in enumerate(picture.frames):
        measured = one(pixels)
        if isinstance(measured, str):
            reason = reason or measured
        else:
            found[number] = measured
    return found or Refusal(picture.image, reason or "the image has no frames")


def pitch_of(picture: Picture) -> float | None:
    """Return the side of a pixel [nm], the geometric mean where they differ a little; None when unknown."""
    return None if picture.pixel_size is None else math.sqrt(math.prod(picture.pixel_size))


def connect(
    fit: Fit,
    shape: tuple[int, ...],
    *,
    corner: tuple[int, int],
    cutoff: float | None = None,
    species: Sequence[str] | None = None,
    further: Mapping[str, Any] | None = None,
) -> Frame:
    """Return a frame from the columns fitted in its scanned part.

    Parameters
    ----------
    fit
        Columns, in pixels of the scanned part.
    shape
        ``(y, x)`` of the scanned part.
    corner
        ``(y, x)`` where it begins in the frame.
    cutoff
        Longest bond [pixel]; None for 1.35 times the median neighbour distance.
    species
        Of each column ``(n,)``, where known: then, without `cutoff`, the bonds of each pair of species end at
        the first minimum of its own distribution of distances; see `micdb.embed.graph.pair_cutoffs`.
    further
        Columns that an extractor adds.
    """
    xy = np.column_stack((fit.x, fit.y))
    near = float(np.median(graph.nearest_distances(xy))) if len(xy) > 1 else math.nan
    reach = cutoff if cutoff is not None else BOND * near if len(xy) > 1 else 0.0
    if species is None or cutoff is not None or len(xy) < 2:
        i, j, _ = graph.neighbours(xy, reach)
    else:
        labels = np.asarray(species)
        longest = graph.pair_cutoffs(xy, labels)
        i, j, _ = graph.bonds(xy, labels, longest)
        reach = max(longest.values())
    room = np.minimum(xy, np.array([shape[1] - 1, shape[0] - 1]) - xy).min(axis=1)
    moved = Fit(fit.x + corner[1], fit.y + corner[0], fit.height, fit.sigma, fit.sd, fit.height_sd)
    count = graph.coordination(len(xy), i, j)
    return Frame(moved, room < reach, i, j, count, near, float(math.prod(shape)), further or {})


def extraction(picture: Picture, frames: Mapping[int, Frame], schema: pa.Schema) -> Extraction:
    """Return the rows of a picture: atoms in `schema`, bonds, and roll-ups; `frames` by their number."""
    tables = {
        "atoms": _concatenate(schema, [_atoms(picture, n, frame, schema) for n, frame in frames.items()]),
        "bonds": _concatenate(BONDS, [_bonds(picture, n, frame) for n, frame in frames.items()]),
    }
    return Extraction(picture.image, tables, _rollups(list(frames.values()), pitch_of(picture)))


def _atoms(picture: Picture, number: int, frame: Frame, schema: pa.Schema) -> pa.Table:
    n, pitch = len(frame.fit.x), pitch_of(picture)
    y_nm, x_nm = (in_nm(picture, axis, (frame.fit.y, frame.fit.x)[axis]) for axis in (0, 1))
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
        "sd_nm": None if pitch is None else pa.array(frame.fit.sd * pitch, from_pandas=True),
        "coordination": pa.array(frame.coordination, mask=frame.edge),
        "edge": frame.edge,
        **frame.further,
    }
    return arrow_table(columns, schema, n)


def _bonds(picture: Picture, number: int, frame: Frame) -> pa.Table:
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
    return arrow_table(columns, BONDS, m)


def in_nm(picture: Picture, axis: int, position: Floats) -> Floats | None:
    """Return positions along an axis (0 is y, 1 is x) [nm] from those in pixels; None without a scale."""
    return None if picture.pixel_size is None else position * picture.pixel_size[axis]


def arrow_table(columns: Mapping[str, Any], schema: pa.Schema, rows: int) -> pa.Table:
    """Return columns as a table of a schema; a column that is None becomes nulls."""
    arrays = [
        pa.nulls(rows, field.type)
        if columns[field.name] is None
        else pa.array(columns[field.name]).cast(field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def _concatenate(schema: pa.Schema, tables: Sequence[pa.Table]) -> pa.Table:
    return pa.concat_tables(tables) if tables else schema.empty_table()


def _rollups(frames: Sequence[Frame], pitch: float | None) -> dict[str, tuple[float | None, str | None]]:
    """Return per-image numbers: means over frames; lengths both in nm and in pixels."""
    atoms = [len(frame.fit.x) for frame in frames]
    inner = np.concatenate([frame.coordination[~frame.edge] for frame in frames])
    distances = [frame.nearest for frame in frames if math.isfinite(frame.nearest)]
    nearest = float(np.median(distances)) if distances else None
    area = sum(frame.area for frame in frames)
    in_nm = None if pitch is None or nearest is None else nearest * pitch
    return {
        "n_atoms": (float(np.mean(atoms)), None),
        "median_neighbour_distance": (in_nm, "nm"),
        "median_neighbour_distance_px": (nearest, "pixel"),
        "mean_coordination": (float(inner.mean()) if inner.size else None, None),
        "atom_density": (None if pitch is None else sum(atoms) / (area * pitch**2), "1/nm**2"),
    }
