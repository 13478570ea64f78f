"""Score `column-heights` on simulated high-resolution TEM images: ``python benchmarks/tem_heights.py``.

Particles of five metals along three axes, 30 counts per pixel, by multislice. T0 has microscopes of the range
that the network was taught with (other seeds), T1 others: more underfocus, more focal spread, a voltage in
between. The peer is the nearest template: the mean picture of columns of each height, from eight particles of
the same metal, axis, direction and microscope without noise, compared at the true positions. It is told all
of these; `column-heights` is told metal and voltage.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from scipy.spatial import cKDTree

from micdb.embed.extractors.column_heights import ColumnHeights
from micdb.embed.simulate.hrtem import hrtem_image
from micdb.embed.simulate.metals import nanoparticle
from micdb.embed.simulate.probe import Optics
from micdb.embed.simulate.stem import StemImage
from micdb.records import Picture

Floats = npt.NDArray[np.float64]

PIXEL, SIDE, COUNTS = 0.018, 224, 30.0  # [nm], [pixel], per pixel
METALS = ("Au", "Pt", "Ag", "Cu", "Ni")
AXES = ((0, 0, 1), (1, 1, 0), (1, 1, 1))
SEEDS = range(40, 42)
TEMPLATES, HALF = 8, 6  # particles, [pixel]
MOST = 12  # atoms


@dataclass(frozen=True, slots=True)
class Kind:
    """A metal, its axis along the beam, its direction [deg] and the microscope."""

    metal: str
    axis: tuple[int, int, int]
    rotation: float
    lens: Optics


def microscope(tier: str, seed: int) -> Optics:
    """Return an objective."""
    rng = np.random.default_rng((seed, 3))
    if tier == "T0":
        return Optics(
            300.0, 25.0, defocus=rng.uniform(4.0, 8.0), c3=rng.uniform(-15.0, -5.0), source=0.02,
            focal_spread=rng.uniform(2.0, 4.0), astigmatism=0.5, astigmatism_angle=rng.uniform(0, 180),
        )  # fmt: skip
    return Optics(
        250.0,
        25.0,
        defocus=rng.uniform(10.0, 13.0),
        c3=rng.uniform(5.0, 10.0),
        source=0.025,
        focal_spread=6.0,
    )


def particle_image(what: Kind, seed: int, counts: float) -> StemImage:
    """Return the image of one particle."""
    rng = np.random.default_rng((seed, 11))
    field = (SIDE * PIXEL, SIDE * PIXEL)
    made = nanoparticle(
        what.metal, field, seed=seed, diameter=rng.uniform(1.8, 3.2), axis=what.axis, rotation=what.rotation,
        missing=0.2,
    )  # fmt: skip
    tilt = rng.normal(0.0, 3.0, 2)  # [mrad]
    made = made.mistilted(float(tilt[0]), float(tilt[1]))
    film = 1.0 if seed % 2 else 0.0  # [nm]
    return hrtem_image(
        made, (SIDE, SIDE), pixel_size=PIXEL, seed=seed, lens=what.lens, counts=counts, support=film
    )


def patches(one: StemImage) -> Floats:
    """Return the surroundings of each column ``(n, pixels)`` relative to the mean of the image."""
    step = np.arange(-HALF, HALF + 1)
    y, x = np.meshgrid(step, step, indexing="ij")
    near = np.hypot(y, x) <= HALF
    at = one.xy / PIXEL
    places = np.stack((at[:, 1, None] + y[near], at[:, 0, None] + x[near]))
    return np.asarray(ndimage.map_coordinates(one.image / one.image.mean(), places, order=1, mode="nearest"))


def nearest_template(one: StemImage, what: Kind) -> npt.NDArray[np.int64]:
    """Return the heights of all columns by the most alike mean picture."""
    shown = [particle_image(what, 500 + n, 1e5) for n in range(TEMPLATES)]
    value, height = np.concatenate([patches(s) for s in shown]), np.concatenate([s.atoms for s in shown])
    known = np.unique(height)
    mean = np.array([value[height == h].mean(axis=0) for h in known])
    return known[((patches(one)[:, None] - mean) ** 2).sum(axis=2).argmin(axis=1)]


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    for tier in ("T0", "T1"):
        rows = []
        for metal, axis in itertools.product(METALS, AXES):
            kinds = (Kind(metal, axis, 40.0 * seed, microscope(tier, seed)) for seed in SEEDS)
            rows += [compare(what, seed) for what, seed in zip(kinds, SEEDS, strict=True)]
            part = np.mean(rows[-len(SEEDS) :], axis=0)
            print(f"{tier} {metal} {axis}: {told(part)}", flush=True)
        print(f"{tier} all ({len(rows)} particles): {told(np.mean(rows, axis=0))}")


def compare(what: Kind, seed: int) -> list[float]:
    """Return shares: columns found; exact, within one, said by the network; exact, within one by template."""
    one = particle_image(what, seed, COUNTS)
    picture = Picture(0, one.image[None], (PIXEL, PIXEL), "TEM", None, "")
    answer = next(iter(ColumnHeights(element=what.metal, voltage_kv=what.lens.voltage).extract([picture])))
    found = answer.tables["heights"].to_pandas()
    low = one.atoms <= MOST
    distance, nearest = cKDTree(found[["x_nm", "y_nm"]]).query(one.xy)
    hit = (distance < 0.05) & low
    off = np.abs(found["atoms"].to_numpy()[nearest[hit]] - one.atoms[hit])
    floor = np.abs(nearest_template(one, what)[hit] - one.atoms[hit])
    sure = found["probability"].to_numpy()[nearest[hit]].mean()
    exact, within = ([(part <= most).mean() for part in (off, floor)] for most in (0, 1))
    return [hit.sum() / low.sum(), exact[0], within[0], sure, exact[1], within[1]]


def told(part: npt.NDArray[np.float64] | list[float]) -> str:
    """Return a row of the table."""
    found, exact, within, sure, floor, floor_within = part
    return (
        f"found {found:.3f}  exact {exact:.3f} within one {within:.3f} said {sure:.2f} | "
        f"nearest template {floor:.3f} {floor_within:.3f}"
    )


if __name__ == "__main__":
    main()
