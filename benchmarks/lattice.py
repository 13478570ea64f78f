"""Lattices of simulated images beside the simple way: ``python benchmarks/lattice.py``, or one of its parts.

Parts: ``types``, ``close`` (types next to one another), ``phases``, ``strain``.

T0: scenes like those developed on, other seeds; T1: other spacing, probe, cells, noise, with scan distortion.
The baselines' settings are the best of a grid on images of seeds that are not scored. Times are of the
processor, one thread.
"""

from __future__ import annotations

import dataclasses
import itertools
import sys
import time

import numpy as np
import numpy.typing as npt
from lattice_baselines import Rule, clustered_windows, nearest_rule
from lattice_scenes import CLASSES, close, mixed, strained, typed
from threadpoolctl import threadpool_limits

from micdb.embed.extractors.peaks import Peaks
from micdb.embed.lattice.basis import Basis
from micdb.embed.lattice.bravais import TYPES
from micdb.embed.lattice.phases import phase_map
from micdb.embed.lattice.positions import fit_positions
from micdb.embed.lattice.reciprocal import ImageLattice, image_lattice
from micdb.embed.lattice.strain import Strain, atom_strain, phase_strain
from micdb.records import Picture, Refusal

Floats = npt.NDArray[np.float64]

_TIERS = ("T0", "T1")
_SNR = (0.3, 0.5, 1.0, 2.0, 5.0)
_SEEDS = range(3000, 3030)
_TUNING = range(1, 6)
_CLOSE = range(100)


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def answered(image: Floats) -> dict[str, float]:
    """Return the probabilities of the six classes."""
    found = image_lattice(image)
    return {"none": 1.0} if found is None else found.types()


def calibration_error(sure: Floats, right: npt.NDArray[np.bool_]) -> float:
    """Return the expected calibration error over ten bins of the highest probability."""
    number = np.minimum((sure * 10).astype(int), 9)
    return float(
        sum(
            abs(sure[number == k].mean() - right[number == k].mean()) * (number == k).mean()
            for k in np.unique(number)
        )
    )


def tuned_rule(tier: str) -> Rule:
    """Return the best rule on images of the tuning seeds."""
    images = [
        (kind, typed(kind, tier, snr=snr, seed=seed)) for kind in CLASSES for snr in _SNR for seed in _TUNING
    ]
    rules = [Rule(*each) for each in itertools.product((15, 22, 30, 45), (2.0, 3.0, 4.0), (0.03, 0.05, 0.08))]
    return max(rules, key=lambda rule: sum(nearest_rule(image, rule) == kind for kind, image in images))


def types() -> None:
    """Print accuracy, calibration and cost of the six-way answer."""
    for tier in _TIERS:
        rule = tuned_rule(tier)
        say(f"{tier}: {len(CLASSES) * len(_SEEDS)} images each; baseline {rule}")
        kinds: list[str] = []
        best: list[str] = []
        sure: list[float] = []
        for snr in _SNR:
            images = [(kind, typed(kind, tier, snr=snr, seed=seed)) for kind in CLASSES for seed in _SEEDS]
            start = time.process_time()
            answers = [answered(image) for _, image in images]
            middle = time.process_time()
            rough = [nearest_rule(image, rule) == kind for kind, image in images]
            spent = np.array([middle - start, time.process_time() - middle]) / len(images) * 1e3
            kinds += [kind for kind, _ in images]
            best += [max(answer, key=answer.__getitem__) for answer in answers]
            sure += [max(answer.values()) for answer in answers]
            here = slice(-len(images), None)
            right = np.array(kinds[here]) == np.array(best[here])
            off = calibration_error(np.array(sure[here]), right)
            say(
                f"  SNR {snr:3}: accuracy {right.mean():.3f} ECE {off:.3f} {spent[0]:4.0f} ms | "
                f"nearest rule {np.mean(rough):.3f} {spent[1]:4.0f} ms"
            )
        right = np.array(kinds) == np.array(best)
        say(f"  all: accuracy {right.mean():.3f} ECE {calibration_error(np.array(sure), right):.3f}")
        for kind in CLASSES:
            these = np.array(kinds) == kind
            wrong = sorted({b for b, k, r in zip(best, kinds, right, strict=True) if k == kind and not r})
            say(f"  {kind:20} {right[these].mean():.3f}  taken for {', '.join(wrong) or 'nothing else'}")


def close_types() -> None:
    """Print how far probabilities can be believed where types are close."""
    answers = [(kind, answered(close(kind, seed=seed))) for kind in TYPES for seed in _CLOSE]
    right = np.array([max(answer, key=answer.__getitem__) == kind for kind, answer in answers])
    sure = np.array([max(answer.values()) for _, answer in answers])
    say(
        f"{len(answers)} images of types that are close, distorted by 1 %: accuracy {right.mean():.3f}, "
        f"mean probability {sure.mean():.3f}, ECE {calibration_error(sure, right):.3f}"
    )


def overlap(labels: npt.NDArray[np.int64], truth: npt.NDArray[np.int64]) -> float:
    """Return the mean over true regions of the best intersection over union."""

    def best(region: npt.NDArray[np.bool_]) -> float:
        parts = [labels == number for number in np.unique(labels)]
        return max(float((part & region).sum() / (part | region).sum()) for part in parts)

    return (best(truth == 0) + best(truth == 1)) / 2


def phases() -> None:
    """Print the overlap of phase maps with what was drawn."""
    for tier, snr in itertools.product(_TIERS, (0.5, 1.0, 3.0)):
        tuning = [mixed(tier, snr=snr, seed=seed) for seed in range(4)]
        window = max(
            (32, 48, 64),
            key=lambda w: np.mean([overlap(clustered_windows(i, window=w), t) for i, t in tuning]),
        )
        scenes = [mixed(tier, snr=snr, seed=seed) for seed in range(100, 120)]
        start = time.process_time()
        ours = [overlap(phase_map(image)[0], truth) for image, truth in scenes]
        spent = (time.process_time() - start) / len(scenes)
        floor = [overlap(clustered_windows(image, window=window), truth) for image, truth in scenes]
        say(
            f"{tier} SNR {snr}: IoU {np.mean(ours):.3f}, worst {min(ours):.3f}, "
            f"two types {np.mean(ours[::2]):.3f}, two grains {np.mean(ours[1::2]):.3f}, {spent:.1f} s | "
            f"k-means, windows of {window}: {np.mean(floor):.3f}"
        )


def error(found: Strain, truth: Strain, inside: npt.NDArray[np.bool_]) -> float:
    """Return the root mean square error of the three strains [%]."""
    off = [(getattr(found, name) - getattr(truth, name))[inside] for name in ("exx", "eyy", "exy")]
    return 100 * float(np.sqrt(np.nanmean(np.square(off))))


def positions(image: Floats) -> Floats | None:
    """Return the positions that `peaks` finds ``(n, 2)`` [pixel]."""
    (answer,) = Peaks().extract([Picture(0, image[None].astype(np.float32), None, "STEM", None, "")])
    if isinstance(answer, Refusal):
        return None
    return answer.tables["atoms"].select(["x_px", "y_px"]).to_pandas().to_numpy(float)


def two_spots(lattice: ImageLattice) -> ImageLattice:
    """Return a lattice with its two strongest spots that are not in line: phase analysis as published."""
    order = np.argsort(-np.abs(lattice.spots.amplitude))
    second = next(k for k in order if np.linalg.matrix_rank(lattice.indices[[order[0], k]]) == 2)
    kept = [order[0], second]
    spots = dataclasses.replace(
        lattice.spots,
        **{f.name: getattr(lattice.spots, f.name)[kept] for f in dataclasses.fields(lattice.spots)},
    )
    return dataclasses.replace(lattice, spots=spots, indices=lattice.indices[kept])


_ATOMS = {"atoms, 4 b": 4.0, "atoms, 6 b": 6.0, "atoms, neighbours only": 1.3}  # [longer vector] radius
_PHASES = {
    "phases, 1.5 b": (1.5, 0),
    "phases, 2 b": (2.0, 0),
    "two spots, 1.5 b": (1.5, 2),
    "two spots, 2 b": (2.0, 2),
}


def measured(kind: str, tier: str, counts: float, seed: int) -> dict[str, float]:
    """Return the error [%] of each method on one image, three lattice vectors from the edge."""
    image, vectors, deformation = strained(kind, tier, counts=counts, seed=seed)
    truth, reference = Strain.of(deformation), Basis(vectors)
    b = max(reference.reduced().lengths)
    edge = round(3 * b)
    inside = np.zeros(image.shape, dtype=bool)
    inside[edge:-edge, edge:-edge] = True
    found: dict[str, float] = {}
    lattice = image_lattice(image)
    if lattice is not None:
        for name, (width, spots) in _PHASES.items():
            used = two_spots(lattice) if spots else lattice
            found[name] = error(
                phase_strain(image, used, reference=reference, sigma=width * b), truth, inside
            )
    xy = positions(image)
    if xy is not None:
        fit = fit_positions(xy)
        x, y = (np.clip(np.rint(axis).astype(int), 0, len(image) - 1) for axis in xy.T)
        at = Strain(*(getattr(truth, f.name)[y, x] for f in dataclasses.fields(Strain)))
        for name, radius in _ATOMS.items():
            found[name] = error(
                atom_strain(xy, fit, reference=reference, radius=radius * b), at, inside[y, x]
            )
    return found


def strain() -> None:
    """Print the error of strain maps."""
    for tier, counts in itertools.product(_TIERS, (3.0, 10.0, 50.0)):
        each = [measured(kind, tier, counts, seed) for kind in ("square", "hexagonal") for seed in range(5)]
        names = {**_ATOMS, **_PHASES}
        means = {
            n: np.sqrt(np.mean([e[n] ** 2 for e in each if n in e]))
            for n in names
            if any(n in e for e in each)
        }
        say(f"{tier} {counts:2.0f} counts [% rms]: " + ", ".join(f"{n} {v:.2f}" for n, v in means.items()))


if __name__ == "__main__":
    with threadpool_limits(limits=1):
        for part in sys.argv[1:] or ("types", "close", "phases", "strain"):
            {"types": types, "close": close_types, "phases": phases, "strain": strain}[part]()
