"""Classes from five examples, simulated silicon in graphene: ``python benchmarks/few_shot.py --scenes 300``.

Views of 2 to 3 nm with a defect or two, in conditions as of the training (`usual`) and with fewer counts,
wider scan errors and more contamination (`hard`); seeds were never trained on. Of each class planted: how
often it is found, its formula is read right, it is called unknown; then F1 of five examples against all else
that was found.
"""

from __future__ import annotations

import argparse
import math
import time
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from micdb.embed.atoms.find import find
from micdb.embed.atoms.species import candidates
from micdb.embed.defects.detect import LEAST_SCORE, Defect, detect
from micdb.embed.defects.few_shot import membership
from micdb.embed.extractors.stem_defects import network
from micdb.embed.nets import weights
from micdb.embed.simulate.defect_scenes import DefectScene, Imaging, planted_scene, random_imaging
from micdb.embed.simulate.stem import Probe
from micdb.embed.train.defect_scores import BORDER, NEAR, calibration_error
from micdb.errors import UsageError

Floats = npt.NDArray[np.float64]

SEEDS = 7_000_000
SHARES = {
    "Si1C3": 0.28, "Si1C4": 0.22, "Si2C4": 0.05, "Si2C5": 0.08, "Si2C6": 0.08, "Si3C6": 0.12,
    "silicon-adatom": 0.04, "vacancy": 0.05, "divacancy": 0.04, "stone-wales": 0.04,
}  # fmt: skip
BESIDE = ("vacancy", "divacancy", "stone-wales")  # a second defect, in a quarter of the views of silicon
FORMULAS = {"vacancy": "V1", "divacancy": "V2", "stone-wales": "5577"}  # of silicon the name itself
FEWEST = 12  # found of a class that is asked for
NOTHING = "nothing"


@dataclass(frozen=True)
class Found:
    """A defect that was found, and what is planted there, or `NOTHING`."""

    truth: str
    defect: Defect


def imaging(rng: np.random.Generator, *, hard: bool) -> Imaging:
    """Return conditions of a view of 2 to 3 nm."""
    if not hard:
        how = random_imaging(rng)
        return replace(how, side=int(rng.uniform(1.9, 2.4) / how.pixel_size))
    pixel = rng.uniform(0.0075, 0.0157)  # [nm]
    return Imaging(
        pixel_size=pixel,
        side=int(rng.uniform(1.9, 3.2) / pixel),
        counts=math.exp(rng.uniform(math.log(0.4), math.log(8.0))),
        background=rng.uniform(0.2, 2.0),
        contamination=rng.uniform(0.0, 0.8),
        probe=Probe(rng.uniform(0.04, 0.065), rng.uniform(0.1, 0.45), rng.uniform(0.1, 0.16)),
        drift=(float(rng.normal(0, 0.05)), float(rng.normal(0, 0.05))),
        line_jitter=rng.uniform(0.0, 0.02),
        readout=rng.uniform(0.0, 1.0),
        exponent=rng.uniform(1.5, 2.1),
    )


def scene(seed: int, *, hard: bool) -> DefectScene:
    """Return a view."""
    rng = np.random.default_rng((SEEDS + seed, int(hard)))
    how, turn = imaging(rng, hard=hard), float(rng.uniform(0, 360))
    name = str(rng.choice(list(SHARES), p=list(SHARES.values())))
    beside = str(rng.choice(BESIDE)) if name.startswith("Si") and rng.random() < 0.25 else None
    for plan in ({name: 1, beside: 1} if beside else {name: 1}, {name: 1}):
        try:
            return planted_scene("graphene", plan, seed=int(rng.integers(2**32)), imaging=how, rotation=turn)
        except UsageError:  # no room for both
            continue
    raise UsageError(f"no room for {name} in a view of {how.side} pixels")


def look(one: DefectScene, counts: dict[str, Counter[str]]) -> list[Found]:
    """Return what is found in a view, and count what becomes of what is planted."""
    image, pitch = np.asarray(one.simulated.image, dtype=np.float64), one.simulated.pixel_size
    far = np.array(image.shape[::-1]) * pitch - BORDER
    inside = [
        (name, np.array(other.xy)) for name, other in zip(one.names, one.simulated.defects, strict=True)
        if (np.array(other.xy) > BORDER).all() and (np.array(other.xy) < far).all()
    ]  # fmt: skip
    columns = find(image, pitch, weights.unet("stem-atoms"), 0.5)
    answer = columns if isinstance(columns, str) else detect(
        image, columns, network(), possible=candidates("C Si"), least=LEAST_SCORE
    )  # fmt: skip
    defects = [] if isinstance(answer, str) else answer.defects
    for name, place in inside:
        near = [d for d in defects if np.hypot(*(d.xy * pitch - place)) <= NEAR]
        best = max(near, key=lambda d: d.score, default=None)
        counts.setdefault(name, Counter()).update(
            planted=1, refused=int(isinstance(answer, str)), found=int(best is not None),
            formula=int(best is not None and best.formula == FORMULAS.get(name, name)),
            unknown=int(best is not None and best.kind == "unknown"),
        )  # fmt: skip
    return [
        Found(next((n for n, at in inside if np.hypot(*(d.xy * pitch - at)) <= NEAR), NOTHING), d)
        for d in defects
        if (d.xy * pitch > BORDER).all() and (d.xy * pitch < far).all() and d.kind not in ("edge", "boundary")
    ]


def from_five(found: list[Found], draws: int) -> None:
    """Print F1 of each class, of its graph alone, and how right the probabilities are."""
    points = np.array([one.defect.descriptor for one in found])
    truth = np.array([one.truth for one in found])
    formula = np.array([str(one.defect.formula) for one in found])
    names = [(one.defect.kind, one.defect.key) for one in found]
    said: list[tuple[float, bool]] = []
    for name in (one for one in SHARES if (truth == one).sum() >= FEWEST):
        mine, rng, scores = truth == name, np.random.default_rng(0), []
        for _ in range(draws):
            shown = rng.choice(np.flatnonzero(mine), 5, replace=False)
            likely = membership(points[shown], points, ([names[k] for k in shown], names))
            rest = np.setdiff1d(np.arange(len(points)), shown)
            scores.append(_f1(likely[rest] >= 0.5, mine[rest]))
            said += [(p, bool(t)) for p, t in zip(likely[rest], mine[rest], strict=True) if p >= 0.02]
        alone = f"{_f1(formula == FORMULAS.get(name, name), mine):.3f}"
        low, high = np.min(scores), np.max(scores)
        print(f"   {name}: F1 {np.mean(scores):.3f} ({low:.2f} to {high:.2f}); its formula alone {alone}")
    if not said:
        return
    print(f"   calibration error {calibration_error(said):.3f} of {len(said)} of 0.02 and more")
    likely, right = (np.array(one, dtype=float) for one in zip(*said, strict=True))
    for low in (0.02, 0.1, 0.3, 0.5, 0.7, 0.9):
        bin_ = (likely >= low) & (likely < {0.02: 0.1, 0.9: 1.1}.get(low, low + 0.2))
        if bin_.any():
            print(f"      mean {likely[bin_].mean():.2f}: right {right[bin_].mean():.2f} of {bin_.sum()}")


def _f1(said: npt.NDArray[np.bool_], mine: npt.NDArray[np.bool_]) -> float:
    return float(2 * (said & mine).sum() / max(said.sum() + mine.sum(), 1))


def main() -> None:
    """Print both conditions: counts by class, then F1 among all defects, and among silicon in the sheet."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--scenes", type=int, default=300)
    arguments.add_argument("--draws", type=int, default=20)
    given = arguments.parse_args()
    torch.set_num_threads(1)
    for hard in (False, True):
        start = time.process_time()
        counts: dict[str, Counter[str]] = {}
        found = [one for k in range(given.scenes) for one in look(scene(k, hard=hard), counts)]
        print(
            f"\n## {'hard' if hard else 'usual'}: {given.scenes} views, {time.process_time() - start:.0f} s"
        )
        for name in SHARES:
            print(f"   {name}: {dict(counts.get(name, {}))}")
        nothing = Counter(one.defect.kind for one in found if one.truth == NOTHING)
        print(f"   found where nothing is planted: {dict(nothing)}")
        print("   among all that is found:")
        from_five(found, given.draws)
        silicon = [one for one in found if str(one.defect.formula).startswith("Si")]
        print("   among silicon that stands in the sheet, by its formula; adatoms left out:")
        from_five([one for one in silicon if one.truth != "silicon-adatom"], given.draws)


if __name__ == "__main__":
    main()
