"""Score `peaks` beside a tuned LoG on the same simulated lattices: ``python benchmarks/peaks.py``.

The LoG floor (skimage.feature.blob_log) gets its width and threshold by a grid search on other seeds of the
same material and dose, scored by F1 and then by error. The Cramer-Rao bound is that of one Gaussian column
of known width on an even background, with Poisson noise, for the strongest columns.
"""

from __future__ import annotations

import itertools
import sys
import time

import numpy as np
import numpy.typing as npt
from skimage.feature import blob_log

from micdb.embed.extractors.peaks import Peaks
from micdb.embed.simulate.lattices import crystal
from micdb.embed.simulate.scoring import Score, score
from micdb.embed.simulate.stem import StemImage, adf_image
from micdb.records import Picture, Refusal

_PIXEL = 0.016  # [nm]
_SIDE = 192  # [pixel]
_SEEDS = range(5)
_BACKGROUND = 0.1  # of the peak
_SIGMA = 0.035 / _PIXEL  # [pixel] of the simulated probe's core


def simulate(material: str, *, counts: float, seed: int) -> StemImage:
    """Return one image with jitter and contamination."""
    field = (_SIDE * _PIXEL, _SIDE * _PIXEL)
    columns = crystal(material, field, seed=seed, rotation=13.0 * seed, jitter=0.003, vacancies=2)
    return adf_image(
        columns, (_SIDE, _SIDE), pixel_size=_PIXEL, seed=seed, counts=counts, background=_BACKGROUND,
        contamination=0.2,
    )  # fmt: skip


def run_peaks(simulated: StemImage) -> Score:
    """Return the score of the extractor; a refusal finds nothing."""
    picture = Picture(0, simulated.image[None], (_PIXEL, _PIXEL), "STEM", None, "")
    (answer,) = Peaks().extract([picture])
    if isinstance(answer, Refusal):
        return Score(0.0, float("nan"))
    return score(answer.tables["atoms"].select(["x_nm", "y_nm"]).to_pandas().to_numpy(float), simulated)


def run_log(simulated: StemImage, *, sigma: float, threshold: float) -> Score:
    """Return the score of blob_log with the given width [pixel] and threshold."""
    image = simulated.image.astype(float)
    image = (image - image.min()) / np.ptp(image)
    blobs = blob_log(image, min_sigma=sigma, max_sigma=sigma, num_sigma=1, threshold=threshold, overlap=0.5)
    return score(blobs[:, 1::-1] * _PIXEL, simulated) if len(blobs) else Score(0.0, float("nan"))


def tuned_log(material: str, *, counts: float) -> dict[str, float]:
    """Return the best width and threshold on two images of seeds that are not scored."""
    images = [simulate(material, counts=counts, seed=seed) for seed in (101, 102)]
    grid = itertools.product((1.4, 1.8, 2.2, 2.6, 3.0, 3.6), (0.01, 0.02, 0.04, 0.06, 0.1, 0.15))
    best = max(
        grid, key=lambda pair: np.mean([run_log(i, sigma=pair[0], threshold=pair[1]).f1 for i in images])
    )
    return {"sigma": best[0], "threshold": best[1]}


def cramer_rao(counts: float) -> float:
    """Return the bound on the standard deviation of a coordinate [nm]."""
    axis = np.arange(-12, 13)
    x, y = np.meshgrid(axis, axis)
    shape = np.exp(-(x**2 + y**2) / (2 * _SIGMA**2))
    information = (counts * shape * x / _SIGMA**2) ** 2 / (counts * (shape + _BACKGROUND + 0.1) + 0.09)
    return _PIXEL / float(np.sqrt(information.sum()))


def mean(scores: list[Score]) -> npt.NDArray[np.float64]:
    """Return mean F1 and root mean square error [nm]."""
    rms = [one.rms for one in scores if np.isfinite(one.rms)]
    return np.array(
        [np.mean([one.f1 for one in scores]), np.sqrt(np.mean(np.square(rms))) if rms else np.nan]
    )


def main() -> None:
    """Print the table."""
    sys.stdout.write("material   counts |  peaks F1  rms pm  ms |  LoG F1  rms pm  ms | bound pm\n")
    for material, counts in itertools.product(("graphene", "MoS2", "Au[001]", "Ag[111]"), (3, 10, 50)):
        settings = tuned_log(material, counts=counts)
        images = [simulate(material, counts=counts, seed=seed) for seed in _SEEDS]
        start = time.perf_counter()
        ours = mean([run_peaks(image) for image in images])
        middle = time.perf_counter()
        floor = mean([run_log(image, **settings) for image in images])
        spent = np.array([middle - start, time.perf_counter() - middle]) / len(images) * 1e3
        sys.stdout.write(
            f"{material:10} {counts:6} |  {ours[0]:8.3f} {ours[1] * 1e3:7.1f} {spent[0]:3.0f} | "
            f"{floor[0]:7.3f} {floor[1] * 1e3:7.1f} {spent[1]:3.0f} | {cramer_rao(counts) * 1e3:8.1f}\n"
        )


if __name__ == "__main__":
    main()
