"""Score `link`: ``python benchmarks/links.py WHAT [FOLDER]``.

WHAT is ``steel``: yield strength of 312 steels from their composition, FOLDER holds ``steel_strength.csv``;
the folds are those of the published benchmark (Matbench 0.1, Dunn et al., npj Comput. Mater. 6, 138, 2020).
``uhcs``: heat treatment of ultrahigh-carbon steel from micrographs, FOLDER holds ``labels.csv`` and images;
whole specimens are left out, with a support vector machine on local binary patterns on the same folds.
``coarsening``: sizes of carbides at 800 C over time from their masks, FOLDER is uhcs_spheroidite. ``loops``:
loops in a film under irradiation against fluence, annotated and as detectors count them with what they ship
with, FOLDER is insitu_tem_loops.
``planted``: simulated tables with a known link, with a laboratory that goes with the target, and with noise.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import defect_seg
import defect_seg_loops as film
import numpy as np
import numpy.typing as npt
import pandas as pd
import particles
from PIL import Image
from scipy import ndimage
from skimage.feature import local_binary_pattern
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR

import micdb as mdb
from micdb.analysis import scores
from micdb.analysis.folds import grouped_folds, image_folds
from micdb.analysis.gather import Vectors
from micdb.analysis.kinetics import coarsening
from micdb.analysis.linking.design import build_design
from micdb.analysis.linking.link import CHOICES, fit_link
from micdb.analysis.linking.link import link as mdb_link
from micdb.analysis.linking.validate import cross_predict
from micdb.analysis.threads import one_thread
from micdb.embed.extractors.particles import Particles
from micdb.embed.micro.objects import measure

Floats = npt.NDArray[np.float64]

ELEMENTS = ("c", "mn", "si", "cr", "ni", "mo", "v", "n", "nb", "co", "w", "al", "ti")
MATBENCH = {"n_splits": 5, "shuffle": True, "random_state": 18012019}
LEVEL = 0.9
SEEDS, GROUPS, IMAGES = 100, 40, 4
TUNING = 15  # simulated foils that the threshold of blobs is chosen on
MAP = """
file = "file"
sample = "sample_key"
material = { value = "UHCS" }
[pixel_size]
column = "um_per_px"
unit = "um"
[[step]]
kind = "anneal"
temperature = { column = "anneal_temperature_C", unit = "degC" }
time = { column = "anneal_minutes", unit = "min" }
cooling = { column = "cool_method" }
"""
SPACES = ("micro@px", "texture@px")
EMBEDDINGS = " + ".join(f'embedding("{space}")' for space in SPACES)


def steel(folder: Path) -> None:
    """Print the mean absolute error of every model, fold by fold, and the coverage of its intervals."""
    table = pd.read_csv(folder / "steel_strength.csv").rename(columns={"yield strength": "strength"})
    table = table.assign(uid=table.index.astype(str), steel=table.index.astype(str))
    design = build_design(table, "strength ~ " + " + ".join(ELEMENTS), groups="steel")
    fold = np.empty(len(table), dtype=np.int64)
    for k, (_, test) in enumerate(KFold(**MATBENCH).split(np.arange(len(table)))):
        fold[test] = k
    with one_thread():
        out = cross_predict(
            design, ("baseline", "ridge", "elastic", "gp", "trees"), fold=fold, seed=0, level=LEVEL
        )
    print(f"{len(table)} steels, MAE [MPa], mean and standard deviation over the 5 folds")
    for name, guess in out.predicted.items():
        error = np.abs(design.y - guess)
        each = np.array([error[fold == k].mean() for k in range(5)])
        covered = scores.coverage(design.y, out.low[name], out.high[name], design.groups)
        print(f"{name:>9} {each.mean():7.1f} +- {each.std():4.1f}, 90 % intervals cover {covered:.3f}")


def uhcs(folder: Path) -> None:
    """Print how well temperature, logarithm of time and cooling are told of specimens left out."""
    with tempfile.TemporaryDirectory() as work:
        (Path(work) / "map.toml").write_text(MAP)
        with mdb.init(Path(work) / "uhcs.micdb") as db:
            db.ingest(folder / "images", sheet=folder / "labels.csv", map=Path(work) / "map.toml")
            for extractor in ("texture", "micro"):
                db.populate(extractor, workers=2)
            for target in ("anneal_temperature", "log10(anneal_time)"):
                fit = db.images.link(f"{target} ~ {EMBEDDINGS}", models=CHOICES)
                print(fit, "\n")
                each = fit.predictions.groupby(["model", "group"])[["observed", "predicted"]].mean()
                for name, one in each.groupby("model"):
                    r2 = scores.r2(one["observed"].to_numpy(), one["predicted"].to_numpy())
                    print(f"{name:>9}, mean over the images of a specimen: R2 {r2:.3f}")
            fit = db.images.classify("anneal_cooling", embedding=SPACES)
            print(fit, "\n")
            table = db.images[
                ["uid", "sample", "anneal_temperature", "anneal_time", "anneal_cooling"]
            ].to_pandas()
            patterns = np.array([_patterns(one.pixels[0]) for one in db.pictures(table["uid"])])
    for by in ("specimen", "image"):
        groups = pd.factorize(table["sample"])[0]
        fold = grouped_folds(groups, 5, seed=0) if by == "specimen" else image_folds(len(table), 5, seed=0)
        for name in ("anneal_temperature", "anneal_time"):
            y = table[name].to_numpy(np.float64)
            y = np.log10(y) if name == "anneal_time" else y
            guess = _machine(patterns, y, fold, SVR(C=10.0 * float(y.std()), epsilon=0.1 * float(y.std())))
            r2, error = scores.r2(y, guess), scores.mae(y, guess)
            print(f"LBP + SVM, folds by {by}, {name}: R2 {r2:.3f}, MAE {error:.3g}")
        shared = table.groupby("anneal_cooling")["sample"].transform("nunique").to_numpy() > 1
        number, names = pd.factorize(table["anneal_cooling"][shared], sort=True)  # as `classify` takes them
        guess = _machine(patterns[shared], number, fold[shared], SVC(C=10.0, class_weight="balanced"))
        confusion = np.zeros((len(names), len(names)))
        np.add.at(confusion, (number, guess.astype(int)), 1)
        right = float((number == guess).mean())
        f1 = float(scores.macro_f1(confusion))
        print(f"LBP + SVM, folds by {by}, cooling: accuracy {right:.3f}, macro-F1 {f1:.3f}")


def coarsened(folder: Path) -> None:
    """Print area-weighted mean diameters of the parts of masks at 800 C, and the law they follow."""
    labels = pd.read_csv(folder / "labels.csv")
    labels = labels[(labels["anneal_temperature_C"] == 800) & labels["um_per_px"].notna()]
    rows = []
    for hours, mine in labels.groupby(labels["anneal_minutes"] / 60):
        each = [_weighted(folder / one.mask, one.um_per_px) for one in mine.itertuples()]
        diameter, weight = (np.concatenate(one) for one in zip(*each, strict=True))
        mean = float(np.average(diameter, weights=weight))
        of_images = [float(np.average(size, weights=area)) for size, area in each]
        sd = float(np.std(of_images, ddof=1) / np.sqrt(len(each)))  # images differ by more than particles
        rows.append((hours, mean, sd))
        print(f"{hours:g} h: {mean:.2f} +- {sd:.2f} um, {len(diameter)} particles, {len(mine)} images")
    found = coarsening(*np.array(rows).T)
    print(
        f"d**n = d0**n + k t: n {found.exponent:.1f} ({found.low:.1f} to {found.high:.1f}), "
        f"d0 {found.start:.2f} um, misfit {found.misfit:.1f}"
    )


def loops(folder: Path) -> None:
    """Print how loops go with fluence: annotated ones, and those that detectors count."""
    labels, boxes = pd.read_csv(folder / "labels.csv"), pd.read_csv(folder / "boxes.csv")
    frame = next(name for name in ("frame", "image", "file") if name in labels and name in boxes)
    table = labels.assign(loops=labels[frame].map(boxes[frame].value_counts())).rename(
        columns={"fluence_1e14_ions_cm2": "fluence"}
    )
    known = table.dropna(subset=["fluence", "loops"])
    print(f"Pearson r {np.corrcoef(known['fluence'], known['loops'])[0, 1]:.3f} of {len(known)} frames")
    print(mdb_link(table, "loops ~ fluence", groups=frame, models=["ridge"], level=0.8))
    said = _counted(folder, boxes)
    print(said.to_string())
    fluence = said.index.map(labels.set_index("image")["fluence_1e14_ions_cm2"])
    for name, counts in said.items():
        with_fluence, with_people = (
            counts.corr(pd.Series(other, said.index)) for other in (fluence, said["annotated"])
        )
        print(
            f"{name}: Pearson r {with_fluence:.3f} with fluence, {with_people:.3f} with what was annotated, "
            f"{counts.sum() / said['annotated'].sum():.2f} times as many"
        )


def _counted(folder: Path, boxes: pd.DataFrame) -> pd.DataFrame:
    """Return how many loops each method counts in each frame, less what is burned in."""
    asked = {"particles": Particles(), "Otsu's threshold": Particles(method="threshold")}
    least = defect_seg.thresholds(TUNING)["loop"]
    rows = {}
    for name, drawn in boxes.groupby("image"):
        image = np.asarray(Image.open(folder / name).convert("L"), np.float32)[film._FIELD]
        found = {
            "annotated": drawn[["x0", "y0", "x1", "y1"]].to_numpy(np.float64),
            **{who: particles.said_of(image, one).box for who, one in asked.items()},
            **film.ours(image),
            "blobs": film.blobs(image, least),
        }
        rows[name] = {who: len(film.clear(each)) for who, each in found.items()}
    return pd.DataFrame.from_dict(rows, orient="index")


def _weighted(mask: Path, um_per_px: float) -> tuple[Floats, Floats]:
    """Return the diameters of the parts of a mask [um] and their areas."""
    parts = measure(ndimage.label(np.array(Image.open(mask).convert("L")) > 0)[0].astype(np.int32))
    return parts.diameter * um_per_px, parts.area_px.astype(np.float64)


def planted(chosen: Sequence[str]) -> None:
    """Print how often models find a link where there is one, none, or a lab in the way."""
    for what in ("link", "noise", "confounder"):
        found, covered, told, gaps = [], [], [], []
        for seed in range(SEEDS):
            table, vectors = _planted(what, seed)
            design = build_design(
                table, 'hardness ~ embedding("texture")', embeddings={"texture": vectors}, metadata=("lab",)
            )
            fit = fit_link(design, chosen=chosen, hold_out="lab", seed=seed)
            found.append(fit.found)
            told.append("confounder" in fit.verdict)
            row = fit.table.set_index("model").loc[chosen[0]]
            covered.append(row["coverage"])
            gaps.append(row["r2_grouped"])
        print(
            f"{what}: found in {np.sum(found)} of {SEEDS}, called a confounder in {np.sum(told)}; "
            f"{chosen[0]}: grouped R2 {np.mean(gaps):.3f}, 90 % intervals cover {np.mean(covered):.3f}",
            flush=True,
        )  # fmt: skip


def _planted(what: str, seed: int) -> tuple[pd.DataFrame, Vectors]:
    """Return samples of two labs with vectors: four numbers of each follow what is planted, 16 are noise."""
    rng = np.random.default_rng(seed)
    each = np.repeat(np.arange(GROUPS), IMAGES)
    lab = rng.permutation(np.arange(GROUPS) % 2)
    structure, rest = rng.normal(size=GROUPS), rng.normal(size=GROUPS)
    x = 0.3 * rng.normal(size=(len(each), 20))
    hardness = {"link": structure + 0.5 * rest, "noise": rest, "confounder": 2.0 * lab + 0.5 * rest}[what]
    x[:, :4] += (1.5 * lab if what == "confounder" else structure)[each, None]
    table = pd.DataFrame({
        "uid": np.arange(len(each)).astype(str), "sample": each.astype(str),
        "lab": np.array(["Delft", "Jena"])[lab[each]], "hardness": hardness[each],
    })  # fmt: skip
    return table, Vectors("texture", table["uid"], x)


def _patterns(image: npt.NDArray[np.floating]) -> Floats:
    codes = local_binary_pattern(image.round().astype(np.uint8), 8, 1, method="uniform")
    return np.bincount(codes.astype(int).ravel(), minlength=10) / codes.size


def _machine(
    x: Floats, y: npt.NDArray[np.generic], fold: npt.NDArray[np.int64], machine: SVC | SVR
) -> Floats:
    guess = np.empty(len(y))
    for k in np.unique(fold):
        made = make_pipeline(StandardScaler(), machine).fit(x[fold != k], y[fold != k])
        guess[fold == k] = made.predict(x[fold == k])
    return guess


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    folders = {"steel": steel, "uhcs": uhcs, "coarsening": coarsened, "loops": loops}
    parser.add_argument("what", choices=(*folders, "planted"))
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--models", nargs="+", default=["ridge"], choices=CHOICES, help="of planted links")
    given = parser.parse_args()
    if given.what == "planted":
        planted(given.models)
    elif given.folder is None:
        parser.error(f"{given.what} needs a FOLDER")
    else:
        folders[given.what](given.folder)


if __name__ == "__main__":
    main()
