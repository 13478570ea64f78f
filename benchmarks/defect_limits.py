"""Print how well any detector could do with planted defects: ``python benchmarks/defect_limits.py``.

A column that lacks an atom, or has another one, is told by its brightness alone. The Cramer-Rao bound of
that, with places, profile and noise known and a smooth background to fit, is the least spread without bias;
the likelihood ratio of what may stand on a site, with the rates of the scenes that the benchmark plants, is
the best test (Neyman and Pearson, Phil. Trans. R. Soc. A 231, 289, 1933). The greatest F1 over its thresholds
is printed by material, dose and kind. Defects between sites, rings and rims are not limited so.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.spatial import cKDTree

from micdb.embed import graph
from micdb.embed.atoms.scattering import splines
from micdb.embed.defects.sites import KNOTS
from micdb.embed.simulate.defect_scenes import MOTIFS, Imaging, family, planted_scene
from micdb.embed.simulate.stem import StemImage
from micdb.embed.train.defect_scores import BORDER
from micdb.embed.train.defects import CHANCE, MEASURED

Floats = npt.NDArray[np.float64]

DOSES = (10.0, 20.0, 50.0)
SEED = 0
_HALF_CONTAMINATION = 0.5  # its mean over the view
_SAME = 0.03  # [nm] of a defect from the site it is on
_GRID = np.linspace(-1.5, 9.0, 4201)  # of ratios of brightness
_UNLIMITED = ("edge", "boundary")


def ratios(material: str, how: Imaging) -> dict[str, tuple[int, float]]:
    """Return, for each defect on a site, a column like its own and the ratio of its brightness to that."""
    clean = planted_scene(material, {}, seed=SEED, imaging=how).simulated
    found = {}
    for name, kind in MOTIFS[family(material)].items():
        if kind in _UNLIMITED:
            continue
        one = planted_scene(material, {name: 1}, seed=SEED, imaging=how).simulated
        place = one.defects[0].xy
        off, site = cKDTree(clean.xy).query(place)
        beside, own = cKDTree(one.xy).query(place)
        if off <= _SAME:
            weight = one.weight[own] if beside <= _SAME else 0.0
            found[name] = int(site), float(weight / clean.weight[site])
    return found


def deviations(clean: StemImage, how: Imaging, bright: Floats) -> Floats:
    """Return the Cramer-Rao bound ``(n,)`` of the brightness of columns ``(n,)`` given in counts."""
    shape, pitch = clean.image.shape, clean.pixel_size
    y, x = (axis.ravel() for axis in np.indices(shape))
    tree = cKDTree(np.column_stack((x, y)) * pitch)
    parts = [np.array(one) for one in tree.query_ball_point(clean.xy, how.probe.reach)]
    column = np.repeat(np.arange(len(parts)), [len(one) for one in parts])
    pixel = np.concatenate(parts)
    far = np.hypot(*(tree.data[pixel] - clean.xy[column]).T)
    drawn = sparse.csr_array((how.probe.profile(far), (pixel, column)), (x.size, len(parts)))
    near = float(np.median(graph.nearest_distances(clean.xy))) / pitch
    design = sparse.csr_array(sparse.hstack((drawn, splines(np.arange(x.size), shape, KNOTS * near))))
    level = how.counts * (how.background + _HALF_CONTAMINATION * how.contamination)
    weight = 1 / (drawn @ bright + level + how.readout**2)
    information = (design.T @ design.multiply(weight[:, None])).toarray()
    return np.asarray(np.sqrt(np.diag(np.linalg.inv(information))[: len(bright)]))


def best(material: str, counts: float) -> tuple[dict[str, float], dict[str, float]]:
    """Return the best F1 of each kind, and the relative bound of each class of columns."""
    how = Imaging(counts=counts, pixel_size=0.015)
    clean = planted_scene(material, {}, seed=SEED, imaging=how).simulated
    bright = clean.weight / clean.weight.max() * counts
    side = how.side * how.pixel_size
    inner = ((clean.xy > BORDER) & (clean.xy < side - BORDER)).all(axis=1)
    names, kinds = ratios(material, how), MOTIFS[family(material)]
    density: dict[int, dict[str, Floats]] = {}
    spread = {}
    for level in np.unique(clean.weight.round(3)):
        alike = clean.weight.round(3) == level
        mine = [name for name, (site, _) in names.items() if alike[site]]
        if not mine:
            continue
        (middle,) = np.flatnonzero(alike)[[np.argmin(np.square(clean.xy[alike] - side / 2).sum(axis=1))]]
        there = deviations(clean, how, bright)[middle] / bright[middle]
        gone = deviations(clean, how, np.where(np.arange(len(bright)) == middle, 0, bright))[middle]
        variance = np.array([(gone / bright[middle]) ** 2, there**2])
        spread[f"{level / clean.weight.max():.2f}"] = float(there)
        rate = {name: CHANCE / sum(kinds[name] == one for one in kinds.values()) for name in mine}
        rows = {"": (float((alike & inner).sum()) - sum(rate.values())) * _normal(1.0, variance)}
        for name in mine:
            one = rate[name] * _normal(names[name][1], variance)
            rows[kinds[name]] = rows.get(kinds[name], 0) + one
        density[int(middle)] = rows
    found = sorted({kinds[name] for name in names})
    return {kind: _greatest(kind, list(density.values())) for kind in found}, spread


def _normal(mean: float, variance: Floats) -> Floats:
    """Return the density of measured ratios on the grid; counting makes the variance linear in the ratio."""
    sd = np.sqrt(variance[0] + mean * (variance[1] - variance[0]))
    return np.asarray(np.exp(-0.5 * ((_GRID - mean) / sd) ** 2) / sd / np.sqrt(2 * np.pi))


def _greatest(kind: str, density: list[dict[str, Floats]]) -> float:
    """Return the greatest F1 of a kind over the thresholds of its probability."""
    mine = np.concatenate([one.get(kind, np.zeros_like(_GRID)) for one in density])
    whole = np.concatenate([np.sum(list(one.values()), axis=0) for one in density])
    order = np.argsort(-mine / np.maximum(whole, 1e-300), kind="stable")
    right, told = np.cumsum(mine[order]), np.cumsum(whole[order])
    return float((2 * right / (told + mine.sum())).max())


def main() -> None:
    """Print the table."""
    for material in MEASURED:
        if material == "graphene":
            continue  # silicon and vacancies in one sheet of carbon are far beyond noise
        for counts in DOSES:
            scores, spread = best(material, counts)
            bound = ", ".join(f"{level} {one:.3f}" for level, one in spread.items())
            said = "; ".join(f"{kind} {score:.3f}" for kind, score in scores.items())
            print(
                f"{material}, {counts:g} counts: {said}. Bound of brightness, by class: {bound}", flush=True
            )


if __name__ == "__main__":
    main()
