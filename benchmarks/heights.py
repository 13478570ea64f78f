"""Score `column-heights` on simulated particles beside a mixture: ``python benchmarks/heights.py``.

Particles of gold, platinum, silver and copper along [001], [110] and [111], up to 14 atoms high, 30 counts
in the brightest pixel. The peer is the idea of StatSTEM (Van Aert et al. 2011): a mixture of normal
distributions of free means and one width over the intensities of the same columns, its number of components
by the integrated completed likelihood, the atoms by the order of the means.
"""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import torch
from scipy.spatial import cKDTree
from sklearn.mixture import GaussianMixture

from micdb.embed.extractors.column_heights import ColumnHeights
from micdb.embed.simulate.metals import nanoparticle
from micdb.embed.simulate.stem import Probe, StemImage, adf_image
from micdb.records import Picture

PIXEL, SIDE, COUNTS = 0.016, 256, 30.0  # [nm], [pixel], in the brightest pixel
AXES = ((0, 0, 1), (1, 1, 0), (1, 1, 1))
SEEDS = range(100, 105)


def simulate(metal: str, axis: tuple[int, int, int], seed: int) -> StemImage:
    """Return an image of one particle on an even background."""
    rng = np.random.default_rng(seed)
    particle = nanoparticle(
        metal,
        (SIDE * PIXEL,) * 2,
        seed=seed,
        diameter=rng.uniform(2.0, 3.0),
        axis=axis,
        rotation=rng.uniform(0, 90),
    )
    return adf_image(
        particle, (SIDE, SIDE), pixel_size=PIXEL, seed=seed, counts=COUNTS, probe=Probe(0.04, 0.15, 0.085)
    )


def mixture(value: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Return the atoms of columns by a mixture of free means and the integrated completed likelihood."""
    best, atoms = np.inf, np.ones(len(value), dtype=np.int64)
    for components in range(1, 16):
        model = GaussianMixture(components, covariance_type="tied", n_init=3, random_state=0).fit(
            value[:, None]
        )
        belief = model.predict_proba(value[:, None])
        charge = model.bic(value[:, None]) - 2 * float((belief * np.log(belief + 1e-300)).sum())
        if charge < best:
            rank = np.argsort(np.argsort(model.means_[:, 0]))
            best, atoms = charge, rank[belief.argmax(axis=1)] + 1
    return atoms


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    extractor, rows = ColumnHeights(), []
    for metal, axis in itertools.product(("Au", "Pt", "Ag", "Cu"), AXES):
        for seed in SEEDS:
            one = simulate(metal, axis, seed)
            picture = Picture(0, one.image[None], (PIXEL, PIXEL), "STEM", None, "")
            found = next(iter(extractor.extract([picture]))).tables["heights"].to_pandas()
            distance, nearest = cKDTree(one.xy).query(found[["x_nm", "y_nm"]])
            hit = distance < 0.05
            truth, said = one.atoms[nearest[hit]], found[hit]
            value = said["scattering"].to_numpy()
            high = truth > truth.max() / 2
            step = float(np.median(value[high] / truth[high]))
            known = (
                next(iter(ColumnHeights(one_atom=step).extract([picture]))).tables["heights"].to_pandas()[hit]
            )
            answers = {
                "column-heights": said["atoms"].to_numpy(),
                "one atom known": known["atoms"].to_numpy(),
                "mixture": mixture(value),
            }
            off = {name: np.abs(answer - truth) for name, answer in answers.items()}
            rows.append(
                [axis, truth.max(), said["probability"].mean(), len(truth) / len(one.xy)]
                + [
                    number
                    for name in answers
                    for number in ((off[name] == 0).mean(), (off[name] <= 1).mean())
                ]
            )
        part = np.array([row[1:] for row in rows[-len(SEEDS) :]], dtype=float).mean(axis=0)
        about = f"tallest {part[0]:4.1f}  found {part[2]:.3f}  said {part[1]:.2f}"
        print(f"{metal} {axis}  {about} | {shares(part)}", flush=True)
    every = np.array([row[1:] for row in rows], dtype=float)
    sure = every[:, 1] > 0.8
    for name, part in (("all", every), ("said > 0.8", every[sure])):
        print(f"{name} ({len(part)} particles): {shares(part.mean(axis=0))}")


def shares(part: npt.NDArray[np.float64]) -> str:
    """Return the shares of exact counts and of those within one, for each way of counting."""
    return " | ".join(f"{exact:.3f} {within:.3f}" for exact, within in part[3:].reshape(3, 2))


if __name__ == "__main__":
    main()
