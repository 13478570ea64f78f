"""The classical detector that `stm-defects` is compared with: blobs at all scales, and a forest on them.

Extremes of the Laplacian of Gaussians over scales (Lindeberg 1998) are candidates; a forest of extremely
randomised trees (Geurts et al. 2006) says from their responses at all scales, profile, contrast to noise and
to the other candidates of the image, extent in nm and pixel size, which of the kinds each is, or none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import ndimage
from sklearn.ensemble import ExtraTreesClassifier

from micdb.embed.atoms.detect import Sampled
from micdb.embed.stm.kinds import KINDS
from micdb.embed.stm.levels import flatten

_FINEST = 2.0  # [pixel] smallest standard deviation
_LARGEST = 0.2  # [side of the image]
_MOST = 2000  # candidates of an image
_EXTENT = 4.0  # [standard deviation] side of a box
_NONE_KEPT = 0.2  # share of candidates that are none, to learn from; each counts for five
_NEAR = 0.4  # [diameter] two of one kind are farther apart


@dataclass(frozen=True, slots=True)
class Candidates:
    """Blobs of an image: places ``(n, 2)`` x, y [pixel], standard deviations [pixel], numbers ``(n, k)``."""

    xy: np.ndarray
    sigma: np.ndarray
    numbers: np.ndarray


def candidates(pixels: np.ndarray, pixel_size: float) -> Candidates:
    """Return the blobs of an image ``(y, x)`` of a pixel size [nm]."""
    flat = flatten(pixels).astype(np.float32)
    noise = 1.4826 * float(np.median(np.abs(np.diff(flat, axis=1)))) / np.sqrt(2) + 0.3  # half a grey level
    scales = _FINEST * np.sqrt(2.0) ** np.arange(40)
    scales = scales[scales < _LARGEST * min(flat.shape)]
    layers = [_layer(flat, sigma) for sigma in scales]
    found = []
    for index, (sampled, sigma, response) in enumerate(layers):
        size = np.abs(response)
        top = ndimage.maximum_filter(size, size=2 * round(sigma) + 1)
        y, x = np.nonzero((size == top) & (size > noise / max(sigma, 1) ** 0.3))
        xy = sampled.original(np.column_stack((x, y)).astype(float))
        found.append(
            np.column_stack((size[y, x] * sigma, np.full(len(x), index), xy, np.sign(response[y, x])))
        )
    every = np.concatenate(found)
    every = _apart(every[np.argsort(-every[:, 0])], scales)
    return Candidates(
        every[:, 2:4], scales[every[:, 1].astype(int)], _numbers(every, layers, scales, noise, pixel_size)
    )


def _layer(flat: np.ndarray, sigma: float) -> tuple[Sampled, float, np.ndarray]:
    sampled = Sampled.of(flat, max(int(sigma / 2), 1))
    own = sigma / sampled.factor
    return sampled, own, -ndimage.gaussian_laplace(sampled.image, own, mode="mirror") * own**2


def _apart(every: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Return the strongest ones of each sign that are farther apart than a standard deviation."""
    kept: list[np.ndarray] = []
    sigma = scales[every[:, 1].astype(int)]
    places = np.empty((0, 4))  # x, y, standard deviation, sign
    for one, width in zip(every, sigma, strict=True):
        near = np.hypot(places[:, 0] - one[2], places[:, 1] - one[3]) < np.maximum(places[:, 2], width)
        if not (near & (places[:, 3] == one[4])).any():
            kept.append(one)
            places = np.vstack((places, (one[2], one[3], width, one[4])))
        if len(kept) == _MOST:
            break
    return np.array(kept).reshape(-1, 5)


def _numbers(
    every: np.ndarray,
    layers: list[tuple[Sampled, float, np.ndarray]],
    scales: np.ndarray,
    noise: float,
    pixel: float,
) -> np.ndarray:
    index, sign = every[:, 1].astype(int), every[:, 4]
    responses = np.stack([_at(response, sampled, every[:, 2:4]) for sampled, _, response in layers], axis=1)
    strength = np.abs(responses[np.arange(len(every)), index])
    rows = []
    side = min(layers[0][0].image.shape)
    for one, (place, which, up) in enumerate(zip(every[:, 2:4], index, sign, strict=True)):
        around = [which + step for step in range(-3, 6)]
        other = [up * responses[one, k] / strength[one] if 0 <= k < len(scales) else 0.0 for k in around]
        sampled, own, _ = layers[which]
        profile, order = _profile(sampled, place, own)
        same = np.sort(strength[sign == up])[::-1]
        rank = float((same > strength[one]).sum())
        rows.append([
            up, np.log(scales[which] * pixel), np.log(scales[which]), np.log(pixel), np.log(side * pixel),
            strength[one] / noise, np.log(strength[one]), strength[one] / same[min(2, len(same) - 1)],
            strength[one] / np.median(same), rank, rank / len(same), noise, up * profile[0] / noise,
            min(*place, side - 1 - place.max()) / scales[which],
            *other, *(up * profile / max(abs(profile[0]), 1e-3)), *(order / strength[one]),
        ])  # fmt: skip
    return np.nan_to_num(np.array(rows))


def _at(response: np.ndarray, sampled: Sampled, xy: np.ndarray) -> np.ndarray:
    own = (xy + 0.5) / sampled.factor - 0.5
    return ndimage.map_coordinates(response, own.T[::-1], order=1, mode="mirror")


def _profile(sampled: Sampled, place: np.ndarray, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean height on circles above that of the outermost, and one- to three-fold order."""
    radius = sigma * np.array([0.0, 0.7, 1.4, 2.1, 2.8, 3.8, 5.0])[:, None]
    angle = np.arange(16) * 2 * np.pi / 16
    x, y = (place + 0.5) / sampled.factor - 0.5
    at = [y + radius * np.sin(angle), x + radius * np.cos(angle)]
    rings = ndimage.map_coordinates(sampled.image, at, order=1, mode="mirror")
    order = np.abs(np.fft.rfft(rings, axis=1))[1:5, 1:4] / 16
    mean = rings.mean(axis=1)
    return mean - mean[-1], order.ravel()


def named(found: Candidates, boxes: pd.DataFrame) -> np.ndarray:
    """Return 0 for what is no defect, else 1 + number of the kind, of each candidate ``(n,)``."""
    kinds = np.zeros(len(found.xy), dtype=int)
    for box in boxes.itertuples():
        size = np.sqrt(box.width * box.height)
        corner = np.array([box.x, box.y])
        inside = ((found.xy >= corner) & (found.xy <= corner + np.array([box.width, box.height]))).all(axis=1)
        inside &= (kinds == 0) & (found.numbers[:, 0] == (1 if box.kind.endswith("peak") else -1))
        if inside.any():
            off = np.linalg.norm(found.xy - corner - np.array([box.width, box.height]) / 2, axis=1) / size
            unlike = np.abs(np.log(found.sigma * _EXTENT / size)) + off
            kinds[np.where(inside, unlike, np.inf).argmin()] = 1 + KINDS.index(box.kind)
    return kinds


def learn(found: list[Candidates], kinds: list[np.ndarray], seed: int = 0) -> ExtraTreesClassifier:
    """Return the forest taught on the candidates of some images."""
    numbers, names = np.concatenate([one.numbers for one in found]), np.concatenate(kinds)
    kept = (names > 0) | (np.random.default_rng(seed).random(len(names)) < _NONE_KEPT)
    weight = np.where(names[kept] > 0, 1.0, 1 / _NONE_KEPT)
    forest = ExtraTreesClassifier(200, min_samples_leaf=2, max_features=0.3, random_state=seed)
    return forest.fit(numbers[kept], names[kept], sample_weight=weight)


def detections(found: Candidates, forest: ExtraTreesClassifier) -> pd.DataFrame:
    """Return the defects of an image: x, y [pixel], kind, score."""
    chance = np.zeros((len(found.xy), 1 + len(KINDS)))
    chance[:, forest.classes_] = forest.predict_proba(found.numbers)
    table = pd.DataFrame(found.xy, columns=["x", "y"])
    table["kind"] = np.array(KINDS)[chance[:, 1:].argmax(axis=1)]
    table["score"] = chance[:, 1:].max(axis=1)
    table["diameter"] = _EXTENT * found.sigma
    table = table.sort_values("score", ascending=False, ignore_index=True)
    kept: list[int] = []
    for one, row in table.iterrows():
        others = table.loc[kept]
        gap = np.hypot(others["x"] - row["x"], others["y"] - row["y"])
        if not (gap < _NEAR * np.maximum(others["diameter"], row["diameter"])).any():
            kept.append(one)
        if row["score"] < 0.02:
            break
    return table.loc[kept]
