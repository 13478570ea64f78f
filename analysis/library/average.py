"""The mean look of a motif: its members' pictures and atoms, laid on one another."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import ndimage

from micdb.analysis.library.align import Pose, Site, Structure, lay, mean_sites, turn_of, turned
from micdb.analysis.library.found import details
from micdb.populate.pictures import load_pictures
from micdb.query.context import Context

Floats = npt.NDArray[np.float64]

_RADIUS = 0.6  # [nm] around a defect in a crystal: two to four shells
_FEWEST, _MOST = 33, 97  # pixels along a mean picture
_LOOKED_AT = 300  # members that are averaged at most: the mean no longer changes to the eye
_CANDIDATES = 12  # members that may become the reference
_SEED = 0


@dataclass(frozen=True, slots=True)
class Grid:
    """Where the pixels of a mean picture lie.

    Parameters
    ----------
    size
        Along each axis.
    step
        Between pixels [nm], or [pixel] where `scaled` is not so.
    scaled
        Whether lengths are in nm.
    """

    size: int
    step: float
    scaled: bool

    def places(self, pose: Pose | None = None) -> tuple[Floats, Floats]:
        """Return x and y of each pixel from the defect, ``(size, size)`` each, in the member's own frame."""
        axis = (np.arange(self.size) - (self.size - 1) / 2) * self.step
        x, y = np.meshgrid(axis, axis)
        if pose is None:
            return x, y
        back = np.stack((x - pose.shift[0], y - pose.shift[1]), axis=-1) @ pose.matrix
        return back[..., 0], back[..., 1]


@dataclass(frozen=True, slots=True)
class Average:
    """What the members of a motif look like.

    Parameters
    ----------
    picture
        Mean ``(n, n)``, the centre of the defect in the middle; in standard deviations of each image above
        its median.
    grid
        Where the pixels of the picture lie.
    sites
        Mean atoms; none where the detector gives no structure.
    misfit
        Of each member that was averaged, by its key: how far it is from the mean, best first. A root mean
        square distance [nm] where there are atoms, else one minus the correlation.
    """

    picture: Floats
    grid: Grid
    sites: tuple[Site, ...]
    misfit: pd.Series

    @property
    def pixel_size(self) -> float | None:
        """Of the picture [nm]; None where the scale of a member is unknown."""
        return self.grid.step if self.grid.scaled else None

    @property
    def positions(self) -> pd.DataFrame:
        """``x_nm``, ``y_nm``, ``sd_nm``, ``species`` and ``share`` of the mean atoms, from the centre out."""
        names = ["x_nm", "y_nm", "sd_nm", "species", "share"]
        outwards = sorted(self.sites, key=lambda site: math.hypot(site.x_nm, site.y_nm))
        return pd.DataFrame([[getattr(site, name) for name in names] for site in outwards], columns=names)


def average(context: Context, members: pd.DataFrame) -> Average:
    """Return the mean look of some defects of one kind.

    Parameters
    ----------
    context
        The database.
    members
        As from `micdb.analysis.library.found.defects`, one or more. Of more than 300 as many are drawn.
    """
    if len(members) > _LOOKED_AT:
        members = members.sample(_LOOKED_AT, random_state=_SEED).sort_index()
    grid = _grid(members)
    found = details(context.engine, members["pk"].tolist())["structure"]
    if grid.scaled and all(sites is not None and len(sites) > 1 for sites in found):
        structures = [_structure(sites) for sites in found]
        poses, sites, misfit = _laid(structures)
        by_key = dict(zip(members["pk"].tolist(), poses, strict=True))
        picture = _mean(list(cut(context, members, grid, by_key).values()))
    else:
        picture, misfit = _turned(list(cut(context, members, grid).values()))
        sites = []
    ranked = pd.Series(misfit, index=members["pk"].tolist()).sort_values(kind="stable")
    return Average(picture, grid, tuple(sites), ranked)


def _grid(members: pd.DataFrame) -> Grid:
    """Return a grid that shows what belongs to the defects, as finely as their images do."""
    sizes = members["pixel_size"].astype(float)
    scaled = bool(sizes.notna().all())
    pixel = float(sizes.median()) if scaled else 1.0
    boxes = [max(box[2:]) for box in members["box"] if box is not None]
    half = 0.75 * float(np.median(boxes)) * pixel if boxes else 0.0
    half = max(half, _RADIUS if scaled else 8.0)
    size = int(np.clip(2 * round(half / pixel) + 1, _FEWEST, _MOST)) // 2 * 2 + 1
    return Grid(size, 2 * half / (size - 1), scaled)


def cut(
    context: Context, members: pd.DataFrame, grid: Grid, poses: Mapping[int, Pose] | None = None
) -> dict[int, Floats]:
    """Return the picture of each member by its key, turned by its pose; missing beyond the image's edge."""
    found: dict[int, Floats] = {}
    for picture in load_pictures(context.engine, context.root, sorted(set(members["image"]))):
        size = picture.pixel_size if grid.scaled and picture.pixel_size else (1.0, 1.0)
        for _, row in members[members["image"] == picture.image].iterrows():
            image = picture.pixels[row["frame"]]
            middle, spread = float(np.nanmedian(image)), max(float(np.nanstd(image)), 1e-12)
            x, y = grid.places(None if poses is None else poses[row["pk"]])
            at = np.stack((row["y_px"] + y / size[0], row["x_px"] + x / size[1]))
            whole = np.where(np.isfinite(image), image, middle)
            patch = ndimage.map_coordinates(whole, at, order=1, mode="constant", cval=math.nan)
            found[int(row["pk"])] = np.asarray((patch - middle) / spread, dtype=np.float64)
    return {pk: found[pk] for pk in members["pk"]}


def _laid(structures: Sequence[Structure]) -> tuple[list[Pose], list[Site], list[float]]:
    """Return poses, mean atoms and misfits of members laid on their medoid, then on their mean."""
    reference = _reference(structures)
    for _ in range(2):
        laid = [lay(one, reference) for one in structures]
        poses, misfit = [pose for pose, _ in laid], [one for _, one in laid]
        sites = mean_sites(structures, poses, reference)
        if len(sites) < 2:
            break
        xy = np.array([[site.x_nm, site.y_nm] for site in sites])
        reference = Structure(xy, tuple(site.species for site in sites))
    return poses, sites, misfit


def _turned(patches: Sequence[Floats]) -> tuple[Floats, list[float]]:
    """Return the mean of pictures turned onto the first, then onto their mean, and one minus correlations."""
    filled = [np.nan_to_num(patch) for patch in patches]
    reference = filled[0]
    for _ in range(2):
        found = [turn_of(patch, reference) for patch in filled]
        reference = _mean([turned(patch, turn) for patch, (turn, _) in zip(filled, found, strict=True)])
    return reference, [1 - alike for _, alike in found]


def _structure(sites: Sequence[dict[str, object]]) -> Structure:
    xy = np.array([[site["x_nm"], site["y_nm"]] for site in sites], dtype=np.float64)
    near = np.hypot(*xy.T) <= _RADIUS
    names = tuple(str(site["species"]) if site["species"] else None for site in sites)
    return Structure(xy[near], tuple(name for name, kept in zip(names, near, strict=True) if kept))


def _reference(structures: Sequence[Structure]) -> Structure:
    """Return the member that the others fit best: the medoid of a few."""
    rng = np.random.default_rng(_SEED)
    few = rng.permutation(len(structures))[:_CANDIDATES]
    misfits = [sum(lay(structures[other], structures[one])[1] for other in few) for one in few]
    return structures[int(few[int(np.argmin(misfits))])]


def _mean(pictures: Sequence[Floats]) -> Floats:
    """Return the mean of what is known at each pixel; missing where less than a quarter knows it."""
    stack = np.array(pictures)
    known = np.isfinite(stack)
    count = known.sum(axis=0)
    total = np.where(known, stack, 0.0).sum(axis=0)
    return np.asarray(np.where(count >= max(1, len(stack) / 4), total / np.maximum(count, 1), math.nan))
