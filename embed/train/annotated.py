"""Teaching shipped detectors with a user's own annotated images, in minutes on one processor.

`stem-atoms` goes on learning from crops of the images, mirrored, stretched a little, with their contrast
changed. `stm-defects` keeps its network, which finds nearly everything that people mark, and learns what
counts as a defect and what it is called by a forest on the network's candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from micdb.embed.atoms import heat_map
from micdb.embed.atoms.detect import Sampled
from micdb.embed.nets import weights
from micdb.embed.stm import forest
from micdb.embed.stm.candidates import Candidates, candidates
from micdb.embed.stm.kinds import typical_diameter
from micdb.embed.train.loop import Batch, Schedule, train
from micdb.errors import UsageError, suggestion

if TYPE_CHECKING:
    from torch import nn

Map = npt.NDArray[np.float32]

STEPS = 300  # batches, or trees
_TAUGHT = ("stem-atoms", "stm-defects")
_RATE = 1e-3  # of AdamW: a third of what the weights were trained with from nothing
_SIDE, _BATCH = 128, 8  # [pixel], crops
_AT_MARK = 0.6  # share of crops that show an annotated one; the others teach what is none
_STRETCH = 0.3  # [octave] at most: calibrations differ by less
_CONTRAST = 0.25  # relative
_GRAIN, _LINES = 1.5, 0.7  # [noise of the image] added to pixels and to lines
_SLACK = 1.0  # [pixel] of a box


@dataclass(frozen=True, slots=True)
class Mark:
    """What a person marked.

    Parameters
    ----------
    x_px, y_px
        Centre, from that of the top-left pixel.
    kind
        Its name.
    box
        Left, top, width, height [pixel]; None for a point.
    """

    x_px: float
    y_px: float
    kind: str
    box: tuple[float, float, float, float] | None = None


@dataclass(frozen=True, slots=True)
class Example:
    """An annotated image. What is not marked in it counts as no defect.

    Parameters
    ----------
    pixels
        ``(y, x)``, finite.
    pixel_size
        [nm].
    marks
        All that it shows.
    """

    pixels: npt.NDArray[np.floating]
    pixel_size: float
    marks: Sequence[Mark]


def fine_tune(
    name: str,
    examples: Sequence[Example],
    folder: Path,
    *,
    steps: int = STEPS,
    seed: int = 0,
    watch: Callable[[int, float], None] | None = None,
) -> weights.Weights:
    """Go on training a shipped detector on annotated images, and write the new weights to a folder.

    Parameters
    ----------
    name
        Of the weights to begin with: ``stm-defects``, ``stem-atoms``. The new ones are called the same.
    examples
        Annotated images, all of them to learn from.
    folder
        Where to; not that of the shipped ones.
    steps
        Batches of `stem-atoms`, trees of the forest of `stm-defects`.
    seed
        Of crops and trees.
    watch
        Called with the step and the loss, now and then; of `stem-atoms`.

    Raises
    ------
    UsageError
        The detector cannot be fine-tuned, nothing is marked, or the folder is that of the shipped weights.
    """
    if name not in _TAUGHT:
        raise UsageError(f"{name} cannot be fine-tuned{suggestion(name, _TAUGHT)}")
    if not any(example.marks for example in examples):
        raise UsageError(f"{name}: {len(examples)} images without a mark; at least one mark is needed")
    if folder.resolve() == weights.FOLDER.resolve():
        raise UsageError(f"{folder} holds the weights that micdb ships; choose a folder of your own")
    told = {
        "from": weights.card(name).sha256, "images": len(examples),
        "marks": sum(len(example.marks) for example in examples),
    }  # fmt: skip
    if name == "stem-atoms":
        return _columns_taught(examples, Schedule(steps, rate=_RATE, seed=seed), told, folder, watch)
    network = weights.unet(name)
    shown = [*examples, *(noisier(one, seed) for one in examples)]
    made = [candidates(one.pixels, one.pixel_size, network) for one in shown]
    taught, kinds = learn(made, shown, trees=steps, seed=seed)
    recipe = {**told, "trees": steps, "seed": seed, "kinds": list(kinds)}
    return weights.save_arrays(taught.arrays(), name, recipe=recipe, measured={}, folder=folder)


def noisier(example: Example, seed: int) -> Example:
    """Return an example with more noise of pixels and lines: the same defects, dimmer beside it."""
    rng = np.random.default_rng(seed)
    value = np.asarray(example.pixels, dtype=np.float64)
    noise = 1.4826 * float(np.median(np.abs(np.diff(value, axis=1)))) / np.sqrt(2)
    grain = ndimage.gaussian_filter1d(rng.normal(size=value.shape), 0.7, axis=1)  # along the fast axis
    added = _GRAIN * noise * grain / grain.std() + rng.normal(0, _LINES * noise, (len(value), 1))
    return replace(example, pixels=value + added)


def learn(
    made: Sequence[Candidates], examples: Sequence[Example], *, trees: int, seed: int
) -> tuple[forest.Forest, tuple[str, ...]]:
    """Return a forest taught on the candidates of annotated images, and the kinds it knows by number."""
    kinds = tuple(sorted({mark.kind for example in examples for mark in example.marks}))
    names = [named(one, example, kinds) for one, example in zip(made, examples, strict=True)]
    numbers = np.concatenate([one.numbers for one in made])
    grown = forest.grow(numbers, np.concatenate(names), classes=1 + len(kinds), trees=trees, seed=seed)
    return grown, kinds


def named(made: Candidates, example: Example, kinds: Sequence[str]) -> npt.NDArray[np.int64]:
    """Return the class of each candidate ``(n,)``: 0 for none, else 1 + the number of the kind.

    Each mark takes the candidate in it that is most like it: near its centre, of its extent, probable.
    """
    found = made.found
    classes = np.zeros(len(found), dtype=np.int64)
    for mark in example.marks:
        side = _side(mark, example.pixel_size)
        half = np.array(side) / 2 + _SLACK
        off = found.xy - np.array([mark.x_px, mark.y_px])
        inside = (np.abs(off) <= half).all(axis=1) & (classes == 0)
        if not inside.any():
            continue
        extent = float(np.sqrt(np.prod(side)))
        unlike = np.linalg.norm(off, axis=1) / extent - 0.5 * found.probability
        unlike += 0.5 * np.abs(np.log(found.diameter / example.pixel_size / extent))
        unlike += 2.0 * (_sign(mark.kind) * made.looks.height < 0)
        classes[np.where(inside, unlike, np.inf).argmin()] = 1 + kinds.index(mark.kind)
    return classes


def _side(mark: Mark, pixel_size: float) -> tuple[float, float]:
    """Return width and height of a mark [pixel]."""
    if mark.box is None:
        return (typical_diameter(mark.kind) / pixel_size,) * 2
    return max(mark.box[2], 1.0), max(mark.box[3], 1.0)


def _sign(kind: str) -> int:
    """Return 1 or -1 where the kind says that it is a peak or a trough, else 0."""
    return int(kind.endswith("peak")) - int(kind.endswith("trough"))


def _columns_taught(
    examples: Sequence[Example],
    schedule: Schedule,
    told: Mapping[str, Any],
    folder: Path,
    watch: Callable[[int, float], None] | None,
) -> weights.Weights:
    """Go on training the network of atom columns."""
    from micdb.embed.nets.unet import UNet
    from micdb.embed.train.atoms import loss

    known = weights.card("stem-atoms")

    def build() -> nn.Module:
        network = UNet(**known.network)
        network.load_state_dict(weights.unet("stem-atoms").state_dict())
        return network

    network, seconds = train(build, _Crops(examples), loss, schedule, workers=0, watch=watch)
    return weights.save(
        network, "stem-atoms", arguments=known.network, recipe={**asdict(schedule), **told},
        measured={"training": f"{seconds:.0f} s of processor time"}, folder=folder,
    )  # fmt: skip


class _Crops:
    """Makes the batch of a seed from images with marked columns."""

    def __init__(self, examples: Sequence[Example]) -> None:
        self._images: list[Map] = []
        self._marks: list[npt.NDArray[np.float64]] = []
        for one in examples:
            sampled = Sampled.of(one.pixels, heat_map.NM_PER_PIXEL / one.pixel_size)
            xy = np.array([(mark.x_px, mark.y_px) for mark in one.marks]).reshape(-1, 2)
            self._images.append(heat_map.standardise(sampled.image))
            self._marks.append((xy + 0.5) / sampled.factor - 0.5)
        self._shown = [(image, mark) for image, xy in enumerate(self._marks) for mark in xy]

    def __call__(self, seed: int) -> Batch:
        rng = np.random.default_rng(seed)
        pairs = [self._crop(rng) for _ in range(_BATCH)]
        images, maps = (np.stack(one)[:, None] for one in zip(*pairs, strict=True))
        return images, maps

    def _crop(self, rng: np.random.Generator) -> tuple[Map, Map]:
        """Return a crop and its map, mirrored, stretched and with another contrast by chance."""
        scale = 2.0 ** rng.uniform(-_STRETCH, _STRETCH)
        side = scale * _SIDE
        if rng.random() < _AT_MARK:
            number, place = self._shown[rng.integers(len(self._shown))]
            centre = place + rng.uniform(-0.4, 0.4, 2) * side
        else:
            number = int(rng.integers(len(self._images)))
            centre = rng.uniform(0, 1, 2) * np.array(self._images[number].shape[::-1])
        corner = centre - side / 2
        mirrored = rng.random(2) < 0.5
        along = [np.arange(_SIDE)[:: -1 if turned else 1] * scale for turned in mirrored]
        places = np.meshgrid(corner[1] + along[1], corner[0] + along[0], indexing="ij")
        values = ndimage.map_coordinates(self._images[number], places, order=1, mode="reflect")
        xy = (self._marks[number] - corner) / scale
        xy = np.where(mirrored, _SIDE - 1 - xy, xy)
        gain = 1 + rng.uniform(-_CONTRAST, _CONTRAST)
        return (gain * values).astype(np.float32), heat_map.draw(xy, (_SIDE, _SIDE))
