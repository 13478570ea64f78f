"""Score `vae`: ``python benchmarks/latents.py WHAT [FOLDER] [--steps N] [--kinds rvae,...]``.

WHAT is ``turned``: how far turning a window moves the latent variables, and what they tell of images that the
autoencoder has not seen, on simulations. ``planted``: simulated specimens of particles whose size is planted,
linked. ``uhcs``: heat treatment of ultrahigh-carbon steel, FOLDER holds ``labels.csv`` and images.

Links are scored fold by fold: an autoencoder sees pixels, so each is taught the images of the training
specimens alone, and so is the regression; the folds are those of `link`.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from PIL import Image
from scipy import ndimage

from micdb.analysis import scores
from micdb.analysis.folds import grouped_folds
from micdb.analysis.linking.design import build_design
from micdb.analysis.linking.validate import cross_predict
from micdb.analysis.threads import one_thread
from micdb.embed.extractors.vae import Latents
from micdb.embed.micro.windows import windows
from micdb.embed.nets import weights
from micdb.embed.nets.vae import Vae
from micdb.embed.simulate.lattices import crystal
from micdb.embed.simulate.microstructures.lamellae import pearlite
from micdb.embed.simulate.microstructures.particles import spheroidite
from micdb.embed.simulate.microstructures.sem import Detector, scan
from micdb.embed.simulate.microstructures.view import View
from micdb.embed.simulate.stem import Probe, adf_image
from micdb.embed.train.vae import SIDE, STEPS, Shown, explained, teach
from micdb.records import Picture, Refusal

Floats = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.float32]

FIELD = 96  # [pixel]
TAUGHT, UNSEEN = 200, 100  # images
PARTS = 3  # of an unseen image
AROUND = 56  # [pixel] of what is turned, so that the window in its middle has no empty corners
PIXEL = 20.0  # [nm] of microstructures; only lengths in pixels matter
HALF = 0.204  # [nm] between columns of Au [001]
SPECIMENS, IMAGES = 30, 4
LATENT, FOLDS = 4, 5
MODELS = ("baseline", "ridge", "gp", "trees")
TRUTH = {
    "bars": ("width", "spacing"),
    "lamellae": ("spacing", "fraction"),
    "particles": ("diameter", "fraction"),
    "columns": ("spacing", "probe"),
}


def simulated(kind: str, seed: int, first: float | None = None) -> tuple[Pixels, tuple[float, float]]:
    """Return an image ``(96, 96)`` and the two numbers of `TRUTH` that made it; lengths in pixels."""
    rng = np.random.default_rng((77, seed))
    sub = int(rng.integers(1 << 31))
    if kind == "bars":
        y, x = np.mgrid[:FIELD, :FIELD]
        width, spacing, turn = rng.uniform(1.5, 7), rng.uniform(14, 24), rng.uniform(0, math.pi)
        across = (x * math.cos(turn) + y * math.sin(turn) + rng.uniform(0, spacing)) % spacing - spacing / 2
        edge = 1 / (1 + np.exp(2 * (np.abs(across) - width / 2)))
        return (edge + 0.05 * rng.normal(size=edge.shape)).astype(np.float32), (width, spacing)
    if kind == "columns":
        spacing, probe = rng.uniform(5, 10), rng.uniform(0.15, 0.3) * HALF
        size = HALF / spacing
        gold = crystal("Au[001]", (FIELD * size,) * 2, seed=sub, rotation=rng.uniform(0, 90), jitter=0.005)
        image = adf_image(
            gold, (FIELD, FIELD), pixel_size=size, seed=sub, counts=60, probe=Probe(probe)
        ).image
        return image, (spacing, probe / size)
    length, fraction = math.exp(rng.uniform(math.log(5), math.log(14))), rng.uniform(0.2, 0.45)
    length = length if first is None else first
    view = View((FIELD, FIELD), PIXEL)
    if kind == "lamellae":
        scene = pearlite(view, spacing=length * PIXEL, fraction=fraction, colony=60, seed=sub)
    else:
        scene = spheroidite(
            view, diameter=length * PIXEL, fraction=fraction, spread=0.15, seed=sub, parted=True
        )
    seen = Detector(edge=0.2, electrons=200, blur=10, shading=0.2)
    return scan(scene, seen, seed=sub).astype(np.float32), (length, fraction)


def turned(kinds: Sequence[str], steps: int) -> None:
    """Print, of simulations, how far turns move the latent variables and what those tell."""
    for structure, names in TRUTH.items():
        images, truth = zip(*[simulated(structure, seed) for seed in range(TAUGHT + UNSEEN)], strict=True)
        known = np.array(truth)
        for kind in kinds:
            with tempfile.TemporaryDirectory() as work:
                made = _taught(kind, images[:TAUGHT], known[:TAUGHT, :1], Path(work), steps=steps)
                network = weights.load("vae", Vae, Path(work))
                found = _means([Picture(0, one[None], None, None, None, None) for one in images], Path(work))
            assert isinstance(network, Vae)  # noqa: S101 (for the type)
            parts = _parts(images[TAUGHT:])
            levels = [
                (np.repeat(known[TAUGHT:, 0], PARTS) - mean) / sd
                for mean, sd in made.recipe["conditions"].values()
            ]
            told = np.array(levels, np.float32).reshape(-1, len(parts)).T
            by_quarter, by_any, spread = _moved(network, parts)
            print(
                f"{structure}, {kind}: moved by 90 degrees {by_quarter:.3f}, by any angle {by_any:.3f} of "
                f"the spread {spread.round(2)}; drawn again {explained(network, _middles(parts), told):.3f}; "
                + ", ".join(f"R2 of {name} {_told(found, known[:, at]):.2f}" for at, name in enumerate(names))
                + f"; {made.measured['training']}",
                flush=True,
            )


def _moved(network: Vae, parts: Pixels) -> tuple[float, float, Floats]:
    """Return how far turns by 90 degrees and by any angle move the variable that moves most, and spreads."""
    code = _codes(network, parts)
    turns = np.random.default_rng(2).uniform(0, 360, len(parts))
    by_any = [
        ndimage.rotate(one, turn, reshape=False, order=3, mode="reflect")
        for one, turn in zip(parts, turns, strict=True)
    ]
    spread = code.std(axis=0)
    quarter, any_ = (
        float((np.abs(_codes(network, np.stack(after)) - code).mean(axis=0) / spread).max())
        for after in ([np.rot90(one) for one in parts], by_any)
    )
    return quarter, any_, spread


def planted(kinds: Sequence[str], steps: int) -> None:
    """Print how well the planted size of particles is told of specimens left out."""
    rng = np.random.default_rng(3)
    rows, pictures = [], []
    for specimen, size in enumerate(np.exp(rng.uniform(math.log(5), math.log(14), SPECIMENS))):
        for number in range(IMAGES):
            image, _ = simulated("particles", 1000 + specimen * IMAGES + number, float(size))
            pictures.append(Picture(len(pictures), image[None], None, "SEM", None, None))
            rows.append((f"S{specimen}", float(size)))
    table = pd.DataFrame(rows, columns=["sample", "size"])
    _linked(pictures, table, ("size",), ("size",), kinds=kinds, steps=steps)


def uhcs(folder: Path, kinds: Sequence[str], steps: int) -> None:
    """Print how well temperature and the logarithm of time are told of specimens left out."""
    labels = pd.read_csv(folder / "labels.csv")
    pictures = [
        Picture(
            at, np.asarray(Image.open(folder / name).convert("L"), np.float32)[None], None, "SEM", None, None
        )
        for at, name in enumerate(labels["file"])
    ]
    table = pd.DataFrame({
        "sample": labels["sample_key"].astype(str), "temperature": labels["anneal_temperature_C"],
        "log10_time": np.log10(labels["anneal_minutes"]),
    })  # fmt: skip
    both = ("temperature", "log10_time")
    _linked(pictures, table, both, both, kinds=kinds, steps=steps)


def _linked(
    pictures: Sequence[Picture], table: pd.DataFrame, targets: Sequence[str], conditions: Sequence[str],
    *, kinds: Sequence[str], steps: int,
) -> None:  # fmt: skip
    """Print scores of links to latent variables of autoencoders that saw the training specimens alone."""
    fold = grouped_folds(pd.factorize(table["sample"])[0], FOLDS, seed=0)
    images, known = [one.pixels[0] for one in pictures], table[list(conditions)].to_numpy(np.float64)
    terms = " + ".join(f"z{at}" for at in range(LATENT))
    print(f"{len(table)} images of {table['sample'].nunique()} specimens", flush=True)
    for kind in kinds:
        guess = {(target, model): np.empty(len(table)) for target in targets for model in MODELS}
        shares = []
        for k in range(FOLDS):
            with tempfile.TemporaryDirectory() as work:
                taught = np.flatnonzero(fold != k)
                made = _taught(kind, [images[at] for at in taught], known[taught], Path(work), steps=steps)
                found = _means(pictures, Path(work))
            shares.append(made.measured["explained"].split()[0])
            each = table.assign(
                uid=table.index.astype(str), **{f"z{at}": found[:, at] for at in range(LATENT)}
            )
            for target in targets:
                design = build_design(each, f"{target} ~ {terms}", groups="sample")
                with one_thread():
                    out = cross_predict(design, MODELS, fold=(fold == k).astype(np.int64), seed=0)
                for model in MODELS:
                    guess[target, model][fold == k] = out.predicted[model][fold == k]
        print(f"{kind}: drawn again {', '.join(shares)} of what was taught, fold by fold")
        for (target, model), said in guess.items():
            y = table[target].to_numpy(np.float64)
            print(
                f"  {target}, {model}: R2 {scores.r2(y, said):.3f}, MAE {scores.mae(y, said):.3g}", flush=True
            )


def _taught(
    kind: str, images: Sequence[Pixels], known: Floats, folder: Path, *, steps: int
) -> weights.Weights:
    """Teach an autoencoder: ``vae``, ``rvae``, or ``cvae`` and ``crvae``, which are told what is known."""
    conditional = kind.startswith("c")
    shown = [
        Shown(one / float(np.abs(one).max()), tuple(row) if conditional else ())
        for one, row in zip(images, known.tolist(), strict=True)
    ]
    names = [f"c{at}" for at in range(known.shape[1])] if conditional else []
    return teach(shown, folder, latent=LATENT, invariant="r" in kind, conditions=names, steps=steps)


def _means(pictures: Sequence[Picture], folder: Path) -> Floats:
    """Return the latent variables of pictures ``(n, latent)``, as `vae` gives them."""
    rows = []
    for one in Latents(weights=str(folder / "vae.safetensors")).extract(pictures):
        if isinstance(one, Refusal):
            raise SystemExit(one.reason)
        rows.append(one.tables["latents"]["value"].to_numpy())
    return np.array(rows)


def _told(found: Floats, truth: Floats) -> float:
    """Return R2 on unseen images of a ridge regression on latent variables and their products."""
    x = (found - found[:TAUGHT].mean(axis=0)) / (found[:TAUGHT].std(axis=0) + 1e-9)
    first, second = np.triu_indices(x.shape[1])
    x = np.column_stack((x, x[:, first] * x[:, second], np.ones(len(x))))
    a, b = x[:TAUGHT], truth[:TAUGHT]
    weight = np.linalg.solve(a.T @ a + np.eye(x.shape[1]), a.T @ b)
    return float(scores.r2(truth[TAUGHT:], x[TAUGHT:] @ weight))


def _parts(images: Sequence[Pixels]) -> Pixels:
    """Return some parts of each image ``(n, 56, 56)``."""
    rng = np.random.default_rng(1)
    corners = rng.integers(0, FIELD - AROUND, (len(images), PARTS, 2))
    return np.stack([
        image[top : top + AROUND, left : left + AROUND]
        for image, some in zip(images, corners, strict=True) for top, left in some
    ])  # fmt: skip


def _middles(parts: Pixels) -> Pixels:
    start = (AROUND - SIDE) // 2
    middle = parts[:, start : start + SIDE, start : start + SIDE]
    return np.concatenate([windows(one, SIDE) for one in middle])


def _codes(network: Vae, parts: Pixels) -> Floats:
    with torch.inference_mode():
        seen = network.seen(torch.from_numpy(_middles(parts))[:, None])
        return np.asarray(network.encode(seen)[0].numpy(), np.float64)


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("turned", "planted", "uhcs"))
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--kinds", default="vae,rvae,crvae")
    parser.add_argument("--steps", type=int, default=STEPS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    kinds = given.kinds.split(",")
    if given.what == "uhcs":
        if given.folder is None:
            parser.error("uhcs needs a FOLDER")
        uhcs(given.folder, kinds, given.steps)
    else:
        {"turned": turned, "planted": planted}[given.what](kinds, given.steps)


if __name__ == "__main__":
    main()
