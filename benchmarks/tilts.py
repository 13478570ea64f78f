"""Score `abf-tilts` on thicknesses and elements it never saw: ``python benchmarks/tilts.py BANK``.

BANK is the folder that ``micdb train abf-tilts --bank BANK`` fills. Each image is 8 nm wide at 0.02 nm per
pixel, turned, drifting, with unsteady lines; the whole path is taken, from the lattice in the image to the
angles. The floors read the same mean cells: the bank's nearest image, by the correlation of its waves, and a
regression on what is measured of columns one by one: how far oxygen is displaced, second moments and depths.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from micdb.embed.nets import weights
from micdb.embed.nets.whitened import WhitenedNet
from micdb.embed.tilts.angles import NINETY, measure
from micdb.embed.tilts.cells import blurred, noisy, spectrum, whole
from micdb.embed.tilts.fold import Axes, axes_of, regions
from micdb.embed.tilts.scene import scene
from micdb.embed.train.tilts import SOURCE, Cells, cells

Floats = npt.NDArray[np.float64]

SIDE, PIXEL = 400, 0.02  # [pixel], [nm]
COUNTS = (25.0, 100.0, 400.0)  # mean, in a pixel
IMAGES = 100  # of each set
_OXYGEN, _A, _B = (
    [(row, column) for row in rows for column in columns]
    for rows, columns in (((0, 20), (7, 21)), ((10, 30), (0, 14)), ((0, 20), (0, 14)))
)
_REACH = 4, 3  # samples of the mean cell around a column, along y and x


def sets(folder: Path) -> dict[str, Cells]:
    """Return what is scored: the half of held-out crystals that did not calibrate, and unseen elements."""
    held = cells(folder, "held")
    rest = held.kept(held.crystal >= (held.crystal.max() + 1) // 2)
    return {
        "unseen thickness": rest.kept(rest.held),
        "LaFeO3": cells(folder, "LaFeO3"),
        "NdGaO3": cells(folder, "NdGaO3"),
    }


def found(some: Cells, counts: float) -> tuple[Floats, Floats, Floats]:
    """Return mean cells of images, their noise, and the truth ``(n, 5)``."""
    rng = np.random.default_rng(5)
    chosen = rng.choice(len(some.images), min(IMAGES, len(some.images)), replace=False)
    kept, truth, missed = [], [], 0
    for seed, index in enumerate(chosen):
        image = scene(
            some.images[index], float(some.constant[index]), (SIDE, SIDE), pixel_size=PIXEL, seed=seed,
            counts=counts, rotation=float(rng.uniform(-80, 80)), source=float(rng.uniform(0.025, 0.045)),
            drift=(float(rng.normal(0, 0.05)), float(rng.normal(0, 0.05))), flyback=(0.02, 0.4),
            line_jitter=0.003,
        ).astype(float)  # fmt: skip
        axes = axes_of(image, PIXEL)
        region = regions(image, axes, float(SIDE)) if isinstance(axes, Axes) else []
        missed += not region
        if region:
            kept.append(region[0])
            truth.append(some.truth[index])
    if missed:
        print(f"  ({missed} of {len(chosen)} images: no lattice found)")
    return np.array([one.cell for one in kept]), np.array([one.noise for one in kept]), np.array(truth)


def columns(some: Floats) -> Floats:
    """Return what one measures of columns in cells ``(n, y, x)``: shifts, widths and depths."""
    seen = whole(some)
    y, x = np.mgrid[-_REACH[0] : _REACH[0] + 1, -_REACH[1] : _REACH[1] + 1]
    moments = []
    for places in (_OXYGEN, _A, _B):
        each = []
        for row, column in places:
            patch = seen[:, (y + row) % seen.shape[1], (x + column) % seen.shape[2]]
            dark = patch.max(axis=(1, 2), keepdims=True) - patch
            mass = dark.sum(axis=(1, 2))
            dx, dy = ((dark * axis).sum(axis=(1, 2)) / mass for axis in (x, y))
            xx, yy = ((dark * axis**2).sum(axis=(1, 2)) / mass for axis in (x, y))
            each.append(np.stack((mass, dx, dy, xx - dx**2, yy - dy**2)))
        moments.append(np.array(each))
    turn = np.array([1, -1, -1, 1])
    swing = [np.abs(np.tensordot(turn, kind[:, axis], 1)) for kind in moments[:2] for axis in (1, 2)]
    means = [kind[:, axis].mean(axis=0) for kind in moments for axis in (0, 3, 4)]
    return np.stack([*swing, *means], axis=1)


def regression(folder: Path) -> Callable[[Floats, Floats], Floats]:
    """Return a ridge regression of angles on columns and their products, fitted to the bank."""
    taught = cells(folder, "train")
    taught = taught.kept(~taught.held)
    rng, n = np.random.default_rng(1), len(taught.images)
    moved = blurred(
        taught.images.astype(float), taught.constant,
        source=rng.uniform(0.02, 0.05, n), smear=np.zeros(n), way=np.zeros(n), shift=np.zeros((n, 2)),
    )  # fmt: skip
    seen, _ = noisy(moved, np.exp(rng.uniform(np.log(1e3), np.log(1e5), n)), rng)
    model = make_pipeline(
        StandardScaler(), PolynomialFeatures(2), StandardScaler(), RidgeCV(np.geomspace(0.1, 1e4, 11))
    )
    model.fit(columns(seen), taught.truth[:, :3])
    return lambda some, _: np.asarray(model.predict(columns(some)))


def nearest(folder: Path) -> Callable[[Floats, Floats], Floats]:
    """Return the angles of the bank's most similar image; the signs of what alternates are left out."""
    taught = cells(folder, "train")
    taught = taught.kept(~taught.held)
    n = len(taught.images)
    templates = blurred(
        taught.images.astype(float), taught.constant,
        source=np.full(n, SOURCE), smear=np.zeros(n), way=np.zeros(n), shift=np.zeros((n, 2)),
    )  # fmt: skip

    def unsigned(some: Floats) -> Floats:
        numbers = spectrum(some, np.ones(len(some)))[:, :-1].astype(float)
        power = np.abs(numbers[:, : numbers.shape[1] // 2] + 1j * numbers[:, numbers.shape[1] // 2 :])
        power -= power.mean(axis=1, keepdims=True)
        return np.asarray(power / np.linalg.norm(power, axis=1, keepdims=True))

    known = unsigned(templates)
    return lambda some, _: taught.truth[np.argmax(unsigned(some) @ known.T, axis=1), :3]


def main() -> None:
    """Print the tables."""
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    network = weights.load("abf-tilts", WhitenedNet)
    floors = {"nearest image": nearest(folder), "columns": regression(folder)}
    print(
        "mean error [deg] about beam, cross, c; 90 % intervals hold; floors; network - floor, 95 % interval"
    )
    by_mistilt: list[tuple[Floats, Floats]] = []
    for name, some in sets(folder).items():
        for counts in COUNTS:
            seen, noise, truth = found(some, counts)
            value, sd = measure(network, seen, noise)  # type: ignore[arg-type]
            error = np.abs(value - truth)
            hold = (error <= NINETY * sd)[:, :3].mean(axis=0)
            print(
                f"{name}, {counts:g} counts, {len(seen)} images: {_three(error[:, :3].mean(axis=0))}; "
                f"hold {_three(100 * hold, 0)} %; mistilt {_three(error[:, 3:].mean(axis=0))} mrad"
            )
            for floor, ask in floors.items():
                theirs = np.abs(ask(seen, noise) - truth[:, :3])
                gain = error[:, :3] - theirs
                half = 1.96 * gain.std(axis=0) / np.sqrt(len(gain))
                print(
                    f"    {floor}: {_three(theirs.mean(axis=0))}; difference {_three(gain.mean(axis=0))} "
                    f"+- {_three(half)}"
                )
            if counts > COUNTS[0]:
                by_mistilt.append((np.hypot(*truth[:, 3:].T), error[:, :3]))
    size, error = (np.concatenate(part) for part in zip(*by_mistilt, strict=True))
    for low, high in ((0, 1), (1, 2), (2, 3)):
        inside = (size >= low) & (size < high)
        print(f"mistilt {low} to {high} mrad: {_three(error[inside].mean(axis=0))} ({inside.sum()} images)")


def _three(values: Floats, digits: int = 2) -> str:
    return ", ".join(f"{one:.{digits}f}" for one in values)


if __name__ == "__main__":
    main()
