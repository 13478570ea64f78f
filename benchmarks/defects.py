"""Score `stem-defects` on planted defects: ``python benchmarks/defects.py [part ...]``.

Parts: planted, odd, perfect, motifs, density, input; all unless named. Seeds were never trained on; overlays
of a second layer were never shown at all. Doses are counts in the brightest pixel of the host's columns.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

import numpy as np
import numpy.typing as npt
import torch
from sklearn.metrics import adjusted_rand_score

from micdb.embed.atoms.find import find
from micdb.embed.defects.detect import LEAST_SCORE, Defect, detect
from micdb.embed.defects.discover import discover
from micdb.embed.defects.few_shot import Name, membership
from micdb.embed.extractors.stem_defects import StemDefects, network
from micdb.embed.nets import weights
from micdb.embed.simulate.defect_scenes import (
    DefectScene,
    Imaging,
    density_scene,
    planted_scene,
)
from micdb.embed.train.defect_scores import BORDER, NEAR, Scores, calibration_error, score_scenes
from micdb.embed.train.defects import MEASURED, medium_scene
from micdb.records import Picture, Refusal

Floats = npt.NDArray[np.float64]

DOSES = (10.0, 20.0, 50.0)
SEEDS = 5_000_000  # the first of the benchmark


def planted(count: int) -> None:
    """Print F1 by kind, material and dose, and how well the score tells the truth."""
    for counts in DOSES:
        total: dict[str, list[int]] = {}
        said: list[tuple[float, bool]] = []
        print(f"\n{counts:g} counts: F1 (planted, false) by kind")
        for material in MEASURED:
            done = score_scenes(network(), (medium_scene(SEEDS + k, material, counts) for k in range(count)))
            said += done.said
            parts = []
            for kind, one in sorted(done.kinds.items()):
                parts.append(f"{kind} {one.f1:.3f} ({one.planted}, {one.false})")
                total[kind] = [
                    a + b
                    for a, b in zip(
                        total.get(kind, [0, 0, 0]), (one.planted, one.found, one.false), strict=True
                    )
                ]
            print(f"{material}: {'; '.join(parts)}; refused {done.refused}")
            missed = sorted(done.confused.items(), key=lambda one: -one[1])[:5]
            print("   missed: " + ", ".join(f"{a} as {b} {n}" for (a, b), n in missed), flush=True)
        print(
            "all: "
            + "; ".join(f"{k} {2 * f / max(p + f + x, 1):.3f}" for k, (p, f, x) in sorted(total.items()))
        )
        print(f"calibration error {calibration_error(said):.3f} of {len(said)} defects")
        _reliability(said)


def _reliability(said: list[tuple[float, bool]]) -> None:
    score, right = (np.array(one, dtype=float) for one in zip(*said, strict=True))
    for low in np.arange(0.5, 1.0, 0.1):
        mine = (score >= low) & (score < low + 0.1 + 1e-9 * (low > 0.85))
        if mine.any():
            means = f"mean {score[mine].mean():.3f}, right {right[mine].mean():.3f}, n {mine.sum()}"
            print(f"   score {low:.1f}-{low + 0.1:.1f}: {means}")


def odd(count: int) -> None:
    """Print what oddities are called."""
    for oddity in ("debris", "disorder", "overlay"):
        called: Counter[str] = Counter()
        for k in range(count):
            material = list(MEASURED)[k % len(MEASURED)]
            one = planted_scene(material, {}, seed=SEEDS + k, imaging=Imaging(counts=20.0), oddity=oddity)
            done = score_scenes(network(), [one])
            hit = done.of("unknown").found
            names = [said for (what, said), _ in done.confused.items() if what == "unknown"]
            called["unknown" if hit else names[0] if names else "refused"] += 1
        print(f"{oddity}: {dict(called)}")


def perfect(count: int) -> None:
    """Print how many defects are seen where there are none."""
    for material in MEASURED:
        made: Counter[str] = Counter()
        area = 0.0
        for k in range(count):
            one = planted_scene(material, {}, seed=SEEDS + k, imaging=Imaging(counts=20.0), rotation=13.0 * k)
            done = score_scenes(network(), [one])
            area += done.area
            made.update({kind: score.false for kind, score in done.kinds.items()})
        count_ = sum(made.values())
        print(
            f"{material}: {count_} in {area:.0f} nm**2, {1e4 * count_ / area:.0f} in 1e4 nm**2, {dict(+made)}"
        )


def found(one: DefectScene) -> tuple[list[Defect], list[str]]:
    """Return the planted defects that were found, and their names."""
    image = np.asarray(one.simulated.image, dtype=np.float64)
    pitch = one.simulated.pixel_size
    columns = find(image, pitch, weights.unet("stem-atoms"), 0.5)
    if isinstance(columns, str):
        return [], []
    answer = detect(image, columns, network(), possible=(), least=LEAST_SCORE)
    if isinstance(answer, str):
        return [], []
    defects, names = [], []
    for other, name in zip(one.simulated.defects, one.names, strict=True):
        place = np.array(other.xy)
        inside = ((place > BORDER) & (place < image.shape[0] * pitch - BORDER)).all()
        near = [d for d in answer.defects if np.hypot(*(d.xy * pitch - place)) <= NEAR]
        if near and inside and other.kind not in ("edge", "boundary"):
            defects.append(near[0])
            names.append(name)
    return defects, names


def motifs(count: int) -> None:
    """Print how clusters of descriptors agree with names, and how a class is found from five examples."""
    for material in ("graphene", "MoS2", "SrTiO3"):
        defects: list[Defect] = []
        names: list[str] = []
        for k in range(count):
            more, called = found(medium_scene(SEEDS + 10_000 + k, material, 20.0))
            defects += more
            names += called
        points, labels = np.array([one.descriptor for one in defects]), np.array(names)
        said = [(one.kind, one.key) for one in defects]
        common = np.isin(labels, [name for name, n in Counter(names).items() if n >= 10])
        cluster = discover(points[common])
        inside = cluster >= 0
        kinds = len(set(labels[common]))
        whole = adjusted_rand_score(labels[common], cluster)
        part = adjusted_rand_score(labels[common][inside], cluster[inside])
        print(f"{material}: {common.sum()} defects of {kinds} names in {cluster.max() + 1} clusters")
        print(f"   adjusted Rand index {whole:.3f}, {part:.3f} of the {inside.mean():.2f} in clusters")
        rng = np.random.default_rng(0)
        for name in sorted(set(labels[common])):
            print(
                f"   from five of {name}: F1 {_from_five(points, said, labels == name, rng):.3f}", flush=True
            )


def _from_five(
    points: Floats, names: list[Name], mine: npt.NDArray[np.bool_], rng: np.random.Generator
) -> float:
    """Return the mean F1 over draws of five examples, which are not counted."""
    scores = []
    for _ in range(10):
        shown = rng.choice(np.flatnonzero(mine), 5, replace=False)
        rest = np.setdiff1d(np.arange(len(points)), shown)
        said = membership(points[shown], points, ([names[k] for k in shown], names))[rest] >= 0.5
        scores.append(2 * (said & mine[rest]).sum() / max(said.sum() + mine[rest].sum(), 1))
    return float(np.mean(scores))


def density(count: int) -> None:
    """Print planted and found numbers at known densities: what the library corrects."""
    for material, name in (("graphene", "vacancy"), ("MoS2", "chalcogen-divacancy")):
        done = Scores()
        for k in range(count):
            one = density_scene(material, name, 0.15, seed=SEEDS + 20_000 + k)
            part = score_scenes(network(), [one])
            done.area += part.area
            for kind, score in part.kinds.items():
                whole = done.of(kind)
                whole.planted += score.planted
                whole.found += score.found
                whole.false += score.false
        print(f"{material}, {name}: {done.planted()}")


def bad_input() -> None:
    """Print what is said of images that show no lattice, and how fast one with a lattice is measured."""
    rng = np.random.default_rng(0)
    good = medium_scene(SEEDS, "graphene", 20.0).simulated.image
    far = np.hypot(*np.meshgrid(np.arange(192) - 96, np.arange(192) - 96))
    cases = {
        "blank": (np.ones((192, 192)), 0.016, "STEM"),
        "noise": (rng.poisson(5.0, (192, 192)), 0.016, "STEM"),
        "diffraction": (1e3 * np.exp(-far / 10), 0.016, "diffraction"),
        "SEM": (good, 0.016, "SEM"),
        "pixel size 10 times too large": (good, 0.16, "STEM"),
        "pixel size 5 times too large": (good, 0.08, "STEM"),
        "pixel size 5 times too small": (good, 0.0032, "STEM"),
    }
    for name, (image, pitch, modality) in cases.items():
        picture = Picture(0, np.asarray(image, dtype=np.float32)[None], (pitch, pitch), modality, None, name)
        (answer,) = StemDefects(spacing_nm=0.142).extract([picture])
        said = answer.reason if isinstance(answer, Refusal) else answer.tables["defects"].num_rows
        print(f"{name}: {said}")
    start = time.process_time()
    for k in range(5):
        score_scenes(network(), [medium_scene(SEEDS + k, "graphene", 20.0)])
    print(f"{(time.process_time() - start) / 5:.2f} s of processor time for 192 x 192 pixels")


def main() -> None:
    """Print the parts asked for."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("parts", nargs="*")
    arguments.add_argument("--scenes", type=int, default=40)
    given = arguments.parse_args()
    torch.set_num_threads(1)
    parts = {"planted": planted, "odd": odd, "perfect": perfect, "motifs": motifs, "density": density}
    for name in given.parts or [*parts, "input"]:
        print(f"\n## {name}")
        if name == "input":
            bad_input()
        else:
            parts[name](given.scenes)


if __name__ == "__main__":
    sys.exit(main())
