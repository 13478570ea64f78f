"""How many places motif search finds, of all there are: against a search that tries every assignment.

::

    python benchmarks/motif_recall.py [--rounds 30] [--seed 0]

Small pieces of graphene with three atoms missing, noise of 0 to 10 % of the bond length along each axis,
motifs of 5 to 8 atoms cut out of the perfect lattice or out of the noisy one. `found` is the share of all
places with an RMSD up to the limit, `inner` the same for those up to half of it, `false` what should not have
been found.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import numpy as np

from micdb.errors import UsageError
from micdb.query.motif.motif import Motif

ROOT = Path(__file__).resolve().parents[1]
plane = SimpleNamespace(**run_path(str(ROOT / "tests" / "micdb" / "query" / "motif" / "conftest.py")))

NOISE = (0.0, 0.01, 0.03, 0.06, 0.10)
LIMITS = (0.01, 0.02, 0.03)  # [nm]
SIDE = 1.5  # [nm]


def scene(rng: np.random.Generator, noise: float) -> np.ndarray:
    """Return the atoms of a piece of graphene."""
    xy = plane.turned(plane.honeycomb(2 * SIDE)[0], rng.uniform(0, 360), shift=rng.uniform(-0.1, 0.1, 2))
    xy = xy[(np.abs(xy) < SIDE / 2).all(axis=1)]
    xy = np.delete(xy, rng.choice(len(xy), 3, replace=False), axis=0)
    return np.float32(xy + rng.normal(0, noise * plane.BOND, xy.shape) + SIDE).astype(float)


def region(rng: np.random.Generator, xy: np.ndarray) -> Motif | None:
    """Return some atoms nearest to a place, turned and perhaps mirrored; None where they are no motif."""
    source = xy if rng.random() < 0.5 else plane.honeycomb(2.0)[0]
    inner = source[np.hypot(*(source - source.mean(axis=0)).T) < SIDE / 3]
    where = inner[rng.integers(len(inner))] + rng.normal(0, 0.05, 2)
    near = source[np.argsort(np.hypot(*(source - where).T))[: rng.integers(5, 9)]]
    try:
        return Motif(plane.turned(near, rng.uniform(0, 360), mirror=rng.random() < 0.5))
    except UsageError:
        return None


def main() -> None:
    """Print one line for each noise and limit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    print("noise  limit [nm]  places   found   inner  false")
    for noise in NOISE:
        for limit in LIMITS:
            places = hit = inner = inner_hit = false = 0
            for _ in range(options.rounds):
                xy = scene(rng, noise)
                motif = region(rng, xy)
                if motif is None or limit > motif.shortest / 2:
                    continue
                rule = {"max_rmsd": limit, "mirror": rng.random() < 0.7, "extra": rng.random() < 0.3}
                found, expected = plane.search(xy, motif, **rule), plane.exhaustive(xy, motif, **rule)
                near = {one for one, rmsd in expected.items() if rmsd <= limit / 2}
                places, hit = places + len(expected), hit + len(expected.keys() & found.keys())
                inner, inner_hit = inner + len(near), inner_hit + len(near & found.keys())
                false += len(found.keys() - expected.keys())
            print(f"{noise:5.0%} {limit:11g} {places:7,} {hit / max(places, 1):7.4f} "
                  f"{inner_hit / max(inner, 1):7.4f} {false:6}")  # fmt: skip


if __name__ == "__main__":
    main()
