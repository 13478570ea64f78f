"""How good `micro` is at finding what is alike: ``python benchmarks/micro.py [FOLDER]``.

Without a folder: simulated textures of seeds that neither training nor any choice has seen. Printed are the
share of the 9 nearest that have the same class, and of the nearest that have the same class and size, for
`micro`, `texture` and floors; and cosines between an image and changed copies of it, and between images.
With a folder as for benchmarks/texture.py: the share of the 5 nearest from *other* specimens that have the
same primary microconstituent, over all images; and the same cosines.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
from micro_scenes import Matrix, Sample, anything, copies, lbp, radial_power, spectra, textures
from PIL import Image

from micdb.embed.extractors.micro_pattern import patterns
from micdb.embed.extractors.texture import describe
from micdb.embed.micro.spectrum import ORDERS
from micdb.embed.sampling import resample
from micdb.query.search.physical import WEIGHT, Spectra, distances

SEED = 7_000_000_000
_EVERY = 4  # image is copied and changed
_EACH = {"textures": 10, "anything": 12}
Names = npt.NDArray[np.str_]


def unit(vectors: Matrix) -> Matrix:
    """Return vectors of length 1."""
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def hits(
    likeness: Matrix, names: Names, count: int, groups: npt.NDArray[np.generic] | None = None
) -> tuple[float, float]:
    """Return the share of the nearest outside of one's group that have one's name, and its standard error."""
    apart = np.eye(len(names), dtype=bool) if groups is None else groups[:, None] == groups[None, :]
    nearest = np.argsort(np.where(apart, np.inf, -likeness), axis=1, kind="stable")[:, :count]
    each = (names[nearest] == names[:, None]).mean(axis=1)
    return float(each.mean()), float(each.std() / np.sqrt(len(each)))


def physical(samples: list[Sample]) -> Matrix:
    """Return the distances of spectra in 1/nm, as `similar_to(scale="physical")` takes them."""
    found = spectra(samples)
    first = min(int(one.band[0]) for one in found)
    last = max(int(one.band[-1]) for one in found) + 1
    numbers = np.full((len(found), 1 + len(ORDERS), last - first), np.nan)
    for row, one in enumerate(found):
        numbers[row, 0, one.band - first] = one.power
        numbers[row, 1:, one.band - first] = one.orders.T
    whole = Spectra(np.arange(len(found)), first, numbers)
    far = [
        distances(Spectra(whole.images[n : n + 1], first, numbers[n : n + 1]), whole)
        for n in range(len(found))
    ]
    return np.nan_to_num(np.array(far), nan=1e3)


def likenesses(images: list[npt.NDArray[np.float32]]) -> dict[str, Matrix]:
    """Return how alike images are by every vector."""
    made = {
        "micro": patterns([resample(image, (1.0, 1.0)) for image in images]).astype(float),
        "texture": np.array([describe(resample(image, (1.0, 1.0))) for image in images]),
        "LBP": np.array([lbp(image) for image in images]),
        "power spectrum, 1/pixel": np.array([radial_power(image) for image in images]),
    }
    return {name: unit(vectors) @ unit(vectors).T for name, vectors in made.items()}


def simulated() -> None:
    """Print the tables of simulated textures."""
    sets = {
        "8 textures, 3 sizes, pixel size x/ 1.4": list(textures(SEED, each=_EACH["textures"], spread=1.4)),
        "8 textures, 3 sizes, pixel size x/ 2.5": list(textures(SEED + 10**6, each=6, spread=2.5)),
        "25 kinds, any detector": list(anything(SEED + 10**7, each=_EACH["anything"])),
    }
    for title, samples in sets.items():
        kinds = np.array([one.kind for one in samples])
        both = np.array([f"{one.kind} {one.size}" for one in samples])
        sized = len(set(both)) > len(set(kinds))
        sys.stdout.write(f"\n{title}: {len(samples)} images\n")
        found = likenesses([one.image for one in samples])
        if sized:
            far = physical(samples)
            found["power spectrum, 1/nm"] = -far
            found["micro, scale='physical'"] = found["micro"] - WEIGHT * far
        for name, likeness in found.items():
            (p9, sd9), (p1, sd1) = hits(likeness, kinds, 9), hits(likeness, both, 1)
            more = f"   class and size P@1 {p1:.3f} +- {sd1:.3f}" if sized else f"   class P@1 {p1:.3f}"
            sys.stdout.write(f"{name:26} class P@9 {p9:.3f} +- {sd9:.3f}{more}\n")
        if not sized:
            invariance([one.image for one in samples[::_EVERY]], kinds[::_EVERY])


def invariance(images: list[npt.NDArray[np.float32]], groups: Names) -> None:
    """Print cosines between an image and its copies, and between images of different groups."""
    rng = np.random.default_rng(0)
    changed = [copies(image, rng) for image in images]
    own = patterns([one["as it is"] for one in changed]).astype(float)
    sys.stdout.write("cosine with a copy:                     median   5 %   least\n")
    for name in list(changed[0])[1:]:
        other = patterns([one[name] for one in changed]).astype(float)
        cosine = (own * other).sum(axis=1)
        middle, low = np.quantile(cosine, [0.5, 0.05])
        sys.stdout.write(f"  {name:36} {middle:6.3f} {low:6.3f} {cosine.min():6.3f}\n")
    between = (own @ own.T)[groups[:, None] != groups[None, :]]
    quarter = np.quantile(between, [0.5, 0.95])
    sys.stdout.write(f"cosine of images of different kinds: median {quarter[0]:.3f}, 95 % {quarter[1]:.3f}\n")


def real(folder: Path) -> None:
    """Print retrieval from other specimens, and cosines, of a folder of labelled micrographs."""
    with (folder / "labels.csv").open(newline="", encoding="utf-8") as sheet:
        rows = list(csv.DictReader(sheet))
    images = []
    for row in rows:
        with Image.open(folder / row["file"]) as file:
            images.append(np.asarray(file.convert("L"), dtype=np.float32))
    names = np.array([row["primary_microconstituent"] for row in rows])
    specimens = np.array([row["sample_key"] for row in rows])
    found = likenesses(images)
    known = np.array([bool(row["um_per_px"]) for row in rows])
    sys.stdout.write(
        f"{len(rows)} images, {len(set(specimens))} specimens; {known.sum()} with a pixel size\n"
    )
    for name, likeness in found.items():
        p5, sd = hits(likeness, names, 5, specimens)
        sys.stdout.write(f"{name:26} P@5 {p5:.3f} +- {sd:.3f}\n")
    scaled = np.flatnonzero(known)
    far = physical([Sample(images[n], float(rows[n]["um_per_px"]) * 1e3, names[n]) for n in scaled])
    inside = np.ix_(scaled, scaled)
    for name, likeness in {
        "micro": found["micro"][inside],
        "micro, scale='physical'": found["micro"][inside] - WEIGHT * far,
        "power spectrum, 1/nm": -far,
    }.items():
        p5, sd = hits(likeness, names[scaled], 5, specimens[scaled])
        sys.stdout.write(f"of those with a pixel size: {name:26} P@5 {p5:.3f} +- {sd:.3f}\n")
    other = specimens[:, None] != specimens[None, :]
    share = ((names[:, None] == names[None, :]) & other).sum(axis=1) / other.sum(axis=1)
    sys.stdout.write(f"{'chance':26} P@5 {share.mean():.3f}\n")
    invariance(images[::_EVERY], specimens[::_EVERY])


def main() -> None:
    """Print everything."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, nargs="?")
    folder = parser.parse_args().folder
    if folder is None:
        simulated()
    else:
        real(folder)


if __name__ == "__main__":
    main()
