"""Score `defect-seg` on simulated foils beside a ridge filter and blobs: ``python benchmarks/defect_seg.py``.

T0 has the ranges that `random_defects` draws from, T1 others: thicker foils with longer extinction distances,
more blur and mottle, other doses, bends, sizes and densities, four of ten in dark field. In both, fields
narrower than 400 nm bend less, as in training. Overlap is that of
all pixels together, of the defects that can be seen (`micdb.embed.train.foil_defects.seen`) and of all that
were planted. With ``--loops FOLDER`` real loops are scored as well, see ``defect_seg_loops.py``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import defect_seg_loops
import defect_seg_peers as peers
import numpy as np

from micdb.embed.extractors.defect_seg import probabilities
from micdb.embed.micro.foil_defects import foil_defects
from micdb.embed.micro.foil_maps import KINDS
from micdb.embed.micro.instances import instances
from micdb.embed.micro.lines import lines
from micdb.embed.micro.objects import measure
from micdb.embed.simulate.microstructures.diffraction_contrast import DefectImage
from micdb.embed.simulate.microstructures.varied_foils import FoilRanges
from micdb.embed.train.foil_defects import scene

_T1 = FoilRanges(
    thickness=(200.0, 350.0), extinction=(50.0, 90.0), deviation=(-1.0, 2.5), bending=8.0, buckle=1.5,
    lines=(5e-6, 1.5e-4), diameter=(7.0, 0.12), cover=(0.01, 0.2), counts=(60.0, 1000.0), blur=(1.2, 2.0),
    defocus=2500.0, mottle=0.16, dark_field=0.4,
)  # fmt: skip
_TIERS = {"T0": (2**45, FoilRanges(), (0.3, 3.0)), "T1": (2**46, _T1, (0.4, 2.0))}
_TUNING = 2**47  # first seed of what the peers are tuned on
_SIDE = 256  # [pixel]
_LEAST = 0.3  # probability
_DRAWS, _INTERVAL = 1000, (0.025, 0.975)  # of the bootstrap over images
_ENOUGH = 5  # objects of an image whose median counts

Scene = tuple[DefectImage, np.ndarray, bool]


def diameters(masks: np.ndarray, kind: int) -> np.ndarray:
    """Return the diameters of the whole objects in a mask [pixel]."""
    one = measure(instances(masks[kind]))
    return (one.major if KINDS[kind] == "loop" else one.diameter)[~one.on_edge]


def planted(made: DefectImage, shown: np.ndarray, kind: int) -> np.ndarray:
    """Return the true diameters of the whole objects of a kind that can be seen [pixel]."""
    there = made.objects
    mine = (there.kind == kind) & ~there.cut
    rows, columns = (np.rint(there.xy[:, axis] / made.pixel_size).astype(int) for axis in (1, 0))
    size = made.image.shape
    mine &= (rows >= 0) & (rows < size[0]) & (columns >= 0) & (columns < size[1])
    mine[mine] = shown[kind][rows[mine], columns[mine]]
    across = there.axes[:, 0] if KINDS[kind] == "loop" else there.diameter
    return across[mine] / made.pixel_size


def classic(seen: np.ndarray, tuned: dict[str, float]) -> np.ndarray:
    """Return the masks of the peers ``(4, y, x)``."""
    masks = [peers.ridges(seen) > tuned["line"]]
    dark, bright = (peers.blobs(seen, bright=one) for one in (False, True))
    masks += [
        peers.drawn(bright if kind == "void" else dark, seen.shape, tuned[kind]) for kind in peers.KINDS
    ]
    return np.stack(masks)


class Scores:
    """Overlap, line lengths and diameters of one detector on one tier."""

    def __init__(self) -> None:
        self.counts: list[np.ndarray] = []  # of each image ``(2, 2, 4)``: seen or planted; both or either
        self.length: list[float] = []
        self.off: dict[str, list[float]] = {kind: [] for kind in KINDS[1:]}

    def add(self, masks: np.ndarray, made: DefectImage, shown: np.ndarray) -> None:
        """Count the pixels of the masks ``(4, y, x)`` that a detector gives."""
        counts = []
        for known in (shown | ~made.masks, np.ones_like(shown)):
            both, either = masks & made.masks & known, (masks | made.masks) & known
            counts.append([both.sum(axis=(1, 2)), either.sum(axis=(1, 2))])
        self.counts.append(np.array(counts))

    def overlap(self, chosen: np.ndarray) -> np.ndarray:
        """Return IoU ``(2, 4)`` of what is seen and planted, of all pixels of the chosen images."""
        both, either = np.moveaxis(np.array(self.counts)[chosen].sum(axis=0), 1, 0)
        return both / np.maximum(either, 1)

    def compare(self, kind: str, said: np.ndarray, true: np.ndarray) -> None:
        """Keep the relative error of the median diameter of an image; NaN where none was found."""
        if len(true) >= _ENOUGH:
            self.off[kind].append(np.median(said) / np.median(true) - 1 if len(said) else np.nan)

    def print(self, who: str, seen: np.ndarray, all_: np.ndarray) -> None:
        """Print everything, the line lengths against those seen and those planted [pixel]."""
        overlap = self.overlap(np.arange(len(self.counts)))
        for row, which in enumerate(("seen", "planted")):
            shares = ", ".join(f"{kind} {value:.3f}" for kind, value in zip(KINDS, overlap[row], strict=True))
            print(f"  {who}, IoU of what is {which}: {shares}")
        mine, many = np.array(self.length), seen > 2 * _SIDE
        print(
            f"  {who}, line length: {mine.sum() / seen.sum():.3f} of seen, {mine.sum() / all_.sum():.3f} of "
            f"planted; median error {np.median(np.abs(mine[many] / seen[many] - 1)):.3f} of {many.sum()}"
        )
        for kind, errors in self.off.items():
            value = np.array([one for one in errors if np.isfinite(one)])
            said = (
                f"{value.mean():+.3f} mean, {np.median(np.abs(value)):.3f} median error"
                if len(value)
                else "-"
            )
            print(
                f"  {who}, median diameter of {kind}s: {said} of {len(errors)} images, {len(value)} with any"
            )


def intervals(ours: Scores, theirs: Scores) -> None:
    """Print 95 % intervals of the IoU of what is seen and of its gain on the peers, by bootstrap."""
    rng, count = np.random.default_rng(0), len(ours.counts)
    drawn = rng.integers(0, count, (_DRAWS, count))
    mine, peers_ = (np.array([who.overlap(chosen)[0] for chosen in drawn]) for who in (ours, theirs))
    for kind, low, high, less, more in zip(
        KINDS,
        *np.quantile(mine, _INTERVAL, axis=0),
        *np.quantile(mine - peers_, _INTERVAL, axis=0),
        strict=True,
    ):
        print(f"  {kind}: IoU {low:.3f} to {high:.3f}; above the peer by {less:+.3f} to {more:+.3f}")


def report(name: str, scenes: list[Scene], tuned: dict[str, float]) -> None:
    """Print overlap, line length and diameters of a tier, ours and the peers'."""
    ours, theirs = Scores(), Scores()
    seen, all_ = [], []
    for made, shown, dark in scenes:
        probability = probabilities(made.image, made.pixel_size, dark_field=dark)
        found = foil_defects(probability, _LEAST)
        masks = classic(peers.view(made.image, dark_field=dark), tuned)
        ours.add(probability >= _LEAST, made, shown)
        theirs.add(masks, made, shown)
        ours.length.append(found.length)
        theirs.length.append(lines(masks[0]).length)
        seen.append(lines(shown[0]).length)
        all_.append(made.truth["line_length_nm"] / made.pixel_size)
        for kind in range(1, len(KINDS)):
            true = planted(made, shown, kind)
            across, weight = found.sizes(KINDS[kind])
            ours.compare(KINDS[kind], across[weight > 0], true)
            theirs.compare(KINDS[kind], diameters(masks, kind), true)
    print(f"\n{name}, {len(scenes)} images")
    ours.print("defect-seg", np.array(seen), np.array(all_))
    theirs.print("ridges and blobs", np.array(seen), np.array(all_))
    intervals(ours, theirs)


def thresholds(count: int) -> dict[str, float]:
    """Return the peers' thresholds by kind, the best on `count` simulated images."""
    _, ranges, pixels = _TIERS["T0"]
    examples = [scene(_TUNING + number, _SIDE, ranges=ranges, pixels=pixels) for number in range(count)]
    return peers.tuned([
        (peers.view(made.image, dark_field=dark), made.masks, shown) for made, shown, dark in examples
    ])  # fmt: skip


def main() -> None:
    """Tune the peers, print both tiers and, where asked, real loops."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scenes", type=int, default=40)
    parser.add_argument("--loops", type=Path)
    given = parser.parse_args()
    tuned = thresholds(given.scenes // 2)
    print("thresholds of the peers:", {kind: round(value, 3) for kind, value in tuned.items()}, flush=True)
    for name, (first, ranges, pixels) in _TIERS.items():
        scenes = [
            scene(first + number, _SIDE, ranges=ranges, pixels=pixels) for number in range(given.scenes)
        ]
        report(name, scenes, tuned)
    if given.loops:
        defect_seg_loops.report(given.loops, tuned["loop"])


if __name__ == "__main__":
    main()
