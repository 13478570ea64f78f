"""What `defect-seg` is compared with: a ridge filter for lines, a blob detector for objects, both tuned.

Both see the image as the network does, less its surroundings, and are tuned on simulated scenes of the ranges
of T0 with seeds of their own: each threshold is the one with the highest overlap there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from skimage.feature import blob_log
from skimage.filters import sato

from micdb.embed.micro.foil_maps import channels

_WIDTHS = (1.5, 3.0, 6.0)  # [pixel] of ridges, as standard deviations
_SIZES = (1.5, 15.0, 7)  # [pixel] least and largest standard deviation of blobs, and how many
_RIDGES = np.linspace(0.02, 0.5, 13)
_BLOBS = np.linspace(0.1, 1.6, 11)
KINDS = ("loop", "precipitate", "void")


def ridges(seen: np.ndarray) -> np.ndarray:
    """Return the strength of dark ridges ``(y, x)``."""
    return sato(seen, sigmas=_WIDTHS, black_ridges=True)


def view(image: np.ndarray, *, dark_field: bool = False) -> np.ndarray:
    """Return an image less its surroundings, a dark field turned over ``(y, x)``."""
    return channels(image, dark_field=dark_field)[1]


def blobs(seen: np.ndarray, *, bright: bool) -> np.ndarray:
    """Return blobs as y, x, radius, strength ``(n, 4)`` [pixel], of bright or of dark ones."""
    upright = seen.astype(float) if bright else -seen.astype(float)
    low, high, count = _SIZES
    found = blob_log(
        upright - upright.min(),
        min_sigma=low,
        max_sigma=high,
        num_sigma=count,
        threshold=_BLOBS[0],
        log_scale=True,
    )
    if not len(found):
        return np.zeros((0, 4))
    y, x = found[:, :2].astype(int).T
    return np.column_stack((found[:, :2], np.sqrt(2) * found[:, 2], upright[y, x] / 2))


def drawn(found: np.ndarray, shape: tuple[int, ...], least: float) -> np.ndarray:
    """Return discs as a mask ``(y, x)``."""
    mask = np.zeros(shape, dtype=bool)
    for y, x, radius, strength in found:
        if strength < least:
            continue
        rows = slice(max(int(y - radius), 0), int(y + radius) + 2)
        columns = slice(max(int(x - radius), 0), int(x + radius) + 2)
        place = np.ogrid[rows, columns]
        inside = (place[0] - y) ** 2 + (place[1] - x) ** 2 <= radius**2
        mask[rows, columns] |= inside[: mask[rows, columns].shape[0], : mask[rows, columns].shape[1]]
    return mask


def tuned(scenes: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> dict[str, float]:
    """Return the threshold of each kind with the highest overlap, from views, masks and what is seen."""
    best = {}
    strength = [ridges(image) for image, _, _ in scenes]
    pairs = [(masks[0], shown[0] | ~masks[0]) for _, masks, shown in scenes]
    best["line"] = _best(_RIDGES, lambda least: [one > least for one in strength], pairs)
    dark, bright = ([blobs(image, bright=one) for image, _, _ in scenes] for one in (False, True))
    for number, kind in enumerate(KINDS, start=1):
        found = bright if kind == "void" else dark
        pairs = [(masks[number], shown[number] | ~masks[number]) for _, masks, shown in scenes]
        best[kind] = _best(
            _BLOBS,
            lambda least, found=found: [
                drawn(one, image.shape, least) for one, (image, _, _) in zip(found, scenes, strict=True)
            ],
            pairs,
        )
    return best


def _best(
    thresholds: np.ndarray,
    make: Callable[[float], list[np.ndarray]],
    pairs: list[tuple[np.ndarray, np.ndarray]],
) -> float:
    scores = []
    for least in thresholds:
        said = make(float(least))
        both = sum((one & mask & known).sum() for one, (mask, known) in zip(said, pairs, strict=True))
        either = sum(((one | mask) & known).sum() for one, (mask, known) in zip(said, pairs, strict=True))
        scores.append(both / max(either, 1))
    return float(thresholds[int(np.argmax(scores))])
